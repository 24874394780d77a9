"""Recordings of every kind: an EEG part, an fMRI part, or both on one time axis."""

from __future__ import annotations

from pathlib import Path

from streamer.acquire.recorded_bids import is_bids_file, is_bids_folder, open_bids
from streamer.acquire.recorded_bold import open_bold
from streamer.acquire.recorded_parts import BOLD_SUFFIXES, EEG_SUFFIXES, Placing, open_eeg, place_volumes
from streamer.acquire.recorded_session import open_session
from streamer.acquire.recording import Recording
from streamer.acquire.recording_toml import RECORDING_TOML, open_toml
from streamer.errors import RecordingError
from streamer.runlog_read import is_session

__all__ = ["RECORDING_TOML", "open_recording"]


def open_recording(path: Path) -> Recording:
    """Open a recording of any kind.

    Parameters
    ----------
    path : Path
        A recording.toml or the folder of one; a session's folder; a BIDS subject (or session, or a dataset of one
        subject), or one file of a run in it; an EEG file (.xdf, .vhdr, .edf, .bdf, .set, .csv of a Muse); a folder of
        DICOM or PAR/REC files; a .nii, .nii.gz or .PAR.

    Raises
    ------
    ConfigError
        A recording.toml has problems; all are listed.
    RecordingError
        A part is missing or cannot be read, or the parts do not fit together.
    """
    if not path.exists():
        raise RecordingError(f"{path}: no such file or folder")
    name = path.name.lower()
    if path.is_dir():
        return _open_folder(path)
    if name.endswith(".toml"):
        return open_toml(path)
    if is_bids_file(path):
        return open_bids(path)
    if name.endswith(EEG_SUFFIXES):
        eeg, physio = open_eeg(path)
        return Recording(path.stem, eeg=eeg, physio=physio)
    if name.endswith(BOLD_SUFFIXES):
        return _volumes(path, path.name.split(".", maxsplit=1)[0])
    raise RecordingError(
        f"{path}: expected recording.toml, {', '.join((*EEG_SUFFIXES, *BOLD_SUFFIXES))}, or a folder: of a session, "
        "a BIDS subject, DICOM files"
    )


def _open_folder(path: Path) -> Recording:
    if is_session(path):
        return open_session(path)
    if (path / RECORDING_TOML).is_file():
        return open_toml(path / RECORDING_TOML)
    if runs := sorted(str(found.relative_to(path)) for found in path.glob(f"*/{RECORDING_TOML}")):
        raise RecordingError(f"{path}: a session of {len(runs)} recordings, expected one of them: {', '.join(runs)}")
    if is_bids_folder(path):
        return open_bids(path)
    try:
        return _volumes(path, path.resolve().name)
    except RecordingError as error:
        files = sorted(each.name for each in path.iterdir() if each.name.lower().endswith(EEG_SUFFIXES))
        if not files:
            raise
        raise RecordingError(
            f"{error}; recordings of EEG in it are opened by their names: {', '.join(files)}"
        ) from error


def _volumes(path: Path, name: str) -> Recording:
    bold, problems = place_volumes(open_bold(path), Placing(), None)
    return Recording(name, bold=bold, problems=tuple(problems))
