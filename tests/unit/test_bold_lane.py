from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from streamer.clean.bold.lane import BoldLane, BoldLaneSettings, framewise_displacement
from streamer.clean.bold.motion import Registration, rigid, sample, spline_coefficients
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


def lane(baseline=None, reference=None, **settings):
    return BoldLane(BoldLaneSettings(**settings), labels(), AFFINE, NAMES, reference, baseline)


def raised(percent):
    data = HEAD.copy()
    data[labels() == 1] *= 1 + percent / 100
    return data


def test_the_first_seconds_make_the_baseline():
    bold = lane(baseline_s=10.0, drift_tau_s=0)
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
    frame = lane(baseline=means)(volume(0, raised(-1.5)))
    assert frame.flags == Flag.NONE
    np.testing.assert_allclose(frame.regions, [-1.5, 0.0], atol=0.05)


def test_slow_drift_leaves_the_signal_and_a_block_stays_in_it():
    means = np.array([HEAD[labels() == k].mean() for k in (1, 2)], np.float32)
    fixed, following = lane(baseline=means, drift_tau_s=0), lane(baseline=means, drift_tau_s=100)
    drift = [HEAD * (1 + 0.0002 * k) for k in range(250)]
    plain = [fixed(volume(k, data)).regions[1] for k, data in enumerate(drift)]
    followed = [following(volume(k, data)).regions[1] for k, data in enumerate(drift)]
    assert plain[-1] == pytest.approx(4.98, abs=0.05)
    # a ramp of 0.01 %/s lags by one time constant
    assert followed[-1] == pytest.approx(1.0, abs=0.15)
    block = lane(baseline=means, drift_tau_s=100)
    up = [block(volume(k, raised(2.0))).regions[0] for k in range(10)]
    assert up[0] == pytest.approx(2.0, abs=0.05)
    assert up[-1] > 1.6


def test_a_sudden_move_is_measured_flagged_and_corrected():
    means = np.array([HEAD[labels() == k].mean() for k in (1, 2)], np.float32)
    moved = rigid(np.array([0.9, -0.6, 0.5]), np.deg2rad([0.8, -0.5, 0.6]))
    corrected, in_place = lane(baseline=means), lane(baseline=means, correct_motion=False)
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
    bold = BoldLane(BoldLaneSettings(baseline_s=2.0), None, None, ())
    bold(volume(0))
    frame = bold(volume(1, HEAD * 1.01))
    assert bold.names == ("brain",)
    np.testing.assert_allclose(frame.regions, [1.0], atol=0.05)
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
    steady, disturbed = lane(baseline_s=4.0), lane(baseline_s=4.0)
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
    steady, disturbed = lane(baseline=means), lane(baseline=means)
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
    bold = lane(baseline_s=4.0, drift_tau_s=0)
    first = [bold(volume(k)) for k in range(4)]
    assert np.isfinite(first[-1].regions).all()
    again = [bold(volume(k, raised(5.0), series="s4")) for k in range(3)]
    assert all(f.flags == Flag.WARMING | Flag.UNCALIBRATED for f in again[:2])
    assert np.isnan(again[1].regions).all()
    # against the new run's own baseline
    assert again[2].regions[0] == pytest.approx(0.0, abs=0.05)
    assert again[0].fd == 0.0
    assert bold.reference is not None
    np.testing.assert_array_equal(bold.reference[0], volume(0).data)
    straggler = bold(volume(4))
    assert straggler.flags & Flag.LATE
    assert bold(volume(3, raised(5.0), series="s4")).regions[0] == pytest.approx(0.0, abs=0.05)


def test_a_given_baseline_holds_in_every_run():
    means = np.array([HEAD[labels() == k].mean() for k in (1, 2)], np.float32)
    bold = lane(baseline=means)
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


def test_equal_volumes_give_equal_frames():
    first, second = lane(), lane()
    second.warm_up()
    for k in range(4):
        ours, theirs = first(volume(k)), second(volume(k))
        np.testing.assert_array_equal(ours.means, theirs.means)
        np.testing.assert_array_equal(ours.motion, theirs.motion)


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="baseline of shape"):
        lane(baseline=np.ones(3, np.float32))
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
