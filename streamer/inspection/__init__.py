"""What is in a recording, a file or a folder: one plain object per part, for people and programs.

May import acquire and what lies below it.
"""

from __future__ import annotations

from pathlib import Path

from streamer.acquire.bids_files import find_runs
from streamer.acquire.recordings import RECORDING_TOML, open_recording
from streamer.errors import RecordingError
from streamer.inspection.files import reader_of
from streamer.inspection.part import Part, recording_parts
from streamer.inspection.walk import walk_parts
from streamer.runlog_read import is_session

__all__ = ["Part", "inspect_path"]


def inspect_path(path: Path) -> list[Part]:
    """Look into a recording, a single file, or a folder of whatever.

    Parameters
    ----------
    path : Path
        A folder that is no single recording is walked: every part in it is listed, a bad one with its problems.

    Raises
    ------
    ConfigError
        A recording.toml has problems.
    RecordingError
        It cannot be read, or there is nothing in it.
    """
    if not path.exists():
        raise RecordingError(f"{path}: no such file or folder")
    if path.is_dir():
        return _folder(path)
    read = reader_of(path)
    if read is None:
        raise RecordingError(
            f"{path}: no recording by its name; expected one of .xdf, .vhdr, .vmrk, .edf, .bdf, .set, .csv, .nii, "
            ".nii.gz, .PAR, .dcm, .hea, .tsv, a recording.toml, or a folder"
        )
    return read(path)


def _folder(path: Path) -> list[Part]:
    if is_session(path) or (path / RECORDING_TOML).is_file():
        return recording_parts(open_recording(path))
    refused = ""
    if len(find_runs(path)) == 1:
        try:
            return recording_parts(open_recording(path))
        except RecordingError as error:
            refused = str(error)
    parts = walk_parts(path)
    if not parts:
        raise RecordingError(f"{path}: no recording and no part of one in it")
    if refused and not any(part.problems for part in parts):
        parts[0].problems.append(f"its parts do not make a recording: {refused}")
    return parts
