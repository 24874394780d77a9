"""Regions in the run's own space from spheres, an atlas or mask, or a localiser run; what is known of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from streamer.clean.bold.regions import coverage, place_labels, place_spheres
from streamer.errors import UsageError
from streamer.formats.nifti import LabelImage, read_labels
from streamer.formats.region_files import RegionRow
from streamer.messages import F64, Array
from streamer.region_set.affine_fit import inverse
from streamer.region_set.localiser import CLUSTER, Found, LocaliserSettings, clusters
from streamer.region_set.places import Place
from streamer.region_set.target import Target
from streamer.region_set.transforms import Transform, estimate

LOW_TSNR = 20.0
DROPOUT = 0.5
"""Of the brain's median intensity."""
FAR_MM = 4.0
"""A centre that is further from where it was meant to be is noted, mm."""
_OUTSIDE_MM = 10.0
_FINE_MM = 1.0


@dataclass(frozen=True)
class Made:
    """Regions on the EPI's grid."""

    labels: LabelImage
    rows: tuple[RegionRow, ...]
    target: Target
    notes: tuple[str, ...]


@dataclass
class _Drawn:
    """Regions before they are judged; position k holds region k + 1."""

    data: Array
    names: list[str]
    sources: list[str]
    intended: F64
    """Where their centres should be, RAS mm in the EPI's space, shape (n_regions, 3)."""
    coverage: F64
    notes: list[str] = field(default_factory=list[str])


def from_places(places: Sequence[Place], matrix: F64, target: Target, min_coverage: float, *, all_needed: bool) -> Made:
    """Draw spheres.

    Parameters
    ----------
    places : sequence of Place
    matrix : array, shape (4, 4)
        Takes their coordinates to the EPI.
    target : Target
    min_coverage : float
        Share of a sphere that must lie in the field of view.
    all_needed : bool
        A centre outside of the head is an error; else such spheres are left out, and said.

    Raises
    ------
    UsageError
        Centres are outside of the head (all are named), or no region is left.
    """
    centres = np.array([each.centre for each in places]) @ matrix[:3, :3].T + matrix[:3, 3]
    radii = np.array([each.radius_mm for each in places])
    notes: list[str] = []
    inside = _near_brain(centres, target)
    if not inside.all():
        out = [
            f"{places[k].name} ({', '.join(f'{v:g}' for v in places[k].centre)})"
            for k in np.flatnonzero(~inside).tolist()
        ]
        text = f"{len(out)} of {len(places)} centres are outside of the head as the EPI shows it: {_some(out)}"
        if all_needed or not inside.any():
            raise UsageError(f"{text}; expected RAS mm, and the space that they are in (--space)")
        notes.append(f"{text}: left out")
    kept: list[int] = np.flatnonzero(inside).tolist()
    drawn = _Drawn(
        place_spheres(centres[kept], radii[kept], target.shape, target.affine),
        [places[k].name for k in kept],
        [f"{places[k].source}, radius {places[k].radius_mm:g} mm" for k in kept],
        centres[kept],
        np.array([_sphere_coverage(centres[k], float(radii[k]), target) for k in kept]),
        notes,
    )
    return _judged(drawn, target, min_coverage)


def from_labels(image: LabelImage, source: str, matrix: F64, target: Target, min_coverage: float) -> Made:
    """Bring an atlas or a mask to the EPI, nearest neighbour.

    Raises
    ------
    UsageError
        No region is left.
    FormatError
        No region has a voxel in the EPI's grid, or a header is mirrored.
    """
    affine = matrix @ image.affine
    drawn = _Drawn(
        place_labels(image.data, affine, target.shape, target.affine),
        list(image.names),
        [source] * len(image.names),
        np.array([_centre(image.data == k, affine) for k in range(1, len(image.names) + 1)]),
        coverage(image.data, affine, len(image.names), target.shape, target.affine),
    )
    return _judged(drawn, target, min_coverage)


def from_localiser(
    found: Found, areas: LabelImage | None, settings: LocaliserSettings, target: Target, min_coverage: float
) -> tuple[Made, Transform | None]:
    """Turn a localiser's map into regions, and bring them to another EPI where that is not its own.

    Parameters
    ----------
    found : Found
    areas : LabelImage or None
        Where to look, on the localiser's grid.
    settings : LocaliserSettings
    target : Target
        The EPI that regions are for; the localiser's own, or that of another run.
    min_coverage : float

    Returns
    -------
    made : Made
    between : Transform or None
        Localiser to EPI; None for its own.

    Raises
    ------
    UsageError
        Nothing was found; the largest t is told.
    RecordingError
        The two EPI cannot be registered to one another.
    """
    where = (
        {CLUSTER: found.target.brain}
        if areas is None
        else {name: areas.data == k for k, name in enumerate(areas.names, start=1)}
    )
    data, names, notes = clusters(found.t, where, settings)
    image = LabelImage(data, found.target.affine, names)
    between = None
    if found.target is not target:
        between = estimate("localiser-to-epi", target.picture, found.target.picture, rigid=True, symmetric=False)
    matrix = np.eye(4) if between is None else between.matrix
    made = from_labels(image, f"{settings.contrast} in {found.target.name}", matrix, target, min_coverage)
    peaks = [
        f"{name}: {int((data == k).sum())} voxels in the localiser, largest t {float(found.t[data == k].max()):.2f}"
        for k, name in enumerate(names, start=1)
    ]
    return Made(made.labels, made.rows, target, (*found.notes, *notes, *peaks, *made.notes)), between


def read_atlas(path: Path, names: Path | None, wanted: Sequence[str] = ()) -> LabelImage:
    """Read an atlas or a mask.

    Parameters
    ----------
    path : Path
        A label image.
    names : Path or None
        Table of its names (columns index, name); by default the .tsv beside it that is called as it is. A mask of one
        label needs none.
    wanted : sequence of str
        Names of the regions to take; empty takes all.

    Raises
    ------
    UsageError
        Several labels and no names, or a name that is not there.
    FormatError
        Not a label image, or not a table of its names.
    """
    stem = path.name.split(".nii", maxsplit=1)[0]
    if names is None and (beside := path.with_name(f"{stem}.tsv")).is_file():
        names = beside
    image = read_labels(path, names)
    if names is None:
        if len(image.names) > 1:
            raise UsageError(
                f"{path.name}: {len(image.names)} labels without names: give a table (--names, columns index and name)"
            )
        image = LabelImage(image.data, image.affine, (stem,))
    if not wanted:
        return image
    known = {name.casefold(): k for k, name in enumerate(image.names, start=1)}
    if absent := [name for name in wanted if name.casefold() not in known]:
        raise UsageError(f"{path.name}: no region {absent[0]!r}; there are {_some(list(image.names), 40)}")
    data = np.zeros_like(image.data)
    for position, name in enumerate(wanted, start=1):
        data[image.data == known[name.casefold()]] = position
    return LabelImage(data, image.affine, tuple(image.names[known[name.casefold()] - 1] for name in wanted))


def _judged(drawn: _Drawn, target: Target, min_coverage: float) -> Made:
    notes = [*drawn.notes]
    data = np.zeros(target.shape, np.int16)
    rows: list[RegionRow] = []
    level = float(np.median(target.volume[target.brain]))
    for k, name in enumerate(drawn.names):
        mine = drawn.data == k + 1
        share, voxels = float(drawn.coverage[k]), int(mine.sum())
        if share < min_coverage or not voxels:
            why = f"{share:.0%} of it lies in the field of view" if share < min_coverage else "it holds no voxel"
            notes.append(f"{name}: left out, {why}")
            continue
        centre = _centre(mine, target.affine)
        tsnr = target.tsnr[mine]
        row = RegionRow(
            name=name,
            source=drawn.sources[k],
            centre=(float(centre[0]), float(centre[1]), float(centre[2])),
            voxels=voxels,
            coverage=share,
            tsnr=float(np.nanmean(tsnr)) if np.isfinite(tsnr).any() else math.nan,
            intensity=float(target.volume[mine].mean()) / level,
            offset_mm=float(np.linalg.norm(centre - drawn.intended[k])),
        )
        rows.append(row)
        data[mine] = len(rows)
        notes += _warnings(row, float(target.brain[mine].mean()))
    if not rows:
        raise UsageError(f"no region is left: {_some(notes)}")
    image = LabelImage(data, target.affine, tuple(row.name for row in rows))
    return Made(image, tuple(rows), target, tuple(notes))


def _warnings(row: RegionRow, in_brain: float) -> list[str]:
    found: list[str] = []
    if row.coverage < 1.0:
        found.append(f"{row.name}: {row.coverage:.0%} of it lies in the field of view")
    if in_brain < 0.5:
        found.append(f"{row.name}: {in_brain:.0%} of its voxels are brain")
    if row.intensity < DROPOUT:
        found.append(f"{row.name}: signal dropout, {row.intensity:.0%} of the brain's intensity")
    if row.tsnr < LOW_TSNR:
        found.append(f"{row.name}: temporal signal-to-noise ratio {row.tsnr:.0f}")
    if row.offset_mm > FAR_MM:
        found.append(f"{row.name}: its voxels' centre is {row.offset_mm:.1f} mm from where it was meant to be")
    return found


def _near_brain(centres: F64, target: Target) -> Array:
    from scipy.ndimage import distance_transform_edt

    size = np.linalg.norm(target.affine[:3, :3], axis=0)
    distance = np.asarray(distance_transform_edt(~target.brain, sampling=size))
    to_voxels = inverse(target.affine)
    voxels = centres @ to_voxels[:3, :3].T + to_voxels[:3, 3]
    end = np.array(target.shape)
    # beyond the field of view is no reason: how much of a region lies in it is judged later
    beyond = np.linalg.norm((voxels - np.clip(voxels, -0.5, end - 0.5)) * size, axis=1)
    nearest = np.clip(np.rint(voxels).astype(int), 0, end - 1)
    return distance[tuple(nearest.T)] + beyond <= _OUTSIDE_MM


def _sphere_coverage(centre: F64, radius: float, target: Target) -> float:
    step = min(_FINE_MM, radius / 3)
    axis = np.arange(-radius, radius + step / 2, step)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij")).reshape(3, -1)
    points = centre[:, None] + grid[:, np.linalg.norm(grid, axis=0) <= radius]
    to_voxels = inverse(target.affine)
    voxels = to_voxels[:3, :3] @ points + to_voxels[:3, 3:]
    end = np.array(target.shape)[:, None] - 0.5
    return float(np.all((voxels >= -0.5) & (voxels < end), axis=0).mean())


def _centre(mask: Array, affine: F64) -> F64:
    return np.asarray(np.argwhere(mask).mean(axis=0) @ affine[:3, :3].T + affine[:3, 3], np.float64)


def _some(texts: Sequence[str], n: int = 6) -> str:
    return "; ".join(texts[:n]) + (f"; and {len(texts) - n} more" if len(texts) > n else "")
