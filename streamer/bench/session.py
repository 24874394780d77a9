"""The session that the loop is measured on: 64 channels at 5 kHz, one of them the ECG, TR 2 s, 64×64×36 voxels."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable
from pathlib import Path

from streamer.config import BoldSection, Config, EegSection, ModelSection, SessionSection, commented_toml
from streamer.simulate.session import SimulationSettings, simulate_session

STREAM = "bench-amplifier"
_BLOCK_S = 20.0


def make_session(folder: Path, minutes: float, progress: Callable[[float], None]) -> Path:
    """Simulate it; gives the task run's recording.toml.

    Parameters
    ----------
    folder : Path
        New.
    minutes : float
        Length of the task run.
    progress : callable
        Takes the fraction done.
    """
    settings = SimulationSettings(
        n_channels=64,
        tr_s=2.0,
        grid=(64, 64, 36),
        calibration_s=2 * _BLOCK_S,
        block_s=_BLOCK_S,
        n_blocks=max(2, round(60 * minutes / _BLOCK_S)),
    )
    simulate_session(folder / "recording", settings, progress)
    return folder / "recording" / "task" / "recording.toml"


def write_settings(folder: Path) -> Path:
    """Write the SESSION.toml of a session in ``folder``: without a model, for the one that ships takes 31 channels."""
    config = Config(
        session=SessionSection(name="live", directory=folder.resolve()),
        eeg=EegSection.of_rig(STREAM),
        bold=BoldSection(
            directory=(folder / "export").resolve(),
            regions=(folder / "recording" / "regions.nii.gz").resolve(),
            region_names=(folder / "recording" / "regions.tsv").resolve(),
        ),
        model=ModelSection(card="none"),
    )
    path = folder / "SESSION.toml"
    path.write_text(commented_toml(config), encoding="utf-8")
    return path


def memory_mb(pid: int) -> float:
    """Tell how much memory a process holds for itself, MB: without files that are only mapped, where that is known."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024
    found = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return int(found.stdout or 0) / 1024
