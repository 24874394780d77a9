"""The cleaned EEG on disk: samples, times, gaps, flags and markers."""

from __future__ import annotations

import csv
import resource
from pathlib import Path

import mne
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamer.acquire.recorded_brainvision import open_brainvision
from streamer.emit.clean_eeg_file import CLEAN_EEG, CLEAN_EEG_TIMES, TOLERANCE_S, CleanEegFile
from streamer.errors import UsageError
from streamer.formats.brainvision import read_brainvision
from streamer.messages import ChannelInfo, CleanEeg, Flag, Marker, SessionTime

SFREQ = 250.0
CHANNELS = (ChannelInfo("Cz", "eeg"), ChannelInfo("Pz", "eeg"))
START = 51234.5


def record(first: int, n: int, flags: Flag = Flag.NONE, late: float = 0.0, ppm: float = 0.0) -> CleanEeg:
    index = first + np.arange(n)
    data = np.stack([index, -index], axis=1).astype(np.float32) * np.float32(1e-7)
    return CleanEeg(data, START + late + index / SFREQ * (1 + 1e-6 * ppm), first, (first + n) * 20, flags)


def marker(at: float, label: str = "R128") -> Marker:
    return Marker(label, SessionTime(at), at - 7.0, None, SessionTime(at + 1.0))


def times_by_table(folder: Path, n: int) -> np.ndarray:
    """Do what the file's description says."""
    rows = list(csv.DictReader((folder / CLEAN_EEG_TIMES).read_text().splitlines(), delimiter="\t"))
    samples = np.array([int(row["sample"]) for row in rows])
    at = np.searchsorted(samples, np.arange(n), "right") - 1
    return np.array([float(row["time"]) for row in rows])[at] + (np.arange(n) - samples[at]) / SFREQ


def test_mne_reads_the_samples_and_the_markers_where_they_were(tmp_path: Path) -> None:
    sink = CleanEegFile(tmp_path, CHANNELS, SFREQ)
    # one marker before its sample is there, one after, one between two samples
    sink.mark(marker(START + 10 / SFREQ))
    records = [record(first, 5) for first in range(0, 500, 5)]
    for item in records:
        sink.put(item)
    sink.mark(marker(START + 3.0001 / SFREQ, "Sync On"))
    sink.mark(marker(START + 20.4 / SFREQ, "a,b\nc"))
    sink.mark(marker(START - 1.0))
    sink.mark(marker(START + 600 / SFREQ))
    sink.finish()
    assert dict(sink.losses()) == {}
    assert sink.counts == {"samples": 500, "markers": 3, "markers_outside": 2}
    raw = mne.io.read_raw_brainvision(tmp_path / CLEAN_EEG, verbose="error")
    np.testing.assert_allclose(raw.get_data().T, np.concatenate([r.data for r in records]), rtol=2e-7, atol=0)
    assert raw.info["sfreq"] == SFREQ
    found = [(d, round(o * SFREQ)) for d, o in zip(raw.annotations.description, raw.annotations.onset, strict=True)]
    assert [f for f in found if "New Segment" not in f[0]] == [
        ("Marker/Sync On", 3),
        ("Marker/R128", 10),
        ("Marker/a,b c", 20),
    ]


def test_a_gap_is_a_segment_whose_date_tells_its_length(tmp_path: Path) -> None:
    sink = CleanEegFile(tmp_path, CHANNELS, SFREQ)
    sink.put(record(0, 100))
    sink.put(record(350, 100, Flag.GAP))
    # in the gap, and on the first sample after it
    sink.mark(marker(START + 200 / SFREQ))
    sink.mark(marker(START + 350 / SFREQ))
    sink.finish()
    eeg = open_brainvision(tmp_path / CLEAN_EEG)
    times = eeg.times(0, eeg.n_samples)[1]
    np.testing.assert_allclose(times[:100], np.arange(100) / SFREQ, atol=1e-6)
    np.testing.assert_allclose(times[100:], np.arange(350, 450) / SFREQ, atol=1e-6)
    assert [m.sample for m in eeg.markers] == [100]
    assert sink.counts["markers_outside"] == 1
    np.testing.assert_allclose(times_by_table(tmp_path, 200) - START, times, atol=1e-6)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ppm=st.floats(-200, 200),
    pieces=st.lists(
        st.tuples(st.integers(1, 80), st.sampled_from([0, 0, 0, 30]), st.sampled_from([0, 1, 32])), max_size=20
    ),
)
def test_the_table_gives_every_sample_its_time_and_its_flags(
    tmp_path_factory: pytest.TempPathFactory, ppm: float, pieces: list[tuple[int, int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("clean")
    sink = CleanEegFile(folder, CHANNELS, SFREQ)
    first, times, flags = 0, [], []
    for n, gap, flag in pieces:
        item = record(first + gap, n, Flag(flag), late=1e-4 * (flag == 1), ppm=ppm)
        sink.put(item)
        first += gap + n
        times.append(item.times)
        flags += [Flag(flag)] * n
    sink.finish()
    if not pieces:
        return
    wanted = np.concatenate(times)
    # the table is written to a tenth of a microsecond
    assert np.abs(times_by_table(folder, len(wanted)) - wanted).max() <= TOLERANCE_S + 1e-7
    rows = list(csv.DictReader((folder / CLEAN_EEG_TIMES).read_text().splitlines(), delimiter="\t"))
    samples = [int(row["sample"]) for row in rows]
    for sample, flag in enumerate(flags):
        row = rows[int(np.searchsorted(samples, sample, "right")) - 1]
        assert row["flags"] == ("none" if not flag else flag.name)


def test_a_steady_clock_needs_one_row(tmp_path: Path) -> None:
    sink = CleanEegFile(tmp_path, CHANNELS, SFREQ)
    for first in range(0, 25_000, 5):
        sink.put(record(first, 5))
    sink.finish()
    assert len((tmp_path / CLEAN_EEG_TIMES).read_text().splitlines()) == 2


def test_a_full_disk_is_counted_and_what_is_there_can_be_read(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    sink = CleanEegFile(tmp_path, CHANNELS, SFREQ)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
    try:
        for first in range(0, 10_000, 100):
            sink.put(record(first, 100))
        sink.finish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sink.losses()["record"] > 0
    found = read_brainvision(tmp_path / CLEAN_EEG)
    assert 0 < found.n_samples <= 5000
    np.testing.assert_allclose(found.read(0, 100), record(0, 100).data, rtol=2e-7)


def test_cleaned_eeg_is_never_overwritten(tmp_path: Path) -> None:
    CleanEegFile(tmp_path, CHANNELS, SFREQ).finish()
    before = (tmp_path / CLEAN_EEG).read_bytes()
    with pytest.raises(UsageError, match="without results"):
        CleanEegFile(tmp_path, CHANNELS, SFREQ)
    assert (tmp_path / CLEAN_EEG).read_bytes() == before
