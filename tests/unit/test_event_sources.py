from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.bench.events import plant_alpha, plant_spikes, plant_spindles
from streamer.decode.candidate import Candidate
from streamer.decode.event_sources import EventSources, EventSourcesSettings
from streamer.decode.phase_target import Lane, PhaseTargetSettings
from streamer.decode.spikes import SpikeSettings
from streamer.decode.spindles import SpindleSettings
from streamer.errors import ConfigError
from streamer.messages import Feature, Flag
from tests.unit.feature_eeg import feed

LANE = Lane(0.0145, 0.0)
NAMES = [str(c) for c in range(16)]
ALL = EventSourcesSettings(
    learn_s=8.0,
    phase=PhaseTargetSettings(enabled=True, channels={"14": 0.5, "15": 0.5}, checks=30),
    spindle=SpindleSettings(enabled=True, signals={"c": {"7": 0.5, "8": 0.5}}),
    spike=SpikeSettings(enabled=True),
)


def scene(seed: int = 4) -> np.ndarray:
    minutes = 0.8
    eeg = plant_spikes(20.0, minutes, seed).eeg
    eeg[:, 7:9] += plant_spindles(15.0, minutes, seed).eeg
    eeg[:, 14:] += 3 * plant_alpha(20.0, minutes, seed)[0]
    return eeg


EEG = scene()


def plain(found: list) -> list[object]:
    # bits, so that NaN equals itself
    out: list[object] = []
    for each in found:
        if isinstance(each, Candidate):
            out.append(each)
        else:
            numbers = np.array(each.values).tobytes()
            out.append((each.name, each.sample, each.about, each.delay_s, each.valid, each.flags, numbers))
    return out


@settings(deadline=None, max_examples=3)
@given(
    sizes=st.lists(st.integers(1, 700), min_size=1, max_size=6),
    sfreq=st.sampled_from([250.0, 256.0]),
)
def test_chunks_do_not_matter(sizes: list[int], sfreq: float) -> None:
    # clean, dirty, a channel goes bad, a gap, clean
    parts = [
        (0, 6500, 0, ()),
        (6500, 6777, Flag.UNSYNCED, ()),
        (6777, 8003, 0, (1, 7)),
        (8091, 11_900, Flag.CLIPPED, ()),
    ]

    def run(cut: list[int]) -> list[object]:
        sources = EventSources(ALL, sfreq, NAMES, LANE)
        found: list = []
        for first, stop, flags, bad in parts:
            found += feed(sources, EEG[first:stop], first, cut, Flag(flags), bad)  # type: ignore[arg-type]
        return plain(found)

    once = run([5])
    assert run(sizes) == once
    assert {each.source for each in once if isinstance(each, Candidate)} >= {"phase", "spindle"}


def test_all_three_run_side_by_side() -> None:
    sources = EventSources(ALL, 250.0, NAMES, LANE)
    found = feed(sources, EEG)  # type: ignore[arg-type]
    assert {c.source for c in found if isinstance(c, Candidate)} == {"phase", "spindle", "spike"}
    assert {f.name for f in found if isinstance(f, Feature)} == {"phase_error.target", "spindle.c", "spike"}
    assert sources.notes == ()
    # what was learned spares the next run the learning
    again = EventSources(ALL, 250.0, NAMES, LANE, sources.learned())
    feed(again, EEG[:4000])  # type: ignore[arg-type]
    assert again.learned() == sources.learned()


def test_nothing_is_on_by_default() -> None:
    off = EventSourcesSettings()
    assert not off.enabled
    assert ALL.enabled
    sources = EventSources(off, 250.0, NAMES, LANE)
    assert feed(sources, EEG[:2000]) == []  # type: ignore[arg-type]
    assert sources.notes == ()
    assert sources.learned() == {}


def test_it_says_why_nothing_is_asked_for() -> None:
    sources = EventSources(ALL, 250.0, NAMES, LANE)
    feed(sources, EEG[:500])  # type: ignore[arg-type]
    assert sources.notes == ("phase target target: the rhythm is not known now",)


def test_only_the_phase_minds_a_slow_lane() -> None:
    slow = Lane(0.0145, 1.2)
    with pytest.raises(ConfigError, match=r"expected at most 0\.1 s"):
        EventSources(ALL, 250.0, NAMES, slow)
    without = ALL.model_copy(update={"phase": PhaseTargetSettings()})
    found = feed(EventSources(without, 250.0, NAMES, slow), EEG)  # type: ignore[arg-type]
    assert all(c.expires > c.about + 1.2 for c in found if isinstance(c, Candidate))
