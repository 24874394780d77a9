"""How much a volume is worth for another that the head lay differently in."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

from streamer.messages import F64

_RADIUS_MM = 80.0
_STILL_MM = 0.3
_LEAST = 1e-3
_KEPT = 64


class Poses:
    """The head's pose in the last volumes, and the weight of each against the newest [1]_.

    The weight is ``exp(-d / s)`` with d the distance to the newest pose beyond 0.3 mm, rotations counted at 80 mm.
    Within 0.3 mm the head lies still: fewer epochs would cost more than they spare.

    Parameters
    ----------
    scale_mm : float
        s, mm.

    References
    ----------
    .. [1] Moosmann, M., et al. (2009). Realignment parameter-informed artefact correction for simultaneous EEG-fMRI
       recordings. NeuroImage 45, 1144-1150. doi:10.1016/j.neuroimage.2009.01.024
    """

    def __init__(self, scale_mm: float) -> None:
        self._scale = scale_mm
        self._samples: list[int] = []
        self._poses: list[F64] = []

    def add(self, sample: int, motion: F64) -> None:
        """Take the pose (mm and rad, shape (6,)) in the volume that began at ``sample``."""
        at = bisect_left(self._samples, sample)
        pose = np.asarray(motion, np.float64) * np.array([1.0, 1.0, 1.0, _RADIUS_MM, _RADIUS_MM, _RADIUS_MM])
        if not np.isfinite(pose).all():
            return
        self._samples.insert(at, sample)
        self._poses.insert(at, pose)
        del self._samples[:-_KEPT], self._poses[:-_KEPT]

    def weight(self, sample: int, within: float) -> float:
        """Weigh the volume that began within so many samples of ``sample``; 1 where its pose is not known."""
        if not self._samples:
            return 1.0
        at = bisect_left(self._samples, sample - within)
        if at == len(self._samples) or self._samples[at] > sample + within:
            return 1.0
        distance = float(np.sqrt(np.sum(np.square(self._poses[at] - self._poses[-1]))))
        return max(_LEAST, float(np.exp(-max(0.0, distance - _STILL_MM) / self._scale)))
