from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.card_scores import card_scores
from models.dataset import WindowSet
from models.fitting.batches import tensors
from models.fitting.device import device_of
from models.fitting.fitted import FittedNetwork, disagreement, logits_of
from models.fitting.loop import Epoch
from models.fitting.members import Trained, train
from models.fitting.resume import Standing, digest_of
from models.fitting.settings import TrainSettings
from models.fitting.temperatures import fit_temperature
from models.network.settings import FusionSettings
from models.patterns import reduced
from streamer.decode.model_card import PATTERNS, Pattern
from streamer.errors import ModelError, UsageError
from tests.unit.synthetic_windows import BANDS, CHANNELS, REGIONS, some_subjects, subject_windows

SIZES = FusionSettings(
    n_channels=len(CHANNELS),
    n_bands=len(BANDS),
    n_regions=len(REGIONS),
    spatial_filters=3,
    eeg_width=8,
    lstm_width=8,
    bold_width=8,
    token_width=8,
    heads=2,
    dropout=0.1,
)
QUICK = TrainSettings(
    seed=3, members=1, epochs=6, batch=128, stride=1, patience=4, learning_rate=2e-2, noise=0.3, device="cpu"
)
SHORT = QUICK.model_copy(update={"members": 2, "epochs": 3, "stride": 2})


def weights(trained: Trained) -> dict[str, torch.Tensor]:
    return trained.model.ensemble.state_dict()


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train(some_subjects("abc", 10), some_subjects("ef", 20), SIZES, QUICK.model_copy(update={"members": 2}))


@pytest.fixture(scope="module")
def small() -> tuple[WindowSet, WindowSet]:
    return some_subjects("a", 1), some_subjects("b", 2)


def test_planted_states_are_learned_and_found_in_unseen_subjects(trained: Trained) -> None:
    scores = card_scores(trained.model, some_subjects("ghi", 30))
    least: dict[Pattern, float] = {"both": 0.9, "eeg": 0.85, "bold": 0.7}
    for name, lowest in least.items():
        assert scores[name].window_accuracy > lowest, name
        assert scores[name].n_blocks == 27, name
        assert scores[name].block_ci95[0] > scores[name].chance, name


def test_shuffled_labels_teach_nothing() -> None:
    rng = np.random.default_rng(5)
    training, test = some_subjects("abcd", 10), some_subjects("ghi", 30)
    shuffled = replace(training, label=rng.permutation(training.label))
    result = train(shuffled, some_subjects("ef", 20), SIZES, SHORT)
    score = card_scores(result.model, test)["both"]
    # 27 blocks: the interval must hold chance
    assert score.block_ci95[0] < score.chance
    assert score.window_accuracy < 0.7


def test_the_same_seed_gives_the_same_weights_and_leaves_torchs_own_alone(small: tuple[WindowSet, WindowSet]) -> None:
    once = SHORT.model_copy(update={"epochs": 1})
    before = torch.random.get_rng_state()
    first, second = (weights(train(*small, SIZES, once)) for _ in range(2))
    assert equal(first, second)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not equal(first, weights(train(*small, SIZES, once.model_copy(update={"seed": 4}))))
    members = [{k: v for k, v in first.items() if k.startswith(f"members.{n}.")} for n in (0, 1)]
    assert any(not torch.equal(a, b) for a, b in zip(members[0].values(), members[1].values(), strict=True))


class Interrupted(Exception):
    pass


def broken_off_at(member: int, number: int) -> Callable[[Epoch], None]:
    def each(epoch: Epoch) -> None:
        if (epoch.member, epoch.number) == (member, number):
            raise Interrupted

    return each


@pytest.mark.parametrize("at", [(0, 0), (0, 2), (1, 1)])
def test_what_was_interrupted_ends_with_the_same_bits(
    tmp_path: Path, small: tuple[WindowSet, WindowSet], at: tuple[int, int]
) -> None:
    whole = train(*small, SIZES, SHORT)
    with pytest.raises(Interrupted):
        train(*small, SIZES, SHORT, broken_off_at(*at), tmp_path)
    seen: list[Epoch] = []
    resumed = train(*small, SIZES, SHORT, seen.append, tmp_path)
    assert equal(weights(resumed), weights(whole))
    assert resumed.history == whole.history
    assert resumed.model.temperature == whole.model.temperature
    # and nothing was done twice
    assert [(e.member, e.number) for e in seen] == [
        (e.member, e.number) for e in whole.history if (e.member, e.number) > at
    ]


def test_other_data_or_settings_begin_anew_and_more_members_go_on(
    tmp_path: Path, small: tuple[WindowSet, WindowSet]
) -> None:
    once = SHORT.model_copy(update={"epochs": 1})
    train(*small, SIZES, once, work=tmp_path)
    for changed in (once.model_copy(update={"noise": 0.1}), once.model_copy(update={"seed": 9})):
        seen: list[Epoch] = []
        train(*small, SIZES, changed, seen.append, tmp_path)
        assert len(seen) == 2
    seen = []
    other = replace(small[0], eeg=small[0].eeg + np.float32(0.01))
    train(other, small[1], SIZES, once, seen.append, tmp_path)
    assert len(seen) == 2
    seen = []
    train(*small, SIZES, once.model_copy(update={"members": 3}), seen.append, tmp_path)
    assert [e.member for e in seen] == [2]
    assert not list(tmp_path.glob("*.part"))


def test_a_damaged_or_foreign_checkpoint_is_refused_and_never_unpickled(tmp_path: Path) -> None:
    standing = Standing(tmp_path, 0, "0" * 64)
    assert standing.read() is None
    standing.write({"history": []})
    stored = standing.read()
    assert stored is not None
    assert stored["history"] == []
    assert standing.path is not None
    whole = standing.path.read_bytes()
    standing.path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="is not a checkpoint"):
        standing.read()
    torch.save({"schema": 1, "digest": "0" * 64, "settings": Path("code")}, standing.path)
    with pytest.raises(ModelError, match="is not a checkpoint"):
        standing.read()
    torch.save({"schema": 1, "digest": "1" * 64}, standing.path)
    with pytest.raises(ModelError, match="of another training"):
        standing.read()
    assert Standing(None, 0, "0" * 64).read() is None


def test_the_digest_sees_every_number_and_setting() -> None:
    windows = subject_windows("a", 1)
    first = digest_of((windows,), "x")
    changed = windows.label.copy()
    changed[-1] = 1 - changed[-1]
    assert digest_of((windows,), "x") == first
    assert digest_of((replace(windows, label=changed),), "x") != first
    assert digest_of((windows,), "y") != first


def test_training_stops_early_and_keeps_the_best(small: tuple[WindowSet, WindowSet]) -> None:
    eager = QUICK.model_copy(update={"epochs": 40, "patience": 2, "learning_rate": 5e-2})
    result = train(*small, SIZES, eager)
    history = result.history
    assert 3 <= len(history) < 40
    assert [e.best for e in history[-3:]] == [True, False, False]
    best = min(history, key=lambda e: e.validation_loss)
    assert best == history[-3]
    # a run that was to end there has the very weights, but for the course of the learning rate
    held = small[1].trainable()
    p = logits_of(result.model.ensemble, held)[:, 0]
    assert float((p.argmax(axis=1) == held.label).mean()) == pytest.approx(best.validation_accuracy, abs=1e-6)


def test_bfloat16_learns_what_float32_learns() -> None:
    mixed = QUICK.model_copy(update={"mixed": True})
    assert device_of(mixed).mixed
    assert str(device_of(mixed)) == "cpu, bfloat16"
    assert not device_of(QUICK).mixed
    result = train(some_subjects("abc", 10), some_subjects("ef", 20), SIZES, mixed)
    assert all(value.dtype == torch.float32 for value in weights(result).values())
    assert card_scores(result.model, some_subjects("gh", 30))["both"].window_accuracy > 0.85


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="finds no GPU"):
        device_of(TrainSettings(device="cuda"))
    assert device_of(TrainSettings(device="auto")).torch.type == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_learns_the_same_and_goes_on_where_it_was(tmp_path: Path) -> None:
    sets = some_subjects("abc", 10), some_subjects("ef", 20)
    gpu = QUICK.model_copy(update={"device": "cuda"})
    whole = train(*sets, SIZES, gpu)
    with pytest.raises(Interrupted):
        train(*sets, SIZES, gpu, broken_off_at(0, 1), tmp_path)
    resumed = train(*sets, SIZES, gpu, work=tmp_path)
    assert [e.number for e in resumed.history] == [e.number for e in whole.history]
    assert card_scores(resumed.model, some_subjects("gh", 30))["both"].window_accuracy > 0.85


@pytest.mark.parametrize("only", ["eeg", "bold"])
def test_a_data_set_of_one_modality_is_enough(only: Pattern) -> None:
    def alone(windows: WindowSet) -> WindowSet:
        bare = reduced(windows, "eeg" if only == "eeg" else "bold")
        gone = "bold" if only == "eeg" else "eeg"
        return replace(bare, **{gone: getattr(bare, gone)[:, :, :0]})

    sizes = SIZES.model_copy(update={"n_regions": 0} if only == "eeg" else {"n_channels": 0, "n_bands": 0})
    result = train(alone(some_subjects("abc", 10)), alone(some_subjects("ef", 20)), sizes, QUICK)
    assert result.model.modalities == only
    scores = card_scores(result.model, alone(some_subjects("gh", 30)))
    assert set(scores) == {only}
    assert scores[only].window_accuracy > 0.7


def test_three_classes_are_told_apart() -> None:
    def three(windows: WindowSet) -> WindowSet:
        # every other rest is another state, seen in the beta of one channel
        blocks = tuple(
            replace(b, label="third") if b.label == "rest" and b.onset_s % 80 == 0 else b for b in windows.blocks
        )
        third = np.zeros(len(windows), bool)
        for b in blocks:
            third |= (
                (b.label == "third")
                & (windows.subject == b.subject)
                & (windows.time >= b.onset_s)
                & (windows.time < b.onset_s + b.duration_s)
            )
        eeg = windows.eeg.copy()
        eeg[third, :, 11] += 3.0
        label = np.where(third, 2, windows.label)
        return replace(windows, eeg=eeg, label=label, blocks=blocks, classes=("rest", "task", "third"))

    sizes = SIZES.model_copy(update={"n_classes": 3})
    result = train(
        three(some_subjects("abc", 10)), three(some_subjects("ef", 20)), sizes, QUICK.model_copy(update={"epochs": 10})
    )
    test = three(some_subjects("gh", 30))
    p = result.model.predict_proba(test)
    assert p.shape == (len(test), 3)
    assert np.allclose(p.sum(axis=1), 1)
    for k in range(3):
        assert (p[test.label == k].argmax(axis=1) == k).mean() > 0.6, k


def test_every_class_must_be_there(small: tuple[WindowSet, WindowSet]) -> None:
    windows = subject_windows("c", 3)
    rest = replace(windows, label=np.zeros(len(windows), np.int64))
    with pytest.raises(ModelError, match="validation has no window of task"):
        train(small[0], rest, SIZES, SHORT)


def test_the_temperature_that_scaled_the_logits_is_found() -> None:
    rng = np.random.default_rng(0)
    true = rng.standard_normal(20_000)
    label = (rng.random(20_000) < 1 / (1 + np.exp(-true))).astype(np.int64)
    logits = np.stack([np.zeros_like(true), true], axis=1)[:, None]
    assert fit_temperature(logits * 3, label) == pytest.approx(3, rel=0.06)
    assert fit_temperature(logits / 2, label) == pytest.approx(0.5, rel=0.06)
    # members that say the same are one
    assert fit_temperature(np.repeat(logits * 3, 4, axis=1), label) == pytest.approx(3, rel=0.06)


def test_temperatures_make_unseen_probabilities_no_worse(trained: Trained) -> None:
    model, test = trained.model, some_subjects("ghij", 40).trainable()
    plain = FittedNetwork("plain", model.ensemble, model.temperature.model_copy(update=dict.fromkeys(PATTERNS, 1.0)))
    for pattern in PATTERNS:
        windows = reduced(test, pattern)
        loss = [
            -np.log(each.predict_proba(windows)[np.arange(len(windows)), windows.label]).mean()
            for each in (model, plain)
        ]
        assert loss[0] < loss[1] + 0.02, pattern


def test_a_window_with_nothing_says_nothing_and_members_disagree_where_they_do(trained: Trained) -> None:
    windows = subject_windows("z", 50)
    empty = replace(windows, valid=np.zeros_like(windows.valid))
    assert np.all(trained.model.predict_proba(empty) == 0.5)
    apart = disagreement(trained.model.members_proba(windows))
    assert np.all(disagreement(trained.model.members_proba(empty)) == 0)
    assert apart.min() >= 0
    assert 0 < apart.max() < np.log(2)
    assert disagreement(np.array([[[1.0, 0.0], [0.0, 1.0]]]))[0] == pytest.approx(np.log(2))


def test_tensors_share_the_windows_memory() -> None:
    windows = subject_windows("a", 1)
    assert tensors(windows).eeg.data_ptr() == windows.eeg.ctypes.data
