"""The gradient artefact: what switching the gradients induces in the wires, the same in every volume.

A sum of harmonics of 1/TR whose energy lies at the multiples of the slice frequency, seen through the amplifier's
250 Hz low-pass. A channel's amplitude goes with its place in the field, so it changes a little when the head moves.
"""

from __future__ import annotations

import numpy as np

from streamer.messages import F32, F64
from streamer.simulate.settings import SimulationSettings
from streamer.simulate.subject import Subject

_LOW_PASS_HZ = 250.0
_OVERSAMPLED = 4
# relative change of the amplitude per mm of motion, sd over channels
_GAIN_PER_MM = 0.002


class GradientArtefact:
    """The artefact of one run.

    Parameters
    ----------
    settings : SimulationSettings
    subject : Subject
    starts : array, shape (n_volumes + 1,)
        Where each volume's artefact begins, samples (whole numbers when the clocks are synchronised); the last is
        where the scanner stops.
    stops : array, shape (n_volumes,)
        Where each volume's artefact ends, samples: with the next one, or a TR after it began when the scanner pauses.
    motion : array, shape (n_volumes, 6)
        Head at each volume.
    rng : Generator
    """

    def __init__(
        self,
        settings: SimulationSettings,
        subject: Subject,
        starts: F64,
        stops: F64,
        motion: F64,
        rng: np.random.Generator,
    ) -> None:
        self.starts = starts
        self.stops = stops
        table_hz = settings.sfreq * _OVERSAMPLED
        self._period = settings.tr_s * settings.sfreq * (1.0 + settings.faults.clock_ppm * 1e-6)
        self._table = _template(settings, subject, table_hz, rng)
        on_grid = bool(np.all(starts == np.rint(starts))) and float(self._period).is_integer()
        self.whole = on_grid and bool(np.all(stops - starts[:-1] <= self._period))
        # a channel's amplitude changes with each of the six movements in its own way; rotations act at 80 mm
        shift = motion * np.array([1.0, 1.0, 1.0, 80.0, 80.0, 80.0])
        self.gains: F64 = 1.0 + shift @ (_GAIN_PER_MM * rng.standard_normal((6, self._table.shape[1])))
        n = round(self._period) if self.whole else 0
        self._whole_template: F32 = self._at(np.arange(n, dtype=np.float64)).astype(np.float32)

    @property
    def template(self) -> F32:
        """One TR of the artefact at sfreq, V, shape (round(TR · sfreq), n_channels)."""
        return self._at(np.arange(round(self._period), dtype=np.float64)).astype(np.float32)

    def add_to(self, block: F32, first_sample: int) -> None:
        """Add the artefact to samples, V, shape (n_times, n_channels), in place."""
        end = first_sample + len(block)
        k = max(0, int(np.searchsorted(self.starts, first_sample, side="right")) - 1)
        while k < len(self.starts) - 1 and self.starts[k] < end:
            lo = max(first_sample, int(np.ceil(self.starts[k])))
            hi = min(end, int(np.ceil(self.stops[k])))
            if lo < hi:
                block[lo - first_sample : hi - first_sample] += self._piece(k, lo, hi)
            k += 1

    def _piece(self, k: int, lo: int, hi: int) -> F32:
        gain = self.gains[k].astype(np.float32)
        if self.whole:
            at = lo - int(self.starts[k])
            return self._whole_template[at : at + hi - lo] * gain
        return self._at(np.arange(lo, hi) - self.starts[k]).astype(np.float32) * gain

    def _at(self, samples: F64) -> F64:
        # cubic Lagrange interpolation in the oversampled table: its error is below 1e-5 of the artefact
        n = len(self._table)
        place = samples * (n / self._period)
        whole = np.floor(place).astype(np.int64)
        x = (place - whole)[:, None]
        before, here, after, beyond = (self._table[(whole + shift) % n] for shift in (-1, 0, 1, 2))
        return (
            before * (-x * (x - 1) * (x - 2) / 6)
            + here * ((x + 1) * (x - 1) * (x - 2) / 2)
            + after * (-(x + 1) * x * (x - 2) / 2)
            + beyond * ((x + 1) * x * (x - 1) / 6)
        )


def _template(settings: SimulationSettings, subject: Subject, table_hz: float, rng: np.random.Generator) -> F64:
    """Draw one TR of the artefact, V, shape (round(TR · table_hz), n_channels)."""
    n = round(settings.tr_s * table_hz)
    highest = int(min(0.45 * settings.sfreq, 3.0 * _LOW_PASS_HZ) * settings.tr_s)
    order = np.arange(1, highest + 1)
    f = order / settings.tr_s
    on_slice = order % settings.shots == 0
    size = 1.0 / (1.0 + f / 80.0) * np.where(on_slice, 1.0, settings.gradient_off_slice)
    response = _low_pass(f)
    waves = np.zeros((n, 3))
    for axis in range(3):
        spectrum = np.zeros(n // 2 + 1, complex)
        phase = np.exp(2j * np.pi * rng.random(highest))
        spectrum[order] = size * rng.lognormal(0.0, 0.4, highest) * phase * response
        waves[:, axis] = np.fft.irfft(spectrum, n)
    table = (waves * _switching(settings, n)[:, None]) @ subject.gradient
    return table * (settings.gradient_v / np.median(np.ptp(table[:, :-1], axis=0)))


def _switching(settings: SimulationSettings, n: int) -> F64:
    # 1 while the gradients switch, 0 at the end of each slice's time, with flanks as the low-pass would leave them
    if settings.slice_dead == 0:
        return np.ones(n)
    slice_s = settings.tr_s / settings.shots
    t = np.arange(n) * settings.tr_s / n % slice_s
    left = slice_s * (1.0 - settings.slice_dead) - t
    return np.clip(np.minimum(t, left) * 2.0 * _LOW_PASS_HZ, 0.0, 1.0)


def _low_pass(f: F64) -> np.ndarray[tuple[int], np.dtype[np.complex128]]:
    # the amplifier's hardware filter: the four poles of a Butterworth filter
    poles = np.exp(1j * np.pi * (2 * np.arange(4) + 5) / 8)
    return 1.0 / np.prod(1.0 - (1j * f / _LOW_PASS_HZ)[:, None] / poles, axis=1)
