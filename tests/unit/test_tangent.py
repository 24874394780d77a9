from __future__ import annotations

import numpy as np
import pytest
from pyriemann.geometry.distance import distance_riemann
from pyriemann.geometry.tangentspace import tangent_space
from scipy import signal
from sklearn.covariance import oas as sklearn_oas

from streamer.decode.tangent import TangentSettings, TangentSpace, TangentVector, centred, oas
from streamer.errors import ConfigError
from streamer.messages import Feature, Flag
from tests.unit.feature_eeg import SFREQ, START, blocks, white

NAMES = ["F3", "F4", "C3", "C4", "O1", "O2"]


def mixed(n: int, seed: int, n_channels: int = 6) -> np.ndarray:
    mixing = np.eye(n_channels) + 0.4 * np.random.default_rng(seed).standard_normal((n_channels, n_channels))
    return white(n, n_channels, seed + 100) @ mixing


def stage(channels: list[str] = NAMES, learned: object = None, learn_s: float = 10.0, **settings: object):
    return TangentVector(TangentSettings(**settings), 10.0, SFREQ, channels, learn_s, learned)  # type: ignore[arg-type]


def run(vector: TangentVector, data: np.ndarray, **fed: object) -> list[Feature]:
    return [feature for block in blocks(data, **fed) for feature in vector(block)]  # type: ignore[arg-type]


def matrix(values: np.ndarray, n: int) -> np.ndarray:
    out = np.zeros((n, n))
    upper = np.triu_indices(n)
    out[upper] = np.asarray(values) / np.where(upper[0] == upper[1], 1.0, np.sqrt(2.0))
    return out + np.triu(out, 1).T


def without_mean(n: int) -> np.ndarray:
    """An orthonormal basis of what is left when the average is taken off, shape (n, n - 1)."""
    return np.linalg.qr(np.column_stack([np.ones(n), np.eye(n)[:, 1:]]))[0][:, 1:]


def test_shrinkage_is_that_of_scikit_learn() -> None:
    x = mixed(40, 0)
    expected, _ = sklearn_oas(x, assume_centered=True)
    np.testing.assert_allclose(oas(x.T @ x / 40, 40), expected, rtol=1e-9)


def test_the_tangent_space_is_pyriemanns() -> None:
    one, two = mixed(500, 1), mixed(500, 2)
    reference, covariance = one.T @ one / 500, two.T @ two / 500
    basis = without_mean(6)
    within = oas(basis.T @ covariance @ basis, 80)
    expected = tangent_space(within, basis.T @ reference @ basis)
    found = TangentSpace(reference)(covariance, 80)
    np.testing.assert_allclose(found, basis @ matrix(expected, 5) @ basis.T, atol=1e-9)
    distance = distance_riemann(within, basis.T @ reference @ basis)
    assert np.sqrt(np.square(found).sum()) == pytest.approx(distance)


def test_vectors_are_those_of_scipys_filter_and_pyriemann() -> None:
    x = mixed(250 * 30, 3).astype(np.float32).astype(np.float64)
    vector = stage()
    found = run(vector, x)
    assert [f.sample for f in found[:3]] == [125, 250, 375]
    valid = [f for f in found if f.valid]
    # 0.5 s for the filter to settle, then 10 s to learn
    assert valid[0].sample == 250 * 10.5
    assert all(np.isnan(f.values).all() and f.flags & Flag.WARMING for f in found if not f.valid)
    sos = signal.butter(2, (8, 30), "bandpass", fs=SFREQ, output="sos")
    y = signal.sosfilt(sos, x, axis=0, zi=signal.sosfilt_zi(sos)[:, :, None] * x[0])[0]
    learned = y[125 : 250 * 10 + 125]
    basis = without_mean(6)
    reference = basis.T @ learned.T @ learned @ basis / len(learned)
    for feature in (valid[0], valid[-1]):
        window = y[feature.sample - 500 : feature.sample] @ basis
        expected = tangent_space(oas(window.T @ window / 500, 88.0), reference)
        np.testing.assert_allclose(matrix(feature.values, 6), basis @ matrix(expected, 5) @ basis.T, atol=1e-5)
        assert feature.labels[:7] == ("F3~F3", "F3~F4", "F3~C3", "F3~C4", "F3~O1", "F3~O2", "F4~F4")
        assert feature.flags == Flag.UNCALIBRATED
        assert feature.about == pytest.approx(START + (feature.sample - 1) / SFREQ - feature.delay_s)
    assert 1.0 < valid[0].delay_s < 1.1


def test_the_reference_montage_does_not_matter() -> None:
    x = mixed(250 * 20, 4)
    plain = run(stage(), x)[-1]
    averaged = run(stage(), x - x.mean(axis=1)[:, None])[-1]
    to_first = run(stage(), x - x[:, :1])[-1]
    np.testing.assert_allclose(averaged.values, plain.values, atol=1e-4)
    np.testing.assert_allclose(to_first.values, plain.values, atol=1e-4)


def test_a_rank_that_a_correction_took_is_left_out() -> None:
    x = mixed(250 * 20, 5, 8)
    away = np.random.default_rng(1).standard_normal((8, 2))
    corrected = x @ (np.eye(8) - away @ np.linalg.pinv(away))
    covariance = centred(corrected.T @ corrected)
    assert TangentSpace(covariance).rank == 6
    names = [f"E{i}" for i in range(8)]
    last = run(stage(names), corrected)[-1]
    assert last.valid
    assert np.abs(last.values).max() < 2


def test_a_louder_channel_shows_on_the_diagonal() -> None:
    x = white(250 * 30, 6)
    x[250 * 20 :, 2] *= 3
    last = matrix(run(stage(), x)[-1].values, 6)
    assert np.argmax(np.diag(last)) == 2
    assert last[2, 2] == pytest.approx(np.log(9) * 5 / 6, rel=0.35)


def test_bad_channels_are_masked_and_begin_the_window_anew() -> None:
    x = mixed(250 * 40, 6)
    vector = stage()
    cut = blocks(x)
    for block in cut:
        block.bad[1] = 15 <= block.end_sample / 250 < 20
        block.data[:, block.bad] = 0.0
    found = [f for block in cut for f in vector(block)]
    invalid = [f.sample / 250 for f in found if not f.valid and f.sample > 250 * 11]
    assert invalid == [15.0, 15.5, 16.0, 16.5, 17.0, 20.0, 20.5, 21.0, 21.5, 22.0]
    during = next(f for f in found if f.valid and f.sample > 250 * 15)
    masked = [label for label, v in zip(during.labels, during.values, strict=True) if np.isnan(v)]
    assert masked == [label for label in during.labels if "F4" in label.split("~")]
    good = [0, 2, 3, 4, 5]
    alone = run(stage([NAMES[i] for i in good]), x[:, good])
    same = next(f for f in alone if f.sample == during.sample)
    np.testing.assert_allclose([v for v in during.values if np.isfinite(v)], same.values, atol=1e-5)
    assert np.isfinite(found[-1].values).all()


def test_a_channel_that_was_bad_while_learning_stays_masked() -> None:
    vector = stage()
    found = run(vector, mixed(250 * 12, 7), bad=[3])
    found = run(vector, mixed(250 * 20, 7), first=250 * 12)
    assert found[-1].valid
    assert np.isnan(matrix(found[-1].values, 6)[3]).all()
    learned = vector.learned()
    assert learned is not None
    assert learned["unknown"] == ["C4"]


def test_dirty_samples_and_gaps_never_enter() -> None:
    x = mixed(250 * 40, 8)
    whole, broken = stage(), stage()
    run(whole, x[250 * 5 :], first=250 * 5)
    loud = run(broken, x[: 250 * 5] * 1e3, flags=Flag.UNSYNCED)
    assert not any(f.valid for f in loud)
    found = run(broken, x[250 * 5 :], first=250 * 5)
    assert whole.learned() == broken.learned()
    assert found[-1].valid
    assert not next(f for f in found if f.sample == 250 * 6).valid


def test_a_calibration_is_taken_as_it_is() -> None:
    x = mixed(250 * 20, 9)
    calibration = stage()
    run(calibration, x)
    fresh = stage(learned=calibration.learned())
    found = run(fresh, mixed(250 * 20, 10))
    assert next(f for f in found if f.valid).sample == 250 * 2.5
    assert found[-1].flags == Flag.NONE
    assert fresh.learned() == calibration.learned()
    with pytest.raises(ConfigError, match="expected F3, F4"):
        stage(channels=["F3", "F4"], learned=calibration.learned())


def test_wrong_settings_are_refused() -> None:
    for settings, message in (
        ({"channels": ("F3", "Q")}, "channels Q: expected two or more"),
        ({"channels": ("F3",)}, "channels F3: expected two or more"),
        ({"step_s": 0.25}, "step_s is 0.25 s: expected a whole number of 0.1 s"),
        ({"window_s": 1.2}, "window_s is 1.2 s: expected a whole number of 0.5 s"),
        ({"band_hz": (8.0, 125.0)}, "expected less than 125 Hz"),
    ):
        with pytest.raises(ConfigError, match=message):
            TangentVector(TangentSettings(**settings), 10.0, SFREQ, NAMES)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no variance"):
        TangentSpace(np.zeros((3, 3)))
