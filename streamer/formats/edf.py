"""The header of EDF, EDF+, BDF and BDF+ files, and when each data record began: what MNE does not tell.

Nothing is read of who was recorded.

References
----------
Kemp, B., Olivan, J. (2003). European data format 'plus' (EDF+), an EDF alike standard format for the exchange of
physiological data. Clinical Neurophysiology 114. https://doi.org/10.1016/S1388-2457(03)00123-8
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from streamer.errors import FormatError
from streamer.messages import F64

_FIXED = 256
_MAX_SIGNALS = 4096
_ANNOTATIONS = {"EDF Annotations", "BDF Annotations"}
_ONSET = re.compile(rb"([+-]\d{1,12}(?:\.\d{1,12})?)\x14\x14")


@dataclass(frozen=True)
class EdfHeader:
    """What a header says of its signals."""

    value_bytes: int
    """2 in EDF, 3 in BDF."""
    data_start: int
    """First byte of the first record."""
    record_s: float
    """Duration of a record, s; 0 when there are annotations only."""
    labels: tuple[str, ...]
    """Bytes as Latin-1, as MNE takes them: :func:`as_written` tells what was meant."""
    units: tuple[str, ...]
    """Likewise."""
    per_record: tuple[int, ...]
    """Samples in a record, per signal."""
    n_records: int
    """Whole records in the file."""
    interrupted: bool
    """Records need not follow each other without a pause (EDF+D, BDF+D)."""
    problems: tuple[str, ...]

    @property
    def is_signal(self) -> tuple[bool, ...]:
        """Tell for each signal whether it is one, and no text."""
        return tuple(label not in _ANNOTATIONS for label in self.labels)


def read_edf_header(path: Path) -> EdfHeader:
    """Read the header of a file.

    Raises
    ------
    FormatError
        It cannot be read, is no EDF or BDF, or holds no whole record.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            return _read(file, size)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    except FormatError as error:
        raise FormatError(f"{path.name}: {error}") from error


def as_written(text: str) -> str:
    """Tell what a label or unit says: the format demands ASCII, but UTF-8 and Latin-1 are met."""
    raw = text.encode("latin-1").strip(b" \0")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _read(file: BinaryIO, size: int) -> EdfHeader:
    fixed = file.read(_FIXED)
    if len(fixed) < _FIXED or fixed[:8] not in {b"0       ", b"\xffBIOSEMI"}:
        raise FormatError(f"begins with {fixed[:8]!r}, expected the header of EDF or BDF")
    value_bytes = 3 if fixed[:1] == b"\xff" else 2
    n_signals = int(_number(fixed[252:256], "number of signals"))
    if not 1 <= n_signals <= _MAX_SIGNALS:
        raise FormatError(f"{n_signals} signals, expected 1 to {_MAX_SIGNALS}")
    record_s = _number(fixed[244:252], "duration of a record")
    if record_s < 0:
        raise FormatError(f"records of {record_s} s, expected 0 or more")
    table = file.read(n_signals * _FIXED)
    if len(table) < n_signals * _FIXED:
        raise FormatError(f"ends in the middle of the header ({size} bytes)")

    def column(start: int, width: int) -> list[bytes]:
        first = start * n_signals
        return [table[first + k * width : first + (k + 1) * width] for k in range(n_signals)]

    per_record = tuple(int(_number(text, "number of samples in a record")) for text in column(216, 8))
    if min(per_record) < 1:
        raise FormatError(f"{min(per_record)} samples of a signal in a record, expected at least 1")
    data_start = _FIXED * (1 + n_signals)
    n_records, rest = divmod(size - data_start, value_bytes * sum(per_record))
    if n_records < 1:
        raise FormatError(f"{size} bytes: not one whole record")
    problems: list[str] = []
    said = int(_number(fixed[236:244], "number of records"))
    if rest:
        problems.append(f"ends in the middle of a record; the last {rest} bytes are left out")
    if said not in {n_records, -1}:
        problems.append(f"{n_records} whole records, but the header says {said}")
    return EdfHeader(
        value_bytes,
        data_start,
        record_s,
        tuple(_text(text) for text in column(0, 16)),
        tuple(_text(text) for text in column(96, 8)),
        per_record,
        n_records,
        re.match(rb"[EB]DF\+D", fixed[192:236]) is not None,
        tuple(problems),
    )


def read_record_onsets(path: Path, header: EdfHeader) -> F64:
    """Read when each record began, s after the first one, shape (n_records,); NaN where the record does not tell.

    Raises
    ------
    FormatError
        The file cannot be read, or has no signal of annotations, which alone tells.
    """
    signals = header.is_signal
    if all(signals):
        raise FormatError(f"{path.name}: says that it has pauses, but has no annotations that tell when")
    which = signals.index(False)
    before = header.value_bytes * sum(header.per_record[:which])
    width = header.value_bytes * header.per_record[which]
    record = header.value_bytes * sum(header.per_record)
    onsets = np.full(header.n_records, np.nan)
    try:
        with path.open("rb") as file:
            for k in range(header.n_records):
                file.seek(header.data_start + k * record + before)
                if found := _ONSET.match(file.read(width)):
                    onsets[k] = float(found[1])
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    return onsets - onsets[0]


def _number(text: bytes, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FormatError(f"{what} is {text.decode('latin-1').strip()!r}, expected a number")
    return value


def _text(raw: bytes) -> str:
    return raw.strip().decode("latin-1")
