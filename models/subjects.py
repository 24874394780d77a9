"""From recordings on disk to labelled windows: by the loop's own code, run after run.

What the model sees in training is thereby what it sees in the loop: the same cleaning, the same lags, the same flags.
Baselines come from the subject's calibration run where there is one, else from each run itself
(``models/own_baseline.py``).
"""

from __future__ import annotations

from pathlib import Path

from models.dataset import UNLABELLED, WindowSet, joined, labelled
from models.labels import classes_among
from models.replayed import Progress, Reading, Replayed, part_of, replay_run
from models.sources import Runs, find_runs
from streamer.calibrate import calibrate_recording
from streamer.calibration import Calibration, load_calibration
from streamer.config import Config
from streamer.errors import ModelError

SEEDS_APART = 1000
"""Seeds of simulated subjects start at this multiple of a run's seed: demo and tests use small ones."""
APART_S = 60.0
"""Runs of a subject are put this far apart on the time axis."""


def simulated_seeds(seed: int, n: int) -> list[int]:
    """Seeds of the ``n`` simulated subjects of a run with ``seed``."""
    return [seed * SEEDS_APART + k for k in range(1, n + 1)]


def simulate_subject(folder: Path, seed: int) -> str:
    """Simulate a session with planted truth into a new folder; gives the subject's name."""
    # imported here: reading a real session needs no simulator
    from streamer.simulate.session import SimulationSettings, simulate_session

    # one process for the volumes: several subjects are made at once
    simulate_session(folder, SimulationSettings(seed=seed), workers=1)
    return f"simulated-{seed}"


def read_subject(
    path: Path, config: Config, subject: str, reading: Reading | None = None, progress: Progress | None = None
) -> WindowSet:
    """Replay the runs of a subject and label their windows.

    Parameters
    ----------
    path : Path
        Whatever :func:`models.sources.find_runs` reads: a recording, a session, a folder of runs, a BIDS dataset.
    config : Config
        Its model and calibration are not used.
    subject : str
        Name in the window set; ``SUBJECT/SESSION`` for one of several sessions. The subjects of a dataset with several
        keep their own names.
    reading : Reading, optional
    progress : callable, optional
        Takes the fraction done.

    Raises
    ------
    ModelError
        There is nothing to learn from: no run, no labels or one class only, no window that counts, or none of them
        within a labelled block; or too little rest for a baseline.
    RecordingError
        A run cannot be read.
    """
    reading = reading if reading is not None else Reading()
    model = config.model.model_copy(update={"card": "none", "calibration": None})
    bare = config.model_copy(update={"model": model})
    found = find_runs(path)
    total, done = sum(len(runs.recordings) for runs in found), 0
    parts: list[WindowSet] = []
    for runs in found:
        name = subject if len(found) == 1 else runs.subject
        parts.append(_read(runs, bare, name, reading, part_of(progress, done / total, len(runs.recordings) / total)))
        done += len(runs.recordings)
    return joined(parts)


def _read(runs: Runs, config: Config, subject: str, reading: Reading, progress: Progress) -> WindowSet:
    first = reading.calibration or runs.calibration
    share = 1.0 / (len(runs.recordings) + (first is not None))
    given = None if first is None else _calibration(first, config, part_of(progress, 0.0, share))
    replayed: list[Replayed] = []
    for k, path in enumerate(runs.recordings, start=first is not None):
        replayed.append(replay_run(path, config, given, subject, reading, part_of(progress, k * share, share)))
    classes = classes_among((block for run in replayed for block in run.blocks), reading.labels)
    parts: list[WindowSet] = []
    at = 0.0
    for run in replayed:
        windows = _labelled(run, classes, subject, config, reading).later(at)
        at = max([float(windows.time[-1]), *(b.onset_s + b.duration_s for b in windows.blocks)]) + APART_S
        parts.append(windows)
    return joined(parts)


def _calibration(path: Path, config: Config, progress: Progress) -> Calibration:
    if (path / "calibration.toml").is_file():
        return load_calibration(path)
    return calibrate_recording(path, config, progress)


def _labelled(run: Replayed, classes: tuple[str, ...], subject: str, config: Config, reading: Reading) -> WindowSet:
    extra = config.extra.tangent
    n = len(extra.channels or run.inputs.channels) if extra.enabled and run.inputs.channels else 0
    settle_s = 0.0 if reading.windows == "volumes" else 1.0
    windows = labelled(
        run.windows, run.blocks, 0.0, subject, run.inputs, classes, settle_s, n_tangent=n * (n + 1) // 2, at=run.at
    )
    if (windows.label == UNLABELLED).all():
        found = [(b.onset_s, b.onset_s + b.duration_s) for b in windows.blocks] or [(0.0, 0.0)]
        raise ModelError(
            f"{run.name}: no window lies in a labelled block: windows from {run.at.min():.1f} to {run.at.max():.1f} s, "
            f"{len(windows.blocks)} blocks of {', '.join(classes)} from {min(found)[0]:.1f} to "
            f"{max(b for _, b in found):.1f} s"
        )
    return windows
