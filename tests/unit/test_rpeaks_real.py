"""R peaks of a real ECG, MIT-BIH record 100, against its annotated beats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamer.acquire.recorded_wfdb import open_wfdb
from streamer.clean.eeg.heart.rpeaks import RPeaks, RPeakSettings
from tests.unit.rpeak_signals import beats_of, score

MINUTES = 8


def _record(shared_data: Path) -> tuple[np.ndarray, np.ndarray, float]:
    part = open_wfdb(shared_data / "ecg" / "mit-bih" / "100.hea")
    n = round(60 * MINUTES * part.sfreq)
    beats = np.array([m.sample for m in part.markers if m.kind == "beat"], dtype=float)
    return part.read(0, n), beats, part.sfreq


@pytest.mark.parametrize(("lead", "f1"), [(0, 0.997), (1, 0.99)])
def test_the_beats_of_a_real_ecg(shared_data: Path, lead: int, f1: float) -> None:
    ecg, r, sfreq = _record(shared_data)
    peaks = RPeaks(RPeakSettings(), sfreq, 0, 1)
    beats = beats_of(peaks, ecg[:, lead : lead + 1], np.empty((len(ecg), 0)), size=20)
    got = score(beats, r, sfreq, start_s=5.0, stop_s=60 * MINUTES - 1)
    assert got.f1 >= f1
    assert got.errors_ms.std() <= 8.0
    assert got.delays_ms.max() <= 120.0


def test_the_same_with_muscle_mains_and_drift(shared_data: Path) -> None:
    ecg, r, sfreq = _record(shared_data)
    rng = np.random.default_rng(1)
    t = np.arange(len(ecg)) / sfreq
    noise = 60e-6 * rng.standard_normal(len(t)) + 150e-6 * np.sin(2 * np.pi * 50 * t)
    noise += 500e-6 * np.sin(2 * np.pi * 0.3 * t)
    peaks = RPeaks(RPeakSettings(), sfreq, 0, 2)
    beats = beats_of(peaks, ecg + noise[:, None], np.empty((len(ecg), 0)), size=20)
    got = score(beats, r, sfreq, start_s=5.0, stop_s=60 * MINUTES - 1)
    assert got.f1 >= 0.99
    assert got.errors_ms.std() <= 8.0
