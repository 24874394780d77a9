from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamer.align.eeg_time import EegTimeline, EegTimelineSettings
from streamer.align.triggers import TriggerSettings, TriggerTrain
from streamer.messages import EegChunk, Flag, Marker, SessionTime

SFREQ = 5000.0
OFFSET = 3.0
TR = 2.0


def chunk(first: int, n: int = 100, late: float = 0.02) -> EegChunk:
    raw = 50.0 + np.arange(first, first + n) / SFREQ
    received = SessionTime(float(raw[-1]) + OFFSET + late)
    return EegChunk("eeg", np.zeros((n, 1), np.float32), raw, raw + OFFSET, first, received)


def marker(sample: float, label: str = "R128", late: float = 0.01, sample_known: int | None = None) -> Marker:
    raw = 50.0 + sample / SFREQ
    at = SessionTime(raw + OFFSET)
    return Marker(label, at, raw, sample_known, SessionTime(at + late))


def train() -> TriggerTrain:
    return TriggerTrain(TriggerSettings(), SFREQ)


@pytest.mark.parametrize("shift", [0.0, 0.3, -0.3])
def test_a_marker_before_its_chunk_waits_for_the_exact_sample(shift: float) -> None:
    triggers = train()
    assert triggers.chunk(chunk(0)) == []
    assert triggers.marker(marker(142 + shift)) == []
    (released,) = triggers.chunk(chunk(100))
    assert released.sample == 142
    assert triggers.volume_start(released) is not None
    assert (triggers.approximate, triggers.unresolved) == (0, 0)


def test_a_marker_after_its_chunk_is_released_at_once() -> None:
    triggers = train()
    for first in range(0, 10_000, 100):
        triggers.chunk(chunk(first))
    (released,) = triggers.marker(marker(142, "Sync On"))
    assert released.sample == 142
    assert triggers.volume_start(released) is None
    assert triggers.volumes.n_triggers == 0


def test_a_marker_with_its_sample_passes_at_once() -> None:
    triggers = train()
    (released,) = triggers.marker(marker(142, sample_known=142))
    assert released.sample == 142
    assert triggers.volume_start(released) is not None


def test_a_marker_whose_sample_never_comes_is_released_without() -> None:
    triggers = train()
    triggers.chunk(chunk(0))
    early = marker(500_000, late=-99.9)
    assert triggers.marker(early) == []
    assert triggers.chunk(chunk(100)) == []
    (released,) = triggers.chunk(chunk(200, late=2.1))
    assert released.sample is None
    assert triggers.unresolved == 1


def test_a_marker_older_than_what_is_kept_is_released_without() -> None:
    triggers = train()
    for first in range(0, 50_000, 100):
        triggers.chunk(chunk(first))
    (released,) = triggers.marker(marker(142))
    assert released.sample is None
    assert triggers.unresolved == 1


def test_a_marker_in_a_gap_gets_the_sample_that_was_lost() -> None:
    triggers = train()
    triggers.chunk(chunk(0))
    assert triggers.marker(marker(150)) == []
    (released,) = triggers.chunk(chunk(200))
    assert released.sample is None
    assert triggers.volume_start(released) == 150
    assert triggers.approximate == 1


def test_a_marker_from_another_clock_goes_by_session_time() -> None:
    triggers = train()
    triggers.chunk(chunk(0))
    triggers.chunk(chunk(100))
    at = SessionTime(50.0 + OFFSET + 60.2 / SFREQ)
    # taken for the EEG's clock, its own stamp would be sample 150
    (released,) = triggers.marker(Marker("R128", at, 50.0 + 150 / SFREQ + 5.0, None, at))
    assert released.sample is None
    assert triggers.volume_start(released) == 60


def run(samples: list[float], until: int) -> tuple[TriggerTrain, list[Marker]]:
    triggers = train()
    waiting = [marker(s) for s in samples]
    released: list[Marker] = []
    for first in range(0, until, 100):
        released += triggers.chunk(chunk(first))
        while waiting and waiting[0].received <= 50.0 + OFFSET + (first + 100) / SFREQ:
            released += triggers.marker(waiting.pop(0))
    return triggers, released


def test_volumes_are_numbered_and_timed() -> None:
    triggers, released = run([1000 + 10_000 * k for k in range(8)], 75_000)
    assert [m.sample for m in released] == [1000 + 10_000 * k for k in range(8)]
    assert triggers.tr == pytest.approx(TR, abs=1e-9)
    assert triggers.volume_onset(3) == pytest.approx(53.2 + 3 * TR, abs=1e-9)
    assert triggers.volume_onset(8) is None
    assert triggers.volume_onset(-1) is None
    assert (
        triggers.volumes.n_triggers,
        triggers.volumes.missing,
        triggers.volumes.doubled,
        triggers.volumes.extra,
    ) == (8, 0, 0, 0)


def test_a_missing_trigger_keeps_the_numbers_right() -> None:
    triggers, released = run([1000 + 10_000 * k for k in range(9) if k not in {4, 5}], 95_000)
    assert (triggers.volumes.missing, triggers.volumes.n_triggers, len(released)) == (2, 7, 7)
    for k in range(9):
        assert triggers.volume_onset(k) == pytest.approx(53.2 + k * TR, abs=1e-6)


def test_the_last_trigger_may_be_missing_too() -> None:
    triggers, _ = run([1000 + 10_000 * k for k in range(5)], 62_000)
    assert triggers.volume_onset(5) == pytest.approx(53.2 + 5 * TR, abs=1e-6)
    assert triggers.volume_onset(7) is None


def test_a_doubled_trigger_is_no_volume() -> None:
    samples: list[float] = [1000 + 10_000 * k for k in range(6)]
    triggers, released = run([*samples[:3], samples[2] + 15, *samples[3:]], 60_000)
    assert (triggers.volumes.doubled, triggers.volumes.n_triggers) == (1, 6)
    assert [triggers.volume_start(m) is not None for m in released] == [True, True, True, False, True, True, True]
    assert triggers.volume_onset(5) == pytest.approx(53.2 + 5 * TR, abs=1e-6)


def test_an_extra_pulse_off_the_beat_is_no_volume() -> None:
    samples: list[float] = [1000 + 10_000 * k for k in range(6)]
    triggers, released = run([*samples[:3], samples[2] + 8000, *samples[3:]], 60_000)
    assert (triggers.volumes.extra, triggers.volumes.n_triggers) == (1, 6)
    assert [triggers.volume_start(m) is not None for m in released] == [True, True, True, False, True, True, True]


def test_a_scan_that_is_started_again_begins_a_new_train() -> None:
    samples = [1000 + 10_000 * k for k in range(4)]
    again = [samples[-1] + 10_000 * 4.37 + 10_000 * k for k in range(4)]
    triggers, released = run([*samples, *again], 110_000)
    assert triggers.volumes.trains == 2
    assert all(triggers.volume_start(m) is not None for m in released)
    assert triggers.volume_onset(0) == pytest.approx(50.0 + OFFSET + again[0] / SFREQ, abs=1e-4)


def test_a_scan_that_starts_again_soon_is_found_by_its_second_trigger() -> None:
    samples = [1000 + 10_000 * k for k in range(4)]
    again = [samples[-1] + 14_000 + 10_000 * k for k in range(4)]
    triggers, released = run([*samples, *again], 90_000)
    assert triggers.volumes.trains == 2
    assert [triggers.volume_start(m) is not None for m in released] == [True] * 4 + [False] + [True] * 3
    assert triggers.volume_onset(1) == pytest.approx(50.0 + OFFSET + again[1] / SFREQ, abs=1e-4)


def test_a_clock_step_forgets_the_old_stamps() -> None:
    triggers = train()
    triggers.chunk(chunk(0))
    old = chunk(100)
    raw = old.times_raw - 20.0
    triggers.chunk(EegChunk("eeg", old.data, raw, raw + OFFSET, 100, old.received, Flag.CLOCK_STEP))
    at = float(raw[50])
    (released,) = triggers.marker(Marker("R128", SessionTime(at + OFFSET), at, None, old.received))
    assert released.sample == 150


def through_a_gap(counted: list[int], early: float) -> list[int | None]:
    """Samples given to markers of a source that does not see its gap (30 samples before its number 20 000)."""
    timeline = EegTimeline(EegTimelineSettings(), SFREQ)
    triggers = TriggerTrain(TriggerSettings(), SFREQ, timeline.samples)
    number = np.delete(np.arange(40_100), slice(20_000, 20_030))
    due = [(marker(number[s], sample_known=s), float(number[s]) / SFREQ - early) for s in counted]
    out: list[int | None] = []
    for first in range(0, len(number) - 99, 100):
        part = number[first : first + 100]
        while due and due[0][1] <= part[0] / SFREQ:
            early_one = due.pop(0)[0]
            received = SessionTime(50.0 + OFFSET + float(part[0]) / SFREQ)
            out += [m.sample for m in triggers.marker(replace(early_one, received=received))]
        raw = 50.0 + part / SFREQ
        received = SessionTime(float(raw[-1]) + OFFSET)
        for piece in timeline(EegChunk("eeg", np.zeros((100, 1), np.float32), raw, raw + OFFSET, first, received)):
            out += [m.sample for m in triggers.chunk(piece)]
    assert (triggers.approximate, triggers.unresolved) == (0, 0)
    return out


@pytest.mark.parametrize("early", [1.9, 0.1, 0.0, -0.5, -2.9])
def test_a_sample_of_the_sources_count_becomes_that_of_the_grid_whenever_it_comes(early: float) -> None:
    counted = [15_000, 19_999, 20_000, 20_001, 20_150, 25_000]
    expected = [15_000, 19_999, 20_030, 20_031, 20_180, 25_030]
    assert through_a_gap(counted, early) == expected


def test_a_counted_sample_that_never_comes_is_released_without() -> None:
    timeline = EegTimeline(EegTimelineSettings(), SFREQ)
    triggers = TriggerTrain(TriggerSettings(), SFREQ, timeline.samples)
    assert triggers.marker(marker(10, sample_known=10)) == []
    other = marker(20, "S 1", sample_known=20)
    released = triggers.marker(replace(other, received=SessionTime(other.received + 5.0)))
    assert [(m.label, m.sample) for m in released] == [("R128", None)]
    assert triggers.unresolved == 1


def test_a_volume_whose_marker_has_no_sample_begins_where_the_line_says() -> None:
    triggers = train()
    starts: list[int | None] = []
    for k in range(12):
        sample = 1000 + 10_000 * k
        for first in range(sample - 1000 - (9000 if k else 0), sample + 1000, 100):
            triggers.chunk(chunk(first))
        # the last ones are stamped by another clock, 3 ms late
        sent = marker(sample)
        if k >= 9:
            sent = replace(sent, at=SessionTime(sent.at + 0.003), at_raw=sent.at_raw + 77.0)
        (released,) = triggers.marker(sent)
        assert (released.sample is None) == (k >= 9)
        starts.append(triggers.volume_start(released))
    assert starts == [1000 + 10_000 * k for k in range(12)]
    assert triggers.approximate == 3
    assert triggers.volume_sample(20) == pytest.approx(201_000.0, abs=1e-6)


def test_a_real_scanners_trains_are_numbered_without_a_hole(shared_data: Path) -> None:
    table = shared_data / "eeg" / "facetpy-triggers" / "sub-xp101_task-eegfmriNF_events.tsv"
    samples = [
        int(fields[4])
        for fields in (line.split("\t") for line in table.read_text(encoding="utf-8-sig").splitlines()[1:])
        if fields[2] == "Response/R128"
    ]
    triggers = train()
    released = [m for s in samples for m in triggers.marker(marker(s, sample_known=s))]
    assert all(triggers.volume_start(m) is not None for m in released[-64:])
    assert (
        triggers.volumes.n_triggers,
        triggers.volumes.missing,
        triggers.volumes.doubled,
        triggers.volumes.extra,
    ) == (210, 0, 0, 0)
    assert triggers.tr == pytest.approx(2.0, abs=1e-6)
