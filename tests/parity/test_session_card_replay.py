"""A participant's calibration run becomes a session card, and the task run is decided by it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamer.acquire.recording import BlockEvent
from streamer.acquire.recordings import open_recording
from streamer.calibration import load_calibration, save_calibration, session_card_problems
from streamer.config import BoldSection, Config, ModelSection
from streamer.decode.card_file import fit_problems, load_card
from streamer.decode.scores import score_predictions
from streamer.messages import Prediction
from streamer.replay import open_origin, prepare
from streamer.session_card.calibrate_session import Measured, fit_session, measure_session
from streamer.session_card.session_card import write_session_card
from streamer.simulate.session import SimulationSettings, simulate_session

pytestmark = pytest.mark.timeout(300)

SMALL = SimulationSettings(
    seed=5, sfreq=500.0, n_channels=16, grid=(20, 20, 10), voxel_mm=(10.0, 10.0, 6.0),
    calibration_s=192.0, n_blocks=8, block_s=12.0, erd=0.7, bold_percent=2.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("session_card") / "session"
    simulate_session(folder, SMALL, workers=1)
    return folder


@pytest.fixture(scope="module")
def config(session: Path) -> Config:
    return Config(
        bold=BoldSection(regions=session / "regions.nii.gz", region_names=session / "regions.tsv"),
        model=ModelSection(card="none"),
    )


@pytest.fixture(scope="module")
def measured(session: Path, config: Config) -> Measured:
    return measure_session(session / "calibration" / "recording.toml", config)


def decided(session: Path, config: Config, own: Path) -> list[Prediction]:
    """Replay the task run with a calibration's folder, as ``model.calibration`` names it."""
    model = ModelSection(card="auto", calibration=own, provider="cpu")
    run = prepare(open_origin(session / "task" / "recording.toml"), config.model_copy(update={"model": model}))
    return [o for _, outputs in run.steps() for o in outputs if isinstance(o, Prediction)]


def block_accuracy(session: Path, predictions: list[Prediction]) -> tuple[float, float]:
    recording = open_recording(session / "task" / "recording.toml")
    scores = score_predictions(predictions, recording.events, 0.0)
    assert scores.n_blocks >= 7
    return scores.accuracy, scores.ci95[0]


def test_a_calibration_run_becomes_a_card_that_decides_the_task_run(
    session: Path, config: Config, measured: Measured, tmp_path: Path
):
    for fit in ("score", "linear"):
        found, card = fit_session(measured, config, fit)
        assert found.threshold_of == card.card.name == f"session-{fit}"
        assert found.threshold_on is not None
        assert found.region_sd is not None
        assert (found.region_sd > 0).all()
        assert "above chance" in card.card.verdict
        assert "not above" not in card.card.verdict
        own = tmp_path / fit
        path = write_session_card(card, own, save_calibration(found, own))
        again, loaded = load_calibration(own), load_card(path).card
        assert again.region_sd is not None
        assert np.array_equal(again.region_sd, found.region_sd)
        assert not session_card_problems(loaded, again)
        assert not fit_problems(loaded, found.channels, found.regions, config.model_digest())
        predictions = decided(session, config, own)
        assert {p.model.partition("@")[0] for p in predictions} == {loaded.name}
        accuracy, lowest = block_accuracy(session, predictions)
        assert accuracy >= 0.85
        assert lowest > 0.5


def test_labels_that_were_dealt_out_anew_leave_the_score_as_it_was(config: Config, measured: Measured):
    rng = np.random.default_rng(1)
    labels = rng.permutation([event.label for event in measured.events])
    events = tuple(
        BlockEvent(event.onset_s, event.duration_s, str(label))
        for event, label in zip(measured.events, labels, strict=True)
    )
    found, card = fit_session(replace(measured, events=events), config)
    assert not card.fitted
    assert card.card.name == found.threshold_of == "score"
    assert "not above chance" in card.card.verdict
    assert card.card.score == measured.base.score


def test_a_run_without_labels_has_the_score_and_thresholds_too(config: Config, measured: Measured):
    found, card = fit_session(replace(measured, events=()), config)
    assert not card.fitted
    assert "too few labelled blocks" in card.card.verdict
    assert found.threshold_on is not None
    assert found.n_windows > 100
