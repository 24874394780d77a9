from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.dataset import UNLABELLED, Inputs, WindowSet, joined, labelled
from models.evaluate import evaluate
from models.export import write_model
from models.training import Epoch, Trained, TrainSettings, fit_temperature, load_checkpoint, save_checkpoint, train
from streamer.decode.onnx_model import FusionModel
from streamer.decode.scores import BlockEvent
from streamer.errors import ModelError
from streamer.messages import SessionTime, Window
from tests.unit.model_files import SIZES, draft_card
from tests.unit.synthetic_windows import BANDS, some_subjects, subject_windows

INPUTS = Inputs(("O1",), ("left", "right"), 250.0)
QUICK = TrainSettings(seed=3, epochs=12, batch=64, stride=1, patience=4, learning_rate=3e-3, noise=0.3)


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train(some_subjects("abcd", 10), some_subjects("ef", 20), SIZES, QUICK)


def test_planted_states_are_learned_and_found_in_unseen_subjects(trained: Trained) -> None:
    scores = evaluate(trained.network, some_subjects("ghi", 30), trained.temperature)
    for name, lowest in (("both", 0.9), ("eeg", 0.85), ("bold", 0.7)):
        assert scores[name].window_accuracy > lowest, name
        assert scores[name].blocks.n_blocks == 27, name
        assert scores[name].blocks.ci95[0] > scores[name].blocks.chance, name
    assert scores["both"].card_score() is not None


def test_shuffled_labels_teach_nothing() -> None:
    rng = np.random.default_rng(5)
    training, test = some_subjects("abcd", 10), some_subjects("ghi", 30)
    shuffled = replace(training, label=rng.permutation(training.label))
    result = train(shuffled, some_subjects("ef", 20), SIZES, QUICK.model_copy(update={"epochs": 4}))
    scores = evaluate(result.network, test, result.temperature)["both"]
    # 27 blocks: the interval must hold chance
    assert scores.blocks.ci95[0] < scores.blocks.chance
    assert scores.window_accuracy < 0.7


def test_where_nothing_is_planted_nothing_is_found() -> None:
    quick = QUICK.model_copy(update={"epochs": 3})
    result = train(some_subjects("ab", 40, effect=0), some_subjects("e", 50, effect=0), SIZES, quick)
    scores = evaluate(result.network, some_subjects("ghi", 60, effect=0), result.temperature)["both"]
    assert scores.blocks.ci95[0] < scores.blocks.chance < 0.6


def test_the_same_seed_gives_the_same_weights_and_leaves_torchs_own_alone() -> None:
    quick = QUICK.model_copy(update={"epochs": 1})
    before = torch.random.get_rng_state()
    sets = some_subjects("a", 1), some_subjects("b", 2)
    first, second = (train(*sets, SIZES, quick).network.state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert torch.equal(torch.random.get_rng_state(), before)
    other = train(*sets, SIZES, quick.model_copy(update={"seed": 4})).network.state_dict()
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_training_stops_early_and_keeps_the_best(tmp_path: Path) -> None:
    seen: list[Epoch] = []
    sets = some_subjects("a", 1, effect=0), some_subjects("b", 2, effect=0)
    quick = TrainSettings(epochs=40, patience=2, stride=1, batch=64, learning_rate=1e-2)
    result = train(*sets, SIZES, quick, seen.append, tmp_path / "best.pt")
    assert tuple(seen) == result.history
    assert len(seen) < 40
    assert seen[-3].best
    assert not seen[-2].best
    assert not seen[-1].best
    kept = load_checkpoint(tmp_path / "best.pt").state_dict()
    assert all(torch.equal(value, kept[key]) for key, value in result.network.state_dict().items())


def test_checkpoints_come_back_and_nothing_else_is_unpickled(tmp_path: Path, trained: Trained) -> None:
    save_checkpoint(trained.network, tmp_path / "a.pt")
    assert load_checkpoint(tmp_path / "a.pt").settings == SIZES
    torch.save({"schema": 1, "settings": SIZES, "weights": trained.network}, tmp_path / "b.pt")
    with pytest.raises(ModelError, match="not a checkpoint"):
        load_checkpoint(tmp_path / "b.pt")


def test_subjects_must_not_be_shared_and_both_classes_must_be_there() -> None:
    both = some_subjects("ab", 1)
    with pytest.raises(ModelError, match="subjects b are in training and in validation"):
        train(both, both.of(["b"]), SIZES, QUICK)
    rest = replace(subject_windows("c", 3), label=np.zeros(len(subject_windows("c", 3)), np.int64))
    with pytest.raises(ModelError, match="validation has no window of task"):
        train(both, rest, SIZES, QUICK)


def test_the_temperature_that_scaled_the_logits_is_found() -> None:
    generator = torch.Generator().manual_seed(0)
    true = torch.randn(20_000, generator=generator)
    label = (torch.rand(20_000, generator=generator) < torch.sigmoid(true)).long()
    logits = torch.stack([torch.zeros_like(true), true], dim=1)
    assert fit_temperature(logits * 3, label) == pytest.approx(3, rel=0.06)
    assert fit_temperature(logits / 2, label) == pytest.approx(0.5, rel=0.06)


def test_a_trained_model_is_served_as_it_was_scored(tmp_path: Path, trained: Trained) -> None:
    windows = some_subjects("gh", 30)
    draft = draft_card(temperature=trained.temperature)
    model = FusionModel(write_model(trained.network, draft, tmp_path))
    right = 0
    chosen = range(0, len(windows), 7)
    for k in chosen:
        window = Window(
            k, SessionTime(0), SessionTime(windows.time[k]), windows.eeg[k], windows.bold[k],
            float(windows.age[k, 0]), float(windows.age[k, 1]), eeg_valid=True, bold_valid=True,
        )  # fmt: skip
        right += (model(window).probabilities[1] > 0.5) == bool(windows.label[k])
    assert right / len(chosen) > 0.9
    assert sorted(p.name for p in tmp_path.iterdir()) == ["default.onnx", "default.toml"]


def test_window_sets_come_back_from_disk(tmp_path: Path) -> None:
    written = some_subjects("ab", 1)
    written.save(tmp_path / "windows.npz")
    read = WindowSet.load(tmp_path / "windows.npz")
    assert read.blocks == written.blocks
    assert read.classes == written.classes
    assert read.inputs == written.inputs
    for name in ("eeg", "bold", "age", "valid", "label", "settled", "subject", "time"):
        assert np.array_equal(getattr(read, name), getattr(written, name)), name
    (tmp_path / "bad.npz").write_bytes(b"PK no zip")
    with pytest.raises(ModelError, match="not a set of windows"):
        WindowSet.load(tmp_path / "bad.npz")


def test_windows_are_labelled_by_the_state_at_their_end() -> None:
    def cut(end: float, *, bold: bool = True) -> Window:
        eeg, frames = np.ones((20, len(BANDS)), np.float32), np.ones((16, 2), np.float32)
        age = 2.0 if bold else float("inf")
        return Window(0, SessionTime(end - 4), SessionTime(end), eeg, frames, 0.1, age, eeg_valid=True, bold_valid=bold)

    class Stretch:
        def __init__(self, onset_s: float, duration_s: float, label: str) -> None:
            self.onset_s, self.duration_s, self.label = onset_s, duration_s, label

    blocks: list[BlockEvent] = [Stretch(10, 20, "rest"), Stretch(30, 20, "task"), Stretch(50, 5, "instruction")]
    ends = [105.0, 110.5, 111.0, 129.9, 130.0, 131.0, 149.9, 150.0, 156.0]
    found = labelled([cut(e) for e in ends[:-1]] + [cut(156.0, bold=False)], blocks, 100.0, "a", INPUTS)
    none = UNLABELLED
    assert found.label.tolist() == [none, 0, 0, 0, 1, 1, 1, none, none]
    assert found.settled.tolist() == [False, False, True, True, False, True, True, False, False]
    assert found.time.tolist() == pytest.approx([e - 100 for e in ends])
    assert found.valid[-1].tolist() == [1, 0]
    assert found.age[-1].tolist() == pytest.approx([0.1, 0])
    assert [b.label for b in found.blocks] == ["rest", "task"]
    assert found.trainable().label.tolist() == [0, 0, 1, 1]
    with pytest.raises(ModelError, match="gave no window"):
        labelled([], blocks, 0.0, "a", INPUTS)


def test_sets_of_different_shapes_cannot_be_joined() -> None:
    first = subject_windows("a", 1)
    with pytest.raises(ModelError, match="differ in shape"):
        joined([first, replace(first, eeg=first.eeg[:, :, :-3])])
    with pytest.raises(ModelError, match="no windows to join"):
        joined([])


def test_runs_stand_behind_one_another() -> None:
    windows = subject_windows("a", 1)
    later = windows.later(300.0)
    assert later.time.tolist() == pytest.approx((windows.time + 300).tolist())
    assert [b.onset_s for b in later.blocks] == [b.onset_s + 300 for b in windows.blocks]
