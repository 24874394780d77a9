from __future__ import annotations

import numpy as np
import pytest

from streamer.clean.bold.signal.despike import Despike, DespikeSettings
from streamer.clean.bold.signal.region_signal import RegionSignal, RegionSignalSettings
from tests.unit.bold_frames import frame


def calm(n, seed=0):
    return 0.5 * np.sin(np.arange(n) / 6.0 + seed) + 0.05 * np.random.default_rng(seed).standard_normal(n)


def run(values, mode="hold", **settings):
    stage = Despike(DespikeSettings(mode=mode, **settings), 1)
    return np.array([stage(np.array([value]))[0] for value in values]), stage


def test_off_changes_nothing():
    values = calm(50)
    values[30] = 40.0
    found, stage = run(values, "off")
    np.testing.assert_array_equal(found, values)
    assert stage.held == 0


@pytest.mark.parametrize("mode", ["hold", "kalman"])
@pytest.mark.parametrize("size", [5.0, -5.0])
def test_a_spike_is_held_for_its_one_volume(mode, size):
    values = calm(60)
    plain, _ = run(values, mode)
    values[40] = size
    found, stage = run(values, mode)
    assert found[40] == found[39]
    assert stage.held == 1
    assert np.abs(found - plain).max() < 0.8


@pytest.mark.parametrize("mode", ["hold", "kalman"])
def test_a_step_is_taken_at_its_second_volume(mode):
    values = calm(60)
    values[40:] += 3.0
    found, stage = run(values, mode)
    assert found[40] == found[39]
    assert found[41] == values[41]
    assert np.abs(found[41:] - 3.0).max() < 1.2
    assert stage.held == 1


def test_excursions_to_either_side_are_spikes_each():
    values = calm(60)
    values[40], values[41] = 5.0, -5.0
    found, stage = run(values)
    assert found[40] == found[41] == found[39]
    assert stage.held == 2


def test_a_value_that_is_no_spike_goes_through_as_it_is():
    values = 0.5 * np.sin(np.arange(200) / 15.0)
    found, stage = run(values)
    np.testing.assert_array_equal(found, values)
    assert stage.held == 0


def test_the_estimate_is_that_of_the_filter():
    values = calm(80)
    found, stage = run(values, "kalman", threshold=10.0)
    p, x = 0.0, np.nan
    # ten volumes go through; from then on gains follow from P' = P + Q, K = P' / (P' + R) in units of R
    for k, y in enumerate(values):
        if k < 10:
            x = y
            continue
        wide = p + 0.25
        gain = wide / (wide + 1.0)
        x, p = x + gain * (y - x), gain
        assert found[k] == pytest.approx(x)
    np.testing.assert_array_equal(found[:10], values[:10])
    assert stage.held == 0
    assert np.abs(np.diff(found[20:])).mean() < 0.9 * np.abs(np.diff(values[20:])).mean()


def test_nothing_is_held_before_ten_volumes():
    values = calm(12)
    values[5] = 50.0
    found, stage = run(values)
    np.testing.assert_array_equal(found, values)
    assert stage.held == 0


def test_regions_are_apart_and_holes_stay_holes():
    values = np.column_stack([calm(60), calm(60, 1), calm(60, 2)])
    values[40, 0] = 9.0
    values[38:41, 1] = np.nan
    stage = Despike(DespikeSettings(mode="hold"), 3)
    found = np.array([stage(row) for row in values])
    assert np.isnan(found[38:41, 1]).all()
    assert found[40, 0] == found[39, 0]
    np.testing.assert_array_equal(found[:, 2], values[:, 2])
    np.testing.assert_array_equal(found[41:, 1], values[41:, 1])


def test_a_new_run_is_learned_anew_and_a_region_signal_is_despiked():
    settings = RegionSignalSettings(drift_tau_s=0, despike=DespikeSettings(mode="hold"))
    stage = RegionSignal(settings, 1, np.array([1000.0]))
    values = calm(40)
    values[30] = 8.0
    found = [stage(frame(k, 1000.0 * (1 + 0.01 * v))).regions[0] for k, v in enumerate(values)]
    assert found[30] == found[29]
    assert stage.held == 1
    again = [stage(frame(k, 1000.0 * (1 + 0.01 * v), series="next")).regions[0] for k, v in enumerate(values)]
    assert found == again
