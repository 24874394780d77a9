"""XDF as parts of a recording: one clock applied once, resets found, units certain, what is wrong said."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import pyxdf
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.acquire.recorded_clock import fit_clock
from streamer.acquire.recorded_xdf import list_streams, open_xdf
from streamer.errors import FormatError, RecordingError
from streamer.formats.xdf import XdfChannel, XdfWriter

SFREQ = 250.0
CHANNELS = (XdfChannel("Cz", "microvolts", "EEG"), XdfChannel("ECG", "mV", "ECG"), XdfChannel("Acc", "g", "misc"))


@dataclass
class Sender:
    """A computer whose clock reads ``host - offset`` and is fast by ``drift``."""

    offset: float
    drift: float = 0.0

    def stamps(self, host: np.ndarray) -> np.ndarray:
        return (host - self.offset) * (1 + self.drift)


def write(path: Path, stamps: np.ndarray, host: np.ndarray, pulses: np.ndarray, strays: tuple[int, ...] = ()) -> None:
    """Write EEG stamped ``stamps`` that was taken at ``host`` s; the pulses are stamped by the recorder's own clock."""
    rng = np.random.default_rng(3)
    with XdfWriter(path) as writer:
        eeg = writer.add_stream("amp", "EEG", CHANNELS, SFREQ, "float32")
        markers = writer.add_stream("pulses", "Markers", [XdfChannel("marker")], 0.0, "string")
        for k, part in enumerate(np.array_split(np.arange(len(stamps)), max(1, len(stamps) // 1250))):
            data = np.column_stack([part, part, part]).astype(np.float32)
            writer.samples(eeg, stamps[part], data)
            noise = 40e-6 * rng.standard_normal() + (3.0 if k in strays else 0.0)
            writer.clock_offset(eeg, float(stamps[part[-1]]), float(host[part[-1]] - stamps[part[-1]] + noise))
            here = pulses[(pulses >= host[part[0]]) & (pulses < host[part[0]] + 5.0)]
            writer.strings(markers, here, ["R128"] * len(here))
            writer.clock_offset(markers, float(host[part[-1]]), 0.0)


def host_times(seconds: float) -> np.ndarray:
    return 5000.0 + np.arange(round(seconds * SFREQ)) / SFREQ


def test_offsets_are_applied_once_and_drift_with_them(tmp_path: Path):
    host = host_times(300)
    stamps = Sender(-86_400.0, 50e-6).stamps(host)
    write(tmp_path / "d.xdf", stamps, host, np.arange(5001.0, 5290.0, 2.0), strays=(7,))
    found = open_xdf(tmp_path / "d.xdf")
    eeg = found.eeg
    assert eeg is not None
    raw, times = eeg.times(0, eeg.n_samples)
    np.testing.assert_array_equal(raw, stamps)
    assert np.abs(times - (host - host[0])).max() < 1e-4
    assert eeg.duration_s == pytest.approx(300, abs=1e-3)
    assert [m.at_s for m in eeg.markers] == pytest.approx(np.arange(1.0, 290.0, 2.0), abs=1e-4)
    assert {(m.label, m.kind, m.sample) for m in eeg.markers} == {("R128", "pulses", None)}
    assert (found.others, found.problems, eeg.problems) == (eeg.markers, (), ())


def test_values_are_in_volts_where_they_are_voltages(tmp_path: Path):
    host = host_times(20)
    write(tmp_path / "u.xdf", host, host, np.zeros(0))
    eeg = open_xdf(tmp_path / "u.xdf").eeg
    assert eeg is not None
    assert [(c.name, c.kind, c.unit) for c in eeg.channels] == [
        ("Cz", "eeg", "V"), ("ECG", "ecg", "V"), ("Acc", "misc", "g"),
    ]  # fmt: skip
    np.testing.assert_allclose(eeg.read(7, 9), [[7e-6, 7e-3, 7.0], [8e-6, 8e-3, 8.0]], rtol=1e-6)
    assert eeg.read(7, 9).dtype == np.float32


@pytest.mark.parametrize("offset_after", [80_000.0, -80_000.0, 4_000.0])
def test_a_clock_that_was_set_anew_is_found_and_its_stretches_kept_apart(tmp_path: Path, offset_after: float):
    host = host_times(200)
    cut = 30_017
    host[cut:] += 12.5
    stamps = np.concatenate([Sender(100.0, 20e-6).stamps(host[:cut]), Sender(offset_after, -30e-6).stamps(host[cut:])])
    write(tmp_path / "r.xdf", stamps, host, np.zeros(0))
    eeg = open_xdf(tmp_path / "r.xdf").eeg
    assert eeg is not None
    _, times = eeg.times(0, eeg.n_samples)
    assert np.abs(times - (host - host[0])).max() < 5e-4
    assert sum("set anew before sample 30017" in problem for problem in eeg.problems) == 1
    assert sum("1 gaps, the longest of 12.504 s" in problem for problem in eeg.problems) == 1
    assert eeg.duration_s == pytest.approx(212.5, abs=1e-2)


def test_resets_are_found_when_the_measurements_stand_apart_from_the_samples():
    host = host_times(100)
    stamps = np.concatenate([host[:9000] - 10.0, host[9000:] + 500.0])
    at = np.arange(0, len(host), 1000)
    measured = np.column_stack([stamps[at], host[at] - stamps[at], np.full(len(at), len(host))])
    clock = fit_clock(stamps, measured)
    assert clock.first.tolist() == [0, 9000]
    np.testing.assert_allclose(clock.correct(0, stamps), host, atol=1e-6)
    np.testing.assert_allclose(clock.correct(8990, stamps[8990:9010]), host[8990:9010], atol=1e-6)


def test_stamps_stay_as_they_are_and_what_is_wrong_with_them_is_said(tmp_path: Path):
    host = host_times(30)
    stamps = host.copy()
    stamps[1000] = stamps[999]
    stamps[2000] -= 7200.0
    stamps[3000:] += 0.4
    write(tmp_path / "s.xdf", stamps, stamps, np.zeros(0))
    eeg = open_xdf(tmp_path / "s.xdf").eeg
    assert eeg is not None
    np.testing.assert_array_equal(eeg.times(0, len(stamps))[0], stamps)
    said = " | ".join(eeg.problems)
    assert "1 stamps are the same as the one before" in said
    assert "1 stamps go backwards, by 7199.9" in said
    assert "2 gaps" in said


def test_a_rate_that_is_not_the_nominal_one_is_said(tmp_path: Path):
    host = 10.0 + np.arange(2500) / 240.0
    write(tmp_path / "n.xdf", host, host, np.zeros(0))
    assert open_xdf(tmp_path / "n.xdf").problems == (
        "stream 'amp': nominal rate 250 Hz, but by its stamps 240.00 Hz",
    )  # fmt: skip


def _streams(path: Path, *streams: tuple[str, str, tuple[XdfChannel, ...]]) -> Path:
    with XdfWriter(path) as writer:
        for name, kind, channels in streams:
            stream = writer.add_stream(name, kind, channels, SFREQ, "float32")
            writer.samples(stream, 20.0 + np.arange(50) / SFREQ, np.ones((50, len(channels))))
    return path


def test_of_several_eeg_streams_one_is_chosen_by_name_or_number(tmp_path: Path):
    path = _streams(tmp_path / "2.xdf", ("left", "EEG", CHANNELS), ("right", "EEG", CHANNELS[:2]))
    with pytest.raises(RecordingError, match=r"2 EEG streams, expected one; set stream to .*1 'left' .*2 'right'"):
        open_xdf(path)
    for wanted, n_channels in (("left", 3), ("right", 2), ("2", 2)):
        eeg = open_xdf(path, wanted).eeg
        assert eeg is not None
        assert len(eeg.channels) == n_channels
    with pytest.raises(RecordingError, match=r"no stream 'middle' .*there are 1 'left'"):
        open_xdf(path, "middle")


@pytest.mark.parametrize("unit", ["", "bananas"])
def test_an_unknown_unit_is_refused_until_it_is_given(tmp_path: Path, unit: str):
    path = _streams(tmp_path / "u.xdf", ("amp", "EEG", (XdfChannel("Cz", unit, "EEG"),)))
    with pytest.raises(FormatError, match=r"unit of Cz .*set unit"):
        open_xdf(path)
    eeg = open_xdf(path, unit="mV").eeg
    assert eeg is not None
    np.testing.assert_allclose(eeg.read(0, 1), 1e-3)
    with pytest.raises(FormatError, match="unit is 'inch'"):
        open_xdf(path, unit="inch")


def test_two_channels_of_one_name_are_refused(tmp_path: Path):
    path = _streams(tmp_path / "t.xdf", ("amp", "EEG", (CHANNELS[0], CHANNELS[0])))
    with pytest.raises(FormatError, match="more than one channel is called Cz"):
        open_xdf(path)


def test_physiology_beside_the_eeg(tmp_path: Path):
    path = _streams(
        tmp_path / "p.xdf", ("amp", "EEG", CHANNELS), ("belt", "Respiration", (XdfChannel("chest", "a.u."),))
    )
    (part,) = open_xdf(path).physio
    assert (part.channels[0].name, part.channels[0].unit, part.sfreq, part.n_samples) == ("chest", "a.u.", SFREQ, 50)
    assert part.start_s == pytest.approx(0.0)
    assert part.read(3, 5).tolist() == [[1.0], [1.0]]


def test_without_eeg_the_axis_begins_with_the_first_marker(tmp_path: Path):
    with XdfWriter(tmp_path / "m.xdf") as writer:
        markers = writer.add_stream("keys", "Markers", [XdfChannel("marker")], 0.0, "string")
        writer.strings(markers, np.array([7.0, 9.5]), ["a", "b"])
    found = open_xdf(tmp_path / "m.xdf")
    assert found.eeg is None
    assert [(m.label, m.at_s, m.at_raw) for m in found.others] == [("a", 0.0, 7.0), ("b", 2.5, 9.5)]


@pytest.mark.parametrize("host", ["same", "other"])
def test_a_marker_with_the_stamp_of_a_sample_of_the_same_machine_has_that_sample(tmp_path: Path, host: str):
    stamps = 20.0 + np.arange(500) / SFREQ
    path = tmp_path / "h.xdf"
    with XdfWriter(path) as writer:
        eeg = writer.add_stream("amp", "EEG", CHANNELS, SFREQ, "float32", "HOSTA")
        markers = writer.add_stream("pulses", "Markers", [XdfChannel("marker")], 0.0, "string", "HOSTB")
        writer.samples(eeg, stamps, np.zeros((500, 3)))
        writer.strings(markers, np.array([stamps[7], stamps[300], 20.0101]), ["R128"] * 3)
    # the writer names no machine: the tag of the source is as long, and does not matter here
    raw = path.read_bytes().replace(b"<source_id>HOSTA</source_id>", b"<hostname>machine</hostname>".ljust(28))
    name = b"<hostname>machine</hostname>" if host == "same" else b"<hostname>another</hostname>"
    path.write_bytes(raw.replace(b"<source_id>HOSTB</source_id>", name))
    found = open_xdf(path)
    assert [m.sample for m in found.others] == ([None, 7, 300] if host == "same" else [None] * 3)


@given(st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_however_a_recording_is_cut_it_opens_with_a_problem_or_is_refused(share: float):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.xdf"
        host = host_times(12)
        write(path, host, host, np.arange(5001.0, 5010.0))
        raw = path.read_bytes()
        cut = int(share * len(raw))
        path.write_bytes(raw[:cut])
        with contextlib.suppress(RecordingError):
            found = open_xdf(path)
            assert bool(found.problems) == (cut < len(raw))
            if found.eeg is not None:
                n = found.eeg.n_samples
                np.testing.assert_array_equal(found.eeg.read(0, n)[:, 2], np.arange(n))


def test_streams_are_listed_with_what_is_wrong(tmp_path: Path):
    path = _streams(tmp_path / "l.xdf", ("amp", "EEG", CHANNELS))
    (stream,) = list_streams(path)
    assert (stream.name, stream.type, stream.n_channels, stream.sfreq, stream.n_samples) == ("amp", "EEG", 3, 250.0, 50)
    assert stream.problems == ()
    path.write_bytes(path.read_bytes()[:-3])
    assert [problem[:31] for problem in list_streams(path)[0].problems] == [
        "ends in the middle of a chunk; ",
        "no footer: its recording was no",
    ]


@pytest.mark.parametrize(
    ("name", "n_samples", "markers", "n_offsets"),
    [("switch_example", 34320, (71, 581), 27), ("P300Checkboard_run-001", 19072, (40, 34), 15)],
)
def test_real_recordings(shared_data: Path, name: str, n_samples: int, markers: tuple[int, int], n_offsets: int):
    path = shared_data / "eeg" / "bci-essentials" / f"{name}.xdf"
    found = open_xdf(path)
    eeg = found.eeg
    assert eeg is not None
    assert (eeg.n_samples, eeg.sfreq, len(eeg.channels), len(eeg.stream.offsets)) == (n_samples, 256.0, 16, n_offsets)
    kinds = [m.kind for m in eeg.markers]
    assert (kinds.count("UnityMarkerStream"), kinds.count("PythonResponse")) == markers
    assert found.problems == ("stream 'UnityMarkerStream': no footer: its recording was not finished",)
    raw, times = eeg.times(0, n_samples)
    assert (n_samples - 1) / (raw[-1] - raw[0]) == pytest.approx(255.9965, abs=5e-4)
    assert times[0] == 0.0
    synced, _ = pyxdf.load_xdf(path, [{"type": "EEG"}], dejitter_timestamps=False)
    np.testing.assert_allclose(times + eeg.start, synced[0]["time_stamps"], atol=1e-5, rtol=0)
    if name == "switch_example":
        labels = [m.label for m in eeg.markers if m.kind == "UnityMarkerStream"]
        counts = [labels.count(f"switch,3,{k},2") for k in (2, 1, 0)]
        assert (counts, labels.count("Trial Started")) == ([20, 15, 15], 10)
