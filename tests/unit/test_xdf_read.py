"""Reading XDF: what was written reads back whatever the chunks, and what was cut is read as far as it goes."""

from __future__ import annotations

import contextlib
import gzip
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
import pyxdf
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import FormatError
from streamer.formats.xdf import XdfChannel, XdfWriter
from streamer.formats.xdf_chunks import BOUNDARY_MARK
from streamer.formats.xdf_read import XdfFile, XdfSamples, XdfStream, read_stamps, read_texts, scan_xdf

CHANNELS = (XdfChannel("Cz", "µV", "EEG"), XdfChannel("Pz", "µV", "EEG"))


def write(path: Path, stamps: np.ndarray, data: np.ndarray, cuts: list[int]) -> None:
    with XdfWriter(path) as writer:
        eeg = writer.add_stream("amp", "EEG", CHANNELS, 250.0, "float32")
        markers = writer.add_stream("pulses", "Markers", [XdfChannel("marker")], 0.0, "string")
        for part in np.split(np.arange(len(stamps)), cuts):
            writer.samples(eeg, stamps[part], data[part])
            writer.strings(markers, stamps[part][:1], [f"at {k}" for k in part[:1]])
            writer.clock_offset(eeg, 1000.0, 0.25)


def small(folder: Path, n: int = 60) -> tuple[Path, np.ndarray, np.ndarray]:
    stamps = 1000.0 + np.arange(n) / 250.0
    data = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    write(folder / "a.xdf", stamps, data, [10, 11, 40])
    return folder / "a.xdf", stamps, data


def everything(file: XdfFile, stream: XdfStream) -> np.ndarray:
    return XdfSamples(file.path, stream).read(0, stream.count)


def test_what_is_there_is_listed_without_reading_samples(tmp_path: Path):
    path, _, _ = small(tmp_path)
    file = scan_xdf(path)
    assert file.problems == ()
    eeg, markers = file.streams
    assert (eeg.name, eeg.type, eeg.n_channels, eeg.sfreq, eeg.channels) == ("amp", "EEG", 2, 250.0, CHANNELS)
    assert (eeg.n_samples, eeg.n_markers, markers.n_samples, markers.n_markers) == (60, 0, 0, 4)
    assert eeg.offsets.tolist() == [[1000.0, 0.25, n] for n in (10, 11, 40, 60)]


@given(
    st.integers(1, 300),
    st.lists(st.integers(0, 300), max_size=8),
    st.tuples(st.integers(0, 300), st.integers(0, 300)),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=40, deadline=None)
def test_what_was_written_in_any_chunks_reads_back(n: int, cuts: list[int], span: tuple[int, int], seed: int):
    rng = np.random.default_rng(seed)
    stamps, data = np.cumsum(rng.random(n)), rng.standard_normal((n, 2)).astype(np.float32)
    start, stop = (min(edge, n) for edge in sorted(span))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.xdf"
        write(path, stamps, data, sorted(min(cut, n) for cut in cuts))
        file = scan_xdf(path)
        eeg, markers = file.streams
        np.testing.assert_array_equal(read_stamps(path, eeg), stamps)
        np.testing.assert_array_equal(XdfSamples(path, eeg).read(start, stop), data[start:stop])
        at, texts = read_texts(path, markers)
        assert texts == [f"at {np.flatnonzero(stamps == t)[0]}" for t in at]


def test_pieces_of_a_long_stream_join(tmp_path: Path):
    n = 20_000
    data = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    write(tmp_path / "long.xdf", np.arange(n) / 250.0, data, list(range(7, n, 333)))
    eeg = scan_xdf(tmp_path / "long.xdf").streams[0]
    samples = XdfSamples(tmp_path / "long.xdf", eeg)
    for start, stop in [(0, n), (4000, 12_500), (19_999, n), (5000, 5000), (4343, 4344)]:
        np.testing.assert_array_equal(samples.read(start, stop), data[start:stop])
    with pytest.raises(ValueError, match="of a stream of 20000"):
        samples.read(0, n + 1)


@given(st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_however_a_file_is_cut_whole_chunks_are_read_and_the_loss_is_said(share: float):
    with tempfile.TemporaryDirectory() as folder:
        path, stamps, data = small(Path(folder))
        raw = path.read_bytes()
        cut = int(share * len(raw))
        path.write_bytes(raw[:cut])
        with contextlib.suppress(FormatError):
            file = scan_xdf(path)
            eeg = file.streams[0]
            np.testing.assert_array_equal(read_stamps(path, eeg), stamps[: eeg.count])
            np.testing.assert_array_equal(everything(file, eeg), data[: eeg.count])
            said = [*file.problems, *(p for stream in file.streams for p in stream.problems)]
            assert bool(said) == (cut < len(raw))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_bytes_never_end_in_anything_but_a_reason(draw: st.DataObject):
    with tempfile.TemporaryDirectory() as folder:
        path, _, _ = small(Path(folder))
        raw = bytearray(path.read_bytes())
        for _ in range(draw.draw(st.integers(1, 4))):
            raw[draw.draw(st.integers(0, len(raw) - 1))] = draw.draw(st.integers(0, 255))
        path.write_bytes(raw)
        with contextlib.suppress(FormatError):
            file = scan_xdf(path)
            for stream in file.streams:
                if stream.channel_format == "string":
                    assert len(read_texts(path, stream)[1]) == stream.count
                else:
                    assert len(everything(file, stream)) == stream.count


def test_behind_a_damaged_stretch_reading_goes_on_at_the_boundary(tmp_path: Path):
    path, stamps, data = small(tmp_path)
    raw = path.read_bytes()
    eeg = scan_xdf(path).streams[0]
    # the second chunk of samples loses its length; a boundary stands before the third
    _, _, start, stop = eeg.places[1].tolist()
    third = int(eeg.places[2, 2])
    boundary = struct.pack("<BBH", 1, 18, 5) + BOUNDARY_MARK
    path.write_bytes(raw[:start] + b"\x07" * (stop - start) + raw[stop:third] + boundary + raw[third:])
    file = scan_xdf(path)
    kept = np.r_[0:10, 11:60]
    np.testing.assert_array_equal(read_stamps(path, file.streams[0]), stamps[kept])
    np.testing.assert_array_equal(everything(file, file.streams[0]), data[kept])
    assert [f"from byte {start} on are damaged" in problem for problem in file.problems] == [True]


def test_stamps_that_were_left_out_follow_from_the_rate(tmp_path: Path):
    path, stamps, data = small(tmp_path)
    raw = path.read_bytes()
    eeg = scan_xdf(path).streams[0]
    _, count, start, stop = eeg.places[1].tolist()
    values = data[10].tobytes()
    content = struct.pack("<HI", 3, eeg.number) + struct.pack("<BB", 1, count) + b"\0" + values
    path.write_bytes(raw[:start] + struct.pack("<BB", 1, len(content)) + content + raw[stop:])
    eeg = scan_xdf(path).streams[0]
    np.testing.assert_allclose(read_stamps(path, eeg), stamps, atol=1e-9)
    np.testing.assert_array_equal(XdfSamples(path, eeg).read(0, 60), data)


def test_a_compressed_file_reads_the_same_and_as_far_as_it_goes(tmp_path: Path):
    path, _, data = small(tmp_path)
    packed = tmp_path / "a.xdfz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    file = scan_xdf(packed)
    np.testing.assert_array_equal(everything(file, file.streams[0]), data)
    packed.write_bytes(packed.read_bytes()[:-400])
    file = scan_xdf(packed)
    eeg = file.streams[0]
    np.testing.assert_array_equal(everything(file, eeg), data[: eeg.count])
    assert "ends in the middle of a chunk" in file.problems[0]


def test_numbers_as_markers_and_several_channels(tmp_path: Path):
    with XdfWriter(tmp_path / "n.xdf") as writer:
        numbers = writer.add_stream("codes", "Markers", [XdfChannel("a"), XdfChannel("b")], 0.0, "double64")
        writer.samples(numbers, np.array([1.0, 2.0]), [[5, 0.5], [6, np.nan]])
    (stream,) = scan_xdf(tmp_path / "n.xdf").streams
    assert stream.n_markers == 2
    assert read_texts(tmp_path / "n.xdf", stream)[1] == ["5 0.5", "6 nan"]


@pytest.mark.parametrize(
    ("raw", "complaint"), [(b"", "expected b'XDF:'"), (b"RIFF1234", "RIFF"), (b"XDF:", "no stream")]
)
def test_what_is_no_xdf_is_refused(tmp_path: Path, raw: bytes, complaint: str):
    (tmp_path / "x.xdf").write_bytes(raw)
    with pytest.raises(FormatError, match=complaint):
        scan_xdf(tmp_path / "x.xdf")
    with pytest.raises(FormatError, match="cannot be read"):
        scan_xdf(tmp_path / "none.xdf")


@pytest.mark.parametrize("name", ["switch_example", "P300Checkboard_run-001"])
def test_real_recordings_read_as_with_pyxdf(shared_data: Path, name: str):
    path = shared_data / "eeg" / "bci-essentials" / f"{name}.xdf"
    expected, _ = pyxdf.load_xdf(path, synchronize_clocks=False, dejitter_timestamps=False)
    file = scan_xdf(path)
    assert len(file.streams) == len(expected)
    for stream, other in zip(file.streams, expected, strict=True):
        assert (stream.name, stream.type) == (other["info"]["name"][0], other["info"]["type"][0])
        assert stream.offsets[:, :2].tolist() == np.column_stack([other["clock_times"], other["clock_values"]]).tolist()
        if stream.is_markers:
            stamps, texts = read_texts(path, stream)
            assert texts == [row[0] for row in other["time_series"]]
        else:
            stamps = read_stamps(path, stream)
            np.testing.assert_array_equal(everything(file, stream), other["time_series"])
        np.testing.assert_array_equal(stamps, other["time_stamps"])
