"""What a run looks like now: its mean image, and where its voxels are above or below their own past.

The change is against a slowly drifting baseline of each voxel, and needs to know nothing of the task:

- Both sides are exponential means, recursive, at the same cost for every volume. ``now_s`` is about what a haemodynamic
  response takes to rise, and averages thermal noise away that would flicker; ``baseline_s`` is some blocks long and
  short against a scanner's drift, of which ``slope * baseline_s`` stays.
- In a block design the baseline settles between rest and task: of a difference A with the task on for a share d of the
  time, (1 - d) A shows during the task and -d A during rest, so the step between them is A. Within a block of T s the
  change fades by exp(-T / baseline_s), to 78 % after 30 s of 120 s.
- The means start as plain means (each volume weighs what its age leaves, over the sum of the weights), so that the
  first volume of a run does not stand for its past. The first seconds, in which the magnetisation settles, do not
  enter, and there is no change before some of ``now_s`` have come.
- It is smoothed: regions average over their voxels, a single voxel that is looked at does not. Smoothing and the means
  are both linear, so it is done only when somebody looks. The baseline is smoothed alike before it divides, so that a
  dark voxel at an edge does not stand out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from pydantic import Field

from streamer.clean.bold.regions import region_means
from streamer.clean.bold.run_space import RunSpace
from streamer.clean.bold.smoothing import Smoothing
from streamer.contracts import Settings
from streamer.messages import F32, F64, Array, Volume, VolumeView

MAX_VOXELS = 300_000
"""A larger grid is thinned out to so many voxels at most."""
SETTLE_S = 6.0
"""What the magnetisation takes to settle at the beginning of a run, more than four times the T1 of grey matter."""
_LEAST = 3.0


class ViewSettings(Settings):
    """What can be looked at of a volume; nothing is decided by it."""

    enabled: bool = True
    """Whether the mean image and the change of every voxel of the head are kept up to date."""
    now_s: float = Field(default=6.0, gt=0, le=30)
    """Time constant of what counts as now, s."""
    baseline_s: float = Field(default=120.0, ge=30, le=3600)
    """Time constant of what that is compared with, s: several blocks of the task."""
    smooth_mm: float = Field(default=6.0, ge=0, le=20)
    """Full width of the Gaussian that the change is smoothed with for looking at, mm; 0 for none."""


class RunView:
    """Keep up to date what is looked at, volume by volume; pure.

    Parameters
    ----------
    settings : ViewSettings
    space : RunSpace
        The reference's grid.
    most : int
        Voxels of a view, at most; a larger grid is averaged in blocks of whole voxels.
    """

    def __init__(self, settings: ViewSettings, space: RunSpace, most: int = MAX_VOXELS) -> None:
        self.settings = settings
        self._space = space
        shape = np.array(space.mask.shape)
        blocks = thinning(space.mask.shape, space.affine, most)
        self.shape: tuple[int, ...] = tuple((-(-shape // blocks)).tolist())
        """Of a view: voxels along x, y, z."""
        self.affine: F64 = space.affine @ np.block(
            [[np.diag(blocks), (blocks[:, None] - 1) / 2], [np.zeros((1, 3)), np.ones((1, 1))]]
        )
        """Voxel index of a view to RAS+ mm, shape (4, 4)."""
        index = np.array(np.nonzero(space.mask.T)[::-1])
        self._cell: Array = np.asarray(np.ravel_multi_index(tuple(index // blocks[:, None]), self.shape))
        self._head_cell: Array = self._cell[space.head]
        self._head: Array = np.zeros(space.mask.shape[::-1], bool)
        self._head[space.mask.T] = space.head
        width = settings.smooth_mm
        self._smoothing = Smoothing(self._head.T, space.affine, width) if width else None
        self.begin()

    def begin(self) -> None:
        """Forget the past: the next volume is the first of a run."""
        self._newest: Volume | None = None
        self._newest_s = self._entered_s = 0.0
        self._first_s = math.inf
        self._mean = _RunningMean(math.inf)
        self._now = _RunningMean(self.settings.now_s)
        self._baseline = _RunningMean(self.settings.baseline_s)
        self._in_view: Array = np.empty(0, bool)

    def __call__(self, values: F32, volume: Volume, time_s: float, *, enters: bool) -> None:
        """Take the next volume.

        Parameters
        ----------
        values : array of float32, shape (n_voxels,)
            At the voxels of ``space``, motion corrected; NaN where the volume has nothing.
        volume : Volume
            Where the values come from.
        time_s : float
            From the run's first volume to this one, s; never decreases.
        enters : bool
            False for a volume that is not to be averaged, since the head moved.
        """
        self._newest, self._newest_s = volume, time_s
        if not enters:
            return
        gone_s, self._entered_s = time_s - self._entered_s, time_s
        self._mean(values, gone_s)
        if time_s < SETTLE_S:
            return
        head = values[self._space.head]
        self._in_view = np.isfinite(head)
        self._now(head, gone_s)
        self._baseline(head, gone_s)
        self._first_s = min(self._first_s, time_s)

    def view(self, t_maps: Mapping[str, Array]) -> VolumeView | None:
        """Give what is to be looked at; None before a volume of the run counts.

        Parameters
        ----------
        t_maps : mapping of str to array, shape (n_head,)
            Of each contrast.
        """
        volume = self._newest
        if volume is None or self._mean.values is None:
            return None
        maps = {"change": (self._image(self._head_cell, self._change()), "%")}
        maps |= {f"t {name}": (self._image(self._head_cell, values), "t") for name, values in t_maps.items()}
        mean = self._image(self._cell, self._mean.values)
        return VolumeView(volume.index, volume.series, volume.received, self.affine, mean, maps)

    def _change(self) -> Array:
        now, baseline = self._now.values, self._baseline.values
        least_s = _LEAST * self.settings.now_s
        known = self._newest_s - self._first_s >= least_s and self._newest_s - self._entered_s <= least_s
        if now is None or baseline is None or not known:
            return np.full(len(self._head_cell), np.nan)
        above, level = self._smooth(now - baseline), self._smooth(baseline)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self._in_view & (level > 0), 100.0 * above / level, np.nan)

    def _smooth(self, values: F32) -> F32:
        if self._smoothing is None:
            return values
        return self._smoothing(self._space.image(values)).T[self._head]

    def _image(self, cell: Array, values: Array) -> F32:
        means = region_means(values.astype(np.float64), cell, np.isfinite(values), math.prod(self.shape))
        return means.reshape(self.shape)


class _RunningMean:
    """Mean in which a volume weighs less the older it is; a voxel that a volume has not keeps its own."""

    def __init__(self, tau_s: float) -> None:
        self._tau_s = tau_s
        self._weight = 0.0
        self.values: F32 | None = None

    def __call__(self, values: F32, gone_s: float) -> None:
        self._weight = self._weight * math.exp(-gone_s / self._tau_s) + 1.0
        before = values if self.values is None else self.values
        moved = values - before
        moved *= np.float32(1.0 / self._weight)
        moved += before
        absent = np.isnan(moved)
        if absent.any():
            moved[absent] = np.where(np.isnan(before), values, before)[absent]
        self.values = moved


def thinning(shape: tuple[int, ...], affine: F64, most: int) -> Array:
    """Tell how many voxels along x, y, z to average, shape (3,), so that at most ``most`` are left.

    The axis with the finest voxels is thinned first, so that they stay as cubic as they can.
    """
    blocks = np.ones(3, np.int64)
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    while math.prod(left := -(-np.array(shape) // blocks)) > most:
        blocks[np.argmin(np.where(left > 1, sizes * blocks, np.inf))] += 1
    return blocks
