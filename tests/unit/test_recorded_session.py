"""A session's run log is a recording like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamer.acquire.recorded_session import SessionEeg
from streamer.acquire.recordings import open_recording
from streamer.errors import FormatError, RecordingError
from streamer.messages import BoldFrame, EegChunk, Marker, SessionTime, Volume
from streamer.runlog import EEG, LOG, STAMPS, VOLUMES
from tests.unit.recording_files import (
    CHANNELS,
    SFREQ,
    START,
    TR,
    session_events,
    stored_volume,
    write_session,
)


def test_samples_stamps_markers_and_volumes_come_back(tmp_path: Path):
    events = session_events()
    recording = open_recording(write_session(tmp_path / "s1", events))
    eeg, bold = recording.eeg, recording.bold
    assert eeg is not None
    assert bold is not None
    assert (recording.name, recording.problems, eeg.problems, bold.problems) == ("s1", (), (), ())
    assert (eeg.format, eeg.sfreq, eeg.channels, eeg.n_samples) == ("run log", SFREQ, CHANNELS, 1000)
    assert recording.duration_s == eeg.duration_s == pytest.approx(4.0)
    chunks = [event for event in events if isinstance(event, EegChunk)]
    np.testing.assert_array_equal(eeg.read(0, 1000), np.concatenate([c.data for c in chunks]))
    raw, times = eeg.times(0, 1000)
    np.testing.assert_array_equal(raw, np.concatenate([c.times_raw for c in chunks]))
    np.testing.assert_allclose(times, np.arange(1000) / SFREQ, atol=1e-9)
    assert [(m.label, m.sample) for m in eeg.markers] == [("R128", 250), ("R128", 375), ("R128", 500)]
    assert [m.at_s for m in eeg.markers] == pytest.approx([1.0, 1.5, 2.0])
    assert (bold.format, bold.indices, bold.tr, bold.trigger) == ("run log", (0, 1, 2), TR, "R128")
    assert bold.onsets == pytest.approx((1.0, 1.5, 2.0))
    # known when it came, not when it began
    assert bold.known_at == pytest.approx((2.2, 2.7, 3.2))
    volume = bold.volume(2)
    assert (volume.index, volume.onset, volume.slice_times, volume.series) == (2, 36001.0, (0.0, 0.1, 0.2), "s3")
    np.testing.assert_array_equal(volume.data, np.full((4, 5, 3), 102, np.int16))
    with pytest.raises(ValueError, match="samples 990 to 1001"):
        eeg.read(990, 1001)


def test_without_frames_volumes_begin_at_their_triggers(tmp_path: Path):
    events = [e for e in session_events(5, frames=False) if not (isinstance(e, Marker) and e.at == START + 1.5)]
    bold = open_recording(write_session(tmp_path / "s", events)).bold
    assert bold is not None
    assert bold.onsets == pytest.approx((1.0, 1.5, 2.0, 2.5, 3.0))


def test_without_triggers_volumes_are_placed_by_their_arrival_and_that_is_said(tmp_path: Path):
    events = [event for event in session_events(frames=False) if not isinstance(event, Marker)]
    recording = open_recording(write_session(tmp_path / "s", events))
    assert recording.bold is not None
    # 0.7 s of latency where 0.6 s is usual
    assert recording.bold.onsets == pytest.approx((1.1, 1.6, 2.1))
    assert "told from their arrival" in recording.problems[0]


def test_either_modality_alone(tmp_path: Path):
    eeg_alone = [event for event in session_events() if isinstance(event, EegChunk | Marker)]
    assert open_recording(write_session(tmp_path / "eeg", eeg_alone)).bold is None
    bold_alone = [event for event in session_events() if isinstance(event, Volume | BoldFrame)]
    recording = open_recording(write_session(tmp_path / "bold", bold_alone))
    assert recording.eeg is None
    assert recording.bold is not None
    assert recording.bold.onsets == pytest.approx((0.0, 0.5, 1.0))
    assert recording.duration_s == pytest.approx(2.2)
    with pytest.raises(RecordingError, match="neither EEG nor volumes"):
        open_recording(write_session(tmp_path / "none", []))


def test_a_repeated_volume_counts_once_and_a_second_series_follows(tmp_path: Path):
    events = [*session_events(), stored_volume(1, START + 3.5), stored_volume(0, START + 3.6, "s9")]
    recording = open_recording(write_session(tmp_path / "s", events))
    assert recording.bold is not None
    assert recording.bold.indices == (0, 1, 2, 0)
    assert [recording.bold.volume(k).series for k in range(4)] == ["s3", "s3", "s3", "s9"]
    assert recording.bold.known_at[1] == pytest.approx(2.7)
    assert recording.problems == ()


@pytest.mark.parametrize("name", [LOG, EEG, STAMPS, VOLUMES])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.97])
def test_a_log_cut_anywhere_is_read_as_far_as_it_goes_and_says_so(tmp_path: Path, name: str, part: float):
    folder = write_session(tmp_path / "s")
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: round(part * len(whole))])
    recording = open_recording(folder)
    assert recording.problems
    if recording.eeg is not None:
        n = recording.eeg.n_samples
        np.testing.assert_array_equal(recording.eeg.read(0, n)[:, 0], np.arange(n, dtype=np.float32) * np.float32(1e-6))
    if recording.bold is not None:
        for k, index in enumerate(recording.bold.indices):
            assert (recording.bold.volume(k).data == 100 + index).all()


def test_a_line_that_was_lost_leaves_a_hole_and_not_a_shift(tmp_path: Path):
    folder = write_session(tmp_path / "s")
    lines = (folder / LOG).read_bytes().splitlines(keepends=True)
    (folder / LOG).write_bytes(b"".join([*lines[:3], b"\x00 damaged\n", *lines[4:]]))
    recording = open_recording(folder)
    eeg = recording.eeg
    assert isinstance(eeg, SessionEeg)
    assert eeg.n_samples == 975
    kept = np.concatenate([np.arange(75), np.arange(100, 1000)])
    np.testing.assert_array_equal(eeg.read(0, 975)[:, 0], kept.astype(np.float32) * np.float32(1e-6))
    np.testing.assert_allclose(eeg.times(0, 975)[1], kept / SFREQ, atol=1e-9)
    assert [m.at_s for m in eeg.markers] == pytest.approx([1.0, 1.5, 2.0])
    assert [p for p in recording.problems if "line 4" in p]


def test_markers_that_count_samples_are_found_by_their_count(tmp_path: Path):
    events = [event for event in session_events() if not isinstance(event, Marker)]
    events.append(Marker("S  1", SessionTime(START + 3.0), float("nan"), 700, SessionTime(START + 3.9)))
    eeg = open_recording(write_session(tmp_path / "s", events)).eeg
    assert eeg is not None
    assert [(m.label, m.sample, m.at_s) for m in eeg.markers] == [("S  1", 700, pytest.approx(2.8))]


def test_a_damaged_header_is_refused(tmp_path: Path):
    folder = write_session(tmp_path / "s")
    (folder / "header.json").write_text("{")
    with pytest.raises(FormatError, match="not the header of a session"):
        open_recording(folder)
