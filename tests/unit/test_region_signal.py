from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.bench.bold_signals import agreement, clean_signals, plant_signals
from streamer.clean.bold.design_matrix import Condition, DesignMatrix, DesignSettings
from streamer.clean.bold.signal.nuisance import NuisanceSettings
from streamer.clean.bold.signal.region_signal import RegionSignal, RegionSignalSettings
from streamer.clean.bold.signal.scaling import DynamicRange, RunningMoments
from streamer.messages import Flag
from streamer.simulate.settings import SimulationSettings
from tests.unit.bold_frames import frame

FREE = {}


def glm(prior=FREE, retroicor=False, needed=2.0, design=None, **others):
    nuisance = NuisanceSettings(
        design=design or DesignSettings(),
        retroicor=retroicor,
        volumes_per_regressor=needed,
        **({} if prior is None else {"prior_percent": prior}),
    )
    return RegionSignalSettings(method="glm", nuisance=nuisance, **others)


def disturbed(n, n_regions=3, seed=0, tr=1.0, columns=False):
    """Frames whose means hold drift, motion, tissue signals, waves and noise; and the noise, %."""
    rng = np.random.default_rng(seed)
    t = np.arange(n) * tr
    motion = np.cumsum(rng.standard_normal((n, 6)), axis=0) * [0.03, 0.03, 0.03, 6e-4, 6e-4, 6e-4]
    tissue = 700.0 * (1 + 0.01 * rng.standard_normal((n, 3)))
    waves = rng.standard_normal((n, n_regions, 8))
    noise = 0.2 * rng.standard_normal((n, n_regions))
    percent = 0.8 * np.sin(2 * np.pi * t / 500.0)[:, None] + t[:, None] / 300.0 + noise
    percent += motion * [1, 1, 1, 50, 50, 50] @ rng.standard_normal((6, n_regions))
    percent += 100 * (tissue[:, :2] / 700.0 - 1) @ rng.uniform(0.3, 1.0, (2, n_regions))
    if columns:
        percent += np.einsum("nrj,rj->nr", waves, 0.5 * rng.standard_normal((n_regions, 8)))
    means = np.array([1000.0, 400.0, 1500.0])[:n_regions] * (1 + 0.01 * percent)
    frames = [frame(k, means[k], motion=motion[k], tissue=tissue[k].astype(np.float32), tr=tr) for k in range(n)]
    return frames, noise, waves


def regions(stage, frames, waves=None):
    given = [None] * len(frames) if waves is None else waves
    return np.array([stage(f, w).regions for f, w in zip(frames, given, strict=True)], np.float64)


# ---------------------------------------------------------------- baseline


def by_hand(frames, settle_s=20.0, tau=100.0):
    """What the level and the change of a single run are, written as the formulas have it."""
    level, settling, out, last = None, [], [], frames[0].index
    for f in frames:
        means, late = f.means.astype(np.float64), f.index < last
        if level is None:
            if late or (f.index - frames[0].index) * f.tr < settle_s:
                if not late:
                    settling.append(means)
                    last = f.index
                out.append(np.full(len(means), np.nan))
                continue
            level = np.mean(settling, axis=0)
        out.append(100.0 * (means - level) / level)
        if not late and not f.flags & (Flag.MOTION | Flag.LATE):
            follow = 1.0 - math.exp(-max(1, f.index - last) * f.tr / tau)
            level = level + follow * (means - level)
        if not late:
            last = f.index
    return np.array(out).astype(np.float32)


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(12)), st.sets(st.integers(0, 60), max_size=10), st.sampled_from([0.8, 2.0]))
def test_the_baseline_is_that_of_its_formulas_bit_by_bit(order, moved, tr):
    frames, _, _ = disturbed(80, tr=tr)
    shuffled = [frames[0], *frames[1:40], *(frames[40 + k] for k in order), *frames[52:]]
    shuffled = [frame(f.index, f.means, tr=tr, flags=Flag.MOTION if f.index in moved else Flag.NONE) for f in shuffled]
    stage = RegionSignal(RegionSignalSettings(), 3)
    found = np.array([stage(f).regions for f in shuffled])
    np.testing.assert_array_equal(found, by_hand(shuffled))


def test_a_given_baseline_serves_from_the_first_volume_and_in_every_run():
    stage = RegionSignal(RegionSignalSettings(drift_tau_s=0), 2, np.array([1000.0, 500.0]))
    for series in ("one", "two"):
        out = stage(frame(0, [1010.0, 490.0], series=series))
        np.testing.assert_allclose(out.regions, [1.0, -2.0])
        assert out.flags == Flag.NONE


def test_a_baseline_of_another_length_and_another_number_of_regions_are_refused():
    with pytest.raises(ValueError, match=r"baseline of shape \(3,\): expected one value for each of 2"):
        RegionSignal(RegionSignalSettings(), 2, np.ones(3))
    with pytest.raises(ValueError, match="volume 4 has 3 regions: expected 2"):
        RegionSignal(RegionSignalSettings(), 2)(frame(4, [1.0, 2.0, 3.0]))


def test_flags_say_what_is_missing():
    stage = RegionSignal(RegionSignalSettings(baseline_s=3.0), 1)
    flags = [stage(frame(k, 1000.0)).flags for k in (0, 1, 2, 3, 1)]
    missing = Flag.UNCALIBRATED | Flag.WARMING
    assert flags == [missing, missing, missing, Flag.UNCALIBRATED, Flag.UNCALIBRATED | Flag.LATE]


# ---------------------------------------------------------------- nuisance regression


def batch(frames, design, waves, region, n):
    """Least squares over the first n volumes: the nuisance part, and what is left of the newest."""
    rows = DesignMatrix(design)
    X = np.array([rows.row(f.index * f.tr + f.tr / 2, f.motion, f.tissue) for f in frames[:n]])
    X = X[:, np.any(X != 0, axis=0)]
    if waves is not None:
        X = np.hstack([X, waves[:n, region]])
    y = np.array([f.means[region] for f in frames[:n]], np.float64)
    weights = np.linalg.lstsq(X, y, rcond=None)[0]
    return 100.0 * (y[-1] - X[-1] @ weights) / weights[0]


@pytest.mark.parametrize("with_waves", [False, True])
@pytest.mark.parametrize("n", [120, 200])
def test_every_volume_is_cleaned_as_least_squares_over_all_so_far_would(with_waves, n):
    design = DesignSettings(run_s=300.0)
    frames, _, waves = disturbed(n, columns=with_waves)
    found = regions(RegionSignal(glm(retroicor=with_waves, design=design), 3), frames, waves)
    for region in range(3):
        expected = batch(frames, design, waves if with_waves else None, region, n)
        assert found[-1, region] == pytest.approx(expected, abs=2e-4)


def test_the_prior_weighs_as_much_as_it_says_however_long_the_run():
    design = DesignSettings()
    frames, _, _ = disturbed(1500)
    found = regions(RegionSignal(glm(None, design=design), 3), frames)[-1]
    prior = NuisanceSettings().prior_percent
    made = DesignMatrix(design)
    X = np.array([made.row(f.index + 0.5, f.motion, f.tissue) for f in frames])
    sets = ["free", "trend", *["drift"] * (X.shape[1] - 10), *["motion"] * 6, *["tissue"] * 2]
    weights = np.array([0.5 / prior[name] if name in prior else 0.0 for name in sets])
    y = np.array([100.0 * (f.means.astype(np.float64) / frames[0].means - 1.0) for f in frames])
    padded = np.vstack([y, np.zeros((len(sets), 3))])
    b = np.linalg.lstsq(np.vstack([X, np.diag(weights)]), padded, rcond=None)[0]
    np.testing.assert_allclose(found, (y[-1] - X[-1] @ b) / (1 + 0.01 * b[0]), atol=2e-5)


def test_nuisance_is_gone_and_the_regions_own_noise_is_left():
    frames, noise, waves = disturbed(500, columns=True)
    plain = regions(RegionSignal(RegionSignalSettings(), 3), frames)[100:]
    clean = regions(RegionSignal(glm(retroicor=True), 3), frames, waves)[100:]
    for region in range(3):
        before, after = (np.corrcoef(each[:, region], noise[100:, region])[0, 1] for each in (plain, clean))
        assert after > max(0.7, 2 * before)
        assert clean[:, region].std() < 1.5 * noise.std() < 0.5 * plain[:, region].std()


def test_sets_join_one_after_the_other_once_they_can_be_estimated():
    frames, _, waves = disturbed(80)
    stage = RegionSignal(glm(None, retroicor=True), 3)
    joined = {}
    for k, (f, w) in enumerate(zip(frames, waves, strict=True)):
        stage(f, w)
        for name in stage.regressors:
            joined.setdefault(name, k + 1)
    # two volumes a regressor; no bend of the drift is reached before 64 s
    assert joined == {"constant": 1, "trend": 4, "drift": 4, "motion": 16, "tissue": 20, "retroicor": 36}


def test_a_volume_knows_nothing_of_those_after_it():
    frames, _, waves = disturbed(150, columns=True)
    other, _, _ = disturbed(150, seed=5)
    mixed = frames[:100] + other[100:]
    one = regions(RegionSignal(glm(None, retroicor=True), 3), frames, waves)
    two = regions(RegionSignal(glm(None, retroicor=True), 3), mixed, waves)
    np.testing.assert_array_equal(one[:100], two[:100])
    assert not np.array_equal(one[100:], two[100:])


def test_what_the_task_explains_stays_in_the_signal():
    condition = Condition(name="task", onsets_s=tuple(np.arange(20.0, 400, 40).tolist()), durations_s=(20.0,))
    design = DesignSettings(conditions=(condition,))
    task = np.array([DesignMatrix(design).row(k + 0.5, np.zeros(6), np.ones(3))[-1] for k in range(400)])
    rng = np.random.default_rng(3)
    # the head nods with the task: without the task in the model, motion would take the response with it
    motion = 0.3 * task[:, None] * np.ones(6) * [1, 0, 0, 0, 0, 0] + 0.1 * rng.standard_normal((400, 6))
    means = 1000.0 * (1 + 0.01 * (1.5 * task + 0.2 * rng.standard_normal(400)))
    frames = [frame(k, means[k], motion=motion[k], tissue=np.ones(3, np.float32)) for k in range(400)]
    kept = regions(RegionSignal(glm(design=design), 1), frames)[200:, 0]
    lost = regions(RegionSignal(glm(), 1), frames)[200:, 0]
    assert np.polyfit(task[200:], kept, 1)[0] == pytest.approx(1.5, abs=0.15)
    assert np.polyfit(task[200:], lost, 1)[0] < 0.4


@pytest.mark.parametrize("method", ["baseline", "glm"])
@pytest.mark.parametrize("flag", [Flag.MOTION, Flag.LATE])
def test_a_bad_volume_teaches_nothing(method, flag):
    frames, _, _ = disturbed(120)
    settings = RegionSignalSettings() if method == "baseline" else glm(None)
    one, two = RegionSignal(settings, 3), RegionSignal(settings, 3)
    for f in frames[:80]:
        one(f), two(f)
    one(frame(80, frames[80].means * 1.2, motion=frames[80].motion, tissue=frames[80].tissue, flags=flag))
    two(frame(80, frames[80].means * 0.7, motion=frames[80].motion, tissue=frames[80].tissue, flags=flag))
    for f in frames[81:]:
        np.testing.assert_array_equal(one(f).regions, two(f).regions)


@pytest.mark.parametrize("method", ["baseline", "glm"])
def test_a_new_series_is_a_new_run(method):
    settings = RegionSignalSettings() if method == "baseline" else glm(None)
    frames, _, _ = disturbed(120)
    fresh = RegionSignal(settings, 3)
    after = RegionSignal(settings, 3)
    for f in disturbed(90, seed=9)[0]:
        after(frame(f.index, f.means, motion=f.motion, tissue=f.tissue, series="before"))
    for f in frames:
        one, two = fresh(f), after(f)
        np.testing.assert_array_equal(one.regions, two.regions)
        np.testing.assert_array_equal(one.z, two.z)
    late = after(frame(91, [1.0, 1.0, 1.0], series="before"))
    assert late.flags & Flag.LATE
    np.testing.assert_array_equal(
        fresh(frame(120, [1000.0, 400.0, 1500.0])).regions, after(frame(120, [1000.0, 400.0, 1500.0])).regions
    )


@pytest.mark.parametrize("method", ["baseline", "glm"])
def test_a_region_that_is_away_is_nan_and_harms_no_other(method):
    settings = RegionSignalSettings() if method == "baseline" else glm(None)
    frames, _, _ = disturbed(160)
    whole = regions(RegionSignal(settings, 3), frames)
    holes = []
    for f in frames:
        means = f.means.copy()
        means[1] = np.nan if 80 <= f.index < 90 else means[1]
        means[2] = np.nan
        holes.append(frame(f.index, means, motion=f.motion, tissue=f.tissue))
    found = regions(RegionSignal(settings, 3), holes)
    np.testing.assert_allclose(found[:, 0], whole[:, 0], atol=1e-5)
    assert np.isnan(found[80:90, 1]).all()
    assert np.isnan(found[:, 2]).all()
    assert np.abs(found[100:, 1] - whole[100:, 1]).max() < 0.35


def test_a_region_that_comes_late_begins_at_its_own_level():
    frames, _, _ = disturbed(200)
    late = [
        frame(f.index, np.where([0, f.index < 60, 0], np.nan, f.means), motion=f.motion, tissue=f.tissue)
        for f in frames
    ]
    found = regions(RegionSignal(glm(None), 3), late)
    assert np.isnan(found[:60, 1]).all()
    assert np.abs(found[60:75, 1]).max() < 2.0
    assert found[150:, 1].std() < 0.5


def test_missing_tissue_and_physiology_leave_the_rest_at_work():
    frames, _, waves = disturbed(120)
    bare = [frame(f.index, f.means, motion=f.motion) for f in frames]
    stage = RegionSignal(glm(None, retroicor=True), 3)
    found = regions(stage, bare, np.full(waves.shape, np.nan))
    assert np.isfinite(found[20:]).all()
    assert stage.regressors == ("constant", "trend", "drift", "motion", "tissue")
    np.testing.assert_array_equal(found, regions(RegionSignal(glm(None, retroicor=True), 3), bare))


def test_a_heart_that_is_heard_late_joins_late():
    frames, _, waves = disturbed(120, columns=True)
    waves[:70] = np.nan
    stage = RegionSignal(glm(None, retroicor=True), 3)
    joined = [("retroicor" in stage.regressors) for f, w in zip(frames, waves, strict=True) if stage(f, w)]
    assert joined == [False] * 85 + [True] * 35


def test_equal_input_gives_equal_bits():
    frames, _, waves = disturbed(200, columns=True)
    one, two = (regions(RegionSignal(glm(None, retroicor=True), 3), frames, waves) for _ in range(2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("tr", [2.0, 0.8])
def test_with_heart_and_breath_in_it_the_planted_response_comes_out_better(tr):
    simulated = SimulationSettings(
        seed=2,
        tr_s=tr,
        n_channels=16,
        sfreq=1000.0,
        grid=(48, 48, 16),
        multiband=1 if tr > 1 else 4,
        n_blocks=20,
        cardiac_percent=0.5,
        breathing_percent=0.5,
    )
    planted = plant_signals(simulated)
    signals = [clean_signals(planted, each) for each in (RegionSignalSettings(), glm(None), glm(None, retroicor=True))]
    (plain, plain_left), (tissue, tissue_left), (all_of_it, left) = (
        agreement(signal, planted, (150.0, np.inf)) for signal in signals
    )
    assert plain + 0.05 < tissue < all_of_it
    assert plain_left > 1.1 * tissue_left
    assert tissue_left > 1.1 * left


# ---------------------------------------------------------------- z and ranges


def test_z_is_against_the_past_alone_and_waits_for_ten_volumes():
    rng = np.random.default_rng(0)
    means = (1000.0 + 5.0 * rng.standard_normal(60)).astype(np.float32)
    stage = RegionSignal(RegionSignalSettings(drift_tau_s=0), 1, np.array([1000.0]))
    frames = [stage(frame(k, m)) for k, m in enumerate(means)]
    z = np.array([f.z[0] for f in frames])
    assert np.isnan(z[:10]).all()
    past = np.array([f.regions[0] for f in frames], np.float64)
    for k in (10, 30, 59):
        assert z[k] == pytest.approx((past[k] - past[:k].mean()) / past[:k].std(ddof=1), rel=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=40), st.sampled_from([0.0, 5.0, 50.0]))
def test_running_moments_are_weighted_moments(values, tau):
    moments = RunningMoments(1, tau)
    for value in values:
        moments.add(np.array([value]), 1.0)
    age = np.arange(len(values))[::-1]
    weights = np.exp(-age / tau) if tau else np.ones(len(values))
    mean = np.average(values, weights=weights)
    squares = weights @ np.square(np.array(values) - mean)
    degrees = weights.sum() - np.square(weights).sum() / weights.sum()
    np.testing.assert_allclose(moments.mean, mean, atol=1e-9)
    np.testing.assert_allclose(moments.deviation, np.sqrt(squares / degrees), atol=1e-6)


def test_the_range_widens_to_both_sides():
    # a lower end that moves up with every greater value would show the whole range as 0
    shown = DynamicRange(0.5)
    assert shown.limits == (-0.5, 0.5)
    assert shown(2.0) == 1.0
    assert shown.limits == (-0.5, 2.0)
    assert shown(-1.0) == 0.0
    assert shown.limits == (-1.0, 2.0)
    assert shown(0.5) == pytest.approx(0.5)


def test_after_twenty_values_the_range_forgets_outliers():
    rng = np.random.default_rng(1)
    values = np.r_[50.0, rng.uniform(-1, 1, 400)]
    shown = DynamicRange(0.5)
    for value in values.tolist():
        shown(value)
    low, high = shown.limits
    n = round(0.05 * len(values))
    assert (low, high) == (np.median(np.sort(values)[:n]), np.median(np.sort(values)[-n:]))
    assert -1.0 < low < -0.9
    assert 0.9 < high < 1.0
    assert math.isnan(shown(math.nan))
    assert shown.limits == (low, high)
    with pytest.raises(ValueError, match="expected more than 0"):
        DynamicRange(0.0)


def test_a_region_without_signal_is_no_change_where_that_is_wanted() -> None:
    means = [[100.0, np.nan, 0.0], [110.0, np.nan, 0.0]]
    given = np.array([100.0, np.nan, 0.0])
    for empty, expected in (("masked", np.nan), ("zero", 0.0)):
        stage = RegionSignal(RegionSignalSettings(empty=empty, drift_tau_s=0), 3, given)
        frames = [stage(frame(k, row)) for k, row in enumerate(means)]
        assert frames[-1].regions[0] == pytest.approx(10.0, abs=0.1)
        np.testing.assert_array_equal(frames[-1].regions[1:], [expected, expected])
