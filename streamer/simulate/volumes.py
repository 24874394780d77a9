"""The volumes of a run as DICOM files: what the scanner would have exported.

A volume depends on nothing but its number and what the whole run shares, so several processes make them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import affine_transform, spline_filter

from streamer.formats.dicom import write_mosaic
from streamer.messages import F64, Array, ScannerTime
from streamer.simulate.anatomy import Anatomy

SERIES_NUMBER = 3
_FIRST_ONSET_S = 10 * 3600.0
# starting processes costs about as much as making so many volumes
_WORTH_PROCESSES = 150
_BATCH = 12


@dataclass(frozen=True)
class VolumeRun:
    """All that the volumes of a run are made from."""

    folder: Path
    anatomy: Anatomy
    signals: F64
    """Regions and the whole brain at each slice of each volume, %, shape (n_volumes, n_slices, n_regions + 1)."""
    spikes: F64
    """What the scanner adds to whole slices, %, shape (n_volumes, n_slices)."""
    motion: F64
    """Head in the middle of each volume, mm and rad, shape (n_volumes, 6)."""
    noise_sd: float
    """Of one voxel, in units of the intensity."""
    tr_s: float
    slice_times: tuple[float, ...]
    series: Array
    """Number of each volume's series from 0, shape (n_volumes,)."""
    index: Array
    """Acquisition number within the series, -1 where there is no file, shape (n_volumes,)."""
    copies: Array
    """Whether a file is exported twice, shape (n_volumes,)."""
    scanner_s: F64
    """Onset on the scanner's clock, s after the first volume, shape (n_volumes,)."""
    series_uid: str
    seed: tuple[int, ...]

    @property
    def n_volumes(self) -> int:
        """Number of volumes."""
        return len(self.motion)


def rigid_matrix(motion: F64) -> F64:
    """Matrix of a movement about the world's origin, shape (4, 4): rotation about x, then y, then z, then the shift.

    Parameters
    ----------
    motion : array, shape (6,)
        mm and rad.
    """
    (cx, cy, cz), (sx, sy, sz) = np.cos(motion[3:]), np.sin(motion[3:])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_z @ about_y @ about_x
    matrix[:3, 3] = motion[:3]
    return matrix


def volume_data(run: VolumeRun, k: int) -> Array:
    """Make volume ``k``, uint16, shape (x, y, z)."""
    anatomy = run.anatomy
    percent = run.signals[k]
    # label 0 is the rest of the head, which follows the whole brain's signal
    table = np.concatenate([percent[:, -1:], percent[:, :-1]], axis=1)
    slices = np.arange(anatomy.labels.shape[2])
    image = anatomy.intensity * (1.0 + 0.01 * table[slices, anatomy.labels])
    if np.any(run.motion[k]):
        # a voxel shows what lay where the head's movement brought it from
        back = np.linalg.inv(anatomy.affine) @ np.linalg.inv(rigid_matrix(run.motion[k])) @ anatomy.affine
        coefficients = spline_filter(image, order=3, mode="nearest")
        image = affine_transform(coefficients, back, order=3, mode="nearest", prefilter=False)
    image *= 1.0 + 0.01 * run.spikes[k]
    rng = np.random.default_rng((*run.seed, k))
    image += run.noise_sd * rng.standard_normal(image.shape)
    return np.clip(np.rint(np.abs(image)), 0, 4095).astype(np.uint16)


def write_volumes(run: VolumeRun, numbers: range) -> int:
    """Write the files of these volumes; gives how many volumes there were."""
    for k in numbers:
        if run.index[k] < 0:
            continue
        series, instance = SERIES_NUMBER + int(run.series[k]), int(run.index[k]) + 1
        raw = write_mosaic(
            volume_data(run, k),
            run.anatomy.affine,
            tr=run.tr_s,
            slice_times=run.slice_times,
            instance=instance,
            series_number=series,
            series_uid=f"{run.series_uid}.{series}",
            onset=ScannerTime(_FIRST_ONSET_S + float(run.scanner_s[k])),
        )
        name = f"001_{series:06d}_{instance:06d}"
        (run.folder / f"{name}.dcm").write_bytes(raw)
        if run.copies[k]:
            (run.folder / f"{name}_1.dcm").write_bytes(raw)
    return len(numbers)


Submit = Callable[[VolumeRun], None]


@contextmanager
def volume_writer(n_volumes: int, workers: int, done: Callable[[int], None]) -> Generator[Submit]:
    """Give a function that has a run's volumes written; at the end of the block they all are.

    Parameters
    ----------
    n_volumes : int
        Of all runs together: few are written here, many by ``workers`` processes while other work goes on.
    workers : int
        0 and 1: none.
    done : callable
        Takes the number of volumes just written.
    """
    if workers < 2 or n_volumes < _WORTH_PROCESSES:

        def here(run: VolumeRun) -> None:
            for first in range(0, run.n_volumes, _BATCH):
                done(write_volumes(run, range(first, min(first + _BATCH, run.n_volumes))))

        yield here
        return
    with get_context("spawn").Pool(workers) as pool:
        pending: list[Any] = []

        def there(run: VolumeRun) -> None:
            batches = [range(k, min(k + _BATCH, run.n_volumes)) for k in range(0, run.n_volumes, _BATCH)]
            pending.append(pool.imap_unordered(partial(write_volumes, run), batches))

        yield there
        for results in pending:
            for count in results:
                done(count)
        pool.close()
        pool.join()
