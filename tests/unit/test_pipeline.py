from __future__ import annotations

import json
from collections.abc import Generator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from models.card_draft import eeg_input, sizes_of
from models.commands.train import train
from models.dataset import WindowSet
from models.fitting.loop import Epoch
from models.fitting.settings import TrainSettings
from models.pipeline import Made, Plan, make_model
from models.subject_files import Source, load_windows, sources, window_files
from models.workers import Workers
from streamer.config import Config
from streamer.decode.card_file import load_card
from streamer.decode.load_model import load_model
from streamer.errors import ModelError, UsageError
from streamer.messages import Flag, SessionTime, Window
from tests.unit.synthetic_windows import some_subjects, subject_windows

pytestmark = pytest.mark.timeout(300)
QUICK = TrainSettings(seed=2, members=2, epochs=3, batch=128, stride=4, learning_rate=5e-3, noise=0.3, device="cpu")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("kept")
    for k, name in enumerate(("s0", "s1", "s2", "s3", "s4")):
        subject_windows(name, 100 + k, n_blocks=20).save(folder / f"{name}.npz")
    return [str(folder / f"s{k}.npz") for k in range(5)]


@pytest.fixture(scope="module")
def made(kept: list[str], tmp_path_factory: pytest.TempPathFactory) -> Made:
    plan = Plan(tmp_path_factory.mktemp("made"), subjects=0, datasets=tuple(kept), training=QUICK)
    seen: list[Epoch] = []
    found = make_model(plan, Config(), lambda *_: None, seen.append)
    assert tuple(seen) == found.contest.trained.history
    return found


def window_of(windows: WindowSet, k: int) -> Window:
    return Window(
        k, SessionTime(0), SessionTime(windows.time[k]), windows.eeg[k], windows.bold[k],
        float(windows.age[k, 0]), float(windows.age[k, 1]), eeg_valid=True, bold_valid=True,
    )  # fmt: skip


def test_cards_say_what_was_done(made: Made) -> None:
    network = made.written.network.card
    for card in (made.written.default.card, made.written.other.card):
        assert card.verdict == made.verdict
        assert card.training.train == ("s0", "s1", "s2")
        assert (card.training.validation, card.training.test) == (("s3",), ("s4",))
        assert "subjects held out" in card.training.data
        assert card.scores["both"].n_blocks == 19
        assert card.scores["both"].block_accuracy > 0.8
        assert card.doubt.n_blocks == 19
        assert card.doubt.quantile.keys() == card.doubt.coverage.keys()
        assert card.preprocessing == Config().model_digest()
    assert network.kind == "network"
    assert network.members == 2
    assert set(network.scores) == {"both", "eeg", "bold"}
    assert network.doubt.disagreement_max is not None
    assert network.limits.age_bold_max_s == Config().windows.age_bold_max_s


def test_the_default_follows_the_rule(made: Made) -> None:
    default, other = made.written.default.card, made.written.other.card
    assert default.name == "default"
    if made.gain.earned:
        assert (default.kind, other.name) == ("network", "default-rival")
    else:
        assert (default.kind, other.name) == ("linear", "default-network")
    assert made.contest.best.name in made.verdict


def test_both_models_are_served_as_they_were_judged(made: Made) -> None:
    windows = subject_windows("z", 50)
    for loaded in (made.written.default, made.written.other):
        model = load_model(loaded, "cpu")
        model.warm_up()
        fitted = made.contest.network if loaded.card.kind == "network" else made.contest.best
        p = fitted.predict_proba(windows)
        for k in range(0, len(windows), 23):
            prediction = model(window_of(windows, k))
            assert prediction.probabilities[1] == pytest.approx(p[k, 1], abs=1e-4)
    network = load_model(made.written.network, "cpu")
    asked = made.contest.network.ask(windows)
    assert asked.abstained is not None
    at = range(0, len(windows), 23)
    served = [bool(network(window_of(windows, k)).flags & Flag.ABSTAINED) for k in at]
    assert served == asked.abstained[list(at)].tolist()


def test_the_report_holds_all_models_the_rule_and_the_course_of_training(made: Made) -> None:
    facts = json.loads(made.report.with_suffix(".json").read_text(encoding="utf-8"))
    assert [m["name"] for m in facts["models"]] == ["network", *(r.name for r in made.contest.rivals)]
    assert facts["models"][0]["doubt"]
    curves = {(c["model"], c["measure"]): c for c in facts["curves"]}
    own = [e for e in made.contest.trained.history if e.member == 1]
    points = curves["network, member 2", "validation loss"]["points"]
    assert [p["value"]["value"] for p in points] == pytest.approx([e.validation_loss for e in own], abs=1e-5)
    assert made.verdict[:-1] in facts["origin"]["split"]
    assert "<!doctype html>" in made.report.read_text(encoding="utf-8")
    # nothing of the machine that it was made on
    for path in made.report.parent.iterdir():
        assert str(Path.cwd()).encode() not in path.read_bytes(), path


def test_windows_of_other_settings_are_refused() -> None:
    windows = some_subjects("a", 1)
    with pytest.raises(ModelError, match="--config names the settings"):
        eeg_input(Config(), replace(windows, eeg=windows.eeg[:, :10]))
    with pytest.raises(ModelError, match="expected a box of as many cells as there are regions, 3"):
        sizes_of(Config(), windows, "attention", (2, 2, 1))


def test_the_command_replaces_a_model_only_when_told(tmp_path: Path, kept: list[str]) -> None:
    app = typer.Typer()
    app.command()(train)
    arguments = [str(tmp_path), "--epochs", "1", "--members", "1", "--device", "cpu", "--name", "small"]
    for path in kept:
        arguments += ["--dataset", path]
    # of earlier models of that name, whichever of both was the default
    stale = ["small.toml", "small-network.head.onnx", "small-rival.both.onnx", "small-network.pt", "small.both.onnx"]
    for name in stale:
        (tmp_path / name).write_bytes(b"old")
    (tmp_path / "other.both.onnx").write_bytes(b"another model's")
    refused = CliRunner().invoke(app, arguments)
    assert isinstance(refused.exception, UsageError)
    assert "--overwrite" in str(refused.exception)
    for wrong in (["--bold", "volume"], ["--bold", "volume", "--cells", "3x1"], ["--cells", "3x1x1"]):
        assert isinstance(CliRunner().invoke(app, [*arguments, "--overwrite", *wrong]).exception, UsageError), wrong
    done = CliRunner().invoke(app, [*arguments, "--overwrite", "--json"])
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["test"] == ["s4"]
    assert facts["card_sha256"] == load_card(tmp_path / "small.toml").sha256
    beside = Path(facts["beside"])
    named = {graph.file for path in (tmp_path / "small.toml", beside) for graph in load_card(path).card.files()}
    assert {path.name for path in tmp_path.glob("*.onnx")} == named | {"other.both.onnx"}
    assert len(list(tmp_path.glob("*.pt"))) == 1


def test_windows_are_made_once_and_again_when_something_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def read(path: Path, config: Config, subject: str, reading: object) -> WindowSet:
        calls.append(subject)
        return subject_windows(subject, 1)

    @contextmanager
    def here() -> Generator[Workers]:
        pool: Executor = ThreadPoolExecutor(1)
        with pool:
            yield Workers(pool, lambda argument: argument, local=True)

    # what a replay gives is not the point here: when one is made is
    monkeypatch.setattr("models.subject_files.read_subject", read)
    session = tmp_path / "session"
    session.mkdir()
    (session / "a").write_text("1", encoding="utf-8")
    wanted = sources([f"p/1={session}"], [])
    work, config = tmp_path / "work", Config()
    files = window_files(wanted, config, work, here, lambda *_: None)
    assert load_windows(wanted, files)[0].subjects == ("p/1",)
    window_files(wanted, config, work, here, lambda *_: None)
    assert calls == ["p/1"]
    (session / "a").write_text("22", encoding="utf-8")
    window_files(wanted, config, work, here, lambda *_: None)
    changed = config.model_copy(update={"tick_hz": 5.0})
    window_files(wanted, changed, work, here, lambda *_: None)
    assert len(calls) == 3
    assert not list(work.glob("*.part"))


def test_sources_have_names_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.npz").touch()
    (tmp_path / "b").mkdir()
    found = sources([f"{tmp_path}/a.npz", f"x={tmp_path}/b"], [7])
    assert [(s.name, s.ready, s.named) for s in found] == [
        ("simulated-7", False, True),
        ("a", True, False),
        ("x", False, True),
    ]
    with pytest.raises(UsageError, match="does not exist"):
        sources([f"{tmp_path}/c"], [])
    with pytest.raises(UsageError, match="stands twice"):
        sources([f"{tmp_path}/a.npz", f"a={tmp_path}/b"], [])


def test_the_same_person_in_two_files_is_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        subject_windows("a", 1).save(tmp_path / f"{name}.npz")
    wanted = [Source(name, tmp_path / f"{name}.npz", named=False) for name in ("one", "two")]
    files = {source.name: source.path for source in wanted if source.path is not None}
    with pytest.raises(UsageError, match="a: in two datasets"):
        load_windows(wanted, files)


def test_too_few_to_hold_out_are_told_before_the_long_part(tmp_path: Path) -> None:
    told: list[str] = []
    plan = Plan(tmp_path, subjects=2, training=QUICK)
    with pytest.raises(UsageError, match="expected at least 3"):
        make_model(plan, Config(), lambda what, _: told.append(what), lambda _: None)
    assert not told
