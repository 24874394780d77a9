"""WFDB records: formats 212 and 16, annotations, and what is broken."""

from __future__ import annotations

import contextlib
import struct
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.acquire.recorded_wfdb import open_wfdb
from streamer.errors import FormatError
from streamer.formats.wfdb import WfdbAnnotation, read_annotations, read_wfdb


def pack_212(values: np.ndarray) -> bytes:
    flat = np.append(values.ravel(), [0] * (values.size % 2)).astype(np.int64) & 0xFFF
    first, second = flat.reshape(-1, 2).T
    packed = np.column_stack([first & 0xFF, (first >> 8) | ((second >> 8) << 4), second & 0xFF])
    return packed.astype(np.uint8).tobytes()


def pack_annotations(rows: list[tuple[int, int, bytes]]) -> bytes:
    """Rows of sample, code, text."""
    out, last = b"", 0
    for sample, code, text in rows:
        step = sample - last
        if not 0 <= step < 1024:
            out += struct.pack("<H", 59 << 10) + struct.pack("<HH", (step >> 16) & 0xFFFF, step & 0xFFFF)
            step = 0
        out += struct.pack("<H", code << 10 | step)
        if text:
            out += struct.pack("<H", 63 << 10 | len(text)) + text + b"\0" * (len(text) % 2)
        last = sample
    return out + b"\0\0"


def write(
    folder: Path, values: np.ndarray, storage: int = 212, rows: list[tuple[int, int, bytes]] | None = None
) -> Path:
    packed = pack_212(values) if storage == 212 else values.astype("<i2").tobytes()
    (folder / "r.dat").write_bytes(packed)
    lines = [f"r {values.shape[1]} 250 {len(values)}"]
    lines += [f"r.dat {storage} 200(10)/mV 12 0 0 0 0 lead {k}" for k in range(values.shape[1])]
    (folder / "r.hea").write_text("\n".join([*lines, "# 69 M Doe, Jane"]) + "\n")
    if rows is not None:
        (folder / "r.atr").write_bytes(pack_annotations(rows))
    return folder / "r.hea"


@given(
    st.sampled_from([212, 16]),
    st.integers(1, 40),
    st.integers(1, 3),
    st.tuples(st.integers(0, 40), st.integers(0, 40)),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=80, deadline=None)
def test_any_stretch_reads_back(storage: int, n: int, width: int, span: tuple[int, int], seed: int):
    values = np.random.default_rng(seed).integers(-2047, 2048, (n, width))
    start, stop = (min(edge, n) for edge in sorted(span))
    with tempfile.TemporaryDirectory() as folder:
        record = read_wfdb(write(Path(folder), values, storage))
        assert (record.n_samples, record.sfreq, record.problems) == (n, 250.0, ())
        np.testing.assert_array_equal(record.stored(start, stop), values[start:stop])
        np.testing.assert_allclose(record.read(start, stop), (values[start:stop] - 10) / 200)


def test_a_value_that_was_not_measured_is_no_number(tmp_path: Path):
    record = read_wfdb(write(tmp_path, np.array([[-2048, 10]])))
    np.testing.assert_array_equal(record.read(0, 1), [[np.nan, 0.0]])


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (0, 4), (2, 1)])
def test_a_range_outside_is_refused(tmp_path: Path, start: int, stop: int):
    with pytest.raises(ValueError, match="of a record of 3"):
        read_wfdb(write(tmp_path, np.zeros((3, 2), int))).stored(start, stop)


def test_annotations_with_long_steps_and_text(tmp_path: Path):
    rows = [(5, 28, b"(AFIB"), (70_000, 1, b""), (70_900, 5, b""), (200_000, 22, b"odd")]
    (tmp_path / "a.atr").write_bytes(pack_annotations(rows))
    found, complete = read_annotations(tmp_path / "a.atr")
    assert complete
    assert found == (
        WfdbAnnotation(5, "+", "(AFIB"),
        WfdbAnnotation(70_000, "N", ""),
        WfdbAnnotation(70_900, "V", ""),
        WfdbAnnotation(200_000, '"', "odd"),
    )
    assert [a.is_beat for a in found] == [False, True, True, False]


def test_what_was_cut_is_said_and_refused_as_physiology(tmp_path: Path):
    hea = write(tmp_path, np.zeros((10, 2), int), rows=[(2, 1, b""), (9, 1, b"")])
    (tmp_path / "r.dat").write_bytes((tmp_path / "r.dat").read_bytes()[:-4])
    record = read_wfdb(hea)
    assert record.n_samples == 8
    assert record.problems == (
        "r.dat: ends after 8 of 10 samples",
        "r.atr: 1 annotations lie outside and are left out",
    )
    with pytest.raises(FormatError, match="ends after 8 of 10 samples"):
        open_wfdb(hea)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("r 2 250", "r/3 2 250", "expected the name of one record"),
        ("r 2 250", "r 5 250", "describes 2 of 5 signals"),
        ("r 2 250", "r 2 fast", "'fast', expected a number"),
        ("212", "310", "signal format 310, expected 212 or 16"),
        ("212", "212x4", "one sample per frame"),
        ("200(10)/mV", "lots", "gain 'lots'"),
        ("r.dat 212", "gone.dat 212", "'gone.dat', which is not in"),
    ],
)
def test_headers_that_are_broken_or_of_another_kind_are_refused(tmp_path: Path, old: str, new: str, complaint: str):
    hea = write(tmp_path, np.zeros((3, 2), int))
    text = hea.read_text()
    assert old in text
    hea.write_text(text.replace(old, new))
    with pytest.raises(FormatError, match=complaint) as caught:
        read_wfdb(hea)
    assert "Jane" not in str(caught.value)


@given(st.sampled_from([".hea", ".dat", ".atr"]), st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_however_a_record_is_cut_it_is_refused_or_read_as_far_as_it_goes(suffix: str, share: float):
    values = np.arange(40).reshape(20, 2)
    with tempfile.TemporaryDirectory() as folder:
        hea = write(Path(folder), values, rows=[(2, 1, b""), (9, 28, b"(N"), (15, 1, b"")])
        cut = hea.with_suffix(suffix)
        raw = cut.read_bytes()
        cut.write_bytes(raw[: int(share * len(raw))])
        with contextlib.suppress(FormatError):
            record = read_wfdb(hea)
            assert len(record.read(0, record.n_samples)) == record.n_samples
            if suffix != ".hea":
                np.testing.assert_array_equal(record.stored(0, record.n_samples), values[: record.n_samples])
                assert bool(record.problems) == (int(share * len(raw)) < len(raw))


def test_a_real_record(shared_data: Path):
    hea = shared_data / "ecg" / "mit-bih" / "100.hea"
    record = read_wfdb(hea)
    assert (record.n_samples, record.sfreq, record.problems) == (650_000, 360.0, ())
    assert Counter(a.symbol for a in record.annotations) == {"N": 2239, "A": 33, "V": 1, "+": 1}
    stored = record.stored(0, record.n_samples).astype(np.int64)
    sums = (stored.sum(axis=0) + 32768) % 65536 - 32768
    assert sums.tolist() == [signal.checksum for signal in record.signals] == [-22131, 20052]
    part = open_wfdb(hea)
    assert [(c.name, c.kind, c.unit) for c in part.channels] == [("MLII", "ecg", "V"), ("V5", "ecg", "V")]
    assert Counter(m.kind for m in part.markers) == {"beat": 2273, "rhythm": 1}
    np.testing.assert_allclose(part.read(0, 1), [[(995 - 1024) / 200e3, (1011 - 1024) / 200e3]])
    # an R peak stands out where each beat says that it is
    beats = np.array([m.sample for m in part.markers if m.kind == "beat"][1:100])
    lead = part.read(0, 40_000)[:, 0]
    assert np.median(lead[beats]) > np.median(lead) + 1e-3
