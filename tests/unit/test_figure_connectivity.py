"""Which regions go together: known answers and false alarms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from dashboard.figures.connectivity import (
    LEAST_VOLUMES,
    centre_of_groups,
    correlate,
    discoveries,
    from_feature,
    places_from_above,
)

N_REGIONS = 16
N_VOLUMES = 90
PAIRS = np.triu_indices(N_REGIONS, 1)


def noise(rng: np.random.Generator, repeat: float, n: int = N_VOLUMES, regions: int = N_REGIONS) -> np.ndarray:
    """AR(1) noise, shape (n, regions), independent regions."""
    made = rng.standard_normal((n + 100, regions))
    for t in range(1, len(made)):
        made[t] += repeat * made[t - 1]
    return made[100:]


def names(n: int) -> list[str]:
    return [f"r{i}" for i in range(n)]


def p_values(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of all pairs: aware of repetition, and naive."""
    found, aware, naive = correlate(values, names(N_REGIONS)), [], []
    for i, j in zip(*PAIRS, strict=True):
        pair = correlate(values[:, [i, j]], ["a", "b"])
        z = np.arctanh(abs(found.strength[i, j]))
        assert pair.strength[0, 1] == pytest.approx(found.strength[i, j])
        aware.append(2 * norm.sf(z * np.sqrt(pair.n_effective - 4)))
        naive.append(2 * norm.sf(z * np.sqrt(found.n_volumes - 3)))
    return np.array(aware), np.array(naive)


@pytest.mark.parametrize(("repeat", "naive_rate"), [(0.0, (0.02, 0.08)), (0.6, (0.13, 0.25))])
def test_noise_gives_the_nominal_rate_of_false_pairs(repeat: float, naive_rate: tuple[float, float]) -> None:
    rng = np.random.default_rng(1)
    both = [p_values(noise(rng, repeat)) for _ in range(12)]
    aware, naive = (np.mean(np.concatenate(part) < 0.05) for part in zip(*both, strict=True))
    assert 0.03 < aware < 0.07
    assert naive_rate[0] < naive < naive_rate[1]


@pytest.mark.parametrize("repeat", [0.0, 0.6])
def test_noise_shows_hardly_any_edge(repeat: float) -> None:
    rng = np.random.default_rng(2)
    runs = [correlate(noise(rng, repeat), names(N_REGIONS)) for _ in range(100)]
    # with nothing to be found, so often is anything found
    assert np.mean([bool(run.edges) for run in runs]) <= 0.10
    assert sum(len(run.edges) for run in runs) < 0.005 * 100 * len(PAIRS[0])


def test_censored_volumes_keep_the_rate() -> None:
    rng = np.random.default_rng(3)
    rates = []
    for _ in range(12):
        values = noise(rng, 0.6)
        values[rng.random(N_VOLUMES) < 0.2] = np.nan
        rates.append(np.mean(p_values(values)[0] < 0.05))
    assert 0.025 < np.mean(rates) < 0.075


def test_a_planted_pair_is_found_with_its_sign() -> None:
    rng = np.random.default_rng(4)
    values = noise(rng, 0.6)
    values[:, 5] = -0.9 * values[:, 2] + 0.3 * noise(rng, 0.6)[:, 0]
    found = correlate(values, names(N_REGIONS))
    assert (2, 5) in {(one, other) for one, other, _ in found.edges}
    one, other, strength = found.edges[-1]
    assert (one, other) == (2, 5)
    assert strength < -0.8
    assert found.tested == len(PAIRS[0])
    assert found.connected[2]
    assert found.connected[5]


def test_the_number_of_independent_volumes_is_that_of_theory() -> None:
    rng = np.random.default_rng(5)
    found = [correlate(noise(rng, 0.6, n=400), names(N_REGIONS)) for _ in range(5)]
    expected = 400 * (1 - 0.36) / (1 + 0.36)
    assert np.mean([each.n_effective for each in found]) == pytest.approx(expected, rel=0.1)


def test_common_drift_is_no_connection() -> None:
    rng = np.random.default_rng(6)
    values = rng.standard_normal((N_VOLUMES, 2)) + np.arange(N_VOLUMES)[:, None] * 0.2
    assert np.corrcoef(values.T)[0, 1] > 0.9
    assert not correlate(values, names(2)).edges


def test_strength_is_the_correlation_of_what_the_trend_leaves() -> None:
    rng = np.random.default_rng(7)
    values = rng.standard_normal((50, 3)) + 100
    t = np.column_stack([np.ones(50), np.arange(50)])
    left = values - t @ np.linalg.lstsq(t, values, rcond=None)[0]
    found = correlate(values, names(3)).strength
    assert found[np.triu_indices(3, 1)] == pytest.approx(np.corrcoef(left.T)[np.triu_indices(3, 1)])
    assert np.isnan(np.diagonal(found)).all()


def test_too_few_volumes_show_nothing() -> None:
    values = np.repeat(np.random.default_rng(8).standard_normal((LEAST_VOLUMES, 1)), 2, axis=1)
    assert correlate(values, names(2)).edges
    values[3] = np.nan
    found = correlate(values, names(2))
    assert found.n_volumes == LEAST_VOLUMES - 1
    assert not found.edges
    assert found.tested == 0


def test_regions_that_are_constant_or_mostly_unknown_have_no_pairs() -> None:
    values = np.random.default_rng(9).standard_normal((60, 4))
    values[:, 1] = 7.0
    values[::2, 2] = np.nan
    found = correlate(values, names(4))
    assert found.tested == 1
    assert np.isfinite(found.strength[0, 3])
    assert np.isnan(found.strength[[1, 2]]).all()


@pytest.mark.parametrize("shape", [(0, 3), (30, 0), (30, 1)])
def test_nothing_to_compare_is_no_error(shape: tuple[int, int]) -> None:
    found = correlate(np.ones(shape), names(shape[1]))
    assert not found.edges
    assert found.tested == 0


def test_benjamini_and_hochberg_on_their_own_example() -> None:
    p = np.array([0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.324, 0.4262, 0.5719,
                  0.6528, 0.759, 1.0])  # fmt: skip
    assert discoveries(p, 0.05).tolist() == [True] * 4 + [False] * 11
    assert discoveries(np.array([np.nan, 0.001]), 0.05).tolist() == [False, True]
    assert not discoveries(np.full(3, np.nan), 0.05).any()


def test_a_feature_with_a_known_scatter_is_judged() -> None:
    labels = ["imcoh front left~back", "imcoh front left~right", "imcoh back~right", "n_independent"]
    found = from_feature(labels, [0.5, 0.05, None, 120.0], [0.06, 0.06, 0.06, 0.0])
    assert found is not None
    assert found.names == ("front left", "back", "right")
    assert found.measure == "imcoh"
    assert found.judged
    assert found.edges == [(0, 1, 0.5)]
    assert found.tested == 2


def test_a_feature_without_a_null_shows_all_pairs_and_says_so() -> None:
    found = from_feature(["wpli a~b", "wpli a~c", "n_independent"], [0.5, 0.1, 120.0], [])
    assert found is not None
    assert not found.judged
    assert [(one, other) for one, other, _ in found.edges] == [(0, 2), (0, 1)]


@pytest.mark.parametrize("labels", [[], ["phase"], ["a~b"], ["imcoh a~"], ["imcoh a~b~c"]])
def test_a_feature_of_another_kind_is_none(labels: list[str]) -> None:
    assert from_feature(labels, [0.5] * len(labels), []) is None


def test_places_keep_their_shape_and_need_all() -> None:
    found = places_from_above([[-30.0, -20.0, 50.0], [30.0, -20.0, 50.0], [0.0, 20.0, 0.0]], 3)
    assert found is not None
    assert found.tolist() == [[-1.0, pytest.approx(-2 / 3)], [1.0, pytest.approx(-2 / 3)], [0.0, pytest.approx(2 / 3)]]
    assert places_from_above([[0.0, 0.0, 0.0], None], 2) is None
    assert places_from_above([], 2) is None
    assert places_from_above([[np.nan, 0.0, 0.0], [1.0, 0.0, 0.0]], 2) is None


def test_a_group_lies_in_the_middle_of_its_electrodes() -> None:
    positions = {"Fz": [0.0, 0.6, 0.8], "Cz": [0.0, 0.0, 1.0], "X1": None}
    groups = {"mid": ["Fz", "Cz"], "odd": ["X1"]}
    assert centre_of_groups(["mid", "odd", "gone"], groups, positions) == [[0.0, 0.3, 0.9], None, None]
    assert centre_of_groups(["mid"], "(not sent)", positions) == [None]
