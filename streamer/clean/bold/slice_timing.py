"""Slice timing: every slice brought to the time at which its volume began, by what was known then."""

from __future__ import annotations

import numpy as np

from streamer.messages import F32, Array, Volume


class SliceTiming:
    """Linear interpolation between a volume and the one before it.

    A slice that was acquired ``s`` seconds after the volume began is taken back by ``s``, on the line through its
    values in this volume and in the one before: nothing later is needed, and nothing is extrapolated. On what an
    uncorrected slice costs: Sladky et al. 2011, doi:10.1016/j.neuroimage.2011.06.078.

    Attributes
    ----------
    untimed : int
        Volumes that were left as they are: their slice times are not known.
    """

    def __init__(self) -> None:
        self.untimed = 0
        self._before: tuple[Array, int] | None = None

    def reset(self) -> None:
        """Forget the volume before: a new run begins."""
        self._before = None

    def __call__(self, volume: Volume) -> F32:
        """Take the next volume, in the order of their numbers.

        Returns
        -------
        data : array of float32, shape (x, y, z)
            The first volume of a run as it is.
        """
        data = volume.data.astype(np.float32)
        before, self._before = self._before, (volume.data, volume.index)
        if len(volume.slice_times) != data.shape[2]:
            self.untimed += 1
            return data
        if before is None:
            return data
        gone_s = (volume.index - before[1]) * volume.tr
        share = np.asarray(volume.slice_times, np.float32) / np.float32(gone_s)
        return np.asarray(data - share * (data - before[0].astype(np.float32)), np.float32)
