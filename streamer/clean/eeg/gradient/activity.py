"""Whether gradients are switching, heard without any trigger."""

from __future__ import annotations

import numpy as np

from streamer.clean.eeg.gradient.template import History
from streamer.messages import F32


class Activity:
    """Listen for gradients: how much the median channel changes within 2 ms, from peak to peak.

    EEG and the pulse artefact change by microvolts in 2 ms, gradients by hundreds. A block is judged when all of it is
    there; gradients count as running until ``release_s`` after the last block in which they were heard.

    Parameters
    ----------
    limit_v : float
        V.
    sfreq : float
        Hz.
    release_s : float
    """

    def __init__(self, limit_v: float, sfreq: float, release_s: float) -> None:
        self._limit = limit_v
        self._step = max(1, round(0.002 * sfreq))
        self._release = round(release_s * sfreq)
        self.block = max(4, round(0.01 * sfreq))
        self.until: int | None = None
        """Gradients count as running up to this sample."""

    def judge(self, history: History, stop: int) -> None:
        """Listen to the block that ends at ``stop``."""
        if self.heard(history.read(stop - self.block - self._step, stop)):
            self.hold(stop)

    def heard(self, data: F32) -> bool:
        """Say whether gradients are in ``data``."""
        change = data[self._step :] - data[: -self._step]
        size = change.max(axis=0) - change.min(axis=0)
        return float(np.median(size)) > self._limit

    def hold(self, sample: int) -> None:
        """Take gradients for running for a while from ``sample`` on."""
        self.until = sample + self._release

    def running(self, sample: int) -> bool:
        """Whether gradients count as running at ``sample``."""
        return self.until is not None and sample < self.until
