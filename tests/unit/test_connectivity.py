from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import signal

from streamer.decode.connectivity import Connectivity, ConnectivitySettings
from streamer.errors import ConfigError
from streamer.messages import Feature, Flag
from tests.unit.feature_eeg import SFREQ, START, blocks, white

NAMES = ["A", "B", "C"]
GROUPS = {"a": ("A",), "b": ("B",), "c": ("C",)}


def stage(measure: str = "imcoh", **settings: object) -> Connectivity:
    values: dict[str, object] = {"measure": measure, "groups": GROUPS, **settings}
    return Connectivity(ConnectivitySettings(**values), 10.0, SFREQ, NAMES)  # type: ignore[arg-type]


def run(connectivity: Connectivity, data: np.ndarray, **fed: object) -> list[Feature]:
    return [feature for block in blocks(data, **fed) for feature in connectivity(block)]  # type: ignore[arg-type]


def values(found: list[Feature]) -> np.ndarray:
    return np.array([f.values[:-1] for f in found if f.valid])


def lagged(n: int, seed: int = 0) -> np.ndarray:
    """B follows A by 10 ms, C is on its own; noise on all."""
    common = white(n + 10, 1, seed)[:, 0]
    own = white(n, 3, seed + 1)
    return np.column_stack([common[10:], common[7:-3], own[:, 2]]) + 0.5 * own * [1, 1, 0]


def test_imaginary_coherence_is_that_of_scipys_cross_spectrum() -> None:
    x = lagged(250 * 120)
    found = run(stage(window_s=100.0), x)[-1]
    f, cross = signal.csd(x[:, [0, 0, 1]], x[:, [1, 2, 2]], fs=SFREQ, nperseg=1000, axis=0)
    power = signal.welch(x, fs=SFREQ, nperseg=1000, axis=0)[1]
    b, a = signal.butter(2, 2.5, fs=SFREQ)
    weight = np.square(np.abs(signal.freqz(b, a, worN=np.abs(f - 10.5), fs=SFREQ)[1]))[:, None]
    # scipy's takes the conjugate of the first
    lag = -(cross * weight).sum(axis=0).imag
    levels = (power * weight).sum(axis=0)
    expected = lag / np.sqrt(levels[[0, 0, 1]] * levels[[1, 2, 2]])
    np.testing.assert_allclose(found.values[:-1], expected, atol=0.03)
    assert found.labels == ("imcoh a~b", "imcoh a~c", "imcoh b~c", "n_independent")


def test_a_leads_b_and_c_goes_alone() -> None:
    coherence = values(run(stage(), lagged(250 * 120)))
    # 12 ms at 10.5 Hz turn by 0.79 rad; the noise takes a fifth
    assert coherence[:, 0].mean() == pytest.approx(0.8 * np.sin(2 * np.pi * 10.5 * 0.012), abs=0.06)
    assert np.abs(coherence[:, 1:].mean(axis=0)).max() < 0.06
    wpli = values(run(stage("wpli"), lagged(250 * 120)))
    assert wpli[:, 0].mean() > 0.8
    assert wpli[:, 1].mean() < 0.4


def test_what_two_groups_share_at_once_is_no_connection() -> None:
    common = white(250 * 60, 1, 3)
    x = np.repeat(common, 3, axis=1) + 0.3 * white(250 * 60, 3, 4)
    assert np.abs(values(run(stage(window_s=40.0), x))[-1]).max() < 0.1
    assert np.abs(values(run(stage("aec", window_s=40.0), x))[-1]).max() < 0.3


def test_envelopes_that_wax_together_correlate() -> None:
    rng = np.random.default_rng(5)
    slow = np.exp(signal.lfilter([0.004], [1, -0.996], rng.standard_normal(250 * 120)) * 20)
    x = white(250 * 120, 3, 6) * np.column_stack([slow, slow, np.ones_like(slow)])
    found = values(run(stage("aec", window_s=100.0), x))[-1]
    assert found[0] > 0.35
    assert np.abs(found[1:]).max() < 0.2


def test_the_correlation_of_envelopes_is_that_of_numpy() -> None:
    x = lagged(250 * 20, 7)
    last = run(stage("aec"), x)[-1]
    b, a = signal.butter(2, 2.5, fs=SFREQ)
    slow = signal.lfilter(b, a, x * np.exp(-2j * np.pi * 10.5 / SFREQ * np.arange(len(x)))[:, None], axis=0)
    z = 2 * slow[last.sample - 1000 : last.sample]

    def one_way(i: int, j: int) -> float:
        orthogonal = np.imag(z[:, j] * z[:, i].conj() / np.abs(z[:, i]))
        return float(np.corrcoef(np.log(np.abs(z[:, i]) ** 2), np.log(orthogonal**2))[0, 1])

    expected = [(one_way(i, j) + one_way(j, i)) / 2 for i, j in ((0, 1), (0, 2), (1, 2))]
    np.testing.assert_allclose(last.values[:-1], expected, atol=1e-4)


def test_the_scatter_without_connection_is_what_it_says() -> None:
    # windows that do not overlap
    found = run(stage(window_s=4.0, step_s=4.0), white(250 * 1200, 3, 8))
    valid = [f for f in found if f.valid]
    stated = valid[0].uncertainty[0]
    assert valid[0].values[-1] == pytest.approx(1 / (2 * stated**2), rel=1e-4)
    assert values(found).std() == pytest.approx(stated, rel=0.1)


def test_values_come_at_their_step_for_the_middle_of_the_window() -> None:
    found = run(stage(), lagged(250 * 12))
    assert [f.sample for f in found] == list(range(125, 250 * 12 + 1, 125))
    # 0.5 s for the filter to settle, then 4 s
    assert next(f.sample for f in found if f.valid) == 250 * 4.5
    assert not any(f.flags for f in found if f.valid)
    assert all(f.flags == Flag.WARMING and np.isnan(f.values[0]) for f in found if not f.valid)
    last = found[-1]
    assert last.delay_s == pytest.approx(2.09, abs=0.002)
    assert last.about == pytest.approx(START + (last.sample - 1) / SFREQ - last.delay_s)


def test_dirty_samples_gaps_and_changes_of_bad_channels_begin_anew() -> None:
    x = lagged(250 * 30)
    for change in ("dirty", "bad"):
        connectivity = stage()
        run(connectivity, x[: 250 * 10])
        cut = blocks(x[250 * 10 :], first=250 * 10, flags=Flag.UNSYNCED if change == "dirty" else Flag.NONE)
        bad = cut[0].bad | np.array([False, False, True])
        for block in cut[:50] if change == "dirty" else ():
            assert not any(f.valid for f in connectivity(block))
        for block in cut if change == "bad" else ():
            block.bad[:] = bad
            block.data[:, 2] = 0.0
        after = [f for b in cut if change == "bad" for f in connectivity(b)]
        if after:
            assert [f.valid for f in after].index(True) == 8
            last = after[-1]
            assert np.isfinite(last.values[0])
            assert np.isnan(last.values[1:3]).all()
            assert last.flags == Flag.BAD_CHANNELS


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValidationError, match="expected rising edges above 0"):
        ConnectivitySettings(band_hz=(13.0, 8.0))
    for settings, message in (
        ({"groups": {"a": ("A",)}}, "1 groups are given: expected two or more"),
        ({"groups": {"a": ("A",), "q": ("Q",)}}, "q takes channel Q: expected one of A, B, C"),
        ({"groups": {"a": ("A",), "e": ()}}, "e has no weight"),
        ({"window_s": 4.2}, "expected a whole number of 0.5 s"),
        ({"band_hz": (100.0, 130.0)}, "expected less than 125 Hz"),
    ):
        with pytest.raises(ConfigError, match=message):
            stage(**settings)
