"""The fMRI part of a recording: which volumes there are, when each began and when it was known."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from streamer.errors import FormatError, RecordingError
from streamer.formats.dicom import NotAnImageVolume, read_dicom
from streamer.messages import Volume

DEFAULT_LATENCY_S = 0.6
"""From the end of a volume to its last byte on disk, where nothing better is known, s."""

_TAGS = ["ImageType", "SeriesNumber", "SeriesInstanceUID", "InstanceNumber"]


@dataclass(frozen=True)
class BoldPart:
    """The volumes of a recording, counted by their place in it (``k``)."""

    indices: tuple[int, ...]
    """Acquisition number of each volume, from 0: what ``Volume.index`` says."""
    tr: float
    """s."""
    trigger: str
    """Label of the marker that begins a volume."""
    first_volume: int
    """Acquisition number that belongs to the first trigger."""
    onsets: tuple[float, ...]
    known_at: tuple[float, ...]
    read: Callable[[int], Volume]
    path: Callable[[int], Path | None]

    @property
    def n_volumes(self) -> int:
        """Number of volumes that there are."""
        return len(self.indices)

    def volume(self, k: int) -> Volume:
        """Read a volume.

        Raises
        ------
        RecordingError
            It cannot be read.
        """
        return self.read(k)

    def file(self, k: int) -> Path | None:
        """Where the volume lies as a file of its own, None when it does not."""
        return self.path(k)

    def onset_s(self, k: int) -> float:
        """Beginning of the acquisition, s after the first EEG sample."""
        return self.onsets[k]

    def known_at_s(self, k: int) -> float:
        """Last byte on disk, s after the first EEG sample."""
        return self.known_at[k]


def bold_onsets(indices: Sequence[int], tr: float, first_volume: int, triggers: Sequence[float]) -> tuple[float, ...]:
    """Give each volume its beginning, s.

    A volume begins at the trigger of its number. Where there are fewer triggers than volumes, and before the first one,
    volumes are a TR apart; without any, the first volume begins at 0.
    """
    if not triggers:
        return tuple((index - first_volume) * tr for index in indices)
    onsets: list[float] = []
    for index in indices:
        at = index - first_volume
        if at < 0:
            onsets.append(triggers[0] + at * tr)
        elif at < len(triggers):
            onsets.append(triggers[at])
        else:
            onsets.append(triggers[-1] + (at - len(triggers) + 1) * tr)
    return tuple(onsets)


class DicomFolder:
    """One series of exported volumes in a folder, one file each.

    Parameters
    ----------
    directory : Path
    series : int or None
        SeriesNumber; needed where the folder holds several series of volumes.

    Raises
    ------
    RecordingError
        No series of volumes, or several and none was chosen, or two files that differ claim to be one volume.
    """

    def __init__(self, directory: Path, series: int | None = None) -> None:
        chosen = _choose(directory, _headers(directory), series)
        files = _once(sorted(chosen, key=lambda item: (item[0], item[1].name)), directory)
        self._paths = tuple(path for _, path in files)
        self.indices = tuple(number - 1 for number, _ in files)
        self.tr = self.volume(0).tr

    def file(self, k: int) -> Path | None:
        """Where volume ``k`` lies."""
        return self._paths[k]

    def volume(self, k: int) -> Volume:
        """Read volume ``k``."""
        path = self._paths[k]
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise RecordingError(f"{path}: cannot be read ({error.strerror})") from error
        return read_dicom(raw, path.name)


def _once(files: list[tuple[int, Path]], directory: Path) -> list[tuple[int, Path]]:
    # real exports repeat a volume now and then, under another name
    kept: list[tuple[int, Path]] = []
    for number, path in files:
        if kept and kept[-1][0] == number:
            first = kept.pop()[1]
            pair = [read_dicom(each.read_bytes(), each.name).data for each in (first, path)]
            if not np.array_equal(pair[0], pair[1]):
                raise RecordingError(f"{directory}: {first.name} and {path.name} both are volume {number}, yet differ")
        kept.append((number, path))
    return kept


Series = dict[tuple[int, str], list[tuple[int, Path]]]


def _headers(directory: Path) -> Series:
    found: Series = {}
    for path in sorted(directory.iterdir()):
        if path.name.startswith(".") or not path.is_file():
            continue
        try:
            header: Any = dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
            key = (int(header.SeriesNumber), str(header.SeriesInstanceUID))
            number = int(header.InstanceNumber)
        except (InvalidDicomError, AttributeError, TypeError, ValueError, KeyError, EOFError, OSError):
            # other files may lie there; if nothing is left the error names the folder
            continue
        found.setdefault(key, []).append((number, path))
    return found


def _choose(directory: Path, found: Series, series: int | None) -> list[tuple[int, Path]]:
    candidates: dict[int, list[tuple[int, Path]]] = {}
    reasons: list[str] = []
    for (number, _), files in found.items():
        if series is not None and number != series:
            continue
        _, path = files[0]
        try:
            read_dicom(path.read_bytes(), path.name)
        except (NotAnImageVolume, FormatError) as error:
            reasons.append(str(error))
            continue
        if number in candidates:
            raise RecordingError(f"{directory}: two series have the number {number}, expected one")
        candidates[number] = files
    if len(candidates) > 1:
        text = ", ".join(f"{number} ({len(files)} volumes)" for number, files in sorted(candidates.items()))
        raise RecordingError(f"{directory}: several series: {text}; expected `series = NUMBER` in recording.toml")
    if not candidates:
        wanted = "" if series is None else f" with the number {series}"
        why = re.sub(r"\s+", " ", reasons[0]) if reasons else f"{len(found)} DICOM series in it"
        raise RecordingError(f"{directory}: no series of fMRI volumes{wanted} ({why})")
    return next(iter(candidates.values()))
