from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from streamer.clean.bold.design_matrix import Condition, DesignSettings
from streamer.clean.bold.displacement import framewise_displacement, rigid
from streamer.clean.bold.lane import BoldLane, BoldLaneSettings
from streamer.clean.bold.maps import MapSettings
from streamer.clean.bold.registration import Registration
from streamer.clean.bold.signal.region_signal import RegionSignal, RegionSignalSettings
from streamer.clean.bold.spline import sample, spline_coefficients
from streamer.errors import FormatError
from streamer.formats.dicom import read_dicom
from streamer.messages import Flag, SessionTime, Volume

AFFINE = np.array([[-4.0, 0, 0, 62], [0, 4, 0, -62], [0, 0, 5, -40], [0, 0, 0, 1]])
SHAPE = (32, 32, 17)
NAMES = ("left", "right")


def still_head():
    rng = np.random.default_rng(0)
    distance = np.linalg.norm((np.indices(SHAPE).T * [4, 4, 5] - [62, 62, 40]).T, axis=0)
    texture = gaussian_filter(rng.normal(0, 1, SHAPE), 1.5)
    return 800.0 / (1 + np.exp((distance - 45) / 4)) * (1 + 0.8 * texture)


HEAD = still_head()


def labels():
    image = np.zeros(SHAPE, np.int16)
    image[9:13, 13:18, 7:10] = 1
    image[19:23, 13:18, 7:10] = 2
    return image


def volume(index, data=None, moved=None, **changes):
    data = HEAD if data is None else data
    if moved is not None:
        registration = Registration(HEAD, AFFINE)
        everywhere = registration.world(tuple(np.indices(SHAPE).reshape(3, -1)))
        voxels = registration.voxels(np.linalg.inv(moved), everywhere, AFFINE)
        data = np.clip(sample(spline_coefficients(data), voxels), 0, None).reshape(SHAPE)
    whole = Volume(np.rint(data).astype(np.uint16), AFFINE, "s3", index, None, 2.0, (), SessionTime(index * 2.0))
    return replace(whole, **changes)


class Cleaned:
    """The lane with the region signal behind it."""

    def __init__(self, bold, signal):
        self.bold, self.signal = bold, signal

    def __call__(self, volume):
        return self.signal(self.bold(volume))


def lane(reference=None, **settings):
    return BoldLane(BoldLaneSettings(**settings), labels(), AFFINE, NAMES, reference)


def cleaned(baseline=None, correct_motion=True, **settings):
    given = None if baseline is None else baseline.astype(float)
    return Cleaned(lane(correct_motion=correct_motion), RegionSignal(RegionSignalSettings(**settings), 2, given))


def raised(percent):
    data = HEAD.copy()
    data[labels() == 1] *= 1 + percent / 100
    return data


def test_the_first_seconds_make_the_baseline():
    bold = cleaned(baseline_s=10.0, drift_tau_s=0)
    frames = [bold(volume(k)) for k in range(5)]
    assert all(np.isnan(frame.regions).all() for frame in frames)
    assert all(frame.flags == Flag.WARMING | Flag.UNCALIBRATED for frame in frames)
    frame = bold(volume(5, raised(2.0)))
    assert frame.flags == Flag.UNCALIBRATED
    np.testing.assert_allclose(frame.regions, [2.0, 0.0], atol=0.05)
    assert frame.regions.dtype == frame.means.dtype == np.float32
    assert (frame.acquired, frame.received, frame.tr, frame.index) == (None, 10.0, 2.0, 5)


def test_a_calibrated_baseline_holds_from_the_first_volume():
    means = np.array([HEAD[labels() == k].mean() for k in (1, 2)], np.float32)
    frame = cleaned(baseline=means)(volume(0, raised(-1.5)))
    assert frame.flags == Flag.NONE
    np.testing.assert_allclose(frame.regions, [-1.5, 0.0], atol=0.05)


def test_slow_drift_leaves_the_signal_and_a_block_stays_in_it():
    means = np.array([HEAD[labels() == k].mean() for k in (1, 2)], np.float32)
    fixed, following = cleaned(baseline=means, drift_tau_s=0), cleaned(baseline=means, drift_tau_s=100)
    drift = [HEAD * (1 + 0.0002 * k) for k in range(250)]
    plain = [fixed(volume(k, data)).regions[1] for k, data in enumerate(drift)]
    followed = [following(volume(k, data)).regions[1] for k, data in enumerate(drift)]
    assert plain[-1] == pytest.approx(4.98, abs=0.05)
    # a ramp of 0.01 %/s lags by one time constant
    assert followed[-1] == pytest.approx(1.0, abs=0.15)
    block = cleaned(baseline=means, drift_tau_s=100)
    up = [block(volume(k, raised(2.0))).regions[0] for k in range(10)]
    assert up[0] == pytest.approx(2.0, abs=0.05)
    assert up[-1] > 1.6


def test_a_sudden_move_is_measured_flagged_and_corrected():
    means = np.array([HEAD[labels() == k].mean() for k in (1, 2)], np.float32)
    moved = rigid(np.array([0.9, -0.6, 0.5]), np.deg2rad([0.8, -0.5, 0.6]))
    corrected, in_place = cleaned(baseline=means), cleaned(baseline=means, correct_motion=False)
    results = []
    for bold in (corrected, in_place):
        bold(volume(0))
        frame = bold(volume(1, moved=moved))
        expected = np.array([0.9, -0.6, 0.5, *np.deg2rad([0.8, -0.5, 0.6])])
        np.testing.assert_allclose(frame.motion[:3], expected[:3], atol=0.05)
        np.testing.assert_allclose(frame.motion[3:], expected[3:], atol=1e-3)
        assert frame.fd == pytest.approx(framewise_displacement(np.zeros(6), expected), abs=0.15)
        assert frame.flags & Flag.MOTION
        results.append(np.abs(frame.regions).max())
        assert not bold(volume(2, moved=moved)).flags & Flag.MOTION
    assert results[0] < 0.5
    assert results[0] < 0.3 * results[1]


def test_displacement_counts_rotations_as_arcs():
    now = np.array([0.1, -0.2, 0.3, 0.001, -0.002, 0.003])
    assert framewise_displacement(np.zeros(6), now) == pytest.approx(0.6 + 50 * 0.006)


def test_motion_is_measured_against_the_given_reference():
    moved = rigid(np.array([0.5, 0.0, 0.0]), np.zeros(3))
    reference = (volume(0).data, AFFINE)
    bold = lane(reference=reference)
    frame = bold(volume(0, moved=moved))
    assert frame.motion[0] == pytest.approx(0.5, abs=0.05)
    assert frame.fd == 0.0
    assert bold.reference is not None
    assert bold.reference[0] is reference[0]


def test_without_labels_there_is_one_region_of_the_brain():
    bold = BoldLane(BoldLaneSettings(), None, None, ())
    before = bold(volume(0))
    frame = bold(volume(1, HEAD * 1.01))
    assert bold.names == ("brain",)
    np.testing.assert_allclose(frame.means / before.means, [1.01], atol=5e-4)
    np.testing.assert_array_equal(frame.tissue, [np.nan, np.nan, frame.means[0]])
    assert bold.coverage == {"brain": 1.0}


def test_a_region_that_is_mostly_outside_is_nan():
    image = np.zeros(SHAPE, np.int16)
    image[9:13, 13:18, 7:10] = 1
    image[:, :, 0] = 2
    # the labels reach one slice below the volumes and more
    below = AFFINE @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -1], [0, 0, 0, 1.0]])
    bold = BoldLane(BoldLaneSettings(), image, below, NAMES)
    frame = bold(volume(0))
    assert bold.coverage == {"left": 1.0, "right": 0.0}
    assert np.isfinite(frame.means[0])
    assert np.isnan(frame.means[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": np.ones((30, 32, 17), np.uint16)}, "another grid"),
        ({"affine": AFFINE + np.eye(4)}, "another grid"),
        ({"series": "s4", "affine": AFFINE + np.eye(4)}, "another grid"),
        ({"data": np.zeros(SHAPE, np.uint16)}, "no signal"),
        ({"data": np.full(SHAPE, np.nan, np.float32)}, "not finite"),
        ({"data": np.ones((4, 4), np.uint16)}, "2 axes"),
    ],
)
def test_a_volume_that_does_not_belong_is_refused_and_the_run_goes_on(changes, message):
    steady, disturbed = cleaned(baseline_s=4.0), cleaned(baseline_s=4.0)
    for bold in (steady, disturbed):
        for k in range(3):
            bold(volume(k))
    with pytest.raises(FormatError, match=message):
        disturbed(replace(volume(3), **changes))
    ours, theirs = disturbed(volume(4, raised(1.0))), steady(volume(4, raised(1.0)))
    np.testing.assert_array_equal(ours.regions, theirs.regions)
    np.testing.assert_array_equal(ours.motion, theirs.motion)


def test_a_late_volume_is_flagged_and_leaves_the_state_alone():
    means = np.array([HEAD[labels() == k].mean() for k in (1, 2)], np.float32)
    steady, disturbed = cleaned(baseline=means), cleaned(baseline=means)
    for k in (0, 1, 3):
        steady(volume(k))
        disturbed(volume(k))
    late = disturbed(volume(2, raised(3.0)))
    assert late.flags & Flag.LATE
    assert late.regions[0] == pytest.approx(3.0, abs=0.05)
    ours, theirs = disturbed(volume(4)), steady(volume(4))
    np.testing.assert_array_equal(ours.regions, theirs.regions)
    assert ours.fd == theirs.fd


def test_a_new_series_begins_a_new_run():
    bold = cleaned(baseline_s=4.0, drift_tau_s=0)
    first = [bold(volume(k)) for k in range(4)]
    assert np.isfinite(first[-1].regions).all()
    again = [bold(volume(k, raised(5.0), series="s4")) for k in range(3)]
    assert all(f.flags == Flag.WARMING | Flag.UNCALIBRATED for f in again[:2])
    assert np.isnan(again[1].regions).all()
    # against the new run's own baseline
    assert again[2].regions[0] == pytest.approx(0.0, abs=0.05)
    assert again[0].fd == 0.0
    assert bold.bold.reference is not None
    np.testing.assert_array_equal(bold.bold.reference[0], volume(0).data)
    straggler = bold(volume(4))
    assert straggler.flags & Flag.LATE
    assert bold(volume(3, raised(5.0), series="s4")).regions[0] == pytest.approx(0.0, abs=0.05)


def test_a_given_baseline_holds_in_every_run():
    means = np.array([HEAD[labels() == k].mean() for k in (1, 2)], np.float32)
    bold = cleaned(baseline=means)
    for k in range(5):
        bold(volume(k, raised(3.0)))
    frame = bold(volume(0, raised(3.0), series="s4"))
    assert frame.flags == Flag.NONE
    assert frame.regions[0] == pytest.approx(3.0, abs=0.05)


def test_a_volume_that_cannot_be_registered_is_flagged_and_keeps_the_last_place():
    bold = lane()
    bold(volume(0))
    before = bold(volume(1, moved=rigid(np.array([0.3, 0, 0]), np.zeros(3))))
    inverted = HEAD.max() - HEAD
    frame = bold(volume(2, inverted))
    assert frame.flags & Flag.MOTION
    assert bold.not_converged == 1
    np.testing.assert_array_equal(frame.motion, before.motion)
    np.testing.assert_allclose(bold(volume(3)).motion, np.zeros(6), atol=1e-3)


def test_slices_are_told_with_the_first_frame_of_a_series():
    bold = lane()
    timed = {"slice_times": tuple(0.1 * k for k in range(SHAPE[2]))}
    first, second = bold(volume(0, **timed)), bold(volume(1, **timed))
    assert first.slices.shape == (3, SHAPE[2])
    np.testing.assert_allclose(first.slices[0], timed["slice_times"], rtol=1e-6)
    expected = np.zeros(SHAPE[2])
    expected[7:10] = 1 / 3
    np.testing.assert_allclose(first.slices[1:], [expected, expected], atol=1e-6)
    assert second.slices.size == 0
    assert bold(volume(0, series="s4", **timed)).slices.size
    assert lane()(volume(0)).slices.size == 0


def test_what_changes_within_the_head_is_told():
    bold = lane()
    assert np.isnan(bold(volume(0)).dvars)
    assert bold(volume(1)).dvars == pytest.approx(0.0, abs=1e-3)
    raised_head = bold(volume(2, HEAD * 1.02))
    assert raised_head.dvars == pytest.approx(2.0, abs=0.2)
    assert 0 <= raised_head.residual < 0.05
    # what came between is not known
    assert np.isnan(bold(volume(4)).dvars)


def test_tissue_means_are_of_the_given_image():
    image = np.where(np.percentile(HEAD, 97) < HEAD, 1, 0).astype(np.int16)
    image[9:13, 13:18, 7:10] = 2
    bold = BoldLane(BoldLaneSettings(), labels(), AFFINE, NAMES, tissue=(image, AFFINE))
    data = np.rint(HEAD)
    expected = [data[image == 1].mean(), data[image == 2].mean()]
    np.testing.assert_allclose(bold(volume(0)).tissue[:2], expected, rtol=1e-3)


def test_smoothing_spreads_a_region_over_its_surroundings():
    plain, smooth = lane(), lane(smooth_mm=12.0)
    change = []
    for bold in (plain, smooth):
        before = bold(volume(0)).means
        change.append(bold(volume(1, raised(10.0))).means[0] / before[0])
    assert change[0] == pytest.approx(1.10, abs=0.005)
    assert 1.01 < change[1] < 1.08


def test_slices_are_brought_to_the_beginning_of_their_volume():
    # all slices early, then a pause
    times = 0.05 * np.arange(SHAPE[2])
    tr = 2.0

    def course(t):
        return 1 + 0.05 * np.sin(2 * np.pi * t / 30.0)

    def scanned(k):
        return HEAD * course(k * tr + times)

    errors, frames = {}, {}
    for timing in ("off", "linear"):
        bold = lane(slice_timing=timing, correct_motion=False)
        frames[timing] = [bold(volume(k, scanned(k), slice_times=tuple(times))) for k in range(20)]
        means = np.array([frame.means for frame in frames[timing]])[1:]
        at = np.array([k * tr + frame.after_onset_s for k, frame in enumerate(frames[timing])])[1:]
        shape = means / means.mean(axis=0) - (course(at) / course(at).mean())[:, None]
        errors[timing] = np.abs(shape).max()
    assert errors["linear"] < 0.4 * errors["off"]
    assert {frame.after_onset_s for frame in frames["linear"]} == {0.0}
    assert {frame.after_onset_s for frame in frames["off"]} == {tr / 2}
    # what heart and breath did is spread over two volumes: no columns for them
    assert all(frame.slices.size == 0 for frame in frames["linear"])
    assert frames["off"][0].slices.size
    untimed = lane(slice_timing="linear")
    plain = untimed(volume(0)), untimed(volume(1, raised(3.0)))
    assert untimed.untimed == 2
    same = lane(reference=(volume(0).data, AFFINE))(volume(1, raised(3.0)))
    np.testing.assert_allclose(plain[1].means, same.means, rtol=1e-6)


def test_maps_show_where_the_task_is():
    task = Condition(name="task", onsets_s=(20.0, 60.0, 100.0), durations_s=(20.0,))
    design = DesignSettings(motion=0, tissue=(), drift_cutoff_s=0, conditions=(task,))
    bold = lane(maps=MapSettings(enabled=True, design=design))
    rng = np.random.default_rng(5)
    for k in range(65):
        on = any(start + 6 <= 2 * k < start + 26 for start in task.onsets_s)
        noisy = (raised(2.0) if on else HEAD) + rng.normal(0, 4, SHAPE) * (HEAD > 100)
        bold(volume(k, noisy))
    (maps,) = bold.maps.images.values()
    np.testing.assert_array_equal(bold.maps.affine, AFFINE)
    assert set(maps) == {"mean", "tsnr", "t_task", "percent_task"}
    inside = labels() == 1
    assert maps["t_task"].shape == SHAPE
    assert np.median(maps["t_task"][inside]) > 5
    assert abs(np.nanmedian(maps["t_task"][labels() == 2])) < 2
    assert np.median(maps["percent_task"][inside]) == pytest.approx(2.0, abs=0.5)
    assert np.isnan(maps["mean"][0, 0, 0])
    assert lane().maps.images == {}


def test_equal_volumes_give_equal_frames():
    first, second = lane(), lane()
    second.warm_up()
    for k in range(4):
        ours, theirs = first(volume(k)), second(volume(k))
        np.testing.assert_array_equal(ours.means, theirs.means)
        np.testing.assert_array_equal(ours.motion, theirs.motion)


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="expected a name for each"):
        BoldLane(BoldLaneSettings(), labels(), AFFINE, ("left",))
    with pytest.raises(ValueError, match="belong together"):
        BoldLane(BoldLaneSettings(), labels(), None, NAMES)


def real_run(shared_data, which):
    root = shared_data / "fmri/siemens-mosaic-neurofeedback"
    masks = [nib.load(root / "ROIs_D1" / f"{name}.nii") for name in ("lROI_1", "rROI_2")]
    image = np.zeros(masks[0].shape, np.int16)
    for k, mask in enumerate(masks, start=1):
        image[np.asarray(mask.dataobj) > 0] = k
    files = sorted((root / "dicom").glob("*.dcm"))
    run = [read_dicom(files[k].read_bytes(), files[k].name) for k in which]
    return run, image, np.asarray(masks[0].affine, float)


def test_uncorrected_means_of_a_real_run_are_the_known_ones(shared_data):
    run, image, affine = real_run(shared_data, range(5, 155))
    bold = BoldLane(BoldLaneSettings(correct_motion=False), image, affine, NAMES)
    means = np.array([bold(v).means for v in run]).mean(axis=0)
    np.testing.assert_allclose(means, [572.560, 568.243], atol=0.002)
    assert bold.coverage == {"left": 1.0, "right": 1.0}


def test_motion_of_a_real_run_is_plausible_and_its_correction_helps(shared_data):
    run, image, affine = real_run(shared_data, range(155))
    bold, in_place = (BoldLane(BoldLaneSettings(correct_motion=c), image, affine, NAMES) for c in (True, False))
    frames, plain = [bold(v) for v in run], [in_place(v) for v in run[5:]]
    assert bold.not_converged == 0
    registration = Registration(run[0].data, run[0].affine)
    brain = registration.world(np.nonzero(run[0].data > 0.25 * run[0].data.max()))
    displacement = []
    for frame in frames[1:]:
        wrong = (rigid(frame.motion[:3], frame.motion[3:]) - np.eye(4)) @ brain
        displacement.append(np.sqrt((wrong[:3] ** 2).sum(axis=0).mean()))
    # three other programs measured a median of .168 and a maximum of .509 mm
    assert np.median(displacement) == pytest.approx(0.168, abs=0.025)
    assert max(displacement) == pytest.approx(0.509, abs=0.05)
    assert max(frame.fd for frame in frames) < 0.5
    ours, theirs = (np.array([f.means for f in some]) for some in (frames[5:], plain))
    gain = (ours.mean(axis=0) / ours.std(axis=0, ddof=1)) / (theirs.mean(axis=0) / theirs.std(axis=0, ddof=1))
    assert (gain > 1.1).all()


def test_motion_that_is_not_to_be_measured_is_neither_flagged_nor_corrected():
    still = lane(measure_motion=False)
    away = rigid(np.array([4.0, 0.0, 0.0]), np.zeros(3))
    frames = [still(volume(k, moved=away if k == 1 else None)) for k in range(3)]
    assert not any(each.flags & Flag.MOTION for each in frames)
    assert all((each.motion == 0).all() and each.fd == 0 for each in frames)
