"""What follows the R peaks in cleaned EEG, and how the beats come."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np

from streamer.clean.eeg.heart.beat import Beat
from streamer.messages import F64

MIN_BEATS = 8
"""With fewer, the R-locked average says nothing."""
_PULSE_S = (0.1, 0.6)
_RING_S = 6.0


class HeartWatch:
    """Keep what follows the newest R peaks, and the beats themselves.

    Parameters
    ----------
    sfreq : float
        Hz.
    hop : int
        Samples per call, which begins at a multiple of it.
    n_channels : int
    n_beats : int
        Beats in the R-locked average.
    keep : int
        Samples after which a beat says nothing more.
    """

    def __init__(self, sfreq: float, hop: int, n_channels: int, n_beats: int, keep: int) -> None:
        self._sfreq = sfreq
        self._hop = hop
        self._keep = keep
        self._start, self._stop = (round(s * sfreq) for s in _PULSE_S)
        self._ring_hops = max(4, round(_RING_S * sfreq / hop))
        self._ring = np.zeros((self._ring_hops * hop, n_channels))
        self._clean = np.full(self._ring_hops, -1, np.int64)
        self._expected: list[Beat] = []
        self._beats: deque[Beat] = deque(maxlen=400)
        self._pieces = np.zeros((n_beats, self._stop - self._start, n_channels))
        self._squares = np.zeros((n_beats, n_channels))
        self._ends: deque[int] = deque(maxlen=n_beats)
        self._n_pieces = 0
        self._n_told = 0

    def expect(self, beats: Iterable[Beat]) -> None:
        """Take beats, before the samples that may know of them."""
        self._expected.extend(beats)

    def add(self, index: int, data: F64, *, clean: bool) -> None:
        """Take one whole hop, and the beats that end in it."""
        number = index // self._hop
        slot = number % self._ring_hops
        self._ring[slot * self._hop : (slot + 1) * self._hop] = data
        self._clean[slot] = number if clean else -1
        end = index + self._hop
        due = [b for b in self._expected if b.known < end and round(b.sample) + self._stop <= end]
        if due:
            self._expected = [b for b in self._expected if b not in due]
            for beat in due:
                self._beats.append(beat)
                if beat.source != "predicted":
                    self._keep_piece(round(beat.sample) + self._start)

    def _keep_piece(self, start: int) -> None:
        stop = start + len(self._pieces[0])
        hops = np.arange(start // self._hop, (stop - 1) // self._hop + 1)
        if start < 0 or not np.array_equal(self._clean[hops % self._ring_hops], hops):
            return
        at = self._n_pieces % len(self._pieces)
        piece = self._ring[np.arange(start, stop) % len(self._ring)]
        np.subtract(piece, np.add.reduce(piece, axis=0) / len(piece), out=self._pieces[at])
        self._squares[at] = np.add.reduce(np.square(self._pieces[at]), axis=0)
        self._ends.append(stop)
        self._n_pieces += 1

    def residual(self, now: int) -> tuple[F64, F64, bool]:
        """R-locked average over chance in dB, above chance in V, and whether there are new beats in it."""
        n = min(self._n_pieces, len(self._pieces))
        new, self._n_told = self._n_pieces > self._n_told, self._n_pieces
        unknown = np.full(self._ring.shape[1], np.nan)
        if n < MIN_BEATS or max(self._ends) <= now - self._keep:
            return unknown, unknown, False
        mean = np.add.reduce(self._pieces[:n], axis=0) / n
        locked = np.add.reduce(np.square(mean), axis=0)
        chance = (np.add.reduce(self._squares[:n], axis=0) - n * locked) / (n * (n - 1))
        alive = chance > 0
        ratio = np.where(alive, locked / np.where(alive, chance, 1.0), np.nan)
        above = np.sqrt(np.maximum(locked - chance, 0.0) / len(mean))
        return 10.0 * np.log10(np.maximum(ratio, 1e-12)), np.where(alive, above, np.nan), new

    def rhythm(self, now: int, window: int) -> tuple[float, float]:
        """Heart rate in 1/min and mean confidence of the beats of the last ``window`` samples."""
        recent = [b for b in self._beats if b.sample > now - window]
        if not recent:
            return np.nan, np.nan
        found = sorted(b.sample for b in recent if b.source != "predicted")
        steps = np.diff(found)
        rate = 60.0 * self._sfreq / float(np.median(steps)) if len(steps) >= 2 else np.nan
        return rate, sum(b.confidence for b in recent) / len(recent)
