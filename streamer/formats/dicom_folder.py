"""A folder of exported DICOM files: which series of volumes are in it, what is missing, and their volumes one by one.

Volumes are told apart by series and number, never by the order of the files. Of each file only the header is read until
a volume is asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset

from streamer.errors import FormatError, IncompleteFile, RecordingError
from streamer.formats.dicom import Content, content_of, read_content, read_slice
from streamer.formats.dicom_assemble import join_slices
from streamer.formats.dicom_header import (
    DAMAGE,
    ENHANCED_MR_IMAGE,
    NotAnImageVolume,
    parse_file,
    series_label,
    series_number,
    sop_class,
)
from streamer.formats.dicom_kinds import refuse_other_kinds
from streamer.formats.dicom_pixels import lossy_notes, pixel_layout
from streamer.formats.dicom_slice import Slice
from streamer.messages import Array, Volume

_SAME_PLACE_DIGITS = 1
_NAMED_FILES = 3


@dataclass(slots=True)
class _Found:
    """What was found of one series so far."""

    format: str
    number: int
    files: dict[int, list[tuple[float, Path]]] = field(default_factory=dict[int, list[tuple[float, Path]]])
    """Per volume (number from 0): where each slice lies (0 for a whole volume) and its file, which may hold others."""
    n_slices: int | None = None
    n_volumes: int | None = None
    cut: list[str] = field(default_factory=list[str])
    example: Volume | None = None
    notes: dict[str, str] = field(default_factory=dict[str, str])
    """What files have to tell, and the first that does."""
    timeless: set[int] = field(default_factory=set[int])
    shared: set[Path] = field(default_factory=set[Path])
    """Files of several volumes."""


class DicomSeries:
    """One series of volumes in a folder.

    Attributes
    ----------
    format : str
        ``DICOM (Siemens mosaic)``, ``DICOM (Siemens XA enhanced)``, ``DICOM (GE)`` …
    label, number : str, int
        Identity of the series within the session, and its number.
    indices : tuple of int
        Acquisition number of each whole volume, from 0.
    grid : tuple of int
        (x, y, z).
    tr : float
        s; NaN when no header could be read.
    slice_times : tuple of float
        s after the onset of a volume; empty when unknown.
    problems : tuple of str
        What is missing, doubled, cut or blank; volumes are counted from 1 in it, as the scanner does.
    conflicts : tuple of str
        Files that claim to be one and the same and differ.
    """

    def __init__(self, label: str, found: _Found, echo: int = 1) -> None:
        self._echo = echo
        self.label, self.number, self.format = label, found.number, found.format
        self._whole = all(place == 0.0 for files in found.files.values() for place, _ in files)
        if not self._whole and found.n_slices is None:
            found.n_slices = max(len({_round(place) for place, _ in files}) for files in found.files.values())
        self._found = found
        self._opened: tuple[Path, dict[int, Volume]] | None = None
        doubled, conflicts = self._drop_doubles()
        lacking = self._drop_incomplete()
        self.indices = tuple(sorted(found.files))
        self.conflicts = tuple(conflicts)
        example = self.volume(0) if self.indices and not self._whole else found.example
        self.grid: tuple[int, ...] = tuple(example.data.shape) if example is not None else ()
        self.tr = example.tr if example is not None else float("nan")
        self.slice_times = example.slice_times if example is not None else ()
        notes = (f"{file}: {text}" for text, file in found.notes.items())
        self.problems = (*notes, *doubled, *found.cut, *lacking, *self._missing(), *self._timeless(example))

    def file(self, k: int) -> Path | None:
        """Where volume ``k`` lies as a file of its own; None when it lies in several, or with others in one."""
        if not self._whole:
            return None
        path = self._found.files[self.indices[k]][0][1]
        return None if path in self._found.shared else path

    def volume(self, k: int) -> Volume:
        """Read volume ``k``.

        Raises
        ------
        RecordingError
            A file of it cannot be read.
        """
        paths = [path for _, path in self._found.files[self.indices[k]]]
        if self._whole:
            return self._whole_volume(paths[0], self.indices[k])
        return join_slices([read_slice(_bytes(path), path.name, self._echo) for path in paths])

    def _whole_volume(self, path: Path, index: int) -> Volume:
        # a file of many volumes is parsed once, not once for each
        if self._opened is None or self._opened[0] != path:
            images = read_content(_bytes(path), path.name, self._echo).images
            self._opened = path, {image.index: image for image in images if isinstance(image, Volume)}
        if index not in self._opened[1]:
            raise FormatError(f"{path.name}: volume {index + 1} is no longer in it")
        return self._opened[1][index]

    def _drop_doubles(self) -> tuple[list[str], list[str]]:
        # real exports repeat a file now and then, under another name
        doubled: list[str] = []
        conflicts: list[str] = []
        for index, files in self._found.files.items():
            kept: dict[float, Path] = {}
            for place, path in sorted(files, key=lambda item: item[1].name):
                if (other := kept.get(_round(place))) is None:
                    kept[_round(place)] = path
                elif np.array_equal(self._pixels(other, index), self._pixels(path, index)):
                    doubled.append(f"volume {index + 1} is there twice ({other.name}, {path.name}): one is left out")
                else:
                    conflicts.append(f"{other.name} and {path.name} both are volume {index + 1}, yet differ")
            self._found.files[index] = list(kept.items())
        return _shortened(doubled), conflicts

    def _pixels(self, path: Path, index: int) -> Array:
        if self._whole:
            return self._whole_volume(path, index).data
        return read_slice(_bytes(path), path.name, self._echo).pixels

    def _drop_incomplete(self) -> list[str]:
        lacking: list[str] = []
        if self._whole:
            return lacking
        for index, files in sorted(self._found.files.items()):
            if len(files) != self._found.n_slices:
                lacking.append(f"volume {index + 1} has {len(files)} of {self._found.n_slices} slices: left out")
                del self._found.files[index]
        return _shortened(lacking)

    def _missing(self) -> list[str]:
        if not self.indices:
            return []
        problems: list[str] = []
        gaps = [(before + 2, after) for before, after in pairwise(self.indices) if after > before + 1]
        if self.indices[0] > 0:
            gaps.insert(0, (1, self.indices[0]))
        if gaps:
            text = ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in gaps)
            problems.append(f"volumes missing: {text} of 1–{self.indices[-1] + 1}")
        if self._found.n_volumes is not None and self.indices[-1] + 1 < self._found.n_volumes:
            problems.append(f"ends after volume {self.indices[-1] + 1}; the header announces {self._found.n_volumes}")
        return problems

    def _timeless(self, example: Volume | None) -> list[str]:
        if blank := len(self._found.timeless & set(self.indices)):
            return [f"acquisition times are blank in {blank} of {len(self.indices)} volumes"]
        if self.indices and example is not None and example.onset is None:
            return ["acquisition times are those of the series, none is its volumes' own"]
        return []


def scan_dicom(folder: Path, echo: int = 1) -> tuple[list[DicomSeries], tuple[str, ...]]:
    """Find the series of volumes among the files of a folder (its subfolders are left alone).

    Parameters
    ----------
    folder : Path
    echo : int
        Which echo of a multi-echo scan, from 1.

    Returns
    -------
    series : list of DicomSeries
        By number. One without a whole volume is among them when a file of it is there, with a problem that says so.
    problems : tuple of str
        Of files that belong to none of them: damaged ones, and sound ones that are no fMRI volumes.
    """
    found: dict[str, _Found] = {}
    left_out: dict[str, list[str]] = {}
    problems: list[str] = []
    with warnings.catch_warnings():
        # pydicom warns of values that break the standard; what matters here is checked
        warnings.simplefilter("ignore")
        for path in _files(folder):
            try:
                _add(path, found, echo)
            except NotAnImageVolume as error:
                left_out.setdefault(str(error).removeprefix(f"{path.name}: "), []).append(path.name)
            except FormatError as error:
                problems.append(str(error))
    for reason, names in left_out.items():
        files = "1 file" if len(names) == 1 else f"{len(names)} files"
        some = ", ".join(names[:_NAMED_FILES]) + (" …" if len(names) > _NAMED_FILES else "")
        problems.append(f"{files} left out ({some}): {reason}")
    series: list[DicomSeries] = []
    for label, each in found.items():
        try:
            series.append(DicomSeries(label, each, echo))
        except RecordingError as error:
            problems.append(str(error))
    return sorted(series, key=lambda each: (each.number, each.label)), tuple(problems)


def _files(folder: Path) -> Iterable[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.is_file():
            continue
        with path.open("rb") as stream:
            start = stream.read(132)
        # other files may lie there; what calls itself DICOM and is not is told of
        if start[128:] == b"DICM" or path.suffix.lower() in {".dcm", ".ima"}:
            yield path


def _add(path: Path, found: dict[str, _Found], echo: int) -> None:
    header = parse_file(path)
    try:
        refuse_other_kinds(header, path.name)
        cut = ""
        try:
            frames, rows, columns = pixel_layout(header, path.name, path.stat().st_size)
        except IncompleteFile as error:
            cut = str(error)
            if "PixelData" not in header:
                raise
            frames, rows, columns = _announced(header)
        # where it lies and when it was taken stands in the header: its pixels need not be read for that
        blank = np.broadcast_to(np.zeros((), np.uint16), (frames, rows, columns))
        content = content_of(header, blank, path.name, echo, lossy_notes(header))
        label = series_label(header, path.name)
        each = found.setdefault(label, _Found(_format(header, content), series_number(header)))
    except FormatError:
        raise
    except DAMAGE as error:
        raise FormatError(f"{path.name}: damaged DICOM header ({type(error).__name__})") from error
    if cut:
        each.cut.append(f"{cut}: left out")
    for note in content.notes:
        each.notes.setdefault(note, path.name)
    if len(content.images) > 1:
        each.shared.add(path)
    for image in content.images:
        if isinstance(image, Slice):
            each.n_slices, each.n_volumes = image.n_slices or each.n_slices, image.n_volumes or each.n_volumes
            # 0 stands for a whole volume
            index, place, onset = image.volume, image.place or 1e-9, image.acquired
        else:
            each.example = each.example or image
            index, place, onset = image.index, 0.0, image.onset
        if onset is None:
            each.timeless.add(index)
        if not cut:
            each.files.setdefault(index, []).append((place, path))


def _announced(header: Dataset) -> tuple[int, int, int]:
    values: list[Any] = [header.get("NumberOfFrames", 1) or 1, header["Rows"].value, header["Columns"].value]
    frames, rows, columns = (int(value) for value in values)
    return frames, rows, columns


def _format(header: Dataset, content: Content) -> str:
    image = content.images[0]
    if isinstance(image, Slice):
        return f"DICOM ({image.vendor})"
    if sop_class(header) != ENHANCED_MR_IMAGE:
        return "DICOM (Siemens mosaic)"
    maker = str(header.get("Manufacturer", "") or "").upper()
    return "DICOM (Siemens XA enhanced)" if maker.startswith("SIEMENS") else "DICOM (enhanced)"


def _round(place: float) -> float:
    return round(place, _SAME_PLACE_DIGITS)


def _shortened(lines: list[str]) -> list[str]:
    return (
        lines if len(lines) <= _NAMED_FILES else [*lines[:_NAMED_FILES], f"{len(lines) - _NAMED_FILES} more of these"]
    )


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RecordingError(f"{path.name}: cannot be read ({error.strerror})") from error
