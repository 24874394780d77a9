"""How much of the gradient artefact is left, and what that costs the EEG."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamer.bench.eeg_rows import Rows
from streamer.bench.eeg_run import BAND_HZ, Cleaned, band_change, decibels, harmonics, lane_settings, rms, through
from streamer.bench.eeg_truth import Planted, plant
from streamer.bench.figures import Figure
from streamer.clean.eeg.lane_settings import EegLaneSettings
from streamer.messages import F32, F64
from streamer.simulate.settings import SimulationSettings

SEQUENCES: dict[str, dict[str, Any]] = {
    "TR 2 s": {"tr_s": 2.0, "grid": (64, 64, 32), "multiband": 1},
    # 72 slices, 8 at once: 9 shots
    "TR 0.8 s": {"tr_s": 0.8, "grid": (64, 64, 72), "multiband": 8},
}
"""What the scanner runs."""
HOLD_S = 0.064
_STILL = {"motion_mm": 0.0, "nods_per_min": 0.0}
_MEASURED_S = 24.0
_JITTER_S = 1e-4
_LOST_S = 0.02
_CORRECTED_DB = 10.0
_SOUND_DB = 20.0


def session(sequence: str, seed: int, **fields: Any) -> SimulationSettings:
    """Give a session of one and a half minutes whose head lies still; ``fields`` are taken over.

    What comes again with every volume is gradient artefact to any template, be it from the mains or the pump: these
    lie between the multiples of 1/TR here, and the simulator's pump, which cannot be moved, is off.
    """
    tr = SEQUENCES[sequence]["tr_s"]
    usual = {
        "n_channels": 65,
        "block_s": 8.0,
        "n_blocks": 10,
        "line_hz": (np.floor(50.0 * tr) + 0.37) / tr,
        "pump_v": 0.0,
    }
    return SimulationSettings.model_validate({"seed": seed, **usual, **SEQUENCES[sequence], **_STILL, **fields})


def changed(settings: SimulationSettings, **fields: Any) -> SimulationSettings:
    """Give the same session but for some fields."""
    return SimulationSettings.model_validate({**settings.model_dump(), **fields})


@dataclass(frozen=True)
class Reference:
    """A session that the lane is measured on, and what comes out of its EEG and of its gradient artefact alone."""

    planted: Planted
    truth: Cleaned
    artefact: Cleaned
    """Of the gradient artefact alone, uncorrected."""

    @property
    def slice_hz(self) -> float:
        """Shots per second."""
        return self.planted.settings.shots / self.planted.settings.tr_s

    @property
    def measured(self) -> slice:
        """The last volumes, whole ones, that make up 24 s."""
        volumes = self.truth.volumes(self.planted.starts)
        count = round(_MEASURED_S / self.planted.settings.tr_s)
        return slice(volumes[-count].start, volumes[-1].stop)

    def error(self, out: Cleaned) -> F32:
        """What differs from the truth in the measured volumes."""
        return (out.data - self.truth.data)[self.measured]

    def at_harmonics(self, out: Cleaned) -> tuple[float, str]:
        """Residual at the slice harmonics against the true EEG, dB: the mean over them, and each."""
        at = self.measured
        found = harmonics(out.data[at], self.truth.data[at], out.sfreq, self.slice_hz, _MEASURED_S)
        each = " ".join(f"{value:+.1f}" for value in found)
        return float(np.mean(found)), f"multiples of {self.slice_hz:g} Hz to {BAND_HZ[1]:g} Hz: {each}"


def uncorrected(planted: Planted) -> Reference:
    """Take EEG and artefact, each alone, through the lane that corrects nothing."""
    off = lane_settings(gradient=False)
    truth = through([planted.eeg], [], off, planted.channels, planted.sfreq)
    artefact = through([planted.gradient], [], off, planted.channels, planted.sfreq)
    return Reference(planted, truth, artefact)


def corrected(planted: Planted, settings: EegLaneSettings | None = None, **how: Any) -> Cleaned:
    """Take EEG and gradient artefact through the lane."""
    triggers = how.pop("triggers", planted.triggers.tolist())
    parts = [planted.eeg, planted.gradient, *how.pop("more", [])]
    return through(parts, triggers, settings or lane_settings(), planted.channels, planted.sfreq, **how)


def bench_gradient(
    progress: Callable[[float], None], seeds: int, sequences: tuple[str, ...], n_channels: int = 65
) -> list[Figure]:
    """Measure what the gradient stage leaves, pulse correction off.

    Parameters
    ----------
    progress : callable
        Takes the fraction done.
    seeds : int
    sequences : tuple of str
        Of ``SEQUENCES``.
    n_channels : int
        With the ECG.
    """
    rows = Rows()
    total = seeds * len(sequences)
    for number, (sequence, seed) in enumerate((s, 11 + i) for s in sequences for i in range(seeds)):
        reference = uncorrected(plant(session(sequence, seed, n_channels=n_channels)))
        out = corrected(reference.planted)
        synced(rows, sequence, reference, out)
        start_up(rows, sequence, reference, out)
        progress((number + 0.2) / total)
        unsynced(rows, sequence, reference)
        progress((number + 0.5) / total)
        faults(rows, sequence, reference, out)
        progress((number + 0.7) / total)
        alpha(rows, sequence, reference)
        walk(rows, sequence, reference)
        moving(rows, sequence, reference.planted.settings)
        variants(rows, sequence, reference.planted.settings)
        progress((number + 1) / total)
    return rows.figures()


def _against_floor(name: str, reference: Reference, out: Cleaned, bar: float | None) -> Figure:
    """Give the error against σ/√N."""
    error = rms(reference.error(out))
    # all that the template was made of, and not only what it was taken from
    sigma = rms(reference.truth.data[out.volumes(reference.planted.starts)[0].start : reference.measured.stop])
    floor = sigma / np.sqrt(max(1, out.epochs))
    artefact = rms(reference.artefact.data[reference.measured])
    note = (
        f"{1e6 * error:.2f} µV, {decibels((artefact / error) ** 2):.1f} dB of {1e6 * artefact:.0f} µV;"
        f" σ {1e6 * sigma:.1f} µV, N {out.epochs}"
    )
    return Figure(name, error / floor, "σ/√N", bar, peer="NeuXus: 5–6 µV, 48–50 dB, N 30", note=note)


def synced(rows: Rows, sequence: str, reference: Reference, out: Cleaned) -> None:
    """Measure what is left with one clock."""
    rows.add(_against_floor(f"{sequence}: gradient residual error, synced", reference, out, 1.15))
    artefact, error = rms(reference.artefact.data[reference.measured]), rms(reference.error(out))
    rows.add(Figure(f"{sequence}: the same, error", 1e6 * error, "µV", peer="NeuXus: 5–6 µV"))
    rows.add(
        Figure(f"{sequence}: the same, attenuation", decibels((artefact / error) ** 2), "dB", peer="NeuXus: 48–50 dB")
    )
    value, each = reference.at_harmonics(out)
    rows.add(Figure(f"{sequence}: slice harmonics against true EEG, synced", value, "dB", 1.0, "near", note=each))


def start_up(rows: Rows, sequence: str, reference: Reference, out: Cleaned) -> None:
    """Find the first volume that is corrected, and whether the output says what is not."""
    volumes = out.volumes(reference.planted.starts)
    found = np.array(
        [
            decibels((rms(reference.artefact.data[at]) / rms((out.data - reference.truth.data)[at])) ** 2)
            for at in volumes[:-1]
        ]
    )
    below = np.flatnonzero(found < _CORRECTED_DB)
    first = int(below[-1]) + 2 if len(below) else 1
    each = " ".join(f"{value:.0f}" for value in found[:8])
    name = f"{sequence}: first corrected volume"
    note = f"from it on {_CORRECTED_DB:g} dB or more; volumes 1 to 8: {each} dB"
    rows.add(Figure(name, float(first), "", 3.0, peer="NeuXus: 7", note=note))
    silent = sum(bool(np.any(out.flags[volumes[k]] == 0)) for k in np.flatnonzero(found < _SOUND_DB))
    rows.add(Figure(f"{sequence}: volumes below {_SOUND_DB:g} dB that are not flagged", float(silent), "", 0.0))


def unsynced(rows: Rows, sequence: str, reference: Reference) -> None:
    """Measure two clocks, and volumes that begin off their trigger."""
    peers = {10.0: "NeuXus: 10 dB attenuation", 50.0: "NeuXus: 1.6 dB attenuation"}
    for ppm, peer in peers.items():
        planted = plant(changed(reference.planted.settings, faults={"clock_ppm": ppm}))
        n = len(reference.planted.eeg)
        # the scanner alone keeps another time: the EEG is the same
        planted_out = through(
            [reference.planted.eeg, _fitted(planted.gradient, n)],
            planted.triggers.tolist(),
            lane_settings(),
            planted.channels,
            planted.sfreq,
        )
        _unsynced_rows(rows, f"{sequence}: {ppm:g} ppm, no hold", reference, planted_out, 3.5, peer)
    rng = np.random.default_rng(reference.planted.settings.seed)
    held = lane_settings(hold_s=HOLD_S)
    count = len(reference.planted.triggers)
    for name, bar, shifts in (
        ("jitter up to 100 µs", 3.0, rng.uniform(-_JITTER_S, _JITTER_S, count)),
        ("jitter of 100 µs sd", None, rng.normal(0.0, _JITTER_S, count)),
    ):
        out = corrected(reference.planted.moved(shifts), held)
        _unsynced_rows(rows, f"{sequence}: {name}, {1e3 * HOLD_S:g} ms hold", reference, out, bar, "")


def _unsynced_rows(rows: Rows, name: str, reference: Reference, out: Cleaned, bar: float | None, peer: str) -> None:
    error, artefact = rms(reference.error(out)), rms(reference.artefact.data[reference.measured])
    value, each = reference.at_harmonics(out)
    note = f"error {1e6 * error:.2f} µV, {decibels((artefact / error) ** 2):.1f} dB; {each}"
    rows.add(Figure(f"{name}, slice harmonics", value, "dB", bar, peer=peer, note=note))


def faults(rows: Rows, sequence: str, reference: Reference, out: Cleaned) -> None:
    """Lose 20 ms of the EEG, and a trigger; volumes from the second after it on against the same without."""
    planted = reference.planted
    volumes = out.volumes(planted.starts)
    k = len(volumes) - 14
    a = round(planted.starts[k] + 0.4 * (planted.starts[k + 1] - planted.starts[k]))
    lost = (a, a + round(_LOST_S * planted.sfreq))
    # the same chain without the artefact loses the same samples
    truth = through([planted.eeg], [], lane_settings(gradient=False), planted.channels, planted.sfreq, lost=lost)
    gap = corrected(planted, lost=lost)
    triggers = planted.triggers.tolist()
    missed = corrected(planted, triggers=triggers[:k] + triggers[k + 1 :])
    peer = "NeuXus: 5.5 dB attenuation left, for 30 volumes"
    for name, data, true, who in (
        ("a 20 ms dropout", gap.data, truth.data, peer),
        ("a lost trigger", missed.data, reference.truth.data, ""),
    ):
        later = [
            decibels((rms((data - true)[at]) / rms((out.data - reference.truth.data)[at])) ** 2)
            for at in volumes[k : k + 12]
        ]
        span = slice(volumes[k + 2].start, volumes[k + 11].stop)
        value = decibels((rms((data - true)[span]) / rms((out.data - reference.truth.data)[span])) ** 2)
        note = "volumes k to k+5: " + " ".join(f"{each:+.1f}" for each in later[:6])
        rows.add(
            Figure(f"{sequence}: error from volume k+2 on after {name}", value, "dB more", 0.5, peer=who, note=note)
        )


def alpha(rows: Rows, sequence: str, reference: Reference) -> None:
    """Plant steady waves near 10 Hz at three places between the multiples of 1/TR, one a channel."""
    planted, at = reference.planted, reference.measured
    tr, n = planted.settings.tr_s, len(planted.eeg)
    base = np.floor(10.0 * tr)
    freqs = [float((base + part) / tr) for part in (0.37, 0.5, 0.63)]
    t = np.arange(n) / planted.sfreq
    waves: F32 = np.zeros_like(planted.eeg)
    for c in range(waves.shape[1] - 1):
        waves[:, c] = 10e-6 * np.sin(2 * np.pi * freqs[c % 3] * t + c)
    alone = through([waves], [], lane_settings(gradient=False), planted.channels, planted.sfreq)
    out = corrected(planted, more=[waves])
    found: list[float] = []
    for j, freq in enumerate(freqs):
        mine = slice(j, None, 3)
        true = reference.truth.data[at, mine] + alone.data[at, mine]
        found.append(band_change(out.data[at, mine], true, out.sfreq, freq - 0.1, freq + 0.1, _MEASURED_S))
    worst = max(found, key=abs)
    note = ", ".join(f"{value:+.2f} at {freq:.2f} Hz" for freq, value in zip(freqs, found, strict=True))
    rows.add(Figure(f"{sequence}: planted alpha", worst, "dB", 0.5, "near", note=note))


def walk(rows: Rows, sequence: str, reference: Reference) -> None:
    """Let the artefact's size walk at random: by so much of itself (sd) in 25 volumes."""
    rng = np.random.default_rng(reference.planted.settings.seed)
    steps = rng.standard_normal(len(reference.planted.triggers))
    for share in (0.005, 0.02):
        gains = 1.0 + share / 5.0 * np.cumsum(steps)
        out = corrected(reference.planted.scaled(gains))
        value, each = reference.at_harmonics(out)
        name = f"{sequence}: artefact walks {100 * share:g} % in 25 volumes"
        note = f"error {1e6 * rms(reference.error(out)):.2f} µV; {each}"
        rows.add(Figure(f"{name}, slice harmonics", value, "dB", note=note))


def moving(rows: Rows, sequence: str, settings: SimulationSettings) -> None:
    """Let the head move and nod, with and without the BOLD lane's poses."""
    reference = uncorrected(plant(changed(settings, motion_mm=0.08, nods_per_min=2.0)))
    for told, poses in (("", []), (", poses told", told_poses(reference.planted))):
        out = corrected(reference.planted, poses=poses)
        name = f"{sequence}: gradient residual error, head moving 0.08 mm, two nods a minute{told}"
        rows.add(_against_floor(name, reference, out, None))


def variants(rows: Rows, sequence: str, settings: SimulationSettings) -> None:
    """Let the gradients pause, and mains and pump come with every volume."""
    for name, what in (
        ("gradients pause for 0.3 of a slice", {"slice_dead": 0.3}),
        ("mains at 50.0 and pump at 43.0 Hz", {"line_hz": 50.0, "pump_v": 1.5e-6}),
    ):
        reference = uncorrected(plant(changed(settings, **what)))
        out = corrected(reference.planted)
        rows.add(_against_floor(f"{sequence}: gradient residual error, {name}", reference, out, None))


def told_poses(planted: Planted) -> list[tuple[int, int, F64]]:
    """Give the head's pose in each volume, as the BOLD lane tells it: a second after the volume ended."""
    tr, body = planted.settings.tr_s, planted.body
    later = round((tr + 1.0) * planted.sfreq)
    motion = body.motion[body.at(planted.triggers / planted.sfreq + tr / 2)]
    return [(sample + later, sample, pose) for sample, pose in zip(planted.triggers.tolist(), motion, strict=True)]


def _fitted(data: F32, n: int) -> F32:
    """Cut or lengthen with zeros to ``n`` samples."""
    return np.concatenate([data[:n], np.zeros((max(0, n - len(data)), data.shape[1]), np.float32)])
