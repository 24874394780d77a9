"""Maps of a run while it goes on: what the task does to every voxel of the head, and how steady each is."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from pydantic import Field

from streamer.clean.bold.design_matrix import DesignMatrix, DesignSettings, ModelStage
from streamer.clean.bold.glm import GlmSettings, RecursiveGlm
from streamer.contracts import Settings
from streamer.messages import F32, F64, Array


class MapSettings(Settings):
    """Voxel-wise general linear model."""

    enabled: bool = False
    """Whether every voxel of the head is fitted: maps of the contrasts are stored with the results."""
    design: DesignSettings = DesignSettings()
    """Regressors and contrasts; without contrasts, each condition against rest."""
    glm: GlmSettings = GlmSettings()
    """How voxels are fitted."""
    censor: bool = Field(default=True)
    """Leave volumes that are flagged MOTION out of the fit."""


class Maps:
    """Fit the voxels of a run, volume by volume.

    Parameters
    ----------
    settings : MapSettings
    n_voxels : int
    """

    def __init__(self, settings: MapSettings, n_voxels: int) -> None:
        self.settings = settings
        design = settings.design
        self._contrasts = design.contrasts or {each.name: {each.name: 1.0} for each in design.conditions}
        self._design = DesignMatrix(design)
        self.glm = RecursiveGlm(n_voxels, self._design.names, self._design.stages, settings.glm)

    def __call__(self, values: F32, number: int, time_s: float, motion: F64, tissue: F32, *, moved: bool) -> None:
        """Take the next volume.

        Parameters
        ----------
        values : array of float32, shape (n_voxels,)
        number : int
            Of the volume in its run.
        time_s : float
            Middle of its acquisition, s after the beginning of the run.
        motion : array, shape (6,)
        tissue : array of float32, shape (3,)
        moved : bool
            Whether it is flagged MOTION.
        """
        row = self._design.row(time_s, motion, tissue)
        self.glm(values, row, number, censored=moved and self.settings.censor)

    def t_maps(self, most: int) -> Mapping[str, Array]:
        """Give t of the first ``most`` contrasts so far, by the name of the contrast, each of shape (n_voxels,)."""
        return {name: self.glm.t_map(weights) for name, weights in islice(self._contrasts.items(), most)}

    def values(self) -> Mapping[str, Array]:
        """Give the maps so far, each of shape (n_voxels,): t and % of every contrast, mean, and tSNR without drift."""
        made: dict[str, Array] = {"mean": self.glm.mean(), "tsnr": self.glm.tsnr(ModelStage.DRIFT)}
        for name, weights in self._contrasts.items():
            made[f"t_{name}"] = self.glm.t_map(weights)
            made[f"percent_{name}"] = self.glm.percent_change(weights)
        return made
