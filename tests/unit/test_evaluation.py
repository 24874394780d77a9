from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from models.baselines import rivals
from models.commands.evaluate import evaluate
from models.dataset import Inputs, WindowSet
from models.evaluation.card_model import CardModel
from models.evaluation.judge import Judgement, judge
from models.evaluation.predict import Predicted, fit_predict, masked, predict_folds, shuffled
from models.evaluation.report import Origin, as_html, as_json
from models.evaluation.splits import split
from streamer.compose import default_card
from streamer.decode.card import LoadedCard, load_card
from streamer.decode.onnx_model import FusionModel
from streamer.errors import ModelError, StreamerError, UsageError
from streamer.messages import SessionTime, Window
from tests.unit.synthetic_windows import CHANNELS, REGIONS, some_subjects

FUSED = ("concatenated + logistic regression", "late fusion of log-odds")


@pytest.fixture(scope="module")
def card() -> LoadedCard:
    return load_card(default_card())


@pytest.fixture(scope="module")
def judgement() -> Judgement:
    return judged(some_subjects("abcd", 10), some_subjects("ghi", 30))


def judged(training: WindowSet, unseen: WindowSet, names: tuple[str, ...] = ()) -> Judgement:
    chosen = [rival for rival in rivals() if not names or rival.name in names]
    return judge(unseen, fit_predict(chosen, training, unseen))


def for_card(windows: WindowSet, loaded: LoadedCard) -> WindowSet:
    """Give windows the channels and regions of a card, each one of the few that they have."""
    card = loaded.card
    n_bands = len(card.eeg.bands)
    n, steps, _ = windows.eeg.shape
    eeg = windows.eeg.reshape(n, steps, -1, n_bands)[:, :, np.arange(len(card.eeg.channels)) % len(CHANNELS)]
    bold = windows.bold[:, :, np.arange(len(card.bold.regions)) % len(REGIONS)]
    inputs = Inputs(card.eeg.channels, card.bold.regions, card.eeg.sfreq_hz)
    return replace(windows, eeg=eeg.reshape(n, steps, -1), bold=bold, inputs=inputs)


def only(windows: WindowSet, modality: str, seed: int = 0) -> WindowSet:
    """Leave the effect in one modality: the other is noise that knows nothing."""
    other = "bold" if modality == "eeg" else "eeg"
    noise = np.random.default_rng(seed).standard_normal(getattr(windows, other).shape).astype(np.float32)
    return replace(windows, **{other: noise})


def weakened(windows: WindowSet, seed: int) -> WindowSet:
    """Hide either modality's effect under much noise, so that one alone is not enough."""
    rng = np.random.default_rng(seed)
    eeg = windows.eeg + 2.5 * rng.standard_normal((len(windows), 1, windows.eeg.shape[2]))
    bold = windows.bold + 4.0 * rng.standard_normal(windows.bold.shape)
    return replace(windows, eeg=eeg.astype(np.float32), bold=bold.astype(np.float32))


def test_a_card_is_asked_as_the_loop_asks_it(card: LoadedCard) -> None:
    windows = for_card(some_subjects("g", 30), card)
    mixed = windows.valid.copy()
    mixed[::5, 0] = 0
    mixed[::7, 1] = 0
    windows = replace(windows, valid=mixed)
    p = CardModel(card).predict_proba(windows)
    served = FusionModel(card, "cpu")
    assert (mixed.max(axis=1) == 0).any()
    for k in range(0, len(windows), 5):
        window = Window(
            k, SessionTime(0), SessionTime(windows.time[k]), windows.eeg[k], windows.bold[k],
            float(windows.age[k, 0]), float(windows.age[k, 1]),
            eeg_valid=bool(mixed[k, 0]), bold_valid=bool(mixed[k, 1]),
        )  # fmt: skip
        assert p[k] == pytest.approx(served(window).probabilities, abs=2e-5)


def test_a_card_refuses_windows_it_is_not_for_and_subjects_it_was_trained_on(card: LoadedCard) -> None:
    model = CardModel(card)
    windows = for_card(some_subjects("gh", 1), card)
    model.check(windows)
    own = card.card.training.train[0]
    with pytest.raises(ModelError, match=f"was trained on {own}: expected subjects"):
        model.check(replace(windows, subject=np.where(windows.subject == "g", own, "h")))
    channels = ("A1", *card.card.eeg.channels[1:])
    with pytest.raises(
        ModelError, match=f"EEG channels that the model expects are missing: {card.card.eeg.channels[0]}"
    ):
        model.check(replace(windows, inputs=replace(windows.inputs, channels=channels)))
    with pytest.raises(ModelError, match="classes are rest, move"):
        model.check(replace(windows, classes=("rest", "move")))


def test_planted_effects_pass_and_a_guess_is_worse() -> None:
    training, unseen = some_subjects("abcd", 10), some_subjects("ghi", 30)
    guess = Predicted("guess", "eeg", np.random.default_rng(0).uniform(size=len(unseen)))
    found = judge(unseen, [guess, *fit_predict(rivals()[:1], training, unseen)])
    first, rival = found.models
    assert rival.passed
    assert not first.passed
    assert first.p_value > 0.01
    assert rival.p_value == 0.001
    assert rival.windows["accuracy"].low > found.chance
    assert found.differences[0].accuracy.high < 0
    assert "guess is worse than the best rival, band power + LDA" in found.verdict
    assert found.unit == "block"
    assert found.n_units == found.n_blocks == 27
    assert found.n_windows == rival.confusion.sum() == (unseen.label >= 0).sum()
    assert [part.name for part in rival.parts] == ["g", "h", "i"]
    assert sum(part.n_blocks for part in rival.parts) == 27
    right = sum(part.n_correct_blocks for part in rival.parts) / 27
    assert rival.block_accuracy.value == pytest.approx(right)
    assert rival.block_accuracy.low < right


def test_where_nothing_is_planted_no_one_passes() -> None:
    found = judged(some_subjects("abcd", 10, effect=0), some_subjects("ghi", 30, effect=0))
    for model in found.models:
        assert not model.passed
        assert model.windows["balanced_accuracy"].low < 0.55
        assert model.p_value > 0.01, model.name


@pytest.mark.parametrize("modality", ["eeg", "bold"])
def test_a_useless_modality_is_named(modality: str) -> None:
    found = judged(only(some_subjects("abcd", 10), modality, 1), only(some_subjects("ghi", 30), modality, 2), FUSED)
    other = "bold" if modality == "eeg" else "eeg"
    for model in found.models:
        c = model.contribution
        assert c is not None
        assert c.best_single == modality
        assert c.kind == "useless"
        assert c.sentence.startswith(f"fusing adds nothing to {modality.upper()} alone"), model.name
        assert c.shapley[modality].low > 0.2
        assert abs(c.shapley[other].value) < 0.05
        assert c.permutation_drop[modality].low > 0.1
        assert abs(c.permutation_drop[other].value) < 0.03
        assert c.shapley["eeg"].value + c.shapley["bold"].value == pytest.approx(c.both.value - 0.5)


def test_modalities_that_complement_one_another_are_named() -> None:
    found = judged(weakened(some_subjects("abcd", 10), 1), weakened(some_subjects("ghijkl", 30), 2), FUSED)
    assert found.unit == "subject"
    for model in found.models:
        assert model.contribution is not None
        assert model.contribution.kind == "complementary"
        assert model.contribution.sentence.startswith("fusing adds to"), model.contribution


def test_modalities_that_know_the_same_are_named() -> None:
    def same(windows: WindowSet, seed: int) -> WindowSet:
        # one noisy view of the state, in both
        noise = np.random.default_rng(seed).standard_normal(len(windows))
        view = np.where(windows.label == 1, 1.0, -1.0) + noise
        eeg, bold = np.zeros_like(windows.eeg), np.zeros_like(windows.bold)
        eeg[:, :, 0], bold[:, :, 0] = view[:, None], view[:, None]
        return replace(windows, eeg=eeg, bold=bold)

    found = judged(same(some_subjects("abcd", 10), 1), same(some_subjects("ghi", 30), 2), FUSED)
    for model in found.models:
        assert model.contribution is not None
        assert model.contribution.kind == "redundant"
        assert "fusing adds nothing" in model.contribution.sentence


def test_nothing_is_fitted_outside_the_fold() -> None:
    windows = some_subjects("abc", 10)
    folds = split(windows, "subject")
    before = predict_folds(lambda: rivals()[:4], windows, folds, lambda _: None)
    # labels and data of the held-out subject are turned upside down: what is said of the others' windows would move
    # with them, what is said of its own must not know the labels
    own = windows.subject == "b"
    turned = replace(windows, label=np.where(own & (windows.label >= 0), 1 - windows.label, windows.label))
    after = predict_folds(lambda: rivals()[:4], turned, folds, lambda _: None)
    for one, two in zip(before, after, strict=True):
        assert np.array_equal(one.as_is[own], two.as_is[own]), one.name
        assert not np.array_equal(one.as_is[~own], two.as_is[~own]), one.name


def test_modalities_are_masked_and_shuffled_one_by_one() -> None:
    windows = some_subjects("ab", 1)
    eeg = masked(windows, "eeg")
    assert not eeg.bold.any()
    assert eeg.valid[:, 1].max() == eeg.age[:, 1].max() == 0
    assert np.array_equal(eeg.eeg, windows.eeg)
    mixed = shuffled(windows, "bold", 3)
    assert np.array_equal(mixed.eeg, windows.eeg)
    assert not np.array_equal(mixed.bold, windows.bold)
    for name in "ab":
        own = windows.subject == name
        assert np.array_equal(np.sort(mixed.bold[own], axis=0), np.sort(windows.bold[own], axis=0))


def test_the_report_holds_what_was_judged_and_loads_nothing(judgement: Judgement) -> None:
    origin = Origin("Rivals: each subject <in turn>", ("a & b",), "0" * 64, 1)
    facts = json.loads(as_json(judgement, origin))
    assert facts["verdict"] == judgement.verdict
    first = facts["models"][0]
    assert first["windows"]["accuracy"]["value"] == pytest.approx(
        judgement.models[0].windows["accuracy"].value, abs=1e-5
    )
    assert first["passed"] is judgement.models[0].passed
    assert first["contribution"] is None
    assert facts["models"][3]["contribution"]["sentence"] == judgement.models[3].contribution.sentence
    html = as_html(judgement, origin)
    assert "&lt;in turn&gt;" in html
    assert "a &amp; b" in html
    assert not re.search(r"<script|src=|href=|@import|url\(", html)
    assert html.count("<svg") == 1 + 2 * len(judgement.models)
    assert "PASS" in html
    assert "nan" not in html
    for model in judgement.models:
        assert html.count(model.name) > 5


@pytest.fixture
def app(card: LoadedCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    for name in "gh":
        for_card(some_subjects(name, ord(name)), card).save(tmp_path / f"{name}.npz")
        for_card(some_subjects(name, ord(name), effect=0), card).save(tmp_path / f"null-{name}.npz")
    monkeypatch.chdir(tmp_path)
    made = typer.Typer(pretty_exceptions_enable=False)
    made.command()(evaluate)
    return made


def test_the_verb_judges_the_shipped_card_beside_rivals(app: typer.Typer, card: LoadedCard, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["g.npz", "x/2=h.npz", "--out", "report", "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    facts = json.loads(done.stdout)
    assert facts == json.loads((tmp_path / "report" / "report.json").read_text())
    assert facts["people"] == ["g", "x"]
    assert [m["name"] for m in facts["models"]] == [card.card.name, *(r.name for r in rivals())]
    assert facts["same_training"] is False
    assert facts["verdict"].endswith("not fitted on the same data")
    assert facts["origin"]["card_sha256"] == card.sha256
    assert (tmp_path / "report" / "report.html").stat().st_size > 10_000
    again = CliRunner().invoke(app, ["g.npz", "--out", "report"])
    assert isinstance(again.exception, UsageError)
    assert "--overwrite replaces it" in str(again.exception)


def test_a_failed_gate_ends_with_1_when_asked_to(app: typer.Typer, tmp_path: Path) -> None:
    arguments = ["null-g.npz", "null-h.npz", "--card", "none", "--gate"]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 1
    assert "FAIL" in done.stdout
    assert (tmp_path / "evaluation" / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ([], UsageError, "nothing to judge on"),
        (["g.npz", "g.npz"], UsageError, "same subject"),
        (["x=g.npz", "x=h.npz"], UsageError, "stands twice"),
        (["g.npz", "--train", "g.npz"], UsageError, "fit on and to judge on"),
        (["g.npz", "--train", "g/2=g.npz"], ModelError, "subjects g are fitted on and judged on"),
        (["g.npz", "h.npz", "--split", "shuffled"], UsageError, "refused"),
        (["g.npz"], UsageError, "1 to hold out"),
        (["none.npz"], ModelError, "not a set of windows"),
        (["nowhere"], ModelError, "is not a session"),
    ],
)
def test_wrong_use_is_told(app: typer.Typer, arguments: list[str], error: type[StreamerError], words: str) -> None:
    done = CliRunner().invoke(app, [*arguments, "--card", "none"])
    assert isinstance(done.exception, error)
    assert re.search(words, str(done.exception))
    assert not Path("evaluation").exists()


def test_a_card_for_other_settings_is_refused(app: typer.Typer, tmp_path: Path) -> None:
    (tmp_path / "session.toml").write_text("[windows]\nbold_steps = 20\n")
    done = CliRunner().invoke(app, ["g.npz", "h.npz", "--config", "session.toml"])
    assert isinstance(done.exception, ModelError)
    assert "was trained with other settings" in str(done.exception)
