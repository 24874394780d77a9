"""Tables as parts of a recording: volts, rate and markers of a CSV, markers of a table of events."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from streamer.acquire.recorded_table import open_csv
from streamer.errors import FormatError

MUSE = ("TP9", "AF7", "AF8", "TP10", "Right AUX")


def write(path: Path, stamps: np.ndarray, names: tuple[str, ...] = MUSE, marks: tuple[int, ...] = ()) -> Path:
    lines = [",".join(["timestamps", *names, "Marker"])]
    for k, stamp in enumerate(stamps):
        code = str(marks.index(k) + 1) if k in marks else "0"
        lines.append(",".join([f"{stamp:.3f}", *[f"{k}.5"] * len(names), code]))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_muse_is_in_microvolts_and_its_rate_is_a_usual_one(tmp_path: Path):
    stamps = 1.5e9 + np.arange(600) / 256.02
    eeg = open_csv(write(tmp_path / "m.csv", stamps, marks=(10, 300)))
    assert (eeg.sfreq, eeg.n_samples, eeg.problems) == (256.0, 600, ())
    assert [(c.name, c.kind, c.unit) for c in eeg.channels][3:] == [("TP10", "eeg", "V"), ("Right AUX", "misc", "V")]
    np.testing.assert_allclose(eeg.read(3, 5), [[3.5e-6] * 5, [4.5e-6] * 5], rtol=1e-6)
    assert eeg.read(3, 5).dtype == np.float32
    raw, times = eeg.times(0, 600)
    np.testing.assert_allclose(raw, stamps, atol=1e-3)
    np.testing.assert_allclose(times, stamps - 1.5e9, atol=1e-3)
    assert [(m.label, m.sample, m.kind) for m in eeg.markers] == [("1", 10, "Marker"), ("2", 300, "Marker")]
    assert [m.at_s for m in eeg.markers] == times[[10, 300]].tolist()


def test_gaps_and_stamps_out_of_order_are_said(tmp_path: Path):
    stamps = 100.0 + np.arange(500) / 250
    stamps[300:] += 2.0
    stamps[100] = stamps[99]
    stamps[200] -= 1.0
    eeg = open_csv(write(tmp_path / "g.csv", stamps))
    assert eeg.sfreq == 250.0
    assert eeg.duration_s == pytest.approx(4.0)
    assert eeg.problems == (
        "1 stamps go backwards, by 0.996 s at most",
        "1 stamps are the same as the one before",
        "2 gaps, the longest of 2.004 s",
    )


def test_an_unknown_device_needs_a_unit(tmp_path: Path):
    path = write(tmp_path / "u.csv", np.arange(50) / 37.0, ("Cz", "Pz"))
    with pytest.raises(FormatError, match=r"unit is not told; .*set unit"):
        open_csv(path)
    eeg = open_csv(path, "mV")
    assert eeg.sfreq == pytest.approx(37.0, rel=2e-3)
    np.testing.assert_allclose(eeg.read(2, 3), 2.5e-3, rtol=1e-6)


def test_stamps_that_tell_no_rate_are_refused(tmp_path: Path):
    with pytest.raises(FormatError, match="tell no rate"):
        open_csv(write(tmp_path / "n.csv", np.zeros(5)))


def test_real_recordings(shared_data: Path):
    files = sorted((shared_data / "eeg" / "muse-p300").rglob("*.csv"))
    assert len(files) == 6
    parts = [open_csv(path) for path in files]
    assert {(eeg.n_samples, eeg.sfreq, eeg.problems) for eeg in parts} == {(30_732, 256.0, ())}
    assert sum((Counter(m.label for m in eeg.markers) for eeg in parts), Counter()) == {"1": 976, "2": 185}
    raw, _ = parts[0].times(0, 30_732)
    assert 30_731 / (raw[-1] - raw[0]) == pytest.approx(256.025, abs=0.01)
