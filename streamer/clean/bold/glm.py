"""General linear model over voxels, one volume at a time, at the same cost for every volume of a run.

Least squares by Givens rotations: for the rows so far, the upper triangle R of the QR decomposition of the design, Q'y
per voxel, and the residual sum of squares, which grows by the square of what each new value leaves after its rotations,
so that it is never a difference of large sums. R is the root of the covariance's inverse that all voxels share
(Gentleman 1973, doi:10.1093/imamat/12.3.329). Every model on fewer columns follows exactly from the same triangle:
columns join when they can be estimated, and the estimate is then that of least squares over all volumes so far.

Serial correlation is that of a first-order autoregression: volumes and rows are whitened before they enter, across
missing volumes as well, ``(y[t] - rho^k y[t-k]) sqrt((1 - rho^2) / (1 - rho^2k))``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from pydantic import Field

from streamer.clean.bold.design_matrix import ModelStage
from streamer.clean.bold.glm_kernels import choose_columns, rotate_triangle, rotate_voxels
from streamer.clean.bold.glm_noise import autocorrelation
from streamer.contracts import Settings
from streamer.errors import UsageError
from streamer.messages import F32, F64, Array

_SPARE = 2.0
_NOISE_VOXELS = 4096
_LEAST_FOR_NOISE = 20


class GlmSettings(Settings):
    """How voxels are fitted."""

    rho: float | None = Field(default=None, ge=0, lt=1)
    """Correlation of the noise from volume to volume; 0 takes it as white. None: estimated once."""
    rho_volumes: int = Field(default=60, ge=_LEAST_FOR_NOISE, le=200)
    """From how many volumes ``rho`` is estimated, where it is not given; until then the noise counts as white, then
    these volumes enter anew."""
    forgetting: float = Field(default=1.0, gt=0.9, le=1)
    """Weight of a volume against the one after it; 1 forgets nothing."""


@dataclass(frozen=True, slots=True)
class _Model:
    """Least squares on some of the columns, of what the rotations keep of each voxel, ``kept``, shape (p, n_voxels)."""

    columns: tuple[int, ...]
    solve: F64
    """Coefficients are ``solve @ kept``; shape (n_columns, p)."""
    rest: F64
    """``rest @ kept`` is residual to this model; shape (n_rest, p)."""


class RecursiveGlm:
    """Voxels against regressors, volume by volume.

    Parameters
    ----------
    n_voxels : int
        Voxels in the mask.
    names : sequence of str
        Names of the columns; the first is the constant.
    stages : sequence of int
        Part of the model of each column, never decreasing: see :class:`ModelStage`. A stage joins when there are more
        than p + 2 volumes, p the columns up to and with it that can be estimated; a column that is a combination of
        those before it is left out as long as it is.
    settings : GlmSettings, optional

    Attributes
    ----------
    n : int
        Volumes in the estimate.
    censored, late, lost : int
        Volumes that were left out: told to, come after a later one; voxels that had a value that is not finite, whose
        maps are NaN from there on.
    rho : float or None
        Correlation of the noise in force; None before it is estimated.

    Raises
    ------
    ValueError
        Names and stages do not fit each other, or stages decrease.
    """

    def __init__(
        self, n_voxels: int, names: Sequence[str], stages: Sequence[int], settings: GlmSettings | None = None
    ) -> None:
        self.settings = settings or GlmSettings()
        self.names = tuple(names)
        self.stages = np.array(stages, np.int64)
        if len(self.stages) != len(self.names) or not self.names or self.stages[0] != ModelStage.CONSTANT:
            raise ValueError(
                f"{len(self.names)} names with {len(self.stages)} stages: expected one each, the constant first"
            )
        if len(set(self.names)) < len(self.names) or (np.diff(self.stages) < 0).any():
            raise ValueError(f"columns {', '.join(self.names)}: expected each name once, in the order of the stages")
        self.n_voxels = n_voxels
        self._root = float(np.sqrt(self.settings.forgetting))
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next volume is the first of a run."""
        self.censored = self.late = 0
        self.rho = self.settings.rho
        self._held: list[tuple[F64, Array, int]] = []
        self._last: tuple[F64, F64, int] | None = None
        self._index = -1
        self._clear()

    def _clear(self) -> None:
        p = len(self.names)
        self.n = 0
        self._weight = 0.0
        self._triangle = np.zeros((p, p))
        self._kept = np.zeros((p, self.n_voxels))
        self._rss = np.zeros(self.n_voxels)
        self._models: dict[int, _Model] = {}

    def warm_up(self) -> None:
        """Run everything once on made-up volumes, so that nothing is compiled when the first real one comes."""
        glm = RecursiveGlm(2, self.names, self.stages.tolist(), self.settings.model_copy(update={"rho": None}))
        rng = np.random.default_rng(0)
        for _ in range(glm.settings.rho_volumes + 1):
            glm(rng.standard_normal(2), np.array([1.0, *rng.standard_normal(len(self.names) - 1)]))
        glm.t_map({self.names[0]: 1.0})

    def __call__(self, values: Array, row: F64, index: int | None = None, *, censored: bool = False) -> bool:
        """Take the next volume.

        Parameters
        ----------
        values : array, shape (n_voxels,)
            Finite; a voxel that once is not has NaN in all maps from there on.
        row : array, shape (n_columns,)
            Its row of the design.
        index : int, optional
            Number of the volume in its series; where numbers are left out, volumes are missing. Default: the next.
        censored : bool
            Leave the estimate as it was.

        Returns
        -------
        used : bool
            False for a censored volume, and for one that comes after a later one.

        Raises
        ------
        ValueError
            Another number of voxels or columns, or a row that is not finite.
        """
        if values.shape != (self.n_voxels,) or row.shape != (len(self.names),) or not np.isfinite(row).all():
            raise ValueError(
                f"values of shape {values.shape} and a row of {row.shape}: expected {self.n_voxels} voxels and "
                f"{len(self.names)} finite columns"
            )
        number = self._index + 1 if index is None else index
        if number <= self._index:
            self.late += 1
            return False
        self._index = number
        if censored:
            self.censored += 1
            return False
        self._enter([(row, values, number)])
        if self.rho is None:
            self._held.append((row.copy(), values.copy(), number))
            if len(self._held) == self.settings.rho_volumes:
                self.learn_noise()
        return True

    def learn_noise(self) -> None:
        """Estimate ``rho`` now, from the volumes so far, unless it is known; at the end of a short run, for instance.

        It stays 0 where there are fewer than :attr:`GlmSettings.rho_volumes` can be at least, or no estimate.
        """
        if self.rho is not None:
            return
        held, self._held, columns = self._held, [], list(self._model().columns)
        self.rho = 0.0
        if len(held) < _LEAST_FOR_NOISE or not columns:
            return
        some = slice(None, None, -(-self.n_voxels // _NOISE_VOXELS))
        self.rho = autocorrelation(
            np.array([values[some] for _, values, _ in held], np.float64),
            np.array([row[columns] for row, _, _ in held]),
            np.array([number for _, _, number in held]),
        )
        if self.rho:
            self._last = None
            self._clear()
            self._enter(held)

    def _enter(self, volumes: list[tuple[F64, Array, int]]) -> None:
        rows = np.array([row for row, _, _ in volumes], np.float64)
        values = np.ascontiguousarray([value for _, value, _ in volumes], np.float64)
        before = self._last or (np.zeros(len(self.names)), np.zeros(self.n_voxels), None)
        link, scale = self._whitening([before[2], *(number for _, _, number in volumes)])
        turned = scale[:, None] * (rows - link[:, None] * np.vstack([before[0], rows[:-1]]))
        cosines, sines = np.empty_like(rows), np.empty_like(rows)
        rotate_triangle(self._triangle, turned, cosines, sines, self._root)
        rotate_voxels(self._kept, self._rss, values, before[1], link, scale, cosines, sines, self._root)
        self._last = (rows[-1].copy(), values[-1].copy(), volumes[-1][2])
        self.n += len(volumes)
        for _ in volumes:
            self._weight = self.settings.forgetting * self._weight + 1.0
        self._models.clear()

    def _whitening(self, numbers: Sequence[int | None]) -> tuple[F64, F64]:
        rho = self.rho or 0.0
        gaps = [np.inf if a is None or b is None else b - a for a, b in pairwise(numbers)]
        link = rho ** np.array(gaps)
        return link, np.sqrt((1.0 - rho**2) / (1.0 - link**2))

    def _model(self, through: int = ModelStage.TASK) -> _Model:
        if through not in self._models:
            chosen, basis, solve = choose_columns(self._triangle, self.stages, through, self._weight - _SPARE)
            used = np.flatnonzero(self._triangle.any(axis=1))
            whole = np.linalg.qr(basis[used], mode="complete").Q if len(chosen) else np.eye(len(used))
            rest = np.zeros((len(used) - len(chosen), len(self.names)))
            rest[:, used] = whole[:, len(chosen) :].T
            self._models[through] = _Model(tuple(chosen.tolist()), solve, rest)
        return self._models[through]

    def _weights(self, contrast: Mapping[str, float]) -> tuple[F64 | None, float]:
        absent = sorted(set(contrast) - set(self.names))
        if absent:
            raise UsageError(f"contrast weighs {', '.join(absent)}: expected columns among {', '.join(self.names)}")
        model = self._model()
        named = {self.names.index(name): weight for name, weight in contrast.items() if weight}
        if not named or not set(named) <= set(model.columns):
            return None, np.nan
        weights = np.array([named.get(column, 0.0) for column in model.columns]) @ model.solve
        return weights, float(weights @ weights)

    def _variance(self, model: _Model) -> F64:
        left = self._weight - len(model.columns)
        rss = self._rss + np.square(model.rest @ self._kept).sum(axis=0) if len(model.rest) else self._rss
        return rss / left if model.columns else np.full(self.n_voxels, np.nan)

    @property
    def lost(self) -> int:
        """Voxels that had a value that is not finite."""
        return int(np.count_nonzero(~np.isfinite(self._rss)))

    @property
    def active(self) -> tuple[str, ...]:
        """Names of the columns that are estimated now."""
        return tuple(self.names[column] for column in self._model().columns)

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the residual: volumes, less columns; 0 before there is an estimate."""
        n_active = len(self._model().columns)
        return self._weight - n_active if n_active else 0.0

    def betas(self) -> F64:
        """Coefficients, shape (n_columns, n_voxels); NaN for columns that are not estimated yet."""
        model = self._model()
        betas = np.full((len(self.names), self.n_voxels), np.nan)
        betas[list(model.columns)] = model.solve @ self._kept
        return betas

    def effect(self, contrast: Mapping[str, float]) -> F64:
        """Weighted sum of coefficients, by name of the column, shape (n_voxels,); NaN while one is not estimated.

        Raises
        ------
        UsageError
            No column has a name in ``contrast``.
        """
        weights, _ = self._weights(contrast)
        return np.full(self.n_voxels, np.nan) if weights is None else weights @ self._kept

    def t_map(self, contrast: Mapping[str, float]) -> F64:
        """Student's t of a contrast with :attr:`freedom` degrees, shape (n_voxels,).

        NaN as in :meth:`effect`, and where a voxel never changes.
        """
        weights, spread = self._weights(contrast)
        if weights is None:
            return np.full(self.n_voxels, np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            return (weights @ self._kept) / np.sqrt(spread * self._variance(self._model()))

    def percent_change(self, contrast: Mapping[str, float]) -> F64:
        """Effect of a contrast in % of the voxel's mean, shape (n_voxels,); NaN where the mean is not above 0."""
        mean = self.mean()
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(mean > 0, 100.0 * self.effect(contrast) / mean, np.nan)

    def mean(self) -> F64:
        """Mean over the volumes, shape (n_voxels,); NaN before there is one."""
        model = self._model(ModelStage.CONSTANT)
        return model.solve[0] @ self._kept if model.columns else np.full(self.n_voxels, np.nan)

    def residual_sd(self, through: int = ModelStage.TASK) -> F64:
        """Standard deviation of what the stages up to ``through`` leave of a volume, shape (n_voxels,)."""
        return np.sqrt(self._variance(self._model(through)) / (1.0 - (self.rho or 0.0) ** 2))

    def tsnr(self, through: int = ModelStage.CONSTANT) -> F64:
        """Mean over :meth:`residual_sd`, shape (n_voxels,); by default the plain temporal signal-to-noise ratio."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.mean() / self.residual_sd(through)

    def cleaned(self, values: Array, row: F64, through: int = ModelStage.NUISANCE) -> F64:
        """Take out of a volume what the present estimate says of the stages up to ``through``.

        The stages after it are part of the estimate, so that drift does not take the task with it, and stay in.

        Parameters
        ----------
        values : array, shape (n_voxels,)
        row : array, shape (n_columns,)
        through : int
            Stage.

        Returns
        -------
        cleaned : array, shape (n_voxels,)
            About 0; NaN while nothing is estimated.
        """
        model = self._model()
        if not model.columns:
            return np.full(self.n_voxels, np.nan)
        columns = list(model.columns)
        weights = np.where(self.stages[columns] <= through, row[columns], 0.0) @ model.solve
        return values - weights @ self._kept


def fit_run(
    volumes: F32 | F64,
    rows: F64,
    names: Sequence[str],
    stages: Sequence[int],
    settings: GlmSettings | None = None,
    censored: Sequence[bool] | Array = (),
) -> RecursiveGlm:
    """Fit a whole run at once, with the arithmetic of the run live.

    Parameters
    ----------
    volumes : array, shape (n, n_voxels)
    rows : array, shape (n, n_columns)
        Of :meth:`DesignMatrix.row`, volume by volume.
    names, stages
        Of :class:`DesignMatrix`.
    settings : GlmSettings, optional
        Where ``rho`` is to be estimated and the run is shorter than ``rho_volumes``, it is estimated from all of it.
    censored : sequence of bool, shape (n,), optional
        Volumes to leave out.

    Returns
    -------
    glm : RecursiveGlm

    Raises
    ------
    ValueError
        Shapes do not fit one another.
    """
    left_out = np.asarray(censored, bool) if len(censored) else np.zeros(len(volumes), bool)
    if volumes.ndim != 2 or not len(volumes) == len(rows) == len(left_out):
        raise ValueError(
            f"volumes of shape {volumes.shape} with {len(rows)} rows and {len(left_out)} marks: expected "
            "(n, n_voxels) and n of each"
        )
    glm = RecursiveGlm(volumes.shape[1], names, stages, settings)
    for values, row, leave in zip(volumes, rows, left_out, strict=True):
        glm(values, row, censored=bool(leave))
    glm.learn_noise()
    return glm
