"""Recursive nuisance regression of region signals: every volume is cleaned with what is known when it comes.

The sums that least squares needs grow by each volume, and a set of regressors joins the solution when enough volumes
have come to estimate it; since the sums hold every regressor from the first volume on, the solution at any time is that
of one least-squares problem over all volumes so far. A weak prior keeps a coefficient near 0 until the data speak.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field
from scipy.linalg import cho_factor, cho_solve

from streamer.clean.bold.design_matrix import DesignMatrix, DesignSettings, ModelStage
from streamer.contracts import Settings
from streamer.messages import F64, Array, BoldFrame

N_RETROICOR = 8
"""Columns of RETROICOR: sine and cosine of heart and breath, two harmonics each."""
_NOISE_PERCENT = 0.5
"""What a region's signal is trusted to, %: the prior weighs as much as its width says against this."""
_LEAST_PRIOR = 1e-9
_SETS = ("constant", "trend", "drift", "motion", "tissue", "retroicor", "task")


class NuisanceSettings(Settings):
    """What is regressed out of the region signals."""

    design: DesignSettings = DesignSettings()
    """Drift, motion, tissue and task; what the task explains stays in the signal."""
    retroicor: bool = True
    """Whether heart beat and breath are regressed out where they are recorded."""
    volumes_per_regressor: float = Field(default=2.0, ge=1, le=20)
    """A set of regressors joins when there are so many volumes for each of all regressors then in use."""
    prior_percent: dict[str, float] = Field(
        default_factory=lambda: {
            "trend": 0.1,
            "drift": 0.07,
            "motion": 0.1,
            "tissue": 0.5,
            "retroicor": 0.2,
            "task": 3.0,
        }
    )
    """How large the coefficients of each set are thought to be (sd), %: ``trend`` and ``drift`` (its bends, or cosines)
    per half of the drift's cut-off, ``motion`` per mm (rotations: of arc), ``tissue`` per % of the tissue's signal,
    ``retroicor`` of each wave, ``task`` of a response. A set that is not named is free."""


class Nuisance:
    """Regress drift, motion, tissue signals and physiology out of every region.

    Parameters
    ----------
    settings : NuisanceSettings
    n_regions : int
    """

    def __init__(self, settings: NuisanceSettings, n_regions: int) -> None:
        self.settings = settings
        self._n_regions = n_regions
        self._design = DesignMatrix(settings.design)
        self._sets = _sets_of(self._design)
        present = {*self._sets, "retroicor"} if settings.retroicor else set(self._sets)
        self._order = tuple(name for name in _SETS if name in present)
        self._turn: Array = np.array([self._order.index(name) for name in self._sets])
        self._taken_out: Array = np.array([name not in {"constant", "task"} for name in self._sets])
        widths = np.array([settings.prior_percent.get(name, 0.0) for name in self._sets])
        self._prior = np.where(widths > 0, np.square(_NOISE_PERCENT / np.where(widths > 0, widths, 1.0)), _LEAST_PRIOR)
        own = settings.prior_percent.get("retroicor", 0.0)
        self._own_prior = (_NOISE_PERCENT / own) ** 2 if own > 0 else _LEAST_PRIOR
        self.restart()

    @property
    def active(self) -> tuple[str, ...]:
        """The sets of regressors that are in use now."""
        joined = self._order[: self._joined]
        # heart and breath may be heard of later than the scanner
        enough = self._with_own >= self.settings.volumes_per_regressor * N_RETROICOR
        return joined if enough else tuple(name for name in joined if name != "retroicor")

    def restart(self) -> None:
        """Begin a run: everything is learned anew."""
        n, p = self._n_regions, len(self._sets)
        self._design.reset()
        self._joined = 1
        self.trained = 0
        """Volumes learned from."""
        self._with_own = 0
        self._shared: F64 = np.zeros((p, p))
        self._shared_y: F64 = np.zeros((p, n))
        self._cross: F64 = np.zeros((n, N_RETROICOR, p))
        self._own: F64 = np.zeros((n, N_RETROICOR, N_RETROICOR))
        self._own_y: F64 = np.zeros((n, N_RETROICOR))
        self._weights: F64 = np.zeros((p, n))
        self._own_weights: F64 = np.zeros((n, N_RETROICOR))
        self._seen: Array = np.zeros(n, np.bool_)

    def __call__(
        self, values: F64, frame: BoldFrame, time_s: float, retroicor: F64 | None = None, *, learn: bool = True
    ) -> tuple[F64, F64]:
        """Take the next volume.

        Parameters
        ----------
        values : array, shape (n_regions,)
            Signal in % of a fixed level, less 100; NaN where a region has none.
        frame : BoldFrame
            Motion and tissue means are taken from it.
        time_s : float
            Middle of its acquisition, s after the beginning of the run.
        retroicor : array, shape (n_regions, 8), or None
            Of heart and breath when each region was acquired; NaN where unknown, None when nothing is recorded.
        learn : bool
            False cleans the volume with what was known before.

        Returns
        -------
        clean : array, shape (n_regions,)
            Signal without nuisance and drift, about the level; what the task explains is in it.
        level : array, shape (n_regions,)
            Constant part, in the unit of ``values``.
        """
        tissue = frame.tissue if frame.tissue.size else np.full(3, np.nan)
        row = self._design.row(time_s, frame.motion, tissue)
        own = np.zeros((self._n_regions, N_RETROICOR))
        if retroicor is not None and self.settings.retroicor:
            own = np.nan_to_num(retroicor, nan=0.0)
        if learn:
            self._learn(values, row, own)
        nuisance = (row * self._taken_out) @ self._weights + np.einsum("rj,rj->r", own, self._own_weights)
        level = self._weights[0].copy()
        return values - level - nuisance, level

    def _learn(self, values: F64, row: F64, own: F64) -> None:
        there: Array = np.isfinite(values)
        predicted = row @ self._weights + np.einsum("rj,rj->r", own, self._own_weights)
        # what is missing is put in as predicted, which changes no coefficient
        y = np.where(there, values, predicted)
        new: Array = there & ~self._seen
        if new.any():
            # a region that appears late is taken to have been as it is now
            self._shared_y[:, new] = self._shared[:, :1] * y[new]
            self._own_y[new] = self._cross[new, :, 0] * y[new, None]
            self._seen |= new
        self._shared += np.outer(row, row)
        self._shared_y += row[:, None] * y
        if own.any():
            self._with_own += 1
            self._cross += own[:, :, None] * row
            self._own += own[:, :, None] * own[:, None, :]
            self._own_y += own * y[:, None]
        self.trained += 1
        self._join()
        self._solve()

    def _join(self) -> None:
        while self._joined < len(self._order):
            count = len(self._used(self._joined + 1))
            # without heart and breath there is nothing to wait for
            if self._with_own and "retroicor" in self._order[: self._joined + 1]:
                count += N_RETROICOR
            if self.trained < self.settings.volumes_per_regressor * count:
                return
            self._joined += 1

    def _used(self, n_sets: int) -> Array:
        # a bend of the drift that lies ahead is no regressor yet
        return np.flatnonzero((self._turn < n_sets) & (np.diagonal(self._shared) > 0))

    def _solve(self) -> None:
        used = self._used(self._joined)
        matrix = self._shared[np.ix_(used, used)] + np.diag(self._prior[used])
        factor: Any = cho_factor(matrix, lower=True, check_finite=False)
        # many right sides: one product with the inverse is far quicker than as many solutions
        inverse = np.asarray(cho_solve(factor, np.eye(len(used)), check_finite=False), np.float64)
        weights = inverse @ self._shared_y[used]
        if "retroicor" in self.active:
            # regressors that all regions share are eliminated first: what is left is 8 x 8 for each region
            cross = self._cross[:, :, used]
            gain = cross @ inverse
            left = self._own + self._own_prior * np.eye(N_RETROICOR) - cross @ gain.transpose(0, 2, 1)
            rest = self._own_y - np.einsum("rjp,pr->rj", cross, weights)
            self._own_weights = np.linalg.solve(left, rest[:, :, None])[:, :, 0]
            weights = weights - np.einsum("rjp,rj->pr", gain, self._own_weights)
        self._weights[:] = 0.0
        self._weights[used] = weights


def _sets_of(design: DesignMatrix) -> tuple[str, ...]:
    names = {ModelStage.CONSTANT: "constant", ModelStage.TASK: "task"}
    tissue = design.settings.tissue

    def nuisance(name: str) -> str:
        return "tissue" if name in tissue else "motion"

    def drift(name: str) -> str:
        return "trend" if name == "trend" else "drift"

    return tuple(
        names[stage] if stage in names else drift(name) if stage == ModelStage.DRIFT else nuisance(name)
        for name, stage in zip(design.names, design.stages, strict=True)
    )
