"""Adaptive cancellation of what the gradient template leaves: its own size and timing, followed block by block."""

from __future__ import annotations

import numpy as np

from streamer.filters import SosFilter, highpass
from streamer.messages import F32, F64, Array

BLOCK_S = 0.004
N_TAPS = 2
_POWER_BLOCKS = 256


class Anc:
    """Subtract from every channel a small multiple of its artefact, and of the artefact's slope [1]_.

    A template that is a little too small or too late leaves a multiple of the artefact or of its slope. Least mean
    squares follow both weights, block by block, with the step ``mu / (N var)``: N = 2, var that of each reference on
    its own, so that the slope is learnt as fast as the size. Weights are learnt above ``highpass_hz``, where there is
    artefact, and used at all frequencies; a block's weights come from the blocks before it. Two
    weights in place of one for each sample of a slice: EEG near the slice harmonics is not what they can follow.

    Parameters
    ----------
    mu : float
        Step of the weights, of the inverse power of the reference.
    highpass_hz : float
        Hz.
    sfreq : float
        Hz.
    n_channels : int

    References
    ----------
    .. [1] Allen, P. J., Josephs, O., Turner, R. (2000). A method for removing imaging artifact from continuous EEG
       recorded during functional MRI. NeuroImage 12, 230-239. doi:10.1006/nimg.2000.0599
    """

    def __init__(self, mu: float, highpass_hz: float, sfreq: float, n_channels: int) -> None:
        self._step = 2.0 * mu / N_TAPS
        self._block = max(2, round(BLOCK_S * sfreq))
        sos = highpass(highpass_hz, sfreq)
        self._filter = SosFilter(sos), SosFilter(sos)
        self._last: F32 = np.zeros((1, n_channels), np.float32)
        self._last_fast: F64 = np.zeros((1, n_channels))
        # rest of the data, artefact, slope; all high-passed
        self._rest = np.zeros((1 + N_TAPS, self._block, n_channels))
        self._held = 0
        self._fit = True
        self._power = np.zeros((N_TAPS, n_channels))
        self._n_blocks = 0
        self.weights = np.zeros((N_TAPS, n_channels))
        """Of artefact and slope, shape (2, n_channels)."""

    def restart(self) -> None:
        """Samples were lost: begin the filters anew and keep the weights."""
        for each in self._filter:
            each.reset()
        self._held = -1

    def __call__(self, first: int, corrected: F32, subtracted: F32, dirty: Array) -> F32:
        """Correct the next samples, shape (n_times, n_channels); nothing is learnt from blocks with a dirty one."""
        out = corrected.copy()
        slope = np.diff(subtracted, axis=0, prepend=self._last)
        fast, artefact = (each(x) for each, x in zip(self._filter, (corrected, subtracted), strict=True))
        fast_slope = np.diff(artefact, axis=0, prepend=self._last_fast)
        self._last, self._last_fast = subtracted[-1:].copy(), artefact[-1:].copy()
        start, n, block = 0, len(corrected), self._block
        while start < n:
            at = (first + start) % block
            stop = min(n, start + block - at)
            size, lag = self.weights.astype(np.float32)
            out[start:stop] -= size * subtracted[start:stop] + lag * slope[start:stop]
            if at == 0:
                self._held, self._fit = 0, True
            if at == self._held:
                end = at + stop - start
                for rest, piece in zip(self._rest, (fast, artefact, fast_slope), strict=True):
                    rest[at:end] = piece[start:stop]
                self._held = end
                self._fit &= not dirty[start:stop].any()
                if end == block and self._fit:
                    self._learn()
            start = stop
        return out

    def _learn(self) -> None:
        data, references = self._rest[0], self._rest[1:]
        power = np.add.reduce(np.square(references), axis=1) / self._block
        self._n_blocks = min(self._n_blocks + 1, _POWER_BLOCKS)
        self._power += (power - self._power) / self._n_blocks
        error = data - self.weights[0] * references[0] - self.weights[1] * references[1]
        towards = np.add.reduce(error * references, axis=1) / self._block
        # a burst of artefact far above its mean power must not overshoot
        self.weights += self._step * towards / np.maximum(self._power, 0.1 * power + 1e-18)
