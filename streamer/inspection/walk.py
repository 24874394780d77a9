"""What is in a folder that is no single recording: every part that is found, the bad ones with what is wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from streamer.acquire.recorded_bold import find_bold
from streamer.acquire.recordings import RECORDING_TOML, open_recording
from streamer.errors import StreamerError
from streamer.inspection.files import is_marker_table, is_signal_table, reader_of
from streamer.inspection.part import Part, bold_part, recording_parts
from streamer.runlog_read import is_session

_MAX_DEPTH = 8
_SERIES_LEVELS = 5
"""Levels of folders that one search for series looks through."""
_BY_SERIES = (".nii", ".nii.gz", ".par", ".dcm", ".ima")
"""Endings of files that are looked at as series of volumes, together with their folder."""
_BESIDE_HEADER = (".vmrk", ".toml")


def walk_parts(folder: Path) -> list[Part]:
    """List every part in a folder and its subfolders, by path; a bad file hides no good one."""
    whole = [found for found, files in _walk(folder) if _is_recording(found, files) and found != folder]
    parts: list[Part] = []
    for place in whole:
        parts += [part.at(_within(place, folder)) for part in _recording(place)]
    for start, _ in _walk(folder):
        if len(start.relative_to(folder).parts) % _SERIES_LEVELS:
            continue
        for source in find_bold(start):
            if not any(source.origin.is_relative_to(place) for place in whole):
                parts.append(bold_part(source).at(_within(source.origin, folder)))
    for place, files in _walk(folder):
        if any(place.is_relative_to(each) for each in whole):
            continue
        for name in files:
            parts += [part.at(_within(place / name, folder)) for part in _file(place / name)]
    return sorted(parts, key=lambda part: part.path or "")


def _walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    for place, names, files in os.walk(folder):
        here = Path(place)
        deep = len(here.relative_to(folder).parts) >= _MAX_DEPTH
        names[:] = [] if deep else sorted(name for name in names if not name.startswith("."))
        yield here, sorted(name for name in files if not name.startswith("."))


def _is_recording(folder: Path, files: list[str]) -> bool:
    return RECORDING_TOML in files or is_session(folder)


def _recording(folder: Path) -> list[Part]:
    try:
        return recording_parts(open_recording(folder))
    except StreamerError as error:
        return [Part("eeg", "unreadable", problems=[str(error)])]


def _file(path: Path) -> list[Part]:
    name = path.name.lower()
    read = reader_of(path)
    if read is None or name.endswith((*_BY_SERIES, *_BESIDE_HEADER)):
        return []
    if (name.endswith(".csv") and not is_signal_table(path)) or (
        name.endswith(".tsv") and not name.endswith("_physio.tsv") and not is_marker_table(path)
    ):
        # a table of something else
        return []
    try:
        return read(path)
    except StreamerError as error:
        kind = "markers" if name.endswith(".tsv") else "physio" if name.endswith((".hea", ".tsv.gz")) else "eeg"
        return [Part(kind, "unreadable", problems=[str(error)])]


def _within(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
