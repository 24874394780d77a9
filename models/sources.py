"""Which recordings a path holds, by subject."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from streamer.errors import ModelError
from streamer.runlog_read import is_session

CALIBRATION = "calibration"
SESSION = "session.toml"
RECORDING = "recording.toml"
_EEG = (".xdf", ".xdfz", ".vhdr", ".edf", ".bdf", ".set", ".csv")
_BIDS = ("_eeg.vhdr", "_eeg.edf", "_eeg.bdf", "_eeg.set", "_bold.nii", "_bold.nii.gz")


@dataclass(frozen=True)
class Runs:
    """The runs of one subject, or of one session of a subject."""

    subject: str
    """``sub-01`` or ``sub-01/ses-02`` of a BIDS dataset, else the name of the folder or file."""
    recordings: tuple[Path, ...]
    """In the order of their names."""
    calibration: Path | None = None
    """The run that the others' baselines come from, where there is one."""


def find_runs(path: Path) -> tuple[Runs, ...]:
    """Find what can be read as labelled recordings.

    Parameters
    ----------
    path : Path
        A recording or a session's log; a folder of several recordings: with ``session.toml``, with a recording.toml in
        each subfolder (one of them may be called ``calibration``), with EEG files; a BIDS dataset, subject or session.

    Raises
    ------
    ModelError
        There is no such path, or a ``session.toml`` that names no run to learn from.
    """
    if not path.exists():
        raise ModelError(f"{path}: no such file or folder")
    name = path.absolute().name
    if path.is_file():
        named = path.parent.name if path.name == RECORDING else path.name.partition(".")[0]
        return (Runs(named, (path,)),)
    if (path / SESSION).is_file():
        return (_session(path, name),)
    if is_session(path) or (path / RECORDING).is_file():
        return (Runs(name, (path,)),)
    if several := sorted(path.glob(f"*/{RECORDING}")):
        first = next((each for each in several if each.parent.name == CALIBRATION), None)
        return (Runs(name, tuple(each for each in several if each != first), first),)
    if subjects := _bids(path):
        return subjects
    files = sorted(each for each in path.iterdir() if each.name.lower().endswith(_EEG))
    # a folder of volumes is one recording
    return (Runs(name, tuple(files) or (path,)),)


def _session(path: Path, name: str) -> Runs:
    try:
        facts = tomllib.loads((path / SESSION).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ModelError(f"{path} is not a session: {SESSION} cannot be read: {error}") from error
    runs = [str(run) for run in facts.get("runs", [])]
    others = tuple(path / run / RECORDING for run in runs if run != CALIBRATION)
    if not others:
        raise ModelError(
            f"{path} has the runs {', '.join(runs) or '(none)'}: expected one besides {CALIBRATION} to learn from"
        )
    return Runs(name, others, path / CALIBRATION / RECORDING if CALIBRATION in runs else None)


def _bids(path: Path) -> tuple[Runs, ...]:
    # a run's EEG file opens its volumes too
    by_run: dict[str, Path] = {}
    for ending in _BIDS:
        for file in sorted(path.rglob(f"sub-*{ending}")):
            by_run.setdefault(file.name.rpartition("_")[0], file)
    subjects: dict[str, list[Path]] = {}
    for run in sorted(by_run):
        parts = run.split("_")
        session = [part for part in parts[1:2] if part.startswith("ses-")]
        subjects.setdefault("/".join([parts[0], *session]), []).append(by_run[run])
    return tuple(Runs(subject, tuple(files)) for subject, files in subjects.items())
