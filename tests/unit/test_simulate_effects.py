"""Where the state has an effect, and what the body does: proven on what was planted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamer.simulate.faults import FaultSettings
from streamer.simulate.heart import draw_breath, heart_signals
from streamer.simulate.ledger import RunFaults
from streamer.simulate.physiology import Physiology, make_physiology
from streamer.simulate.plan import Block, RunPlan
from streamer.simulate.settings import SimulationSettings
from streamer.simulate.subject import draw_subject

BLOCK_S = 16.0
LONG = 160


def physiology(n_blocks: int = 24, **changes: object) -> Physiology:
    """One run without its volumes; every call draws the same but for what is changed."""
    settings = SimulationSettings(n_channels=12, sfreq=500.0, **changes)  # pyright: ignore[reportArgumentType]
    rng = np.random.default_rng(21)
    labels = np.tile(["rest", "task"], n_blocks // 2)
    blocks = tuple(Block(k * BLOCK_S, BLOCK_S, str(label)) for k, label in enumerate(labels))
    plan = RunPlan("task", blocks, 10, 2.0, n_blocks * BLOCK_S, settings.faults)
    subject = draw_subject(settings, np.random.default_rng(5))
    return make_physiology(settings, subject, plan, rng, RunFaults(plan.faults, 0, 0))


def features(body: Physiology) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log power of occipital alpha, % of cortex from 5 s on (its response's lag), and the state: one row per block."""
    step = round(BLOCK_S * body.rate_hz)
    eeg, bold, state = [], [], []
    for k in range(LONG):
        inside = slice(k * step, (k + 1) * step)
        later = slice(k * step + round(5 * body.rate_hz), (k + 1) * step)
        eeg.append([np.log((body.brain.envelope[inside, :2] ** 2).mean())])
        bold.append([body.bold.total[later, :4].mean()])
        state.append(body.state[inside.start + step // 2])
    return np.array(eeg), np.array(bold), np.array(state)


def hits(x: np.ndarray, state: np.ndarray) -> np.ndarray:
    """Which blocks a linear read-out, fitted to the other blocks, tells rightly."""
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    x = np.column_stack([x, np.ones(len(x))])
    target = 2.0 * state - 1.0
    right = np.empty(len(x), bool)
    for fold in np.array_split(np.arange(len(x)), 10):
        train = np.setdiff1d(np.arange(len(x)), fold)
        inner = x[train].T @ x[train] + np.eye(x.shape[1])
        weights = np.linalg.solve(inner, x[train].T @ target[train])
        right[fold] = np.sign(x[fold] @ weights) == target[fold]
    return right


def interval_of_gain(both: np.ndarray, one: np.ndarray) -> tuple[float, float]:
    """95 % interval of the gain in accuracy, by paired blocks."""
    gain = both.astype(float) - one
    half = 1.96 * gain.std() / np.sqrt(len(gain))
    return gain.mean() - half, gain.mean() + half


# effects so weak that the better modality has room to be bettered
WEAK = {"erd": 0.12, "bold_percent": 0.25, "subject_sd": 0.0}


def test_fusing_gains_where_both_know_the_state():
    eeg, bold, state = features(physiology(LONG, **WEAK))
    right = {name: hits(x, state) for name, x in (("eeg", eeg), ("bold", bold), ("both", np.hstack([eeg, bold])))}
    better = max(("eeg", "bold"), key=lambda name: right[name].mean())
    assert 0.55 < right["eeg"].mean() < 0.98
    assert 0.55 < right["bold"].mean() < 0.98
    assert right["both"].mean() > right[better].mean()


@pytest.mark.parametrize("knows", ["eeg", "bold"])
def test_fusing_adds_nothing_where_one_modality_alone_knows_the_state(knows: str):
    eeg, bold, state = features(physiology(LONG, **WEAK, effect_in=knows))
    one = {"eeg": eeg, "bold": bold}
    better, other = hits(one[knows], state), hits(one["bold" if knows == "eeg" else "eeg"], state)
    both = hits(np.hstack([eeg, bold]), state)
    assert better.mean() > 0.6
    assert other.mean() < 0.5 + 2.6 * 0.5 / np.sqrt(len(other))
    low, _ = interval_of_gain(both, better)
    assert low <= 0.0


def test_the_modality_without_an_effect_is_that_of_a_session_without_any_to_the_bit():
    none = {"erd": 0.0, "bold_percent": 0.0, "coupling_percent": 0.0}
    without, eeg, bold = (physiology(**changes) for changes in (none, {"effect_in": "eeg"}, {"effect_in": "bold"}))
    np.testing.assert_array_equal(eeg.bold.total, without.bold.total)
    np.testing.assert_array_equal(bold.brain.eeg, without.brain.eeg)
    assert not np.array_equal(eeg.brain.eeg, without.brain.eeg)
    assert not np.array_equal(bold.bold.total, without.bold.total)
    assert not eeg.bold.neural.any()
    with pytest.raises(ValueError, match="null session has no effect"):
        SimulationSettings(null=True, effect_in="eeg")


def beats(**changes: object) -> tuple[Physiology, np.ndarray, np.ndarray]:
    body = physiology(**changes)
    intervals = np.diff(body.heart.r_times)
    breath = np.interp(body.heart.r_times[:-1], np.arange(len(body.heart.respiration)) / 250, body.heart.respiration)
    return body, intervals, breath


def test_the_heart_follows_the_breath():
    _, intervals, breath = beats(rsa=0.1)
    _, even, even_breath = beats(rsa=0.0)
    assert np.corrcoef(intervals, breath)[0, 1] > 0.7
    assert abs(np.corrcoef(even, even_breath)[0, 1]) < 0.15
    # what is left is the slow variability of a heart at rest
    assert 0.01 < even.std() / even.mean() < 0.06


def test_the_flow_can_be_higher_than_the_r_peak_and_the_pulse_comes_later():
    settings = SimulationSettings(n_channels=12, sfreq=500.0, flow_of_r=1.2)
    subject = draw_subject(settings, np.random.default_rng(5))
    peaks = np.arange(1.0, 200.0)
    rng = np.random.default_rng(2)
    faults = RunFaults(FaultSettings(), 0, 0)
    breath = draw_breath(settings, 50_000, 250.0, rng)
    heart = heart_signals(settings, subject, breath, 50_000, 250.0, rng, faults, peaks)
    folded = heart.ecg[:49_750].reshape(-1, 250)[1:].mean(axis=0)
    assert folded[round(0.2 * 250)] > 1.1 * folded[0]
    strength = np.abs(heart.pulse[:49_750, 0]).reshape(-1, 250)[1:].mean(axis=0)
    onset = np.flatnonzero(strength > 0.5 * strength.max())[0] / 250
    assert 0.1 < onset < 0.28


def test_heart_and_breath_are_in_the_regions_when_asked_for():
    calm, pulsing = physiology(), physiology(cardiac_percent=0.3, breathing_percent=0.2)
    assert not calm.bold.pulsation.any()
    np.testing.assert_array_equal(calm.brain.eeg, pulsing.brain.eeg)
    np.testing.assert_allclose(pulsing.bold.total - calm.bold.total, pulsing.bold.pulsation, atol=1e-12)
    f = np.fft.rfftfreq(len(calm.state), 1 / 250)
    power = np.abs(np.fft.rfft(pulsing.bold.pulsation[:, 0])) ** 2
    heart_hz = len(calm.heart.r_times) / (len(calm.state) / 250)
    near = [np.abs(f - at) < width for at, width in ((0.25, 0.01), (heart_hz, 0.25))]
    assert power[near[0] | near[1]].sum() > 0.9 * power.sum()
    assert 0.1 < pulsing.bold.pulsation[:, 0].std() < 0.8


def test_an_uneven_breath_stays_a_breath():
    body = physiology(breath_sd=0.1)
    turns = np.flatnonzero((body.heart.respiration[:-1] < 0) & (body.heart.respiration[1:] >= 0)) / 250
    assert 0.22 < 1 / np.diff(turns).mean() < 0.28
    assert 0.02 < np.diff(turns).std() / np.diff(turns).mean() < 0.2


def test_the_gradients_pause_at_the_end_of_each_slice(tmp_path: Path):
    from streamer.simulate.session import simulate_session

    settings = SimulationSettings(
        sfreq=5000.0, grid=(24, 24, 8), n_channels=12, calibration_s=4.0, block_s=4.0, n_blocks=2, slice_dead=0.3
    )
    simulate_session(tmp_path / "s", settings, workers=1)
    with np.load(tmp_path / "s" / "task" / "truth.npz") as truth:
        one = np.abs(truth["gradient_template"][:, 0]).reshape(8, 625)
    assert one[:, 450:].max() < 0.01 * one.max()
    assert one[:, 100:400].max(axis=1).min() > 0.1 * one.max()
