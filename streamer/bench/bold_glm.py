"""What the voxels' GLM costs, and how far it is from least squares over the whole run."""

from __future__ import annotations

import numpy as np

from streamer.bench.figures import Figure
from streamer.clean.bold.design_matrix import ModelStage
from streamer.clean.bold.glm import GlmSettings, RecursiveGlm
from streamer.clock import stopwatch

N_VOXELS = 37_052
_N_VOLUMES = 300
_STAGES = (ModelStage.CONSTANT, *[ModelStage.DRIFT] * 2, *[ModelStage.NUISANCE] * 6, ModelStage.TASK)
_BLOCK = 10


def bench_glm(*, quick: bool = False, n_voxels: int = N_VOXELS, seed: int = 3) -> list[Figure]:
    """Measure on voxels of a run that drifts, moves and has a task in blocks.

    Parameters
    ----------
    quick : bool
        A third of the volumes.
    n_voxels : int
    seed : int
    """
    n = _N_VOLUMES // 3 if quick else _N_VOLUMES
    rng = np.random.default_rng(seed)
    t = np.linspace(-1.0, 1.0, n)
    task = (np.arange(n) // _BLOCK % 2).astype(np.float64)
    motion = np.cumsum(rng.normal(0.0, 0.02, (n, 6)), axis=0)
    rows = np.column_stack([np.ones(n), t, np.cos(np.pi * t), motion, task])
    true = rng.normal(0.0, 3.0, (rows.shape[1], n_voxels))
    true[0] = rng.uniform(400.0, 1200.0, n_voxels)
    volumes = rows @ true + rng.normal(0.0, 8.0, (n, n_voxels))
    names = tuple(f"column {k}" for k in range(rows.shape[1]))
    glm = RecursiveGlm(n_voxels, names, [int(stage) for stage in _STAGES], GlmSettings(rho=0.0))
    glm.warm_up()
    contrast = {names[-1]: 1.0}
    took, with_map = np.empty(n), np.empty(n)
    for k in range(n):
        began = stopwatch()
        glm(volumes[k], rows[k])
        took[k] = 1e3 * (stopwatch() - began)
        glm.t_map(contrast)
        with_map[k] = 1e3 * (stopwatch() - began)
    batch = np.linalg.lstsq(rows, volumes, rcond=None)[0]
    # of each coefficient over the voxels, against its own size: some lie near 0 by chance
    wrong = np.abs(glm.betas() - batch).max(axis=1) / np.sqrt(np.square(batch).mean(axis=1))
    rss = np.square(volumes - rows @ batch).sum(axis=0)
    weights = np.linalg.inv(rows.T @ rows)[-1, -1]
    t_batch = batch[-1] / np.sqrt(weights * rss / (n - rows.shape[1]))
    wrong_t = np.abs(glm.t_map(contrast) - t_batch).max() / np.sqrt(np.square(t_batch).mean())
    settled = slice(2 * rows.shape[1], None)
    peer = "pyOpenNFT 60 ms (197 136 voxels); RTPSpy 11, 19, 53 ms at volume 100, 300, 600, p = 27"
    name = f"GLM, {n_voxels} voxels, {rows.shape[1]} regressors"
    note = f"p95 {np.quantile(took[settled], 0.95):.2f}; last fifth of the run {np.median(took[-n // 5 :]):.2f}"
    return [
        Figure(f"{name}: a volume, median", float(np.median(took[settled])), "ms", 1.0, peer=peer, note=note),
        Figure(f"{name}: a volume and a t map, median", float(np.median(with_map[settled])), "ms"),
        Figure(
            f"{name}: largest difference from batch least squares",
            float(max(wrong.max(), wrong_t)),
            "of the size",
            1e-6,
            note="coefficients and t, over the RMS of the same in all voxels",
        ),
    ]
