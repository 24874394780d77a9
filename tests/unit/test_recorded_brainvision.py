"""BrainVision as a part of a recording: pauses move what comes after them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.acquire.recorded_brainvision import BrainVisionEeg, find_segments, open_brainvision
from streamer.acquire.recorded_segments import Segments
from streamer.errors import FormatError
from streamer.formats.brainvision import NEW_SEGMENT, FileMarker, write_brainvision
from streamer.messages import ChannelInfo

SFREQ = 100.0
DATES = {0: "20240102235959900000", 1: "20240103000001400000"}
"""1.5 s apart, over midnight."""


def record(tmp_path: Path, *segments: FileMarker) -> BrainVisionEeg:
    markers = [*segments, FileMarker("Response", "R128", 49), FileMarker("Response", "R128", 50)]
    data = np.arange(160, dtype=np.int16).reshape(80, 2)
    write_brainvision(
        tmp_path / "e.vhdr", SFREQ, [ChannelInfo("Cz", "eeg"), ChannelInfo("ECG", "ecg")], [data], markers
    )
    return open_brainvision(tmp_path / "e.vhdr")


def test_without_a_pause_times_count_samples(tmp_path: Path):
    eeg = record(tmp_path)
    raw, times = eeg.times(10, 80)
    np.testing.assert_array_equal(raw, np.arange(10, 80) / SFREQ)
    np.testing.assert_array_equal(times, raw)
    assert (eeg.duration_s, eeg.problems, eeg.n_samples) == (0.8, (), 80)
    assert [(m.label, m.at_s, m.sample, m.kind) for m in eeg.markers] == [
        ("R128", 0.49, 49, "Response"),
        ("R128", 0.5, 50, "Response"),
    ]


def test_a_dated_segment_puts_a_pause_before_it(tmp_path: Path):
    eeg = record(tmp_path, FileMarker(NEW_SEGMENT, "", 0, DATES[0]), FileMarker(NEW_SEGMENT, "", 50, DATES[1]))
    raw, times = eeg.times(48, 52)
    np.testing.assert_allclose(times, [0.48, 0.49, 1.5, 1.51], atol=1e-9)
    np.testing.assert_array_equal(raw, times)
    assert eeg.duration_s == pytest.approx(1.8)
    assert [m.at_s for m in eeg.markers] == pytest.approx([0.49, 1.5])
    assert eeg.problems == ("a new segment begins at sample 50 (0.500 s) after a pause of 1.000 s",)


def test_a_segment_without_a_date_or_with_an_earlier_one_is_said_and_makes_no_pause(tmp_path: Path):
    eeg = record(tmp_path, FileMarker(NEW_SEGMENT, "", 0, DATES[0]), FileMarker(NEW_SEGMENT, "", 50))
    assert eeg.duration_s == 0.8
    assert "of unknown length" in eeg.problems[0]
    eeg = record(tmp_path, FileMarker(NEW_SEGMENT, "", 0, DATES[1]), FileMarker(NEW_SEGMENT, "", 50, DATES[0]))
    assert eeg.duration_s == 0.8
    assert "by its date 2.000 s before the end of the one before" in eeg.problems[0]


def test_pauses_add_up_and_do_not_drift():
    found = find_segments(
        (
            FileMarker(NEW_SEGMENT, "", 0, "20240101000000000000"),
            FileMarker(NEW_SEGMENT, "", 100, "20240101000011000000"),
            FileMarker(NEW_SEGMENT, "", 150, "nonsense"),
            FileMarker(NEW_SEGMENT, "", 200, "20240101000042000000"),
        ),
        SFREQ,
    )
    np.testing.assert_allclose(found.late_s, [0.0, 10.0, 10.0, 40.0])
    assert len(found.problems) == 3


def test_a_missing_file_is_said(tmp_path: Path):
    record(tmp_path)
    (tmp_path / "e.vmrk").unlink()
    with pytest.raises(FormatError, match=r"names the file 'e.vmrk', which is not in"):
        open_brainvision(tmp_path / "e.vhdr")


def test_a_real_recording(shared_data: Path):
    eeg = open_brainvision(shared_data / "eeg" / "brainvision" / "test.vhdr")
    assert (eeg.sfreq, eeg.n_samples, len(eeg.channels), eeg.duration_s, eeg.problems) == (1000.0, 7900, 32, 7.9, ())
    labels = [m.label for m in eeg.markers]
    assert {label: labels.count(label) for label in labels} == {
        "S255": 5, "254": 3, "S253": 2, "R255": 1, "Sync On": 1, "O  1": 1,
    }  # fmt: skip


@given(
    st.lists(st.tuples(st.integers(1, 50), st.floats(0.02, 1e4)), max_size=5),
    st.integers(0, 300),
)
def test_the_time_of_a_sample_leads_back_to_it(pauses: list[tuple[int, float]], sample: int):
    first = np.cumsum([0, *(length for length, _ in pauses)])
    late = np.cumsum([0.0, *(pause for _, pause in pauses)])
    segments = Segments(first, late)
    times = segments.times(np.array([sample]), SFREQ)
    assert segments.samples(times, SFREQ).tolist() == [sample]
