"""A small simulated session, made once for all system tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer.calibrate import calibrate_recording
from streamer.calibration import save_calibration
from streamer.config import BoldSection, Config, EegSection, ModelSection, SessionSection, commented_toml
from streamer.simulate.session import SimulationSettings, simulate_session

LIVE_S = 24.0


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``recording/`` (5 kHz, 32 channels) and ``calibration/``."""
    folder = tmp_path_factory.mktemp("simulated")
    simulate_session(folder / "recording", SimulationSettings(seed=3, calibration_s=48.0, n_blocks=4, block_s=10.0))
    found = calibrate_recording(folder / "recording" / "calibration" / "recording.toml", config_of(folder, folder))
    save_calibration(found, folder / "calibration")
    return folder


def config_of(simulated: Path, out: Path, stream: str = "", **session: str) -> Config:
    """Settings for a live session in ``out`` on the simulated recording's streams."""
    return Config(
        session=SessionSection(directory=out, **session),
        eeg=EegSection.of_rig(stream) if stream else EegSection(),
        bold=BoldSection(
            directory=out / "export",
            regions=simulated / "recording" / "regions.nii.gz",
            region_names=simulated / "recording" / "regions.tsv",
        ),
        model=ModelSection(calibration=simulated / "calibration"),
    )


def write_config(config: Config, path: Path) -> Path:
    """Write settings as SESSION.toml."""
    path.write_text(commented_toml(config), encoding="utf-8")
    return path
