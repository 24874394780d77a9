"""Maps whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from dashboard.figures.scalp_map import from_disc, map_matrix, on_disc, places
from streamer.formats.montage import electrode_positions
from tests.unit.planted_eeg import NAMES

MANY = [*NAMES, "Fz", "Pz", "T7", "T8", "F7", "F8", "P7", "P8", "FC1", "FC2", "CP1", "CP2", "FCz", "CPz", "POz"]
SIZE = 32


def pixels() -> tuple[np.ndarray, np.ndarray]:
    """Directions of all pixels, and which lie on the disc."""
    side = (np.arange(SIZE) + 0.5) / SIZE * 2 - 1
    x, y = np.meshgrid(side, -side)
    points = np.column_stack([x.ravel(), y.ravel()])
    return from_disc(points), np.hypot(*points.T) <= 1


def test_places_on_the_disc_are_seen_from_above() -> None:
    found = on_disc(electrode_positions(["Cz", "Nz", "Iz", "C3", "C4", "Fpz"]))
    expected = [[0, 0], [0, 1], [0, -1], [-0.4, 0], [0.4, 0], [0, 0.8]]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_the_disc_and_back() -> None:
    directions = electrode_positions([*MANY, "TP9", "FT10"])
    np.testing.assert_allclose(from_disc(on_disc(directions)), directions, atol=1e-12)


def test_unknown_places_are_nan_and_all_others_of_length_one() -> None:
    found = places([None, [0.0, 3.0, 4.0], [1.0, 2.0], [0.0, 0.0, 0.0], [float("nan"), 0.0, 1.0]])
    np.testing.assert_allclose(found[1], [0, 0.6, 0.8])
    assert np.isnan(found[[0, 2, 3, 4]]).all()


def test_what_all_electrodes_share_stays() -> None:
    matrix = map_matrix(electrode_positions(MANY), SIZE)
    assert matrix.shape == (SIZE * SIZE, len(MANY))
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-4)


def test_a_smooth_field_is_found_between_the_electrodes() -> None:
    directions = electrode_positions(MANY)
    there, inside = pixels()

    def field(at: np.ndarray) -> np.ndarray:
        return 3 * at[:, 1] - 2 * at[:, 0] * at[:, 2] + 1

    found = map_matrix(directions, SIZE) @ field(directions)
    error = found - field(there)
    covered = inside & (there[:, 2] > 0.35)
    assert np.abs(error[covered]).max() < 0.12
    assert np.abs(error[inside]).max() < 0.6
    # the front is at the top, the right at the right
    image = (map_matrix(directions, SIZE) @ directions).reshape(SIZE, SIZE, 3)
    assert image[4, SIZE // 2, 1] > 0.5 > -0.5 > image[-5, SIZE // 2, 1]
    assert image[SIZE // 2, -5, 0] > 0.5


def test_an_electrode_shows_at_its_place() -> None:
    directions = electrode_positions(MANY)
    weights = map_matrix(directions, SIZE)[:, MANY.index("C3")].reshape(SIZE, SIZE)
    row, column = np.unravel_index(weights.argmax(), weights.shape)
    x, y = on_disc(directions)[MANY.index("C3")]
    assert (column + 0.5) / SIZE * 2 - 1 == pytest.approx(x, abs=0.1)
    assert 1 - (row + 0.5) / SIZE * 2 == pytest.approx(y, abs=0.1)
    assert weights.max() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("names", [["Fz", "Cz", "Pz", "Oz"], ["Fpz", "Fz", "FCz", "Cz", "CPz", "Pz", "Oz"]])
def test_electrodes_in_a_plane_give_a_map_too(names: list[str]) -> None:
    directions = electrode_positions(names)
    found = map_matrix(directions, SIZE) @ directions[:, 1]
    _there, inside = pixels()
    assert np.isfinite(found).all()
    assert np.abs(found[inside]).max() < 1.5
    image = found.reshape(SIZE, SIZE)
    assert image[6, SIZE // 2] > 0.4 > -0.4 > image[-7, SIZE // 2]


def test_too_few_electrodes_are_refused() -> None:
    with pytest.raises(ValueError, match="a map of 3 electrodes: expected at least 4"):
        map_matrix(electrode_positions(["Fz", "Cz", "Pz"]), SIZE)
