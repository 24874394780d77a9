"""NIfTI-1 and NIfTI-2 in and out: series, single volumes and label images.

Time in a NIfTI header has a unit that many programs set wrongly or not at all: a repetition time that makes no sense in
its unit is taken in the one in which it does, which is said among the problems of the series.
"""

from __future__ import annotations

import csv
import gzip
import math
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nibabel import nifti1
from nibabel.spatialimages import HeaderDataError

from streamer.errors import FormatError, IncompleteFile
from streamer.formats.nifti_open import MAX_BYTES, OpenImage, open_nifti
from streamer.formats.volume_series import VolumeSeries
from streamer.messages import F64, Array

__all__ = ["MAX_BYTES", "LabelImage", "NiftiSeries", "read_labels", "read_nifti", "write_labels", "write_nifti"]

TR_RANGE_S = (0.05, 30.0)
_LEAST_SPREAD = 0.02
_UNITS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}


@dataclass(frozen=True, slots=True)
class LabelImage:
    """Regions as an image of integers."""

    data: Array
    """int16, shape (x, y, z): 0 outside, i + 1 in the region ``names[i]``."""
    affine: F64
    """Voxel index to RAS+ mm, shape (4, 4)."""
    names: tuple[str, ...]


class NiftiSeries(VolumeSeries):
    """The volumes of one NIfTI image, read when they are asked for."""

    def __init__(self, image: OpenImage, tr: float | None = None) -> None:
        self.name = image.name
        self.affine: F64 = image.affine
        self._voxels = image.voxels
        shape = tuple(int(n) for n in image.voxels.shape)
        self.shape, self._n_volumes = shape[:3], shape[3]
        self.tr, *problems = _repetition_time(image.header, image.name, tr)
        self.problems: tuple[str, ...] = (*image.problems, *problems)
        self.slice_times = _slice_times(image.header, self.tr)

    def __len__(self) -> int:
        return self._n_volumes

    def _read(self, k: int) -> tuple[Array, str, int]:
        data = _voxels(self._voxels, k, self.name)
        if data.dtype.str[1:] not in {"i2", "u2"}:
            with np.errstate(over="ignore", invalid="ignore"):
                # what does not fit becomes infinite, which the lane refuses
                data = data.astype(np.float32)
        return np.ascontiguousarray(data).astype(data.dtype.newbyteorder("="), copy=False), "nifti", k


def read_nifti(source: Path | bytes, name: str | None = None, tr: float | None = None) -> NiftiSeries:
    """Open a NIfTI image of one volume or many.

    Parameters
    ----------
    source : Path or bytes
        A .nii or .nii.gz, or its content; a .hdr or .img with the other one beside it.
    name : str or None
        How errors call it; by default the file's name.
    tr : float or None
        Repetition time in s where the header has none.

    Raises
    ------
    IncompleteFile
        The file ends too early.
    FormatError
        Not NIfTI, not 3-D or 4-D, of colours or complex numbers, absurdly large, or without a plausible repetition
        time.
    """
    return NiftiSeries(open_nifti(source, name), tr)


def read_labels(labels: Path, names: Path | None = None) -> LabelImage:
    """Read regions.

    Parameters
    ----------
    labels : Path
        A 3-D NIfTI of integers.
    names : Path or None
        A table (TSV) with the columns ``index`` and ``name``: its regions are taken, in its order; labels that it
        does not name are left out. Without it every label is a region, called ``region-<label>``.

    Raises
    ------
    FormatError
        Values are not whole, the table is not as expected, or a region that it names has no voxel.
    """
    image = open_nifti(labels)
    name = image.name
    if image.voxels.shape[3] != 1:
        raise FormatError(f"{name}: 4 axes, expected a 3-D image of labels")
    data = _voxels(image.voxels, 0, name)
    if not np.isfinite(data).all() or np.any(data != np.round(data)) or np.any(data < 0):
        raise FormatError(f"{name}: values that are not whole numbers from 0, expected labels")
    values = data.astype(np.int64)
    present = {int(value) for value in np.unique(values)} - {0}
    if not present:
        raise FormatError(f"{name}: no voxel is labelled")
    table = _read_names(names) if names is not None else [(value, f"region-{value}") for value in sorted(present)]
    if absent := [f"{label} ({index})" for index, label in table if index not in present]:
        raise FormatError(f"{name}: no voxel has the label of {', '.join(absent)}; present: {sorted(present)}")
    if len(table) > np.iinfo(np.int16).max:
        raise FormatError(f"{name}: {len(table)} regions, expected at most {np.iinfo(np.int16).max}")
    out = np.zeros(values.shape, np.int16)
    for position, (index, _) in enumerate(table, start=1):
        out[values == index] = position
    return LabelImage(out, image.affine, tuple(label for _, label in table))


def write_labels(image: LabelImage, labels: Path, names: Path) -> None:
    """Write regions as :func:`read_labels` reads them: a NIfTI of integers, and the table of their names."""
    write_nifti(labels, image.data, image.affine)
    rows = "".join(f"{index}\t{name}\n" for index, name in enumerate(image.names, start=1))
    names.write_text(f"index\tname\n{rows}", encoding="utf-8")


def write_nifti(path: Path, data: Array, affine: F64, tr: float | None = None) -> None:
    """Write a NIfTI-1 image; the file appears whole or not at all.

    Parameters
    ----------
    path : Path
        Ends in .nii or .nii.gz; an existing file is replaced.
    data : array, shape (x, y, z) or (x, y, z, t)
        Whole numbers that fit are written as int16, everything else as float32.
    affine : array, shape (4, 4)
        Voxel index to RAS+ mm; written as sform and qform.
    tr : float or None
        s.
    """
    if not path.name.endswith((".nii", ".nii.gz")):
        raise ValueError(f"file name is {path.name!r}: expected .nii or .nii.gz")
    limits = np.iinfo(np.int16)
    whole = np.issubdtype(data.dtype, np.integer) or data.dtype == np.bool_
    fits = whole and (not data.size or (int(data.min()) >= limits.min and int(data.max()) <= limits.max))
    image = nifti1.Nifti1Image(data.astype(np.int16 if fits else np.float32, copy=False), affine)
    image.header.set_xyzt_units("mm", "sec")
    if tr is not None:
        image.header["pixdim"][4] = tr
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1, strip_shears=True)
    content = image.to_bytes()
    if path.suffix == ".gz":
        content = gzip.compress(content, compresslevel=5, mtime=0)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _voxels(voxels: Any, k: int, name: str) -> Array:
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(voxels[..., k])
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise IncompleteFile(f"{name}: volume {k} cannot be read, the file ends before it") from error


def _repetition_time(header: Any, name: str, fallback: float | None) -> tuple[float] | tuple[float, str]:
    # in s, and what had to be put right
    pixdim = float(header["pixdim"][4])
    unit = _time_unit(header)
    low, high = TR_RANGE_S
    for scale, label in dict.fromkeys(((_UNITS.get(unit, 1.0), unit), *((_UNITS[key], key) for key in _UNITS))):
        seconds = pixdim * scale
        if math.isfinite(seconds) and low <= seconds <= high:
            # a float32 of 1.97 is 1.97000002861: the decimal that was meant is what is kept
            tr = round(seconds, 6)
            if label == unit and unit in _UNITS:
                return (tr,)
            return tr, f"repetition time {pixdim:g} with the unit {unit}: taken as {tr:g} s"
    if fallback is None:
        raise FormatError(
            f"{name}: repetition time {pixdim:g} in the header with the unit {unit}, expected {low} to {high} s"
        )
    return fallback, f"repetition time {pixdim:g} in the header: {fallback:g} s as given"


def _time_unit(header: Any) -> str:
    try:
        return str(header.get_xyzt_units()[1])
    except KeyError:
        # a code that the standard does not know says as little as none
        return "unknown"


def _slice_times(header: Any, tr: float) -> tuple[float, ...]:
    try:
        if header.get_dim_info()[2] != 2:
            # slices along another axis than z, or along none that is known
            return ()
        times = [float(value) for value in header.get_slice_times() if value is not None]
    except (HeaderDataError, KeyError, ValueError, ZeroDivisionError):
        return ()
    # the unit is trusted no more than that of the repetition time: the coarsest in which they fit into it
    unit = next((scale for scale in _UNITS.values() if times and max(times) * scale <= tr), 1.0)
    seconds = tuple(value * unit for value in times)
    if len(seconds) > 1 and max(seconds) < _LEAST_SPREAD * tr:
        # all at once, or in no unit that makes sense
        return ()
    fits = len(seconds) == int(header.get_data_shape()[2]) and all(0.0 <= value <= tr for value in seconds)
    return seconds if fits else ()


def _read_names(path: Path) -> list[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
    except FileNotFoundError as error:
        raise FormatError(f"{path.name}: no such file") from error
    except UnicodeDecodeError as error:
        raise FormatError(f"{path.name}: not UTF-8 text") from error
    try:
        table = [(int(row["index"]), row["name"].strip()) for row in rows]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(
            f"{path.name}: expected the columns index (a whole number) and name, tab-separated"
        ) from error
    if not table:
        raise FormatError(f"{path.name}: no region in the table")
    if len({index for index, _ in table}) < len(table) or len({label for _, label in table}) < len(table):
        raise FormatError(f"{path.name}: an index or a name stands there twice")
    return table
