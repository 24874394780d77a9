"""Smooth courses over the phase of a heart beat: cubic splines with even knots, looked up at any phase."""

from __future__ import annotations

import numpy as np

from streamer.messages import F64, Array

TAPS = 4
"""Cubic splines that are not 0 at a phase."""
FRACTIONS = 4
"""Phases are told apart to this part of a sample."""
BEFORE = 1
"""Samples before phase 0 at which courses are known too."""


class Basis:
    """Cubic splines from just before phase 0 on, all of which have come down to 0 at phase ``length``.

    Those that begin before phase 0 are left out if the course is to rise from 0.

    Phases are counted in samples. A beat's phase 0 rarely falls on a sample: the first sample at or after it has phase
    ``fraction / FRACTIONS``, with ``fraction`` from 0 to ``FRACTIONS``.

    Parameters
    ----------
    length : int
        Samples from phase 0 to the end.
    spacing : float
        Samples between knots; a course is smoothed to about a quarter of a cycle per spacing.
    """

    def __init__(self, length: int, spacing: float, *, rising: bool = False) -> None:
        self.length = length
        self._spacing = spacing
        self._origin = -BEFORE - 0.5
        spans = max(2 * TAPS, int((length - self._origin) / spacing))
        self.rows = spans + TAPS - 1
        """Rows of a table of coefficients, of which those outside ``inner`` are 0."""
        self.inner = slice(TAPS - 1 if rising else 0, spans)
        self.n = self.inner.stop - self.inner.start
        """Number of splines."""
        phases = np.arange(-BEFORE, length)[None] + np.arange(FRACTIONS + 1)[:, None] / FRACTIONS
        u = (phases - self._origin) / spacing
        self.index: Array = np.minimum(u.astype(int), spans - 1)[..., None] + np.arange(TAPS)
        """Rows that meet sample i - BEFORE, shape (FRACTIONS + 1, length + BEFORE, TAPS), int."""
        x = (u - np.floor(u))[..., None]
        inside = (u < spans)[..., None]
        self.weight: F64 = (
            inside
            * np.concatenate([(1 - x) ** 3, 3 * x**3 - 6 * x**2 + 4, -3 * x**3 + 3 * x**2 + 3 * x + 1, x**3], axis=2)
            / 6.0
        )
        """Their weights, of the same shape."""
        self.slope: F64 = (
            inside
            * np.concatenate([-((1 - x) ** 2), 3 * x**2 - 4 * x, -3 * x**2 + 2 * x + 1, x**2], axis=2)
            / (2.0 * spacing)
        )
        """Weights of the derivative per sample, of the same shape."""

    def matrix(self, fraction: int, weight: F64 | None = None) -> F64:
        """Values (or what ``weight`` gives) of all splines, shape (length + BEFORE, n)."""
        out: F64 = np.zeros((self.length + BEFORE, self.rows))
        chosen = self.weight if weight is None else weight
        np.put_along_axis(out, self.index[fraction], chosen[fraction], axis=1)
        return out[:, self.inner]

    def ends(self) -> F64:
        """Phase at which each spline has passed most of itself, shape (n,)."""
        numbers = np.arange(self.inner.start, self.inner.stop, dtype=np.float64)
        return self._origin + self._spacing * (numbers - 0.5)
