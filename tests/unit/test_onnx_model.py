from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streamer.decode.card import LoadedCard, dump_card, load_card
from streamer.decode.onnx_model import CPU, FusionModel, available_providers, normalised_entropy, quantised
from streamer.errors import ModelError
from streamer.messages import Flag, SessionTime, Window
from tests.unit.model_files import draft_card, untrained, write_untrained


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedCard:
    return write_untrained(tmp_path_factory.mktemp("model"))


def cut(seed: int = 0, **changes: object) -> Window:
    rng = np.random.default_rng(seed)
    window = Window(
        seq=7,
        start=SessionTime(96.0),
        end=SessionTime(100.0),
        eeg=rng.standard_normal((20, 18)).astype(np.float32),
        bold=rng.standard_normal((16, 3)).astype(np.float32),
        age_eeg=0.05,
        age_bold=2.5,
        eeg_valid=True,
        bold_valid=True,
    )
    return replace(window, **changes)


def test_a_window_gives_what_torch_gives(loaded: LoadedCard) -> None:
    window = cut()
    prediction = FusionModel(loaded)(window)
    with torch.inference_mode():
        logits, attention = untrained()(
            torch.from_numpy(window.eeg)[None],
            torch.from_numpy(window.bold)[None],
            torch.tensor([[0.05, 2.5]]),
            torch.ones(1, 2),
        )
    expected = torch.softmax(logits[0].double() / 1.5, dim=0).tolist()
    assert prediction.probabilities == pytest.approx(expected, abs=1e-5)
    assert tuple(prediction.attention.values()) == pytest.approx(attention[0].tolist(), abs=1e-5)
    assert list(prediction.attention) == ["eeg", "bold"]
    assert prediction.model == f"test-fusion@{loaded.sha256[:12]}"
    assert (prediction.seq, prediction.about, prediction.classes) == (7, 100.0, ("rest", "task"))
    assert (prediction.age_eeg, prediction.age_bold, prediction.flags) == (0.05, 2.5, Flag.NONE)
    assert prediction.ready is None


def test_predictions_are_quantised_and_sum_to_one(loaded: LoadedCard) -> None:
    model = FusionModel(loaded)
    for seed in range(20):
        prediction = model(cut(seed))
        for value in (*prediction.probabilities, prediction.uncertainty, *prediction.attention.values()):
            assert value == round(value, 5)
        assert sum(prediction.probabilities) == pytest.approx(1.0, abs=1e-12)
        assert 0 <= prediction.uncertainty <= 1


@given(st.lists(st.floats(1e-6, 1), min_size=2, max_size=5))
def test_quantising_keeps_the_sum_and_moves_nothing_far(weights: list[float]) -> None:
    p = [w / sum(weights) for w in weights]
    q = quantised(p)
    assert math.fsum(q) == pytest.approx(1.0, abs=1e-12)
    assert all(value == round(value, 5) for value in q)
    assert q == pytest.approx(p, abs=1e-5 * len(p))
    assert 0 <= normalised_entropy(q) <= 1


def test_entropy_is_one_for_a_coin_and_zero_when_certain() -> None:
    assert normalised_entropy((0.5, 0.5)) == 1.0
    assert normalised_entropy((1.0, 0.0)) == 0.0
    assert normalised_entropy((0.9, 0.1)) == pytest.approx(0.469, abs=1e-4)


def test_a_masked_modality_does_not_matter_and_is_flagged(loaded: LoadedCard) -> None:
    model = FusionModel(loaded)
    masked = cut(bold_valid=False, age_bold=math.inf, bold=np.zeros((16, 3), np.float32))
    wild = replace(masked, bold=np.full((16, 3), 9.0, np.float32))
    first, second = model(masked), model(wild)
    assert first == second
    assert first.flags == Flag.NO_BOLD
    assert first.attention == {"eeg": 1.0, "bold": 0.0}
    assert model(cut()) != first
    alone = model(cut(eeg_valid=False))
    assert alone.flags == Flag.NO_EEG
    assert alone.attention == {"eeg": 0.0, "bold": 1.0}


def test_each_set_of_modalities_has_its_temperature(loaded: LoadedCard) -> None:
    window = cut(bold_valid=False)
    p = FusionModel(loaded)(window).probabilities
    warmer = loaded.card.temperature.model_copy(update={"eeg": 4.0})
    card = loaded.card.model_copy(update={"temperature": warmer})
    q = FusionModel(replace(loaded, card=card))(window).probabilities
    # twice the temperature halves the log-odds
    assert math.log(q[1] / q[0]) == pytest.approx(math.log(p[1] / p[0]) / 2, abs=1e-3)


def test_with_nothing_to_judge_by_the_model_says_so(loaded: LoadedCard) -> None:
    prediction = FusionModel(loaded)(cut(eeg_valid=False, bold_valid=False, flags=Flag.WARMING))
    assert prediction.probabilities == (0.5, 0.5)
    assert prediction.uncertainty == 1.0
    assert prediction.attention == {"eeg": 0.0, "bold": 0.0}
    assert prediction.flags == Flag.NO_EEG | Flag.NO_BOLD | Flag.WARMING


@pytest.mark.parametrize("junk", [math.nan, math.inf])
def test_a_number_that_is_not_finite_masks_its_modality(loaded: LoadedCard, junk: float) -> None:
    model = FusionModel(loaded)
    eeg = cut().eeg.copy()
    eeg[3, 4] = junk
    prediction = model(cut(eeg=eeg))
    assert prediction == model(cut(eeg_valid=False))
    assert model.unusable == 1


def test_data_too_old_for_the_card_is_masked_as_stale(loaded: LoadedCard) -> None:
    prediction = FusionModel(loaded)(cut(age_bold=6.1))
    assert prediction.flags == Flag.STALE | Flag.NO_BOLD
    assert prediction.probabilities == FusionModel(loaded)(cut(bold_valid=False)).probabilities
    assert FusionModel(loaded)(cut(age_eeg=math.nan)).flags == Flag.STALE | Flag.NO_EEG


def test_earlier_windows_leave_no_trace(loaded: LoadedCard) -> None:
    model = FusionModel(loaded)
    first = model(cut(1))
    model(cut(2, bold_valid=False))
    model.warm_up()
    assert model(cut(1)) == first == FusionModel(loaded)(cut(1))


def test_a_window_of_another_shape_is_refused(loaded: LoadedCard) -> None:
    with pytest.raises(ModelError, match=r"EEG has shape \(20, 17\).*takes \(20, 18\)"):
        FusionModel(loaded)(cut(eeg=np.zeros((20, 17), np.float32)))


def test_the_provider_is_told_and_what_fell_back(loaded: LoadedCard) -> None:
    assert CPU in available_providers()
    assert FusionModel(loaded, "cpu").provider == CPU
    assert FusionModel(loaded, ("cpu",)).notes == ()
    auto = FusionModel(loaded)
    assert auto.provider in available_providers()
    with pytest.raises(ModelError, match="provider tpu is not known"):
        FusionModel(loaded, "tpu")


def test_a_provider_that_is_not_there_falls_back_with_a_note(loaded: LoadedCard) -> None:
    absent = next(p for p in ort.get_all_providers() if p not in ort.get_available_providers())
    model = FusionModel(loaded, (absent, CPU))
    assert model.provider == CPU
    assert model.notes == (f"{absent} is not in this ONNX Runtime",)
    with pytest.raises(ModelError, match="no provider of ONNX Runtime runs it"):
        FusionModel(loaded, (absent,))


def test_a_graph_that_is_swapped_after_the_check_is_refused(tmp_path: Path) -> None:
    own = write_untrained(tmp_path)
    own.graph_path.write_bytes(own.graph_path.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError, match="it was altered"):
        FusionModel(own)


def test_a_graph_that_is_not_what_the_card_says_is_refused(loaded: LoadedCard, tmp_path: Path) -> None:
    fewer = draft_card().bold.model_copy(update={"regions": ("left", "right")})
    card = loaded.card.model_copy(update={"bold": fewer})
    (tmp_path / "default.onnx").write_bytes(loaded.graph_path.read_bytes())
    (tmp_path / "default.toml").write_text(dump_card(card), encoding="utf-8")
    with pytest.raises(ModelError, match=r"bold is .*\(16, 3\).*expected \(16, 2\)"):
        FusionModel(load_card(tmp_path / "default.toml"))


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    own = write_untrained(tmp_path)
    own.graph_path.write_bytes(b"no graph")
    text = (tmp_path / "default.toml").read_text(encoding="utf-8")
    text = text.replace(own.card.graph.sha256, hashlib.sha256(b"no graph").hexdigest())
    (tmp_path / "default.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match="no provider of ONNX Runtime runs it"):
        FusionModel(load_card(tmp_path / "default.toml"))
