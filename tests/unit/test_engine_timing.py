"""What the EEG core makes of time: two scans in one session, with what goes wrong on the way."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.clean.eeg.gradient.gradient import GradientSettings
from streamer.clean.eeg.lane_settings import EegLaneSettings
from streamer.engine import EegCore
from streamer.engine_settings import EngineSettings
from streamer.messages import (
    BoldFrame,
    ChannelInfo,
    CleanEeg,
    EegChunk,
    Event,
    Flag,
    Marker,
    Output,
    ScannerTime,
    SessionTime,
)

SFREQ = 1000.0
TR = 1.0
FIRST = 5.0 + TR * np.arange(12)
SECOND = 21.4 + TR * np.arange(12)
LOST = slice(9_300, 9_450)
CHANNELS = tuple(ChannelInfo(f"E{i}", "eeg") for i in range(4))


def core(**changes: object) -> EegCore:
    settings = EngineSettings(eeg=EegLaneSettings(settle_s=0.2, gradient=GradientSettings(enabled=False)))
    return EegCore(settings.model_copy(update=changes), SFREQ, CHANNELS, ("a",))


def frame(series: str, index: int, begin: float, received: float, scanner: float | None) -> BoldFrame:
    regions = np.zeros(1, np.float32)
    onset = None if scanner is None else ScannerTime(scanner)
    received = SessionTime(received)
    return BoldFrame(index, series, regions, regions, np.zeros(6), 0.0, TR, None, received, onset=onset)


def session(late: int = 0, off: float = 0.0) -> list[Event]:
    """Chunks of 20 ms, triggers, frames 0.6 s after their volumes; the last ``late`` of the first scan after 22.5 s.

    A trigger of the first scan is missing, 150 samples are lost; the scanner stamps the second scan ``off`` s late.
    """
    rng = np.random.default_rng(0)
    number = np.delete(np.arange(36_000), LOST)
    events: list[tuple[float, Event]] = []
    for first in range(0, len(number), 20):
        part = number[first : first + 20]
        times = part / SFREQ
        data = (1e-5 * rng.standard_normal((len(part), 4))).astype(np.float32)
        received = SessionTime(float(times[-1]) + 0.01)
        events.append((received, EegChunk("EEG", data, times, times, first, received)))
    for series, onsets in (("s1", FIRST), ("s2", SECOND)):
        for k, onset in enumerate(onsets.tolist()):
            if (series, k) != ("s1", 7):
                events.append((onset, Marker("R128", SessionTime(onset), onset, None, SessionTime(onset))))
            received = onset + TR + 0.6
            if series == "s1" and k >= len(onsets) - late:
                received = 23.2 + 0.01 * k
            scanner = 40_000.0 + onset + (off if series == "s2" else 0.0)
            events.append((received, frame(series, k, onset, received, scanner)))
    return [event for _, event in sorted(events, key=lambda item: item[0])]


def frames(outputs: list[Output]) -> dict[tuple[str, int], BoldFrame]:
    return {(o.series, o.index): o for o in outputs if isinstance(o, BoldFrame)}


def fed(engine: EegCore, events: list[Event]) -> list[Output]:
    return [output for event in events for output in engine.feed(event)]


def test_two_scans_are_matched_each_by_its_own_triggers_stragglers_too() -> None:
    engine = core()
    found = frames(fed(engine, session(late=3)))
    assert len(found) == 24
    for series, onsets in (("s1", FIRST), ("s2", SECOND)):
        for k, onset in enumerate(onsets.tolist()):
            acquired = found[series, k].acquired
            if k == 0:
                # one trigger alone tells its volume's beginning
                assert not found[series, k].flags & Flag.UNSYNCED
            assert acquired == pytest.approx(onset + TR / 2, abs=1e-4)
            assert not found[series, k].flags & (Flag.MISALIGNED | Flag.UNSYNCED)
    timing = engine.timing()
    wanted = {
        "gaps": 1,
        "lost_samples": 150,
        "duplicate_samples": 0,
        "clock_steps": 0,
        "markers_approximate": 0,
        "markers_unresolved": 0,
        "triggers": 23,
        "triggers_missing": 1,
        "triggers_doubled": 0,
        "triggers_extra": 0,
        "trigger_residual_alarms": 0,
        "trains": 2,
        "volumes_matched": 24,
        "volumes_unmatched": 0,
        "volumes_misaligned": 0,
        "scanner_clock_steps": 0,
    }
    assert {name: timing[name] for name in wanted} == wanted
    assert timing["tr_s"] == pytest.approx(TR, abs=1e-6)
    assert timing["scanner_residual_ms"] < 0.1
    assert engine.timing_alarms() == ()


def test_scanner_time_that_contradicts_the_triggers_shows_on_the_frames_and_in_words() -> None:
    engine = core()
    found = frames(fed(engine, session(off=TR)))
    assert all(not found["s1", k].flags & Flag.MISALIGNED for k in range(12))
    assert all(found["s2", k].flags & Flag.MISALIGNED for k in range(12))
    assert engine.timing()["volumes_misaligned"] == 12
    (said,) = engine.timing_alarms()
    assert "series s2" in said
    assert "off by -1" in said


def test_a_scan_without_triggers_goes_on_unsynced() -> None:
    engine = core()
    found = frames(fed(engine, [event for event in session() if not isinstance(event, Marker)]))
    assert len(found) == 24
    assert all(f.flags & Flag.UNSYNCED for f in found.values())
    assert found["s1", 3].acquired == pytest.approx(FIRST[3] + TR / 2, abs=0.01)
    assert engine.timing()["volumes_unmatched"] == 24


def test_a_trigger_far_off_the_beat_is_said() -> None:
    engine = core()
    events = [
        Marker("R128", SessionTime(e.at + 0.009), e.at_raw + 0.009, None, e.received)
        if isinstance(e, Marker) and e.at == FIRST[10]
        else e
        for e in session()
    ]
    fed(engine, events)
    assert engine.timing()["trigger_residual_alarms"] == 1
    assert "1 volume triggers lie over 5 ms off" in engine.timing_alarms()[0]


def test_what_leaves_while_the_times_settle_is_flagged_and_no_longer() -> None:
    clean = [o for o in fed(core(), session()) if isinstance(o, CleanEeg)]
    warming = np.concatenate([np.full(len(c.data), bool(c.flags & Flag.WARMING)) for c in clean])
    index = np.concatenate([c.first_sample + np.arange(len(c.data)) for c in clean])
    # a second of the times at the start, and the filters' 0.2 s after the gap
    assert index[warming].tolist() == [*range(250), *range(9450 // 4 + 1, 9450 // 4 + 51)]


def test_the_same_events_give_the_same_outputs() -> None:
    events = session(late=2)
    first, second = fed(core(), events), fed(core(), events)
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        if isinstance(a, CleanEeg) and isinstance(b, CleanEeg):
            assert a.data.tobytes() == b.data.tobytes()
            assert (a.first_sample, a.flags) == (b.first_sample, b.flags)
        if isinstance(a, BoldFrame) and isinstance(b, BoldFrame):
            assert (a.acquired, a.flags) == (b.acquired, b.flags)
