"""Heads for the tests of region sets: the template as an EPI, under a transform that is known."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

SHAPE = (48, 48, 34)
CENTRES = np.array([(-25, -90, -5), (30, 20, 40), (0, 50, 20), (-45, -20, 50), (40, -60, -20), (0, 0, 0)], float)


def quiet(_):
    """Take the progress."""


def planted(rng):
    """EPI to MNI: a head that lies and is shaped otherwise."""
    a, b, c = rng.normal(0, 0.1, 3)
    turn = (
        np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
        @ np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
        @ np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    )
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ np.diag(np.exp(rng.normal(0, 0.06, 3)))
    matrix[:3, 3] = rng.normal(0, 8, 3)
    return matrix


def epi_affine():
    affine = np.diag([-4.4, 4.4, 4.5, 1.0])
    affine[:3, 3] = (4.4 * 23.5, -4.4 * 23.5 - 12, -65)
    return affine


def seen(template, to_mni, rng, shape=SHAPE, affine=None, lesion=0.0):
    """The template as an EPI: CSF bright, white matter dark, dropout above the nose, noise."""
    affine = epi_affine() if affine is None else affine
    index = np.indices(shape).reshape(3, -1)
    world = affine[:3, :3] @ index + affine[:3, 3:]
    places = to_mni[:3, :3] @ world + to_mni[:3, 3:]
    voxels = np.linalg.inv(template.affine)[:3] @ np.vstack([places, np.ones(places.shape[1])])
    values = map_coordinates(template.data, voxels, order=1)
    brain = map_coordinates(template.mask.astype(np.float32), voxels, order=1)
    epi = np.where(brain > 0.5, 1200 - 700 * values, 0) + 60 * (1 - brain)
    epi *= 1 - 0.7 * np.exp(-(places[0] ** 2 + (places[1] - 40) ** 2) / 400 - (places[2] + 15) ** 2 / 200)
    # what makes one side unlike the other
    epi *= 1 - lesion * np.exp(-((places - np.array([[-40], [-50], [20]])) ** 2).sum(axis=0) / 600)
    epi = gaussian_filter(epi.reshape(shape), 0.6)
    return np.abs(epi + rng.normal(0, 20, shape)).astype(np.float32), affine


def move(matrix, points):
    return points @ matrix[:3, :3].T + matrix[:3, 3]
