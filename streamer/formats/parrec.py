"""Philips PAR/REC: a text table of images (.PAR) beside their stored values (.REC).

A scan lies in one pair of files, or, as research exports write it, in a pair for each volume. nibabel parses the table
and derives the geometry; values are read here, one volume at a time, whatever order the scanner stored them in.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.parrec import PARRECError, PARRECHeader, parse_PAR_header

from streamer.errors import FormatError, IncompleteFile
from streamer.formats.volume_series import VolumeSeries
from streamer.messages import F64, Array

TR_RANGE_S = (0.05, 30.0)
MAX_TABLE_BYTES = 64 * 2**20
MAX_SIDE, MAX_SLICES, MAX_COUNT = 4096, 512, 100_000
_MAGNITUDE = 0
_REC_SUFFIXES = {".PAR": ".REC", ".par": ".rec"}
_DAMAGE = (
    PARRECError,
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    UnicodeError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one volume lies and how its values become signal."""

    rec: Path
    index: int
    offsets: tuple[int, ...]
    slopes: F64
    intercepts: F64
    began: float


class ParRecSeries(VolumeSeries):
    """The volumes of a Philips scan, read when they are asked for.

    Attributes
    ----------
    indices : tuple of int
        Acquisition number of each volume, from 0.
    """

    def __init__(self, paths: Sequence[Path], tr: float | None = None, echo: int = 1) -> None:
        self.name = paths[0].name
        self.slice_times: tuple[float, ...] = ()
        problems: list[str] = []
        places: dict[int, _Place] = {}
        geometry: tuple[tuple[int, ...], F64, np.dtype[Any], float] | None = None
        for path in paths:
            try:
                table = _read_table(path)
                if geometry is not None and (
                    table.shape != geometry[0] or not np.allclose(table.affine, geometry[1], atol=1e-3)
                ):
                    raise FormatError(f"{path.name}: another grid than {self.name}")
                found = _places(path, table, problems, echo=echo, by_acquisition=len(paths) > 1)
            except FormatError as error:
                if len(paths) == 1:
                    raise
                problems.append(str(error))
                continue
            geometry = geometry or (table.shape, table.affine, table.dtype, table.tr)
            for place in found:
                if place.index in places:
                    problems.append(f"{path.name}: volume {place.index + 1} is there twice; left out")
                places.setdefault(place.index, place)
        if geometry is None or not places:
            raise IncompleteFile(f"{self.name}: no whole volume in it" + "".join(f" ({text})" for text in problems[:1]))
        self.shape, self.affine, self._dtype, header_tr = geometry
        self._places = tuple(places[index] for index in sorted(places))
        self.indices = tuple(place.index for place in self._places)
        self.tr = self._repetition_time(header_tr, tr, problems)
        self.problems = tuple(dict.fromkeys(problems))

    def _repetition_time(self, header_tr: float, given: float | None, problems: list[str]) -> float:
        low, high = TR_RANGE_S
        if low <= header_tr <= high:
            return round(header_tr, 6)
        first, last = self._places[0], self._places[-1]
        spacing = (last.began - first.began) / (last.index - first.index) if last.index > first.index else 0.0
        if low <= spacing <= high:
            problems.append(
                f"repetition time {header_tr * 1000:g} ms in the header: {spacing:g} s by the volumes' times"
            )
            return round(spacing, 6)
        if given is None:
            raise FormatError(
                f"{self.name}: repetition time {header_tr * 1000:g} ms, expected {low * 1000:g} to {high * 1000:g}"
            )
        problems.append(f"repetition time {header_tr * 1000:g} ms in the header: {given:g} s as given")
        return given

    def __len__(self) -> int:
        return len(self._places)

    def _read(self, k: int) -> tuple[Array, str, int]:
        place = self._places[k]
        data = self.stored(k)
        if np.any(place.slopes != 1.0) or np.any(place.intercepts != 0.0):
            data = (data * place.slopes + place.intercepts).astype(np.float32)
        return data, "parrec", place.index

    def stored(self, k: int) -> Array:
        """Values of volume ``k`` as they are stored, without scale, shape (x, y, z)."""
        place = self._places[k]
        columns, rows, n_slices = self.shape
        n_bytes = columns * rows * self._dtype.itemsize
        parts: list[bytes] = []
        try:
            with place.rec.open("rb") as stream:
                for offset in place.offsets:
                    stream.seek(offset)
                    parts.append(stream.read(n_bytes))
        except OSError as error:
            raise FormatError(f"{place.rec.name}: cannot be read ({error.strerror})") from error
        raw = b"".join(parts)
        if len(raw) < n_bytes * n_slices:
            raise IncompleteFile(f"{place.rec.name}: volume {place.index + 1} is cut")
        planes = np.frombuffer(raw, self._dtype).reshape(n_slices, rows, columns)
        # rows bottom up, as all readers here have them
        return np.ascontiguousarray(planes.transpose(2, 1, 0)[:, ::-1])


def read_parrec(path: Path, tr: float | None = None, echo: int = 1) -> ParRecSeries:
    """Open a scan.

    Parameters
    ----------
    path : Path
        A .PAR with its .REC beside it, or a folder of such pairs that hold one scan.
    tr : float or None
        Repetition time in s where neither header nor times tell.
    echo : int
        Which echo of a multi-echo scan, from 1.

    Raises
    ------
    IncompleteFile
        No whole volume is in it.
    FormatError
        Not PAR/REC, or a repetition time that is no plausible one.
    """
    if not path.is_dir():
        return ParRecSeries([path], tr, echo)
    tables = par_files(path)
    if not tables:
        raise FormatError(f"{path.name}: no .PAR file in it")
    return ParRecSeries(tables, tr, echo)


def par_files(folder: Path) -> list[Path]:
    """The .PAR files in a folder, by name; files of other programs that end in .par are passed over."""
    return sorted(path for path in folder.iterdir() if path.suffix in _REC_SUFFIXES and _is_table(path))


def _is_table(path: Path) -> bool:
    if path.name.startswith(".") or not path.is_file():
        return False
    with path.open("rb") as stream:
        return b"DATA DESCRIPTION FILE" in stream.read(256)


@dataclass(frozen=True, slots=True)
class _Table:
    shape: tuple[int, ...]
    affine: F64
    dtype: np.dtype[Any]
    tr: float
    acquisition: int
    images: Any


def _read_table(path: Path) -> _Table:
    try:
        # names and dates in the general part of the table go no further than here
        if (size := path.stat().st_size) > MAX_TABLE_BYTES:
            raise FormatError(f"{path.name}: a table of {size} bytes, expected at most {MAX_TABLE_BYTES}")
        with warnings.catch_warnings(), path.open("rt", encoding="latin-1") as stream:
            warnings.simplefilter("ignore")
            general, images = parse_PAR_header(stream)
            # nibabel counts up to what is announced
            _require_counts(general, path.name)
            header: Any = PARRECHeader(general, images, permit_truncated=True)
            affine = np.asarray(header.get_affine(), np.float64)
            columns, rows, *_ = header.get_data_shape()
            shape = (int(columns), int(rows), int(general["max_slices"]))
            tr = float(np.atleast_1d(general["repetition_time"])[0]) / 1000.0
            table = _Table(shape, affine, np.dtype(header.get_data_dtype()), tr, int(general["acq_nr"]), images)
    except FormatError:
        raise
    except FileNotFoundError as error:
        raise FormatError(f"{path.name}: no such file") from error
    except _DAMAGE as error:
        raise FormatError(f"{path.name}: not a PAR table ({type(error).__name__})") from error
    if not (min(table.shape) > 0 and max(table.shape[:2]) <= MAX_SIDE and table.shape[2] <= MAX_SLICES):
        raise FormatError(f"{path.name}: volumes of {table.shape}, expected at most {(MAX_SIDE, MAX_SIDE, MAX_SLICES)}")
    if not np.isfinite(affine).all() or abs(float(np.linalg.det(affine[:3, :3]))) < 1e-9:
        raise FormatError(f"{path.name}: the geometry is singular or not finite")
    flip = np.eye(4)
    flip[1, 1], flip[1, 3] = -1.0, rows - 1
    return _Table(shape, affine @ flip, table.dtype, tr, table.acquisition, images)


def _require_counts(general: Any, name: str) -> None:
    for key in general:
        # what is announced: slices, dynamics, echoes, mixes ...
        if key.startswith(("max_", "nr_")):
            most = MAX_SLICES if key == "max_slices" else MAX_COUNT
            if int(general[key]) > most:
                raise FormatError(f"{name}: {key} {int(general[key])}, expected at most {most}")


def _places(path: Path, table: _Table, problems: list[str], *, echo: int, by_acquisition: bool) -> list[_Place]:
    rec = path.with_suffix(_REC_SUFFIXES.get(path.suffix, ".REC"))
    if not rec.is_file():
        raise FormatError(f"{path.name}: no {rec.name} beside it")
    size = rec.stat().st_size
    images = _magnitudes(table.images, echo, path.name, problems)
    columns, rows, n_slices = table.shape
    n_bytes = columns * rows * table.dtype.itemsize
    places: list[_Place] = []
    for dynamic in sorted({int(value) for value in images["dynamic scan number"]}):
        volume = images[images["dynamic scan number"] == dynamic]
        volume = volume[np.argsort(volume["slice number"], kind="stable")]
        number = table.acquisition if by_acquisition else dynamic
        if [int(value) for value in volume["slice number"]] != list(range(1, n_slices + 1)):
            problems.append(f"{path.name}: volume {number} has {len(volume)} of {n_slices} slices; left out")
            continue
        offsets = tuple(int(value) * n_bytes for value in volume["index in REC file"])
        if min(offsets) < 0 or number < 1:
            raise FormatError(f"{path.name}: volume {number} at byte {min(offsets)}, expected 1 or more and 0 or more")
        if max(offsets) + n_bytes > size:
            problems.append(f"{rec.name}: {size} bytes, the file ends before volume {number} does; left out")
            continue
        slopes, intercepts = (np.asarray(volume[key], float) for key in ("rescale slope", "rescale intercept"))
        if not (np.isfinite(slopes).all() and np.isfinite(intercepts).all() and np.all(slopes != 0)):
            raise FormatError(f"{path.name}: a rescale slope or intercept is no finite number, or 0")
        began = float(volume["dyn_scan_begin_time"][0]) if "dyn_scan_begin_time" in images.dtype.names else math.nan
        places.append(_Place(rec, number - 1, offsets, slopes, intercepts, began))
    return places


def _magnitudes(images: Any, echo: int, name: str, problems: list[str]) -> Any:
    # one image of each slice and time: one echo, and the magnitude, which alone is never below 0
    echoes = sorted(set(images["echo number"].tolist()))
    if echo not in echoes:
        raise FormatError(f"{name}: echo {', '.join(str(each) for each in echoes[:8])}, expected echo {echo}")
    if len(echoes) > 1:
        problems.append(f"echoes {', '.join(str(each) for each in echoes[:8])}: echo {echo} is taken")
    kept = images[images["echo number"] == echo]
    for key in ("cardiac phase number", "label type"):
        if key in kept.dtype.names and len(set(kept[key].tolist())) > 1:
            kept = kept[kept[key] == min(kept[key])]
            problems.append(f"several images of each slice by {key}: the first is taken")
    kinds = sorted({int(value) for value in kept["image_type_mr"]})
    if len(kinds) > 1:
        signed = {int(row["image_type_mr"]) for row in kept if row["rescale intercept"] < 0}
        chosen = next((kind for kind in (_MAGNITUDE, *kinds) if kind in kinds and kind not in signed), kinds[0])
        kept = kept[kept["image_type_mr"] == chosen]
        others = ", ".join(str(kind) for kind in kinds if kind != chosen)
        problems.append(f"images of type {others} beside those of type {chosen} (the magnitude) are left out")
    return kept
