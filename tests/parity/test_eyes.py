"""An eye correction from a calibration run goes with the calibration, and into the loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamer.calibrate import calibrate_recording
from streamer.calibration import load_calibration, save_calibration
from streamer.config import BoldSection, Config, ModelSection
from streamer.errors import ModelError, RecordingError
from streamer.messages import CleanEeg
from streamer.replay import open_origin, prepare
from streamer.simulate.session import SimulationSettings, simulate_session

SMALL = SimulationSettings(
    seed=5, sfreq=1000.0, n_channels=20, grid=(24, 24, 12), voxel_mm=(8.0, 8.0, 5.0),
    calibration_s=96.0, n_blocks=2, block_s=8.0, blinks_per_min=20.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eyes") / "session"
    simulate_session(folder, SMALL, workers=1)
    return folder


def config_of(session: Path, method: str, min_s: float = 60.0) -> Config:
    return Config.model_validate(
        {
            "bold": BoldSection(regions=session / "regions.nii.gz", region_names=session / "regions.tsv").model_dump(),
            "model": ModelSection(card="none").model_dump(),
            "clean": {"eeg": {"ocular": {"method": method, "min_s": min_s, "n_components": 12}}},
        }
    )


def frontal(session: Path, config: Config, calibration=None) -> float:
    """Size of the EEG at Fp1 in the task run, V."""
    outputs = [o for _, made in prepare(open_origin(session / "task"), config, calibration).steps() for o in made]
    return float(np.concatenate([o.data[:, 0] for o in outputs if isinstance(o, CleanEeg)])[2500:].std())


def test_blinks_are_taken_out_by_what_the_calibration_run_told(session: Path, tmp_path: Path) -> None:
    config = config_of(session, "ica")
    found = calibrate_recording(session / "calibration" / "recording.toml", config)
    assert found.ocular is not None
    assert found.ocular.removed
    assert "ica" in found.ocular.summary.lower() or "component" in found.ocular.summary.lower()
    save_calibration(found, tmp_path / "own")
    again = load_calibration(tmp_path / "own")
    assert again.ocular is not None
    assert np.array_equal(again.ocular.matrix, found.ocular.matrix)
    assert frontal(session, config, again) < 0.7 * frontal(session, config_of(session, "none"))
    text = (tmp_path / "own" / "ocular.json").read_text()
    (tmp_path / "own" / "ocular.json").write_text(text.replace("1", "2", 1))
    with pytest.raises(RecordingError, match="altered"):
        load_calibration(tmp_path / "own")


def test_without_its_calibration_an_eye_correction_is_refused(session: Path) -> None:
    with pytest.raises(ModelError, match="streamer calibrate"):
        prepare(open_origin(session / "task"), config_of(session, "ica"))


def test_a_calibration_run_that_is_too_short_is_refused(session: Path) -> None:
    with pytest.raises(RecordingError, match="s"):
        calibrate_recording(session / "calibration" / "recording.toml", config_of(session, "ica", min_s=300.0))
