from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import signal

from streamer.clean.eeg.gradient.obs import automatic_order
from streamer.clean.eeg.gradient.residual import Residual, ResidualSettings

SFREQ = 1000.0
TR = 1000
SLICES = 16
N = 6
ECG = N - 1
SD = 10e-6
OBS = ResidualSettings(obs="auto", obs_memory_s=20, obs_refresh_s=5)
ANC = ResidualSettings(anc=True)
BOTH = OBS.model_copy(update={"anc": True})


def eeg(n: int, seed: int = 0) -> np.ndarray:
    """Mostly slow, with alpha at 9.37 Hz, and little above 70 Hz, as EEG has it."""
    rng = np.random.default_rng(seed)
    white = rng.standard_normal((n + 500, N))
    pink = signal.lfilter([1.0], [1.0, -0.97], white, axis=0)
    alpha = signal.sosfilt(signal.butter(2, (8, 11), "bandpass", fs=SFREQ, output="sos"), white[:, ::-1], axis=0)
    return (pink / pink.std() + alpha / alpha.std() + 0.03 * white)[500:] * SD


def volume(at: np.ndarray, seed: int = 3) -> np.ndarray:
    """The artefact, 1 mV rms, at places in a volume (samples, with fractions)."""
    rng = np.random.default_rng(seed)
    out = np.zeros((len(at), N))
    for k in range(1, 16):
        wave = np.cos(2 * np.pi * SLICES * k * at / TR + rng.uniform(0, 6))
        out += wave[:, None] * rng.uniform(0.5, 1.5, N) / (1 + 0.2 * k)
    return 1e-3 * out / out.std()


def scan(n_volumes: int, jitter: float = 0.0, walk: float = 0.0, shape: float = 0.0, seed: int = 0) -> np.ndarray:
    """Volumes whose place (samples), size and shape differ."""
    rng = np.random.default_rng(100 + seed)
    steps = np.cumsum(rng.standard_normal((2, n_volumes)), axis=1)
    at = np.arange(TR)
    parts: list[np.ndarray] = []
    for k, late in enumerate(jitter * rng.standard_normal(n_volumes)):
        one = volume(at - late) * (1 + walk * steps[0, k])
        parts.append(one + shape * steps[1, k] * volume(at, seed=9))
    return np.concatenate(parts)


def average(data: np.ndarray, n_max: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Plain causal average subtraction from the fifth volume on: corrected, subtracted."""
    volumes = data.reshape(-1, TR, N)
    subtracted = np.zeros_like(volumes)
    for k in range(4, len(volumes)):
        subtracted[k] = volumes[max(0, k - n_max) : k].mean(axis=0)
    taken = subtracted.reshape(-1, N).astype(np.float32)
    return data.astype(np.float32) - taken, taken


def run(
    wanted: ResidualSettings,
    corrected: np.ndarray,
    subtracted: np.ndarray,
    starts: list[int] | None = None,
    dirty: np.ndarray | None = None,
    cuts: list[int] | None = None,
    lost: tuple[int, int] = (0, 0),
) -> tuple[Residual, np.ndarray]:
    n = len(corrected)
    starts = list(range(0, n, TR)) if starts is None else starts
    if dirty is None:
        dirty = np.zeros(n, bool)
        dirty[: 4 * TR] = True
    stage = Residual(wanted, SFREQ, N, np.arange(N) == ECG)
    out = np.full_like(corrected, np.nan)
    edges = sorted({0, n, *lost, *(range(0, n, 500) if cuts is None else cuts)})
    for a, b in pairwise(edges):
        if not lost[0] <= a < lost[1]:
            here = [s for s in starts if a <= s < b]
            out[a:b] = stage(a, corrected[a:b], subtracted[a:b], here, dirty[a:b])
    return stage, out


def at_slices_db(out: np.ndarray, truth: np.ndarray, start: int = 25 * TR) -> float:
    """Power at the slice harmonics below 70 Hz over that of the EEG alone, median of the EEG channels."""
    f, found = signal.welch(out[start:, :ECG], SFREQ, nperseg=4000, axis=0)
    true = signal.welch(truth[start:, :ECG], SFREQ, nperseg=4000, axis=0)[1]
    at = np.abs((f + SLICES / 2) % SLICES - SLICES / 2) < 0.3
    at &= (f > 8) & (f < 70)
    return float(np.median(10 * np.log10(found[at].mean(axis=0) / true[at].mean(axis=0))))


def alpha_db(out: np.ndarray, truth: np.ndarray, start: int = 25 * TR) -> np.ndarray:
    f, found = signal.welch(out[start:, :ECG], SFREQ, nperseg=4000, axis=0)
    true = signal.welch(truth[start:, :ECG], SFREQ, nperseg=4000, axis=0)[1]
    at = (f > 8) & (f < 11)
    return 10 * np.log10(found[at].mean(axis=0) / true[at].mean(axis=0))


@pytest.mark.parametrize(
    ("wanted", "changes", "left_db"),
    [
        (OBS, {"jitter": 0.02}, 1.0),
        (OBS, {"shape": 0.002}, 1.0),
        (ANC, {"walk": 0.002}, 0.5),
        (BOTH, {"jitter": 0.02, "walk": 0.002}, 1.5),
    ],
)
def test_a_residual_that_changes_goes_and_alpha_stays(
    wanted: ResidualSettings, changes: dict[str, float], left_db: float
) -> None:
    truth = eeg(60 * TR)
    corrected, subtracted = average(truth + scan(60, **changes))
    before = at_slices_db(corrected, truth)
    _, out = run(wanted, corrected, subtracted)
    assert before > 5
    assert at_slices_db(out, truth) < left_db
    assert np.abs(alpha_db(out, truth) - alpha_db(corrected, truth)).max() < 0.5


def test_where_nothing_is_left_to_take_out_nothing_is_taken() -> None:
    truth = eeg(60 * TR)
    corrected, subtracted = average(truth + scan(60))
    stage, out = run(BOTH, corrected, subtracted)
    assert stage.components == 0
    assert float((out - corrected)[:, :ECG].std()) < 0.15 * SD
    # while the template grows its own error is what the volumes have in common; then there is nothing
    assert np.array_equal(run(OBS, corrected, subtracted)[1][50 * TR :], corrected[50 * TR :])


def test_it_is_off_by_default_and_never_touches_the_ecg() -> None:
    corrected, subtracted = average(eeg(20 * TR) + scan(20, jitter=0.03))
    off = Residual(ResidualSettings(), SFREQ, N, np.arange(N) == ECG)
    assert not off.enabled
    assert off(0, corrected, subtracted, [0], np.zeros(len(corrected), bool)) is corrected
    stage, out = run(BOTH, corrected, subtracted)
    assert stage.components > 0
    assert np.array_equal(out[:, ECG], corrected[:, ECG])
    # and the ECG teaches nothing
    loud = corrected.copy()
    loud[:, ECG] *= 50
    assert np.array_equal(run(BOTH, loud, subtracted)[1][:, :ECG], out[:, :ECG])


@settings(max_examples=8, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 17 * TR - 1), max_size=60),
    shift=st.integers(0, 3),
    gap=st.sampled_from([(0, 0), (8_123, 8_200), (5_000, 6_500)]),
)
def test_the_output_does_not_depend_on_how_the_samples_came(cuts: list[int], shift: int, gap: tuple[int, int]) -> None:
    data = eeg(17 * TR) + scan(17, jitter=0.03, walk=0.002)
    corrected, subtracted = average(data)
    starts = [s + (shift if k % 5 == 0 else 0) for k, s in enumerate(range(0, 17 * TR, TR))]
    dirty = np.zeros(len(data), bool)
    dirty[: 4 * TR] = dirty[16_003:16_050] = True
    given_ = {"starts": starts, "dirty": dirty, "lost": gap}
    wanted = run(BOTH, corrected, subtracted, **given_)[1]
    got = run(BOTH, corrected, subtracted, cuts=cuts, **given_)[1]
    assert np.array_equal(got, wanted, equal_nan=True)
    assert not np.array_equal(wanted[15 * TR :], corrected[15 * TR :])


@pytest.mark.parametrize("wanted", [OBS, ANC])
def test_one_channel_that_pops_does_not_spoil_the_others(wanted: ResidualSettings) -> None:
    truth = eeg(60 * TR)
    corrected, subtracted = average(truth + scan(60, jitter=0.02))
    popped = corrected.copy()
    for at in (20_300, 33_333, 47_000):
        popped[at : at + 200, 1] += 3e-3 * np.sign(np.sin(np.arange(200)))
    calm = run(wanted, corrected, subtracted)[1]
    out = run(wanted, popped, subtracted)[1]
    others = [0, 2, 3, 4]
    error, usual = ((x - truth)[25 * TR :, others].std(axis=0) for x in (out, calm))
    assert (error < 1.2 * usual).all()


@pytest.mark.parametrize("wanted", [OBS, ANC])
def test_nothing_is_learnt_from_dirty_samples(wanted: ResidualSettings) -> None:
    corrected, subtracted = average(eeg(50 * TR) + scan(50, jitter=0.02))
    dirty = np.zeros(len(corrected), bool)
    dirty[: 4 * TR] = dirty[30_100:30_400] = True
    burst = corrected.copy()
    burst[30_100:30_200] += 5e-3
    calm, out = (run(wanted, x, subtracted, dirty=dirty)[1] for x in (corrected, burst))
    assert np.abs(out - calm)[31 * TR :].max() < 0.05e-6
    if wanted is OBS:
        assert np.array_equal(out[30_100:30_400], burst[30_100:30_400])


def test_a_gap_or_a_lost_trigger_costs_a_volume() -> None:
    truth = eeg(60 * TR)
    corrected, subtracted = average(truth + scan(60, jitter=0.02))
    starts = [s for s in range(0, 60 * TR, TR) if s != 35 * TR]
    _, out = run(OBS, corrected, subtracted, starts, lost=(30_410, 30_430))
    assert np.isnan(out).any(axis=1).sum() == 20
    assert at_slices_db(out, truth, 37 * TR) < 1.0


def test_another_tr_is_learnt_anew_and_a_volume_cut_short_is_no_harm() -> None:
    data = eeg(80 * TR) + scan(80, jitter=0.02)
    corrected, subtracted = average(data)
    cut = [*range(0, 18 * TR, TR), 18 * TR + 313]
    later = list(range(19 * TR, 80 * TR, 2 * TR))
    stage, out = run(OBS, corrected, subtracted, [*cut, *later])
    assert np.isfinite(out).all()
    assert stage.components > 0
    # the first volumes of the new TR pass: they are not yet known to differ in anything
    assert np.array_equal(out[23 * TR : 30 * TR], corrected[23 * TR : 30 * TR])
    assert not np.array_equal(out[60 * TR :], corrected[60 * TR :])
    stage.reset()
    assert stage.components == 0


def test_a_number_of_components_is_the_most_and_noise_is_none_of_them() -> None:
    corrected, subtracted = average(eeg(60 * TR) + scan(60, jitter=0.02, shape=0.002))
    assert run(OBS.model_copy(update={"obs": 1}), corrected, subtracted)[0].components == 1
    assert 2 <= run(OBS.model_copy(update={"obs": 8}), corrected, subtracted)[0].components < 8


def test_the_automatic_order_is_the_mean_of_three_counts() -> None:
    # steps: 3 before the first below 2 %; 80 % after 3; 3 with 5 % and more
    shares = np.array([60.0, 20.0, 10.0, *[10 / 17] * 17])
    assert automatic_order(shares, 8) == 3
    assert automatic_order(shares, 2) == 2
    assert automatic_order(np.ones(30), 8) == 0
    assert automatic_order(np.zeros(30), 8) == 0
    # one alone: (1 + 1 + 1) / 3
    assert automatic_order(np.array([90.0, *[1.0] * 10]), 8) == 1


def test_wrong_settings_are_refused() -> None:
    for wrong in ({"obs": 0}, {"obs": "some"}, {"anc_mu": 0}, {"obs_memory_s": 1}):
        with pytest.raises(ValidationError):
            ResidualSettings.model_validate(wrong)
    with pytest.raises(ValueError, match="is_ecg of 2 channels: expected 6"):
        Residual(OBS, SFREQ, N, np.zeros(2, bool))
