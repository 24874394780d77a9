"""Optimal basis set: the few patterns in which volumes differ after the template was subtracted."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import numpy as np

from streamer.filters import SosFilter, highpass
from streamer.messages import F32, F64, Array

HIGHPASS_HZ = 70.0
"""Patterns are told apart and fitted above this, where there is little EEG."""
MIN_EPOCHS = 8
_FIT_HZ = 1000.0
_BLOCK_S = 0.01
_LENGTH_TOLERANCE = 2
_OUTLIER = 9.0
_SMOOTH = 4.0
_NOISE_FACTOR = 3.0


def automatic_order(eigenvalues: F64, most: int) -> int:
    """Choose how many components to use: ``floor`` of the mean of three counts, after [1]_.

    The counts are the components before the first step of less than 2 % of the variance, those that it takes for more
    than 80 %, and those with 5 % and more. A component that does not stand out of the median by a factor of 3 is noise
    and never used: in noise alone the second count would be large.

    Parameters
    ----------
    eigenvalues : ndarray, float64, shape (n_epochs,)
        Falling.
    most : int
        Upper limit.

    References
    ----------
    .. [1] Niazy, R. K., Beckmann, C. F., Iannetti, G. D., Brady, J. M., Smith, S. M. (2005). Removal of FMRI
       environment artifacts from EEG data using optimal basis sets. NeuroImage 28, 720-737.
       doi:10.1016/j.neuroimage.2005.06.067
    """
    total = float(eigenvalues.sum())
    if total <= 0:
        return 0
    share = 100.0 * eigenvalues / total
    flat = np.flatnonzero(share[:-1] - share[1:] < 2.0)
    counts = (
        int(flat[0]) if len(flat) else len(share),
        int(np.searchsorted(np.cumsum(share), 80.0, side="right")) + 1,
        int((share >= 5.0).sum()),
    )
    return min(sum(counts) // 3, most, standing_out(eigenvalues))


def standing_out(eigenvalues: F64) -> int:
    """Count the components that are more than noise."""
    return int((eigenvalues > _NOISE_FACTOR * max(float(np.median(eigenvalues)), 1e-30)).sum())


class Obs:
    """Subtract the principal components of the residuals of past volumes, fitted as the volume unfolds.

    The residuals of all channels together are an epoch, and its scores are shared by the channels: what differs from
    volume to volume (timing, the head's place) reaches all of them at once, and EEG hardly enters. Scores come from the
    residuals above 70 Hz; the patterns that go with them are of all frequencies. Every ``refresh_s`` the components are
    found anew from the inner products of the epochs, which grow with every 10 ms; the patterns are summed up in the
    volume after that, each part just before it is used, and lose their slow part channel by channel in those that
    follow.

    In each volume the scores begin at what the last volume's let expect and follow all that has passed of the present
    one, by least squares with that prior. No sample is held back.

    Parameters
    ----------
    order : int or None
        Components; None chooses by `automatic_order`.
    most : int
        Most components that are chosen.
    memory_s, refresh_s : float
        Span of the epochs that are kept, and time from choice to choice, s.
    lowest_hz : float
        What the patterns have below this is taken out of them, Hz: there they hold more EEG than artefact.
    sfreq : float
        Hz.
    n_channels : int
    """

    def __init__(
        self,
        order: int | None,
        most: int,
        memory_s: float,
        refresh_s: float,
        lowest_hz: float,
        sfreq: float,
        n_channels: int,
    ) -> None:
        self._lowest = lowest_hz / sfreq
        self._order, self._most = order, most if order is None else order
        self._memory = round(memory_s * sfreq)
        self._refresh = round(refresh_s * sfreq)
        self._n_channels = n_channels
        self._fine = max(1, round(sfreq / _FIT_HZ))
        self._block = self._fine * max(1, round(_BLOCK_S * sfreq / self._fine))
        self._fast = SosFilter(highpass(HIGHPASS_HZ, sfreq))
        self._anchor: int | None = None
        self._last_length: int | None = None
        self._sound = False
        self._forget()

    @property
    def components(self) -> int:
        """Components in use."""
        return len(self._scores)

    def _forget(self) -> None:
        self._length = 0
        self._epochs: deque[int] = deque()
        self._scores: F64 = np.zeros(0)
        self._chosen: int | None = None

    def reset(self) -> None:
        """Forget all epochs: the artefact is another one."""
        self._forget()
        self._anchor = self._last_length = None

    def restart(self) -> None:
        """Samples were lost: this volume teaches nothing."""
        self._fast.reset()
        self._sound = False

    def __call__(self, first: int, data: F32, starts: list[int], dirty: Array) -> F32:
        """Correct the next samples, shape (n_times, n_channels); see `Residual`."""
        out = data.copy()
        fast = self._fast(data)
        end = first + len(data)
        cuts = [first, *(s for s in starts if s > first), end]
        for a, b in pairwise(cuts):
            if a in starts:
                self._begin(a)
            if self._anchor is not None and self._length:
                i, j = a - first, b - first
                self._pass(a - self._anchor, data[i:j], fast[i:j], dirty[i:j], out[i:j])
        return out

    def _begin(self, sample: int) -> None:
        """End the volume that passed, and begin the one at ``sample``."""
        if self._anchor is not None:
            length = sample - self._anchor
            if abs(length - self._nominal if self._length else _LENGTH_TOLERANCE + 1) > _LENGTH_TOLERANCE:
                # a new period counts once it has come twice
                if self._last_length is not None and abs(length - self._last_length) <= _LENGTH_TOLERANCE:
                    self._allocate(length)
            elif self._sound:
                self._keep(length)
            self._last_length = length
        self._anchor = sample
        self._sound = self._length > 0
        if not self._length:
            return
        if self._built == self._length - self._block:
            # a volume may end before its last block begins
            self._build()
            self._slow = self.components * self._n_channels
        if self._built < self._length:
            # the volume was cut short: the patterns are not whole, and their epochs may soon be gone
            self._scores, self._follows, self._chosen = np.zeros(0), np.zeros(0), None
            self._built = self._length
        self._expected = self._follows * self._scores
        self._scores = self._expected.copy()
        if len(self._epochs) >= MIN_EPOCHS and (self._chosen is None or sample - self._chosen >= self._refresh):
            self._choose(sample)
        k = self.components
        self._normal, self._shared = np.zeros((k, k)), np.zeros(k)
        self._row[:] = 0.0

    def _allocate(self, period: int) -> None:
        self._forget()
        n = max(MIN_EPOCHS, min(40, self._memory // period)) + 1
        block, channels = self._block, self._n_channels
        self._nominal = period
        self._length = block * -(-(period + _LENGTH_TOLERANCE) // block)
        fine = self._length // self._fine
        self._wide = np.zeros((n, self._length, channels), np.float32)
        self._narrow = np.zeros((n, fine, channels), np.float32)
        self._products = np.zeros((n, n, channels))
        self._row = np.zeros((n, channels))
        self._free = list(range(n))[::-1]
        self._slot = self._free.pop()
        self._patterns = np.zeros((self._most, self._length, channels), np.float32)
        self._fast_patterns = np.zeros((self._most, fine, channels), np.float32)
        self._mix = np.zeros((self._most, 0, channels), np.float32)
        self._mixed = np.zeros(0, np.int64)
        self._weights = np.zeros(channels)
        self._follows = self._expected = np.zeros(0)
        self._built = self._length
        self._slow = 0

    def _keep(self, length: int) -> None:
        """Let the volume that has just passed be one of the epochs."""
        self._wide[self._slot, length:] = 0.0
        self._narrow[self._slot, -(-length // self._fine) :] = 0.0
        self._products[self._slot] = self._row
        self._products[:, self._slot] = self._row
        self._epochs.append(self._slot)
        self._slot = self._free.pop() if self._free else self._epochs.popleft()

    def _choose(self, sample: int) -> None:
        """Find the components of the epochs that are kept."""
        self._chosen = sample
        epochs = np.array(self._epochs)
        products = self._products[epochs][:, epochs]
        energy = np.ascontiguousarray(np.diagonal(products).T)
        usual = np.median(energy, axis=0)
        self._weights = np.where(usual > 0, 1.0 / np.where(usual > 0, usual, 1.0), 0.0)
        # a channel that moved or popped in one epoch must not make a component of it
        tamed = np.sqrt(_OUTLIER / np.maximum(energy * self._weights, _OUTLIER))
        joint = np.add.reduce(products * (tamed[:, None] * tamed[None] * self._weights), axis=2)
        values, vectors = np.linalg.eigh(joint)
        values, vectors = values[::-1], vectors[:, ::-1]
        k = automatic_order(values, self._most) if self._order is None else min(self._most, standing_out(values))
        vectors = vectors[:, :k]
        self._mix = (vectors.T[:, :, None] * tamed).astype(np.float32)
        self._mixed = epochs
        self._follows = np.clip(np.add.reduce(vectors[1:] * vectors[:-1], axis=0), 0.0, 0.98)
        self._expected = self._follows * vectors[-1]
        self._scores = self._expected.copy()
        self._built = 0 if k else self._length
        self._slow = 0

    def _pass(self, phase: int, data: F32, fast: F64, dirty: Array, out: F32) -> None:
        start, n = 0, len(data)
        while start < n and phase < self._length:
            border = phase - phase % self._block + self._block
            stop = min(n, start + border - phase)
            end = phase + stop - start
            self._wide[self._slot, phase:end] = data[start:stop]
            row = -(-phase // self._fine)
            picked = fast[start + row * self._fine - phase : stop : self._fine]
            self._narrow[self._slot, row : row + len(picked)] = picked
            if dirty[start:stop].any():
                self._sound = False
            if self.components and self._built == border - self._block:
                self._build()
            if self.components and self._built >= end:
                artefact = self._patterns[0, phase:end] * np.float32(self._scores[0])
                for pattern, score in zip(self._patterns[1:], self._scores[1:], strict=False):
                    artefact += pattern[phase:end] * np.float32(score)
                artefact[dirty[start:stop]] = 0.0
                out[start:stop] -= artefact
            if end == border:
                self._learn(border)
                if self._slow:
                    self._quicken()
            start, phase = stop, end
        if start < n:
            self._sound = False

    def _build(self) -> None:
        """Sum up the next block of the patterns."""
        wide = slice(self._built, self._built + self._block)
        fine = slice(wide.start // self._fine, wide.stop // self._fine)
        for source, into, part in (
            (self._wide, self._patterns, wide),
            (self._narrow, self._fast_patterns, fine),
        ):
            into[: self.components, part] = 0.0
            for i, slot in enumerate(self._mixed.tolist()):
                piece = source[slot, part]
                for k in range(self.components):
                    into[k, part] += piece * self._mix[k, i]
        self._built = wide.stop

    def _quicken(self) -> None:
        """Take the slow part out of one channel of one pattern: a volume is a period, so its spectrum is cut off."""
        self._slow -= 1
        k, channel = divmod(self._slow, self._n_channels)
        whole = self._patterns[k, : self._nominal, channel]
        spectrum = np.fft.rfft(whole)
        spectrum[: round(self._lowest * self._nominal)] = 0.0
        whole[:] = np.fft.irfft(spectrum, self._nominal)

    def _learn(self, border: int) -> None:
        """Take in the block that ends at phase ``border``."""
        part = slice((border - self._block) // self._fine, border // self._fine)
        present = self._narrow[self._slot, part]
        if self._sound:
            self._row += np.add.reduce(self._narrow[:, part] * present, axis=1, dtype=np.float64)
        k = self.components
        if not k or not self._sound or self._built < border:
            return
        energy = np.add.reduce(np.square(present), axis=0, dtype=np.float64) * self._weights
        weights = np.where(energy <= _OUTLIER * np.median(energy), self._weights, 0.0)
        patterns = self._fast_patterns[:k, part].astype(np.float64)
        weighted = patterns * weights
        self._shared += np.add.reduce(weighted * present, axis=(1, 2))
        self._normal += np.add.reduce(weighted[:, None] * patterns[None], axis=(2, 3))
        # in these units an epoch of a channel has energy 1; neighbouring samples and channels go along
        certain = self._length / self._fine / _SMOOTH
        prior = len(self._mixed) / (1.0 - np.square(self._follows))
        self._scores = np.linalg.solve(
            certain * self._normal + np.diag(prior), certain * self._shared + prior * self._expected
        )
