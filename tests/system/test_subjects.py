from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.subjects import read_subject
from streamer.calibrate import calibrate_recording
from streamer.config import Config, ModelSection
from streamer.messages import Window
from streamer.replay import open_origin, prepare
from streamer.simulate.session import SimulationSettings, simulate_session

pytestmark = [pytest.mark.system, pytest.mark.beside]

SMALL = SimulationSettings(
    seed=11, n_channels=12, sfreq=1000.0, grid=(24, 24, 8), calibration_s=32.0, n_blocks=4, block_s=8.0, gradient_v=1e-3
)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("subjects") / "sub-01"
    simulate_session(folder, SMALL, workers=1)
    return folder


def test_a_session_becomes_the_windows_that_the_loop_makes_of_it(session: Path) -> None:
    found = read_subject(session, Config(), "sub-01")
    bare = Config(model=ModelSection(card="none"))
    calibration = calibrate_recording(session / "calibration" / "recording.toml", bare)
    replay = prepare(open_origin(session / "task" / "recording.toml"), bare, calibration)
    windows = [output for _, outputs in replay.steps() for output in outputs if isinstance(output, Window)]
    made = {round(float(window.end), 6): window for window in windows}
    assert len(found) > 100
    for k in range(0, len(found), 11):
        window = made[round(float(found.time[k]), 6)]
        assert np.array_equal(found.eeg[k], window.eeg)
        assert np.array_equal(found.bold[k], window.bold)
        assert found.valid[k].tolist() == [window.eeg_valid, window.bold_valid]
        inside = [b for b in found.blocks if b.onset_s <= window.end < b.onset_s + b.duration_s]
        assert [found.classes.index(b.label) for b in inside] == ([found.label[k]] if found.label[k] >= 0 else [])
    assert {b.label for b in found.blocks} == {"rest", "task"}
    assert len(found.blocks) == 4
    assert found.inputs.channels == calibration.channels
    assert found.inputs.regions == calibration.regions
    assert found.inputs.sfreq == 250.0
