"""Rows of a design matrix, made volume by volume: constant, drift, nuisance, task.

A row depends on its own volume and on those before it, with scales that never change, so that a recursive estimate over
the rows is that of one least-squares problem. Task regressors are boxes convolved with a haemodynamic response, in
closed form: the response is a difference of gamma densities (Friston et al. 1998, doi:10.1006/nimg.1997.0306; Glover
1999, doi:10.1006/nimg.1998.0419), a box the difference of two steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Literal, Protocol

import numpy as np
from pydantic import Field, model_validator
from scipy.special import gammainc
from scipy.stats import gamma

from streamer.contracts import Settings
from streamer.messages import F32, F64

ARC_MM = 50.0
"""Radius on which a rotation is counted as an arc, mm."""
_MINUTE_S = 60.0
_TISSUES = ("wm", "csf", "global")
_MOTION = ("x", "y", "z", "rx", "ry", "rz")
# delay and dispersion of peak and undershoot in s, and the undershoot's share
_RESPONSES = {"spm": (6.0, 16.0, 1.0, 0.167), "glover": (6.0, 12.0, 0.9, 0.48)}


class ModelStage(IntEnum):
    """Parts of the model, in the order in which they join the estimate."""

    CONSTANT = 0
    DRIFT = 1
    NUISANCE = 2
    TASK = 3


class Condition(Settings):
    """Blocks or events of one kind."""

    name: str = Field(min_length=1)
    onsets_s: tuple[float, ...]
    """s after the beginning of the run."""
    durations_s: tuple[float, ...]
    """s, one for each onset, or one for all; 0 is an impulse, whose regressor is the response itself in 1/s."""

    @model_validator(mode="after")
    def _fits(self) -> Condition:
        if len(self.durations_s) not in {1, len(self.onsets_s)}:
            raise ValueError(
                f"{self.name}: {len(self.onsets_s)} onsets with {len(self.durations_s)} durations: expected one each, "
                "or one duration for all"
            )
        if (
            not all(math.isfinite(t) for t in (*self.onsets_s, *self.durations_s))
            or min(self.durations_s, default=0.0) < 0
        ):
            raise ValueError(f"{self.name}: onsets and durations must be finite, durations not negative")
        return self


class Block(Protocol):
    """A stretch of one kind."""

    @property
    def label(self) -> str: ...

    @property
    def onset_s(self) -> float: ...

    @property
    def duration_s(self) -> float: ...


def conditions_of(blocks: Sequence[Block], zero_s: float = 0.0) -> tuple[Condition, ...]:
    """Make a condition of the blocks of each label, in the order of the labels.

    Parameters
    ----------
    blocks : sequence of Block
    zero_s : float
        When the run began on the axis of the blocks' onsets, s.
    """

    def condition(name: str) -> Condition:
        own = [block for block in blocks if block.label == name]
        return Condition(
            name=name,
            onsets_s=tuple(block.onset_s - zero_s for block in own),
            durations_s=tuple(block.duration_s for block in own),
        )

    return tuple(condition(name) for name in sorted({block.label for block in blocks}))


class DesignSettings(Settings):
    """Which regressors a design has."""

    drift_cutoff_s: float = Field(default=128.0, ge=0)
    """Drift slower than this period is modelled, s; 0: constant and linear trend alone."""
    run_s: float | None = Field(default=None, gt=0)
    """Length of the run, s: drift is then a cosine basis over it. None, not known: a broken line whose bends, half a
    cut-off apart, each enter when they are reached."""
    longest_s: float = Field(default=1800.0, gt=0)
    """Until when the broken line has bends, where the length is not known, s."""
    motion: Literal[0, 6, 12, 24] = 6
    """Motion regressors: 6 parameters; 12 with their changes since the volume before; 24 with the squares of both."""
    tissue: tuple[Literal["wm", "csf", "global"], ...] = ("wm", "csf")
    """Mean signals of white matter, cerebrospinal fluid and the whole head that are taken out."""
    extra: tuple[str, ...] = ()
    """Names of further nuisance columns, whose values come with each row (RETROICOR)."""
    conditions: tuple[Condition, ...] = ()
    """Task regressors."""
    response: Literal["spm", "glover"] = "spm"
    """Haemodynamic response."""
    contrasts: Mapping[str, Mapping[str, float]] = Field(default_factory=dict[str, Mapping[str, float]])
    """Weights of columns, by name of the contrast."""

    @model_validator(mode="after")
    def _fits(self) -> DesignSettings:
        names = [name for name, _ in _columns(self)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"columns named twice: {', '.join(twice)}")
        for contrast, weights in self.contrasts.items():
            absent = sorted(set(weights) - set(names))
            if absent or not any(weights.values()):
                raise ValueError(
                    f"contrast {contrast} weighs {', '.join(absent) or 'nothing'}: expected columns among "
                    f"{', '.join(names)}"
                )
        return self


class DesignMatrix:
    """Makes the rows of a design, one a volume, in the order of the volumes.

    Parameters
    ----------
    settings : DesignSettings

    Attributes
    ----------
    names : tuple of str
        Names of the columns.
    stages : tuple of ModelStage
        Part of the model that each column belongs to; never decreasing.
    held : int
        Motion, tissue and further values that were not finite so far: the last finite one stood in for each.
    """

    def __init__(self, settings: DesignSettings) -> None:
        self.settings = settings
        columns = _columns(settings)
        self.names: tuple[str, ...] = tuple(name for name, _ in columns)
        self.stages: tuple[ModelStage, ...] = tuple(stage for _, stage in columns)
        self._tissue = [_TISSUES.index(name) for name in settings.tissue]
        self._boxes = [_boxes(condition) for condition in settings.conditions]
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next row is the first of a run."""
        self.held = 0
        self._motion: F64 | None = None
        self._first_tissue = np.full(len(self._tissue), np.nan)
        self._last_tissue = np.zeros(len(self._tissue))
        self._last_extra = np.zeros(len(self.settings.extra))

    def row(
        self,
        time_s: float,
        motion: F64 | Sequence[float] = (),
        tissue: F64 | F32 | Sequence[float] = (),
        extra: F64 | Sequence[float] = (),
    ) -> F64:
        """Make the row of the next volume.

        Parameters
        ----------
        time_s : float
            Middle of its acquisition (or that of a slice), s after the beginning of the run.
        motion : array, shape (6,)
            Translations in mm, rotations in rad; may be empty where the settings ask for none.
        tissue : array, shape (3,)
            Mean intensity of white matter, cerebrospinal fluid and the whole head. Enters as % of the first value
            above 0, less 100; 0 until there is one.
        extra : array, shape (n_extra,)

        Returns
        -------
        row : array, shape (n_columns,)

        Raises
        ------
        ValueError
            Motion, tissue or further values of another length.
        """
        return np.concatenate(
            [
                self._drift(time_s),
                self._moved(np.asarray(motion, np.float64)),
                self._tissues(np.asarray(tissue, np.float64)),
                self._extras(np.asarray(extra, np.float64)),
                [_response(self.settings.response, time_s - starts, lasts) for starts, lasts in self._boxes],
            ]
        )

    def _drift(self, time_s: float) -> F64:
        cutoff = self.settings.drift_cutoff_s
        if not cutoff:
            return np.array([1.0, time_s / _MINUTE_S])
        number = np.arange(1, _n_drift(self.settings) + 1)
        run_s = self.settings.run_s
        half_cutoffs = 2.0 * time_s / cutoff
        slow = np.maximum(half_cutoffs - number, 0.0) if run_s is None else np.cos(np.pi * number * time_s / run_s)
        return np.array([1.0, half_cutoffs, *slow])

    def _moved(self, motion: F64) -> F64:
        n = self.settings.motion
        if not n:
            return np.empty(0)
        if motion.shape != (6,):
            raise ValueError(f"motion of shape {motion.shape}: expected 3 translations and 3 rotations")
        now = motion * np.array([1.0, 1.0, 1.0, ARC_MM, ARC_MM, ARC_MM])
        now = self._finite(now, np.zeros(6) if self._motion is None else self._motion)
        change = np.zeros(6) if self._motion is None else now - self._motion
        self._motion = now
        return np.concatenate([now, change, now**2, change**2])[:n]

    def _tissues(self, tissue: F64) -> F64:
        if not self._tissue:
            return np.empty(0)
        if tissue.shape != (3,):
            raise ValueError(f"tissue means of shape {tissue.shape}: expected those of {', '.join(_TISSUES)}")
        now = tissue[self._tissue]
        unset = np.isnan(self._first_tissue) & np.isfinite(now) & (now > 0)
        self._first_tissue[unset] = now[unset]
        percent = np.where(np.isfinite(self._first_tissue), 100.0 * (now / self._first_tissue - 1.0), np.nan)
        self._last_tissue = self._finite(percent, self._last_tissue)
        return self._last_tissue

    def _extras(self, extra: F64) -> F64:
        if extra.shape != self._last_extra.shape:
            raise ValueError(f"{extra.size} further values: expected {', '.join(self.settings.extra) or 'none'}")
        self._last_extra = self._finite(extra, self._last_extra)
        return self._last_extra

    def _finite(self, now: F64, before: F64) -> F64:
        known = np.isfinite(now)
        self.held += int(np.count_nonzero(~known))
        return np.where(known, now, before)


def _n_drift(settings: DesignSettings) -> int:
    # beyond the linear trend: a cosine of period 2 run_s / k, or a bend, for each half cut-off
    if not settings.drift_cutoff_s:
        return 0
    span = settings.longest_s if settings.run_s is None else settings.run_s
    return int(2.0 * span / settings.drift_cutoff_s)


def _columns(settings: DesignSettings) -> list[tuple[str, ModelStage]]:
    kind = "bend" if settings.run_s is None else "cosine"
    drift = ["trend", *(f"{kind}_{k + 1}" for k in range(_n_drift(settings)))]
    motion = [f"{start}{axis}{end}" for end in ("", "²") for start in ("", "d") for axis in _MOTION]
    nuisance = [*motion[: settings.motion], *settings.tissue, *settings.extra]
    return [
        ("constant", ModelStage.CONSTANT),
        *((name, ModelStage.DRIFT) for name in drift),
        *((name, ModelStage.NUISANCE) for name in nuisance),
        *((condition.name, ModelStage.TASK) for condition in settings.conditions),
    ]


def _boxes(condition: Condition) -> tuple[F64, F64]:
    starts = np.array(condition.onsets_s, np.float64)
    return starts, np.broadcast_to(np.array(condition.durations_s, np.float64), starts.shape)


def _response(kind: str, since_s: F64, lasts_s: F64) -> float:
    # all boxes are added up: a plateau long after an onset is 1
    peak, under, spread, share = _RESPONSES[kind]
    shapes, weights = (peak / spread, under / spread), (1.0 / (1.0 - share), -share / (1.0 - share))
    start, stop = np.maximum(since_s, 0.0) / spread, np.maximum(since_s - lasts_s, 0.0) / spread
    impulses = start[lasts_s == 0.0]
    total = 0.0
    for shape, weight in zip(shapes, weights, strict=True):
        total += weight * float((gammainc(shape, start) - gammainc(shape, stop)).sum())
        if impulses.size:
            total += weight * float(gamma.pdf(impulses, shape).sum()) / spread
    return total
