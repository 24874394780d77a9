"""Linear rivals as they are served: which fit decides, and how fits are added."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import onnxruntime as ort
import pytest

from streamer.decode.linear_model import LinearModel
from streamer.decode.model_card import Doubt, Temperatures
from streamer.decode.onnx_session import CPU, start_session
from streamer.errors import ModelError
from streamer.messages import Flag, SessionTime, Window
from tests.unit.served_files import (
    BOLD_STEPS,
    N_FEATURES,
    N_REGIONS,
    N_STEPS,
    TANGENT,
    linear,
    linear_graph,
    linear_logits,
)

EEG_ONLY = ("eeg_mean",), N_FEATURES, 0
BOLD_ONLY = ("bold_newest",), N_REGIONS, 1
TOGETHER = ("eeg_mean", "bold_newest"), N_FEATURES + N_REGIONS, 2
WITH_TANGENT = ("eeg_newest", "tangent"), N_FEATURES + TANGENT.width, 4
PLAIN = Temperatures()


def cut(**changes):
    rng = np.random.default_rng(5)
    window = Window(
        seq=7,
        start=SessionTime(96.0),
        end=SessionTime(100.0),
        eeg=rng.standard_normal((N_STEPS, N_FEATURES)).astype(np.float32),
        bold=rng.standard_normal((BOLD_STEPS, N_REGIONS)).astype(np.float32),
        age_eeg=0.05,
        age_bold=2.5,
        eeg_valid=True,
        bold_valid=True,
        tangent=rng.standard_normal(TANGENT.width).astype(np.float32),
    )
    return replace(window, **changes)


def parts(window):
    """Logits of every fit alone, by hand."""
    eeg, newest = window.eeg.mean(axis=0, dtype=np.float64), window.bold[-1]
    return {
        "eeg": linear_logits(eeg, seed=0),
        "bold": linear_logits(newest, seed=1),
        "both": linear_logits([*eeg, *newest], seed=2),
        "tangent": linear_logits([*window.eeg[-1], *window.tangent], seed=4),
    }


def probabilities(logits):
    weights = np.exp(logits - logits.max())
    return pytest.approx((weights / weights.sum()).tolist(), abs=2e-5)


def test_the_richest_fit_that_the_window_holds_decides(tmp_path):
    features = {"bold": BOLD_ONLY, "both": TOGETHER, "eeg": EEG_ONLY}
    model = LinearModel(linear(tmp_path, features, temperature=PLAIN))
    model.warm_up()
    window = cut()
    expected = parts(window)
    both, eeg, bold = model(window), model(cut(bold_valid=False)), model(cut(eeg_valid=False))
    assert both.probabilities == probabilities(expected["both"])
    assert eeg.probabilities == probabilities(expected["eeg"])
    assert bold.probabilities == probabilities(expected["bold"])
    assert [p.flags for p in (both, eeg, bold)] == [Flag.NONE, Flag.NO_BOLD, Flag.NO_EEG]
    assert both.attention == {"eeg": 0.5, "bold": 0.5}
    assert eeg.attention == {"eeg": 1.0, "bold": 0.0}
    assert both.disagreement == 0.0


def test_logits_of_single_fits_are_added_less_the_prior_once(tmp_path):
    prior = (math.log(0.3), math.log(0.7))
    features = {"eeg": EEG_ONLY, "bold": BOLD_ONLY}
    model = LinearModel(linear(tmp_path, features, temperature=PLAIN, add=True, log_prior=prior))
    window = cut()
    expected = parts(window)
    both = model(window)
    assert both.probabilities == probabilities(expected["eeg"] + expected["bold"] - np.array(prior))
    says = [np.ptp(expected[name]) for name in ("eeg", "bold")]
    assert list(both.attention.values()) == pytest.approx((np.array(says) / sum(says)).tolist(), abs=1e-5)
    assert both.flags == Flag.NONE
    assert model(cut(bold_valid=False)).probabilities == probabilities(expected["eeg"])
    # a graph of both together comes before the sum
    model = LinearModel(
        linear(tmp_path / "b", {**features, "both": TOGETHER}, temperature=PLAIN, add=True, log_prior=prior)
    )
    assert model(window).probabilities == probabilities(expected["both"])


def test_without_a_fit_of_both_the_eeg_decides_alone(tmp_path):
    model = LinearModel(linear(tmp_path, {"bold": BOLD_ONLY, "eeg": EEG_ONLY}, temperature=PLAIN))
    prediction = model(cut())
    assert prediction.probabilities == probabilities(parts(cut())["eeg"])
    assert prediction.flags == Flag.NO_BOLD


def test_a_fit_whose_features_are_not_there_is_passed_over(tmp_path):
    features = {"eeg": WITH_TANGENT, "bold": BOLD_ONLY}
    model = LinearModel(linear(tmp_path, features, tangent=True, temperature=PLAIN))
    expected = parts(cut())
    assert model(cut()).probabilities == probabilities(expected["tangent"])
    without = model(cut(tangent=np.empty(0, np.float32)))
    assert without.probabilities == probabilities(expected["bold"])
    assert without.flags == Flag.NO_EEG
    junk = model(cut(tangent=np.full(TANGENT.width, math.nan, np.float32)))
    assert junk.probabilities == without.probabilities
    assert model.unusable == 1
    nothing = model(cut(tangent=np.empty(0, np.float32), bold_valid=False))
    assert nothing.probabilities == (0.5, 0.5)
    assert nothing.flags == Flag.NO_EEG | Flag.NO_BOLD | Flag.ABSTAINED


def test_a_card_of_one_modality_and_many_classes_is_served(tmp_path):
    classes = ("a", "b", "c")
    loaded = linear(
        tmp_path, {"bold": BOLD_ONLY}, classes=classes, eeg=None, doubt=Doubt(quantile={"bold": 1.0}), temperature=PLAIN
    )
    prediction = LinearModel(loaded)(cut(eeg=np.empty((0, 0), np.float32), eeg_valid=False))
    assert prediction.probabilities == probabilities(linear_logits(cut().bold[-1], 3, seed=1))
    assert prediction.candidates == classes
    assert prediction.flags == Flag.ABSTAINED


@pytest.mark.parametrize(
    ("features", "changes", "message"),
    [
        ({"eeg": (("eeg_mean",), 5, 0)}, {}, r"features is .*5\).*expected input \(any, 8\)"),
        ({"eeg": (("eeg_mode",), 8, 0)}, {}, "feature eeg_mode of a window is not known"),
        ({"eeg": TOGETHER}, {}, "part eeg has features of bold: expected none"),
        ({"bold": EEG_ONLY}, {}, "part bold has features of eeg"),
        ({"eeg": WITH_TANGENT}, {}, "part eeg has features of tangent: the card has none"),
        ({"both": TOGETHER}, {"bold": None}, "part both has features of bold: the card has none"),
        ({"eeg": EEG_ONLY}, {"add": True, "log_prior": (0.0, 0.0)}, "add is on: expected parts eeg and bold"),
        ({"eeg": EEG_ONLY, "bold": BOLD_ONLY}, {"add": True}, "add is on.*and log_prior"),
        ({"eeg": EEG_ONLY}, {"log_prior": (0.0,)}, "log_prior has 1 numbers: expected 2"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, features, changes, message):
    with pytest.raises(ModelError, match=message):
        LinearModel(linear(tmp_path, features, **changes))


def test_a_lost_session_moves_every_fit_to_the_processor(tmp_path):
    other = "AzureExecutionProvider"
    if other not in ort.get_available_providers():
        pytest.skip("no second provider in this ONNX Runtime")
    lost = [False]

    class Fails:
        def __init__(self, session):
            self._session = session

        def __getattr__(self, name):
            return getattr(self._session, name)

        def run_with_iobinding(self, binding, options=None):
            if lost[0]:
                raise RuntimeError("CUDA failure 700")
            self._session.run_with_iobinding(binding, options)

    def start(graph, provider, options):
        session = start_session(graph, provider, options)
        return session if provider == CPU else Fails(session)

    loaded = linear(tmp_path, {"eeg": EEG_ONLY, "bold": BOLD_ONLY})
    model = LinearModel(loaded, other, start)
    before = model(cut())
    assert model.provider == other
    lost[0] = True
    assert model(cut()) == before
    assert model.provider == CPU
    assert model.notes == (f"{other} failed in mid-run: CUDA failure 700; {CPU} took its place",)
    assert model(cut(eeg_valid=False)) == LinearModel(loaded, "cpu")(cut(eeg_valid=False))


def test_the_graph_under_test_is_onnx():
    session = ort.InferenceSession(linear_graph(3), providers=[CPU])
    features = np.arange(3, dtype=np.float32)
    (logits,) = session.run(["logits"], {"features": features[None]})
    np.testing.assert_allclose(logits[0], linear_logits(features), atol=1e-6)
