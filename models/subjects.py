"""From a session on disk to labelled windows: by the loop's own code, calibration first, then every other run.

What the model sees in training is thereby what it sees in the loop: the same cleaning, the same lags, the same flags,
and the baselines of the subject's own calibration run.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from models.dataset import Inputs, WindowSet, joined, labelled
from streamer.calibrate import calibrate_recording, labelled_windows
from streamer.config import Config
from streamer.decode.scores import BlockEvent
from streamer.errors import ModelError
from streamer.messages import Flag, Window
from streamer.replay import open_origin, prepare

CALIBRATION = "calibration"
SEEDS_APART = 1000
"""Seeds of simulated subjects start at this multiple of a run's seed: demo and tests use small ones."""
EVERY = 2
"""One in this many windows is kept: neighbours share 39 of 40 parts."""
APART_S = 60.0
"""Runs of a subject are put this far apart on the time axis."""
UNTRUSTED = Flag.WARMING | Flag.GAP | Flag.CLOCK_STEP
"""Windows with one of these flags are left out: in the loop they never lead to a trigger either."""


def simulated_seeds(seed: int, n: int) -> list[int]:
    """Seeds of the ``n`` simulated subjects of a run with ``seed``."""
    return [seed * SEEDS_APART + k for k in range(1, n + 1)]


def read_subject(session: Path, config: Config, subject: str) -> WindowSet:
    """Replay a session's runs and label their windows.

    Parameters
    ----------
    session : Path
        A folder with ``session.toml``, which lists the runs, ``calibration`` among them.
    config : Config
        Its model and calibration are not used.
    subject : str
        Name in the window set.

    Raises
    ------
    ModelError
        The folder is not a session, or has no calibration run, or no run besides.
    RecordingError
        A run cannot be read.
    """
    runs = _runs(session)
    bare = config.model_copy(update={"model": config.model.model_copy(update={"card": "none", "calibration": None})})
    calibration = calibrate_recording(_recording(session, CALIBRATION), bare)
    found: list[WindowSet] = []
    at = 0.0
    for run in runs:
        path = _recording(session, run)
        core = prepare(open_origin(path), bare, calibration).loop.core
        inputs = Inputs(calibration.channels, calibration.regions, core.lane.sfreq_out)
        kept: list[Window] = []
        blocks: tuple[BlockEvent, ...] = ()
        for window, events in labelled_windows(path, bare, calibration):
            blocks = events
            if window.seq % EVERY == 0 and not window.flags & UNTRUSTED:
                kept.append(window)
        # a recording's own axis serves as session time in a replay
        windows = labelled(kept, blocks, 0.0, subject, inputs).later(at)
        at = max([float(windows.time[-1]), *(b.onset_s + b.duration_s for b in windows.blocks)]) + APART_S
        found.append(windows)
    return joined(found)


def simulate_subject(folder: Path, seed: int) -> str:
    """Simulate a session with planted truth into a new folder; gives the subject's name."""
    # imported here: reading a real session needs no simulator
    from streamer.simulate.session import SimulationSettings, simulate_session

    # one process for the volumes: several subjects are made at once
    simulate_session(folder, SimulationSettings(seed=seed), workers=1)
    return f"simulated-{seed}"


def _runs(session: Path) -> list[str]:
    path = session / "session.toml"
    try:
        facts = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ModelError(f"{session} is not a session: {path.name} cannot be read: {error}") from error
    runs = [str(run) for run in facts.get("runs", [])]
    if CALIBRATION not in runs:
        raise ModelError(f"{session} has the runs {', '.join(runs) or '(none)'}: expected {CALIBRATION} among them")
    others = [run for run in runs if run != CALIBRATION]
    if not others:
        raise ModelError(f"{session} has no run besides {CALIBRATION}: nothing to train on")
    return others


def _recording(session: Path, run: str) -> Path:
    return session / run / "recording.toml"
