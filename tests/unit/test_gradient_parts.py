from __future__ import annotations

import numpy as np
import pytest

from streamer.clean.eeg.gradient.activity import Activity
from streamer.clean.eeg.gradient.gains import Gains
from streamer.clean.eeg.gradient.interpolate import Shift, taps
from streamer.clean.eeg.gradient.match import Match
from streamer.clean.eeg.gradient.poses import Poses
from streamer.clean.eeg.gradient.position import Track
from streamer.clean.eeg.gradient.shots import shots
from streamer.clean.eeg.gradient.template import MARGIN, Epoch, History, Template


@pytest.mark.parametrize("by", [-3.75, -1.0, -0.4, 0.0, 0.01, 0.5, 2.0, 5.999])
def test_a_shifted_block_is_the_signal_between_its_samples(by: float) -> None:
    def wave(t: np.ndarray) -> np.ndarray:
        return np.stack([np.cos(2 * np.pi * f * t + 1) for f in (0.0, 0.003, 0.05, 0.15)], axis=1)

    shift = Shift(by, 40)
    first = 100 - shift.before
    out = np.empty((40, 4), np.float32)
    shift(wave(np.arange(first, first + shift.n)).astype(np.float32), out)
    assert np.abs(out - wave(np.arange(100, 140) + by)).max() < 1e-4


def test_taps_of_a_whole_sample_are_that_sample() -> None:
    weights = taps(0.0)
    assert weights[7] == pytest.approx(1.0)
    assert np.abs(np.delete(weights, 7)).max() < 1e-12


def test_a_steady_clock_is_followed_to_the_thousandth_of_a_sample() -> None:
    rng = np.random.default_rng(0)
    track = Track()
    for k in range(20):
        track.add(k, 1e6 + k * 10_000.1 + 0.001 * rng.standard_normal())
    forecast = track.forecast(20)
    assert forecast is not None
    assert forecast.place == pytest.approx(1e6 + 200_002.0, abs=0.003)
    assert forecast.sd < 0.01
    assert not track.whole


def test_one_wrong_place_does_not_bend_the_line() -> None:
    track = Track()
    for k in range(12):
        track.add(k, k * 5000.25 + (1.5 if k == 9 else 0.0))
    forecast = track.forecast(12)
    assert forecast is not None
    assert forecast.place == pytest.approx(12 * 5000.25, abs=1e-6)


def test_a_step_of_the_clock_moves_the_line_and_keeps_its_rate() -> None:
    track = Track()
    for k in range(14):
        track.add(k, k * 5000.25 + (0.4 if k >= 12 else 0.0))
    forecast = track.forecast(14)
    assert forecast is not None
    assert forecast.place == pytest.approx(14 * 5000.25 + 0.4, abs=1e-6)


def test_with_one_clock_forecasts_are_whole_numbers_exactly() -> None:
    rng = np.random.default_rng(1)
    track = Track()
    assert track.forecast(0) is None
    for k in range(14):
        track.add(k, k * 4000 + 0.002 * rng.standard_normal())
        forecast = track.forecast(k + 1)
        assert forecast is None if k == 0 else forecast is not None and forecast.place == (k + 1) * 4000
    track.move(7)
    forecast = track.forecast(14)
    assert forecast is not None
    assert forecast.place == 14 * 4000 + 7


def test_a_clock_that_slips_through_all_fractions_is_not_whole() -> None:
    track = Track()
    for k in range(60):
        track.add(k, k * 4000.1)
        assert k == 0 or not track.whole


def test_jitter_is_told_and_widens_the_forecast() -> None:
    rng = np.random.default_rng(2)
    track = Track()
    for k in range(16):
        track.add(k, k * 4000.3 + 0.5 * rng.standard_normal())
    forecast = track.forecast(16)
    assert forecast is not None
    assert 0.2 < track.jitter < 1.0
    assert forecast.sd > 0.2


def blocks(n: int, place: float, gain: np.ndarray, seed: int = 0) -> Match:
    rng = np.random.default_rng(seed)
    match = Match(64, 5)

    def artefact(t: np.ndarray) -> np.ndarray:
        return 1e-3 * np.stack([np.cos(0.02 * c * t + c) + np.sin(0.1 * t + c) for c in range(1, 6)], axis=1)

    for k in range(n):
        t = 64 * k + np.arange(64)
        noise = 5e-6 * rng.standard_normal((64, 5)) * np.array([1, 1, 1, 1, 400])
        match.add((gain * artefact(t - place) + noise).astype(np.float32), artefact(t - 0.25).astype(np.float32), 0.25)
        if k == n // 2 - 1:
            match.halve()
    return match


def test_a_volume_tells_its_place_and_its_amplitudes_whatever_one_bad_channel_says() -> None:
    gain = np.array([1.0, 1.01, 0.98, 1.0, 1.0])
    match = blocks(60, 0.27, gain)
    assert match.place == pytest.approx(0.27, abs=0.002)
    np.testing.assert_allclose(match.gain[:4], gain[:4], atol=2e-3)
    noise = match.gain_noise
    assert noise is not None
    assert np.sqrt(noise[:4]).max() < 3e-3
    assert match.residual[4] > 1e4 * match.residual[0]


def test_amplitudes_that_only_seem_to_change_are_left_alone() -> None:
    rng = np.random.default_rng(3)
    gains = Gains(200)
    for _ in range(40):
        gains.add(1.0 + 1e-3 * rng.standard_normal(200), np.full(200, 1e-6))
    template = np.ones(200, np.float32)
    relative = gains.relative(template)
    off = 0.0 if relative is None else np.sqrt(np.mean(np.square(relative - 1.0)))
    assert off < 2.5e-4
    refined = gains.refined(1.0 + 1e-3 * rng.standard_normal(200), 1.0, template, None)
    assert refined is None or np.sqrt(np.mean(np.square(refined - 1.0))) < 2.5e-4


def test_amplitudes_that_walk_are_followed() -> None:
    rng = np.random.default_rng(4)
    gains = Gains(50)
    walk = 1.0 + np.cumsum(1e-3 * rng.standard_normal((40, 50)), axis=0)
    for now in walk:
        gains.add(now + 1e-4 * rng.standard_normal(50), np.full(50, 1e-8))
    template = np.ones(50, np.float32)
    relative = gains.relative(template)
    assert relative is not None
    assert np.sqrt(np.mean(np.square(relative - walk[-1]))) < 4e-4
    onward = walk[-1] + 2e-3
    refined = gains.refined(onward, 0.5, template, relative)
    assert refined is not None
    assert np.sqrt(np.mean(np.square(refined - onward))) < 3e-4


def test_a_volume_is_worth_less_the_further_the_head_has_moved() -> None:
    poses = Poses(0.5)
    assert poses.weight(0, 10) == 1.0
    poses.add(1000, np.zeros(6))
    poses.add(1500, np.array([0.3, 0.0, 0.0, 0.0075, 0.0, 0.0]))
    poses.add(2000, np.array([0.48, 0.0, 0.0, 0.008, 0.0, 0.0]))
    assert poses.weight(2003, 10) == 1.0
    assert poses.weight(1000, 10) == pytest.approx(np.exp(-(0.8 - 0.3) / 0.5))
    assert poses.weight(1500, 10) == 1.0
    assert poses.weight(1250, 10) == 1.0
    poses.add(3000, np.full(6, np.nan))
    assert poses.weight(2000, 10) == 1.0
    poses.add(4000, np.full(6, 100.0))
    assert 0 < poses.weight(1000, 10) <= 1e-3


@pytest.mark.parametrize(("n_shots", "dead"), [(32, 0.0), (8, 0.0), (20, 0.3)])
def test_the_number_of_shots_is_in_the_spectrum(n_shots: int, dead: float) -> None:
    rng = np.random.default_rng(5)
    length = 4000
    one = np.convolve(rng.standard_normal(length // n_shots), np.hanning(20), "same")
    volume = np.zeros((length, 3))
    used = round(n_shots * (1 - dead))
    volume[: used * len(one)] = np.tile(one, used)[:, None] * np.array([1.0, -0.5, 2.0])
    volume -= volume.mean(axis=0)
    volume += 0.02 * np.abs(one).max() * rng.standard_normal(volume.shape)
    found = shots(volume.astype(np.float32))
    assert found == (n_shots if dead == 0 else None)


def test_gradients_are_heard_and_eeg_is_not() -> None:
    rng = np.random.default_rng(6)
    history = History(5000, 8)
    activity = Activity(150e-6, 1000.0, 0.1)
    t = np.arange(4000)
    slow = 2e-3 * np.sin(2 * np.pi * t / 2000)[:, None]
    history.write(0, (slow + 20e-6 * rng.standard_normal((4000, 8))).astype(np.float32))
    activity.judge(history, 1000)
    assert not activity.running(1000)
    history.write(2000, (1e-3 * np.sin(2 * np.pi * 0.06 * t[:500]))[:, None].repeat(8, axis=1).astype(np.float32))
    activity.judge(history, 2050)
    assert activity.running(2149)
    assert not activity.running(2150)


def template_of(weights: list[float], forgetting: float = 1.0) -> tuple[Template, np.ndarray]:
    rng = np.random.default_rng(7)
    epochs = rng.standard_normal((len(weights), 100, 2)).astype(np.float32)
    history = History(2000, 2)
    template = Template(100, 16, 2, 3, forgetting)
    for k, weight in enumerate(weights):
        history.write(k * 100, epochs[k])
        history.clear((k + 1) * 100, (k + 1) * 100 + 500)
        template.next_volume(history, Epoch(k * 100, 0.0, np.full(2, weight, np.float32), np.ones(2, np.float32)), 0)
        template.advance(history, 100 + MARGIN)
    return template, epochs


def mean_of(template: Template) -> np.ndarray:
    return template.mean[MARGIN : MARGIN + 100]


def test_the_template_is_the_weighted_mean_of_the_last_epochs() -> None:
    template, epochs = template_of([1.0, 0.5, 1.0, 0.25])
    np.testing.assert_allclose(mean_of(template), (epochs[1] * 0.5 + epochs[2] + epochs[3] * 0.25) / 1.75, atol=1e-6)
    assert template.effective == pytest.approx(1.75**2 / (0.25 + 1 + 0.0625))


def test_weights_that_change_change_the_mean() -> None:
    template, epochs = template_of([1.0, 1.0, 1.0])
    template.epochs[0].motion = 0.1
    history = History(2000, 2)
    template.next_volume(history, None, 0)
    template.advance(history, 100 + MARGIN)
    np.testing.assert_allclose(mean_of(template), (0.1 * epochs[0] + epochs[1] + epochs[2]) / 2.1, atol=1e-6)
    template.epochs[0].motion = 0.11
    template.next_volume(history, None, 0)
    template.advance(history, 100 + MARGIN)
    np.testing.assert_allclose(mean_of(template), (0.1 * epochs[0] + epochs[1] + epochs[2]) / 2.1, atol=1e-6)


def test_a_weighted_window_forgets_by_and_by() -> None:
    template, epochs = template_of([1.0, 1.0, 1.0, 1.0], forgetting=0.5)
    np.testing.assert_allclose(mean_of(template), (0.25 * epochs[1] + 0.5 * epochs[2] + epochs[3]) / 1.75, atol=1e-6)


def test_old_epochs_leave() -> None:
    template, epochs = template_of([1.0, 1.0, 1.0])
    history = History(2000, 2)
    template.next_volume(history, None, 150)
    template.advance(history, 100 + MARGIN)
    assert [e.base for e in template.epochs] == [200]
    np.testing.assert_allclose(mean_of(template), epochs[2], atol=1e-6)
