"""EEG as it is looked at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dashboard.stores.rows import RowRing
from streamer.messages import Array


class EegStore:
    """EEG of the last minutes, cleaned or raw.

    Parameters
    ----------
    n_channels : int
        EEG channels.
    sfreq : float
        Hz, of the preview.
    seconds : float
        Length that is held.
    """

    def __init__(self, n_channels: int, sfreq: float, seconds: float) -> None:
        if not sfreq > 0:
            raise ValueError(f"preview at {sfreq!r} Hz: expected above 0")
        self.sfreq = sfreq
        self.seconds = seconds
        self.rows = RowRing(max(2, round(seconds * sfreq)), n_channels, np.float32)
        self.newest = np.nan
        """SessionTime of the end of the newest sample."""
        self.bad: frozenset[int] = frozenset()
        """Indices of bad channels."""
        self.revision = 0
        """Changes whenever the picture would."""

    def put(self, first_sample: int, t0: float, data_uv: Sequence[Sequence[float | None]]) -> None:
        """Put one preview; ``data_uv`` has one list per channel, µV, None where unknown."""
        data = np.array(data_uv, dtype=np.float32).T
        newer = self.rows.empty or first_sample + len(data) > self.rows.end
        self.rows.put(first_sample, data)
        if newer:
            self.newest = t0 + len(data) / self.sfreq
        self.revision += 1

    def number_at(self, time: float) -> int:
        """Give the number of the first sample at or after ``time``, SessionTime s, by the newest one's stamp."""
        return self.rows.end + round((time - self.newest) * self.sfreq)

    def traces(self, end: float, seconds: float) -> Array:
        """Give what lies before ``end`` (SessionTime s), µV, float32, shape (round(seconds * sfreq), n_channels).

        NaN where nothing came: in gaps, before the stream began, and after its newest sample.
        """
        last = self.number_at(end)
        return self.rows.between(last - round(seconds * self.sfreq), last)
