"""Samples that came before: same stamp, same values."""

from __future__ import annotations

from collections import deque

import numpy as np

from streamer.messages import F32, F64, Array

RECENT_S = 1.0
_KEEP_S = 2.0


class Duplicates:
    """Tell samples that came within the last second already.

    A stamp alone does not make a duplicate: some senders give a whole chunk one stamp, and a clock that was set back
    gives the same stamps again.
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[F64, F32]] = deque()
        self._newest = -np.inf

    def fresh(self, raw: F64, data: F32) -> Array | None:
        """Say which samples are new.

        Parameters
        ----------
        raw : array, shape (n,)
            Stamps, s.
        data : array, shape (n, n_channels)

        Returns
        -------
        array of bool, shape (n,), or None
            None when all are.
        """
        if raw[0] > self._newest and (raw[1:] > raw[:-1]).all():
            return None
        stamps = np.concatenate([*(seen for seen, _ in self._seen), raw])
        _, inverse, counts = np.unique(stamps, return_inverse=True, return_counts=True)
        n_before = len(stamps) - len(raw)
        asked = np.zeros(len(counts), dtype=bool)
        asked[inverse[n_before:]] = True
        old = np.maximum.accumulate(stamps) - stamps > RECENT_S
        known: set[tuple[float, bytes]] = set()
        fresh = np.ones(len(raw), dtype=bool)
        for row in np.flatnonzero((asked & (counts > 1))[inverse] & ~old).tolist():
            values = data[row - n_before] if row >= n_before else self._values(row)
            key = (float(stamps[row]), values.tobytes())
            if key in known and row >= n_before:
                fresh[row - n_before] = False
            known.add(key)
        return None if fresh.all() else fresh

    def _values(self, row: int) -> F32:
        for raw, data in self._seen:
            if row < len(raw):
                return data[row]
            row -= len(raw)
        raise IndexError(f"row {row} is beyond the samples that are kept")

    def add(self, raw: F64, data: F32) -> None:
        """Remember samples that were taken."""
        self._newest = max(self._newest, float(raw.max()))
        self._seen.append((raw, data))
        while self._newest - self._seen[0][0][-1] > _KEEP_S and len(self._seen) > 1:
            self._seen.popleft()

    def forget(self) -> None:
        """Begin anew: the stamps are those of another clock."""
        self._seen.clear()
        self._newest = -np.inf
