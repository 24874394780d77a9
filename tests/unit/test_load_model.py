"""Every kind of card becomes a model that the loop can ask."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.decode.card_file import LoadedCard
from streamer.decode.linear_model import LinearModel
from streamer.decode.load_model import load_model
from streamer.decode.network_model import NetworkModel
from streamer.decode.onnx_session import CPU
from streamer.decode.score_card import make_score_card
from streamer.decode.score_model import ScoreModel
from streamer.decode.score_spec import ScoreSpec
from streamer.errors import ModelError
from streamer.messages import SessionTime, Window
from tests.unit.served_files import (
    BOLD,
    BOLD_STEPS,
    DIGEST,
    EEG,
    N_FEATURES,
    N_REGIONS,
    N_STEPS,
    REGIONS,
    linear,
    network,
)


def cards(folder):
    spec = ScoreSpec(region_sd=dict.fromkeys(REGIONS, 1.0))
    yield NetworkModel, network(folder)
    yield LinearModel, linear(folder, {"eeg": (("eeg_mean",), N_FEATURES, 0)})
    yield ScoreModel, LoadedCard(make_score_card(spec, EEG, BOLD, "task", DIGEST), "ab" * 32, folder)


def test_a_card_of_another_kind_is_refused(tmp_path):
    (_, a_network), (_, a_rival), (_, a_score) = cards(tmp_path)
    for kind, loaded in ((NetworkModel, a_rival), (NetworkModel, a_score), (LinearModel, a_network)):
        with pytest.raises(ModelError, match=f"is of kind {loaded.card.kind}: expected"):
            kind(loaded)


@pytest.mark.parametrize("providers", [None, "cpu", ("cpu",)])
def test_every_kind_is_served_and_says_what_it_is(tmp_path, providers):
    rng = np.random.default_rng(0)
    window = Window(
        seq=1,
        start=SessionTime(0.0),
        end=SessionTime(4.0),
        eeg=rng.standard_normal((N_STEPS, N_FEATURES)).astype(np.float32),
        bold=rng.standard_normal((BOLD_STEPS, N_REGIONS)).astype(np.float32),
        age_eeg=0.05,
        age_bold=2.0,
        eeg_valid=True,
        bold_valid=True,
    )
    for kind, loaded in cards(tmp_path):
        model = load_model(loaded, providers)
        assert isinstance(model, kind)
        model.warm_up()
        prediction = model(window)
        assert prediction == load_model(loaded, providers)(window)
        assert prediction.model == model.name == f"{loaded.card.name}@{loaded.sha256[:12]}"
        assert prediction.classes == model.classes == model.card.classes
        assert sum(prediction.probabilities) == pytest.approx(1.0, abs=1e-12)
        assert (model.notes, model.unusable, model.provider) == ((), 0, CPU)
