"""What a session says of itself, and what thins out its EEG."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.compose import compose, make_about, make_eeg_core, make_raw_preview
from streamer.config import Config
from streamer.formats.nifti import LabelImage
from streamer.messages import ChannelInfo, EegChunk, SessionTime
from streamer.wire.preview_bytes import decode_preview

CHANNELS = (ChannelInfo("ECG", "ecg"), ChannelInfo("Cz", "eeg"), ChannelInfo("T7", "eeg"), ChannelInfo("E17", "eeg"))


def labels() -> LabelImage:
    data = np.zeros((4, 4, 4), np.int16)
    data[0, 1, 2], data[2, 1, 2] = 1, 1
    affine = np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = (-10, 0, 5)
    return LabelImage(data, affine, ("seen", "empty"))


def test_places_of_electrodes_and_regions_are_told_where_they_are_known() -> None:
    parts = compose(Config(), labels())
    about = make_about(parts, "s", make_eeg_core(parts, 5000.0, CHANNELS))
    assert [c.name for c in about.channels] == ["Cz", "T7", "E17"]
    top, left, unknown = (c.position for c in about.channels)
    assert top == pytest.approx([0, 0, 1])
    assert left is not None
    assert left[0] < -0.9
    assert unknown is None
    assert about.regions == ["seen", "empty"]
    assert about.regions_mm == [pytest.approx([-8.0, 2.0, 9.0]), None]
    assert about.tr_s is None


def test_the_raw_preview_of_a_session_shows_its_eeg_at_the_rate_of_the_cleaned() -> None:
    parts = compose(Config())
    core = make_eeg_core(parts, 5000.0, CHANNELS)
    raw = make_raw_preview(parts, core, CHANNELS)
    assert raw is not None
    data = np.repeat(np.array([[9.0, 1, 2, 3]], np.float32) * 1e-6, 1000, axis=0)
    times = np.arange(1000) / 5000.0
    chunk = EegChunk("eeg", data, times, times, 0, SessionTime(0.2))
    core.feed(chunk)
    (made,) = map(decode_preview, raw.take(chunk))
    assert made.sfreq == core.lane.sfreq_out == make_about(parts, "s", core).eeg_sfreq
    assert [row[0] for row in made.data_uv] == pytest.approx([1, 2, 3])


def test_a_session_without_eeg_has_no_raw_preview() -> None:
    parts = compose(Config(), has_eeg=False)
    assert make_raw_preview(parts, make_eeg_core(parts, None, ()), ()) is None
