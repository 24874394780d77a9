"""A head as the scanner sees it: brain-shaped, structured enough to be registered, with six regions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from streamer.formats.nifti import LabelImage, write_labels
from streamer.messages import F64, Array
from streamer.simulate.settings import SimulationSettings
from streamer.simulate.subject import REGIONS

# centre of each region in half axes of the brain: x to the right, y to the front, z up
_CENTRES = {
    "occipital_L": (-0.28, -0.70, 0.0),
    "occipital_R": (0.28, -0.70, 0.0),
    "motor_L": (-0.52, -0.08, 0.55),
    "motor_R": (0.52, -0.08, 0.55),
    "thalamus": (0.0, -0.05, 0.0),
    "control": (0.0, 0.65, 0.15),
}


@dataclass(frozen=True)
class Anatomy:
    """One head on the scanner's grid."""

    intensity: F64
    """Mean signal, shape (x, y, z)."""
    labels: Array
    """int16, shape (x, y, z): 0, or i + 1 in region i of ``REGIONS``."""
    affine: F64
    """Voxel index to RAS+ mm, left-handed as scanners store it; the world's origin is the middle of the grid."""


def draw_anatomy(settings: SimulationSettings, rng: np.random.Generator) -> Anatomy:
    """Draw a head.

    Raises
    ------
    ValueError
        The grid is too small to hold the regions.
    """
    affine = _affine(settings)
    grid = np.indices(settings.grid).reshape(3, -1)
    world = (affine[:3, :3] @ grid + affine[:3, 3:]).T
    extent = np.array(settings.grid) * np.array(settings.voxel_mm)
    half = extent * np.array([0.36, 0.44, 0.47])
    place = world / half
    radius = np.linalg.norm(place, axis=1)
    shape = settings.grid
    mask = (radius < 1.0).reshape(shape)
    texture = np.zeros(shape)
    # folds, grey and white matter, and slow shading of the coil, each at its own size
    for size_mm, strength in ((6.0, 0.12), (14.0, 0.12), (40.0, 0.10)):
        noise = gaussian_filter(rng.standard_normal(shape), [size_mm / 2.355 / v for v in settings.voxel_mm])
        texture += strength * noise / noise.std()
    intensity = 900.0 * (1.0 + texture)
    intensity[_ellipsoid(place, (0.13, 0.05, 0.2), (0.07, 0.28, 0.18)).reshape(shape)] *= 1.5
    intensity[_ellipsoid(place, (-0.13, 0.05, 0.2), (0.07, 0.28, 0.18)).reshape(shape)] *= 1.5
    intensity[((radius > 0.9) & (radius < 1.0)).reshape(shape)] *= 0.7
    scalp = ((radius > 1.06) & (radius < 1.14)).reshape(shape)
    head = np.where(mask, np.clip(intensity, 250.0, None), np.where(scalp, 260.0, 15.0))
    # what the scanner's own point spread does to edges
    head = gaussian_filter(head, 0.5)
    return Anatomy(head, _regions(place, radius, settings, rng).reshape(shape), affine)


def _affine(settings: SimulationSettings) -> F64:
    size = np.array(settings.voxel_mm) * np.array([-1.0, 1.0, 1.0])
    affine = np.diag([*size, 1.0])
    affine[:3, 3] = -size * (np.array(settings.grid) - 1) / 2.0
    return affine


def _ellipsoid(place: F64, centre: tuple[float, float, float], half: tuple[float, float, float]) -> Array:
    return np.linalg.norm((place - np.array(centre)) / np.array(half), axis=1) < 1.0


def _regions(place: F64, radius: F64, settings: SimulationSettings, rng: np.random.Generator) -> Array:
    labels = np.zeros(len(place), np.int16)
    free = radius < 0.88
    # about 60 to 150 voxels on the default grid, as regions of interest in feedback studies have
    sizes = np.maximum(4, np.rint(rng.uniform(0.004, 0.007, len(REGIONS)) * np.count_nonzero(radius < 1.0))).astype(int)
    if sizes.sum() > np.count_nonzero(free):
        raise ValueError(f"grid of {settings.grid} voxels is too small for {len(REGIONS)} regions")
    for number, (name, size) in enumerate(zip(REGIONS, sizes, strict=True), start=1):
        centre = np.array(_CENTRES[name]) + 0.02 * rng.standard_normal(3)
        distance = np.where(free, np.linalg.norm(place - centre, axis=1), np.inf)
        chosen = np.argsort(distance, kind="stable")[:size]
        labels[chosen] = number
        free[chosen] = False
    return labels


def write_regions(anatomy: Anatomy, folder: Path) -> None:
    """Write ``regions.nii.gz`` and ``regions.tsv``."""
    image = LabelImage(anatomy.labels, anatomy.affine, REGIONS)
    write_labels(image, folder / "regions.nii.gz", folder / "regions.tsv")
