from __future__ import annotations

import numpy as np
import pytest

from streamer.bench.events import compare, plant_spikes, run_sources
from streamer.decode.candidate import Candidate
from streamer.decode.event_sources import EventSourcesSettings
from streamer.decode.spikes import Spikes, SpikeSettings
from streamer.errors import ConfigError
from streamer.messages import Feature, Flag
from tests.unit.feature_eeg import SFREQ, blocks

N = 250 * 40
NAMES = [f"C{i}" for i in range(8)]
SEEN_BY = np.array([0, 0, 0.5, 1, 0.9, 0.5, 0, 0])


def asked(found: list) -> list[Candidate]:
    return [c for c in found if isinstance(c, Candidate)]


def stage(**others: object) -> Spikes:
    return Spikes(SpikeSettings(enabled=True, **others), 50.0, SFREQ, NAMES)  # type: ignore[arg-type]


def detect(data: np.ndarray, spikes: Spikes | None = None, first: int = 0, **others: object) -> list:
    spikes = spikes or stage()
    return [f for block in blocks(data, 50.0, first, **others) for f in spikes(block)]  # type: ignore[arg-type]


def peak(width_s: float, size: float = 1e-4) -> np.ndarray:
    """Two straight lines up and down."""
    n = round(width_s * SFREQ / 2)
    return -size * np.concatenate([np.arange(n), np.arange(n, -1, -1)]) / n


def planted(part: np.ndarray, at: int = 5000, weights: np.ndarray = SEEN_BY) -> np.ndarray:
    data = np.random.default_rng(0).standard_normal((N, 8)) * 5e-6
    data[at : at + len(part)] += part[:, None] * weights
    return data


@pytest.mark.parametrize("seed", [2, 3])
def test_planted_spikes_are_found(seed: int) -> None:
    scene = plant_spikes(19.0, 4.0, seed)
    settings = EventSourcesSettings(spike=SpikeSettings(enabled=True))
    found = compare(scene, run_sources(settings, scene.eeg)[1])
    assert found.f1 >= 0.8
    assert found.false_per_minute <= 1.0
    assert 0.1 < found.delay_s < 0.45


@pytest.mark.parametrize(("width_s", "kind", "what"), [(0.05, 0.04, "spike"), (0.13, 0.1, "sharp wave")])
def test_spikes_and_sharp_waves_are_told_apart(width_s: float, kind: float, what: str) -> None:
    part = peak(width_s)
    feature, candidate = detect(planted(part))
    assert isinstance(feature, Feature)
    assert isinstance(candidate, Candidate)
    assert feature.name == candidate.source == "spike"
    assert feature.values[2:] == (kind, 4.0)
    # the time of the peak itself
    true = 100 + (5000 + len(part) // 2) / SFREQ
    assert feature.about == candidate.about == pytest.approx(true, abs=0.013)
    assert feature.delay_s == pytest.approx(stage().delay_s, abs=0.021)
    assert 100 + (feature.sample - 1) / SFREQ == pytest.approx(feature.about + feature.delay_s)
    assert candidate.reason.startswith(f"{what} on 4 channels")
    assert 0.5 <= candidate.level < 1
    assert candidate.expires > candidate.about + feature.delay_s


def test_what_is_no_spike_is_not_told() -> None:
    t = np.arange(500) / SFREQ
    assert detect(planted(peak(0.05), weights=np.eye(8)[3])) == []  # one channel
    assert detect(planted(peak(0.05), weights=np.ones(8))) == []  # all of them
    assert detect(planted(2 * peak(0.4))) == []  # a blink
    assert detect(planted(np.array([1e-4]))) == []  # one sample
    assert detect(planted(4e-5 * np.sin(2 * np.pi * 10 * t) * np.hanning(500))) == []  # alpha
    muscle = np.random.default_rng(3).standard_normal(500) * 1e-4
    assert detect(planted(muscle)) == []
    assert detect(np.zeros((N, 8))) == []


def test_what_comes_with_every_heartbeat_is_no_spike() -> None:
    data = planted(peak(0.05))
    for at in range(100, N - 100, 220):
        data[at : at + 13] += peak(0.05)[:, None] * SEEN_BY
    assert detect(data) == []


def test_dirty_samples_gaps_and_bad_channels() -> None:
    data = planted(peak(0.05))
    one = stage()
    assert detect(data[:4900], one) == []
    assert detect(data[4900:5200], one, 4900, flags=Flag.UNSYNCED) == []
    again = planted(peak(0.05), at=7000)
    assert detect(again[6995:7400], one, 6995) == []  # too soon after a gap
    later = detect(again[6000:8000] * 1.0, one, 9000, flags=Flag.CLIPPED)
    assert {c.flags for c in asked(later)} == {Flag.CLIPPED}
    # channels that are bad do not agree, and one that goes bad makes no spike of the step
    assert asked(detect(data, bad=(2, 5))) == []
    stepping = stage(ratio=1.1, sharp_ratio=1.1, crest=1.0, min_channels=1)
    quiet = np.full((N, 8), 1e-4) + np.random.default_rng(1).standard_normal((N, 8)) * 1e-9
    before = asked(detect(quiet[:5000], stepping))
    after = asked(detect(quiet[5000:5100], stepping, 5000, bad=(1,)))
    assert len(before) < 40
    assert after == []


def test_channels_that_come_back_are_quiet_until_their_background_is_known() -> None:
    data = planted(peak(0.05), at=6000)
    revived = stage()
    detect(data[:2500], revived)
    detect(data[2500:3800], revived, 2500, bad=(2, 3, 4, 5))
    assert detect(data[3800:7000], revived, 3800)
    late = stage()
    detect(data[:5500], late, bad=(2, 3, 4, 5))
    assert detect(data[5500:7000], late, 5500) == []


def test_a_chosen_few_channels() -> None:
    chosen = stage(channels=("C2", "C3", "C4", "C5"), max_share=1.0)
    assert asked(detect(planted(peak(0.05)), chosen))
    assert asked(detect(planted(peak(0.05)), stage(channels=("C0", "C1", "C6"), max_share=1.0))) == []


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="channel X is not there"):
        stage(channels=("X", "C1", "C2"))
    with pytest.raises(ConfigError, match="2 channels are looked at: expected at least min_channels, 3"):
        stage(channels=("C1", "C2"))
