"""The covariance of the EEG as a vector: its logarithm, seen from a reference covariance (Riemannian tangent space).

Barachant 2012, doi:10.1109/TBME.2011.2172210. The vector is the upper triangle, row by row, of the symmetric matrix
``log(M^-1/2 C M^-1/2)`` with the off-diagonal ones times the square root of 2: its length is the affine-invariant
distance of the covariance C from the reference M.

Covariances have fewer dimensions than channels: an average reference takes one, an ocular correction more. So both are
taken against the average of the good channels, the logarithm is taken in the space that the reference spans, and its
result is brought back to the channels.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from streamer.decode.band_settings import WindowedBandSettings
from streamer.decode.blocks import Block
from streamer.decode.recentre import RecentreSettings, ReferenceDrift
from streamer.errors import ConfigError
from streamer.filters import SosFilter, bandpass, sos_delay_s
from streamer.messages import F64, Array, Feature, Flag, SessionTime

TANGENT = "tangent"
"""Name of the feature."""
_LEAST_EIGENVALUE = 1e-9
_DECIMALS = 6


class TangentSettings(WindowedBandSettings):
    """The covariance as a tangent vector."""

    enabled: bool = False
    """Whether it is made: at 64 channels it costs about 1 ms every step and 2080 numbers."""
    channels: tuple[str, ...] = ()
    """Names of the channels; empty for all."""
    band_hz: tuple[float, float] = (8.0, 30.0)
    """Edges of the band-pass, Hz."""
    window_s: float = Field(default=2.0, gt=0)
    """Length of the window, s: a whole number of steps."""


def oas(covariance: F64, n_samples: float) -> F64:
    """Shrink a covariance to its mean variance (OAS; Chen 2010, doi:10.1109/TSP.2010.2053029).

    Parameters
    ----------
    covariance : ndarray, float64, shape (n, n)
        Of zero-mean data.
    n_samples : float
        Independent samples that it was made of.
    """
    n = len(covariance)
    mean = float(np.trace(covariance)) / n
    square = float(np.square(covariance).mean())
    spread = (n_samples + 1.0) * (square - mean**2 / n)
    share = 1.0 if spread <= 0 else min(1.0, (square + mean**2) / spread)
    shrunk = (1.0 - share) * covariance
    shrunk[np.diag_indices(n)] += share * mean
    return shrunk


class TangentSpace:
    """Where covariances are seen from.

    Parameters
    ----------
    reference : ndarray, float64, shape (n, n)
        V².

    Raises
    ------
    ValueError
        It has no variance.
    """

    def __init__(self, reference: F64) -> None:
        values, vectors = np.linalg.eigh(centred(reference))
        keep = values > _LEAST_EIGENVALUE * max(float(values[-1]), 0.0)
        if not keep.any():
            raise ValueError("the reference covariance has no variance: expected a positive one")
        self._basis = np.ascontiguousarray(vectors[:, keep])
        self._scale = 1.0 / np.sqrt(values[keep])
        self.rank = int(keep.sum())
        """Dimensions of the space."""

    def __call__(self, covariance: F64, n_samples: float) -> F64:
        """Give the symmetric matrix of the tangent vector; shapes (n, n) each."""
        within = oas(self._basis.T @ covariance @ self._basis, n_samples)
        values, vectors = np.linalg.eigh(within * self._scale[:, None] * self._scale)
        turned = self._basis @ vectors
        return (turned * np.log(np.maximum(values, 1e-12))) @ turned.T


def centred(covariance: F64) -> F64:
    """Take a covariance against the average of its channels."""
    across = covariance - covariance.mean(axis=0)
    return across - across.mean(axis=1)[:, None]


def whole(what: str, long_s: float, short_s: float) -> int:
    """Count how many times ``short_s`` goes into ``long_s``.

    Raises
    ------
    ConfigError
        Not a whole number of times.
    """
    count = round(long_s / short_s)
    if count < 1 or abs(count * short_s - long_s) > 1e-9 * long_s:
        raise ConfigError("features", [f"{what} is {long_s:g} s: expected a whole number of {short_s:g} s"])
    return count


class TangentVector:
    """Tangent vector of the band-passed EEG's covariance over a sliding window.

    The reference is that of a calibration run or, without one, the mean covariance of the first ``learn_s`` of clean
    EEG; afterwards it is left alone, or follows slow drift where that is asked for. Until it is there values are
    masked, and without a calibration they are flagged ``UNCALIBRATED``. What belongs to a channel that is bad, or was
    bad while the reference was learned, is NaN; when the set of bad channels changes, the window begins anew.

    Parameters
    ----------
    settings : TangentSettings
    rate_hz : float
        Blocks per second.
    sfreq : float
        Rate of the cleaned EEG, Hz.
    channels : sequence of str
        Names of its channels, in order.
    learn_s : float
        s.
    learned : mapping or None
        What ``learned()`` gave after a calibration run.
    drift : RecentreSettings or None
        Lets the reference of a calibration follow slow drift.

    Raises
    ------
    ConfigError
        A channel is not there, the band or a length does not fit, or the calibration is of other channels.
    """

    def __init__(
        self,
        settings: TangentSettings,
        rate_hz: float,
        sfreq: float,
        channels: Sequence[str],
        learn_s: float = 30.0,
        learned: Mapping[str, Any] | None = None,
        drift: RecentreSettings | None = None,
    ) -> None:
        settings.check("tangent", sfreq)
        self._names = settings.channels or tuple(channels)
        missing = [name for name in self._names if name not in channels]
        if missing or len(set(self._names)) < max(2, len(self._names)):
            given = ", ".join(missing or self._names)
            raise ConfigError(
                "tangent", [f"channels {given}: expected two or more, each once, of {', '.join(channels)}"]
            )
        self._at = np.array([list(channels).index(name) for name in self._names])
        self._step = whole("tangent step_s", settings.step_s, 1.0 / rate_hz)
        n_blocks = self._step * whole("tangent window_s", settings.window_s, settings.step_s)
        self._settle = math.ceil(settings.settle_s * rate_hz - 1e-9)
        self._learn = max(n_blocks, round(learn_s * rate_hz))
        low, high = settings.band_hz
        self._bandpass = SosFilter(bandpass(low, high, sfreq))
        self._independent = 2.0 * (high - low) * settings.window_s
        self._window: deque[tuple[F64, int]] = deque(maxlen=n_blocks)
        self._clean = 0
        self._bad: Array = np.zeros(len(self._names), dtype=bool)
        self._flags: deque[Flag] = deque(maxlen=n_blocks)
        self._space: TangentSpace | None = None
        n = len(self._names)
        self._upper = np.triu_indices(n)
        self._weights = np.where(self._upper[0] == self._upper[1], 1.0, math.sqrt(2.0))
        self._labels = tuple(f"{self._names[i]}~{self._names[j]}" for i, j in zip(*self._upper, strict=True))
        self._sum, self._n_learned = np.zeros((n, n)), 0
        self._never: Array = np.zeros(n, dtype=bool)
        self._own = Flag.UNCALIBRATED
        self.reference: F64 | None = None
        """V², shape (n, n); None until it is known."""
        self.delay_s = sos_delay_s(self._bandpass.sos, math.sqrt(low * high), sfreq) + settings.window_s / 2
        """From the middle of the window, the band-pass taken into account, to the newest sample, s."""
        self._drift: ReferenceDrift | None = None
        if learned is not None:
            self._take(learned)
            if drift is not None and drift.enabled and not self._never.any() and self.reference is not None:
                self._drift = ReferenceDrift(drift, self.reference)
                self._drift_blocks = round(drift.block_s * rate_hz)
        self._drift_sum, self._n_drift = np.zeros((n, n)), 0
        self.frozen = False
        """Whether the operator, or sham, holds the reference where it is."""

    def roll_back(self) -> None:
        """Take the calibration's reference again."""
        if self._drift is not None:
            self._drift.roll_back()
            self.reference, self._space = self._drift.reference, None

    def __call__(self, block: Block) -> list[Feature]:
        """Take the next block; give a record at the end of every step, and of where the reference moved to."""
        bad = block.bad[self._at]
        changed = bool((bad != self._bad).any())
        if changed:
            self._bad, self._space = bad, None
        if block.fresh or block.dirty or changed:
            self._bandpass.reset()
            self._window.clear()
            self._clean = 0
        self._flags.append(block.flags)
        if not block.dirty:
            filtered = self._bandpass(np.take(block.data, self._at, axis=1))
            self._clean += 1
            if self._clean > self._settle:
                self._add(filtered)
        out = [] if (block.index + 1) % self._step else [self._feature(block)]
        if self._drift is not None and (block.index + 1) % self._drift_blocks == 0:
            out.extend(self._follow(self._drift, block))
        return out

    def learned(self) -> dict[str, Any] | None:
        """Give the reference as plain values; None until it is known."""
        if self.reference is None:
            return None
        unknown = [name for name, never in zip(self._names, self._never, strict=True) if never]
        return {"channels": list(self._names), "reference": self.reference.tolist(), "unknown": unknown}

    def _add(self, filtered: F64) -> None:
        product = filtered.T @ filtered
        self._window.append((product, len(filtered)))
        if self.reference is not None:
            if self._drift is not None and not self._bad.any():
                self._drift_sum += product
                self._n_drift += len(filtered)
            return
        self._sum += product
        self._n_learned += len(filtered)
        self._never |= self._bad
        self._learn -= 1
        if not self._learn:
            self.reference = self._sum / self._n_learned

    def _follow(self, drift: ReferenceDrift, block: Block) -> list[Feature]:
        total, n = self._drift_sum, self._n_drift
        self._drift_sum, self._n_drift = np.zeros_like(total), 0
        # half of the stretch at least, and enough samples for a covariance of so many channels
        if self.frozen or n < max(len(total) * 4, self._drift_blocks * len(block.data) / 2):
            return []
        moved = drift(total / n, block.end_sample, SessionTime(block.end_time), block.flags)
        if moved is None:
            return []
        self.reference, self._space = drift.reference, None
        return [moved]

    def _take(self, learned: Mapping[str, Any]) -> None:
        reference = np.array(learned["reference"], dtype=np.float64)
        if tuple(learned["channels"]) != tuple(self._names) or reference.shape != self._sum.shape:
            given = ", ".join(learned["channels"])
            raise ConfigError("tangent", [f"the calibration is of {given}: expected {', '.join(self._names)}"])
        self.reference, self._own = reference, Flag.NONE
        self._never = np.array([name in learned["unknown"] for name in self._names])

    def _feature(self, block: Block) -> Feature:
        flags = block.flags
        for earlier in self._flags:
            flags |= earlier
        good = np.flatnonzero(~(self._bad | self._never))
        values = np.full(len(self._labels), np.nan)
        valid = self.reference is not None and len(self._window) == self._window.maxlen and len(good) > 1
        if valid and self.reference is not None:
            if self._space is None:
                self._space = TangentSpace(self.reference[np.ix_(good, good)])
            total = np.zeros((len(good), len(good)))
            n = 0
            for product, count in self._window:
                total += product[np.ix_(good, good)] if len(good) < len(product) else product
                n += count
            matrix = np.full((len(self._names), len(self._names)), np.nan)
            matrix[np.ix_(good, good)] = self._space(total / n, self._independent)
            values = np.round(matrix[self._upper] * self._weights, _DECIMALS)
        else:
            flags |= Flag.WARMING
        return Feature(
            name=TANGENT,
            sample=block.end_sample,
            about=SessionTime(block.end_time - self.delay_s),
            delay_s=self.delay_s,
            labels=self._labels,
            values=tuple(values.tolist()),
            uncertainty=(),
            valid=valid,
            flags=flags | self._own,
        )
