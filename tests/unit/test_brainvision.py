"""BrainVision files: what is written reads back, here and in MNE, and what is broken is refused with a reason."""

from __future__ import annotations

from pathlib import Path

import mne
import numpy as np
import pytest

from streamer.errors import FormatError
from streamer.formats.brainvision import FileMarker, read_brainvision, write_brainvision
from streamer.messages import ChannelInfo

CHANNELS = (ChannelInfo("Fp1", "eeg"), ChannelInfo("a, b", "eeg"), ChannelInfo("ECG", "ecg"))
MARKERS = (
    FileMarker("Response", "R128", 0),
    FileMarker("SyncStatus", "Sync On", 7),
    FileMarker("Response", "R128", 99),
)

SEGMENT = FileMarker("New Segment", "", 0)
"""Every file begins with one."""


@pytest.fixture
def stored() -> np.ndarray:
    return np.random.default_rng(1).integers(-32768, 32768, (100, 3)).astype(np.int16)


@pytest.fixture
def vhdr(tmp_path: Path, stored: np.ndarray) -> Path:
    path = tmp_path / "eeg.vhdr"
    assert write_brainvision(path, 5000.0, CHANNELS, iter([stored[:33], stored[33:]]), reversed(MARKERS), 0.5e-6) == 100
    return path


def test_what_is_written_reads_back(vhdr: Path, stored: np.ndarray):
    file = read_brainvision(vhdr)
    assert (file.sfreq, file.n_samples, file.channels, file.markers) == (5000.0, 100, CHANNELS, (SEGMENT, *MARKERS))
    assert file.read(0, 100).dtype == np.float32
    np.testing.assert_array_equal(file.read(20, 60), (stored[20:60] * 0.5e-6).astype(np.float32))
    assert file.read(5, 5).shape == (0, 3)


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (0, 101), (9, 3)])
def test_a_range_outside_is_refused(vhdr: Path, start: int, stop: int):
    with pytest.raises(ValueError, match="of a recording of 100"):
        read_brainvision(vhdr).read(start, stop)


def test_mne_reads_the_same(vhdr: Path):
    raw = mne.io.read_raw_brainvision(vhdr, verbose="error")
    assert raw.ch_names == ["Fp1", "a, b", "ECG"]
    assert raw.info["sfreq"] == 5000.0
    np.testing.assert_allclose(raw.get_data().T, read_brainvision(vhdr).read(0, 100), rtol=1e-6, atol=0)
    events = [(a["description"], round(a["onset"] * 5000)) for a in raw.annotations]
    assert events == [("Response/R128", 0), ("SyncStatus/Sync On", 7), ("Response/R128", 99)]


def test_volts_are_rounded_to_the_resolution_and_held_at_the_rails(tmp_path: Path):
    volts = np.array([[0.74e-6, -0.76e-6, 1.0]], np.float32)
    write_brainvision(tmp_path / "v.vhdr", 250.0, CHANNELS, [volts], [], 0.5e-6)
    np.testing.assert_array_equal(read_brainvision(tmp_path / "v.vhdr").data, [[1, -2, 32767]])


def test_blocks_and_markers_that_do_not_fit_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"expected \(n_times, 3\)"):
        write_brainvision(tmp_path / "x.vhdr", 250.0, CHANNELS, [np.zeros((4, 2), np.int16)], [])
    with pytest.raises(ValueError, match="R128 at sample 4"):
        write_brainvision(
            tmp_path / "x.vhdr", 250.0, CHANNELS, [np.zeros((4, 3), np.int16)], [FileMarker("Response", "R128", 4)]
        )


@pytest.mark.parametrize(("name", "dtype"), [("INT_16", "<i2"), ("INT_32", "<i4"), ("IEEE_FLOAT_32", "<f4")])
@pytest.mark.parametrize("orientation", ["MULTIPLEXED", "VECTORIZED"])
def test_formats_and_orientations(vhdr: Path, name: str, dtype: str, orientation: str):
    values = np.arange(12).reshape(4, 3)
    vhdr.with_suffix(".eeg").write_bytes((values if orientation == "MULTIPLEXED" else values.T).astype(dtype).tobytes())
    vhdr.with_suffix(".vmrk").write_text("Brain Vision Data Exchange Marker File, Version 1.0\n")
    text = vhdr.read_text().replace("MULTIPLEXED", orientation).replace("INT_16", name)
    vhdr.write_text(text)
    np.testing.assert_allclose(read_brainvision(vhdr).read(0, 4), values * 0.5e-6, rtol=1e-6)


def test_units_and_kinds_are_told_apart(vhdr: Path):
    text = vhdr.read_text(encoding="utf-8")
    text = text.replace("Ch1=Fp1,,0.5,µV", "Ch1=HEOG,,2,mV").replace("Ch3=ECG,,0.5,µV", "Ch3=Temp,,0.1,C")
    vhdr.write_text(text, encoding="utf-8")
    file = read_brainvision(vhdr)
    assert file.channels[0] == ChannelInfo("HEOG", "eog", "V")
    assert file.channels[2] == ChannelInfo("Temp", "misc", "C")
    np.testing.assert_allclose(file.scale, [2e-3, 0.5e-6, 0.1])


@pytest.mark.parametrize("codepage", ["utf-8", "utf-8-sig", "cp1252"])
def test_code_pages(vhdr: Path, codepage: str):
    vhdr.write_bytes(vhdr.read_text(encoding="utf-8").encode(codepage))
    assert read_brainvision(vhdr).channels == CHANNELS


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("Brain Vision", "Some Other", "expected a BrainVision file"),
        ("NumberOfChannels=3", "NumberOfChannels=4", "channel 4 of 4 is not described"),
        ("NumberOfChannels=3", "NumberOfChannels=many", "numberofchannels is 'many'"),
        ("SamplingInterval=200", "SamplingInterval=0", "expected a number above 0"),
        ("BinaryFormat=INT_16", "BinaryFormat=INT_24", "INT_24"),
        ("DataFormat=BINARY", "DataFormat=ASCII", "expected BINARY"),
        ("MULTIPLEXED", "SIDEWAYS", "SIDEWAYS"),
        ("Ch2=a\\1 b,,0.5", "Ch2=a\\1 b,,half", "resolution 'half'"),
        ("DataFile=eeg.eeg", "DataFile=gone.eeg", "'gone.eeg', which is not in"),
        ("MarkerFile=eeg.vmrk", "MarkerFile=gone.vmrk", "'gone.vmrk', which is not in"),
    ],
)
def test_broken_headers_are_refused_with_the_reason(vhdr: Path, old: str, new: str, complaint: str):
    text = vhdr.read_text(encoding="utf-8")
    assert old in text
    vhdr.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(FormatError, match=complaint):
        read_brainvision(vhdr)


def test_a_cut_data_file_and_a_marker_outside_are_refused(vhdr: Path):
    raw = vhdr.with_suffix(".eeg").read_bytes()
    vhdr.with_suffix(".eeg").write_bytes(raw[:-1])
    with pytest.raises(FormatError, match="599 bytes, expected a multiple of 6"):
        read_brainvision(vhdr)
    vhdr.with_suffix(".eeg").write_bytes(raw[:300])
    with pytest.raises(FormatError, match="at sample 100, expected 1 to 50"):
        read_brainvision(vhdr)


def test_a_missing_header_is_said(tmp_path: Path):
    with pytest.raises(FormatError, match="cannot be read"):
        read_brainvision(tmp_path / "none.vhdr")


def test_a_real_recording_reads_as_in_mne(shared_data: Path):
    path = shared_data / "eeg" / "brainvision" / "test.vhdr"
    file = read_brainvision(path)
    raw = mne.io.read_raw_brainvision(path, verbose="error")
    assert (file.sfreq, file.n_samples) == (raw.info["sfreq"], raw.n_times)
    assert [c.name for c in file.channels] == raw.ch_names
    np.testing.assert_allclose(file.read(0, file.n_samples)[:, :26], raw.get_data()[:26].T, atol=1e-10)
    # MNE leaves the segment at the start out
    expected = [round(onset * raw.info["sfreq"]) for onset in raw.annotations.onset]
    assert [m.sample for m in file.markers[1:]] == expected
