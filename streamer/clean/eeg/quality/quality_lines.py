"""The power of narrow lines against their neighbours', kept up to date a few samples at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamer.messages import F64

N_HARMONICS = 4
HIGHEST_HZ = 72.0
"""What lies above this is not looked at: the decimator begins to let aliases in."""
LINES_HZ = (50.0, 60.0)
_BESIDE_HZ = (0.4, 0.55, 0.7)

Complex = NDArray[np.complex128]
Group = tuple[tuple[int, tuple[int, ...]], ...]
"""Lines, each by its place among the frequencies, with those beside it."""


class LineTargets:
    """Which frequencies are looked at: slice harmonics, mains, and what lies beside them.

    Parameters
    ----------
    sfreq : float
        Hz.
    tr_s : float or None
        Period of the volumes, s: neighbours are put between the multiples of its inverse.
    slice_hz : float or None
        Excitations per second.
    """

    def __init__(self, sfreq: float, tr_s: float | None, slice_hz: float | None) -> None:
        highest = min(HIGHEST_HZ, 0.45 * sfreq)
        self._hz: list[float] = []
        harmonics = [] if slice_hz is None else [k * slice_hz for k in range(1, N_HARMONICS + 1)]
        self.slices: Group = self._group(harmonics, _between(tr_s), highest)
        self.lines: tuple[Group, ...] = tuple(self._group([hz], _BESIDE_HZ, highest) for hz in LINES_HZ)
        self.hz: F64 = np.array(self._hz)
        """All of them, Hz."""

    def _group(self, lines: list[float], beside: tuple[float, ...], highest: float) -> Group:
        group: list[tuple[int, tuple[int, ...]]] = []
        for line in lines:
            if line - beside[-1] > 0 and line + beside[-1] <= highest:
                at = len(self._hz)
                self._hz += [line, *(line - d for d in beside), *(line + d for d in beside)]
                group.append((at, tuple(range(at + 1, len(self._hz)))))
        return tuple(group)

    def ratio_db(self, power: F64, group: Group) -> F64:
        """Mean over the group of line over neighbours, dB per channel; NaN where the group or a neighbour is empty."""
        if not group:
            return np.full(power.shape[1], np.nan)
        total = np.zeros(power.shape[1])
        for line, beside in group:
            floor = np.add.reduce(power[list(beside)]) / len(beside)
            total += np.where(floor > 0, power[line] / np.where(floor > 0, floor, 1.0), np.nan)
        return 10.0 * np.log10(np.maximum(total / len(group), 1e-12))


def _between(tr_s: float | None) -> tuple[float, ...]:
    """Distances from a multiple of 1/TR that lie between multiples, outside the main lobe of a 10 s window, Hz."""
    if tr_s is None or tr_s < 1.0:
        return _BESIDE_HZ
    middles = [(j + 0.5) / tr_s for j in range(20)]
    return tuple([d for d in middles if d > 0.22][:3])


class LinePower:
    """Fourier sums at any frequencies over Hann windows, of which two are under way, half a window apart.

    Parameters
    ----------
    targets : LineTargets
        The frequencies.
    sfreq : float
        Hz.
    hop : int
        Samples per call, which begins at a multiple of it.
    half : int
        Half a window in samples, a multiple of ``hop``.
    n_channels : int
    """

    def __init__(self, targets: LineTargets, sfreq: float, hop: int, half: int, n_channels: int) -> None:
        self.targets = targets
        self._omega = 2.0 * np.pi * targets.hz / sfreq
        phase = self._omega[:, None] * np.arange(hop)
        self._waves = np.ascontiguousarray(np.concatenate([np.cos(phase), -np.sin(phase)]))
        self._hann = np.hanning(2 * half + 1)[:-1, None]
        self._hop, self._half = hop, half
        shape = (len(targets.hz), n_channels)
        self._young: Complex = np.zeros(shape, np.complex128)
        self._old: Complex = np.zeros(shape, np.complex128)
        self._young_hops = self._old_hops = 0
        self._number = -1

    def add(self, index: int, data: F64, *, clean: bool) -> None:
        """Take one whole hop; one that is not clean, or missing, spoils the windows that it lies in."""
        number = index // self._half
        if number != self._number:
            # samples were lost over a border; after `finish` the number is right
            self._begin(number, follows=False)
        if not clean or not len(self._omega):
            return
        at = index - number * self._half
        turn = np.exp(-1j * (self._omega * index))[:, None]
        for begun, window in ((at, self._young), (at + self._half, self._old)):
            waves = np.matmul(self._waves, self._hann[begun : begun + self._hop] * data)
            np.add(window, (waves[: len(turn)] + 1j * waves[len(turn) :]) * turn, out=window)
        self._young_hops += 1
        self._old_hops += 1

    def finish(self) -> F64 | None:
        """End the older window: its power, shape (n_hz, n_channels), or None when it was not whole and clean."""
        whole = self._old_hops * self._hop == 2 * self._half
        power = np.square(self._old.real) + np.square(self._old.imag) if whole and len(self._omega) else None
        self._begin(self._number + 1, follows=True)
        return power

    def _begin(self, number: int, *, follows: bool) -> None:
        self._old, self._young = self._young, self._old
        self._old_hops = self._young_hops
        self._young[:] = 0.0
        self._young_hops = 0
        if not follows:
            self._old_hops = -1
        self._number = number
