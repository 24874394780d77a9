from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import mne
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import signal

from streamer.bench.eeg_truth import plant
from streamer.clean.eeg.ocular import OcularFit, OcularSettings, SpatialFilter
from streamer.errors import RecordingError
from streamer.messages import ChannelInfo
from streamer.ocular_fit import MOST_STEPS, SEED, fit_ocular
from streamer.simulate.settings import SimulationSettings

SFREQ = 250.0
ICA = OcularSettings(method="ica", n_components=12, min_s=40.0)
QUICK = OcularSettings(method="ica", n_components=5, min_s=20.0)
EOG = OcularSettings(method="eog", min_s=40.0)
CALIBRATION = slice(1000, 11_000)
SHORT = slice(1000, 6000)
TEST = slice(11_000, None)
FRONTAL = [0, 1]


@dataclass(frozen=True)
class Room:
    """What a cap with an EOG electrode sees, 1 to 40 Hz, V: all, and its parts."""

    channels: tuple[ChannelInfo, ...]
    eeg: np.ndarray
    eog: np.ndarray
    brain: np.ndarray
    blink: np.ndarray
    blink_eog: np.ndarray

    @property
    def cap(self) -> tuple[ChannelInfo, ...]:
        return tuple(c for c in self.channels if c.kind == "eeg")


@pytest.fixture(scope="module")
def room() -> Room:
    planted = plant(
        SimulationSettings(
            seed=5, n_channels=20, sfreq=500.0, gradient_v=0.0, n_blocks=6, block_s=16.0, calibration_s=16.0
        )
    )
    body, subject = planted.body, planted.subject
    assert body.rate_hz == SFREQ
    sos = signal.butter(2, (1, 40), "bandpass", fs=SFREQ, output="sos")
    noise = 2e-6 * np.random.default_rng(0).standard_normal((len(body.blink), 1))
    blink_eog = -350e-6 * body.blink[:, None]
    parts = (
        body.recorded(subject)[:, :-1] - body.heart.pulse @ subject.pulse,
        blink_eog + 0.2 * body.brain.eeg[:, :2].mean(axis=1, keepdims=True) + noise,
        body.brain.eeg,
        body.blink[:, None] * subject.blink,
        blink_eog,
    )
    channels = (*planted.channels[:-1], ChannelInfo("ECG", "ecg"), ChannelInfo("VEOG", "eog"))
    return Room(channels, *(signal.sosfilt(sos, part, axis=0) for part in parts))


@pytest.fixture(scope="module")
def unmixed(room: Room) -> OcularFit:
    return fit_ocular(room.eeg[CALIBRATION], room.eog[CALIBRATION, :0], room.cap, SFREQ, ICA)


@pytest.fixture(scope="module")
def regressed(room: Room) -> OcularFit:
    return fit_ocular(room.eeg[CALIBRATION], room.eog[CALIBRATION], room.channels, SFREQ, EOG)


def alpha(x: np.ndarray) -> float:
    freqs, density = signal.welch(x, SFREQ, nperseg=500, axis=0)
    return float(density[(freqs >= 8) & (freqs <= 12)].sum())


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.mark.parametrize("name", ["unmixed", "regressed"])
def test_blinks_go_and_the_brain_stays(name: str, room: Room, request: pytest.FixtureRequest) -> None:
    fit: OcularFit = request.getfixturevalue(name)
    stage = SpatialFilter(fit.matrix)
    with_eog = fit.method == "eog"
    silent = np.zeros_like(room.eog)

    def taken(eeg: np.ndarray, eog: np.ndarray) -> np.ndarray:
        return stage(np.hstack([eeg, eog]) if with_eog else eeg)[TEST]

    blink = taken(room.blink, room.blink_eog)[:, FRONTAL]
    assert np.mean(blink**2) < 0.01 * np.mean(room.blink[TEST][:, FRONTAL] ** 2)
    brain = taken(room.brain, silent)
    assert abs(10 * np.log10(alpha(brain) / alpha(room.brain[TEST]))) < 0.5
    cleaned = taken(room.eeg, room.eog)
    truth = room.brain[TEST][:, FRONTAL]
    before = correlation(room.eeg[TEST][:, FRONTAL], truth)
    assert correlation(cleaned[:, FRONTAL], truth) > max(0.85, before + 0.2)
    assert len(fit.removed) == 1
    assert fit.correlations[0] > 0.8
    assert 0.05 < fit.explained < 0.7
    assert fit.seconds == 40.0
    assert "fitted on 40 s of clean EEG" in fit.summary


def test_the_matrix_is_what_mne_itself_does_and_the_fit_repeats(room: Room, unmixed: OcularFit) -> None:
    data = room.eeg[CALIBRATION] - room.eeg[CALIBRATION].mean(axis=0)
    raw: Any = mne.io.RawArray(data.T, mne.create_info(data.shape[1], SFREQ, "eeg"), verbose="ERROR")
    most: Any = MOST_STEPS
    ica = mne.preprocessing.ICA(
        n_components=12, method="infomax", fit_params={"extended": True}, max_iter=most, random_state=SEED
    )
    ica.fit(raw, verbose="ERROR")
    theirs = ica.apply(raw.copy(), exclude=list(unmixed.removed), verbose="ERROR").get_data().T
    np.testing.assert_allclose(SpatialFilter(unmixed.matrix)(data), theirs, atol=1e-12)
    assert np.linalg.matrix_rank(unmixed.matrix, tol=1e-6) == data.shape[1] - len(unmixed.removed)


def test_an_eog_channel_finds_the_component_and_is_no_input(room: Room) -> None:
    fit = fit_ocular(room.eeg[SHORT], room.eog[SHORT], room.channels, SFREQ, QUICK)
    assert fit.inputs == fit.outputs == tuple(c.name for c in room.cap)
    assert len(fit.removed) == 1
    assert fit.correlations[0] > 0.9


def test_the_regression_is_the_formula(room: Room, regressed: OcularFit) -> None:
    x, e = (part[CALIBRATION] - part[CALIBRATION].mean(axis=0) for part in (room.eeg, room.eog))
    shares = np.linalg.inv(e.T @ e) @ e.T @ x
    n = x.shape[1]
    np.testing.assert_allclose(regressed.matrix, np.hstack([np.eye(n), -shares.T]), atol=1e-9)
    assert regressed.inputs == (*(c.name for c in room.cap), "VEOG")


@pytest.mark.parametrize("chosen", [QUICK, EOG.model_copy(update={"min_s": 20.0})])
def test_bad_and_flat_channels_pass_through(room: Room, chosen: OcularSettings) -> None:
    data = room.eeg[SHORT].copy()
    data[:, 1] *= 1e3
    data[:, 4] = 1e-3
    eog = room.eog[SHORT]
    fit = fit_ocular(data, eog, room.channels, SFREQ, chosen, bad=("Fp2",))
    assert fit.left_out == ("Fp2", room.cap[4].name)
    for i in (1, 4):
        expected = np.eye(len(fit.inputs))[i]
        np.testing.assert_array_equal(fit.matrix[i], expected)
        np.testing.assert_array_equal(np.delete(fit.matrix[:, i], i), 0.0)
    assert "left out: Fp2" in fit.summary
    blink = np.hstack([room.blink, room.blink_eog])[:, : len(fit.inputs)]
    left = SpatialFilter(fit.matrix)(blink)[TEST, 0]
    assert np.mean(left**2) < 0.1 * np.mean(room.blink[TEST, 0] ** 2)


@pytest.mark.parametrize("with_eog", [True, False])
def test_without_blinks_nothing_is_taken_out(room: Room, with_eog: bool) -> None:
    # frontal components do go with frontal electrodes: a low limit, so that only their shape tells them from eyes
    chosen = QUICK if with_eog else QUICK.model_copy(update={"correlation_min": 0.3})
    eog = 5e-6 * np.random.default_rng(3).standard_normal((5000, 1))
    channels = room.channels if with_eog else room.cap
    fit = fit_ocular(room.brain[SHORT], eog if with_eog else eog[:, :0], channels, SFREQ, chosen)
    np.testing.assert_array_equal(fit.matrix, np.eye(len(room.cap)))
    assert fit.removed == ()
    assert fit.summary == "none of 5 components goes with the eyes, fitted on 20 s of clean EEG: nothing is taken out"


def test_too_little_eeg_is_refused(room: Room) -> None:
    part = slice(0, 7525)
    with pytest.raises(RecordingError, match=r"30\.1 s of clean EEG in the calibration run, expected at least 40"):
        fit_ocular(room.eeg[part], room.eog[part], room.channels, SFREQ, ICA)


def test_a_regression_without_eog_is_refused(room: Room) -> None:
    eeg, eog = room.eeg[CALIBRATION], room.eog[CALIBRATION]
    with pytest.raises(RecordingError, match="none of 0 EOG channels carries a signal"):
        fit_ocular(eeg, eog[:, :0], room.cap, SFREQ, EOG)
    with pytest.raises(RecordingError, match="none of 1 EOG channels carries a signal"):
        fit_ocular(eeg, np.zeros_like(eog), room.channels, SFREQ, EOG)


def test_an_ica_with_nothing_near_the_eyes_is_refused(room: Room) -> None:
    kept = [i for i, c in enumerate(room.cap) if c.name not in {"Fp1", "Fp2", "F7"}]
    cap = tuple(room.cap[i] for i in kept)
    with pytest.raises(RecordingError, match="neither an EOG channel nor a good electrode near the eyes"):
        fit_ocular(room.eeg[CALIBRATION][:, kept], room.eog[CALIBRATION, :0], cap, SFREQ, ICA)


def test_too_few_good_channels_and_values_that_are_no_numbers_are_refused(room: Room) -> None:
    eeg, eog = room.eeg[CALIBRATION], room.eog[CALIBRATION]
    with pytest.raises(RecordingError, match="2 good EEG channels with 2 that are independent, expected at least 3"):
        fit_ocular(eeg, eog, room.channels, SFREQ, ICA, bad=tuple(c.name for c in room.cap[2:]))
    holed = eeg.copy()
    holed[5, 2] = np.nan
    with pytest.raises(RecordingError, match="values that are no numbers"):
        fit_ocular(holed, eog, room.channels, SFREQ, ICA)
    with pytest.raises(ValueError, match="expected 19 and 1 columns"):
        fit_ocular(eeg[:, 1:], eog, room.channels, SFREQ, ICA)


@pytest.mark.parametrize("name", ["unmixed", "regressed"])
def test_a_fit_survives_the_file_bit_for_bit(name: str, request: pytest.FixtureRequest) -> None:
    fit: OcularFit = request.getfixturevalue(name)
    again = OcularFit.model_validate_json(fit.model_dump_json())
    assert again == fit
    np.testing.assert_array_equal(again.matrix, fit.matrix)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": ((1.0,),)}, "not 19 by 20"),
        ({"rows": ((float("nan"),) * 20,) * 19}, "no numbers"),
        ({"inputs": tuple("abcdefghijklmnopqrst")}, "do not begin with its outputs"),
    ],
)
def test_a_fit_that_was_tampered_with_is_refused(change: dict[str, Any], message: str, regressed: OcularFit) -> None:
    with pytest.raises(ValidationError, match=message):
        OcularFit.model_validate(regressed.model_dump() | change)


@settings(deadline=None, max_examples=40)
@given(cuts=st.lists(st.integers(0, 200), max_size=10), n_eog=st.integers(0, 2), seed=st.integers(0, 99))
def test_any_split_gives_the_same_bits(cuts: Sequence[int], n_eog: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    stage = SpatialFilter(rng.standard_normal((63, 63 + n_eog)))
    # columns picked from a wider array, as the lane does
    x = rng.standard_normal((200, 70))[:, : 63 + n_eog]
    whole = stage(x)
    for borders in (sorted({0, 200, *cuts}), range(201)):
        pieces = [stage(x[a:b]) for a, b in pairwise(borders)]
        np.testing.assert_array_equal(np.concatenate(pieces), whole)
    assert stage(x[:0]).shape == (0, 63)


def test_a_channel_that_goes_bad_later_does_not_spread(room: Room, unmixed: OcularFit) -> None:
    stage = SpatialFilter(unmixed.matrix)
    data = room.eeg[TEST].copy()
    data[:, 0] += 5e-3 * np.random.default_rng(1).standard_normal(len(data))
    others = np.arange(1, data.shape[1])
    spread = stage(data)[:, others]
    stage.leave_out(np.array([0]))
    out = stage(data)
    np.testing.assert_array_equal(out[:, 0], data[:, 0])
    clean = room.brain[TEST][:, others]
    assert np.std(spread - clean) > 5 * np.std(out[:, others] - clean)
    stage.leave_out(np.array([], dtype=int))
    np.testing.assert_array_equal(stage(data)[:, others], spread)
