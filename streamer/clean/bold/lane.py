"""The BOLD lane: one volume in, one frame out.

::

    Volume ─ slice timing ─ registration ─ resampled to the reference ─┬─ tissue means, DVARS
                                                                       ├─ smoothing ─┬─ region means ─ BoldFrame
                                                                       │             └─ voxel GLM: maps
                                                                       └─ view: mean and change, to be looked at
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from streamer.clean.bold.displacement import Displacement, framewise_displacement, motion_parameters
from streamer.clean.bold.dvars import Dvars
from streamer.clean.bold.maps import Maps, MapSettings
from streamer.clean.bold.regions import same_grid
from streamer.clean.bold.registration import Registration
from streamer.clean.bold.run_space import RunSpace
from streamer.clean.bold.signal.volume_order import VolumeOrder
from streamer.clean.bold.slice_timing import SliceTiming
from streamer.clean.bold.spline import spline_coefficients
from streamer.clean.bold.view import RunView, ViewSettings
from streamer.contracts import Settings
from streamer.errors import FormatError
from streamer.messages import F32, F64, Array, BoldFrame, Flag, RunMaps, SessionTime, Volume, VolumeView

MAX_DISPLACEMENT_MM = 30.0
MAX_T_MAPS = 4
"""Maps of contrasts in a view."""


class BoldLaneSettings(Settings):
    """How volumes become region means."""

    measure_motion: bool = True
    """False does not look for motion at all: for single slices, which cannot be registered; nothing is flagged then."""
    correct_motion: bool = True
    """False samples the regions in place; motion is measured and flagged all the same."""
    fwhm_mm: float | None = Field(default=None, gt=0, le=20)
    """Smoothing for the registration, mm; none: 8, and 5 for voxels under 2.7 mm."""
    point_step: int = Field(default=2, ge=1, le=4)
    """Every how many rows, along y, the registration takes points; along the other axes it takes every voxel."""
    slice_timing: Literal["off", "linear"] = "off"
    """``linear`` brings every slice to the beginning of its volume, between this volume and the one before; region
    signals then speak of that time, and heart and breath are not regressed out of them."""
    fd_limit_mm: float = Field(default=0.5, gt=0)
    """Framewise displacement above which a volume is flagged MOTION, mm."""
    smooth_mm: float = Field(default=0.0, ge=0, le=20)
    """Full width of the Gaussian that volumes are smoothed with before regions and maps are taken, mm; 0 for none."""
    min_coverage: float = Field(default=0.5, ge=0, le=1)
    """Share of a region that must lie in the volumes; below it the region is NaN."""
    maps: MapSettings = MapSettings()
    """Voxel-wise general linear model."""
    view: ViewSettings = ViewSettings()
    """What can be looked at while the run goes on."""


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
    tissue : (array, array) or None
        Image (1 white matter, 2 cerebrospinal fluid) and affine, in the reference's space.
    """

    def __init__(
        self,
        settings: BoldLaneSettings,
        labels: Array | None,
        labels_affine: F64 | None,
        names: Sequence[str],
        reference: tuple[Array, F64] | None = None,
        tissue: tuple[Array, F64] | None = None,
    ) -> None:
        if (labels is None) != (labels_affine is None):
            raise ValueError("labels and their affine belong together: one is given, the other is not")
        self.settings = settings
        self.names = tuple(names) if labels is not None else ("brain",)
        if labels is not None and int(labels.max(initial=0)) > len(self.names):
            raise ValueError(f"labels up to {int(labels.max())} with {len(self.names)} names: expected a name for each")
        self._labels = None if labels is None or labels_affine is None else (labels, labels_affine)
        self._tissue = tissue
        self._reference = reference
        self._registration: Registration | None = None
        self._space: RunSpace | None = None
        self._maps: Maps | None = None
        self._maps_of = ""
        self._view: RunView | None = None
        self._done: dict[str, Mapping[str, F32]] = {}
        self._dvars = Dvars()
        self._slice_timing = SliceTiming() if settings.slice_timing == "linear" else None
        self._grid: tuple[tuple[int, ...], F64] | None = None
        self._order = VolumeOrder()
        self._transform: F64 | None = None
        self._parameters: F64 | None = None
        self.not_converged = 0
        """Volumes whose registration did not converge; their motion is that of the volume before."""

    @property
    def reference(self) -> tuple[Array, F64] | None:
        """Volume and affine that motion is measured against; None before the first volume."""
        return self._reference

    @property
    def coverage(self) -> Mapping[str, float]:
        """Share of each region that lies in the volumes, 0..1; all 0 before the first volume."""
        shares = np.zeros(len(self.names)) if self._space is None else self._space.coverage
        return dict(zip(self.names, (float(share) for share in shares), strict=True))

    @property
    def untimed(self) -> int:
        """Volumes whose slices could not be brought to one time, since their headers tell no slice times."""
        return 0 if self._slice_timing is None else self._slice_timing.untimed

    @property
    def maps(self) -> RunMaps:
        """Maps of every series so far, on the reference's grid; empty where they are switched off."""
        affine = np.eye(4) if self._reference is None else self._reference[1]
        return RunMaps({**self._done, **self._present_maps()}, affine)

    def view(self) -> VolumeView | None:
        """Give the newest volume as it is looked at; None before there is one, or where that is switched off.

        It costs time, and is made anew at every call. A run's first ``MAX_T_MAPS`` contrasts are in it.
        """
        if self._view is None:
            return None
        return self._view.view({} if self._maps is None else self._maps.t_maps(MAX_T_MAPS))

    def warm_up(self) -> None:
        """Import, compile and run everything once on made-up volumes, so that the first real one need not wait."""
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
        lane.view()
        if lane._maps is not None:
            lane._maps.glm.warm_up()

    def __call__(self, volume: Volume) -> BoldFrame:
        """Take the next volume.

        Returns
        -------
        frame : BoldFrame
            ``regions`` and ``z`` are NaN: what the means say against their past is for the main process to tell.
            ``acquired`` is None: the engine knows the trigger. A volume that comes after a later one, or of a series
            before the present one, is flagged LATE and leaves the motion trace and the maps alone. A new series begins
            a new run: motion is measured against the same reference.

        Raises
        ------
        FormatError
            The volume has another grid or place than the first, has no signal, or holds values that are not finite.
            The lane's state is as before.
        """
        self._check(volume)
        registration, space = self._ready(volume)
        slices = np.empty(0, np.float32)
        place = self._order(volume)
        if place.begins:
            self._begin_run(volume)
            if self._slice_timing is None and len(volume.slice_times) == space.shares.shape[1]:
                slices = np.vstack([volume.slice_times, space.shares]).astype(np.float32)
        coefficients = spline_coefficients(volume.data if place.late else self._timed(volume))
        if self.settings.measure_motion:
            found = registration(coefficients, volume.affine, self._transform)
        else:
            found = Displacement(np.eye(4), math.nan, 0, converged=True)
        usable = found.converged and bool(np.abs(found.transform[:3, 3]).max() <= MAX_DISPLACEMENT_MM)
        transform = found.transform if usable else (np.eye(4) if self._transform is None else self._transform)
        parameters = motion_parameters(transform)
        fd = framewise_displacement(parameters if self._parameters is None else self._parameters, parameters)
        there = transform if self.settings.correct_motion else np.eye(4)
        values, smooth = space(coefficients, registration.matrix(there, volume.affine))
        means = space.means(smooth)
        means[space.coverage < self.settings.min_coverage] = np.nan
        tissue = space.tissue(values)

        flags = volume.flags
        if not usable:
            self.not_converged += 1
            flags |= Flag.MOTION
        if fd > self.settings.fd_limit_mm:
            flags |= Flag.MOTION
        dvars = math.nan
        if place.late:
            flags |= Flag.LATE
        else:
            if place.gone_s > volume.tr:
                # what came between is not known
                self._dvars.reset()
            dvars = self._dvars(values[space.head])
            if self._maps is not None:
                moved = bool(flags & Flag.MOTION)
                time_s = place.elapsed_s + self._at_s(volume)
                self._maps(smooth[space.head], volume.index, time_s, parameters, tissue, moved=moved)
            if self._view is not None:
                self._view(values, volume, place.elapsed_s, enters=not flags & (Flag.MOTION | Flag.LATE))
            self._transform, self._parameters = transform, parameters
        unknown = np.full(len(self.names), np.nan, np.float32)
        return BoldFrame(
            index=volume.index,
            series=volume.series,
            regions=unknown,
            means=means.astype(np.float32),
            motion=parameters,
            fd=fd,
            tr=volume.tr,
            acquired=None,
            received=volume.received,
            flags=flags,
            onset=volume.onset,
            z=unknown,
            dvars=dvars,
            tissue=tissue,
            residual=found.rms if math.isfinite(found.rms) else math.nan,
            at_s=self._at_s(volume),
            slices=slices,
        )

    def _timed(self, volume: Volume) -> Array:
        return volume.data if self._slice_timing is None else self._slice_timing(volume)

    def _at_s(self, volume: Volume) -> float:
        return volume.tr / 2 if self._slice_timing is None else 0.0

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

    def _ready(self, volume: Volume) -> tuple[Registration, RunSpace]:
        if self._registration is None or self._space is None:
            reference, affine = self._reference or (volume.data, volume.affine)
            registration = Registration(reference, affine, self.settings.fwhm_mm, self.settings.point_step)
            self._space = RunSpace(
                reference, affine, self._labels, len(self.names), self._tissue, self.settings.smooth_mm
            )
            self._registration, self._reference = registration, (reference, affine)
            self._grid = (tuple(volume.data.shape), volume.affine)
            if self.settings.view.enabled:
                self._view = RunView(self.settings.view, self._space)
        return self._registration, self._space

    def _begin_run(self, volume: Volume) -> None:
        assert self._space is not None
        self._done.update(self._present_maps())
        self._maps_of = volume.series
        self._parameters = None
        self._dvars.reset()
        if self._view is not None:
            self._view.begin()
        if self._slice_timing is not None:
            self._slice_timing.reset()
        if self.settings.maps.enabled:
            self._maps = Maps(self.settings.maps, int(np.count_nonzero(self._space.head)))

    def _present_maps(self) -> dict[str, Mapping[str, F32]]:
        if self._maps is None or self._space is None:
            return {}
        image = self._space.image
        return {self._maps_of: {name: image(values) for name, values in self._maps.values().items()}}
