"""Splines over a beat's phase."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.clean.eeg.heart.pulse_basis import BEFORE, FRACTIONS, Basis


@pytest.mark.parametrize("spacing", [5.0, 9.0, 11.3])
def test_a_cubic_is_met_exactly_at_every_fraction(spacing):
    basis = Basis(300, spacing)
    inside = slice(0, 300 + BEFORE - int(4 * spacing))

    def cubic(phase):
        return 1.0 + 0.02 * phase - 1e-4 * phase**2 + 3e-7 * phase**3

    def phases(fraction):
        return (np.arange(-BEFORE, 300) + fraction / FRACTIONS)[inside]

    coefficients = np.linalg.lstsq(basis.matrix(0)[inside], cubic(phases(0)), rcond=None)[0]
    for fraction in range(FRACTIONS + 1):
        values = basis.matrix(fraction)[inside] @ coefficients
        # the last of them is not held by any sample at fraction 0
        np.testing.assert_allclose(values[:-1], cubic(phases(fraction))[:-1], atol=1e-8)


def test_all_come_down_to_nothing_and_rise_from_nothing():
    for rising in (False, True):
        basis = Basis(300, 9.0, rising=rising)
        matrix = basis.matrix(FRACTIONS)
        assert np.abs(matrix[-1]).max() < 0.02
        np.testing.assert_allclose(matrix[60:200].sum(axis=1), 1.0)
        assert (np.abs(matrix[0]).sum() < 0.02) == rising


def test_slopes_are_differences():
    basis = Basis(300, 11.0)
    step = 1.0 / FRACTIONS
    difference = (basis.matrix(3) - basis.matrix(1)) / (2 * step)
    np.testing.assert_allclose(basis.matrix(2, basis.slope), difference, atol=2e-3)


def test_samples_before_and_after_the_first_meet_the_same_course():
    basis = Basis(300, 9.0)
    np.testing.assert_allclose(basis.matrix(FRACTIONS)[:-1], basis.matrix(0)[1:], atol=1e-12)
