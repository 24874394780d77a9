from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from models.baselines import rivals
from models.commands.evaluate import evaluate
from streamer.config import Config
from streamer.decode.card_file import LoadedCard
from streamer.errors import ModelError, StreamerError, UsageError
from tests.unit.served_files import linear
from tests.unit.served_windows import served_windows


@pytest.fixture
def card(tmp_path: Path) -> LoadedCard:
    parts = {"both": (("eeg_mean", "bold_newest"), 11, 3), "eeg": (("eeg_mean",), 8, 4), "bold": (("bold_mean",), 3, 5)}
    return linear(tmp_path / "card", parts, preprocessing=Config().model_digest())


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    for name in "gh":
        for prefix, effect in (("", 1.2), ("null-", 0.0)):
            windows = served_windows(name, ord(name), effect)
            windows.rows(np.arange(0, len(windows), 3)).save(tmp_path / f"{prefix}{name}.npz")
    monkeypatch.chdir(tmp_path)
    made = typer.Typer(pretty_exceptions_enable=False)
    made.command()(evaluate)
    return made


def test_the_verb_judges_a_card_beside_rivals(app: typer.Typer, card: LoadedCard, tmp_path: Path) -> None:
    given = ["g.npz", "x/2=h.npz", "--out", "report", "--card", str(card.folder / f"{card.card.name}.toml")]
    done = CliRunner().invoke(app, [*given, "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    facts = json.loads(done.stdout)
    assert facts == json.loads((tmp_path / "report" / "report.json").read_text())
    assert facts["people"] == ["g", "x"]
    windows = served_windows("g", 1)
    assert [m["name"] for m in facts["models"]] == [card.card.name, *(r.name for r in rivals(windows))]
    assert facts["same_training"] is False
    assert facts["verdict"].endswith("not fitted on the same data")
    assert facts["origin"]["card_sha256"] == card.sha256
    assert (tmp_path / "report" / "report.html").stat().st_size > 10_000
    again = CliRunner().invoke(app, ["g.npz", "--out", "report"])
    assert isinstance(again.exception, UsageError)
    assert "--overwrite replaces it" in str(again.exception)


def test_learning_curves_rise_and_are_drawn(app: typer.Typer, tmp_path: Path) -> None:
    given = ["g.npz", "h.npz", "--card", "none", "--learning-curve", "--json"]
    facts = json.loads(CliRunner().invoke(app, given, catch_exceptions=False).stdout)
    names = {m["name"] for m in facts["models"]}
    assert {curve["model"] for curve in facts["curves"]} <= names
    curve = next(c for c in facts["curves"] if c["model"] == "band power + LDA")
    assert curve["across"] == "training blocks"
    at = [point["at"] for point in curve["points"]]
    # nine blocks to train on, and halves of them
    assert at == [2, 4, 9]
    # the last point has all: it is the model's own score
    own = next(m for m in facts["models"] if m["name"] == curve["model"])["windows"]["balanced_accuracy"]
    assert curve["points"][-1]["value"]["value"] == pytest.approx(own["value"], abs=0.02)
    assert "<h2>Learning curves</h2>" in (tmp_path / "evaluation" / "report.html").read_text()


def test_features_within_a_run_are_for_rivals_and_told(app: typer.Typer, tmp_path: Path) -> None:
    given = ["g.npz", "h.npz", "--within-run", "--json", "--overwrite"]
    plain = json.loads(CliRunner().invoke(app, [*given, "--card", "none"], catch_exceptions=False).stdout)
    assert plain["origin"]["within_run"] is True
    assert "a live loop cannot have this" in (tmp_path / "evaluation" / "report.html").read_text()
    refused = CliRunner().invoke(app, [*given, "--card", "score"])
    assert isinstance(refused.exception, UsageError)
    assert "--within-run is for rivals only" in str(refused.exception)


def test_the_model_free_score_of_the_settings_is_judged(app: typer.Typer, tmp_path: Path) -> None:
    # settings that cut windows like these
    (tmp_path / "session.toml").write_text(
        '[windows]\npairing = "display"\neeg_steps = 6\nbold_steps = 5\n'
        "[features.bands]\nalpha = [8.0, 13.0]\nbeta = [13.0, 30.0]\n"
    )
    given = ["g.npz", "h.npz", "--card", "score", "--config", "session.toml", "--json"]
    facts = json.loads(CliRunner().invoke(app, given, catch_exceptions=False).stdout)
    first = facts["models"][0]
    assert first["name"] == "score"
    # less alpha, more BOLD: what the score takes for the task is what was planted
    assert first["windows"]["roc_auc"]["value"] > 0.7
    assert first["trained_on"] == "no training, as its card says"


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
        (["g.npz", "g.npz"], UsageError, "stands twice"),
        (["g.npz", "g/2=null-g.npz", "--split", "subject"], UsageError, "1 to hold out"),
        (["g.npz", "x=g.npz"], ModelError, "held out and trained on: g at .* same data as x"),
        (["g.npz", "--train", "x=g.npz"], ModelError, "same data as"),
        (["g.npz", "h.npz", "--split", "blocked", "--gap", "5"], UsageError, "expected 20 s or more"),
        (["x=g.npz", "x=h.npz"], UsageError, "stands twice"),
        (["g.npz", "--train", "g.npz"], UsageError, "fit on and to judge on"),
        (["g.npz", "--train", "g/2=g.npz"], ModelError, "subjects g are fitted on and judged on"),
        (["g.npz", "h.npz", "--split", "shuffled"], UsageError, "refused"),
        (["g.npz"], UsageError, "1 to hold out"),
        (["none.npz"], UsageError, "does not exist"),
    ],
)
def test_wrong_use_is_told(app: typer.Typer, arguments: list[str], error: type[StreamerError], words: str) -> None:
    done = CliRunner().invoke(app, [*arguments, "--card", "none"])
    assert isinstance(done.exception, error)
    assert re.search(words, str(done.exception))
    assert not Path("evaluation").exists()


def test_a_card_for_other_settings_is_refused(app: typer.Typer, card: LoadedCard, tmp_path: Path) -> None:
    (tmp_path / "session.toml").write_text("[windows]\nbold_steps = 20\n")
    done = CliRunner().invoke(
        app, ["g.npz", "--config", "session.toml", "--card", str(card.folder / "test-linear.toml")]
    )
    assert isinstance(done.exception, ModelError)
    assert "was trained with other settings" in str(done.exception)
