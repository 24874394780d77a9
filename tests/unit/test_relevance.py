"""The live relevance: one more question per decision, on a window that is kept."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from streamer.decode.montage_groups import channel_groups
from streamer.decode.relevance import TARGET, Relevance
from streamer.messages import Feature, Flag, Prediction, SessionTime, Window

CHANNELS = ("Fz", "C3", "O1", "O2", "EEG7")
BANDS = ("theta", "alpha")
REGIONS = ("motor_L", "control")


class Additive:
    """Log-odds of class 1 is a weighted sum of means over time: what each part adds is known exactly."""

    def __init__(self) -> None:
        self.eeg = np.zeros(len(CHANNELS) * len(BANDS))
        self.eeg[[5, 7]] = -0.3, -0.2  # alpha of O1 and O2
        self.bold = np.array([0.8, 0.0])
        self.asked = 0

    def aside(self, window: Window) -> Prediction:
        self.asked += 1
        z = float(window.eeg.mean(axis=0) @ self.eeg)
        bold = float(window.bold.mean(axis=0) @ self.bold)
        z += bold if math.isfinite(bold) else 0.0
        p = 1 / (1 + math.exp(-z))
        return replace(prediction(window.seq), probabilities=(1 - p, p))


def window(seq: int, eeg: float = -2.0, bold: float = 1.0) -> Window:
    return Window(
        seq=seq,
        start=SessionTime(seq / 10 - 4),
        end=SessionTime(seq / 10),
        eeg=np.full((20, len(CHANNELS) * len(BANDS)), eeg, np.float32),
        bold=np.full((16, len(REGIONS)), bold, np.float32),
        age_eeg=0.05,
        age_bold=2.0,
        eeg_valid=True,
        bold_valid=True,
    )


def prediction(seq: int, flags: Flag = Flag.NONE) -> Prediction:
    return Prediction(seq, "m@0", ("rest", "task"), (0.2, 0.8), 0.5, {}, SessionTime(seq / 10), 0.05, 2.0, flags)


def run(stage: Relevance, count: int, flags: Flag = Flag.NONE) -> list[tuple[int, Feature]]:
    found: list[tuple[int, Feature]] = []
    for seq in range(count):
        feature = stage(window(seq, eeg=-2.0 - seq), prediction(seq, flags))
        if feature is not None:
            found.append((seq, feature))
    return found


def test_a_round_gives_what_each_part_adds_to_the_window_that_it_began_with() -> None:
    stage = Relevance(Additive(), CHANNELS, BANDS, REGIONS)
    rounds = run(stage, 40)
    parts = 2 + 4 * 2 + 2
    assert [seq for seq, _ in rounds] == [parts, 2 * parts + 1, 3 * parts + 2]
    first = rounds[0][1]
    assert (first.name, first.sample, first.about, first.valid) == ("relevance", 0, 0.0, True)
    values = dict(zip(first.labels, first.values, strict=True))
    assert values[TARGET] == 1
    # the window of decision 0: alpha z of -2, occipital weights -0.3 and -0.2; later windows do not matter
    assert values["eeg"] == pytest.approx(1.0, abs=1e-4)
    assert values["eeg.occipital.alpha"] == pytest.approx(1.0, abs=1e-4)
    assert values["bold"] == values["bold.motor_L"] == pytest.approx(0.8, abs=1e-4)
    silent = {"eeg.frontal.theta", "eeg.occipital.theta", "eeg.EEG7.alpha", "bold.control"}
    assert {values[name] for name in silent} == {0.0}
    assert rounds[1][1].about == pytest.approx((parts + 1) / 10)


def test_no_decision_pays_for_more_than_one_question() -> None:
    model = Additive()
    stage = Relevance(model, CHANNELS, BANDS, REGIONS)
    for seq in range(50):
        before = model.asked
        stage(window(seq), prediction(seq))
        assert model.asked - before == 1


def test_the_same_decisions_give_the_same_bits() -> None:
    one, two = (run(Relevance(Additive(), CHANNELS, BANDS, REGIONS), 64) for _ in range(2))
    assert one == two
    assert len(one) == 4


class OfCovariance:
    """Log-odds of class 1 is the tangent vector's first number."""

    def aside(self, window: Window) -> Prediction:
        p = 1 / (1 + math.exp(-float(window.tangent[0])))
        return replace(prediction(window.seq), probabilities=(1 - p, p))


def test_the_covariance_goes_with_the_eeg_as_a_whole() -> None:
    stage = Relevance(OfCovariance(), CHANNELS, BANDS, REGIONS)
    given = replace(window(0), tangent=np.array([1.5, 0.0], np.float32))
    found = [stage(given, prediction(0)) for _ in range(1 + 2 + 4 * 2 + 2)][-1]
    assert found is not None
    values = dict(zip(found.labels, found.values, strict=True))
    assert values["eeg"] == pytest.approx(1.5, abs=1e-4)
    assert {values[name] for name in found.labels[2:]} == {0.0}
    assert (given.tangent == [1.5, 0.0]).all()


def test_a_masked_modality_is_not_a_number() -> None:
    stage = Relevance(Additive(), CHANNELS, BANDS, REGIONS)
    found: list[Feature] = []
    for seq in range(20):
        torn = window(seq, bold=math.nan)
        feature = stage(torn, prediction(seq, Flag.NO_BOLD))
        found += [] if feature is None else [feature]
    values = dict(zip(found[0].labels, found[0].values, strict=True))
    assert math.isnan(values["bold"])
    assert math.isnan(values["bold.motor_L"])
    assert values["eeg"] == pytest.approx(1.0, abs=1e-4)
    assert found[0].flags & Flag.NO_BOLD


def test_nothing_is_asked_of_an_empty_window() -> None:
    model = Additive()
    assert run(Relevance(model, CHANNELS, BANDS, REGIONS), 30, Flag.NO_EEG | Flag.NO_BOLD) == []
    assert model.asked == 0


def test_a_model_of_one_modality_has_its_parts_only() -> None:
    stage = Relevance(Additive(), CHANNELS, BANDS, ())
    assert not [label for label in stage.labels if label.startswith("bold")]


def test_channels_are_grouped_by_their_letters() -> None:
    names = ("Fp1", "AFz", "FC5", "T7", "TP10", "CP1", "Pz", "T5", "PO3", "o2", "A1", "frontal")
    groups = channel_groups(names)
    assert groups == {
        "frontal": (0, 1, 2),
        "central": (5,),
        "temporal": (3, 4),
        "parietal": (6, 7),
        "occipital": (8, 9),
        "A1": (10,),
        "channel frontal": (11,),
    }
    assert channel_groups(()) == {}
