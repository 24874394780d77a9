"""What other packages make of the session that `streamer bench eeg` is measured on.

They run as separate programs in an environment of their own, on a file that we write, and are judged by the same
measures. All work offline: they see the whole recording, the volumes and beats to come included.

    python -m venv peers && peers/bin/pip install -r benchmarks/peers-requirements.txt
    python benchmarks/peers.py plant session.npz           # in the streamer's environment
    peers/bin/python benchmarks/peers.py measure session.npz
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import signal

BAND_HZ = (0.5, 70.0)
SLOW_HZ = 250.0
MEASURED_S = 24.0
NEAR_S = 0.025
SEED = 11
FEW = 8
"""Channels where 64, upsampled, would take too much memory and time: FACETpy takes each channel for itself."""


def plant_session(path: Path) -> None:
    """Write the session of 64 channels, TR 2 s, with one clock and with 10 ppm."""
    from streamer.bench.eeg_gradient import changed, session
    from streamer.bench.eeg_truth import plant

    synced = plant(session("TR 2 s", SEED))
    drifting = plant(changed(synced.settings, faults={"clock_ppm": 10.0}))
    n = min(len(synced.eeg), len(drifting.gradient))
    np.savez(
        path,
        sfreq=synced.sfreq,
        tr_s=synced.settings.tr_s,
        slice_hz=synced.settings.shots / synced.settings.tr_s,
        eeg=synced.eeg[:n],
        pulse=synced.pulse[:n],
        gradient=synced.gradient[:n],
        triggers=synced.triggers,
        gradient_10ppm=drifting.gradient[:n, :FEW],
        triggers_10ppm=drifting.triggers,
        r_times=synced.body.heart.r_times,
    )


def high_passed(data: np.ndarray, sfreq: float) -> np.ndarray:
    """Take out slow drifts as the lane does, float64, shape (n_times, n_channels)."""
    sos = signal.butter(2, 0.5, "highpass", fs=sfreq, output="sos")
    return signal.sosfilt(sos, data.astype(np.float64), axis=0)


def in_band(data: np.ndarray, sfreq: float) -> np.ndarray:
    """Bring to 250 Hz and to the band that is measured."""
    slow = signal.resample_poly(data, 1, round(sfreq / SLOW_HZ), axis=0)
    return signal.sosfilt(signal.butter(2, BAND_HZ, "bandpass", fs=SLOW_HZ, output="sos"), slow, axis=0)


def rms(values: np.ndarray) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def band_change(data: np.ndarray, truth: np.ndarray, low_hz: float, high_hz: float, length_s: float) -> float:
    """Power in a band against that of the truth, dB: Hann windows that overlap by half, all channels."""
    length = round(length_s * SLOW_HZ)
    window = np.hanning(length + 1)[:-1, None]
    freqs = np.fft.rfftfreq(length, 1 / SLOW_HZ)
    inside = (freqs >= low_hz - 1e-9) & (freqs <= high_hz + 1e-9)
    power = [0.0, 0.0]
    for which, values in enumerate((data, truth)):
        for a in range(0, len(values) - length + 1, length // 2):
            piece = values[a : a + length]
            power[which] += float(np.sum(np.abs(np.fft.rfft(window * (piece - piece.mean(0)), axis=0)[inside]) ** 2))
    return float(10 * np.log10(power[0] / power[1]))


def facet_averaged(data: np.ndarray, triggers: np.ndarray, sfreq: float, tr_s: float, window: int, up: int) -> Any:
    """Correct with FACETpy's averaged artefact subtraction, shape (n_times, n_channels)."""
    import mne

    # it tells of each step otherwise
    os.environ.setdefault("FACET_LOG_CONSOLE_LEVEL", "ERROR")
    from facet import AASCorrection, DownSample, ProcessingContext, SliceAligner, SubsampleAligner, UpSample
    from facet.core import ProcessingMetadata

    info = mne.create_info(data.shape[1], sfreq, "eeg")
    metadata = ProcessingMetadata(
        triggers=np.asarray(triggers, dtype=int), artifact_length=round(tr_s * sfreq), upsampling_factor=up
    )
    context = ProcessingContext(mne.io.RawArray(data.T.copy(), info, verbose="error"), metadata=metadata)
    steps: list[Any] = [AASCorrection(window_size=window, correlation_threshold=0.975)]
    if up > 1:
        steps = [UpSample(factor=up), SliceAligner(), SubsampleAligner(), *steps, DownSample(factor=up)]
    for step in steps:
        context = step.execute(context)
    return context.get_raw().get_data().T[: len(data)]


def gradient_rows(session: Any) -> list[dict[str, Any]]:
    """Measure FACETpy on the gradient artefact: one clock, and 10 ppm."""
    sfreq, tr_s, slice_hz = float(session["sfreq"]), float(session["tr_s"]), float(session["slice_hz"])
    rows: list[dict[str, Any]] = []
    for case, artefact, triggers, n_channels, up, windows in (
        ("synced", session["gradient"], session["triggers"], 64, 1, (25, 30)),
        ("10 ppm", session["gradient_10ppm"], session["triggers_10ppm"], FEW, 10, (30,)),
    ):
        eeg = session["eeg"][:, :n_channels]
        truth = in_band(high_passed(eeg, sfreq), sfreq)
        was = in_band(high_passed(artefact[:, :n_channels], sfreq), sfreq)
        for window in windows:
            began = time.perf_counter()
            mixed = high_passed(eeg + artefact[:, :n_channels], sfreq)
            out = in_band(facet_averaged(mixed, triggers, sfreq, tr_s, window, up), sfreq)
            took = time.perf_counter() - began
            # the last volume but one: the window of an offline method reaches over both ends
            stop = int(triggers[-1] / sfreq * SLOW_HZ)
            at = slice(stop - round(MEASURED_S * SLOW_HZ), stop)
            error, sigma = rms((out - truth)[at]), rms(truth[int(triggers[0] / sfreq * SLOW_HZ) : stop])
            lines = [
                band_change(out[at], truth[at], k * slice_hz - 0.1, k * slice_hz + 0.1, MEASURED_S)
                for k in range(1, int(BAND_HZ[1] // slice_hz) + 1)
            ]
            rows.append(
                {
                    "peer": f"facetpy {importlib.metadata.version('facetpy')}, AAS, window {window}"
                    + (f", {up} times upsampled and aligned" if up > 1 else ""),
                    "case": f"gradient, {case}, {n_channels} channels",
                    "error_uv": 1e6 * error,
                    "error_of_floor": error / (sigma / np.sqrt(window)),
                    "attenuation_db": 20 * np.log10(rms(was[at]) / error),
                    "slice_harmonics_db": float(np.mean(lines)),
                    "seconds": took,
                }
            )
    return rows


def pulse_rows(session: Any) -> list[dict[str, Any]]:
    """Measure MNE on R peaks and, with its PCA-OBS, on the pulse artefact; no gradient."""
    import mne

    sfreq, true = float(session["sfreq"]), session["r_times"]
    truth = in_band(high_passed(session["eeg"], sfreq), sfreq)
    mixed = in_band(high_passed(session["eeg"] + session["pulse"], sfreq), sfreq)
    kinds = ["eeg"] * (mixed.shape[1] - 1) + ["ecg"]
    raw = mne.io.RawArray(mixed.T, mne.create_info(len(kinds), SLOW_HZ, kinds), verbose="error")
    began = time.perf_counter()
    events = mne.preprocessing.find_ecg_events(raw, verbose="error")[0]
    found = events[:, 0] / SLOW_HZ
    near = np.abs(found[:, None] - true[None, :]) <= NEAR_S
    hits = int(near.any(axis=0).sum())
    version = f"mne {mne.__version__}"
    rows: list[dict[str, Any]] = [
        {
            "peer": f"{version}, find_ecg_events",
            "case": "R peaks, clean ECG",
            "f1_25ms": 2 * hits / (len(found) + len(true)),
            "seconds": time.perf_counter() - began,
        }
    ]
    at = slice(round(10 * SLOW_HZ), len(truth) - round(3 * SLOW_HZ))
    names = [name for name, kind in zip(raw.ch_names, kinds, strict=True) if kind == "eeg"]
    for n_components in (1, 4):
        began = time.perf_counter()
        # its beats are placed on the R peak: the artefact's delay is left to the method
        clean = mne.preprocessing.apply_pca_obs(
            raw, picks=names, qrs_times=found, n_components=n_components, copy=True, verbose="error"
        )
        out = clean.get_data(picks=names).T
        a, b = out[at], truth[at, : len(names)]
        rows.append(
            {
                "peer": f"{version}, apply_pca_obs, {n_components} components",
                "case": "pulse, 64 channels",
                "error_uv": 1e6 * rms(a - b),
                "theta_db": band_change(a, b, 4.0, 8.0, 4.0),
                "alpha_db": band_change(a, b, 8.0, 13.0, 4.0),
                "correlation": float(np.corrcoef(a.ravel(), b.ravel())[0, 1]),
                "seconds": time.perf_counter() - began,
            }
        )
    return rows


def main() -> None:
    """Plant, or measure and print JSON on standard output and a table on standard error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("plant", "measure"))
    parser.add_argument("session", type=Path, help="the .npz")
    chosen = parser.parse_args()
    if chosen.what == "plant":
        plant_session(chosen.session)
        return
    with np.load(chosen.session) as file:
        session = {name: file[name] for name in file.files}
    rows = pulse_rows(session) + gradient_rows(session)
    for row in rows:
        values = ", ".join(f"{k} {v:.3g}" for k, v in row.items() if not isinstance(v, str))
        print(f"{row['case']:32} {row['peer']:60} {values}", file=sys.stderr)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
