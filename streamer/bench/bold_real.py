"""The BOLD lane on a real neurofeedback run: 155 volumes of 74×74×36 voxels, two regions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import factorial
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_erosion

from streamer.bench.bold_others import OtherPackages
from streamer.bench.bold_registration import ours
from streamer.bench.bold_truth import root_mean_square
from streamer.bench.bold_worker import ExportFile, Passed, through_worker
from streamer.bench.figures import Figure
from streamer.bold_core import BoldSetup
from streamer.clean.bold.lane import BoldLaneSettings
from streamer.errors import RecordingError
from streamer.formats.dicom import read_dicom
from streamer.formats.nifti import LabelImage, read_labels
from streamer.messages import F64, Array

RUN = "fmri/siemens-mosaic-neurofeedback"
"""Below the folder of real recordings."""
_MASKS = {"left": "ROIs_D1/lROI_1.nii", "right": "ROIs_D1/rROI_2.nii"}
_SKIPPED = 5
"""Volumes before the protocol begins."""
_BLOCKS = ((11, 20), (31, 40), (51, 60), (71, 80), (91, 100), (111, 120), (131, 140))
"""First and last volume of regulation, counted from 1 after the skipped ones."""
_TR_S = 1.97
_PACE_S = 0.15
_BRAIN_LEVEL = 0.25


@dataclass(frozen=True)
class RealRun:
    """The run's files and its regions."""

    files: tuple[ExportFile, ...]
    labels: LabelImage

    def volumes(self) -> tuple[Array, F64]:
        """All volumes, shape (n, x, y, z), and the affine, voxel index to mm about the grid's middle."""
        read = [read_dicom(file.content, file.name) for file in self.files]
        affine = read[0].affine.copy()
        middle = (np.array(read[0].data.shape) - 1) / 2
        affine[:3, 3] = -affine[:3, :3] @ middle
        return np.stack([volume.data for volume in read]), affine


def read_run(folder: Path, n: int | None = None) -> RealRun:
    """Read the run's first ``n`` volumes, or all of them.

    Raises
    ------
    RecordingError
        The files are not there.
    """
    paths = sorted((folder / RUN / "dicom").glob("*.dcm"))[:n]
    if not paths:
        raise RecordingError(
            f"{folder / RUN}: no DICOM files; expected the folder of real recordings, with {RUN} in it"
        )
    masks = [read_labels(folder / RUN / name) for name in _MASKS.values()]
    image = np.zeros_like(masks[0].data)
    for label, mask in enumerate(masks, start=1):
        image[mask.data > 0] = label
    labels = LabelImage(image, masks[0].affine, tuple(_MASKS))
    return RealRun(tuple(ExportFile(path.name, path.read_bytes()) for path in paths), labels)


def bench_real_run(
    folder: Path, progress: Callable[[float], None], others: OtherPackages | None, *, quick: bool = False
) -> list[Figure]:
    """Measure on the real run below ``folder``.

    Parameters
    ----------
    folder : Path
    progress : callable
        Takes the fraction done.
    others : OtherPackages or None
        Register the same volumes.
    quick : bool
        Only 40 volumes, which are too few for the protocol.
    """
    run = read_run(folder, 40 if quick else None)
    passed = through_worker(BoldSetup(BoldLaneSettings(), run.labels), run.files, _PACE_S)
    progress(0.4)
    figures = _worker_rows(run, passed)
    if not quick:
        figures += regulation(passed)
    figures += _against_others(run, others)
    progress(1.0)
    return figures


def _worker_rows(run: RealRun, passed: Passed) -> list[Figure]:
    p50, p95 = (float(value) for value in np.quantile(passed.latency_ms, (0.5, 0.95)))
    lane = 1e3 * float(np.median(passed.worked[1:]))
    name = "real 74×74×36 run, complete file to regions known"
    note = f"watching, reading, cleaning, handing over; the lane alone {lane:.1f} ms; {len(run.files) - 1} volumes"
    return [
        Figure(f"{name}, median", p50, "ms", note=note),
        Figure(f"{name}, p95", p95, "ms", 50.0, peer="pyOpenNFT ~250 ms"),
        Figure("real run, volumes without a frame", float(len(run.files) - len(passed.frames)), "", 0.0),
    ]


def regulation(passed: Passed) -> list[Figure]:
    """Student's t of the regulation blocks in the regions' means, as the protocol has them.

    The blocks are convolved with a double gamma response; constant, line and parabola are fitted along.
    """
    means = np.array([frame.means for frame in passed.frames[_SKIPPED:]], np.float64)
    n = len(means)
    blocks = np.zeros(n)
    for first, last in _BLOCKS:
        blocks[first - 1 : last] = 1.0
    t = np.arange(0.0, 32.0, _TR_S)
    response = np.exp(-t) * (t**5 / factorial(5) - t**15 / (6 * factorial(15)))
    line = np.linspace(-1.0, 1.0, n)
    design = np.column_stack([np.convolve(blocks, response)[:n], np.ones(n), line, line**2])
    found, rss = np.linalg.lstsq(design, means, rcond=None)[:2]
    spread = np.linalg.inv(design.T @ design)[0, 0]
    values = found[0] / np.sqrt(spread * rss / (n - design.shape[1]))
    note = f"{n - design.shape[1]} degrees of freedom, as if white; uncorrected {{}}"
    return [
        Figure(f"real run, {name} region: t of regulation against baseline", float(value), "", note=note.format(plain))
        for name, value, plain in zip(_MASKS, values, (13.73, 5.58), strict=True)
    ]


def _against_others(run: RealRun, others: OtherPackages | None) -> list[Figure]:
    volumes, affine = run.volumes()
    mine = ours(volumes, affine, resampled=True)
    mean = volumes[_SKIPPED:].mean(axis=0)
    mask = mean > _BRAIN_LEVEL * mean.max()
    brain = affine @ np.vstack([*np.nonzero(mask), np.ones(int(mask.sum()))])
    eroded = np.asarray(binary_erosion(mask, iterations=2))
    moved = root_mean_square(mine.poses[1:] - np.eye(4), brain)
    assert mine.resampled is not None
    raw, corrected = _tsnr(volumes, eroded), _tsnr(mine.resampled, eroded)
    note = f"uncorrected {raw:.1f}; median over {int(eroded.sum())} voxels, volumes from the sixth on"
    cost = float(np.median(mine.ms[1:]))
    figures = [
        Figure(
            "real run, registration and resampling, median",
            cost,
            "ms",
            peer="AFNI 30, rtspm 181 ms",
            note=f"processor time {mine.cpu_ms:.1f} ms",
        ),
        Figure("real run, displacement, median", float(np.median(moved)), "mm", peer="others 0.168 mm"),
    ]
    if others is None:
        note_bar: float | None = None
        peer = "rtspm 81.1, AFNI 81.9"
    else:
        (spm,) = others.estimate(volumes, affine, ("rtspm",), resampled=True)
        assert spm.resampled is not None
        apart = root_mean_square(np.linalg.inv(spm.poses[1:]) @ mine.poses[1:] - np.eye(4), brain)
        note_bar = float(f"{_tsnr(spm.resampled, eroded):.4g}")
        peer = f"{spm.name} {note_bar:g}"
        figures += [
            Figure("real run, distance from SPM, median", float(np.median(apart)), "mm", 0.03, peer="AFNI-SPM 0.024"),
            Figure("real run, distance from SPM, largest", float(apart.max()), "mm", peer="AFNI-SPM 0.044"),
        ]
    return [*figures, Figure("real run, tSNR in the eroded brain", corrected, "", note_bar, "more", peer, note)]


def _tsnr(volumes: Array, mask: Array) -> float:
    values = volumes[_SKIPPED:, mask].astype(np.float64)
    return float(np.median(values.mean(axis=0) / values.std(axis=0, ddof=1)))
