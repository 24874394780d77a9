"""A small session that every fault is injected into, and the table of what came of it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamer.calibrate import calibrate_recording
from streamer.calibration import save_calibration
from streamer.config import Config, ModelSection
from streamer.errors import SessionBusy
from streamer.session_log import MachineLock
from streamer.simulate.session import SimulationSettings, simulate_session
from tests.faults.table import TABLE, FaultTable

BUSY_S = 300.0


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``recording/`` (1 kHz, 12 channels, TR 1 s, 85 s of task) and ``calibration/``."""
    folder = tmp_path_factory.mktemp("small")
    settings = SimulationSettings(
        seed=3, sfreq=1000.0, n_channels=12, grid=(24, 24, 8), calibration_s=32.0, block_s=8.0, n_blocks=9
    )
    simulate_session(folder / "recording", settings)
    calibration = folder / "recording" / "calibration" / "recording.toml"
    found = calibrate_recording(calibration, Config(model=ModelSection(card="none")))
    save_calibration(found, folder / "calibration")
    return folder


@pytest.fixture(scope="module")
def alone() -> None:
    """Wait until no other session runs on this machine."""
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            with MachineLock():
                return
        except SessionBusy:
            assert time.monotonic() < deadline, f"another session has run on this machine for {BUSY_S:g} s"
            time.sleep(1.0)


@pytest.fixture(scope="session")
def table() -> Iterator[FaultTable]:
    """Rows so far; ``FAULTS_TABLE=1`` writes them into ``table.md``, beside those of before."""
    found = FaultTable(TABLE.read_text(encoding="utf-8") if TABLE.exists() else "")
    yield found
    if os.environ.get("FAULTS_TABLE"):
        TABLE.write_text(found.text(), encoding="utf-8")
