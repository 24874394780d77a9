from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pyxdf

from streamer.formats.xdf import XdfChannel, XdfWriter

CHANNELS = [XdfChannel("Fp1", "volts", "EEG"), XdfChannel('<&"Ω\x00\n', "µV", "")]


def load(path: Path, **options: object) -> list[dict]:
    streams, header = pyxdf.load_xdf(str(path), dejitter_timestamps=False, **options)
    assert header["info"]["version"] == ["1.0"]
    return streams


def test_numbers_come_back_sample_for_sample(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    sizes = [1, 25, 0, 255, 256, 400]
    blocks = [rng.normal(size=(n, 2)).astype(np.float32) for n in sizes]
    precise = rng.normal(size=(7, 1))
    times = [1e6 + rng.uniform(size=n).cumsum() for n in sizes]
    with XdfWriter(tmp_path / "a.xdf") as writer:
        eeg = writer.add_stream("Amp", "EEG", CHANNELS, 5000.0, "float32", "id-1")
        extra = writer.add_stream("Score", "NF", [XdfChannel("score")], 0, "double64")
        for t, block in zip(times, blocks, strict=True):
            writer.samples(eeg, t, block)
        writer.samples(extra, np.arange(7.0), precise)
    first, second = load(tmp_path / "a.xdf", synchronize_clocks=False)
    assert first["time_series"].dtype == np.float32
    np.testing.assert_array_equal(first["time_series"], np.concatenate(blocks))
    np.testing.assert_array_equal(first["time_stamps"], np.concatenate(times))
    np.testing.assert_array_equal(second["time_series"], precise)
    assert first["info"]["name"] == ["Amp"]
    assert first["info"]["type"] == ["EEG"]
    assert float(first["info"]["nominal_srate"][0]) == 5000.0
    listed = first["info"]["desc"][0]["channels"][0]["channel"]
    assert [c["label"][0] for c in listed] == ["Fp1", '<&"Ω']
    assert [c["unit"][0] for c in listed] == ["volts", "µV"]
    footer = first["footer"]["info"]
    assert int(footer["sample_count"][0]) == sum(sizes)
    assert float(footer["first_timestamp"][0]) == times[0][0]
    assert float(footer["last_timestamp"][0]) == times[-1][-1]


def test_texts_come_back(tmp_path: Path) -> None:
    texts = ["R128", "", "Ω" * 300, '{"a": 1}']
    with XdfWriter(tmp_path / "a.xdf") as writer:
        stream = writer.add_stream("Markers", "Markers", [XdfChannel("label")], 0, "string")
        writer.strings(stream, np.arange(4.0) + 0.1, texts)
        writer.strings(stream, np.zeros(0), [])
    (found,) = load(tmp_path / "a.xdf", synchronize_clocks=False)
    assert [t for (t,) in found["time_series"]] == texts
    np.testing.assert_array_equal(found["time_stamps"], np.arange(4.0) + 0.1)


def test_clock_offsets_bring_stamps_to_the_hosts_clock(tmp_path: Path) -> None:
    raw = 50.0 + np.arange(3000) / 100
    with XdfWriter(tmp_path / "a.xdf") as writer:
        stream = writer.add_stream("Amp", "EEG", CHANNELS[:1], 100.0, "float32")
        writer.samples(stream, raw, np.zeros((3000, 1)))
        for at in (50.0, 60.0, 70.0, 79.0):
            writer.clock_offset(stream, at, 1000.0 + 1e-5 * at)
    (found,) = load(tmp_path / "a.xdf")
    np.testing.assert_allclose(found["time_stamps"], raw + 1000.0 + 1e-5 * raw, atol=1e-6, rtol=0)
    (found,) = load(tmp_path / "a.xdf", synchronize_clocks=False)
    np.testing.assert_array_equal(found["time_stamps"], raw)


def test_a_reader_finds_its_feet_again_after_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.xdf"
    n = 100_000
    with XdfWriter(path) as writer:
        stream = writer.add_stream("Amp", "EEG", [XdfChannel(str(i)) for i in range(32)], 5000.0, "float32")
        for start in range(0, n, 5000):
            data = np.full((5000, 32), start, np.float32)
            writer.samples(stream, start / 5000 + np.arange(5000) / 5000, data)
    content = bytearray(path.read_bytes())
    mark = bytes.fromhex("43a546dccbf5410fb30ed5467383cbe4")
    assert content.count(mark) == 1
    # a samples chunk whose bytes per stamp make no sense
    at = content.index(mark) - 3_000_000
    content[at : at + 1_500_000] = b"\x07" * 1_500_000
    path.write_bytes(content)
    (found,) = load(path, synchronize_clocks=False)
    assert found["time_series"][-1, 0] == n - 5000
    assert len(found["time_series"]) < n


def test_wrong_shapes_and_existing_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xdf"
    with XdfWriter(path) as writer:
        eeg = writer.add_stream("Amp", "EEG", CHANNELS, 250.0, "float32")
        text = writer.add_stream("M", "Markers", [XdfChannel("x")], 0.0, "string")
        with pytest.raises(ValueError, match="2 channels"):
            writer.samples(eeg, np.zeros(3), np.zeros((3, 3)))
        with pytest.raises(ValueError, match="string stream"):
            writer.samples(text, np.zeros(1), np.zeros((1, 1)))
        with pytest.raises(ValueError, match="float32 stream"):
            writer.strings(eeg, np.zeros(1), ["a"])
    with pytest.raises(FileExistsError):
        XdfWriter(path)
