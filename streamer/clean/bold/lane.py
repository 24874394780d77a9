"""The BOLD lane: one volume in, one frame out.

Head motion against the reference, region means sampled where the head is, percent signal change against a baseline
that follows slow drift. Framewise displacement after Power et al. 2012, doi:10.1016/j.neuroimage.2011.10.018.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field

from streamer.clean.bold.motion import Displacement, Registration, rigid, sample, spline_coefficients
from streamer.clean.bold.regions import brain_mask, coverage, place_labels, region_means, same_grid
from streamer.contracts import Settings
from streamer.errors import FormatError
from streamer.messages import F32, F64, Array, BoldFrame, Flag, SessionTime, Volume

HEAD_RADIUS_MM = 50.0
MAX_DISPLACEMENT_MM = 30.0


class BoldLaneSettings(Settings):
    """How volumes become region signals."""

    correct_motion: bool = True
    """False samples the regions in place; motion is measured and flagged all the same."""
    fwhm_mm: float | None = Field(default=None, gt=0, le=20)
    """Smoothing for the registration, mm; none: 8, and 5 for voxels under 2.7 mm."""
    point_step: int = Field(default=2, ge=1, le=4)
    """Every how many voxels the registration takes a point, along each axis."""
    fd_limit_mm: float = Field(default=0.5, gt=0)
    """Framewise displacement above which a volume is flagged MOTION, mm."""
    baseline_s: float = Field(default=20.0, gt=0)
    """Without a calibration: the first stretch of the run, whose mean is the baseline, s."""
    drift_tau_s: float = Field(default=100.0, ge=0)
    """Time constant with which the baseline follows slow drift, s; 0 keeps it fixed."""
    min_coverage: float = Field(default=0.5, ge=0, le=1)
    """Share of a region that must lie in the volumes; below it the region is NaN."""


class BoldLane:
    """Volumes to frames; pure.

    Parameters
    ----------
    settings : BoldLaneSettings
    labels : array of int16, shape (a, b, c), or None
        0 outside, i + 1 in the region ``names[i]``, in the reference's space; None makes one region of the brain.
    labels_affine : array, shape (4, 4), or None
        Voxel index to RAS+ mm of the labels.
    names : sequence of str
        Names of the regions.
    reference : (array, array) or None
        Volume (x, y, z) and affine (4, 4) that motion is measured against; None takes the run's first volume.
    baseline : array, shape (n_regions,), or None
        Mean intensity per region at rest; None takes the first ``baseline_s`` of the run.
    """

    def __init__(
        self,
        settings: BoldLaneSettings,
        labels: Array | None,
        labels_affine: F64 | None,
        names: Sequence[str],
        reference: tuple[Array, F64] | None = None,
        baseline: F32 | None = None,
    ) -> None:
        if (labels is None) != (labels_affine is None):
            raise ValueError("labels and their affine belong together: one is given, the other is not")
        self.settings = settings
        self.names = tuple(names) if labels is not None else ("brain",)
        if labels is not None and int(labels.max(initial=0)) > len(self.names):
            raise ValueError(f"labels up to {int(labels.max())} with {len(self.names)} names: expected a name for each")
        if baseline is not None and baseline.shape != (len(self.names),):
            raise ValueError(
                f"baseline of shape {baseline.shape}: expected one value for each of {len(self.names)} regions"
            )
        self._labels, self._labels_affine = labels, labels_affine
        self._reference = reference
        self._calibrated = baseline is not None
        self._given: F64 | None = None if baseline is None else baseline.astype(np.float64)
        self._baseline = self._given
        self._settling: list[F64] = []
        self._registration: Registration | None = None
        self._grid: tuple[tuple[int, ...], F64] | None = None
        self._series: list[str] = []
        self._first_index = self._last_index = 0
        self._transform: F64 | None = None
        self._parameters: F64 | None = None
        self._coverage: F64 = np.zeros(len(self.names))
        self._world: F64 = np.empty((4, 0))
        self._region: Array = np.empty(0, np.int64)
        self.not_converged = 0
        """Volumes whose registration did not converge; their motion is that of the volume before."""

    @property
    def reference(self) -> tuple[Array, F64] | None:
        """Volume and affine that motion is measured against; None before the first volume."""
        return self._reference

    @property
    def coverage(self) -> Mapping[str, float]:
        """Share of each region that lies in the volumes, 0..1; all 0 before the first volume."""
        return dict(zip(self.names, (float(share) for share in self._coverage), strict=True))

    def warm_up(self) -> None:
        """Import and run everything once on a made-up volume, so that the first real one does not wait for it."""
        shape = (32, 32, 16)
        affine = np.diag([-6.0, 6.0, 6.0, 1.0])
        distance = np.linalg.norm(np.indices(shape) - (np.array(shape)[:, None, None, None] - 1) / 2, axis=0)
        made_up = (1000.0 / (1.0 + np.exp(distance - 7.0))).astype(np.uint16)
        labels = None if self._labels is None else np.ones((4, 4, 4), np.int16)
        # labels on another grid than the volume make nilearn be imported
        labels_affine = None if labels is None else np.diag([-12.0, 12.0, 12.0, 1.0])
        lane = BoldLane(self.settings, labels, labels_affine, ("warm-up",))
        for index in range(2):
            lane(Volume(made_up, affine, "warm-up", index, None, 1.0, (), SessionTime(math.nan)))

    def __call__(self, volume: Volume) -> BoldFrame:
        """Take the next volume.

        Returns
        -------
        frame : BoldFrame
            ``acquired`` is None: the engine knows the trigger. A volume that comes after a later one, or of a series
            before the present one, is flagged LATE and leaves the baseline and the motion trace alone. A new series
            begins a new run: motion is measured against the same reference, a baseline that was not given is taken
            anew.

        Raises
        ------
        FormatError
            The volume has another grid or place than the first, has no signal, or holds values that are not finite.
            The lane's state is as before.
        """
        self._check(volume)
        coefficients = spline_coefficients(volume.data)
        if self._registration is None:
            self._start(volume)
        assert self._registration is not None
        if volume.series not in self._series:
            self._begin_run(volume)
        late = volume.series != self._series[-1] or (volume.index <= self._last_index and self._parameters is not None)
        found = self._registration(coefficients, volume.affine, self._transform)
        usable = found.converged and bool(np.abs(found.transform[:3, 3]).max() <= MAX_DISPLACEMENT_MM)
        transform = found.transform if usable else (np.eye(4) if self._transform is None else self._transform)
        parameters = Displacement(transform, 0.0, 0, converged=True).parameters
        before = parameters if self._parameters is None else self._parameters
        fd = framewise_displacement(before, parameters)
        means = self._means(coefficients, volume.affine, transform)

        flags = volume.flags
        if not usable:
            self.not_converged += 1
            flags |= Flag.MOTION
        if fd > self.settings.fd_limit_mm:
            flags |= Flag.MOTION
        if not self._calibrated:
            flags |= Flag.UNCALIBRATED
        if late:
            flags |= Flag.LATE
        change = self._change(means, volume, flags)
        if self._baseline is None:
            flags |= Flag.WARMING
        if not late:
            self._transform, self._parameters, self._last_index = transform, parameters, volume.index
        return BoldFrame(
            index=volume.index,
            series=volume.series,
            regions=change,
            means=means.astype(np.float32),
            motion=parameters,
            fd=fd,
            tr=volume.tr,
            acquired=None,
            received=volume.received,
            flags=flags,
            onset=volume.onset,
        )

    def _check(self, volume: Volume) -> None:
        data = volume.data
        if data.ndim != 3:
            raise FormatError(f"volume {volume.index} has {data.ndim} axes: expected 3")
        if self._grid is not None:
            shape, affine = self._grid
            if not same_grid(data.shape, volume.affine, shape, affine):
                raise FormatError(
                    f"volume {volume.index} has another grid ({data.shape}) or place than the run's first ({shape})"
                )
        if np.issubdtype(data.dtype, np.floating) and not np.isfinite(data).all():
            raise FormatError(f"volume {volume.index} holds values that are not finite")
        if not data.size or float(data.max()) <= 0.0 or data.max() == data.min():
            raise FormatError(f"volume {volume.index} has no signal")

    def _start(self, volume: Volume) -> None:
        reference, affine = self._reference or (volume.data, volume.affine)
        registration = Registration(reference, affine, self.settings.fwhm_mm, self.settings.point_step)
        shape = (reference.shape[0], reference.shape[1], reference.shape[2])
        if self._labels is None or self._labels_affine is None:
            placed, share = brain_mask(reference), np.ones(1)
        else:
            placed = place_labels(self._labels, self._labels_affine, shape, affine)
            share = coverage(self._labels, self._labels_affine, len(self.names), shape, affine)
        index = np.nonzero(placed)
        self._world = registration.world(index)
        self._region = placed[index].astype(np.int64) - 1
        self._coverage = share
        self._registration, self._reference = registration, (reference, affine)
        self._grid = (tuple(volume.data.shape), volume.affine)

    def _begin_run(self, volume: Volume) -> None:
        self._series.append(volume.series)
        self._first_index = self._last_index = volume.index
        self._parameters = None
        self._baseline = self._given
        self._settling.clear()

    def _means(self, coefficients: F32, affine: F64, transform: F64) -> F64:
        assert self._registration is not None
        if not self.settings.correct_motion:
            transform = rigid(np.zeros(3), np.zeros(3))
        voxels = self._registration.voxels(transform, self._world, affine)
        end = np.array(coefficients.shape)[:, None] - 0.5
        inside: Array = np.all((voxels >= -0.5) & (voxels < end), axis=0)
        means = region_means(sample(coefficients, voxels), self._region, inside, len(self.names)).astype(np.float64)
        means[self._coverage < self.settings.min_coverage] = np.nan
        return means

    def _change(self, means: F64, volume: Volume, flags: Flag) -> F32:
        base = self._baseline
        if base is None:
            if flags & Flag.LATE:
                return np.full(len(means), np.nan, np.float32)
            if (volume.index - self._first_index) * volume.tr < self.settings.baseline_s or not self._settling:
                self._settling.append(means)
                return np.full(len(means), np.nan, np.float32)
            self._baseline = base = np.asarray(np.mean(self._settling, axis=0), np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            change = np.where(base > 0, 100.0 * (means - base) / base, np.nan)
        if self.settings.drift_tau_s and not flags & (Flag.MOTION | Flag.LATE):
            gone_s = max(1, volume.index - self._last_index) * volume.tr
            follow = 1.0 - math.exp(-gone_s / self.settings.drift_tau_s)
            # a region that left the field of view for a while keeps its baseline
            self._baseline = np.where(np.isfinite(means), base + follow * (means - base), base)
        return change.astype(np.float32)


def framewise_displacement(before: F64, now: F64) -> float:
    """Sum of the absolute changes of six motion parameters, in mm; rotations as arcs of 50 mm radius."""
    change = np.abs(now - before)
    return float(change[:3].sum() + HEAD_RADIUS_MM * change[3:].sum())
