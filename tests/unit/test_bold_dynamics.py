from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from streamer.clean.bold.dynamics.alff import Alff, AlffSettings
from streamer.clean.bold.dynamics.connectivity import (
    RegionConnectivity,
    RegionConnectivitySettings,
    partial_correlation,
)
from streamer.clean.bold.dynamics.dynamics_set import BoldDynamics, BoldDynamicsSettings
from streamer.clean.bold.dynamics.feedback import Feedback, FeedbackSettings
from streamer.errors import ConfigError
from streamer.messages import Flag
from tests.unit.bold_frames import cleaned

NAMES = ("a", "b", "c")


def linked(n, seed=0):
    """b follows a, c follows b: a and c have to do with each other only through b."""
    rng = np.random.default_rng(seed)
    a, b, c = rng.standard_normal((3, n))
    b = 0.8 * a + 0.6 * b
    return np.column_stack([a, b, 0.8 * b + 0.6 * c])


def run(stage, values, **changes):
    return [feature for k, row in enumerate(values) for feature in stage(cleaned(k, row, **changes))]


def connectivity(**settings):
    return RegionConnectivity(RegionConnectivitySettings(**settings), NAMES)


# ---------------------------------------------------------------- connectivity


@pytest.mark.parametrize("tr", [0.8, 2.0])
def test_correlations_are_those_under_exponential_weights(tr):
    values = linked(120).astype(np.float32)
    found = run(connectivity(tau_s=20.0), values, tr=tr)[-1]
    weights = np.exp(-np.arange(120)[::-1] * tr / 20.0)
    expected = np.cov(values.astype(float).T, aweights=weights)
    sd = np.sqrt(np.diag(expected))
    expected = (expected / np.outer(sd, sd))[[0, 0, 1], [1, 2, 2]]
    np.testing.assert_allclose(found.values, expected, atol=2e-6)
    assert found.labels == ("correlation a~b", "correlation a~c", "correlation b~c")
    assert found.name == "bold.connectivity"
    assert found.valid
    # the weights' mean age
    assert found.delay_s == pytest.approx(np.arange(120)[::-1] * tr @ weights / weights.sum())
    assert found.about == pytest.approx(100.0 + 119.5 * tr - found.delay_s)
    assert found.sample == 120


def test_fisher_z_is_the_area_tangent():
    values = linked(100)
    plain, fisher = (run(connectivity(fisher_z=z), values)[-1] for z in (False, True))
    np.testing.assert_allclose(fisher.values, np.arctanh(plain.values), atol=5e-6)
    assert fisher.labels[0] == "z correlation a~b"
    np.testing.assert_allclose(
        plain.uncertainty, np.array(fisher.uncertainty) * (1 - np.square(plain.values)), atol=2e-6
    )


def test_partial_correlation_leaves_out_what_comes_through_a_third():
    values = linked(2000)
    plain = run(connectivity(tau_s=600.0), values)[-1].values
    partial = run(connectivity(tau_s=600.0, measure="partial"), values)[-1].values
    assert plain[1] > 0.55
    assert abs(partial[1]) < 0.1
    assert partial[0] > 0.5
    assert partial[2] > 0.5


def test_partial_correlation_of_many_volumes_is_that_of_the_inverse():
    matrix = np.corrcoef(linked(500).T)
    inverse = np.linalg.inv(matrix)
    expected = -inverse / np.sqrt(np.outer(np.diag(inverse), np.diag(inverse)))
    np.fill_diagonal(expected, 1.0)
    np.testing.assert_allclose(partial_correlation(matrix, 1e9), expected, atol=1e-6)


def test_partial_correlation_exists_with_fewer_volumes_than_regions():
    rng = np.random.default_rng(0)
    names = [f"r{k}" for k in range(30)]
    stage = RegionConnectivity(RegionConnectivitySettings(measure="partial", min_s=10.0, tau_s=10.0), names)
    found = run(stage, rng.standard_normal((12, 30)))[-1]
    assert found.valid
    assert np.isfinite(found.values).all()
    # shrunk, for lack of evidence
    assert np.abs(found.values).max() < 0.3


@pytest.mark.parametrize("correlated", [False, True])
def test_the_scatter_without_connection_is_as_large_as_is_said(correlated):
    rng = np.random.default_rng(1)
    values = rng.standard_normal((6000, 3))
    if correlated:
        for k in range(1, len(values)):
            values[k] = 0.7 * values[k - 1] + np.sqrt(1 - 0.49) * values[k]
    found = run(connectivity(tau_s=40.0), values)[300:]
    scatter = np.std([f.values for f in found])
    said = np.median([f.uncertainty for f in found])
    assert said == pytest.approx(scatter, rel=0.25)


def test_nothing_is_valid_before_enough_has_come():
    found = run(connectivity(min_s=30.0), linked(60))
    assert [f.valid for f in found] == [False] * 29 + [True] * 31
    assert np.isnan(found[28].values).all()
    assert found[28].flags & Flag.WARMING
    assert found[29].flags == Flag.NONE


def test_a_moved_volume_is_left_out_and_a_late_one_gives_nothing():
    values = linked(100)
    one, two = connectivity(), connectivity()
    for k in range(80):
        one(cleaned(k, values[k])), two(cleaned(k, values[k]))
    moved = one(cleaned(80, [50.0, -50.0, 50.0], flags=Flag.MOTION))[0]
    assert not moved.valid
    assert moved.flags == Flag.MOTION
    two(cleaned(80, [-9.0, 9.0, 9.0], flags=Flag.MOTION))
    assert one(cleaned(10, [7.0, 7.0, 7.0])) == []
    assert one(cleaned(81, [7.0, 7.0, 7.0], flags=Flag.LATE)) == []
    two(cleaned(81, values[81], flags=Flag.LATE))
    for k in range(82, 100):
        assert one(cleaned(k, values[k]))[0].values == two(cleaned(k, values[k]))[0].values


def test_a_region_that_is_away_is_masked_and_comes_back():
    values = linked(400).astype(np.float32)
    values[150:180, 2] = np.nan
    found = run(connectivity(tau_s=30.0), values)
    assert np.isfinite(found[149].values).all()
    assert np.isnan(found[179].values).tolist() == [False, True, True]
    assert found[179].valid
    assert np.isfinite(found[-1].values).all()
    whole = run(connectivity(tau_s=30.0), linked(400).astype(np.float32))
    np.testing.assert_array_equal([f.values[0] for f in found], [f.values[0] for f in whole])
    np.testing.assert_allclose(found[-1].values, whole[-1].values, atol=1e-3)


def test_a_new_series_begins_anew():
    stage = connectivity()
    run(stage, linked(90, seed=4))
    again = run(stage, linked(90), series="next")
    fresh = run(connectivity(), linked(90))
    assert [f.values for f in again[59:]] == [f.values for f in fresh[59:]]
    assert not again[58].valid


def test_missing_volumes_age_the_window():
    values = linked(200)
    stage = connectivity()
    run(stage, values[:100])
    age = np.r_[np.arange(120, 20, -1), 0]
    weights = np.exp(-age / 30.0)
    late = stage(cleaned(120, values[100]))[0]
    expected = np.cov(values[:101].T, aweights=weights)
    assert late.values[0] == pytest.approx(expected[0, 1] / np.sqrt(expected[0, 0] * expected[1, 1]), abs=1e-5)
    assert late.delay_s == pytest.approx(age @ weights / weights.sum())
    # nothing is known any more after so long
    gone = stage(cleaned(400, values[101]))[0]
    assert not gone.valid
    assert gone.delay_s == 0.0


def test_regions_are_chosen_and_wrong_ones_refused():
    found = run(connectivity(regions=("c", "a")), linked(70))[-1]
    assert found.labels == ("correlation c~a",)
    with pytest.raises(ConfigError, match="no region x: expected some of a, b, c"):
        connectivity(regions=("a", "x"))
    with pytest.raises(ConfigError, match="region a is named twice"):
        connectivity(regions=("a", "a"))
    with pytest.raises(ConfigError, match="1 regions: expected 2 to 40"):
        connectivity(regions=("a",))
    with pytest.raises(ConfigError, match="50 regions: expected 2 to 40"):
        RegionConnectivity(RegionConnectivitySettings(), [str(k) for k in range(50)])


# ---------------------------------------------------------------- ALFF


def alff(**settings):
    return Alff(AlffSettings(**settings), NAMES)


def test_a_sine_in_the_band_is_measured_and_its_share_told():
    # even about the middle of the last window: no trend to be taken out
    t = np.arange(300.0) - 249.5
    slow, fast = 2.0 * np.cos(2 * np.pi * 0.05 * t), 2.0 * np.cos(2 * np.pi * 0.25 * t)
    found = run(alff(), np.column_stack([slow, fast, slow + fast]))[-1]
    n_bins = 10
    assert found.labels[:2] == ("alff a (%)", "alff b (%)")
    assert found.labels[3] == "falff a"
    np.testing.assert_allclose(found.values[:3], [2.0 / n_bins, 0.0, 2.0 / n_bins], atol=1e-5)
    np.testing.assert_allclose(found.values[3:], [1.0, 0.0, 0.5], atol=1e-5)
    assert found.valid
    assert found.delay_s == 49.5
    assert found.about == pytest.approx(100.0 + 299.5 - 49.5)


def test_a_trend_is_no_fluctuation():
    t = np.arange(120.0)
    values = np.column_stack([0.05 * t + 3.0, np.sin(0.3 * t), np.sin(0.3 * t) + 0.05 * t])
    found = run(alff(), values)[-1].values
    assert found[0] < 1e-6
    assert found[2] == pytest.approx(found[1], abs=1e-4)


def test_the_window_must_be_full():
    found = run(alff(), np.random.default_rng(0).standard_normal((60, 3)), tr=2.0)
    assert [f.valid for f in found] == [False] * 49 + [True] * 11
    assert found[48].flags == Flag.WARMING
    assert found[49].flags == Flag.NONE


def test_holes_are_bridged_until_there_are_too_many():
    t = np.arange(200.0)
    values = np.column_stack([np.sin(0.2 * t)] * 3)
    whole = run(alff(), values)[-1].values
    stage = alff()
    for k in range(200):
        moved = k in {150, 151, 170}
        if k in {120, 180}:
            continue
        row = values[k] * [1, 1, 0] + [0, 0, np.nan if k > 160 else values[k, 2]]
        out = stage(cleaned(k, row if not moved else row + 90, flags=Flag.MOTION if moved else Flag.NONE))[0]
    np.testing.assert_allclose(out.values[0], whole[0], rtol=0.05)
    assert np.isnan(out.values[2])
    assert np.isnan(out.values[5])
    assert out.flags == Flag.MOTION | Flag.GAP
    assert out.valid
    assert stage(cleaned(50, values[50])) == []


def test_a_band_that_does_not_fit_the_window_is_refused():
    with pytest.raises(ValidationError, match="expected 200 or more"):
        AlffSettings(band_hz=(0.005, 0.1))
    with pytest.raises(ValidationError, match="expected rising edges"):
        AlffSettings(band_hz=(0.1, 0.01))


# ---------------------------------------------------------------- feedback and the set


def test_feedback_gives_differences_and_levels():
    settings = FeedbackSettings(differences={"a-b": ("a", "b")}, regions=("c",))
    stage = Feedback(settings, NAMES)
    found = stage(cleaned(0, [0.4, 0.15, 0.0]))[0]
    assert found.labels == ("c (%)", "a-b (%)", "level c", "level a-b")
    np.testing.assert_allclose(found.values, [0.0, 0.25, 0.5, 0.75], atol=1e-6)
    away = stage(cleaned(1, [np.nan, 0.1, 0.5]))[0].values
    assert np.isnan(away).tolist() == [False, True, False, True]
    moved = stage(cleaned(2, [9.0, 0.0, 9.0], flags=Flag.MOTION))[0]
    assert not moved.valid
    # what moved did not widen the range
    assert stage(cleaned(3, [0.0, 0.0, 0.0]))[0].values[2] == 0.5
    assert stage(cleaned(0, [5.0, 0.0, -5.0], series="next"))[0].values[2:] == (0.0, 1.0)
    assert Feedback(FeedbackSettings(), NAMES)(cleaned(0, [0, 0, 0]))[0].labels[:3] == ("a (%)", "b (%)", "c (%)")
    with pytest.raises(ConfigError, match="no region x"):
        Feedback(FeedbackSettings(differences={"d": ("a", "x")}), NAMES)


def test_the_set_runs_what_is_switched_on():
    on = BoldDynamicsSettings(
        connectivity=RegionConnectivitySettings(enabled=True),
        alff=AlffSettings(enabled=True),
        feedback=FeedbackSettings(enabled=True),
    )
    stage = BoldDynamics(on, NAMES)
    assert [f.name for f in stage(cleaned(0, [0, 0, 0]))] == ["bold.feedback", "bold.connectivity", "bold.alff"]
    # nothing is said of a volume of which nobody knows when it was
    assert stage(cleaned(1, [0, 0, 0], acquired=None)) == []
    off = BoldDynamicsSettings()
    assert not off.enabled
    assert on.enabled
    assert BoldDynamics(off, ())(cleaned(0, [0, 0, 0])) == []


def test_equal_input_gives_equal_bits():
    on = BoldDynamicsSettings(
        connectivity=RegionConnectivitySettings(enabled=True, measure="partial"), alff=AlffSettings(enabled=True)
    )
    one, two = (run(BoldDynamics(on, NAMES), linked(150)) for _ in range(2))
    assert [f.values for f in one[220:]] == [f.values for f in two[220:]]
    assert all(f.valid for f in one[220:])
