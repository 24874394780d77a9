"""Follow slow drift during a session without labels: of the EEG's baseline, and of the tangent vectors' reference.

Impedances, wakefulness and the amplifier's temperature move log band power over minutes, and a model that was
calibrated before them sees that as a change of state. So the mean of the z-scores is followed, block by block (at fixed
places on the grid of steps, so that windows between two blocks stay as they were): slowly, by at most so much a minute
and in all. What drifts in the task itself is followed too where it is slower than ``tau_s``: blocks of a task must be
far shorter.

Nothing is followed while an artefact is flagged, during sham feedback, or while the operator has frozen it. Every
change is given out, so that the results of a session hold what was subtracted, and a command takes all of it back.
"""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from streamer.contracts import Settings
from streamer.decode.baseline import PowerBaseline, log_power
from streamer.decode.features import PowerStep
from streamer.messages import F64, Feature, Flag, SessionTime

RECENTRE = "recentre"
"""Name of the feature, and of the operator's command: ``on``, ``freeze`` or ``rollback``."""
COMMANDS = ("on", "freeze", "rollback")
FROZEN = (
    Flag.GAP
    | Flag.CLOCK_STEP
    | Flag.MOTION
    | Flag.CLIPPED
    | Flag.BAD_CHANNELS
    | Flag.UNSYNCED
    | Flag.WARMING
    | Flag.STALE
)
"""Data with one of these moves nothing."""
_DECIMALS = 5
_LEAST_EIGENVALUE = 1e-9


class RecentreSettings(Settings):
    """Whether slow drift is followed during a session, and how far."""

    enabled: bool = False
    """Whether it is; only with a calibration, for without one the baseline follows the run anyway."""
    block_s: float = Field(default=10.0, ge=2, le=120)
    """A change comes at most this often, s."""
    tau_s: float = Field(default=180.0, ge=30, le=3600)
    """Time constant with which drift is followed, s: many blocks of the task."""
    max_sd_per_min: float = Field(default=0.2, gt=0, le=2)
    """Most that a channel's band may be moved in a minute, standard deviations of its baseline."""
    max_sd: float = Field(default=1.0, gt=0, le=5)
    """Most that it may be moved from the calibration in all, standard deviations."""
    max_log_per_min: float = Field(default=0.1, gt=0, le=1)
    """Most that the reference covariance may be moved in a minute: root mean square over its dimensions of the
    logarithm of the change of variance."""
    max_log: float = Field(default=0.5, gt=0, le=3)
    """Most that it may be moved from the calibration in all."""

    @property
    def eta(self) -> float:
        """Share of the way that a block goes."""
        return 1.0 - math.exp(-self.block_s / self.tau_s)


class Recentre:
    """Follow the mean of z-scored log band power; pure.

    Parameters
    ----------
    settings : RecentreSettings
    baseline : PowerBaseline
        Of the calibration run.
    labels : tuple of str
        Names of the features, in order: ``channel:band``.
    fine_per_step : int
        Feature steps that make one step of a window: power is averaged over as many, as in a window.
    step_s : float
        Length of a feature step, s.
    """

    def __init__(
        self,
        settings: RecentreSettings,
        baseline: PowerBaseline,
        labels: tuple[str, ...],
        fine_per_step: int,
        step_s: float,
    ) -> None:
        if len(labels) != len(baseline.mean):
            raise ValueError(f"{len(labels)} labels for a baseline of {len(baseline.mean)} features")
        self.settings = settings
        self._baseline = baseline
        self._labels = tuple(f"{label} (sd)" for label in labels)
        self._fine = fine_per_step
        self._groups = max(1, round(settings.block_s / (step_s * fine_per_step)))
        self.shift: F64 = np.zeros(len(labels))
        """What is to be subtracted from z-scores now, standard deviations, shape (n_features,)."""
        self.operator_froze = False
        """Whether the operator has stopped it."""
        self.sham = False
        """Set while feedback is sham: it is frozen then."""
        self._roll_back = False
        self._block: int | None = None
        self._sum, self._n = np.zeros(len(labels)), 0
        self._group: list[F64] = []

    def command(self, text: str) -> None:
        """Take the operator's ``on``, ``freeze`` or ``rollback`` (which also freezes); ValueError for anything else."""
        if text not in COMMANDS:
            raise ValueError(f"recentre {text!r} is not known: expected {', '.join(COMMANDS)}")
        self.operator_froze = text != "on"
        self._roll_back = text == "rollback"

    def __call__(self, step: PowerStep, flags: Flag = Flag.NONE) -> Feature | None:
        """Take the next feature step; give the new shift where it changed.

        Parameters
        ----------
        step : PowerStep
        flags : Flag
            What is wrong besides: ``MOTION`` of the newest volume.
        """
        flags |= step.flags
        block = step.index // (self._groups * self._fine)
        if block != self._block:
            # whatever was missed, a block begins anew at its place on the grid
            self._block = block
            self._sum, self._n = np.zeros_like(self.shift), 0
            self._group = []
        self._gather(step, clean=step.valid and not flags & FROZEN)
        if self._roll_back:
            self._roll_back = False
            return self._move(np.zeros_like(self.shift), step, flags)
        last = (step.index + 1) % (self._groups * self._fine) == 0
        if not last or self.operator_froze or self.sham or self._n < self._groups / 2:
            return None
        s = self.settings
        most = s.max_sd_per_min * s.block_s / 60.0
        change = np.clip(s.eta * (self._sum / self._n - self.shift), -most, most)
        return self._move(np.clip(self.shift + change, -s.max_sd, s.max_sd), step, flags)

    def _gather(self, step: PowerStep, *, clean: bool) -> None:
        if step.index % self._fine == 0:
            self._group = []
        if not clean:
            return
        self._group.append(step.power.reshape(-1).astype(np.float64))
        if (step.index + 1) % self._fine == 0 and len(self._group) == self._fine:
            power = np.mean(self._group, axis=0).astype(np.float32)
            self._sum = self._sum + self._baseline.z(log_power(power))
            self._n += 1

    def _move(self, shift: F64, step: PowerStep, flags: Flag) -> Feature | None:
        # rounded, so that what is written down is what is subtracted
        shift = np.round(shift, _DECIMALS) + 0.0
        if np.array_equal(shift, self.shift):
            return None
        self.shift = shift
        return _feature(RECENTRE, self._labels, shift.tolist(), step.end_sample, step.end_time, flags)


class ReferenceDrift:
    """Follow the reference of tangent vectors: M towards C along the geodesic, bounded; pure.

    Barachant 2012, doi:10.1109/TBME.2011.2172210; Zanini 2018, doi:10.1109/TBME.2017.2742541 (re-centring).

    Parameters
    ----------
    settings : RecentreSettings
    reference : ndarray, float64, shape (n, n)
        Of the calibration run, V²; what it has no variance in is left as it is.
    """

    def __init__(self, settings: RecentreSettings, reference: F64) -> None:
        self.settings = settings
        values, vectors = np.linalg.eigh(reference)
        keep = values > _LEAST_EIGENVALUE * max(float(values[-1]), 0.0)
        if not keep.any():
            raise ValueError("the reference covariance has no variance: expected a positive one")
        self._basis = vectors[:, keep]
        self._from = np.diag(values[keep])
        self._now = self._from
        self._calibrated = reference
        self.reference = reference
        """V², shape (n, n)."""

    @property
    def moved(self) -> float:
        """How far it is from the calibration: root mean square over dimensions of the log of the change of variance."""
        return distance(self._from, self._now) / math.sqrt(len(self._from))

    def __call__(self, covariance: F64, sample: int, at: SessionTime, flags: Flag = Flag.NONE) -> Feature | None:
        """Take the mean covariance of a block; give how far the reference moved, where it did.

        Parameters
        ----------
        covariance : ndarray, float64, shape (n, n)
            V², of clean data; one that has lost a dimension moves nothing.
        sample, at
            Where the block ends.
        flags : Flag
        """
        if flags & FROZEN or not np.isfinite(covariance).all():
            return None
        within = self._basis.T @ covariance @ self._basis
        least = float(np.linalg.eigvalsh(within)[0])
        if not least > _LEAST_EIGENVALUE * float(np.trace(within)):
            return None
        s, root = self.settings, math.sqrt(len(within))
        far = distance(self._now, within) / root
        if far == 0.0:
            return None
        before = self.moved
        self._now = geodesic(self._now, within, min(s.eta, s.max_log_per_min * s.block_s / 60.0 / far))
        if self.moved > s.max_log:
            self._now = geodesic(self._from, self._now, s.max_log / self.moved)
        outside = self._calibrated - self._basis @ self._from @ self._basis.T
        self.reference = self._basis @ self._now @ self._basis.T + outside
        labels = ("from the calibration (log)", "change (log)")
        values = [round(self.moved, _DECIMALS), round(self.moved - before, _DECIMALS)]
        return _feature(f"{RECENTRE}.tangent", labels, values, sample, at, flags)

    def roll_back(self) -> None:
        """Take the calibration's reference again."""
        self._now, self.reference = self._from, self._calibrated


def geodesic(a: F64, b: F64, share: float) -> F64:
    """Go a share of the way from one covariance to another, along the shortest line of the affine-invariant metric."""
    root, inverse = _roots(a)
    values, vectors = np.linalg.eigh(inverse @ b @ inverse)
    half = root @ vectors
    return (half * values**share) @ half.T


def distance(a: F64, b: F64) -> float:
    """Affine-invariant distance of two covariances."""
    inverse = _roots(a)[1]
    return float(np.linalg.norm(np.log(np.linalg.eigvalsh(inverse @ b @ inverse))))


def _roots(matrix: F64) -> tuple[F64, F64]:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values)) @ vectors.T, (vectors / np.sqrt(values)) @ vectors.T


def _feature(
    name: str, labels: tuple[str, ...], values: list[float], sample: int, at: SessionTime, flags: Flag
) -> Feature:
    return Feature(
        name=name,
        sample=sample,
        about=at,
        delay_s=0.0,
        labels=labels,
        values=tuple(values),
        uncertainty=(),
        valid=True,
        flags=flags,
    )
