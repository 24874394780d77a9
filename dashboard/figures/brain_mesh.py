"""Surfaces: of a head from its mean image, and of what a map shows inside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from streamer.messages import F32, F64, Array

MOST_FACES = 12_000
"""Of a head; software draws as many in a few milliseconds."""
FINEST_MM = 3.0
BLUR_MM = 5.0
"""Of the head before its surface is found: noise and sulci go."""
BELOW_MM = 8.0
"""On the surface itself a map is at its threshold: the colours show what lies below."""
_CORNERS = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
_EDGES = [(a, b) for a in range(8) for b in range(a + 1, 8) if np.abs(_CORNERS[a] - _CORNERS[b]).sum() == 1]


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """Triangles."""

    vertices: F32
    """RAS+ mm, shape (n, 3)."""
    faces: NDArray[np.int32]
    """Three vertices each, counter-clockwise from outside, shape (m, 3)."""
    normals: F32
    """Unit length, outwards, by vertex, shape (n, 3)."""

    @classmethod
    def of(cls, vertices: Array, faces: Array) -> Mesh:
        """Find the normals: those of the faces around a vertex, weighted by their area."""
        vertices = np.ascontiguousarray(vertices, np.float32)
        faces = np.ascontiguousarray(faces, np.int32)
        a, b, c = (vertices[faces[:, i]] for i in range(3))
        across = np.cross(b - a, c - a)
        normals = np.stack(
            [
                np.bincount(faces.ravel(), np.repeat(across[:, i], 3).astype(np.float64), len(vertices))
                for i in range(3)
            ],
            axis=1,
        )
        lengths = np.linalg.norm(normals, axis=1, keepdims=True)
        return cls(vertices, faces, (normals / np.maximum(lengths, 1e-12)).astype(np.float32))

    @property
    def empty(self) -> bool:
        """Whether there is nothing."""
        return not len(self.faces)


def joined(meshes: list[Mesh]) -> Mesh:
    """Put meshes together as one."""
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.faces + np.int32(start) for mesh, start in zip(meshes, starts, strict=True)]),
        np.concatenate([mesh.normals for mesh in meshes]),
    )


def surface(field: Array, affine: F64, level: float) -> Mesh:
    """Find the surface on which a field crosses a level; what is above lies inside.

    Surface nets: one vertex in every cell of eight neighbouring points that the surface passes through, in the middle
    of where it crosses the cell's edges, and one quadrangle around every edge that it crosses (Gibson 1998,
    doi:10.1007/BFb0056277). Rounder than marching cubes, with half as many faces.

    Parameters
    ----------
    field : array, shape (x, y, z)
        Finite; the outermost points must lie below ``level``, or the surface stays open there.
    affine : array, shape (4, 4)
        Index to mm.
    level : float
    """
    inside = field > level
    shape = tuple(n - 1 for n in field.shape)
    if min(shape) < 1:
        return Mesh.of(np.empty((0, 3)), np.empty((0, 3)))
    count = np.zeros(shape, np.int8)
    for i, j, k in _CORNERS:
        count += inside[i : i + shape[0], j : j + shape[1], k : k + shape[2]]
    cells = np.argwhere((count > 0) & (count < 8))
    values = np.stack([field[tuple((cells + corner).T)] for corner in _CORNERS], axis=1).astype(np.float64)
    total, crossings = np.zeros((len(cells), 3)), np.zeros(len(cells))
    for a, b in _EDGES:
        crossed = (values[:, a] > level) != (values[:, b] > level)
        rise = np.where(crossed, values[:, b] - values[:, a], 1.0)
        share = np.where(crossed, (level - values[:, a]) / rise, 0.0)[:, None]
        total += crossed[:, None] * (_CORNERS[a] + share * (_CORNERS[b] - _CORNERS[a]))
        crossings += crossed
    points = cells + total / np.maximum(crossings, 1)[:, None]
    number = np.full(shape, -1, np.int32)
    number[tuple(cells.T)] = np.arange(len(cells), dtype=np.int32)
    mirrored = float(np.linalg.det(affine[:3, :3])) < 0
    faces = np.concatenate([_faces(inside, number, axis, mirrored=mirrored) for axis in range(3)])
    return Mesh.of(points @ affine[:3, :3].T + affine[:3, 3], faces)


def _faces(inside: Array, number: Array, axis: int, *, mirrored: bool) -> Array:
    # every crossed edge along the axis has a cell on each of its four sides
    turned = np.moveaxis(inside, (axis, (axis + 1) % 3, (axis + 2) % 3), (0, 1, 2))
    cells = np.moveaxis(number, (axis, (axis + 1) % 3, (axis + 2) % 3), (0, 1, 2))
    low, high = turned[:-1, 1:-1, 1:-1], turned[1:, 1:-1, 1:-1]
    x, y, z = np.nonzero(low != high)
    quad = np.stack([cells[x, y, z], cells[x, y + 1, z], cells[x, y + 1, z + 1], cells[x, y, z + 1]], axis=1)
    # counter-clockwise seen from the far side, which is outside where the near point is inside
    back = low[x, y, z] == mirrored
    quad[back] = quad[back, ::-1]
    return np.concatenate([quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]])


def head_level(values: Array) -> float:
    """Find the brightness between air and head that parts them best (Otsu 1979, doi:10.1109/TSMC.1979.4310076)."""
    known = values[np.isfinite(values)]
    if not known.size or not known.max() > known.min():
        return float("inf")
    counts, edges = np.histogram(known, 128)
    middle = (edges[:-1] + edges[1:]) / 2
    below = counts.cumsum()[:-1]
    above = counts.sum() - below
    sums = (counts * middle).cumsum()
    apart = sums[:-1] / np.maximum(below, 1) - (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    return float(edges[1:-1][np.argmax(below * above * apart**2)])


def head_surface(values: Array, affine: F64, most_faces: int = MOST_FACES) -> Mesh:
    """Find the surface of a head.

    Parameters
    ----------
    values : array, shape (x, y, z)
        Mean image, NaN where unknown.
    affine : array, shape (4, 4)
        Voxel index to RAS+ mm.
    most_faces : int

    Returns
    -------
    mesh : Mesh
        Of the largest bright thing, without holes; empty where nothing stands out.
    """
    filled = np.where(np.isfinite(values), values, 0.0).astype(np.float32)
    level = head_level(filled)
    step = FINEST_MM
    mesh = _head(filled, affine, level, step)
    while len(mesh.faces) > most_faces:
        step *= 1.03 * np.sqrt(len(mesh.faces) / most_faces)
        mesh = _head(filled, affine, level, step)
    return mesh


def _head(values: F32, affine: F64, level: float, step: float) -> Mesh:
    corners = np.array(np.meshgrid(*((-0.5, n - 0.5) for n in values.shape))).reshape(3, -1)
    placed = affine[:3, :3] @ corners + affine[:3, 3:]
    # air all around, so that a head that is cut off by the field of view has a closed surface
    first = placed.min(axis=1) - 3 * BLUR_MM
    n = np.ceil((placed.max(axis=1) + 3 * BLUR_MM - first) / step).astype(int) + 1
    lattice = np.diag([step, step, step, 1.0])
    lattice[:3, 3] = first
    to_voxels = np.linalg.inv(affine) @ lattice
    offset: Any = to_voxels[:3, 3]
    field = ndimage.affine_transform(values, to_voxels[:3, :3], offset, tuple(n.tolist()), order=1)
    sigma = BLUR_MM / 2.355 / step
    labelled: Any = ndimage.label(ndimage.gaussian_filter(field, sigma) > level)
    labels, found = labelled
    if not found:
        return Mesh.of(np.empty((0, 3)), np.empty((0, 3)))
    largest = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    solid = np.asarray(ndimage.binary_fill_holes(largest), np.float32)
    return surface(ndimage.gaussian_filter(solid, 1.5 * sigma), lattice, 0.5)


@dataclass(frozen=True, slots=True, eq=False)
class Blobs:
    """What a map shows."""

    mesh: Mesh
    strongest: F32
    """The value farthest from 0 within :data:`BELOW_MM` below each vertex, shape (n_vertices,)."""
    coarse: int
    """Voxels along each axis that were averaged into one."""


def blobs(values: Array, affine: F64, threshold: float, most_faces: int = 40_000) -> Blobs:
    """Find the surfaces of what a map shows, each sign by itself.

    Parameters
    ----------
    values : array, shape (x, y, z)
        NaN where unknown.
    affine : array, shape (4, 4)
        Voxel index to RAS+ mm.
    threshold : float
        Above 0; values that are nearer to 0 are not shown.
    most_faces : int
        Where there would be more, two voxels along each axis are averaged into one until they fit.
    """
    known, coarse = np.where(np.isfinite(values), values, np.float32(0.0)), 1
    while True:
        padded = np.pad(known, 1)
        moved = affine.copy()
        moved[:3, 3] -= affine[:3, :3].sum(axis=1)
        signed = [surface(padded * sign, moved, threshold) for sign in (1, -1)]
        if sum(len(mesh.faces) for mesh in signed) <= most_faces:
            break
        known, affine, coarse = _halved(known), affine @ _HALVING, 2 * coarse
    below = [sign * _strongest_below(mesh, padded * sign, moved) for sign, mesh in zip((1, -1), signed, strict=True)]
    return Blobs(joined(signed), np.concatenate(below).astype(np.float32), coarse)


_HALVING = np.array([[2, 0, 0, 0.5], [0, 2, 0, 0.5], [0, 0, 2, 0.5], [0, 0, 0, 1]])
"""Index among averaged voxels to index among voxels."""


def _halved(values: Array) -> Array:
    even = np.pad(values, [(0, n % 2) for n in values.shape])
    x, y, z = (n // 2 for n in even.shape)
    return even.reshape(x, 2, y, 2, z, 2).mean(axis=(1, 3, 5))


def _strongest_below(mesh: Mesh, values: Array, affine: F64, step_mm: float = 2.0) -> Array:
    inverse = np.linalg.inv(affine)
    strongest = np.zeros(len(mesh.vertices))
    for depth in np.arange(0.0, BELOW_MM + step_mm / 2, step_mm):
        at = (mesh.vertices - depth * mesh.normals) @ inverse[:3, :3].T + inverse[:3, 3]
        index = np.rint(at).astype(int).clip(0, np.array(values.shape) - 1)
        np.maximum(strongest, values[tuple(index.T)], out=strongest)
    return strongest


def fitted(mesh: Mesh, to: Mesh) -> Mesh:
    """Move and stretch a mesh along the axes until its box is that of another."""
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    to_low, to_high = to.vertices.min(axis=0), to.vertices.max(axis=0)
    share = (mesh.vertices - low) / np.maximum(high - low, 1e-6)
    return Mesh.of(to_low + share * (to_high - to_low), mesh.faces)


def template_surface() -> Mesh:
    """Give the cortex of the MNI template (fsaverage5), as nilearn ships it; takes seconds."""
    from nilearn.datasets import load_fsaverage

    parts = load_fsaverage("fsaverage5")["pial"].parts
    return joined([Mesh.of(part.coordinates, part.faces) for part in parts.values()])
