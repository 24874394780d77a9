from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from models.commands.train import train
from models.pipeline import Plan, make_model, split_subjects
from models.subjects import read_subject
from models.training import Epoch, TrainSettings
from streamer.config import Config
from streamer.decode.card import fit_problems, load_card
from streamer.decode.onnx_model import FusionModel
from streamer.errors import ModelError, StreamerError, UsageError
from tests.unit.synthetic_windows import CHANNELS, REGIONS, subject_windows

QUICK = TrainSettings(seed=2, epochs=8, batch=64, stride=1, learning_rate=3e-3, noise=0.3)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("kept")
    files = [folder / f"s{k}.npz" for k in range(5)]
    for k, path in enumerate(files):
        subject_windows(path.stem, 100 + k).save(path)
    return files


def test_whole_subjects_are_held_out() -> None:
    split = split_subjects([f"s{k}" for k in range(10)])
    assert split.train == tuple(f"s{k}" for k in range(6))
    assert split.validation == ("s6", "s7")
    assert split.test == ("s8", "s9")
    for n in range(3, 30):
        split = split_subjects([str(k) for k in range(n)])
        parts = (split.train, split.validation, split.test)
        assert all(parts)
        assert sorted(sum(parts, ())) == sorted(str(k) for k in range(n))
    with pytest.raises(UsageError, match="at least 3"):
        split_subjects(["a", "b"])
    with pytest.raises(UsageError, match="stands twice"):
        split_subjects(["a", "b", "b"])


def test_a_model_is_made_that_fits_the_session_it_was_made_for(tmp_path: Path, kept: list[Path]) -> None:
    config = Config()
    epochs: list[Epoch] = []
    told: list[str] = []
    plan = Plan(tmp_path, subjects=0, datasets=tuple(kept), training=QUICK)
    made = make_model(plan, config, lambda what, _: told.append(what), epochs.append)
    loaded = load_card(tmp_path / "default.toml")
    assert loaded == made.loaded
    card = loaded.card
    assert fit_problems(card, CHANNELS, REGIONS, config.model_digest()) == []
    assert fit_problems(card, CHANNELS, REGIONS, "0" * 64) != []
    assert card.training.train == ("s0", "s1", "s2")
    assert (card.training.validation, card.training.test) == (("s3",), ("s4",))
    assert set(card.scores) == {"both", "eeg", "bold"}
    assert card.scores["both"].n_blocks == 9
    assert card.scores["both"].block_accuracy > 0.8
    assert card.limits.age_bold_max_s == config.windows.age_bold_max_s
    assert len(epochs) == len(made.trained.history)
    assert told
    FusionModel(loaded).warm_up()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["default.onnx", "default.toml"]
    # nothing of the machine that it was made on
    assert str(Path.cwd()).encode() not in loaded.graph_path.read_bytes()


def test_the_command_makes_a_model_and_overwrites_none(tmp_path: Path, kept: list[Path]) -> None:
    app = typer.Typer()
    app.command()(train)
    arguments = [str(tmp_path), "--epochs", "1", "--name", "small", "--json"]
    for path in kept:
        arguments += ["--dataset", str(path)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["test"] == ["s4"]
    assert facts["card_sha256"] == load_card(tmp_path / "small.toml").sha256
    again = CliRunner().invoke(app, arguments)
    assert isinstance(again.exception, UsageError)
    assert "--overwrite" in str(again.exception)


def test_windows_of_another_subject_than_the_file_says_are_refused(tmp_path: Path, kept: list[Path]) -> None:
    other = tmp_path / "other.npz"
    windows = subject_windows("s0", 1)
    replace(windows).save(other)
    plan = Plan(tmp_path / "out", subjects=0, datasets=(*kept, other), training=QUICK)
    with pytest.raises(ModelError, match="expected other alone"):
        make_model(plan, Config(), lambda *_: None, lambda _: None)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is not a session"),
        ("runs = [", "is not a session"),
        ('runs = ["task"]', "expected calibration among them"),
        ('runs = ["calibration"]', "no run besides calibration"),
    ],
)
def test_what_is_no_session_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "session.toml").write_text(text, encoding="utf-8")
    with pytest.raises(StreamerError, match=message):
        read_subject(tmp_path, Config(), "a")
