"""How the beat under way differs from the mean, sample by sample as it unfolds."""

from __future__ import annotations

import numpy as np

from streamer.clean.eeg.heart.pulse_basis import BEFORE, Basis
from streamer.clean.eeg.heart.pulse_model import PREDICT, PulseShape
from streamer.messages import F64


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
        trust : ndarray, shape (n, 1)
            0 where a sample must not count, otherwise 1.
        """
        n = len(trust)
        if self.shape is None:
            self.seen += n
            return
        at = slice(self.seen, self.seen + n + BEFORE)
        rest = data - self._look(self._fine, self.shape.mean, at)
        errors = np.matmul((rest[1:] - PREDICT * rest[:-1])[:, None], self.shape.whitener)[:, 0]
        whitened = self._look(self._coarse, self.shape.whitened, at).reshape(n + BEFORE, -1, data.shape[1])
        slopes = whitened[1:] - PREDICT * whitened[:-1]
        score = np.matmul(slopes, errors[:, :, None])[:, :, 0] * trust
        information = np.matmul(slopes, slopes.transpose(0, 2, 1)) * trust[:, :, None]
        # sums that begin with what is carried are the same however the samples are split
        score = np.add.accumulate(np.concatenate([self._score[None], score]))[1:]
        information = np.add.accumulate(np.concatenate([self._information[None], information]))[1:]
        self._score, self._information = score[-1], information[-1]
        self._theta[self.seen : self.seen + n] = np.linalg.solve(information, score[:, :, None])[:, :, 0]
        self.seen += n

    def skip(self, n: int) -> None:
        """Pass over samples that were never there."""
        if self.seen:
            self._theta[self.seen : self.seen + n] = self._theta[self.seen - 1]
        self.seen += n

    def estimate(self, start: int, stop: int, hold: int) -> F64:
        """Give the artefact at samples ``start`` to ``stop`` (excluded), V, shape (n, n_channels).

        Each from what was known of the beat ``hold`` samples later, or at its end.
        """
        at = np.arange(start, stop) - self.start
        if self.shape is None:
            raise ValueError("a beat from before there was a template has no estimate: expected one with a shape")
        look = slice(start - self.start + BEFORE, stop - self.start + BEFORE)
        mean = self._look(self._fine, self.shape.mean, look)
        parts = self._look(self._coarse, self.shape.components, look).reshape(len(at), -1, mean.shape[1])
        known = min(self.seen, self.stop - self.start)
        theta = self._theta[np.minimum(at + hold, known - 1)]
        return mean + np.matmul(theta[:, None], parts)[:, 0]

    def _look(self, basis: Basis, table: F64, at: slice) -> F64:
        """Values of a table of coefficients at samples counted from ``BEFORE`` before the start."""
        rows = table[basis.index[self.fraction, at]]
        return np.matmul(basis.weight[self.fraction, at][:, None], rows)[:, 0]
