"""A model whose session fails in mid-run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streamer.config import Config, ModelSection
from streamer.decode.model_card import BoldInput, EegInput
from streamer.decode.onnx_session import Bound
from streamer.errors import ModelError
from streamer.messages import Prediction
from streamer.replay import open_origin, prepare
from tests.faults.live import task
from tests.faults.table import FaultTable
from tests.unit.served_files import linear

pytestmark = [pytest.mark.system, pytest.mark.beside, pytest.mark.timeout(120)]

GOOD = 20


def card(small: Path, folder: Path) -> Path:
    """A model with an ONNX graph for the small recording."""
    origin, config = open_origin(Path(task(small))), Config()
    assert origin.labels is not None
    w, bands = config.windows, config.features.bands
    channels = tuple(c.name for c in origin.channels if c.kind == "eeg")
    loaded = linear(
        folder,
        {"eeg": (("eeg_mean",), len(channels) * len(bands), 3)},
        eeg=EegInput(channels=channels, bands=bands, step_s=w.eeg_step_s, n_steps=w.eeg_steps, sfreq_hz=250.0),
        bold=BoldInput(regions=origin.labels.names, grid_s=w.bold_grid_s, n_steps=w.bold_steps),
        preprocessing=config.model_digest(),
    )
    return folder / f"{loaded.card.name}.toml"


def test_a_session_that_fails_on_the_processor_ends_the_run_with_a_sentence(
    small: Path, monkeypatch: pytest.MonkeyPatch, table: FaultTable, tmp_path: Path
) -> None:
    model = ModelSection(card=str(card(small, tmp_path / "card")), calibration=small / "calibration")
    run = prepare(open_origin(Path(task(small))), Config(model=model))
    calls = 0
    whole = Bound.__call__

    def fails(self: Bound) -> Any:
        nonlocal calls
        calls += 1
        if calls > GOOD:
            raise RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : out of memory\nat line 1")
        return whole(self)

    monkeypatch.setattr(Bound, "__call__", fails)
    predictions: list[Prediction] = []

    def play() -> None:
        for _, outputs in run.steps():
            predictions.extend(o for o in outputs if isinstance(o, Prediction))

    with pytest.raises(ModelError, match=r"failed in mid-run: \[ONNXRuntimeError\] .* out of memory$"):
        play()
    assert len(predictions) > 20
    table.add(
        "ONNX session fails on the processor",
        "the session ends with “CPUExecutionProvider failed in mid-run: …”, exit code 1 (a GPU's failure moves it to "
        "the processor, with a note)",
        "nothing of what was recorded; no trigger leaves",
        "a new session",
    )
