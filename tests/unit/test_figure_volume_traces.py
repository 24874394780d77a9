"""Region signals and motion as they are looked at."""

from __future__ import annotations

import numpy as np
import pytest

from dashboard.figures.volume_traces import (
    above,
    at_volumes,
    between_volumes,
    credible,
    fd_limit,
    run_begin,
    silent_for,
    with_breaks,
)

NAN = np.nan


def test_missing_volumes_lie_between_their_neighbours() -> None:
    assert at_volumes(np.array([10.0, NAN, NAN, 16.0])).tolist() == [10.0, 12.0, 14.0, 16.0]
    assert np.isnan(at_volumes(np.array([NAN, NAN]))).all()


def test_no_line_crosses_a_pause() -> None:
    times, values = with_breaks(np.array([0.0, 2.0, 4.0, 30.0, 32.0]), np.arange(5.0)[:, None])
    assert times.tolist() == [0.0, 2.0, 4.0, 30.0, 30.0, 32.0]
    assert np.flatnonzero(np.isnan(values[:, 0])).tolist() == [3]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (None, (0.5, False)),
        ({"clean": {"bold": {"fd_limit_mm": 0.3}}}, (0.3, True)),
        ({"clean": {"bold": {"fd_limit_mm": "(not sent)"}}}, (0.5, False)),
        ({"clean": {"bold": {"fd_limit_mm": -1}}}, (0.5, False)),
        ({"clean": 3}, (0.5, False)),
    ],
)
def test_the_limit_is_that_of_the_session(settings: dict[str, object] | None, expected: tuple[float, bool]) -> None:
    assert fd_limit(settings) == expected


def test_unknown_motion_is_not_above_the_limit() -> None:
    assert above(np.array([0.4, 0.6, NAN]), 0.5).tolist() == [False, True, False]


def test_the_beginning_of_a_run() -> None:
    times = np.array([1007.0, NAN, 1011.1, 1013.0])
    assert between_volumes(times) == pytest.approx(1.9)
    assert run_begin(times, 3, 2.0) == pytest.approx(1000.0)
    # a series that began anew keeps no pace with the one before
    assert run_begin(np.array([1001.0, 1003.0, 1090.0]), 0, 2.0) is None
    assert run_begin(np.array([NAN]), 0, 2.0) is None
    assert between_volumes(np.array([1.0])) is None


def test_volumes_that_stay_away_are_missed_and_late_ones_are_not() -> None:
    times = np.array([1001.0, 1003.0, NAN, 1007.0])
    assert silent_for(times, 1016.0) is None
    assert silent_for(times, 1027.0) == pytest.approx(20.0)
    assert silent_for(np.array([NAN]), 1027.0) is None


def test_what_no_signal_can_be_is_not_known() -> None:
    assert credible(np.array([1.5, -1e200, np.inf, NAN])).tolist() == pytest.approx([1.5, NAN, NAN, NAN], nan_ok=True)
