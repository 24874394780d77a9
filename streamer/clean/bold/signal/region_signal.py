"""From a volume's region means to the signal of each region: cleaned, in % of its level, and in standard deviations.

::

    means ─┬─ baseline: level that follows slow drift ──────────┬─ despike ─ % signal change ─ z
           └─ glm: drift, motion, tissue, RETROICOR regressed ──┘
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field

from streamer.clean.bold.signal.baseline import Baseline
from streamer.clean.bold.signal.despike import Despike, DespikeSettings
from streamer.clean.bold.signal.nuisance import Nuisance, NuisanceSettings
from streamer.clean.bold.signal.scaling import RunningZ
from streamer.clean.bold.signal.volume_order import Place, VolumeOrder
from streamer.contracts import Settings
from streamer.messages import F64, BoldFrame, Flag

NOT_LEARNED = Flag.MOTION | Flag.LATE
"""Volumes with one of these teach nothing."""


class RegionSignalSettings(Settings):
    """How region means become region signals."""

    method: Literal["baseline", "glm"] = "baseline"
    """``baseline`` compares with a level that follows slow drift; ``glm`` regresses drift, motion, tissue signals,
    heart and breath out, and keeps what the task explains."""
    baseline_s: float = Field(default=20.0, gt=0)
    """Without a calibration: the first stretch of the run, whose mean is the level, s; with ``glm`` nothing is given
    out before, calibration or not."""
    drift_tau_s: float = Field(default=100.0, ge=0)
    """``baseline``: time constant with which the level follows slow drift, s; 0 keeps it fixed."""
    empty: Literal["masked", "zero"] = "masked"
    """What a region without signal gives: ``masked`` is NaN, and masks the BOLD of a model that takes the region;
    ``zero`` is no change, for the cells of a grid of which many lie outside the head."""
    nuisance: NuisanceSettings = NuisanceSettings()
    """``glm``: what is regressed out."""
    despike: DespikeSettings = DespikeSettings()
    """Spikes."""
    z_tau_s: float = Field(default=0.0, ge=0)
    """Time constant with which the past that z compares with fades, s; 0: it does not. Several blocks long, or the
    blocks fade too."""
    z_volumes: int = Field(default=10, ge=2)
    """Volumes before the first z."""


class RegionSignal:
    """Clean the region signals, volume by volume; pure.

    A new series begins a new run. A volume flagged ``MOTION`` or ``LATE`` is cleaned with what was known before and
    teaches nothing.

    Parameters
    ----------
    settings : RegionSignalSettings
    n_regions : int
    baseline : array, shape (n_regions,), or None
        Mean intensity per region at rest, from a calibration; None takes the first ``baseline_s`` of the run.

    Raises
    ------
    ValueError
        The baseline has another length.
    """

    def __init__(self, settings: RegionSignalSettings, n_regions: int, baseline: F64 | None = None) -> None:
        if baseline is not None and baseline.shape != (n_regions,):
            raise ValueError(f"baseline of shape {baseline.shape}: expected one value for each of {n_regions} regions")
        self.settings = settings
        self.n_regions = n_regions
        self._given: F64 | None = None if baseline is None else baseline.astype(np.float64)
        self._order = VolumeOrder()
        self._baseline = Baseline(settings.baseline_s, settings.drift_tau_s, self._given)
        self._nuisance = Nuisance(settings.nuisance, n_regions)
        self._despike = Despike(settings.despike, n_regions)
        self._z = RunningZ(n_regions, settings.z_tau_s, settings.z_volumes)
        self._unit: F64 = np.full(n_regions, np.nan)

    @property
    def held(self) -> int:
        """Values that despiking held back so far."""
        return self._despike.held

    @property
    def regressors(self) -> tuple[str, ...]:
        """Sets of regressors in use now; none with ``baseline``."""
        return self._nuisance.active if self.settings.method == "glm" else ()

    def __call__(self, frame: BoldFrame, retroicor: F64 | None = None) -> BoldFrame:
        """Take the next volume.

        Parameters
        ----------
        frame : BoldFrame
        retroicor : array, shape (n_regions, 8), or None
            Columns of :class:`~streamer.clean.bold.signal.retroicor.Retroicor`.

        Returns
        -------
        frame : BoldFrame
            With ``regions`` and ``z``; flagged ``WARMING`` while there is no level, ``UNCALIBRATED`` where none was
            given, ``LATE`` where it came late.

        Raises
        ------
        ValueError
            The frame has another number of regions.
        """
        if frame.means.shape != (self.n_regions,):
            raise ValueError(f"volume {frame.index} has {frame.means.size} regions: expected {self.n_regions}")
        place = self._order(frame)
        if place.begins:
            self._restart()
        flags = frame.flags
        if place.late:
            flags |= Flag.LATE
        if self._given is None:
            flags |= Flag.UNCALIBRATED
        learn = not flags & NOT_LEARNED
        means = frame.means.astype(np.float64)
        if self.settings.method == "baseline":
            late, moved = bool(flags & Flag.LATE), bool(flags & Flag.MOTION)
            change = self._baseline(means, place.elapsed_s, place.gone_s, late=late, moved=moved)
            warming = not self._baseline.known
        else:
            change, warming = self._regressed(means, frame, place, retroicor, learn=learn)
        if warming:
            flags |= Flag.WARMING
        elif self.settings.empty == "zero":
            change = np.where(np.isfinite(means) & (means > 0), change, 0.0)
        z = np.full(self.n_regions, np.nan)
        if not flags & Flag.LATE:
            change = self._despike(change)
            z = self._z(change, place.gone_s, learn=learn)
        return replace(frame, regions=change.astype(np.float32), z=z.astype(np.float32), flags=flags)

    def _restart(self) -> None:
        self._baseline.restart()
        self._nuisance.restart()
        self._despike.restart()
        self._z.restart()
        self._unit = np.full(self.n_regions, np.nan) if self._given is None else self._given

    def _regressed(
        self, means: F64, frame: BoldFrame, place: Place, retroicor: F64 | None, *, learn: bool
    ) -> tuple[F64, bool]:
        if not place.current:
            return np.full(self.n_regions, np.nan), self._nuisance.trained == 0
        # a fixed unit: the first value, so that no volume changes what those before it were
        self._unit = np.where(np.isfinite(self._unit) | ~(means > 0), self._unit, means)
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.where(self._unit > 0, 100.0 * (means / self._unit - 1.0), np.nan)
        clean, level = self._nuisance(values, frame, place.elapsed_s + frame.after_onset_s, retroicor, learn=learn)
        if place.elapsed_s < self.settings.baseline_s or not self._nuisance.trained:
            return np.full(self.n_regions, np.nan), True
        return clean / (1.0 + 0.01 * level), False
