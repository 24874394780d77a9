import numpy as np
import pytest

from streamer.decode.baseline import PowerBaseline, RunningBaseline, log_power


def test_a_running_baseline_is_the_mean_and_sd_of_all_steps():
    steps = np.random.default_rng(1).normal(3, 2, (200, 5))
    running = RunningBaseline(5)
    for step in steps:
        running.add(step)
    frozen = running.freeze()
    np.testing.assert_allclose(frozen.mean, steps.mean(axis=0))
    np.testing.assert_allclose(frozen.sd, steps.std(axis=0, ddof=1))
    z = frozen.z(steps)
    np.testing.assert_allclose(z.std(axis=0, ddof=1), 1, rtol=1e-5)


def test_zero_power_has_a_finite_logarithm():
    assert np.isfinite(log_power(np.zeros(3, np.float32))).all()


def test_too_few_steps_are_refused():
    running = RunningBaseline(2)
    running.add(np.zeros(2))
    with pytest.raises(ValueError, match="1 steps"):
        running.freeze()


@pytest.mark.parametrize(("mean", "sd"), [([0.0], [0.0]), ([np.nan], [1.0]), ([0.0, 1.0], [1.0])])
def test_a_baseline_that_cannot_scale_is_refused(mean: list[float], sd: list[float]):
    with pytest.raises(ValueError, match="baseline"):
        PowerBaseline(np.array(mean), np.array(sd))
