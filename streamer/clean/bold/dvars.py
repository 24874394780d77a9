"""DVARS: how much the whole head changed from one volume to the next."""

from __future__ import annotations

import math

import numpy as np

from streamer.messages import F32


class Dvars:
    """Root mean square of the change since the volume before, % of the mean intensity.

    Power et al. 2012, doi:10.1016/j.neuroimage.2011.10.018.
    """

    def __init__(self) -> None:
        self._before: F32 | None = None

    def __call__(self, values: F32) -> float:
        """Take the next volume.

        Parameters
        ----------
        values : array, shape (n_voxels,)
            Intensities within the head, after motion correction; NaN where out of view.

        Returns
        -------
        dvars : float
            %; NaN for the first volume, and when the two have no voxel in common.
        """
        before, self._before = self._before, values.astype(np.float32)
        if before is None:
            return math.nan
        change = values.astype(np.float64) - before
        seen = np.isfinite(change)
        if not seen.any():
            return math.nan
        mean = float(np.mean(values[seen], dtype=np.float64))
        return 100.0 * float(np.sqrt(np.mean(np.square(change[seen])))) / mean if mean > 0 else math.nan

    def reset(self) -> None:
        """Forget the volume before: a new run begins."""
        self._before = None
