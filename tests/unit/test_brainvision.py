"""BrainVision files: what is written reads back, here and in MNE, and what is broken is refused with a reason."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import mne
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import FormatError
from streamer.formats.brainvision import (
    NEW_SEGMENT,
    BrainVisionFile,
    BrainVisionWriter,
    FileMarker,
    read_brainvision,
    read_header,
    read_markers,
    write_brainvision,
)
from streamer.messages import ChannelInfo

CHANNELS = (ChannelInfo("Fp1", "eeg"), ChannelInfo("a, b", "eeg"), ChannelInfo("ECG", "ecg"))
MARKERS = (
    FileMarker("Response", "R128", 0),
    FileMarker("SyncStatus", "Sync On", 7),
    FileMarker("Response", "R128", 99),
)

SEGMENT = FileMarker("New Segment", "", 0)
"""Every file begins with one."""


def whole(file: BrainVisionFile) -> np.ndarray:
    return file.stored(0, file.n_samples)


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
    np.testing.assert_array_equal(whole(read_brainvision(tmp_path / "v.vhdr")), [[1, -2, 32767]])


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


@pytest.mark.parametrize("codepage", ["utf-8", "utf-8-sig"])
def test_code_pages(vhdr: Path, codepage: str):
    vhdr.write_bytes(vhdr.read_text(encoding="utf-8").encode(codepage))
    file = read_brainvision(vhdr)
    assert (file.channels, file.problems) == (CHANNELS, ())


@pytest.mark.parametrize(("said", "is_"), [("UTF-8", "cp1252"), ("ANSI", "utf-8")])
def test_a_wrong_code_page_is_got_over_and_said(vhdr: Path, said: str, is_: str):
    text = vhdr.read_text(encoding="utf-8").replace("Codepage=UTF-8", f"Codepage={said}").replace("Ch1=Fp1", "Ch1=Ölig")
    vhdr.write_bytes(text.encode(is_))
    file = read_brainvision(vhdr)
    assert file.channels == (ChannelInfo("Ölig", "eeg"), *CHANNELS[1:])
    assert [f"eeg.vhdr: says that it is {said}" in problem for problem in file.problems] == [True]


def test_a_unit_that_a_code_page_has_garbled_is_microvolts(vhdr: Path):
    vhdr.write_text(vhdr.read_text(encoding="utf-8").replace("µV", "ÂµV"), encoding="utf-8")
    file = read_brainvision(vhdr)
    assert file.channels == CHANNELS
    np.testing.assert_allclose(file.scale, 0.5e-6)
    assert file.problems == ("eeg.vhdr: the unit of 3 of 3 channels is garbled and taken as µV",)


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


def test_a_recording_that_was_cut_is_read_to_its_last_whole_sample(vhdr: Path, stored: np.ndarray):
    raw = vhdr.with_suffix(".eeg").read_bytes()
    vhdr.with_suffix(".eeg").write_bytes(raw[:-1])
    file = read_brainvision(vhdr)
    np.testing.assert_array_equal(whole(file), stored[:99])
    assert file.markers == (SEGMENT, *MARKERS[:2])
    assert file.problems == (
        "eeg.eeg: ends in the middle of a sample; the last 5 bytes are left out",
        "eeg.vmrk: 1 of the markers lie outside samples 1 to 99 and are left out",
    )
    vhdr.with_suffix(".eeg").write_bytes(raw[:5])
    with pytest.raises(FormatError, match="5 bytes, expected at least one sample"):
        read_brainvision(vhdr)


def test_channel_by_channel_a_cut_cannot_be_got_over(vhdr: Path):
    text = vhdr.read_text(encoding="utf-8").replace("MULTIPLEXED", "VECTORIZED\r\nDataPoints=100")
    vhdr.write_text(text, encoding="utf-8")
    assert read_brainvision(vhdr).n_samples == 100
    raw = vhdr.with_suffix(".eeg").read_bytes()
    vhdr.with_suffix(".eeg").write_bytes(raw[:-60])
    with pytest.raises(FormatError, match="540 bytes, expected 600"):
        read_brainvision(vhdr)


def test_samples_that_the_header_does_not_know_of_are_said(vhdr: Path):
    text = vhdr.read_text(encoding="utf-8").replace("MULTIPLEXED", "MULTIPLEXED\r\nDataPoints=120")
    vhdr.write_text(text, encoding="utf-8")
    assert read_brainvision(vhdr).problems == ("eeg.eeg: 100 samples, but the header says 120",)


def test_headers_and_markers_are_read_without_the_samples(vhdr: Path):
    vhdr.with_suffix(".eeg").unlink()
    header = read_header(vhdr)
    assert (header.sfreq, header.channels, header.n_samples) == (5000.0, CHANNELS, None)
    assert header.marker_file is not None
    assert read_markers(header.marker_file).markers == (SEGMENT, *MARKERS)


def test_a_renamed_recording_is_explained(vhdr: Path):
    for path in (vhdr, vhdr.with_suffix(".eeg"), vhdr.with_suffix(".vmrk")):
        path.rename(path.with_stem("other"))
    with pytest.raises(
        FormatError, match=r"'eeg.eeg', which is not in .*other.eeg is there: was the recording renamed"
    ):
        read_brainvision(vhdr.with_stem("other"))


def test_new_segments_keep_their_dates(tmp_path: Path):
    segments = (
        FileMarker(NEW_SEGMENT, "", 0, "20240102030405123456"),
        FileMarker(NEW_SEGMENT, "", 50, "20240102030415123456"),
    )
    write_brainvision(
        tmp_path / "s.vhdr", 100.0, CHANNELS, [np.zeros((90, 3), np.int16)], (*reversed(segments), MARKERS[1])
    )
    assert read_brainvision(tmp_path / "s.vhdr").markers == (segments[0], MARKERS[1], segments[1])
    raw = mne.io.read_raw_brainvision(tmp_path / "s.vhdr", verbose="error")
    assert raw.info["meas_date"].isoformat() == "2024-01-02T03:04:05.123456+00:00"


def test_float32_keeps_what_int16_cannot_hold(tmp_path: Path):
    volts = np.array([[1e-9, 0.5, np.nan], [-3e-6, 0.0, 1.0]], np.float32)
    write_brainvision(tmp_path / "f.vhdr", 250.0, CHANNELS, [volts], [], None)
    np.testing.assert_allclose(read_brainvision(tmp_path / "f.vhdr").read(0, 2), volts, rtol=2e-7)
    raw = mne.io.read_raw_brainvision(tmp_path / "f.vhdr", verbose="error")
    np.testing.assert_allclose(raw.get_data().T, volts, rtol=2e-7)


def test_channels_that_are_not_in_volts_keep_their_unit(tmp_path: Path):
    channels = (ChannelInfo("Cz", "eeg"), ChannelInfo("Temp", "misc", "C"), ChannelInfo("Level", "misc", ""))
    values = np.array([[10e-6, 36.6, 3.0]], np.float32)
    with pytest.raises(ValueError, match="Temp, Level not in V"):
        write_brainvision(tmp_path / "u.vhdr", 250.0, channels, [values], [])
    for resolution in ([0.5e-6, 0.1, 1.0], None):
        write_brainvision(tmp_path / "u.vhdr", 250.0, channels, [values], [], resolution)
        file = read_brainvision(tmp_path / "u.vhdr")
        assert [(c.kind, c.unit) for c in file.channels] == [("eeg", "V"), ("misc", "C"), ("misc", "n/a")]
        np.testing.assert_allclose(file.read(0, 1), values, rtol=1e-6)


def test_a_writer_can_be_read_while_it_is_open_and_counts_what_it_alters(tmp_path: Path):
    path = tmp_path / "w.vhdr"
    with BrainVisionWriter(path, 250.0, CHANNELS) as writer:
        writer.append(np.array([[1e-6, np.nan, 1.0]]))
        writer.mark(FileMarker("Response", "R128", 1))
        writer.mark(FileMarker("Response", "R1", 0))
        writer.flush()
        np.testing.assert_array_equal(whole(read_brainvision(path)), [[2, 0, 32767]])
        with pytest.raises(ValueError, match="at sample -1"):
            writer.mark(FileMarker("Response", "R128", -1))
    assert (writer.n_samples, writer.altered) == (1, 2)
    assert writer.left_out == (FileMarker("Response", "R128", 1),)
    assert read_brainvision(path).markers == (SEGMENT, FileMarker("Response", "R1", 0))
    writer.close()


def _write_small(folder: Path) -> Path:
    path = folder / "eeg.vhdr"
    write_brainvision(path, 300.0, CHANNELS, [np.arange(60, dtype=np.int16).reshape(20, 3)], [MARKERS[1]])
    return path


@given(st.sampled_from([".vhdr", ".vmrk", ".eeg"]), st.floats(0, 1))
@settings(max_examples=150, deadline=None)
def test_however_a_file_is_cut_it_is_refused_or_read_as_far_as_it_goes(suffix: str, share: float):
    with tempfile.TemporaryDirectory() as folder:
        path = _write_small(Path(folder))
        cut = path.with_suffix(suffix)
        raw = cut.read_bytes()
        cut.write_bytes(raw[: int(share * len(raw))])
        with contextlib.suppress(FormatError):
            file = read_brainvision(path)
            np.testing.assert_array_equal(whole(file), np.arange(file.n_samples * 3).reshape(-1, 3))
            assert len(file.markers) <= 2
            assert set(file.markers) <= {SEGMENT, MARKERS[1]}


@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_blocks_of_any_size_read_back_as_one(sizes: list[int], seed: int):
    data = np.random.default_rng(seed).integers(-32768, 32768, (sum(sizes) + 1, 3)).astype(np.int16)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "b.vhdr"
        write_brainvision(path, 1000.0 / 3, CHANNELS, np.split(data, np.cumsum(sizes)), [])
        file = read_brainvision(path)
        np.testing.assert_array_equal(whole(file), data)
        assert file.sfreq == pytest.approx(1000.0 / 3, rel=1e-15)


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


def test_headers_and_markers_of_a_session_in_the_scanner(shared_data: Path):
    folder = shared_data / "eeg" / "eeg-rest-fmri"
    raw = read_header(folder / "sub-32" / "eeg" / "sub-32_task-rest_eeg.vhdr")
    assert (raw.sfreq, len(raw.channels), raw.problems) == (5000.0, 64, ())
    assert raw.marker_file is not None
    found = read_markers(raw.marker_file)
    syncs = [m.sample for m in found.markers if m.label == "Sync On"]
    assert (len(syncs), set(np.diff(syncs))) == (398, {10000})
    assert found.markers[0].date
    clean = read_header(folder / "derivatives" / "sub-32" / "eeg" / "sub-32_task-rest_eeg.vhdr")
    assert (clean.sfreq, clean.n_samples) == (250.0, 162023)
    assert clean.marker_file is not None
    markers = read_markers(clean.marker_file).markers
    scans = [m.sample for m in markers if m.label == "Scan Start"]
    assert (len(scans), set(np.diff(scans))) == (300, {540})
    counts = {label: sum(m.label == label for m in markers) for label in ("s", "R", "Sync On")}
    assert counts == {"s": 9000, "R": 745, "Sync On": 324}
