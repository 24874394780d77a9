"""R peaks in the ECG, decided about a tenth of a second after them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from streamer.clean.eeg.heart.qrs_filter import RING_S, QrsFilter, vertex
from streamer.clean.eeg.heart.rhythm import Rhythm
from streamer.compiled import compiled
from streamer.messages import F64, Array

_USUAL = 0.45
"""Size, of the template's, from which an expected beat is taken for one when there is no noise."""
_HIGHEST = 0.85
"""Size that is always enough."""
_UNEXPECTED = 0.01
"""Odds of a beat far before it is due."""
_OVERDUE = 0.3
"""Least odds of a beat from when it is due on."""
_SPREAD = 0.12
"""Spread of the interval, of it."""
_TOO_LARGE = 3.0
"""Size from which it is an electrode's pop, or the end of one."""
_NOISE_S, _DIRTY_NOISE_S = 3.0, 0.5
"""Memory of the noise at the filter's output, s; the short one where the signal is not corrected."""
_NOISE_MAX = 0.6**2
"""A sample counts for at most this: beats are in it too."""
_LEAST_NOISE = 0.14**2
"""Beats differ by about this much in size: so sure is one at best."""
_SURE = 0.9
"""Confidence from which a beat is learnt from."""
_SEARCH_S = 0.5
"""How often a beat's shape is looked for while there is none or the ECG is lost, s."""
_SEARCH_LEAST_S = 2.5
"""Least signal for that, s."""
_NOISE, _DIRTY_NOISE, _CLEAN_FROM, _BEFORE, _PEAK, _AHEAD, _SIZE, _BEHIND, _DUE, _N_STATE = range(10)
"""Places in the state: the noise at the filter's output, the first of the clean samples, the output at the newest
sample, where the peak is that may be a beat (NaN: none), the output ahead of it, at it and behind it, and where a peak
is that is to be decided upon."""


@dataclass(frozen=True, slots=True)
class Found:
    """A beat that was found."""

    sample: float
    """Of its R peak."""
    known: int
    """The sample at which it was decided."""
    confidence: float
    """0 to 1."""
    soiled: bool
    """Whether samples that are not to be learnt from went into it."""


class EcgBeats:
    """Find beats sample by sample.

    Parameters
    ----------
    sfreq : float
        Hz.
    n_ecg : int
        ECG channels, at least one.
    rhythm : Rhythm
        When the next beat is due: the threshold is lower then. Only read, but for a new start.
    lost_after : int
        Samples without a sure beat after which the beat's shape is looked for anew.
    least_v : float
        Smaller QRS complexes are not believed, V from peak to peak.
    """

    def __init__(self, sfreq: float, n_ecg: int, rhythm: Rhythm, lost_after: int, least_v: float = 0.0) -> None:
        self.filter = QrsFilter(sfreq, n_ecg, least_v)
        self.good_at: int | None = None
        """When a beat was last found with confidence."""
        self._rhythm = rhythm
        self._lost_after = lost_after
        self._search_every = max(1, round(_SEARCH_S * sfreq / self.filter.block))
        self._search_least = round(_SEARCH_LEAST_S * sfreq)
        self._search_most = round(RING_S * sfreq) - self.filter.length
        self._slow = 1 / (_NOISE_S * sfreq)
        self._fast = 1 / (_DIRTY_NOISE_S * sfreq)
        self._previous: F64 | None = None
        self._state = np.zeros(_N_STATE)
        self._state[[_NOISE, _DIRTY_NOISE]] = 0.05
        self._state[[_PEAK, _DUE]] = np.nan
        length = self.filter.length
        none = np.zeros((length, n_ecg))
        _watch(none, none.reshape(-1), np.zeros(1, bool), 0, 1, self._state, 0.0, 0.0, 0)

    @property
    def flat(self) -> bool:
        """Whether no channel has a signal."""
        return self.filter.all_lost

    @property
    def pending(self) -> bool:
        """Whether something is seen that may turn out to be a beat."""
        return not np.isnan(self._state[_PEAK])

    def restart(self, first: int, gap: int) -> None:
        """Begin at ``first``, ``gap`` samples later, with no past; what was learnt stays."""
        self.filter.restart()
        if self.good_at is not None:
            self.good_at += gap
        length = self.filter.length
        none = np.zeros((length, self.filter.ring.width))
        self.filter.ring.put(first - length, none)
        self._previous = None
        self._state[_CLEAN_FROM] = first
        self._state[_BEFORE] = 0.0
        self._state[_PEAK] = np.nan

    def __call__(self, first: int, ecg: F64, dirty: Array) -> list[Found]:
        """Take samples, shape (n_times, n_ecg), up to the end of one of the filter's blocks at most."""
        steps = np.empty(ecg.shape)
        steps[0] = 0.0 if self._previous is None else ecg[0] - self._previous
        np.subtract(ecg[1:], ecg[:-1], out=steps[1:])
        self._previous = ecg[-1].copy()
        self.filter.ring.put(first, steps)
        found = self._watched(first, len(ecg), dirty)
        stop = first + len(ecg)
        if stop % self.filter.block == 0:
            self._end_block(stop)
        return found

    def _watched(self, first: int, n: int, dirty: Array) -> list[Found]:
        state, weights = self._state, self.filter.weights
        if weights is None:
            if dirty.any():
                state[_CLEAN_FROM] = first + int(np.flatnonzero(dirty)[-1]) + 1
            return []
        found: list[Found] = []
        seen = self.filter.ring.last(first + n, n + self.filter.length - 1)
        done = 0
        while done < n:
            done = _watch(seen, weights, dirty, first, done, state, self._slow, self._fast, self.filter.reach)
            if not np.isnan(state[_DUE]):
                beat = self._decide(first + done - 1, int(state[_DUE]), state)
                state[_DUE] = np.nan
                if beat is not None:
                    found.append(beat)
        return found

    def _decide(self, i: int, at: int, state: F64) -> Found | None:
        soiled = bool(state[_CLEAN_FROM] > at + 1 - self.filter.length)
        noise, size = float(state[_NOISE]), float(state[_SIZE])
        if soiled:
            noise = max(noise, float(state[_DIRTY_NOISE]))
        sample = at - self.filter.post + vertex(state[[_AHEAD, _SIZE, _BEHIND]], 1) + self.filter.offset
        last = self._rhythm.last
        if size > _TOO_LARGE or (last is not None and sample - last < self._rhythm.shortest):
            return None
        threshold = _USUAL - noise * math.log(self._odds(sample))
        if not soiled:
            threshold = min(_HIGHEST, threshold)
        if size < threshold or threshold > 1:
            return None
        doubt = (threshold - size) / max(noise, _LEAST_NOISE)
        confidence = 1 / (1 + math.exp(doubt))
        offset = self.filter.offset_of(at + 1)
        if offset is None:
            confidence *= 0.5
        elif confidence >= _SURE:
            self.good_at = i
            if not soiled:
                self.filter.learn_beat(at + 1, size, offset)
        return Found(sample, i, confidence, soiled)

    def _odds(self, sample: float) -> float:
        due, interval = self._rhythm.expected, self._rhythm.interval
        if due is None or interval is None:
            return _UNEXPECTED
        off = (sample - due) / (_SPREAD * interval)
        return max(math.exp(-0.5 * off * off), _OVERDUE if off > 0 else _UNEXPECTED)

    def _end_block(self, stop: int) -> None:
        clean_from = int(self._state[_CLEAN_FROM])
        self.filter.end_block(stop, clean_from)
        if self.flat or (stop // self.filter.block) % self._search_every:
            return
        if self.good_at is not None and stop - self.good_at <= self._lost_after:
            return
        start = max(clean_from, stop - self._search_most)
        if stop - start < self._search_least:
            return
        ends = self.filter.search(start, stop, math.ceil(self._rhythm.shortest), math.floor(self._rhythm.longest))
        if ends:
            offset = self.filter.offset - self.filter.post - 1
            self._rhythm.learn([end + offset for end in ends])
            self._state[_NOISE] = _LEAST_NOISE
            self.good_at = ends[-1]


@compiled
def _watch(
    seen: F64, weights: F64, dirty: Array, first: int, done: int, state: F64, slow: float, fast: float, reach: int
) -> int:
    """Filter samples from ``done`` on and watch for peaks; give how many are done when one is to be decided upon.

    Sample i of ``dirty`` is ``first + i``; the filter's window begins at row i of ``seen``.
    """
    n_ecg = seen.shape[1]
    length = len(weights) // n_ecg
    for i in range(done, len(dirty)):
        size = 0.0
        for k in range(length):
            for c in range(n_ecg):
                size += weights[k * n_ecg + c] * seen[i + k, c]
        power, before = size * size, state[_BEFORE]
        state[_BEFORE] = size
        if dirty[i]:
            state[_CLEAN_FROM] = first + i + 1
            state[_DIRTY_NOISE] += (min(power, 4.0) - state[_DIRTY_NOISE]) * fast
        else:
            state[_NOISE] += (min(power, _NOISE_MAX) - state[_NOISE]) * slow
        at = state[_PEAK]
        if np.isnan(at):
            if not (size > _USUAL and size > before):
                continue
        elif size <= state[_SIZE]:
            if first + i == at + 1:
                state[_BEHIND] = size
            if first + i >= at + reach:
                state[_DUE], state[_PEAK] = at, np.nan
                return i + 1
            continue
        state[_PEAK], state[_AHEAD], state[_SIZE], state[_BEHIND] = first + i, before, size, size
    return len(dirty)
