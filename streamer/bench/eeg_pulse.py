"""What is left of the pulse artefact, and what its correction does to the EEG."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from streamer.bench.eeg_gradient import session
from streamer.bench.eeg_rows import Rows
from streamer.bench.eeg_run import Cleaned, band_change, decibels, lane_settings, rms, through
from streamer.bench.eeg_truth import Planted, plant
from streamer.bench.figures import Figure
from streamer.messages import F32

MODES = {"fast": 4.0, "balanced": 2.0, "best": 1.0, "reference": None}
"""Each with the bar of its theta."""
ALPHA_HZ = (8.0, 13.0)
THETA_HZ = (4.0, 8.0)
_LEARNT_S = 80.0
_LAST_S = 3.0
_PLAIN = "plain averaging, offline: +5.3 dB"


def bench_pulse(
    progress: Callable[[float], None], seeds: int, *, blocks: int = 24, n_channels: int = 65
) -> list[Figure]:
    """Measure each mode on EEG with pulse artefact and no gradient, the head moving as it does by default.

    Parameters
    ----------
    progress : callable
        Takes the fraction done.
    seeds : int
    blocks : int
        Of 8 s; the first 80 s are not measured.
    n_channels : int
        With the ECG.
    """
    rows = Rows()
    moving: dict[str, Any] = {"motion_mm": 0.08, "nods_per_min": 0.3, "n_blocks": blocks, "n_channels": n_channels}
    for i in range(seeds):
        planted = plant(session("TR 2 s", 31 + i, **moving))
        truth = _through(planted, [planted.eeg], "off")
        before = _through(planted, [planted.eeg, planted.pulse], "off")
        _rows(rows, "off", truth, before, None)
        for number, (mode, bar) in enumerate(MODES.items()):
            seen = planted.with_references() if mode == "reference" else planted
            _rows(rows, mode, truth, _through(seen, [seen.eeg, seen.pulse], mode), bar)
            progress((i + (number + 1) / len(MODES)) / seeds)
    return rows.figures()


def _through(planted: Planted, parts: list[F32], mode: str) -> Cleaned:
    return through(parts, [], lane_settings(gradient=False, pulse=mode), planted.channels, planted.sfreq)


def _rows(rows: Rows, mode: str, truth: Cleaned, out: Cleaned, bar: float | None) -> None:
    at = slice(round(_LEARNT_S * truth.sfreq), len(truth.data) - round(_LAST_S * truth.sfreq))
    data, true = out.data[at], truth.data[at]
    corr = float(np.corrcoef(data.ravel(), true.ravel())[0, 1])
    theta, alpha = (band_change(data, true, truth.sfreq, *band) for band in (THETA_HZ, ALPHA_HZ))
    corrected = mode != "off"
    rows.add(
        Figure(f"pulse, {mode}: theta", theta, "dB", bar if corrected else None, peer=_PLAIN if mode == "fast" else "")
    )
    rows.add(Figure(f"pulse, {mode}: alpha", alpha, "dB", 0.5 if corrected else None, "near"))
    held = f"held back for {1e3 * out.hold_s:.0f} ms" if corrected else ""
    rows.add(Figure(f"pulse, {mode}: error", 1e6 * rms(data - true), "µV", note=held))
    rows.add(Figure(f"pulse, {mode}: correlation with the true EEG", corr, "", better="more"))


def bench_both(
    progress: Callable[[float], None], seeds: int, sequences: tuple[str, ...], n_channels: int = 65
) -> list[Figure]:
    """Measure what the gradient stage leaves when there is a pulse artefact, against averaging EEG with pulse."""
    rows = Rows()
    total = seeds * len(sequences)
    for number, (sequence, seed) in enumerate((s, 11 + i) for s in sequences for i in range(seeds)):
        planted = plant(session(sequence, seed, n_channels=n_channels))
        parts = [planted.eeg, planted.pulse]
        seen = _through(planted, parts, "off")
        truth = _through(planted, parts, "fast")
        progress((number + 0.3) / total)
        artefact = _through(planted, [planted.gradient], "off")
        out = through(
            [*parts, planted.gradient],
            planted.triggers.tolist(),
            lane_settings(pulse="fast"),
            planted.channels,
            planted.sfreq,
        )
        volumes = out.volumes(planted.starts)
        at = slice(volumes[-round(24.0 / planted.settings.tr_s)].start, volumes[-1].stop)
        sigma = rms(seen.data[volumes[0].start : at.stop])
        error, was = rms((out.data - truth.data)[at]), rms(artefact.data[at])
        floor = sigma / np.sqrt(max(1, out.epochs))
        note = f"{1e6 * error:.2f} µV, {decibels((was / error) ** 2):.1f} dB; σ {1e6 * sigma:.1f} µV, N {out.epochs}"
        name = f"{sequence}: gradient residual error with pulse artefact, fast"
        rows.add(Figure(name, error / floor, "σ/√N", 1.0, peer="NeuXus: at the floor", note=note))
        progress((number + 1) / total)
    return rows.figures()
