from __future__ import annotations

import numpy as np
import pytest

from streamer.clean.bold.lane import BoldLane, BoldLaneSettings
from streamer.errors import FormatError
from streamer.formats.cells import cells_shape, make_cells
from streamer.messages import SessionTime, Volume

AFFINE = np.array([[-3.0, 0, 0, 40], [0, 3, 0, -35], [0, 0, 4, -20], [0, 0, 0, 1]])
GRID = (24, 24, 12)


def head(radius: float = 100.0) -> np.ndarray:
    """A head with a smooth texture; the default fills the box."""
    i, j, k = np.indices(GRID).astype(float)
    distance = np.sqrt((3 * (i - 11.5)) ** 2 + (3 * (j - 11.5)) ** 2 + (4 * (k - 5.5)) ** 2)
    texture = np.sin(i / 3) + np.cos(j / 4) + np.sin(k / 2)
    return np.rint(np.where(distance < radius, 900 + 100 * texture, 10)).astype(np.int16)


def test_means_of_the_lane_over_cells_are_means_of_blocks() -> None:
    cells = make_cells(head(), AFFINE, (6, 8, 4), None)
    lane = BoldLane(BoldLaneSettings(), cells.data, cells.affine, cells.names)
    for index in range(3):
        data = head()
        # the head does not move, but one cell of it gets brighter
        data[4:8, 3:6, 6:9] += 20 * index
        frame = lane(Volume(data, AFFINE, "s1", index, None, 1.0, (), SessionTime(float(index))))
        # the first axis runs from right to left in the file, cells run from left to right
        blocks = data[::-1].reshape(6, 4, 8, 3, 4, 3).mean(axis=(1, 3, 5))
        np.testing.assert_allclose(frame.means.reshape(6, 8, 4), blocks, rtol=0.003)
        assert blocks[4, 1, 2] == pytest.approx(head()[4:8, 3:6, 6:9].mean() + 20 * index)


def test_names_run_through_the_box_with_x_slowest() -> None:
    cells = make_cells(head(), AFFINE, (2, 3, 2), None)
    assert cells.names[:4] == ("cell_0_0_0", "cell_0_0_1", "cell_0_1_0", "cell_0_1_1")
    assert cells_shape(cells.names) == (2, 3, 2)
    # stored from right to left: the last columns lie to the left
    assert (cells.data[12:, :8, :6] == 1).all()
    assert (cells.data[:12, 16:, 6:] == 12).all()


@pytest.mark.parametrize(
    "names",
    [(), ("V1",), ("cell_0_0_0", "cell_0_0_2"), ("cell_0_0_1", "cell_0_0_0"), ("cell_0_0_0", "cell_1_0_0", "x")],
)
def test_regions_that_are_no_whole_box_have_no_shape(names: tuple[str, ...]) -> None:
    assert cells_shape(names) is None


def test_cells_of_a_fixed_size_are_centred_on_the_head_wherever_it_lies() -> None:
    small = head(24.0)
    cells = make_cells(small, AFFINE, (5, 5, 5), 12.0)
    moved = AFFINE.copy()
    moved[:3, 3] += [11.0, -7.0, 5.0]
    np.testing.assert_array_equal(make_cells(small, moved, (5, 5, 5), 12.0).data, cells.data)
    middle = cells.names.index("cell_2_2_2") + 1
    place = AFFINE[:3, :3] @ np.array(np.nonzero(cells.data == middle)) + AFFINE[:3, 3:]
    centre = AFFINE[:3, :3] @ np.array([11.5, 11.5, 5.5]) + AFFINE[:3, 3]
    np.testing.assert_allclose(place.mean(axis=1), centre, atol=2.1)
    assert np.ptp(place, axis=1).max() <= 12.0


def test_cells_without_head_have_a_name_and_no_voxel() -> None:
    cells = make_cells(head(24.0), AFFINE, (6, 6, 6), 12.0)
    empty = [k for k in range(1, len(cells.names) + 1) if not (cells.data == k).any()]
    assert len(cells.names) == 216
    assert cells.names.index("cell_0_0_0") + 1 in empty
    assert 100 < len(empty) < 216
    assert (head(24.0)[cells.data > 0] > 500).mean() > 0.5


def test_what_no_cells_can_be_laid_on_is_refused() -> None:
    with pytest.raises(FormatError, match="three axes and a signal"):
        make_cells(np.zeros(GRID), AFFINE)
    with pytest.raises(FormatError, match="three axes"):
        make_cells(np.ones((4, 4)), AFFINE)
    with pytest.raises(FormatError, match="expected 1 to 32767"):
        make_cells(head(), AFFINE, (64, 64, 64))
    with pytest.raises(FormatError, match="of more than 0 mm"):
        make_cells(head(), AFFINE, (4, 4, 4), 0.0)
