"""EDF, BDF and EEGLAB through MNE: volts, markers with samples, pauses, and no noise from MNE."""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from pathlib import Path

import mne
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.acquire.recorded_mne import open_mne
from streamer.errors import FormatError
from tests.unit.edf_files import Edf, Signal

N = 5
"""Records of 1 s and 100 samples."""


def ramp(low: int = -250) -> np.ndarray:
    return np.arange(low, low + 100 * N)


def edf(**changes: object) -> Edf:
    signals = [
        Signal("EEG Fp1", ramp(), "uV", 0.5),
        Signal("ECG", ramp(-100), "mV", 0.01),
        Signal("EOG left", ramp(0), "uV", 1.0),
        Signal("Temp", ramp(0), "degC", 0.1),
    ]
    values: dict[str, object] = {"signals": signals, "n_records": N, "onsets": range(N)}
    return Edf(**{**values, **changes})  # type: ignore[arg-type]


def test_an_edf_is_in_volts_and_its_annotations_have_samples(tmp_path: Path):
    path = edf(annotations=[(0.0, "start"), (2.504, "R128"), (4.0, "R128")]).write(tmp_path / "a.edf")
    eeg = open_mne(path)
    assert (eeg.format, eeg.sfreq, eeg.n_samples, eeg.duration_s, eeg.problems) == ("EDF", 100.0, 500, 5.0, ())
    assert [(c.name, c.kind, c.unit) for c in eeg.channels] == [
        ("Fp1", "eeg", "V"), ("ECG", "ecg", "V"), ("EOG left", "eog", "V"), ("Temp", "misc", "degC"),
    ]  # fmt: skip
    expected = np.column_stack([ramp() * 0.5e-6, ramp(-100) * 1e-5, ramp(0) * 1e-6, ramp(0) * 0.1])
    data = eeg.read(0, 500)
    assert data.dtype == np.float32
    # the physical range in the header has 8 digits
    assert (np.abs(data - expected) <= 3e-3 * np.abs(expected).max(axis=0)).all()
    np.testing.assert_array_equal(eeg.read(123, 321), data[123:321])
    assert [(m.label, m.at_s, m.sample) for m in eeg.markers] == [
        ("start", 0.0, 0), ("R128", 2.504, 250), ("R128", 4.0, 400),
    ]  # fmt: skip


def test_mne_reads_the_same(tmp_path: Path):
    path = edf().write(tmp_path / "a.edf")
    raw = mne.io.read_raw_edf(path, verbose="error")
    np.testing.assert_allclose(open_mne(path).read(0, 500), raw.get_data().T, rtol=1e-6)


@pytest.mark.parametrize(
    ("unit", "encoding", "volts"), [("µV", "latin-1", 1e-6), ("µV", "utf-8", 1e-6), ("V", "utf-8", 1.0)]
)
def test_units_by_any_name(tmp_path: Path, unit: str, encoding: str, volts: float):
    path = edf(signals=[Signal("Cz", ramp(), unit)], encoding=encoding).write(tmp_path / "u.edf")
    eeg = open_mne(path)
    assert eeg.channels[0].unit == "V"
    np.testing.assert_allclose(eeg.read(0, 500)[:, 0], ramp() * volts, rtol=1e-4, atol=volts * 1e-2)


def test_without_any_unit_it_is_refused_until_it_is_given(tmp_path: Path):
    path = edf(signals=[Signal("Cz", ramp(), "")]).write(tmp_path / "n.edf")
    with pytest.raises(FormatError, match=r"no channel has a unit; .*set unit"):
        open_mne(path)
    np.testing.assert_allclose(open_mne(path, "mV").read(0, 500)[:, 0], ramp() * 1e-3, rtol=1e-4, atol=1e-5)
    with pytest.raises(FormatError, match="unit is 'inch'"):
        open_mne(path, "inch")


def test_pauses_of_an_interrupted_file_move_what_comes_after(tmp_path: Path):
    onsets = [0.0, 1.0, 7.25, 8.25, 9.25]
    marks = [(0.5, "before"), (7.25, "after"), (9.75, "end")]
    eeg = open_mne(edf(onsets=onsets, interrupted=True, annotations=marks).write(tmp_path / "d.edf"))
    raw, times = eeg.times(198, 203)
    np.testing.assert_allclose(times, [1.98, 1.99, 7.25, 7.26, 7.27])
    np.testing.assert_array_equal(raw, times)
    assert eeg.duration_s == pytest.approx(10.25)
    assert [(m.label, m.at_s, m.sample) for m in eeg.markers] == [
        ("before", 0.5, 50), ("after", 7.25, 200), ("end", 9.75, 450),
    ]  # fmt: skip
    assert eeg.problems == ("a pause of 5.250 s before 7.250 s",)


def test_a_bdf_gives_the_pulses_of_its_status_channel(tmp_path: Path):
    status = np.zeros(500, int)
    status[50:60], status[100:101], status[101:110] = 5, 7, 9
    # the upper bits tell of the amplifier, not of triggers
    signals = [Signal("Cz", ramp(), "uV", 0.03125), Signal("Status", status | 1 << 20, "Boolean")]
    eeg = open_mne(Edf(signals, N, bdf=True).write(tmp_path / "b.bdf"))
    assert (eeg.format, [c.name for c in eeg.channels]) == ("BDF", ["Cz"])
    np.testing.assert_allclose(eeg.read(0, 500)[:, 0], ramp() * 0.03125e-6, rtol=0, atol=2e-8)
    assert [(m.label, m.sample, m.at_s, m.kind) for m in eeg.markers] == [
        ("5", 50, 0.5, "Status"), ("7", 100, 1.0, "Status"), ("9", 101, 1.01, "Status"),
    ]  # fmt: skip


def test_channels_of_another_rate_are_left_out_and_said(tmp_path: Path):
    signals = [Signal("Cz", ramp()), Signal("Slow", np.zeros(10 * N)), Signal("Pz", ramp())]
    eeg = open_mne(edf(signals=signals).write(tmp_path / "r.edf"))
    assert [c.name for c in eeg.channels] == ["Cz", "Pz"]
    assert eeg.problems == ("1 channels have another rate than 100 Hz and are left out: Slow",)


def test_a_file_that_was_cut_is_read_to_its_last_whole_record(tmp_path: Path):
    path = edf().write(tmp_path / "c.edf")
    path.write_bytes(path.read_bytes()[:-500])
    eeg = open_mne(path)
    assert eeg.n_samples == 400
    assert eeg.problems == (
        "ends in the middle of a record; the last 390 bytes are left out",
        "4 whole records, but the header says 5",
    )


def test_annotations_that_are_no_utf8_are_read_and_said(tmp_path: Path):
    path = edf(annotations=[(1.0, "Größe")], encoding="latin-1").write(tmp_path / "l.edf")
    eeg = open_mne(path)
    assert [m.label for m in eeg.markers] == ["Größe"]
    assert "its annotations are no UTF-8: read as Latin-1" in eeg.problems


def test_an_annotation_outside_is_said(tmp_path: Path):
    eeg = open_mne(edf(annotations=[(1.0, "in"), (99.0, "out")]).write(tmp_path / "o.edf"))
    assert [m.label for m in eeg.markers] == ["in"]
    assert eeg.problems == ("1 annotations lie outside the recording and are left out",)


def test_who_was_recorded_never_shows(tmp_path: Path):
    patient = "ID7 F 31-FEB-1980 Doe_Jane"
    path = edf(patient=patient).write(tmp_path / "p.edf")
    eeg = open_mne(path)
    said = [*eeg.problems, repr(eeg.channels)]
    raw = path.read_bytes()
    path.write_bytes(raw[:60] + raw[70:])
    with pytest.raises(FormatError) as caught:
        open_mne(path)
    said.append(str(caught.value))
    assert not any(word in text for text in said for word in ("ID7", "1980", "Jane", "Doe"))


@pytest.mark.parametrize(
    ("name", "raw", "complaint"),
    [
        ("x.edf", b"", "expected the header of EDF"),
        ("x.edf", b"0       " + b" " * 248, "number of signals is ''"),
        ("x.set", b"not matlab", "MNE cannot read it"),
        ("x.txt", b"", r"expected .edf, .bdf or .set"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, raw: bytes, complaint: str):
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(FormatError, match=complaint):
        open_mne(tmp_path / name)
    with pytest.raises(FormatError, match="no such file"):
        open_mne(tmp_path / f"none{name}")


@given(st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_however_a_file_is_cut_it_is_refused_or_read_as_far_as_it_goes(share: float):
    with tempfile.TemporaryDirectory() as folder:
        path = edf(annotations=[(1.0, "a"), (4.5, "b")]).write(Path(folder) / "t.edf")
        raw = path.read_bytes()
        cut = int(share * len(raw))
        path.write_bytes(raw[:cut])
        with contextlib.suppress(FormatError):
            eeg = open_mne(path)
            assert len(eeg.read(0, eeg.n_samples)) == eeg.n_samples
            assert bool(eeg.problems) == (cut < len(raw))


def test_a_real_eeglab_set(shared_data: Path):
    path = shared_data / "eeg" / "eeglab-sample" / "eeglab_data.set"
    eeg = open_mne(path)
    assert (eeg.format, eeg.sfreq, eeg.n_samples, eeg.problems) == ("EEGLAB", 128.0, 30504, ())
    assert eeg.duration_s == pytest.approx(238.3, abs=0.05)
    assert Counter(c.kind for c in eeg.channels) == {"eeg": 30, "eog": 2}
    assert Counter(m.label for m in eeg.markers) == {"square": 80, "rt": 74}
    raw = mne.io.read_raw_eeglab(path, verbose="error").get_data().T
    np.testing.assert_allclose(eeg.read(8000, 20_000), raw[8000:20_000], rtol=1e-6, atol=1e-12)
    assert all(abs(m.at_s * 128 - (m.sample or 0)) <= 0.5 for m in eeg.markers)


def test_an_eeglab_set_whose_samples_were_cut_is_read_as_far_as_it_goes(shared_data: Path, tmp_path: Path):
    for name in ("eeglab_data.set", "eeglab_data.fdt"):
        (tmp_path / name).write_bytes((shared_data / "eeg" / "eeglab-sample" / name).read_bytes())
    whole = open_mne(tmp_path / "eeglab_data.set")
    expected, markers = whole.read(9000, 10_000), whole.markers
    fdt = tmp_path / "eeglab_data.fdt"
    fdt.write_bytes(fdt.read_bytes()[: 10_000 * 32 * 4 + 5])
    eeg = open_mne(tmp_path / "eeglab_data.set")
    assert eeg.n_samples == 10_000
    np.testing.assert_array_equal(eeg.read(9000, 10_000), expected)
    assert eeg.markers == tuple(m for m in markers if (m.sample or 0) < 10_000)
    assert "eeglab_data.fdt: ends after 10000 of 30504 samples" in eeg.problems
    fdt.unlink()
    with pytest.raises(FormatError, match="MNE cannot read it"):
        open_mne(tmp_path / "eeglab_data.set")
