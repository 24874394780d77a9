"""How soon the BOLD worker is ready, and whether its first volume waits for a compiler."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from streamer.bench.bold_truth import COARSE, Hardships, Head, plant_volumes
from streamer.bench.bold_worker import ExportFile, fresh_compile_cache, through_worker
from streamer.bench.figures import Figure
from streamer.bold_core import BoldSetup
from streamer.clean.bold.lane import BoldLaneSettings
from streamer.formats.nifti import LabelImage, write_nifti
from streamer.messages import Array

_TR_S = 1.0
_PACE_S = 0.05
_VOLUMES = 12
# making the reference takes a few volumes' time; one loop to compile takes more than twenty
_FIRST_AGAINST_REST = 12.0


def export_files(volumes: Array) -> list[ExportFile]:
    """Write volumes (n, x, y, z) of the coarse grid as NIfTI files that a scanner might export."""
    files: list[ExportFile] = []
    with tempfile.TemporaryDirectory(prefix="streamer-bench-") as name:
        path = Path(name) / "volume.nii"
        for k, volume in enumerate(volumes, start=1):
            write_nifti(path, volume, COARSE.affine, _TR_S)
            files.append(ExportFile(f"bench_{k:04d}.nii", path.read_bytes()))
    return files


def bench_start(progress: Callable[[float], None], head: Head) -> list[Figure]:
    """Start the worker twice: when nothing is compiled yet, as after an installation, and again."""
    files = export_files(plant_volumes(head, COARSE, Hardships(), _VOLUMES).volumes)
    # on a grid of their own, as an atlas is
    labels = LabelImage(np.ones((4, 4, 4), np.int16), np.diag([40.0, 40.0, 40.0, 1.0]), ("brain",))
    setup = BoldSetup(BoldLaneSettings(), labels)
    with fresh_compile_cache():
        cold = through_worker(setup, files, _PACE_S)
        progress(0.7)
        warm = through_worker(setup, files, _PACE_S)
    progress(1.0)
    name = "BOLD worker, a process's start to watching"
    first = max(cold.first_against_rest, warm.first_against_rest)
    note = (
        f"first {1e3 * cold.worked[0]:.0f} ms, {1e3 * warm.worked[0]:.0f} ms when compiled before; made the reference"
    )
    return [
        Figure(f"{name}, nothing compiled before", cold.ready_s, "s", peer="NeuXus: 18–27 s"),
        Figure(f"{name}, compiled before", warm.ready_s, "s"),
        Figure(
            "BOLD lane, first volume against the median of the rest", first, "times", _FIRST_AGAINST_REST, note=note
        ),
    ]
