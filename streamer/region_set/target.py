"""The images that regions are brought to and from: the run's own EPI, a T1 image, the MNI template."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streamer.acquire.recorded_bold import BoldPart
from streamer.acquire.recordings import open_recording
from streamer.errors import FormatError, RecordingError
from streamer.formats.nifti import read_nifti
from streamer.messages import F32, F64, Array
from streamer.region_set.affine_fit import Picture

HEAD_HEIGHT_MM = 150.0
"""From the vertex down to below the brain: a T1 image shows the neck as well, mm."""
TSNR_VOLUMES = 60
_UNSTEADY = 10
"""So many volumes at most come before the magnetisation is steady."""
_STEADY = 0.01
"""Within this share of the mean that follows, a volume is steady."""
_LEAST_FOR_TSNR = 10


@dataclass(frozen=True)
class Target:
    """The EPI whose space regions are made in."""

    name: str
    volume: F32
    """Shape (x, y, z)."""
    affine: F64
    """Voxel index to RAS+ mm, shape (4, 4)."""
    brain: Array
    """bool, shape (x, y, z)."""
    tsnr: F32
    """Mean over the standard deviation in time without its linear trend, shape (x, y, z); NaN with too few volumes."""
    first_steady: int
    """Place of ``volume`` among the volumes."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(x, y, z)."""
        a, b, c = self.volume.shape
        return a, b, c

    @property
    def picture(self) -> Picture:
        """What is registered."""
        return Picture(self.volume, self.affine, self.brain)


def read_target(path: Path, progress: Callable[[float], None] | None = None) -> Target:
    """Read the EPI: the first steady volume of a recording, or the one volume of an image (an SBRef).

    Parameters
    ----------
    path : Path
        What :func:`open_recording` takes, or a NIfTI image of one volume.
    progress : callable, optional
        Takes the fraction done.

    Raises
    ------
    RecordingError
        It cannot be read, or has no volumes.
    """
    if path.name.lower().endswith((".nii", ".nii.gz")) and path.is_file():
        series = read_nifti(path, tr=math.nan)
        if len(series) == 1:
            return single_target(path.name, series[0].data, series.affine)
    bold = open_recording(path).bold
    if bold is None or not bold.n_volumes:
        raise RecordingError(f"{path}: no fMRI volumes in it, expected the EPI that regions are for")
    return bold_target(path.name, bold, progress)


def single_target(name: str, data: Array, affine: F64) -> Target:
    """Take one volume."""
    volume = data.astype(np.float32)
    return Target(name, volume, affine, epi_brain(volume, affine), np.full_like(volume, np.nan), 0)


def bold_target(name: str, bold: BoldPart, progress: Callable[[float], None] | None = None) -> Target:
    """Take the first steady volume of a recording; the signal-to-noise ratio is that of up to 60 volumes from it on."""
    first = first_steady(bold)
    reference = bold.volume(first)
    n = min(bold.n_volumes - first, TSNR_VOLUMES)
    time = np.arange(n) - (n - 1) / 2
    total, squares, trend = (np.zeros(reference.data.shape) for _ in range(3))
    for k in range(n):
        data = bold.volume(first + k).data.astype(np.float64)
        if data.shape != total.shape:
            raise FormatError(f"{name}: volume {first + k} is of {data.shape}, the first of {total.shape}")
        total += data
        squares += data * data
        trend += time[k] * data
        if progress is not None:
            progress((k + 1) / n)
    volume = reference.data.astype(np.float32)
    tsnr = np.full(volume.shape, np.nan, np.float32)
    if n >= _LEAST_FOR_TSNR:
        rest = squares - total**2 / n - trend**2 / (time**2).sum()
        with np.errstate(divide="ignore", invalid="ignore"):
            tsnr = (total / n / np.sqrt(np.maximum(rest, 0.0) / (n - 2))).astype(np.float32)
        tsnr[~np.isfinite(tsnr)] = np.nan
    return Target(name, volume, reference.affine, epi_brain(volume, reference.affine), tsnr, first)


def first_steady(bold: BoldPart) -> int:
    """Place of the first volume after the first ones' brightness is gone; at most 10 are passed over."""
    means = np.array([float(bold.volume(k).data.mean()) for k in range(min(bold.n_volumes, 2 * _UNSTEADY))])
    if len(means) < 3:
        return 0
    level = float(np.median(means[len(means) // 2 :]))
    steady = np.flatnonzero(np.abs(means / level - 1.0) <= _STEADY) if level > 0 else np.array([0])
    return int(min(steady[0], _UNSTEADY)) if len(steady) else 0


def epi_brain(volume: F32, affine: F64) -> Array:
    """Voxels of the brain, bool, shape (x, y, z).

    Raises
    ------
    FormatError
        There is none.
    """
    # nilearn takes 1.5 s to import
    import warnings

    import nibabel as nib
    from nilearn.masking import compute_epi_mask

    if not np.isfinite(volume).all() or volume.max() <= volume.min():
        raise FormatError("the EPI has no signal, or values that are not finite")
    with warnings.catch_warnings():
        # it says of an empty mask what is said below
        warnings.simplefilter("ignore")
        found = compute_epi_mask(nib.Nifti1Image(volume, affine), opening=1)
    brain = np.asarray(found.dataobj) > 0
    if not brain.any():
        raise FormatError("no brain is found in the EPI: expected a volume of a head")
    return brain


def read_t1(path: Path) -> Picture:
    """Read a T1 image; its mask is the head from the vertex down to below the brain.

    Raises
    ------
    FormatError
        It cannot be read, or shows nothing.
    """
    from scipy.ndimage import binary_closing, label

    series = read_nifti(path, tr=math.nan)
    if len(series) > 1:
        raise FormatError(f"{path.name}: {len(series)} volumes, expected one T1 image")
    data = np.nan_to_num(series[0].data.astype(np.float32))
    bright = data > 0.15 * float(np.percentile(data, 99.0))
    found: Any = label(bright)
    pieces = np.asarray(found[0])
    if not pieces.any():
        raise FormatError(f"{path.name}: nothing in it, expected a T1 image of a head")
    head = pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
    head = np.asarray(binary_closing(head, iterations=2)) | head
    index = np.argwhere(head)
    heights = index @ series.affine[2, :3] + series.affine[2, 3]
    low = index[heights < heights.max() - HEAD_HEIGHT_MM]
    head[tuple(low.T)] = False
    return Picture(data, series.affine, head)


def mni_template() -> Picture:
    """Give the MNI152 template that nilearn carries: T1, 2 mm, without the skull, its own mirror image."""
    from nilearn import datasets

    image = datasets.load_mni152_template(resolution=2)
    mask = datasets.load_mni152_brain_mask(resolution=2)
    return Picture(
        np.asarray(image.dataobj, np.float32), np.asarray(image.affine, np.float64), np.asarray(mask.dataobj) > 0
    )
