"""A card that is fitted to one participant: what is fitted, what it is worth, and that nobody altered it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

from streamer.acquire.recording import BlockEvent
from streamer.calibration import (
    Calibration,
    copy_session_card,
    load_calibration,
    save_calibration,
    session_card_problems,
)
from streamer.decode.card_file import LoadedCard, load_card
from streamer.decode.load_model import load_model
from streamer.decode.logistic import fit_logistic, fit_slope
from streamer.decode.model_card import BoldInput, EegInput, ModelCard, TangentInput, Temperatures
from streamer.decode.score_card import make_score_card
from streamer.decode.score_model import ScoreModel
from streamer.decode.score_spec import BoldTerm, EegTerm, ScoreSpec
from streamer.decode.shrinkage_lda import fit_lda
from streamer.errors import ModelError, UsageError
from streamer.formats.affine_graph import affine_graph
from streamer.messages import Flag, SessionTime, Window
from streamer.session_card.head_fit import Network
from streamer.session_card.judged import judge
from streamer.session_card.labelled_run import HRF_S, LabelledRun, held_out, label_windows
from streamer.session_card.score_fit import fit_score
from streamer.session_card.session_card import fit_session_card, write_session_card

CHANNELS = ("C3", "C4", "O1", "O2")
REGIONS = ("occipital", "motor", "control")
CLASSES = ("rest", "task")
BLOCK_S = 12.0
REACH_S = 12.0


def base(spec: ScoreSpec | None = None) -> ModelCard:
    return make_score_card(
        spec or ScoreSpec(),
        EegInput(channels=CHANNELS, bands={"alpha": (8, 13), "beta": (13, 30)}, step_s=0.2, n_steps=20, sfreq_hz=250.0),
        BoldInput(regions=REGIONS, grid_s=1.0, n_steps=12),
        "task",
        "0" * 64,
        region_sd=dict.fromkeys(REGIONS, 1.0),
    )


def events(n_blocks: int, rng: np.random.Generator | None = None) -> tuple[BlockEvent, ...]:
    labels = [CLASSES[k % 2] for k in range(n_blocks)]
    if rng is not None:
        rng.shuffle(labels)
    return tuple(BlockEvent(20.0 + BLOCK_S * k, BLOCK_S, label) for k, label in enumerate(labels))


def windows(blocks: tuple[BlockEvent, ...], seed: int = 0, erd: float = 0.6, bold: float = 1.2) -> list[Window]:
    """Alpha falls and the regions rise in task; slow noise of the BOLD, white noise of the EEG's steps."""
    rng = np.random.default_rng(seed)
    end = blocks[-1].onset_s + BLOCK_S
    at = np.arange(0.0, end, 0.2)
    state = np.zeros(len(at))
    for block in blocks:
        state[(at >= block.onset_s) & (at < block.onset_s + BLOCK_S)] = block.label == "task"
    eeg = rng.standard_normal((len(at), 8)) + 0.5 * rng.standard_normal((len(at), 1))
    eeg[:, [4, 6]] -= erd * (state - 0.5)[:, None]
    seconds = np.arange(0.0, end, 1.0)
    slow = np.zeros((len(seconds), 3))
    for k in range(1, len(seconds)):
        slow[k] = 0.8 * slow[k - 1] + 0.6 * rng.standard_normal(3)
    lagged = np.interp(seconds - 4.0, at, state)
    slow[:, :2] += bold * (lagged - 0.5)[:, None]
    found: list[Window] = []
    for seq, k in enumerate(range(100, len(at), 3)):
        now = float(at[k])
        newest = int(now) - 1
        found.append(
            Window(
                seq=seq,
                start=SessionTime(now - 4.0),
                end=SessionTime(now),
                eeg=eeg[k - 19 : k + 1].astype(np.float32),
                bold=slow[newest - 11 : newest + 1].astype(np.float32),
                age_eeg=0.0,
                age_bold=now - newest,
                eeg_valid=True,
                bold_valid=True,
            )
        )
    return found


def labelled(n_blocks: int = 24, seed: int = 0, **effect: float) -> LabelledRun:
    blocks = events(n_blocks)
    return label_windows(windows(blocks, seed, **effect), blocks, CLASSES, REACH_S)


def null(seed: int) -> LabelledRun:
    return label_windows(
        windows(events(24), seed, erd=0.0, bold=0.0), events(24, np.random.default_rng(seed)), CLASSES, REACH_S
    )


def test_logistic_regression_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 3)) * [1.0, 5.0, 0.1] + [0.0, 3.0, -1.0]
    target = x @ [1.0, -0.3, 4.0] + rng.logistic(size=300) > -3.0
    weight = rng.uniform(0.2, 1.0, 300)
    slopes, intercept = fit_logistic(x, target, weight, prior_sd=0.7)
    mean = np.average(x, axis=0, weights=weight)
    sd = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=weight))
    theirs = LogisticRegression(C=0.7**2, tol=1e-10, max_iter=1000)
    theirs.fit((x - mean) / sd, target, sample_weight=weight)
    assert slopes * sd == pytest.approx(theirs.coef_[0], abs=1e-4)
    assert intercept + slopes @ mean == pytest.approx(theirs.intercept_[0], abs=1e-4)


def test_logistic_regression_stays_finite_where_classes_part_and_refuses_one_class():
    x = np.array([[-1.0], [-1.0], [1.0], [1.0]])
    target = np.array([False, False, True, True])
    slopes, intercept = fit_logistic(x, target, np.ones(4))
    assert 0.5 < slopes[0] < 5
    assert abs(intercept) < 1e-6
    assert fit_logistic(np.zeros((4, 1)), target, np.ones(4))[0] == pytest.approx(0.0)
    with pytest.raises(ValueError, match="one class"):
        fit_logistic(x, np.ones(4, bool), np.ones(4))


def test_the_slope_is_one_over_the_temperature():
    rng = np.random.default_rng(1)
    log_odds = rng.normal(0, 2, 20_000)
    target = rng.random(20_000) < 1 / (1 + np.exp(-log_odds))
    for temperature in (0.5, 3.0):
        assert fit_slope(temperature * log_odds, target, np.ones(20_000)) == pytest.approx(1 / temperature, rel=0.05)
    assert fit_slope(-log_odds, target, np.ones(20_000)) == 0.01
    assert fit_slope(np.where(target, 1.0, -1.0), target, np.ones(20_000)) == 20.0


def test_discriminant_analysis_is_that_of_scikit_learn():
    rng = np.random.default_rng(2)
    target = np.arange(400) % 2 == 0
    x = rng.standard_normal((400, 4)) @ rng.standard_normal((4, 4)) + np.outer(target, [0.5, 0, -0.3, 0.1])
    # so many independent samples that nothing is shrunk
    slopes, intercept = fit_lda(x, target, np.ones(400), 1e9)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", priors=[0.5, 0.5]).fit(x, target)
    assert slopes == pytest.approx(theirs.coef_[0], rel=1e-3)
    assert intercept == pytest.approx(theirs.intercept_[0], rel=1e-3)
    still = np.column_stack([x, np.full(400, 7.0)])
    assert fit_lda(still, target, np.ones(400), 50.0)[0][4] == 0.0
    few = fit_lda(x, target, np.ones(400), 2.0)[0]
    assert np.isfinite(few).all()
    assert np.abs(few - slopes).max() > 0.01


def test_an_affine_graph_is_valid_and_says_what_numpy_says():
    rng = np.random.default_rng(3)
    slopes, intercepts = rng.standard_normal((200, 2)).astype(np.float32), np.array([1.5, -2.0], np.float32)
    graph = affine_graph(slopes, intercepts)
    onnx.checker.check_model(onnx.load_from_string(graph), full_check=True)
    x = rng.standard_normal((7, 200)).astype(np.float32)
    (found,) = onnxruntime.InferenceSession(graph).run(["logits"], {"features": x})
    assert found == pytest.approx(x @ slopes + intercepts, abs=1e-4)
    with pytest.raises(ValueError, match="not finite"):
        affine_graph(slopes * np.nan, intercepts)
    with pytest.raises(ValueError, match="expected"):
        affine_graph(slopes, intercepts[:1])


def test_a_block_is_judged_by_blocks_that_are_far_from_it():
    run = labelled(16)
    seen: list[tuple[float, float]] = []

    def fit(part: LabelledRun, _patterns: object):
        assert len(set(part.block[part.target])) >= 2
        assert len(set(part.block[~part.target])) >= 2

        def log_odds(left: LabelledRun, _pattern: str) -> np.ndarray:
            assert len(set(left.block)) == 1
            seen.append(float(np.abs(left.time[:, None] - part.time).min()))
            return np.ones(len(left))

        return log_odds

    found = held_out(run, fit, ("both",))
    assert np.isfinite(found["both"]).all()
    assert len(seen) == 16
    assert min(seen) >= HRF_S + REACH_S


def test_dirty_windows_and_the_beginning_of_a_block_teach_nothing():
    blocks = events(8)
    all_windows = windows(blocks)
    clean = label_windows(all_windows, blocks, CLASSES, REACH_S)
    assert all(t - blocks[b].onset_s >= 4.0 for t, b in zip(clean.time, clean.block, strict=True))
    dirty = [replace(w, flags=Flag.MOTION) if w.seq % 2 else w for w in all_windows]
    assert len(label_windows(dirty, blocks, CLASSES, REACH_S)) < 0.6 * len(clean)
    other = (*blocks, BlockEvent(0.0, 10.0, "instruction"))
    assert len(label_windows(all_windows, other, CLASSES, REACH_S)) == len(clean)


def test_a_refitted_score_keeps_its_signs_and_drops_what_goes_the_wrong_way():
    spec = ScoreSpec(
        eeg=(EegTerm(channels=("O1", "O2")), EegTerm(channels=("O1",), weight=2.0)),
        bold=(BoldTerm(regions=("occipital", "motor")),),
    )
    fitted = fit_score(base(spec), labelled())
    assert fitted is not None
    assert [term.channels for term in fitted.spec.eeg] == [("O1", "O2")]
    assert fitted.spec.eeg[0].weight < -1.0
    assert fitted.spec.bold[0].weight > 0.5
    assert len(fitted.dropped) == 1
    assert "alpha of O1 dropped: its slope is -" in fitted.dropped[0]
    wrong = ScoreSpec(eeg=(EegTerm(channels=("O1", "O2"), weight=1.0),), bold=(BoldTerm(weight=-1.0),))
    assert fit_score(base(wrong), labelled()) is None


@pytest.mark.parametrize("fit", ["score", "linear", "auto"])
def test_an_effect_is_found_and_the_card_serves_it(fit: str, tmp_path: Path):
    found = fit_session_card(base(), labelled(), fit, source="run-1", permutations=59 if fit == "auto" else 19)
    main = found.judged.main
    assert main is not None
    assert main.block_ci95[0] > main.chance == 0.5
    assert "above chance" in found.card.verdict
    assert "not above" not in found.card.verdict
    assert found.card.training.train == ("run-1",)
    calibration = save_calibration(Calibration("run-1", "0" * 64, CHANNELS, REGIONS), tmp_path)
    loaded = load_card(write_session_card(found, tmp_path, calibration))
    assert loaded.card.scores == found.card.scores
    model = load_model(loaded, "cpu")
    # another run of the same participant
    new = labelled(12, seed=9)
    p = np.array([model(w).probabilities[1] for w in new.windows])
    right = [(p[new.block == k].mean() > 0.5) == new.target[new.block == k][0] for k in range(12)]
    assert np.mean(right) > 0.8
    if fit == "linear":
        assert load_card(tmp_path / "card.toml").card.kind == "linear"
        assert {g.file for g in loaded.card.files()} == {f"session-{name}.onnx" for name in ("both", "eeg", "bold")}
    if fit != "auto":
        assert set(loaded.card.doubt.quantile) == {"both", "eeg", "bold"}
        # the share of blocks, not of windows, is what is promised
        assert min(loaded.card.doubt.coverage.values()) > 0.75


@pytest.mark.parametrize("seed", range(2))
def test_labels_without_an_effect_are_not_above_chance(seed: int):
    run = null(seed)
    found = fit_session_card(base(), run, permutations=59)
    assert not found.fitted
    assert found.card.name == "score"
    assert "not above chance" in found.card.verdict
    assert set(found.tried) == {"score as set", "score", "linear"}
    asked_for = fit_session_card(base(), run, "linear", permutations=19)
    assert asked_for.card.kind == "linear"
    assert "not above chance" in asked_for.card.verdict


def test_too_few_blocks_are_said_to_be_too_few():
    found = fit_session_card(base(), labelled(4))
    assert not found.fitted
    assert "too few labelled blocks" in found.tried["linear"]
    nothing = label_windows(windows(events(4)), (), CLASSES, REACH_S)
    empty = fit_session_card(base(), nothing)
    assert not empty.fitted
    assert "too few labelled blocks" in empty.card.verdict
    assert "no labelled blocks" in empty.tried["score"]


def test_a_session_without_bold_is_fitted_on_its_eeg():
    blocks = events(24)
    bare = [replace(w, bold=np.empty((12, 0), np.float32), bold_valid=False) for w in windows(blocks, erd=0.9)]
    run = label_windows(bare, blocks, CLASSES, REACH_S)
    assert run.patterns == ("eeg",)
    card = make_score_card(ScoreSpec(), base().eeg, None, "task", "0" * 64)
    for fit in ("score", "linear"):
        found = fit_session_card(card, run, fit, permutations=19)
        assert set(found.card.scores) == {"eeg"}
        assert "EEG alone" in found.card.verdict
        assert "not above" not in found.card.verdict


def test_tangent_vectors_enter_the_classifier(tmp_path: Path):
    blocks = events(24)
    rng = np.random.default_rng(5)
    plain = windows(blocks, erd=0.0, bold=0.0)
    state = {k: block.label == "task" for k, block in enumerate(blocks)}

    def vector(window: Window) -> np.ndarray:
        k = int((window.end - 20.0) // BLOCK_S)
        return (rng.standard_normal(10) + 1.5 * state.get(k, False) * np.eye(10)[3]).astype(np.float32)

    seen = [replace(w, tangent=vector(w)) for w in plain]
    tangent = TangentInput(channels=CHANNELS, band_hz=(8, 30), window_s=2.0, width=10)
    run = label_windows(seen, blocks, CLASSES, REACH_S)
    found = fit_session_card(base(), run, "linear", tangent=tangent, permutations=1)
    assert found.card.kind == "linear"
    assert found.card.tangent == tangent
    calibration = save_calibration(Calibration("run-1", "0" * 64, CHANNELS, REGIONS), tmp_path)
    model = load_model(load_card(write_session_card(found, tmp_path, calibration)), "cpu")
    p = np.array([model(w).probabilities[1] for w in run.windows])
    assert ((p > 0.5) == run.target).mean() > 0.7


def test_the_head_of_a_network_is_brought_to_the_participants_certainty():
    sure = ScoreSpec(
        eeg=(EegTerm(channels=("O1", "O2"), weight=-9.0),), bold=(BoldTerm(regions=("occipital",), weight=9.0),)
    )
    card = base(sure).model_copy(update={"temperature": Temperatures(both=2.0)})
    model = ScoreModel(LoadedCard(card, "", Path()))
    found = fit_session_card(base(), labelled(), "head", network=Network(card, model, {"a.onnx": b"x"}))
    assert found.card.name == "session-score"
    assert found.graphs == {"a.onnx": b"x"}
    assert found.card.temperature.both > 4.0
    assert found.card.temperature.eeg > 1.2
    run = labelled(seed=3)
    served = ScoreModel(LoadedCard(found.card, "", Path()))

    def loss(ask: ScoreModel) -> float:
        p = np.array([ask(w).probabilities[int(t)] for w, t in zip(run.windows, run.target, strict=True)])
        return float(-np.log(np.maximum(p, 1e-5)).mean())

    assert loss(served) < 0.75 * loss(model)
    with pytest.raises(UsageError, match="no network"):
        fit_session_card(base(), labelled(), "head")
    other = card.model_copy(update={"classes": ("left", "right")})
    with pytest.raises(UsageError, match="tells left, right apart"):
        fit_session_card(base(), labelled(), "head", network=Network(other, model, {}))


def test_probabilities_that_were_judged_are_those_that_are_served():
    found = fit_session_card(base(), labelled(), "score", permutations=1)
    model = ScoreModel(LoadedCard(found.card, "", Path()))
    run = labelled(seed=4)
    from streamer.session_card.score_fit import score_log_odds

    assert found.card.score is not None
    offline = judge(run, {"both": score_log_odds(found.card, found.card.score)(run, "both")}, as_is=True)
    p = np.array([model(w).probabilities[1] for w in run.windows])
    odds = np.log(offline.probability / (1 - offline.probability)) / found.card.temperature.both
    assert p == pytest.approx(1 / (1 + np.exp(-odds)), abs=2e-5)


def test_a_card_is_frozen_with_its_calibration(tmp_path: Path):
    found = fit_session_card(base(), labelled(), "linear", permutations=1)
    own = tmp_path / "own"
    calibration = save_calibration(Calibration("run-1", "0" * 64, CHANNELS, REGIONS), own)
    path = write_session_card(found, own, calibration)
    card = load_card(path).card
    loaded = load_calibration(own)
    assert card.calibration == loaded.sha256
    assert not session_card_problems(card, loaded)
    assert "the session has none" in session_card_problems(card, None)[0]
    (tmp_path / "session").mkdir()
    copied = copy_session_card(own, tmp_path / "session")
    assert copied is not None
    assert load_card(copied).card == card

    save_calibration(Calibration("run-2", "0" * 64, CHANNELS, REGIONS), tmp_path / "other")
    assert "was fitted with the calibration" in session_card_problems(card, load_calibration(tmp_path / "other"))[0]
    graph = own / "session-eeg.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ModelError, match="altered"):
        load_card(path)
    with pytest.raises(ModelError, match="altered"):
        copy_session_card(own, tmp_path / "session")
    # a new calibration takes the card of the one before with it
    save_calibration(Calibration("run-3", "0" * 64, CHANNELS, REGIONS), own)
    assert not path.exists()
    assert copy_session_card(own, tmp_path / "session") is None


def test_a_network_that_leans_to_one_class_is_shifted_for_the_participant():
    spec = ScoreSpec(
        eeg=(EegTerm(channels=("O1", "O2"), weight=-1.0),),
        bold=(BoldTerm(regions=("occipital",), weight=1.0),),
        intercept=3.0,
    )
    card = base(spec)
    model = ScoreModel(LoadedCard(card, "", Path()))
    found = fit_session_card(base(), labelled(), "head", network=Network(card, model, {}))
    assert found.card.bias["both"][0] == 0.0
    assert found.card.bias["both"][1] < -1.0
    run = labelled(seed=3)
    served = ScoreModel(LoadedCard(found.card, "", Path()))

    def right(ask: ScoreModel) -> float:
        return float(
            np.mean([(ask(w).probabilities[1] > 0.5) == t for w, t in zip(run.windows, run.target, strict=True)])
        )

    assert right(served) > right(model) + 0.1
