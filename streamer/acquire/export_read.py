"""Files of the export directory to images: DICOM, NIfTI (one file, or a header and an image), PAR/REC.

A NIfTI file knows neither its series nor its place in it: both stand in its name. A 4-D file may grow: each volume is
given as soon as it is whole. Of two files that belong together, either may come first.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nibabel import nifti1, nifti2
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from streamer.acquire.export_files import ABSENT, ExportFiles, open_regular, read_whole, signature
from streamer.acquire.export_intake import shown_name
from streamer.errors import FormatError, IncompleteFile
from streamer.formats.dicom import Slice, read_content
from streamer.formats.nifti import read_nifti
from streamer.formats.parrec import read_parrec
from streamer.messages import Volume

MAX_VOLUME_BYTES = 256 * 2**20
_PARTNERS = {".hdr": ".img", ".HDR": ".IMG", ".par": ".rec", ".PAR": ".REC"}
_FIRST = {second: first for first, second in _PARTNERS.items()}
_NUMBERED = re.compile(r"^(?P<prefix>.*?)(?P<number>\d+)$")
_SERIES_NUMBER = re.compile(r"(?:^|_)(\d+)_$")
_ENDING = re.compile(r"\.(nii|nii\.gz|hdr|par)$", re.IGNORECASE)
_ACQUISITION = re.compile(rb"Acquisition nr\s*:\s*(\d+)")
_END_OF_TABLE = b"END OF DATA DESCRIPTION FILE"
_NIFTI_2 = {b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c"}
_MAGIC = {b"n+1", b"ni1", b"n+2", b"ni2"}
_NO_EXTENSION = bytes(4)


@dataclass(slots=True)
class _Series:
    """What a NIfTI or PAR file gives, and how many volumes it has given so far."""

    label: str
    first: int = 0
    given: int = 0
    generation: int = 1


class ExportReader:
    """Reads files, and remembers how far it has read those that grow.

    Parameters
    ----------
    files : ExportFiles
    tr_s : float or None
        Repetition time of NIfTI and PAR files that have none, s.
    first_number : int
        Number in the name of a series' first NIfTI file.
    echo : int
        Which echo of a multi-echo scan is read, from 1.

    Attributes
    ----------
    notes : tuple of str
        What was put right or left out in the file that was read last.
    """

    def __init__(self, files: ExportFiles, tr_s: float | None, first_number: int, echo: int = 1) -> None:
        self.notes: tuple[str, ...] = ()
        self._echo = echo
        self._files = files
        self._tr_s = tr_s
        self._first_number = first_number
        self._series: dict[str, _Series] = {}
        self._numbered: set[str] = set()

    def parts(self, path: str) -> tuple[str, ...]:
        """The files that are read together with this one, the one that stands for them first."""
        stem, ending = os.path.splitext(path)  # noqa: PTH122
        if ending in _PARTNERS:
            return path, stem + _PARTNERS[ending]
        if ending in _FIRST:
            return stem + _FIRST[ending], path
        return (path,)

    def signature(self, parts: tuple[str, ...]) -> tuple[int, ...] | None:
        """Signature of all parts; None when there is no regular file. Raises as ``ExportFiles.status`` does."""
        found = [self._files.status(path) for path in parts]
        if all(status is None for status in found):
            return None
        return tuple(value for status in found for value in (ABSENT if status is None else signature(status)))

    def images(self, parts: tuple[str, ...]) -> Iterator[Volume | Slice]:
        """Read what was not given before; an image counts as given when the next one is asked for.

        Raises
        ------
        IncompleteFile
            After what is whole: more is to come.
        NotAnImageVolume, FormatError, OSError
            As the readers do.
        """
        name = shown_name(os.path.basename(parts[0]))  # noqa: PTH119 - bytes that are no UTF-8 stay as they are
        lower = parts[0].lower()
        self.notes = ()
        if len(parts) == 2:
            present = [self._files.status(path) is not None for path in parts]
            if not all(present):
                missing = shown_name(os.path.basename(parts[present.index(False)]))  # noqa: PTH119
                raise IncompleteFile(f"{name}: {missing} has not come")
        if lower.endswith(".par"):
            yield from self._parrec(parts, name)
        elif lower.endswith(".nii.gz"):
            yield from self._compressed(parts[0], name)
        elif lower.endswith((".nii", ".hdr")):
            yield from self._nifti(parts, name)
        else:
            content = read_content(read_whole(parts[0], name), name, self._echo)
            self.notes = content.notes
            yield from content.images

    def gave(self, parts: tuple[str, ...]) -> bool:
        """Whether a file of many volumes has given one."""
        series = self._series.get(parts[0])
        return series is not None and series.given > 0

    def _parrec(self, parts: tuple[str, ...], name: str) -> Iterator[Volume]:
        table = read_whole(parts[0], name)
        if _END_OF_TABLE not in table[-200:]:
            raise IncompleteFile(f"{name}: the table has no end yet")
        found = read_parrec(Path(parts[0]), self._tr_s, self._echo)
        acquisition = _ACQUISITION.search(table)
        if len(found) == 1 and acquisition is not None:
            # a pair for each volume, which the acquisition's number counts
            label = f"parrec-{_digest(self._prefix(parts[0])[0])}"
            yield replace(found[0], index=max(0, int(acquisition[1]) - 1), series=label)
            return
        series = self._series.setdefault(parts[0], _Series(f"parrec-{_digest(self._prefix(parts[0])[0])}"))
        yield from _further(series, found)
        if any("the file ends before" in text for text in found.problems):
            raise IncompleteFile(f"{name}: {len(found)} volumes are whole, the table has more")

    def _compressed(self, path: str, name: str) -> Iterator[Volume]:
        found = read_nifti(read_whole(path, name), name, self._tr_s)
        yield from _further(self._place(path, name, len(found), len(found)), found)

    def _nifti(self, parts: tuple[str, ...], name: str) -> Iterator[Volume]:
        head = _read_start(parts[0], name)
        header = _parse(head, name)
        offset, shape = int(header["vox_offset"]), tuple(int(n) for n in header.get_data_shape())
        size = math.prod(shape[:3]) * int(header.get_data_dtype().itemsize)
        if len(shape) not in {3, 4} or min(shape) < 1 or size > MAX_VOLUME_BYTES:
            raise FormatError(f"{name}: shape {shape}, expected 3 or 4 axes and at most {MAX_VOLUME_BYTES} bytes each")
        if not (0 if len(parts) == 2 else header.sizeof_hdr) <= offset <= MAX_VOLUME_BYTES:
            raise FormatError(f"{name}: values begin at byte {offset}, expected them after the header")
        announced = shape[3] if len(shape) == 4 else 1
        with open_regular(parts[-1], name) as stream:
            n_bytes = os.fstat(stream.fileno()).st_size
            there = min(announced, max(0, n_bytes - offset) // size)
            if there:
                series = self._place(parts[0], name, announced, there)
                for k in range(series.given if announced > 1 else 0, there):
                    stream.seek(offset + k * size)
                    volume = _single(header, stream.read(size), name, self._tr_s)
                    if announced > 1 and not volume.data.any():
                        raise IncompleteFile(f"{name}: volume {k + 1} of {announced} is not filled yet")
                    yield replace(volume, series=series.label, index=series.first + k)
                    series.given = max(series.given, k + 1)
        if there < announced:
            raise IncompleteFile(f"{name}: {n_bytes} bytes, volume {there + 1} of {announced} is not whole")

    def _place(self, path: str, name: str, announced: int, there: int) -> _Series:
        series = self._series.get(path)
        if series is not None:
            if there < series.given:
                # another run under the same name
                generation = series.generation + 1
                label = f"nifti-{_digest(self._prefix(path)[0])}-{generation}"
                series = self._series[path] = _Series(label, generation=generation)
            return series
        prefix, number = self._prefix(path)
        if announced > 1:
            if number is not None and prefix in self._numbered:
                raise FormatError(f"{name}: {announced} volumes, expected one a file as in those before it")
            series = _Series(f"nifti-{_digest(path)}")
        elif number is None:
            raise FormatError(f"{name}: the name ends in no number, expected one that counts the volumes")
        elif number < self._first_number:
            raise FormatError(f"{name}: number {number}, expected {self._first_number} or more")
        else:
            found = _SERIES_NUMBER.search(prefix)
            kind = f"s{int(found[1])}" if found else "nifti"
            series = _Series(f"{kind}-{_digest(prefix)}", number - self._first_number)
            self._numbered.add(prefix)
        self._series[path] = series
        return series

    def _prefix(self, path: str) -> tuple[str, int | None]:
        # what the files of a series have in common, and the number that tells them apart
        stem = _ENDING.sub("", os.path.relpath(path, self._files.root))
        numbered = _NUMBERED.match(stem)
        return (stem, None) if numbered is None else (numbered["prefix"], int(numbered["number"]))


def _further(series: _Series, found: Sequence[Volume]) -> Iterator[Volume]:
    for k in range(series.given if len(found) > 1 else 0, len(found)):
        index = found[k].index if len(found) > 1 else 0
        yield replace(found[k], series=series.label, index=series.first + index)
        series.given = max(series.given, k + 1)


def _read_start(path: str, name: str) -> bytes:
    with open_regular(path, name) as stream:
        return stream.read(nifti2.Nifti2Header.sizeof_hdr)


def _parse(head: bytes, name: str) -> Any:
    if len(head) < nifti1.Nifti1Header.sizeof_hdr:
        raise IncompleteFile(f"{name}: {len(head)} bytes, expected a NIfTI header")
    kind = nifti2.Nifti2Header if head[:4] in _NIFTI_2 else nifti1.Nifti1Header
    if len(head) < kind.sizeof_hdr:
        raise IncompleteFile(f"{name}: {len(head)} bytes, expected a NIfTI header")
    try:
        header: Any = kind(head[: kind.sizeof_hdr], check=False)
        header.get_data_shape()
        header.get_data_dtype()
    except (HeaderDataError, WrapStructError, KeyError, ValueError, TypeError) as error:
        raise FormatError(f"{name}: not a NIfTI header ({type(error).__name__})") from error
    if bytes(header["magic"].item())[:3] not in _MAGIC:
        raise FormatError(f"{name}: no NIfTI header (Analyze 7.5 tells nothing of the orientation)")
    return header


def _single(header: Any, values: bytes, name: str, tr_s: float | None) -> Volume:
    alone = header.copy()
    alone.set_data_shape(header.get_data_shape()[:3])
    # which forgets the repetition time
    alone["pixdim"] = header["pixdim"]
    alone["magic"] = header.single_magic
    alone["vox_offset"] = header.sizeof_hdr + len(_NO_EXTENSION)
    return read_nifti(alone.binaryblock + _NO_EXTENSION + values, name, tr_s)[0]


def _digest(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:8]
