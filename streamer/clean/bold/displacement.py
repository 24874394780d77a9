"""Rigid displacements of the head: matrices, the six motion parameters, and how far it went in between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamer.messages import F64

HEAD_RADIUS_MM = 50.0


@dataclass(frozen=True, slots=True)
class Displacement:
    """Where the head is, against the reference."""

    transform: F64
    """World mm about the reference's middle to the same, shape (4, 4): where a point of the head went."""
    rms: float
    """Root mean square of the residual over the mean intensity; infinite when nothing could be compared."""
    iterations: int
    converged: bool
    """False: ``transform`` is not to be used."""
    scale: float = 1.0
    """Intensity of the volume over the reference's."""
    in_view: float = 1.0
    """Share of the head's points that lie in the volume, 0..1."""

    @property
    def parameters(self) -> F64:
        """See :func:`motion_parameters`."""
        return motion_parameters(self.transform)


def motion_parameters(transform: F64) -> F64:
    """Translations x, y, z in mm, rotations about x, y, z in rad (applied in this order), shape (6,)."""
    m = transform
    angles = (np.arctan2(m[2, 1], m[2, 2]), np.arcsin(np.clip(-m[2, 0], -1.0, 1.0)), np.arctan2(m[1, 0], m[0, 0]))
    return np.array([*m[:3, 3], *angles])


def rigid(translation: F64, rotation: F64) -> F64:
    """Matrix of translations in mm and rotations about x, then y, then z in rad; shape (4, 4)."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(rotation), np.sin(rotation)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_z @ about_y @ about_x
    matrix[:3, 3] = translation
    return matrix


def exponential(twist: F64) -> F64:
    """Rigid motion of a twist: translation velocity in mm and rotation vector in rad, shape (6,), for unit time."""
    angle = float(np.linalg.norm(twist[3:]))
    x, y, z = twist[3:]
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    if angle < 1e-8:
        turn, along = np.eye(3) + skew, np.eye(3) + skew / 2
    else:
        a, b = np.sin(angle) / angle, (1 - np.cos(angle)) / angle**2
        turn = np.eye(3) + a * skew + b * skew @ skew
        along = np.eye(3) + b * skew + (1 - a) / angle**2 * skew @ skew
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, along @ twist[:3]
    return matrix


def framewise_displacement(before: F64, now: F64) -> float:
    """Sum of the absolute changes of six motion parameters, in mm; rotations as arcs of 50 mm radius.

    Power et al. 2012, doi:10.1016/j.neuroimage.2011.10.018.
    """
    change = np.abs(now - before)
    return float(change[:3].sum() + HEAD_RADIUS_MM * change[3:].sum())
