"""What the rig does and when, without playing it."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from streamer.acquire.recorded_bold import BoldPart
from streamer.acquire.recorded_brainvision import BrainVisionEeg
from streamer.acquire.recording import RecordedMarker, Recording
from streamer.formats.brainvision import FileMarker, read_brainvision, write_brainvision
from streamer.messages import ChannelInfo
from streamer.rig.schedule import (
    Action,
    RigSettings,
    SendChunk,
    SendMarker,
    WriteVolume,
    left_out,
    schedule,
    span,
)
from tests.unit.rig_recordings import MemoryEeg, memory_bold, memory_recording

TR = 0.5
N = 60


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    """32.013 s at 1 kHz, 60 volumes; nothing of the volumes is read."""
    markers = [FileMarker("Response", "R128", 1000 + 500 * k) for k in range(N)]
    write_brainvision(
        tmp_path / "e.vhdr", 1000.0, [ChannelInfo("Cz", "eeg")], [np.zeros((32_013, 1), np.int16)], markers
    )
    onsets = tuple(1.0 + TR * k for k in range(N))

    def refuse(k: int) -> object:
        raise AssertionError(f"volume {k} was read")

    bold = BoldPart(
        tuple(range(N)),
        TR,
        "R128",
        0,
        onsets,
        tuple(t + TR + 0.3 for t in onsets),
        refuse,
        refuse,  # type: ignore[arg-type]
    )
    return Recording("r", BrainVisionEeg(read_brainvision(tmp_path / "e.vhdr")), bold)


def test_every_sample_marker_and_volume_once(recording: Recording):
    timed = list(schedule(recording, RigSettings()))
    assert [t for t, _ in timed] == sorted(t for t, _ in timed)
    chunks = [a for _, a in timed if isinstance(a, SendChunk)]
    assert chunks[0].start == 0
    assert chunks[-1].stop == 32_013
    assert all(a.stop == b.start for a, b in itertools.pairwise(chunks))
    assert sorted(round(1000 * a.at_s) for _, a in timed if isinstance(a, SendMarker)) == [
        1000 + 500 * k for k in range(N)
    ]
    complete = [(a.k, t) for t, a in timed if isinstance(a, WriteVolume) and a.part + 1 == a.parts]
    assert complete == [(k, pytest.approx(1.0 + TR * (k + 1) + 0.3)) for k in range(N)]


def test_markers_come_before_with_and_after_their_chunk(recording: Recording):
    sent = {"before": 0, "with": 0, "after": 0}
    chunk_of: dict[int, float] = {}
    order: list[Action] = []
    for at, action in schedule(recording, RigSettings()):
        order.append(action)
        if isinstance(action, SendChunk):
            chunk_of |= dict.fromkeys(range(action.start, action.stop), at)
    for position, (at, action) in enumerate(schedule(recording, RigSettings())):
        if isinstance(action, SendMarker):
            away = at - chunk_of[round(1000 * action.at_s)]
            assert abs(away) <= 0.1 + 1e-9
            sent["before" if away < 0 else "after" if away > 0 else "with"] += 1
            if away == 0:
                previous = order[position - 1]
                assert isinstance(previous, SendChunk)
                assert previous.start <= 1000 * action.at_s < previous.stop
    assert min(sent.values()) > N // 6


def test_some_files_come_in_two_halves(recording: Recording):
    actions = [(t, a) for t, a in schedule(recording, RigSettings()) if isinstance(a, WriteVolume)]
    firsts = {a.k: t for t, a in actions if (a.part, a.parts) == (0, 2)}
    seconds = {a.k: t for t, a in actions if (a.part, a.parts) == (1, 2)}
    assert firsts.keys() == seconds.keys()
    assert 0 < len(firsts) < N
    assert all(seconds[k] - firsts[k] == pytest.approx(0.05) for k in firsts)


def test_the_same_seed_plays_the_same(recording: Recording):
    assert list(schedule(recording, RigSettings())) == list(schedule(recording, RigSettings()))
    assert list(schedule(recording, RigSettings())) != list(schedule(recording, RigSettings(seed=1)))


def test_a_part_of_it(recording: Recording):
    timed = list(schedule(recording, RigSettings(start_s=10.0, stop_s=20.0)))
    chunks = [a for _, a in timed if isinstance(a, SendChunk)]
    assert (chunks[0].start, chunks[-1].stop) == (10_000, 20_000)
    samples = sorted(round(1000 * a.at_s) for _, a in timed if isinstance(a, SendMarker))
    assert (samples[0], samples[-1], len(samples)) == (10_000, 19_500, 20)
    volumes = sorted(a.k for _, a in timed if isinstance(a, WriteVolume) and a.part + 1 == a.parts)
    # from the first that begins in it to the last that is known in it
    assert volumes == list(range(18, 37))
    assert min(t for t, _ in timed) >= 10.0


def test_the_end_must_lie_behind_the_start():
    with pytest.raises(ValueError, match="expected an end after the start"):
        RigSettings(start_s=5.0, stop_s=5.0)


def chunks_of(recording: Recording, settings: RigSettings | None = None) -> list[tuple[float, SendChunk]]:
    timed = schedule(recording, settings or RigSettings())
    return [(t, a) for t, a in timed if isinstance(a, SendChunk)]


def test_a_gap_in_the_recording_is_a_gap_in_what_is_sent():
    recording = memory_recording(gaps=((7.0, 0.5), (15.003, 4.0)))
    eeg = recording.eeg
    assert eeg is not None
    chunks = chunks_of(recording)
    assert [n for _, a in chunks for n in range(a.start, a.stop)] == list(range(eeg.n_samples))
    for t, a in chunks:
        times = eeg.times(a.start, a.stop)[1]
        assert t == pytest.approx(times[-1] + 1 / 200)
        assert np.ptp(times) < 0.02, "a chunk reaches over a gap"
    pauses = [b - a for (a, _), (b, _) in itertools.pairwise(chunks) if b - a > 0.1]
    assert pauses == [pytest.approx(0.5, abs=0.021), pytest.approx(4.0, abs=0.021)]


def test_chunks_follow_stamps_that_jitter_and_keep_their_order():
    recording = memory_recording(jitter_s=0.03, sampled=False)
    eeg = recording.eeg
    assert eeg is not None
    chunks = chunks_of(recording)
    assert [n for _, a in chunks for n in range(a.start, a.stop)] == list(range(eeg.n_samples))
    assert [t for t, _ in chunks] == sorted(t for t, _ in chunks)
    assert all(t >= eeg.times(a.start, a.stop)[1][-1] + 1 / 200 - 1e-9 for t, a in chunks)


@pytest.mark.parametrize("sampled", [True, False])
def test_markers_with_only_a_time_go_with_the_chunk_of_that_time(sampled: bool):
    recording = memory_recording(gaps=((7.0, 3.0),), sampled=sampled)
    eeg = recording.eeg
    assert eeg is not None
    timed = list(schedule(recording, RigSettings(marker_spread_s=0.0)))
    sent = {a.place: (t, a) for t, a in timed if isinstance(a, SendMarker)}
    assert sent.keys() == set(range(len(eeg.markers)))
    for place, (t, marker) in sent.items():
        assert (marker.label, marker.at_s) == (eeg.markers[place].label, eeg.markers[place].at_s)
        if 7.0 < marker.at_s < 10.0:
            assert t == marker.at_s, "what lies in a gap comes at its own time"
        else:
            assert 0 < t - marker.at_s <= 0.02 + 1 / 200 + 1e-9


def test_a_part_begins_and_ends_at_its_times_where_stretches_are_missing():
    recording = memory_recording(gaps=((7.0, 3.0),))
    chunks = chunks_of(recording, RigSettings(start_s=9.0, stop_s=12.0))
    # the 7 s before the gap hold 1400 samples; 2 s after it are played
    assert (chunks[0][1].start, chunks[-1][1].stop) == (1400, 1800)


def test_markers_and_volumes_outside_the_eeg_are_played_but_for_what_is_far_off():
    at = np.arange(2000) / 200.0
    markers = tuple(RecordedMarker("x", t, t) for t in (-3.0, 5.0, 11.0, 5000.0))
    recording = Recording("r", MemoryEeg(at, 200.0, markers), memory_bold(12, 1.0))
    timed = list(schedule(recording, RigSettings()))
    assert [(a.place, t >= 0) for t, a in timed if isinstance(a, SendMarker)] == [(0, True), (1, True), (2, True)]
    assert len({a.k for _, a in timed if isinstance(a, WriteVolume)}) == 12
    assert left_out(recording, RigSettings()) == (1, 0)
    assert span(recording, RigSettings())[1] == pytest.approx(13.3)
    assert left_out(recording, RigSettings(start_s=4.0, stop_s=10.5)) == (3, 6)


def test_volumes_alone_and_eeg_alone():
    whole = memory_recording()
    alone = Recording("r", None, whole.bold)
    assert {a.k for _, a in schedule(alone, RigSettings()) if isinstance(a, WriteVolume)} == set(range(30))
    assert not [a for _, a in schedule(Recording("r", whole.eeg), RigSettings()) if isinstance(a, WriteVolume)]
