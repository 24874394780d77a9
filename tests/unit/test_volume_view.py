"""What is looked at of a run: mean image, change, t maps; and that looking changes nothing."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from streamer.bold_core import BoldSetup
from streamer.clean.bold.design_matrix import Condition, DesignSettings
from streamer.clean.bold.lane import MAX_T_MAPS, BoldLane, BoldLaneSettings
from streamer.clean.bold.maps import MapSettings
from streamer.clean.bold.run_space import RunSpace
from streamer.clean.bold.view import MAX_VOXELS, RunView, ViewSettings, thinning
from streamer.config import Config
from streamer.formats.nifti import LabelImage
from streamer.messages import Flag, SessionTime, Volume, VolumeView

AFFINE = np.array([[-4.0, 0, 0, 46], [0, 4, 0, -46], [0, 0, 5, -30], [0, 0, 0, 1]])
SHAPE = (24, 24, 13)
ACTIVE = (slice(8, 12), slice(10, 14), slice(5, 8))
TR = 2.0


def still_head():
    rng = np.random.default_rng(0)
    distance = np.linalg.norm((np.indices(SHAPE).T * [4, 4, 5] - [46, 46, 30]).T, axis=0)
    texture = gaussian_filter(rng.normal(0, 1, SHAPE), 1.5)
    return 800.0 / (1 + np.exp((distance - 35) / 3)) * (1 + 0.8 * texture)


HEAD = still_head()


def volume(index, data=HEAD, series="s3"):
    stored = np.rint(data).astype(np.uint16)
    return Volume(stored, AFFINE, series, index, None, TR, (), SessionTime(index * TR))


def raised(percent, where=ACTIVE):
    data = HEAD.copy()
    data[where] *= 1 + percent / 100
    return data


class Run:
    """A view that is given volumes as they are, without motion."""

    def __init__(self, most=MAX_VOXELS, **settings):
        self.space = RunSpace(np.rint(HEAD), AFFINE, None, 1, None, 0.0)
        self.view = RunView(ViewSettings(**{"smooth_mm": 0.0} | settings), self.space, most)
        self.index = -1

    def add(self, data, *, enters=True):
        self.index += 1
        values = np.asarray(data, np.float32).T[self.space.mask.T]
        self.view(values, volume(self.index), self.index * TR, enters=enters)

    def still(self, n):
        for _ in range(n):
            self.add(HEAD)

    def look(self) -> VolumeView:
        seen = self.view.view({})
        assert seen is not None
        return seen

    def change(self):
        return self.look().maps["change"][0]


def test_the_mean_is_of_all_volumes_and_nothing_is_said_outside_the_head():
    run = Run()
    for percent in (0.0, 1.0, 5.0):
        run.add(raised(percent))
    seen = run.look()
    inside = run.space.mask
    np.testing.assert_allclose(seen.mean[inside], raised(2.0)[inside], rtol=1e-5)
    assert np.isnan(seen.mean[~inside]).all()
    assert (seen.index, seen.series, seen.received, seen.mean.dtype) == (2, "s3", 4.0, np.float32)
    np.testing.assert_array_equal(seen.affine, AFFINE)


def test_there_is_no_change_before_there_is_a_past():
    run = Run(now_s=6.0)
    known = []
    for _ in range(20):
        run.still(1)
        known.append(bool(np.isfinite(run.change()).any()))
    # 6 s to settle and three times now_s
    assert known == [TR * k >= 24.0 for k in range(20)]
    change, unit = run.look().maps["change"]
    assert unit == "%"
    np.testing.assert_allclose(change[run.space.mask], 0.0, atol=1e-4)
    assert np.isnan(change[~run.space.mask]).all()


def test_a_block_stands_out_from_rest_by_all_of_its_change_and_fades_slowly():
    run = Run(now_s=3.0)
    courses = []
    for k in range(300):
        run.add(raised(2.0) if (k // 10) % 2 else HEAD)
        courses.append(run.change()[ACTIVE].mean())
    # 20 s of task and of rest, each by its end, when what is now has settled
    task, rest = courses[219::20], courses[209::20]
    assert np.mean(task) - np.mean(rest) == pytest.approx(2.0, abs=0.2)
    assert np.mean(task) == pytest.approx(1.0, abs=0.15)
    assert np.mean(rest) == pytest.approx(-1.0, abs=0.15)
    longer = Run(now_s=3.0)
    longer.still(300)
    for _ in range(15):
        longer.add(raised(2.0))
    assert longer.change()[ACTIVE].mean() == pytest.approx(2.0 * math.exp(-30 / 120), abs=0.03)


def test_now_is_a_short_mean_that_steadies_the_noise():
    run, rng = Run(now_s=6.0), np.random.default_rng(1)
    for _ in range(150):
        run.add(HEAD * (1 + 0.01 * rng.standard_normal(SHAPE)))
    # exponential means of 6 s and of 120 s leave sqrt(0.165 + 0.008 - 2 * 0.016) of the noise
    assert np.nanstd(run.change()) == pytest.approx(0.376, abs=0.02)


def test_drift_leaves_its_slope_times_the_time_constant():
    run = Run()
    for k in range(400):
        run.add(HEAD * (1 + 0.00001 * TR * k))
    assert np.nanmedian(run.change()) == pytest.approx(0.001 * (120 - 6), abs=0.01)


def test_bright_first_volumes_are_no_past():
    run = Run()
    for k in range(13):
        run.add(HEAD * (1 + 0.4 * math.exp(-TR * k / 1.3)))
    assert np.isfinite(run.change()).any()
    assert np.nanmax(np.abs(run.change())) < 0.15


def test_volumes_that_do_not_count_change_nothing_and_a_change_grows_old():
    run = Run()
    run.still(30)
    before = run.look()
    for k in range(12):
        run.add(HEAD * 3, enters=False)
        seen = run.look()
        assert seen.index == run.index
        np.testing.assert_array_equal(seen.mean, before.mean)
        # 18 s without a volume that counts: what is now is not known
        if TR * (k + 1) <= 18.0:
            np.testing.assert_array_equal(seen.maps["change"][0], before.maps["change"][0])
        else:
            assert np.isnan(seen.maps["change"][0]).all()
    run.still(1)
    assert np.nanmax(np.abs(run.change())) < 1e-3


@pytest.mark.parametrize("smooth_mm", [0.0, 6.0])
def test_voxels_out_of_view_are_unknown_and_spoil_no_others(smooth_mm):
    run = Run(smooth_mm=smooth_mm)
    gone = HEAD.copy()
    gone[:, :, :3] = np.nan
    run.add(gone)
    run.still(29)
    for _ in range(3):
        run.add(gone)
    change = run.change()
    assert np.isnan(change[:, :, :3]).all()
    np.testing.assert_allclose(change[:, :, 3:][run.space.mask[:, :, 3:]], 0.0, atol=1e-3)
    np.testing.assert_allclose(run.look().mean[run.space.mask], HEAD[run.space.mask], rtol=1e-5)
    run.still(1)
    np.testing.assert_allclose(run.change()[run.space.mask], 0.0, atol=1e-3)


def test_the_change_is_smoothed_within_the_head():
    run = Run(smooth_mm=8.0, now_s=2.0)
    run.still(100)
    one = (10, 12, 6)
    run.add(raised(10.0, one))
    change = run.change()
    assert 0.05 < change[one] < 3.0
    assert 0.3 * change[one] < change[11, 12, 6] < change[one]
    assert abs(change[18, 12, 6]) < 1e-3
    # the sum over the head of what was added stays
    added = 10.0 * (1 - math.exp(-TR / 2.0)) * HEAD[one]
    smooth_level = np.nansum(change * HEAD)
    assert smooth_level == pytest.approx(added, rel=0.15)


def test_a_large_grid_is_thinned_to_blocks_that_lie_where_they_lay():
    run = Run(most=2000)
    run.still(1)
    world = np.tensordot(AFFINE[:3, :3], np.indices(SHAPE), axes=1) + AFFINE[:3, 3, None, None, None]
    ramp = 1000 + 3 * world[0] - 2 * world[1] + 4 * world[2]
    run.view.begin()
    run.index = -1
    run.add(ramp)
    seen = run.look()
    assert seen.mean.shape == (12, 12, 13)
    index = np.indices(seen.mean.shape)
    there = np.tensordot(seen.affine[:3, :3], index, axes=1) + seen.affine[:3, 3, None, None, None]
    whole = run.space.mask.reshape(12, 2, 12, 2, 13).all(axis=(1, 3))
    expected = 1000 + 3 * there[0] - 2 * there[1] + 4 * there[2]
    np.testing.assert_allclose(seen.mean[whole], expected[whole], rtol=1e-5)
    assert seen.maps["change"][0].shape == seen.mean.shape


@pytest.mark.parametrize(
    ("shape", "sizes", "blocks"),
    [
        ((64, 64, 36), (3.0, 3.0, 3.5), (1, 1, 1)),
        ((112, 112, 60), (1.8, 1.8, 2.2), (2, 2, 1)),
        ((256, 256, 1), (0.9, 0.9, 5.0), (1, 1, 1)),
        ((200, 200, 200), (1.0, 1.0, 1.0), (4, 3, 3)),
        ((900_000, 1, 1), (1.0, 0.1, 0.1), (3, 1, 1)),
    ],
)
def test_the_finest_axis_is_thinned_first(shape, sizes, blocks):
    made = thinning(shape, np.diag([*sizes, 1.0]), MAX_VOXELS)
    assert tuple(made) == blocks
    assert math.prod(-(-n // k) for n, k in zip(shape, blocks, strict=True)) <= MAX_VOXELS


def lane(**settings):
    return BoldLane(BoldLaneSettings(**settings), None, None, ())


def test_the_lane_gives_the_newest_volume_and_begins_anew_with_a_series():
    bold = lane()
    assert bold.view() is None
    for k in range(15):
        bold(volume(k, raised(2.0)))
    # late: it is neither shown nor averaged
    assert bold(volume(3, HEAD * 2)).flags & Flag.LATE
    seen = bold.view()
    assert seen is not None
    assert (seen.index, seen.series) == (14, "s3")
    np.testing.assert_allclose(seen.mean[ACTIVE], np.rint(raised(2.0))[ACTIVE], rtol=2e-3)
    np.testing.assert_allclose(seen.maps["change"][0][ACTIVE], 0.0, atol=0.05)
    bold(volume(0, series="s4"))
    again = bold.view()
    assert again is not None
    assert (again.index, again.series) == (0, "s4")
    np.testing.assert_allclose(again.mean[ACTIVE], np.rint(HEAD)[ACTIVE], rtol=2e-3)
    assert np.isnan(again.maps["change"][0]).all()


def test_volumes_with_motion_do_not_enter():
    bold = lane(fd_limit_mm=0.5)
    for k in range(16):
        bold(volume(k))
    before = bold.view()
    # it cannot be registered
    assert bold(volume(16, HEAD.max() - HEAD)).flags & Flag.MOTION
    after = bold.view()
    assert before is not None
    assert after is not None
    assert after.index == 16
    np.testing.assert_array_equal(after.mean, before.mean)
    np.testing.assert_array_equal(after.maps["change"][0], before.maps["change"][0])


def test_contrasts_are_seen_as_t_maps_four_at_most():
    names = [f"task{k}" for k in range(MAX_T_MAPS + 2)]
    tasks = tuple(
        Condition(name=name, onsets_s=(20.0 + 12 * k, 120.0 + 12 * k), durations_s=(12.0, 12.0))
        for k, name in enumerate(names)
    )
    design = DesignSettings(motion=0, tissue=(), drift_cutoff_s=0, conditions=tasks)
    bold = lane(maps=MapSettings(enabled=True, design=design))
    rng = np.random.default_rng(2)
    for k in range(100):
        on = any(start + 5 <= TR * k < start + 17 for start in tasks[0].onsets_s)
        bold(volume(k, (raised(3.0) if on else HEAD) + rng.normal(0, 4, SHAPE) * (HEAD > 100)))
    seen = bold.view()
    assert seen is not None
    assert list(seen.maps) == ["change", *(f"t {name}" for name in names[:MAX_T_MAPS])]
    values, unit = seen.maps["t task0"]
    assert unit == "t"
    assert np.median(values[ACTIVE]) > 5
    np.testing.assert_array_equal(values, next(iter(bold.maps.images.values()))["t_task0"])


def test_looking_changes_no_frame_and_no_map():
    design = DesignSettings(
        motion=0, tissue=(), conditions=(Condition(name="task", onsets_s=(6.0, 30.0), durations_s=(10.0,)),)
    )
    maps = MapSettings(enabled=True, design=design)
    looked_at, left_alone = lane(maps=maps), lane(maps=maps, view=ViewSettings(enabled=False))
    rng = np.random.default_rng(3)
    for k in range(30):
        given = volume(k, HEAD + rng.normal(0, 4, SHAPE) * (HEAD > 100))
        ours, theirs = looked_at(given), left_alone(given)
        assert looked_at.view() is not None
        assert left_alone.view() is None
        for field in fields(ours):
            np.testing.assert_array_equal(getattr(ours, field.name), getattr(theirs, field.name))
    (mine,), (other,) = looked_at.maps.images.values(), left_alone.maps.images.values()
    for name in mine:
        np.testing.assert_array_equal(mine[name], other[name])


def test_a_single_slice_can_be_looked_at():
    data = HEAD[:, :, 6:7]
    bold = lane(measure_motion=False)
    for k in range(14):
        bold(volume(k, data))
    seen = bold.view()
    assert seen is not None
    assert seen.mean.shape == (24, 24, 1)
    np.testing.assert_allclose(seen.maps["change"][0][8:12, 10:14], 0.0, atol=1e-3)


def test_the_core_says_where_regions_lie():
    image = np.zeros(SHAPE, np.int16)
    image[2:5, 4, 6] = 1
    image[20, 10:12, 8:10] = 3
    labels = LabelImage(image, AFFINE, ("left", "empty", "right"))
    setup = BoldSetup(BoldLaneSettings(), labels)
    left, empty, right = setup.region_centres()
    assert empty is None
    assert left == pytest.approx((46 - 4 * 3, -46 + 4 * 4, -30 + 5 * 6))
    assert right == pytest.approx((46 - 4 * 20, -46 + 4 * 10.5, -30 + 5 * 8.5))
    assert BoldSetup(BoldLaneSettings(), None).region_centres() == [None]
    core = setup.core()
    assert core.view() is None
    core.feed(volume(0))
    assert isinstance(core.view(), VolumeView)


def test_what_is_only_looked_at_is_no_part_of_what_a_model_or_calibration_is_made_for():
    plain = Config()
    view = ViewSettings(enabled=False, now_s=3.0, baseline_s=300.0, smooth_mm=0.0)
    bold = plain.clean.bold.model_copy(update={"view": view})
    other = plain.model_copy(update={"clean": plain.clean.model_copy(update={"bold": bold})})
    assert other.sha256() != plain.sha256()
    assert other.model_digest() == plain.model_digest()
    assert other.preprocessing_digest() == plain.preprocessing_digest()
