"""A matched filter for the QRS complex that learns its template and whitens what else is in the ECG."""

from __future__ import annotations

import math
from collections import deque
from typing import cast

import numpy as np
from scipy import linalg

from streamer.clean.eeg.heart.absolute_ring import Ring
from streamer.messages import F64, Array

PRE_S = 0.060
"""The template begins so long before the R peak, s: the Q wave fits in."""
POST_S = 0.056
"""It ends so long behind, s. This is most of the detection's delay."""
RING_S = 8.0
"""History kept, s."""
BLOCK_S = 0.25
"""The background is learnt in blocks of this length on the absolute grid, s."""
_SOLVE_BLOCKS = 4
"""The filter is made anew after so many."""
_BEHIND_S = 0.25
"""A block's background is learnt so long after it, s: by then its beats were found and are taken out of it."""
_BACKGROUND_S = 8.0
"""Memory of the background, s: several volumes, so that gradient residue, which drifts within minutes, is followed."""
_SPIKE = 4.0
"""The background is cut off at so many times its sd: neither a pop nor an electrode put back spoils the whitening."""
_LOADING = 0.02
"""Of the background's power, added to it white: keeps the filter smooth."""
_FIRST_LOADING = 0.1
"""The same when the beats are not yet told from the background."""
_ROUNDS = 3
"""Rounds of a search: each takes the beats of the one before out of the background."""
_FLAT_V = 0.5e-6
"""A channel all of whose steps within a block are below this is flat or at the rail, V."""
_LEARN_MAX = 24
"""Beats that the template remembers: enough to average gradient residue out, few enough to follow posture."""
_REACH_S = 0.048
"""The R peak is looked for so far around where the template matches, s."""
_AGREE_S = 0.016
"""It must be where the template has it within this, s."""
_GENERIC_BEATS = 4
"""So many beats is the Gaussian worth in the first template, which few beats with residue in them make."""
_QRS_SD_S = 0.010
"""Width of the Gaussian that stands for a QRS before one was seen, s."""


_SCANNER_SAMPLES = 1.5
"""Intervals that are all so close to whole TR are the scanner's: a heart's vary by several samples."""


class QrsFilter:
    """Learn how a beat looks and what surrounds it; give the filter that tells them apart best.

    The input is the first difference of the ECG, which takes the drift out and delays by half a sample exactly. With
    the beat's template t and the background's autocorrelation C the filter is ``w = C⁻¹t / tᵀC⁻¹t`` per channel, summed
    over channels: its output is the beat's size in units of the template, and gradient residue, flow and T waves,
    all of which the background holds, are suppressed as far as they differ from t [1]_.

    Parameters
    ----------
    sfreq : float
        Hz.
    n_ecg : int
        ECG channels, at least one.
    least_v : float
        Smaller complexes are not believed, V from peak to peak.

    References
    ----------
    .. [1] Turin, G. L. (1960). An introduction to matched filters. IRE Transactions on Information Theory 6, 311-329.
       doi:10.1109/TIT.1960.1057571
    """

    def __init__(self, sfreq: float, n_ecg: int, least_v: float = 0.0) -> None:
        self.sfreq = sfreq
        self._least_v = least_v
        self.scanner: float | None = None
        """Samples from volume to volume: what repeats with it is no heart."""
        self.pre = round(PRE_S * sfreq)
        self.post = round(POST_S * sfreq)
        self.length = self.pre + 1 + self.post
        """Taps."""
        self.block = round(BLOCK_S * sfreq)
        self.weights: F64 | None = None
        """shape (length * n_ecg,); None until a beat's shape is known or no channel has a signal."""
        self.lost: Array = np.zeros(n_ecg, dtype=bool)
        """Channels without a signal in the newest block."""
        self.all_lost = False
        """Whether these are all channels."""
        self.offset = 0.0
        """The R peak's place against the template's middle, samples."""
        self.template: F64 | None = None
        """shape (length, n_ecg), V per sample."""
        self.reach = round(_REACH_S * sfreq)
        """Samples behind a beat's window that `offset_of` looks at."""
        self._nearer = 1 - 0.4 * np.abs(np.arange(-self.reach, self.reach + 1)) / self.reach
        self._n_ecg = n_ecg
        self._locator: tuple[int, F64] | None = None
        self._behind = round(_BEHIND_S * sfreq)
        self._memory = round(_BACKGROUND_S / BLOCK_S)
        size = self.block * math.ceil(RING_S * sfreq / self.block)
        self.ring = Ring(size, n_ecg)
        """The differenced ECG."""
        self._taken: deque[tuple[int, F64]] = deque()
        self._background = np.zeros((self.length, n_ecg))
        self._blocks = np.zeros(n_ecg, np.int64)
        self._beats = 0
        t = (np.arange(self.length) - self.pre - 0.5) / sfreq
        self._generic = np.asarray(-t * np.exp(-0.5 * (t / _QRS_SD_S) ** 2), np.float64)

    def restart(self) -> None:
        """Forget the beats that are still to be kept out of the background: theirs is gone."""
        self._taken.clear()

    def window(self, stop: int) -> F64:
        """View what the filter sees when the newest sample is ``stop - 1``, shape (length * n_ecg,)."""
        return self.ring.last(stop, self.length).reshape(-1)

    def end_block(self, stop: int, clean_from: int) -> None:
        """Learn the background at the end of a block; samples before ``clean_from`` are not to be learnt from."""
        lost: Array = np.asarray(np.abs(self.ring.last(stop, self.block)).max(axis=0) < _FLAT_V)
        changed = bool((lost != self.lost).any())
        self.lost, self.all_lost = lost, bool(lost.all())
        at = stop - self._behind
        learnt = at - self.block - self.length + 1 >= clean_from and not self.all_lost
        if learnt:
            stretch = self._without_beats(at, self.block + self.length - 1)
            for c in np.flatnonzero(~lost).tolist():
                self._learn_background(c, stretch[:, c])
        if self.template is not None and (changed or stop % (self.block * _SOLVE_BLOCKS) == 0):
            self._solve()

    def _without_beats(self, stop: int, n: int) -> F64:
        stretch = self.ring.last(stop, n).copy()
        start = stop - n
        while self._taken and self._taken[0][0] <= start:
            self._taken.popleft()
        for end, beat in self._taken:
            low, high = max(start, end - self.length), min(stop, end)
            if low < high:
                stretch[low - start : high - start] -= beat[low - end + self.length : high - end + self.length]
        return stretch

    def _learn_background(self, channel: int, stretch: F64) -> None:
        known, blocks = self._background[:, channel], int(self._blocks[channel])
        if blocks:
            limit = _SPIKE * math.sqrt(known[0])
            stretch = np.clip(stretch, -limit, limit)
        known += (_autocorrelation(stretch, self.length) - known) / min(blocks + 1, self._memory)
        self._blocks[channel] = blocks + 1

    def offset_of(self, stop: int) -> float | None:
        """Where the R peak lies against the middle of the window that ends before ``stop``, samples.

        It is where the filter for any QRS has its greatest peak; ``reach`` samples behind the window must be there.
        None when that is not where the template has it: the template matched something else.
        """
        if self._locator is None:
            return None
        channel, weights = self._locator
        around = self.ring.last(stop + self.reach, self.length + 2 * self.reach)[:, channel]
        found = np.abs(np.correlate(around, weights, "valid"))
        k = int(np.argmax(found * self._nearer))
        offset = k + vertex(found, k) - self.reach
        return offset if abs(offset - self.offset) <= _AGREE_S * self.sfreq else None

    def learn_beat(self, stop: int, size: float, offset: float) -> None:
        """Learn from the beat whose window ends before ``stop``, its size and its `offset_of`."""
        assert self.template is not None
        self._beats = min(self._beats + 1, _LEARN_MAX)
        self.template += (self.ring.last(stop, self.length) - self.template) / self._beats
        # without this the template's place would wander with what it is made of
        self.offset += (offset - self.offset) / self._beats
        self.take_out(stop, size)

    def take_out(self, stop: int, size: float) -> None:
        """Keep a beat out of the background."""
        assert self.template is not None
        self._taken.append((stop, size * self.template))

    def search(self, start: int, stop: int, apart: int, longest: int) -> list[int]:
        """Look for a beat's shape in samples ``start`` to ``stop``, knowing nothing.

        The peaks of a whitened filter for any QRS are taken for beats if they tower above the rest, are alike and come
        in a rhythm. A template that was there is replaced.

        Parameters
        ----------
        start, stop : int
            Stretch without uncorrected samples, at most ``RING_S`` long.
        apart, longest : int
            Least and greatest interval between beats, samples.

        Returns
        -------
        list of int
            The window ends of the beats that were found; empty when there are none.
        """
        steps = self.ring.last(stop, stop - start).copy()
        best: tuple[float, int, F64, list[int]] | None = None
        for c in np.flatnonzero(~self.lost).tolist():
            clarity, at, signs = self._beats_in(steps[:, c], apart, longest)
            if at and self._is_heart(steps[:, c], at, signs) and (best is None or clarity > best[0]):
                best = clarity, c, signs, at
        if best is None:
            return []
        _, channel, signs, at = best
        self.template, rest = _template(steps, at, signs, self.length)
        self.template[:, channel] += self._toward_generic(rest[:, channel], self.template[:, channel], len(at))
        self.offset = 0.0
        self._beats = len(at) + _GENERIC_BEATS
        for c in np.flatnonzero(~self.lost).tolist():
            self._background[:, c] = _autocorrelation(rest[:, c], self.length)
            self._blocks[c] = max(1, (stop - start) // self.block)
        self._solve()
        ends = [start + k + self.length for k in at]
        self._taken.clear()
        for k, end in zip(at, ends, strict=True):
            self._taken.append((end, (steps - rest)[k : k + self.length]))
        return ends

    def _is_heart(self, steps: F64, at: list[int], signs: F64) -> bool:
        """Whether these may be heart beats: large enough, and not at the scanner's very period."""
        complex_v = np.ptp(np.cumsum(_template(steps[:, None], at, signs, self.length)[0][:, 0]))
        volumes = np.diff(at) / (self.scanner or np.inf)
        locked = bool((np.abs(volumes - np.rint(volumes)) * (self.scanner or 0.0) < _SCANNER_SAMPLES).all())
        return bool(complex_v >= self._least_v) and not (self.scanner is not None and locked)

    def _toward_generic(self, rest: F64, template: F64, n_beats: int) -> F64:
        """What to add to a template of so many beats."""
        weights = _whitened(_autocorrelation(rest, self.length), self._generic)
        gain = float(weights @ self._generic)
        if gain <= 0:
            return np.zeros(self.length)
        size = float(weights @ template) / gain
        return (size * self._generic - template) * (_GENERIC_BEATS / (_GENERIC_BEATS + n_beats))

    def _beats_in(self, steps: F64, apart: int, longest: int) -> tuple[float, list[int], F64]:
        rest, loading = steps, _FIRST_LOADING
        clarity, at, signs = 0.0, list[int](), np.empty(0)
        # the beats are themselves in what is whitened at first, which rounds them off and lets neighbours stand out
        for _ in range(_ROUNDS):
            weights = _whitened(_autocorrelation(rest, self.length), self._generic, loading)
            found = np.correlate(steps, weights, "valid")
            clarity, at = _beats_among(found, apart, longest)
            if not at:
                break
            signs = np.sign(found[at])
            rest, loading = _template(steps[:, None], at, signs, self.length)[1][:, 0], _LOADING
        return clarity, at, signs

    def _solve(self) -> None:
        assert self.template is not None
        weights = np.zeros((self.length, self._n_ecg))
        for c in np.flatnonzero(~self.lost & (self._blocks > 0)).tolist():
            weights[:, c] = _whitened(self._background[:, c], self.template[:, c])
        gains = np.sum(weights * self.template, axis=0)
        gain = float(gains.sum())
        best = int(np.argmax(gains))
        self._locator = (best, _whitened(self._background[:, best], self._generic)) if gains[best] > 0 else None
        self.weights = (weights / gain).reshape(-1) if gain > 0 else None


def vertex(values: F64, k: int) -> float:
    """Offset of the vertex of the parabola through samples ``k - 1`` to ``k + 1``, -0.5 to 0.5."""
    if not 0 < k < len(values) - 1:
        return 0.0
    before, at, after = float(values[k - 1]), float(values[k]), float(values[k + 1])
    bend = before - 2 * at + after
    return max(-0.5, min(0.5, 0.5 * (before - after) / bend)) if bend else 0.0


def _autocorrelation(stretch: F64, n: int) -> F64:
    """Mean product at lags 0 to ``n - 1``, each over the same number of samples."""
    late = stretch[n - 1 :]
    return np.correlate(stretch, late, "valid")[::-1] / len(late)


def _template(steps: F64, at: list[int], signs: F64, length: int) -> tuple[F64, F64]:
    """Average the windows that begin at ``at``; gives that, and the signal without the beats."""
    windows = np.stack([steps[k : k + length] for k in at]) * signs[:, None, None]
    template = np.mean(windows, axis=0)
    rest = steps.copy()
    for k, sign in zip(at, signs, strict=True):
        rest[k : k + length] -= sign * template
    return template * signs[0], rest


def _whitened(background: F64, template: F64, loading: float = _LOADING) -> F64:
    loaded = background.copy()
    loaded[0] = loaded[0] * (1 + loading) + 1e-18
    return cast("F64", np.linalg.solve(linalg.toeplitz(loaded), template))


def _beats_among(found: F64, apart: int, longest: int) -> tuple[float, list[int]]:
    """Pick peaks that look like beats; gives how clear they are, and where they are."""
    size = np.abs(found)
    spread = 1.4826 * float(np.median(size))
    left = size.copy()
    peaks: list[int] = []
    heights: list[float] = []
    while len(peaks) < 64:
        k = int(np.argmax(left))
        if not spread or left[k] <= 4.0 * spread or (len(heights) > 2 and left[k] < 0.5 * heights[2]):
            break
        peaks.append(k)
        heights.append(float(left[k]))
        left[max(0, k - apart) : k + apart + 1] = 0.0
    if len(peaks) < 3:
        return 0.0, []
    peaks.sort()
    kept = size[peaks]
    gaps = np.diff(peaks)
    usual = float(np.median(gaps))
    clarity = float(np.median(kept)) / spread
    alike = kept.std() < 0.35 * kept.mean()
    rhythmic = bool(gaps.max() <= longest and np.abs(gaps / usual - 1).max() < 0.5)
    enough = len(peaks) >= 4 or clarity >= 8
    return (clarity, peaks) if alike and rhythmic and enough else (0.0, [])
