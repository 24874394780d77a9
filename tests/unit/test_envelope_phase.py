from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import signal

from streamer.decode.envelope_phase import BandPhase, BandPhaseSettings
from streamer.decode.oscillator import RhythmFilter, RhythmModel, SpectrumFit, phase_sd
from streamer.errors import ConfigError
from streamer.messages import Feature, Flag
from tests.unit.feature_eeg import SFREQ, START, blocks, circular, planted_alpha, white

ONE = {"one": {"A": 1.0}}


def run(stage: BandPhase, data: np.ndarray, **fed: object) -> list[Feature]:
    return [feature for block in blocks(data, **fed) for feature in stage(block)]  # type: ignore[arg-type]


def stage(method: str = "kalman", **others: object) -> BandPhase:
    return BandPhase(BandPhaseSettings(method=method, signals=ONE), SFREQ, ["A"], **others)  # type: ignore[arg-type]


def errors(found: list[Feature], truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Phase errors, envelopes and stated circular sds of the valid values."""
    valid = [f for f in found if f.valid]
    at = np.array([(f.about - START) * SFREQ for f in valid])
    carrier = np.exp(2j * np.pi * 10 / SFREQ * np.arange(len(truth)))
    slow = truth / carrier
    moved = np.interp(at, np.arange(len(truth)), slow.real) + 1j * np.interp(at, np.arange(len(truth)), slow.imag)
    true = np.angle(moved * np.exp(2j * np.pi * 10 / SFREQ * at))
    values, stated = np.array([f.values for f in valid]), np.array([f.uncertainty for f in valid])
    return values[:, 1] - true, values[:, 0], stated[:, 1]


@pytest.mark.parametrize(("alpha_v", "sd_all", "sd_strong"), [(6.5e-6, 50.0, 25.0), (13e-6, 40.0, 20.0)])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_kalman_filter_follows_planted_alpha_without_delay(alpha_v, sd_all, sd_strong, seed) -> None:
    eeg, truth = planted_alpha(alpha_v, seed)
    found = run(stage(), eeg, rate_hz=25.0)
    assert {f.delay_s for f in found} == {0.0}
    error, envelope, stated = errors(found, truth)
    assert len(error) > 50 * 25
    sd, bias = circular(error)
    assert sd < sd_all
    assert abs(bias) < 6
    strong = envelope > np.quantile(envelope, 0.6)
    sd, bias = circular(error[strong])
    assert sd < sd_strong
    assert abs(bias) < 5
    # what it says of itself is true, where it is sure and where it is not
    for part in (stated < np.quantile(stated, 0.4), stated > np.quantile(stated, 0.4)):
        expected = np.degrees(np.sqrt(-2 * np.log(np.mean(np.exp(-(stated[part] ** 2) / 2)))))
        assert circular(error[part])[0] == pytest.approx(expected, rel=0.25)


def test_the_filter_gives_the_phase_of_its_declared_delay_ago() -> None:
    eeg, truth = planted_alpha(13e-6, 1)
    found = run(stage("filter"), eeg, rate_hz=25.0)
    assert found[0].delay_s == pytest.approx(0.090, abs=0.002)
    assert found[9].about == pytest.approx(START + (10 * 10 - 1) / SFREQ - found[9].delay_s)
    error, envelope, _ = errors(found, truth)
    sd, bias = circular(error[envelope > np.quantile(envelope, 0.6)])
    assert sd < 15
    assert abs(bias) < 3


def test_the_filter_agrees_with_an_acausal_hilbert_transform() -> None:
    t = np.arange(5000) / SFREQ
    slow = 1 + 0.3 * np.sin(2 * np.pi * 0.2 * t)
    x = 1e-5 * slow * np.cos(2 * np.pi * 10.3 * t + 0.4) + white(5000, 1)[:, 0] * 0.05
    sos = signal.butter(4, (8, 13), "bandpass", fs=SFREQ, output="sos")
    analytic = signal.hilbert(signal.sosfiltfilt(sos, x))
    found = [f for f in run(stage("filter"), x[:, None]) if f.valid][5:-10]
    at = np.array([(f.about - START) * SFREQ for f in found])
    values = np.array([f.values for f in found])
    expected = np.interp(at, np.arange(5000), np.unwrap(np.angle(analytic)))
    assert np.abs(np.angle(np.exp(1j * (values[:, 1] - expected)))).max() < 0.1
    np.testing.assert_allclose(values[:, 0], np.interp(at, np.arange(5000), np.abs(analytic)), rtol=0.06)
    assert values[:, 2] == pytest.approx(10.3, abs=0.1)


def test_what_the_lane_adds_to_the_phase_is_taken_off() -> None:
    eeg, _ = planted_alpha(13e-6, 1)
    for method in ("kalman", "filter"):
        plain = run(stage(method), eeg)
        moved = run(stage(method, lane_phase=lambda hz: 0.04 * hz), eeg)
        turned = [p.values[1] - m.values[1] for p, m in zip(plain, moved, strict=True) if p.valid]
        turned = np.mod(turned, 2 * np.pi)
        assert turned.min() == pytest.approx(turned.max())
        assert 0.04 * 8 < turned[0] < 0.04 * 13


def test_the_model_is_learned_once_or_taken_from_a_calibration() -> None:
    eeg, _ = planted_alpha(13e-6, 1)
    own = stage(learn_s=20.0)
    assert not own.learned()
    found = run(own, eeg)
    masked = [f for f in found if not f.valid]
    assert all(f.flags == Flag.WARMING and np.isnan(f.values).all() for f in masked[:200])
    assert 26 < masked[-1].about - START < 36
    assert found[-1].flags == Flag.UNCALIBRATED
    model = own.learned()["one"]
    assert 9 < model["centre_hz"] < 11.5
    calibrated = run(stage(learned=own.learned()), eeg)
    assert next(f for f in calibrated if f.valid).about - START < 8
    assert calibrated[-1].flags == Flag.NONE
    assert calibrated[-1].values == pytest.approx(found[-1].values, rel=1e-3)


def test_dirty_samples_are_not_used() -> None:
    eeg, _ = planted_alpha(13e-6, 1)
    one = stage(learned={"one": fitted(eeg)})
    run(one, eeg[:5000])
    dirty = eeg[5000:5250] + 1e-2
    through = [f for b in blocks(dirty, first=5000, flags=Flag.UNSYNCED) for f in one(b)]
    assert not any(f.valid for f in through)
    assert all(f.flags & Flag.UNSYNCED for f in through)
    after = [f for b in blocks(eeg[5250:7000], first=5250) for f in one(b)]
    assert all(f.valid for f in after[10:])
    assert max(f.values[0] for f in after if f.valid) < 1e-4


def test_an_unseen_rhythm_turns_on_and_is_known_ever_less() -> None:
    eeg, _ = planted_alpha(13e-6, 1)
    model = RhythmModel(**fitted(eeg))  # type: ignore[arg-type]
    rhythm = RhythmFilter(model, 8.0, 13.0, SFREQ)
    for a in range(0, 5000, 25):
        seen = rhythm(eeg[a : a + 25, 0], 25)
    assert rhythm.settled
    known = [rhythm.variance]
    unseen = []
    for _ in range(20):
        unseen.append(rhythm(None, 25))
        known.append(rhythm.variance)
    assert (np.diff(known) > 0).all()
    assert not rhythm.settled
    assert known[-1] == pytest.approx(model.variances[0], rel=0.1)
    turns = np.diff(np.unwrap(np.angle(np.concatenate([seen[-1:], *unseen])))) * SFREQ / (2 * np.pi)
    np.testing.assert_allclose(turns, model.centre_hz)
    for a in range(5500, 8000, 25):
        rhythm(eeg[a : a + 25, 0], 25)
    assert rhythm.settled
    assert rhythm.variance == pytest.approx(known[0], rel=1e-3)


def fitted(eeg: np.ndarray) -> dict[str, object]:
    fit = SpectrumFit(8.0, 13.0, SFREQ)
    for at in range(0, 7500 - fit.length, fit.length // 2):
        fit.add(eeg[at : at + fit.length, 0])
    model = None
    while model is None:
        model = fit.update()
    return {"centre_hz": model.centre_hz, "width_hz": model.width_hz, "variances": list(model.variances)}


def test_the_spectrum_of_known_parts_is_found_again() -> None:
    rng = np.random.default_rng(3)
    n, centre, width = 100_000, 10.5, 1.0
    pole = np.exp((2j * np.pi * centre - np.pi * width) / SFREQ)
    drive = rng.standard_normal((n, 2)) @ np.array([1, 1j]) * np.sqrt(1 - abs(pole) ** 2)
    rhythm = signal.lfilter([1.0], [1.0, -pole], drive).real * 8e-6
    model = RhythmModel(**fitted((rhythm + 4e-6 * rng.standard_normal(n))[:, None]))  # type: ignore[arg-type]
    assert (model.centre_hz, model.width_hz) == (pytest.approx(10.5, abs=0.5), pytest.approx(1.0, abs=0.8))
    assert model.variances[0] == pytest.approx(64e-12, rel=0.4)
    assert model.variances[-1] == pytest.approx(16e-12, rel=0.2)


def test_the_settled_filter_gives_what_the_growing_one_gave() -> None:
    eeg, _ = planted_alpha(13e-6, 2)
    model = RhythmModel(**fitted(eeg))  # type: ignore[arg-type]
    quick, slow = RhythmFilter(model, 8.0, 13.0, SFREQ), RhythmFilter(model, 8.0, 13.0, SFREQ)
    x = eeg[:5000, 0]
    one = np.concatenate([quick(x[a : a + 25], 25) for a in range(0, 5000, 25)])
    two = slow(x, 5000)
    assert quick.settled
    np.testing.assert_allclose(one, two, atol=1e-4 * np.abs(two).max())


def test_the_circular_sd_is_that_of_a_projected_normal() -> None:
    rng = np.random.default_rng(0)
    for amplitude in (0.2, 1.0, 3.0):
        drawn = amplitude + rng.standard_normal((200_000, 2)) @ np.array([1, 1j])
        assert np.degrees(phase_sd(amplitude, 1.0)) == pytest.approx(circular(np.angle(drawn))[0], rel=0.02)


def test_a_dead_channel_gives_no_warning_and_no_phase_worth_anything() -> None:
    found = run(stage(learn_s=8.0), np.zeros((250 * 40, 1)))
    valid = [f for f in found if f.valid]
    assert valid
    assert all(f.uncertainty[1] > 3 for f in valid)


def test_bad_channels_are_left_out_or_mask_the_signal() -> None:
    settings = BandPhaseSettings(
        method="filter", signals={"mean": {"A": 0.5, "B": 0.5}, "difference": {"A": 1.0, "C": -1.0}}
    )
    data = np.repeat(np.cos(2 * np.pi * 10.5 * np.arange(2500) / SFREQ)[:, None], 3, axis=1) * [1e-5, 1e-5, -1e-5]
    for bad, mean, difference in (((), 1e-5, 2e-5), ((1,), 1e-5, 2e-5), ((2,), 1e-5, np.nan), ((0, 1), np.nan, np.nan)):
        both = run(BandPhase(settings, SFREQ, ["A", "B", "C"]), data, bad=bad)[-2:]
        assert [f.name for f in both] == ["phase.mean", "phase.difference"]
        for feature, expected in zip(both, (mean, difference), strict=True):
            assert feature.valid == np.isfinite(expected)
            assert bool(feature.flags & Flag.BAD_CHANNELS) == np.isnan(expected)
            assert feature.values[0] == pytest.approx(expected, rel=0.02, nan_ok=True)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValidationError, match="expected rising edges above 0"):
        BandPhaseSettings(band_hz=(13.0, 8.0))
    with pytest.raises(ValidationError, match="should match pattern"):
        BandPhaseSettings(signals={"a/b": {"A": 1.0}})
    for settings, message in (
        (BandPhaseSettings(), "none is given: expected at least one"),
        (BandPhaseSettings(signals={"x": {"Q": 1.0}}), "x takes channel Q: expected one of A"),
        (BandPhaseSettings(signals={"x": {"A": 0.0}}), "x has no weight"),
        (BandPhaseSettings(signals=ONE, band_hz=(60.0, 130.0)), "expected less than 125 Hz"),
    ):
        with pytest.raises(ConfigError, match=message):
            BandPhase(settings, SFREQ, ["A"])
