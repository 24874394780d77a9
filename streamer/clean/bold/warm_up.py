"""What is compiled, compiled before the first volume."""

from __future__ import annotations

import numpy as np

from streamer.clean.bold.registration import Registration
from streamer.clean.bold.resample import Resampler
from streamer.clean.bold.smoothing import Smoothing
from streamer.clean.bold.spline import sample, spline_coefficients


def warm_up_space() -> None:
    """Register, resample, smooth and sample a made-up volume.

    Volumes of any type and memory order become float32 with x fastest before a compiled loop sees them: one volume
    stands for all.
    """
    shape = (24, 24, 16)
    affine = np.diag([-7.0, 7.0, 7.0, 1.0])
    middle = (np.array(shape)[:, None, None, None] - 1) / 2
    distance = np.linalg.norm(np.indices(shape) - middle, axis=0)
    coefficients = spline_coefficients(1000.0 / (1.0 + np.exp(distance - 6.0)))
    registration = Registration(
        sample(coefficients, np.indices(shape).reshape(3, -1).astype(float)).reshape(shape), affine
    )
    found = registration(coefficients, affine, np.eye(4))
    there = Resampler(shape, distance < 8.0)(coefficients, registration.matrix(found.transform, affine))
    Smoothing(distance < 7.0, affine, 7.0)(there)
