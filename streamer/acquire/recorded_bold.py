"""The fMRI part of a recording: which volumes there are, when each began and when it was known."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from streamer.errors import FormatError, RecordingError
from streamer.formats.dicom_folder import DicomSeries, scan_dicom
from streamer.formats.nifti import NiftiSeries, read_nifti
from streamer.formats.parrec import ParRecSeries, par_files, read_parrec
from streamer.messages import Volume

DEFAULT_LATENCY_S = 0.6
"""From the end of a volume to its last byte on disk, where nothing better is known, s."""

_MAX_DEPTH = 4
_NIFTI = (".nii", ".nii.gz")


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
    problems: tuple[str, ...] = ()
    """What is wrong with the files, in sentences; volumes are counted from 1 in them, as scanners do."""
    format: str = ""
    """What the volumes are stored as: ``DICOM (GE)``."""

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


@dataclass(frozen=True)
class BoldSource:
    """A series of volumes, whatever it is stored as; volumes are counted by their place in it (``k``)."""

    format: str
    """``DICOM (Siemens mosaic)``, ``DICOM (Siemens XA enhanced)``, ``DICOM (GE)``, ``PAR/REC``, ``NIfTI`` …"""
    origin: Path
    """The folder or the file that it is in."""
    number: int | None
    """Number of the series; None where the format has none."""
    grid: tuple[int, ...]
    """(x, y, z)."""
    tr: float
    """s."""
    slice_times: tuple[float, ...]
    """s after the onset of a volume; empty when unknown."""
    indices: tuple[int, ...]
    """Acquisition number of each volume, from 0; a gap is a volume that is missing."""
    volume: Callable[[int], Volume]
    """Reads volume ``k``; raises RecordingError when it cannot be."""
    file: Callable[[int], Path | None]
    """Where volume ``k`` lies as a file of its own."""
    problems: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    """Files that claim to be one volume and differ; a recording with such is not opened."""

    @property
    def n_volumes(self) -> int:
        """Number of volumes that there are."""
        return len(self.indices)


def open_bold(path: Path, series: int | None = None, tr: float | None = None) -> BoldSource:
    """Open one series of volumes.

    Parameters
    ----------
    path : Path
        A folder of DICOM files or of PAR/REC pairs (or one whose subfolders hold them), a .nii, .nii.gz or .PAR.
    series : int or None
        Number of the DICOM series; needed where there are several.
    tr : float or None
        Repetition time in s, where a NIfTI or PAR header has none.

    Raises
    ------
    RecordingError
        No series of volumes, or several and none was chosen, or two files that differ claim to be one volume.
    """
    return open_runs(path, (series,), tr)[0]


def open_runs(path: Path, series: Sequence[int | None], tr: float | None = None) -> list[BoldSource]:
    """Open several series of one folder; parameters and errors as for :func:`open_bold`, which opens one."""
    if not path.is_dir():
        return [_single(path, tr)] * len(series)
    # what lies in the folder itself is meant; only where nothing does, its subfolders are
    found, loose = _in_folder(path, tr)
    if not any(each.n_volumes for each in found):
        for folder in _folders(path):
            here, problems = _in_folder(folder, tr)
            found += here
            loose += problems
    return [_choose(path, found, loose, number) for number in series]


def find_bold(path: Path) -> list[BoldSource]:
    """List every series of volumes in a file or a folder, its subfolders included; a bad file hides no good one.

    A NIfTI image of one volume counts only when it is named itself: in folders they are masks and regions. Problems of
    files that belong to no series stand with the first series of their folder, or with an entry without volumes of the
    format ``unreadable``.
    """
    if not path.is_dir():
        try:
            return [_single(path, None)]
        except RecordingError as error:
            return [_unreadable(path, [str(error)])]
    found: list[BoldSource] = []
    for folder in (path, *_folders(path)):
        here, loose = _in_folder(folder, None)
        if here and loose:
            here[0] = replace(here[0], problems=(*here[0].problems, *loose))
        elif loose:
            here = [_unreadable(folder, loose)]
        found += [replace(each, problems=(*each.problems, *each.conflicts), conflicts=()) for each in here]
    return found


def _choose(path: Path, found: list[BoldSource], loose: list[str], series: int | None) -> BoldSource:
    whole = [each for each in found if each.n_volumes]
    scanned = [each for each in whole if each.number is not None]
    # what the scanner wrote comes before what was made of it
    chosen = [each for each in scanned or whole if series is None or each.number in {series, None}]
    if not chosen:
        wanted = "" if series is None else f" with the number {series}"
        reasons = [*loose, *(text for each in found for text in each.problems)]
        why = reasons[0] if reasons else f"{len(found)} series in it"
        raise RecordingError(f"{path}: no series of fMRI volumes{wanted} ({why})")
    if len(chosen) > 1:
        several = sorted(chosen, key=lambda each: (each.number or 0, str(each.origin)))
        if len({each.number for each in several}) < len(several):
            text = ", ".join(f"{each.origin.relative_to(path)} ({each.n_volumes} volumes)" for each in several)
            raise RecordingError(f"{path}: several series of one number: {text}; expected one of them")
        text = ", ".join(f"{each.number} ({each.n_volumes} volumes)" for each in several)
        raise RecordingError(f"{path}: several series: {text}; expected `series = NUMBER` in recording.toml")
    if chosen[0].conflicts:
        raise RecordingError(f"{path}: {chosen[0].conflicts[0]}")
    return replace(chosen[0], problems=(*chosen[0].problems, *loose))


def _folders(path: Path) -> Iterator[Path]:
    for place, names, _ in os.walk(path):
        folder = Path(place)
        depth = len(folder.relative_to(path).parts)
        names[:] = [] if depth >= _MAX_DEPTH else sorted(name for name in names if not name.startswith("."))
        if depth:
            yield folder


def _in_folder(folder: Path, tr: float | None) -> tuple[list[BoldSource], list[str]]:
    try:
        series, problems = scan_dicom(folder)
        tables = par_files(folder)
        images = sorted(each for each in folder.iterdir() if each.name.lower().endswith(_NIFTI))
    except OSError as error:
        return [], [f"{folder.name}: cannot be read ({error.strerror})"]
    found = [_of_dicom(each, folder) for each in series]
    loose = list(problems)
    if tables:
        try:
            found += _of_tables(tables, folder, tr)
        except FormatError as error:
            loose.append(str(error))
    for image in images:
        if image.name.startswith("."):
            continue
        try:
            volumes = read_nifti(image, tr=math.nan if tr is None else tr)
        except FormatError as error:
            loose.append(str(error))
            continue
        if len(volumes) > 1 and math.isnan(volumes.tr):
            loose.append(f"{image.name}: {len(volumes)} volumes without a plausible repetition time in the header")
        elif len(volumes) > 1:
            found.append(_of_nifti(volumes, image))
    return found, loose


def _single(path: Path, tr: float | None) -> BoldSource:
    name = path.name.lower()
    if not path.exists():
        raise RecordingError(f"{path}: no such file or folder")
    if name.endswith(_NIFTI):
        return _of_nifti(read_nifti(path, tr=tr), path)
    if name.endswith(".par"):
        return _of_parrec(read_parrec(path, tr), path)
    raise RecordingError(f"{path.name}: expected .nii, .nii.gz, .PAR or a folder of volumes")


def _of_dicom(series: DicomSeries, folder: Path) -> BoldSource:
    return BoldSource(
        series.format, folder, series.number, series.grid, series.tr, series.slice_times, series.indices,
        series.volume, series.file, series.problems, series.conflicts,
    )  # fmt: skip


def _of_nifti(series: NiftiSeries, path: Path) -> BoldSource:
    return BoldSource(
        "NIfTI", path, None, series.shape, series.tr, series.slice_times, tuple(range(len(series))),
        series.__getitem__, _no_file, series.problems,
    )  # fmt: skip


def _of_tables(tables: list[Path], folder: Path, tr: float | None) -> list[BoldSource]:
    # pairs of one volume each make a scan together; a pair of many volumes is one itself
    try:
        single = [read_parrec(path, tr or 1.0) for path in tables]
    except FormatError:
        single = []
    if len(tables) == 1 or (single and all(len(each) > 1 for each in single)):
        return [_of_parrec(read_parrec(path, tr), path) for path in tables]
    return [_of_parrec(ParRecSeries(tables, tr), folder)]


def _of_parrec(series: ParRecSeries, origin: Path) -> BoldSource:
    return BoldSource(
        "PAR/REC", origin, None, series.shape, series.tr, series.slice_times, series.indices,
        series.__getitem__, _no_file, series.problems,
    )  # fmt: skip


def _unreadable(path: Path, problems: list[str]) -> BoldSource:
    def nothing(k: int) -> Volume:
        raise RecordingError(f"{path}: no volume {k}")

    return BoldSource("unreadable", path, None, (), math.nan, (), (), nothing, _no_file, tuple(problems))


def _no_file(_: int) -> Path | None:
    return None
