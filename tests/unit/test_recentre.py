"""Slow drift is followed: bounded, written down, frozen while anything is wrong, and taken back on command."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.decode.baseline import PowerBaseline, RunningBaseline, log_power
from streamer.decode.features import PowerStep
from streamer.decode.recentre import RECENTRE, Recentre, RecentreSettings, ReferenceDrift, distance, geodesic
from streamer.messages import Feature, Flag, SessionTime

LABELS = ("O1:alpha", "O2:alpha", "Oz:alpha")
STEP_S = 0.1
PER_BLOCK = 100


def power(rng: np.random.Generator, n: int, drift: float = 0.0) -> np.ndarray:
    return (1e-11 * np.exp(drift) * rng.chisquare(4, (n, 3)) / 4).astype(np.float32)


@pytest.fixture(scope="module")
def baseline() -> PowerBaseline:
    running = RunningBaseline(3)
    steps = power(np.random.default_rng(0), 8000)
    for pair in steps.reshape(-1, 2, 3):
        running.add(log_power(pair.mean(axis=0, dtype=np.float64).astype(np.float32)))
    return running.freeze()


def step(index: int, row: np.ndarray, flags: Flag = Flag.NONE, *, valid: bool = True) -> PowerStep:
    return PowerStep(index, row[:, None], 25 * (index + 1), SessionTime(STEP_S * (index + 1)), valid, flags)


def run(stage: Recentre, rows: np.ndarray, flags: Flag = Flag.NONE, first: int = 0) -> list[Feature]:
    found = [stage(step(first + k, row, flags)) for k, row in enumerate(rows)]
    return [feature for feature in found if feature is not None]


def made(baseline: PowerBaseline, **settings: float) -> Recentre:
    return Recentre(RecentreSettings(enabled=True, **settings), baseline, LABELS, 2, STEP_S)


def test_without_drift_it_stays_where_the_calibration_was(baseline: PowerBaseline):
    stage = made(baseline)
    run(stage, power(np.random.default_rng(1), 12_000))
    # 20 minutes; a mean over tau of 3 minutes of independent steps
    assert np.abs(stage.shift).max() < 0.1


def test_drift_is_followed_to_its_bound_and_no_faster_than_allowed(baseline: PowerBaseline):
    drift = 0.6
    wanted = drift / baseline.sd
    assert (wanted > 0.7).all()
    stage = made(baseline, max_sd_per_min=0.3, max_sd=5.0)
    told = run(stage, power(np.random.default_rng(2), 18_000, drift))
    assert stage.shift == pytest.approx(wanted, abs=0.12)
    assert [f.name for f in told] == [RECENTRE] * len(told)
    values = np.array([(0.0, 0.0, 0.0), *(f.values for f in told)])
    assert np.abs(np.diff(values, axis=0)).max() <= 0.3 * 10 / 60 + 1.1e-5
    # only at the ends of blocks, and what was told is what is subtracted
    assert {(f.sample // 25) % PER_BLOCK for f in told} == {0}
    assert told[-1].values == tuple(stage.shift)
    assert told[-1].labels[0] == "O1:alpha (sd)"

    bounded = made(baseline, max_sd=0.25)
    run(bounded, power(np.random.default_rng(2), 18_000, drift))
    assert bounded.shift == pytest.approx(0.25, abs=1e-9)


@pytest.mark.parametrize(
    "flag", ["GAP", "MOTION", "CLIPPED", "BAD_CHANNELS", "UNSYNCED", "WARMING", "STALE", "CLOCK_STEP"]
)
def test_artefacts_freeze_it(baseline: PowerBaseline, flag: str):
    stage = made(baseline)
    assert not run(stage, power(np.random.default_rng(3), 1000, 2.0), Flag[flag])
    assert not stage.shift.any()
    # half a block of artefacts leaves the other half to learn from; what is flagged is left out
    rows = power(np.random.default_rng(4), 100)
    rows[:50] *= 1000
    mixed = [stage(step(1000 + k, row, Flag[flag] if k < 50 else Flag.NONE)) for k, row in enumerate(rows)]
    assert mixed[-1] is not None
    assert np.abs(stage.shift).max() < 0.02


def test_a_volume_with_motion_freezes_it_too(baseline: PowerBaseline):
    stage = made(baseline)
    for k, row in enumerate(power(np.random.default_rng(3), 500, 2.0)):
        assert stage(step(k, row), Flag.MOTION) is None


def test_sham_and_the_operator_freeze_it_and_a_rollback_takes_all_back(baseline: PowerBaseline):
    rng = np.random.default_rng(5)
    stage = made(baseline)
    stage.sham = True
    assert not run(stage, power(rng, 300, 1.0))
    stage.sham = False
    assert run(stage, power(rng, 300, 1.0), first=300)
    before = stage.shift.copy()
    assert (before > 0).all()
    stage.command("freeze")
    assert not run(stage, power(rng, 300, 1.0), first=600)
    assert np.array_equal(stage.shift, before)
    stage.command("rollback")
    told = run(stage, power(rng, 300, 1.0), first=900)
    assert [f.values for f in told] == [(0.0, 0.0, 0.0)]
    assert told[0].sample == 25 * 901
    stage.command("on")
    assert run(stage, power(rng, 300, 1.0), first=1200)
    with pytest.raises(ValueError, match="'up' is not known: expected on, freeze, rollback"):
        stage.command("up")


def test_holes_and_jumps_of_time_begin_a_block_anew(baseline: PowerBaseline):
    rng = np.random.default_rng(6)
    stage = made(baseline)
    run(stage, power(rng, 99, 3.0))
    # the block's last step never comes
    assert not run(stage, power(rng, 40, 3.0), first=205)
    assert not run(stage, power(rng, 60, 3.0), first=20)
    assert not stage.shift.any()
    nothing = [stage(step(300 + k, np.full(3, np.nan, np.float32), valid=False)) for k in range(100)]
    assert not any(nothing)
    assert np.isfinite(stage.shift).all()


def test_the_same_steps_give_the_same_shifts(baseline: PowerBaseline):
    rows = power(np.random.default_rng(7), 2000, 0.4)
    assert run(made(baseline), rows) == run(made(baseline), rows)


def covariance(rng: np.random.Generator, n: int) -> np.ndarray:
    half = rng.standard_normal((n, 4 * n))
    return half @ half.T / (4 * n)


def test_geodesic_and_distance():
    rng = np.random.default_rng(8)
    a, b = covariance(rng, 4), covariance(rng, 4)
    assert geodesic(a, b, 0.0) == pytest.approx(a)
    assert geodesic(a, b, 1.0) == pytest.approx(b)
    whole = distance(a, b)
    assert distance(a, geodesic(a, b, 0.3)) == pytest.approx(0.3 * whole)
    mix = rng.standard_normal((4, 4))
    assert distance(mix @ a @ mix.T, mix @ b @ mix.T) == pytest.approx(whole)
    assert distance(np.eye(2), np.diag([np.e, 1.0])) == pytest.approx(1.0)


def test_a_reference_follows_within_its_bounds_and_rolls_back():
    rng = np.random.default_rng(9)
    centre = np.eye(5) - 0.2
    reference = centre @ covariance(rng, 5) @ centre
    louder = np.exp(0.3) * reference
    drift = ReferenceDrift(RecentreSettings(), reference)
    told = [drift(louder, 100 * k, SessionTime(10.0 * k)) for k in range(200)]
    # variances all times exp(0.3): that far, as a root mean square of logarithms
    assert drift.moved == pytest.approx(0.3, abs=0.01)
    assert drift.reference == pytest.approx(louder, rel=0.02, abs=1e-9)
    # the average reference keeps its lost dimension
    assert np.abs(drift.reference.sum(axis=0)).max() < 1e-9
    changes = [f.values[1] for f in told if f is not None]
    assert max(changes) <= 0.1 * 10 / 60 + 2e-5
    for k in range(200):
        drift(100.0 * reference, 100 * k, SessionTime(10.0 * k))
    assert drift.moved == pytest.approx(0.5, abs=1e-6)
    drift.roll_back()
    assert drift.moved == pytest.approx(0.0, abs=1e-9)
    assert drift.reference is reference


@pytest.mark.parametrize("what", ["flagged", "not finite", "without a dimension"])
def test_a_reference_does_not_follow_what_is_wrong(what: str):
    rng = np.random.default_rng(10)
    reference = covariance(rng, 3)
    drift = ReferenceDrift(RecentreSettings(), reference)
    given, flags = 2.0 * reference, Flag.NONE
    if what == "flagged":
        flags = Flag.BAD_CHANNELS
    elif what == "not finite":
        given = given.copy()
        given[0, 1] = np.nan
    else:
        given = np.outer(given[0], given[0])
    assert drift(given, 1, SessionTime(1.0), flags) is None
    assert drift.reference is reference
