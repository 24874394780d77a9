"""Place, planes and colours of volumes."""

from __future__ import annotations

import numpy as np
import pytest

from dashboard.figures.place import DEFAULTS, OTHER, STEPS, Place, Scale
from dashboard.figures.planes import (
    AXES,
    grey_table,
    grid_of,
    head_centre,
    heat_table,
    nearest_region,
    projection,
    shadow,
    white_step,
)
from streamer.wire import VolumeMessage
from streamer.wire.volume_bytes import UNKNOWN, VolumeImage
from tests.unit.looked_at_heads import ACTIVE, CENTRE, LAS, SHAPE, head, oblique, places

COLOURS = np.stack([np.arange(256)] * 3, axis=1).astype(np.uint8)


def numbered(affine, shape=(5, 6, 7)) -> VolumeMessage:
    """Every voxel has a byte of its own, up to 127."""
    steps = (np.arange(np.prod(shape)) % 128).astype(np.int8).reshape(shape)
    return VolumeMessage(0, "1", 0.0, np.asarray(affine, float), {"mean": VolumeImage("", 1 / 127, steps)})


def turns():
    """All 48 ways in which voxel axes can run along the head's."""
    for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
        for signs in np.ndindex(2, 2, 2):
            affine = np.eye(4)
            affine[:3, :3] = 0
            for voxel_axis, axis in enumerate(order):
                affine[axis, voxel_axis] = (2.0, 3.0, 4.0)[voxel_axis] * (1 - 2 * signs[voxel_axis])
            affine[:3, 3] = (11.0, -7.0, 5.0)
            yield affine


def test_aligned_volumes_are_turned_and_not_resampled():
    for affine in turns():
        message = numbered(affine)
        grid = grid_of(message)
        assert grid is not None
        assert not grid.oblique
        steps = message.images["mean"].steps
        assert sorted(grid.index.ravel()) == list(range(steps.size))
        mm = places(steps.shape, affine)
        for voxel in ((0, 0, 0), (4, 2, 6), (1, 5, 3)):
            x, y, z = grid.point(tuple(mm[voxel]))
            assert grid.voxel(tuple(mm[voxel])) == voxel
            assert grid.centre((x, y, z)) == pytest.approx(tuple(mm[voxel]))
            # rows from the top, columns from the left
            axial, coronal, sagittal = (grid.plane(steps, axis, at) for axis, at in ((2, z), (1, y), (0, x)))
            assert axial[-1 - y, x] == coronal[-1 - z, x] == sagittal[-1 - z, y] == steps[voxel]


def test_an_oblique_volume_shows_the_voxel_that_each_point_lies_in():
    message = head(affine=oblique())
    grid = grid_of(message)
    assert grid.oblique
    assert grid.pitch == pytest.approx([3, 3, 3])
    rng = np.random.default_rng(1)
    for point in rng.integers(0, grid.index.shape, (200, 3)):
        mm = grid.centre(tuple(point))
        at = grid.voxel(mm)
        flat = grid.index[tuple(point)]
        assert (flat == -1) == (at is None)
        if at is not None:
            assert np.unravel_index(flat, SHAPE) == at
    # outside of the volume there is nothing
    assert (grid.plane(message.images["mean"].steps, 0, 30) == UNKNOWN).any()


def test_a_place_lies_where_it_was_planted_in_every_plane():
    for affine in (LAS, oblique(-35)):
        message = head(affine=affine)
        grid = grid_of(message)
        steps = message.images["change"].steps
        x, y, z = grid.point(tuple(ACTIVE))
        for axis, at, across in ((0, x, (y, z)), (1, y, (x, z)), (2, z, (x, y))):
            plane = grid.plane(steps, axis, at).astype(int)
            weights = np.where(plane > 30, plane, 0)
            row, column = (np.average(np.arange(n), weights=weights.sum(axis=1 - i)) for i, n in enumerate(plane.shape))
            assert column == pytest.approx(across[0], abs=1.0)
            assert len(plane) - 1 - row == pytest.approx(across[1], abs=1.0)


def test_projection_keeps_the_strongest_with_its_sign():
    message = head()
    grid = grid_of(message)
    values = message.images["change"].steps
    for axis in AXES:
        known = np.where(values == UNKNOWN, 0, values.astype(int))
        # LAS: the lattice runs to the right, the voxels to the left
        lattice = known[::-1]
        high, low = lattice.max(axis=axis), lattice.min(axis=axis)
        expected = np.where(-low > high, low, high).T[::-1]
        seen = projection(grid.lattice(values), axis)
        inside = seen != UNKNOWN
        assert np.array_equal(seen[inside], expected[inside])
        assert seen.max() == values.max()
        assert seen[inside].min() == values[values != UNKNOWN].min()
        assert (~inside).any()
        shade = shadow(grid.lattice(message.images["mean"].steps), axis)
        assert shade.max() == 127
        assert shade.min() >= 0


def test_affines_that_lead_nowhere():
    assert grid_of(numbered(np.zeros((4, 4)))) is None
    flat = np.diag([1.0, 1.0, 0.0, 1.0])
    assert grid_of(numbered(flat)) is None


def test_a_single_voxel_and_a_single_slice():
    for shape in ((1, 1, 1), (5, 1, 4)):
        grid = grid_of(numbered(LAS, shape))
        assert sorted(grid.index.ravel()) == list(range(int(np.prod(shape))))
        assert grid.plane(np.zeros(shape, np.int8), 1, 0).shape == (shape[2], shape[0])


def test_places_outside():
    grid = grid_of(head())
    assert grid.voxel((500.0, 0.0, 0.0)) is None
    assert grid.index[grid.point((500.0, -500.0, 0.0))] >= 0


def test_centre_of_the_head():
    for affine in (LAS, oblique()):
        message = head(affine=affine)
        assert head_centre(message.images["mean"].steps, grid_of(message)) == pytest.approx(tuple(CENTRE), abs=4)
    empty = numbered(LAS)
    assert all(np.isfinite(head_centre(np.full((5, 6, 7), UNKNOWN, np.int8), grid_of(empty))))


def test_heat_is_clear_below_the_threshold_and_fixed_above_the_limit():
    table = heat_table(0.1, Scale(1.0, 5.0), COLOURS, opacity=1.0)
    alpha = table[:, 3]
    shown = {int(np.uint8(byte).view(np.int8)) for byte in np.flatnonzero(alpha)}
    assert shown == {*range(10, 128), *range(-127, -9)}
    assert table[50, 0] == table[127, 0] == 255
    assert table[np.int8(-50).view(np.uint8), 0] == 0
    assert table[25, 0] == pytest.approx(255 * 0.75, abs=1)
    # with no threshold, what is nothing is still not shown
    assert heat_table(0.1, Scale(0.0, 5.0), COLOURS)[0, 3] == 0


def test_greys_and_their_white():
    steps = np.full((10, 10, 10), 40, np.int8)
    steps[0, 0, 0] = 127
    assert white_step(steps) == 40
    assert white_step(np.full((2, 2, 2), UNKNOWN, np.int8)) == 127
    table = grey_table(40)
    assert table[UNKNOWN % 256, 3] == 0
    assert table[40, 0] == table[127, 0] == 245
    assert np.all(np.diff(table[:41, 0].astype(int)) >= 0)


def test_nearest_region():
    names, centres = ["a", "b", "c"], [[0.0, 0.0, 0.0], None, [10.0, 0.0, 0.0]]
    assert nearest_region((7.0, 4.0, 0.0), names, centres) == ("c", 5.0)
    assert nearest_region((7.0, 4.0, 0.0), names, []) is None
    assert nearest_region((0.0, 0.0, 0.0), ["a"], [[np.nan, 0.0, 0.0]]) is None


def test_a_place_counts_what_changes_and_nothing_else():
    place = Place()
    place.move((1, 2, 3))
    place.move((1.0, 2.0, 3.0))
    place.move((np.nan, 0, 0))
    assert place.mm == (1.0, 2.0, 3.0)
    assert place.revision == 1
    place.choose("change")
    place.choose("change")
    place.flip()
    assert place.revision == 3
    assert place.radiological


def test_maps_go_round_and_a_missing_one_gives_way_to_the_first():
    place = Place()
    place.next_map()
    assert (place.mapped, place.unit) == (None, "")
    place.units = {"a": "%", "b": "t"}
    assert (place.mapped, place.unit) == ("a", "%")
    place.next_map()
    assert (place.map, place.unit) == ("b", "t")
    place.next_map()
    assert place.map == "a"
    place.units = {"c": "t", "d": "t"}
    assert place.mapped == "c"
    assert place.map == "a"


def test_thresholds_and_limits_keep_apart_by_unit():
    place = Place()
    place.units = {"a": "%", "b": "t"}
    assert place.scale("%") == DEFAULTS["%"] == Scale(0.5, 3.0)
    assert place.scale("t") == Scale(3.0, 10.0)
    assert place.scale("z") == OTHER
    place.rethreshold(1)
    assert place.scale("%") == Scale(0.75, 3.0)
    assert place.scale("t") == Scale(3.0, 10.0)
    for _ in range(30):
        place.rethreshold(1)
    place.next_map()
    for _ in range(30):
        place.rescale(-1)
    assert place.scale("%") == Scale(2.5, 3.0)
    assert place.scale("t") == Scale(3.0, 4.0)
    for _ in range(30):
        place.rescale(1)
    place.next_map()
    for _ in range(30):
        place.rethreshold(-1)
    assert place.scale("%").threshold == 0.0
    assert place.scale("t").limit == STEPS[-1]


def test_state_comes_back_and_nonsense_does_not():
    place = Place()
    place.move((1, 2, 3))
    place.choose("t task")
    place.flip()
    place.units = {"change": "%"}
    place.rethreshold(2)
    other = Place()
    other.restore(place.state())
    assert other.state() == place.state()
    strange = {"mm": [1, "x", 3], "map": 5, "radiological": "yes", "scales": {"%": [3, 1], "t": None, "z": [True, 2]}}
    fresh = Place()
    fresh.restore(strange)
    fresh.restore({"scales": [1]})
    assert fresh.state() == Place().state()
    assert fresh.revision == 0
