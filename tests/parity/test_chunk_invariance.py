from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.align.eeg_time import EegTimeline, EegTimelineSettings
from streamer.align.triggers import TriggerSettings, TriggerTrain
from streamer.clean.eeg.channels.channels import ChannelSettings
from streamer.clean.eeg.lane import EegLane
from streamer.clean.eeg.lane_settings import EegLaneSettings
from streamer.decode.features import BandPower, BandPowerSettings, PowerStep
from streamer.messages import ChannelInfo, CleanEeg, EegChunk, Flag, Marker, SessionTime

SFREQ = 1000.0
TR = 400
N_VOLUMES = 14
CHANNELS = (*(ChannelInfo(f"E{i}", "eeg") for i in range(7)), ChannelInfo("ECG", "ecg"))
SETTINGS = EegLaneSettings(settle_s=0.3, channels=ChannelSettings(block_s=1.0, good_s=2.0))
START = 1000.0


def recording(seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Samples and stamps with an artefact, a gap of 20 samples, missing values and a channel at the rail."""
    rng = np.random.default_rng(seed)
    n = N_VOLUMES * TR + 300
    t = np.arange(n)
    data = rng.standard_normal((n, len(CHANNELS))) * 10e-6 + np.linspace(-2e-3, 2e-3, len(CHANNELS))
    for k in (8, 16, 24, 33):
        data += 4e-4 * np.cos(2 * np.pi * k * t / TR + k)[:, None] * np.linspace(0.5, 1.5, len(CHANNELS))
    data[3100:3110, 2] = 0.02
    data[4000:4003] = np.nan
    data[4500:4600, 3] = np.nan
    stamps = START + t / SFREQ
    keep = np.ones(n, dtype=bool)
    keep[3333:3353] = False
    return data[keep].astype(np.float32), stamps[keep]


def outcome(
    data: np.ndarray, stamps: np.ndarray, sizes: list[int], arrivals: list[float]
) -> tuple[np.ndarray, list[PowerStep], EegLane]:
    """Feed in chunks of these sizes (the last one repeats); the marker of volume k comes ``arrivals[k]`` s late."""
    timeline, train = EegTimeline(EegTimelineSettings(), SFREQ), TriggerTrain(TriggerSettings(), SFREQ)
    lane = EegLane(SETTINGS, SFREQ, CHANNELS)
    power = BandPower(BandPowerSettings(settle_s=0.3), lane.sfreq_out, len(lane.channels))
    due = []
    for k, late in enumerate(arrivals):
        at = START + k * TR / SFREQ
        due.append((at + late, Marker("R128", SessionTime(at), at, None, SessionTime(at + late))))
    due.sort(key=lambda item: item[0])
    clean: list[CleanEeg] = []
    steps: list[PowerStep] = []
    at, i = 0, 0

    def take(markers: list[Marker]) -> None:
        for m in markers:
            if train.volume_start(m) is not None:
                lane.trigger(m.sample)

    while at < len(data):
        size = sizes[min(i, len(sizes) - 1)]
        part = slice(at, at + size)
        while due and due[0][0] <= stamps[at]:
            take(train.marker(due.pop(0)[1]))
        chunk = EegChunk("s", data[part], stamps[part], stamps[part], at, SessionTime(float(stamps[at])))
        for grid in timeline(chunk):
            take(train.chunk(grid))
            for item in lane.chunk(grid):
                clean.append(item)
                steps.extend(power(item))
        at += size
        i += 1
    rows = [
        np.column_stack(
            [
                np.arange(c.first_sample, c.first_sample + len(c.data)),
                np.full(len(c.data), int(c.flags)),
                c.times,
                c.data.astype(np.float64),
            ]
        )
        for c in clean
    ]
    for c in clean:
        assert c.sample_end == (c.first_sample + len(c.data)) * lane.factor
    return np.concatenate(rows), steps, lane


def key(step: PowerStep) -> tuple[object, ...]:
    return (step.index, step.end_sample, step.end_time, step.valid, step.flags, step.power.tobytes())


DATA, STAMPS = recording()
EARLY = [-0.2] * N_VOLUMES
USUAL, STEPS, LANE = outcome(DATA, STAMPS, [37], EARLY)


def test_the_recording_has_every_kind_of_trouble_and_clean_stretches() -> None:
    flags = USUAL[:, 1].astype(int)
    seen = Flag(int(np.bitwise_or.reduce(flags)))
    assert seen & Flag.GAP
    assert seen & Flag.CLIPPED
    assert seen & Flag.WARMING
    assert (flags == 0).sum() > 100
    assert np.isfinite(USUAL).all()
    assert any(step.valid for step in STEPS)
    assert any(not step.valid for step in STEPS)
    assert LANE.quality.template_epochs >= 4


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 700), min_size=1, max_size=60))
def test_any_chunking_gives_the_same_bits(sizes: list[int]) -> None:
    # triggers that come 0.2 s before their samples do so at every chunking only when no chunk is longer than that
    rows, steps, _ = outcome(DATA, STAMPS, [min(s, 150) for s in sizes], EARLY)
    np.testing.assert_array_equal(rows, USUAL)
    assert [key(s) for s in steps] == [key(s) for s in STEPS]


def test_one_sample_at_a_time_equals_the_usual_chunks() -> None:
    n = 1500
    rows, steps, _ = outcome(DATA[:n], STAMPS[:n], [1], EARLY)
    same, same_steps, _ = outcome(DATA[:n], STAMPS[:n], [100], EARLY)
    np.testing.assert_array_equal(rows, same)
    assert [key(s) for s in steps] == [key(s) for s in same_steps]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 100), min_size=1, max_size=40),
    st.lists(st.floats(-0.2, 0.15), min_size=N_VOLUMES, max_size=N_VOLUMES),
)
def test_when_a_trigger_comes_does_not_matter_once_the_template_is_there(
    sizes: list[int], arrivals: list[float]
) -> None:
    rows, steps, _ = outcome(DATA, STAMPS, sizes, arrivals)
    # five epochs are there at the begin of volume 6, and the filters have forgotten what came before by volume 10
    after = 10 * TR / 4
    np.testing.assert_array_equal(rows[rows[:, 0] >= after], USUAL[USUAL[:, 0] >= after])
    late = [key(s) for s in steps if s.index >= 40]
    assert late == [key(s) for s in STEPS if s.index >= 40]


@pytest.mark.parametrize("size", [13, 100])
def test_input_is_not_changed(size: int) -> None:
    data, stamps = DATA.copy(), STAMPS.copy()
    outcome(data, stamps, [size], EARLY)
    np.testing.assert_array_equal(data, DATA)
    np.testing.assert_array_equal(stamps, STAMPS)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 900), min_size=1, max_size=40), st.integers(0, 3))
def test_times_and_gaps_do_not_depend_on_the_chunking(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 6000
    stamps = START + np.arange(n) / SFREQ + np.repeat(rng.exponential(0.003, n // 20), 20)
    stamps[2500:] += 0.03
    stamps[4000:] -= 0.06

    def run(parts: list[int]) -> tuple[np.ndarray, int]:
        timeline = EegTimeline(EegTimelineSettings(), SFREQ)
        out: list[np.ndarray] = []
        at = i = 0
        while at < n:
            part = slice(at, at + parts[min(i, len(parts) - 1)])
            data = np.zeros((len(stamps[part]), 1), np.float32)
            for c in timeline(EegChunk("s", data, stamps[part], stamps[part], at, SessionTime(0.0))):
                steps = np.full(len(c.data), int(c.flags & Flag.WARMING))
                steps[0] = int(c.flags)
                out.append(np.column_stack([c.first_sample + np.arange(len(c.data)), c.times, steps]))
            at, i = part.stop, i + 1
        return np.concatenate(out), timeline.lost_samples

    rows, lost = run(sizes)
    same, same_lost = run([n])
    np.testing.assert_array_equal(rows, same[: len(rows)])
    assert lost == same_lost


def test_a_chunk_without_samples_changes_nothing() -> None:
    timeline = EegTimeline(EegTimelineSettings(), SFREQ)
    chunk = EegChunk("s", DATA[:40], STAMPS[:40], STAMPS[:40], 0, SessionTime(0.0))
    empty = replace(chunk, data=DATA[:0], times_raw=STAMPS[:0], times=STAMPS[:0])
    lane = EegLane(SETTINGS, SFREQ, CHANNELS)
    assert timeline(empty) == []
    (grid,) = timeline(chunk)
    assert lane.chunk(replace(grid, data=DATA[:0], times_raw=STAMPS[:0], times=STAMPS[:0])) == []
    assert sum(len(c.data) for c in lane.chunk(grid)) == 10
