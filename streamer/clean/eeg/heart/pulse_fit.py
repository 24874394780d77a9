"""How the beat under way differs from the mean, sample by sample as it unfolds."""

from __future__ import annotations

import numpy as np

from streamer.clean.eeg.heart.pulse_basis import BEFORE, Basis
from streamer.clean.eeg.heart.pulse_model import PREDICT, PulseShape
from streamer.compiled import compiled
from streamer.messages import F64, Array


class BeatFit:
    """One beat: what was known of its ``theta`` after each of its samples.

    Recursive Bayesian least squares in information form: all channels share ``theta``, whose prior has mean 0 and sd 1,
    and the EEG is noise that is coloured over time and over channels.

    Parameters
    ----------
    start : int
        First sample at or after phase 0.
    fraction : int
        Its phase, in parts of a sample (`Basis`).
    shape : PulseShape or None
        What past beats taught; None while that is not enough.
    fine, coarse : Basis
        Of the mean, of the components.
    learnable : bool
        Whether the beat's time is good enough for the templates.
    """

    def __init__(
        self, start: int, fraction: int, shape: PulseShape | None, fine: Basis, coarse: Basis, *, learnable: bool
    ) -> None:
        self.start, self.fraction, self.shape, self.learnable = start, fraction, shape, learnable
        self.stop = start + fine.length
        """Sample after its last one: at the latest where the next beat begins."""
        self.seen = 0
        """Its samples that went by."""
        self._fine, self._coarse = fine, coarse
        k = 0 if shape is None else shape.components.shape[1] // shape.mean.shape[1]
        self._theta = np.zeros((fine.length, k))
        self._information = np.eye(k)
        self._score = np.zeros(k)

    def advance(self, data: F64, trust: F64) -> None:
        """Take the next samples.

        Parameters
        ----------
        data : ndarray, shape (n + BEFORE, n_channels)
            V, with the ``BEFORE`` samples that precede them.
        trust : ndarray, shape (n + BEFORE, 1)
            Of the same samples: 0 where one must not count, otherwise 1.
        """
        if self.shape is not None:
            _advance(
                data,
                trust,
                self._fine.index[self.fraction, self.seen :],
                self._fine.weight[self.fraction, self.seen :],
                self.shape.mean,
                self._coarse.index[self.fraction, self.seen :],
                self._coarse.weight[self.fraction, self.seen :],
                self.shape.whitened,
                self.shape.whitener,
                self._information,
                self._score,
                self._theta[self.seen :],
                PREDICT,
            )
        self.seen += len(data) - BEFORE

    def skip(self, n: int) -> None:
        """Pass over samples that were never there."""
        if self.seen:
            self._theta[self.seen : self.seen + n] = self._theta[self.seen - 1]
        self.seen += n

    def estimate(self, start: int, stop: int, hold: int) -> F64:
        """Give the artefact at samples ``start`` to ``stop`` (excluded), V, shape (n, n_channels).

        Each from what was known of the beat ``hold`` samples later, or at its end.
        """
        if self.shape is None:
            raise ValueError("a beat from before there was a template has no estimate: expected one with a shape")
        first = start - self.start
        estimate = np.zeros((stop - start, self.shape.mean.shape[1]))
        _estimate(
            self._fine.index[self.fraction, first + BEFORE :],
            self._fine.weight[self.fraction, first + BEFORE :],
            self.shape.mean,
            self._coarse.index[self.fraction, first + BEFORE :],
            self._coarse.weight[self.fraction, first + BEFORE :],
            self.shape.components,
            self._theta,
            first + hold,
            min(self.seen, self.stop - self.start) - 1,
            estimate,
        )
        return estimate


def warm_up(fine: Basis, coarse: Basis, n_channels: int) -> None:
    """Have compiled what a beat needs, before the first comes."""
    table, square = np.zeros((max(fine.rows, coarse.rows), n_channels)), np.zeros((n_channels, n_channels))
    shape = PulseShape(table, table, table, square)
    fit = BeatFit(0, 0, shape, fine, coarse, learnable=False)
    fit.advance(np.zeros((1 + BEFORE, n_channels)), np.zeros((1 + BEFORE, 1)))
    fit.estimate(0, 1, 0)


@compiled
def _advance(
    data: F64,
    trust: F64,
    fine_index: Array,
    fine_weight: F64,
    mean: F64,
    coarse_index: Array,
    coarse_weight: F64,
    whitened: F64,
    whitener: F64,
    information: F64,
    score: F64,
    theta: F64,
    predict: float,
) -> None:
    """Add samples to ``information`` and ``score``, and solve for ``theta`` after each.

    Row 0 of all but ``theta`` is the sample before the first.
    """
    n, n_channels, n_parts = len(data) - 1, data.shape[1], len(score)
    rest, before = np.empty(n_channels), np.empty(n_channels)
    parts, parts_before = np.empty((n_parts, n_channels)), np.empty((n_parts, n_channels))
    error = np.empty(n_channels)
    for i in range(n + 1):
        rest, before = before, rest
        parts, parts_before = parts_before, parts
        row = data[i]
        for c in range(n_channels):
            rest[c] = row[c]
        for t in range(fine_index.shape[1]):
            course, w = mean[fine_index[i, t]], fine_weight[i, t]
            for c in range(n_channels):
                rest[c] -= w * course[c]
        parts[:] = 0.0
        for t in range(fine_index.shape[1]):
            courses, w = whitened[coarse_index[i, t]], coarse_weight[i, t]
            for k in range(n_parts):
                part, course = parts[k], courses[k * n_channels : (k + 1) * n_channels]
                for c in range(n_channels):
                    part[c] += w * course[c]
        if i == 0:
            continue
        if trust[i, 0] * trust[i - 1, 0] > 0.0:
            error[:] = 0.0
            for r in range(n_channels):
                unpredicted, weights = rest[r] - predict * before[r], whitener[r]
                for c in range(n_channels):
                    error[c] += unpredicted * weights[c]
            for k in range(n_parts):
                part, course = parts_before[k], parts[k]
                for c in range(n_channels):
                    part[c] = course[c] - predict * part[c]
            for k in range(n_parts):
                score[k] += _dot(parts_before[k], error)
                for m in range(k + 1):
                    information[k, m] += _dot(parts_before[k], parts_before[m])
        _solve(information, score, theta[i - 1])


@compiled
def _dot(a: F64, b: F64) -> float:
    """Sum products in four strands: one alone would wait for each addition."""
    n = len(a)
    whole = n - n % 4
    p = q = r = s = 0.0
    for i in range(0, whole, 4):
        p += a[i] * b[i]
        q += a[i + 1] * b[i + 1]
        r += a[i + 2] * b[i + 2]
        s += a[i + 3] * b[i + 3]
    for i in range(whole, n):
        p += a[i] * b[i]
    return (p + q) + (r + s)


@compiled
def _solve(matrix: F64, right: F64, out: F64) -> None:
    """Solve for a matrix that is symmetric and at least 1, of which the lower half is read (Cholesky)."""
    n = len(right)
    root = np.empty((n, n))
    for i in range(n):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= root[i, k] * root[j, k]
            root[i, j] = np.sqrt(total) if i == j else total / root[j, j]
    for i in range(n):
        total = right[i]
        for k in range(i):
            total -= root[i, k] * out[k]
        out[i] = total / root[i, i]
    for i in range(n - 1, -1, -1):
        total = out[i]
        for k in range(i + 1, n):
            total -= root[k, i] * out[k]
        out[i] = total / root[i, i]


@compiled
def _estimate(
    fine_index: Array,
    fine_weight: F64,
    mean: F64,
    coarse_index: Array,
    coarse_weight: F64,
    components: F64,
    theta: F64,
    first: int,
    last: int,
    out: F64,
) -> None:
    """Add mean and components to ``out``, sample i with row ``first + i`` of ``theta``, and ``last`` at most."""
    n, n_channels = out.shape
    for i in range(n):
        row, known = out[i], theta[min(first + i, last)]
        for t in range(fine_index.shape[1]):
            course, w = mean[fine_index[i, t]], fine_weight[i, t]
            for c in range(n_channels):
                row[c] += w * course[c]
        for t in range(fine_index.shape[1]):
            courses, w = components[coarse_index[i, t]], coarse_weight[i, t]
            for k in range(len(known)):
                course, share = courses[k * n_channels : (k + 1) * n_channels], w * known[k]
                for c in range(n_channels):
                    row[c] += share * course[c]
