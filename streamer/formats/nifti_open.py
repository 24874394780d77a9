"""Opening NIfTI images: what their headers say is held against their size and against sense before voxels are read.

Units and orientations in these headers are often wrong or absent. What can be put right is, and is told among the
problems; left and right are never guessed in silence.
"""

from __future__ import annotations

import gzip
import io
import logging
import math
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nibabel import nifti1, nifti2
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from streamer.errors import FormatError, IncompleteFile
from streamer.messages import F64

# what is wrong with a header is said by our errors, not by lines that nibabel prints besides
logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)

MAX_BYTES = 8 * 2**30
MAX_VOXELS = 2**26
VOXEL_RANGE_MM = (0.1, 50.0)
_NIFTI_2 = {b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c"}
_MAGIC = {b"n+1\0", b"ni1\0", b"n+2\0", b"ni2\0"}
_MAGIC_AT = {nifti1.Nifti1Header: 344, nifti2.Nifti2Header: 4}
_UNITS_MM = {"meter": 1000.0, "mm": 1.0, "micron": 1e-3, "unknown": 1.0}
# no real image is that large and packs so well
_BOMB_BYTES, _BOMB_RATIO = 512 * 2**20, 100
_DAMAGE = (
    ImageFileError,
    HeaderDataError,
    WrapStructError,
    ArithmeticError,
    EOFError,
    KeyError,
    OSError,
    TypeError,
    ValueError,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class OpenImage:
    """A NIfTI image whose voxels are still to be read."""

    name: str
    header: Any
    voxels: ArrayProxy
    """Shape (x, y, z, volumes); scaled when they are indexed."""
    affine: F64
    """Voxel index to RAS+ mm, shape (4, 4)."""
    problems: tuple[str, ...]


def open_nifti(source: Path | bytes, name: str | None = None) -> OpenImage:
    """Open a NIfTI-1 or NIfTI-2 image.

    Parameters
    ----------
    source : Path or bytes
        A .nii, a .nii.gz, a .hdr or .img with the other one beside it; or the content of one of the first two.
    name : str or None
        How errors call it; by default the file's name.

    Raises
    ------
    IncompleteFile
        The file ends too early.
    FormatError
        Not NIfTI, not 3-D or 4-D, of values that are no real numbers, absurdly large, or nowhere in space.
    """
    name = name or (source.name if isinstance(source, Path) else "NIfTI data")
    with _damage(name):
        where, start, size = _locate(source, name)
        kind = _kind(start, name)
        header: Any = kind(start[: kind.sizeof_hdr], check=False)
        dtype, offset, shape = header.get_data_dtype(), int(header.get_data_offset()), header.get_data_shape()
        shape = tuple(int(n) for n in shape)
        slope, inter = header.get_slope_inter()
    n_volumes, volume_bytes = _layout(shape, dtype, name)
    if offset < 0:
        raise FormatError(f"{name}: voxels at byte {offset}")
    needed = offset + n_volumes * volume_bytes
    if needed > MAX_BYTES:
        raise FormatError(f"{name}: {needed} bytes announced, expected at most {MAX_BYTES}")
    if size < needed:
        raise IncompleteFile(f"{name}: {size} of {needed} bytes")
    with _damage(name):
        voxels = ArrayProxy(where, ((*shape[:3], n_volumes), dtype, offset, slope or 1.0, inter or 0.0))
        affine, problems = _geometry(header)
    if not np.isfinite(affine).all() or abs(float(np.linalg.det(affine[:3, :3]))) < 1e-9:
        raise FormatError(f"{name}: the affine is singular or not finite")
    return OpenImage(name, header, voxels, affine, tuple(problems))


@contextmanager
def _damage(name: str) -> Generator[None]:
    try:
        # values of a damaged header overflow on their way
        with np.errstate(all="ignore"):
            yield
    except FormatError:
        raise
    except FileNotFoundError as error:
        raise FormatError(f"{name}: no such file") from error
    except _DAMAGE as error:
        raise FormatError(f"{name}: not a NIfTI image ({type(error).__name__})") from error


def _locate(source: Path | bytes, name: str) -> tuple[Any, bytes, int]:
    # where the voxels are, the first bytes of the header, and how many bytes there are from the voxels' file
    if isinstance(source, bytes) or source.suffix == ".gz":
        content = source if isinstance(source, bytes) else source.read_bytes()
        content = _unzip(content, name)
        return io.BytesIO(content), content[: nifti2.Nifti2Header.sizeof_hdr], len(content)
    where = source
    if source.suffix in {".hdr", ".img"}:
        source, where = source.with_suffix(".hdr"), source.with_suffix(".img")
        if not where.is_file():
            raise IncompleteFile(f"{name}: no {where.suffix} beside it")
    with source.open("rb") as stream:
        start = stream.read(nifti2.Nifti2Header.sizeof_hdr)
    return where, start, where.stat().st_size


def _kind(start: bytes, name: str) -> Any:
    kind = nifti2.Nifti2Header if start[:4] in _NIFTI_2 else nifti1.Nifti1Header
    if len(start) < kind.sizeof_hdr:
        raise IncompleteFile(f"{name}: {len(start)} bytes, expected a NIfTI header of {kind.sizeof_hdr}")
    at = _MAGIC_AT[kind]
    if start[at : at + 4] not in _MAGIC:
        # Analyze 7.5, its ancestor, does not say which side is left
        raise FormatError(f"{name}: not a NIfTI image (it does not say that it is one)")
    return kind


def _layout(shape: tuple[int, ...], dtype: np.dtype[Any], name: str) -> tuple[int, int]:
    # volumes, and bytes of one
    if len(shape) not in (3, 4) or min(shape) < 1:
        raise FormatError(f"{name}: shape {shape}, expected 3 or 4 axes")
    if dtype.kind not in "iuf":
        raise FormatError(f"{name}: values are colours or complex, expected real numbers")
    if math.prod(shape[:3]) > MAX_VOXELS:
        raise FormatError(
            f"{name}: {math.prod(shape) * dtype.itemsize} bytes announced in volumes of {shape[:3]}, expected at most "
            f"{MAX_VOXELS} voxels each"
        )
    return (shape[3] if len(shape) == 4 else 1), math.prod(shape[:3]) * dtype.itemsize


def _unzip(content: bytes, name: str) -> bytes:
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            head = stream.read(nifti2.Nifti2Header.sizeof_hdr)
            kind = _kind(head, name)
            # what the header announces and a little more: a small file may unpack to more than the memory holds
            header = kind(head[: kind.sizeof_hdr], check=False)
            needed = int(header["vox_offset"]) + math.prod(header.get_data_shape()) * header.get_data_dtype().itemsize
            most = MAX_BYTES if needed <= _BOMB_RATIO * len(content) else _BOMB_BYTES
            if not 0 < needed <= most:
                raise FormatError(f"{name}: {needed} bytes announced, expected at most {most}")
            return head + stream.read(needed + 1 - len(head))
    except EOFError as error:
        raise IncompleteFile(f"{name}: the compressed data ends too early") from error


def _geometry(header: Any) -> tuple[F64, list[str]]:
    problems: list[str] = []
    (sform, s_code), (qform, q_code) = header.get_sform(coded=True), header.get_qform(coded=True)
    affine = np.asarray(header.get_best_affine(), np.float64)
    if not s_code and not q_code:
        problems.append("neither sform nor qform says where it lies: left and right are not known")
    if s_code and q_code:
        corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], float)
        corners[:, :3] *= np.array(header.get_data_shape()[:3], float) - 1
        apart = float(np.linalg.norm(corners @ (np.asarray(sform) - np.asarray(qform)).T, axis=1).max())
        if np.linalg.det(sform[:3, :3]) * np.linalg.det(qform[:3, :3]) < 0:
            problems.append("sform and qform differ in which side is left: the sform is taken")
        elif apart > 0.5 * float(np.linalg.norm(affine[:3, :3], axis=0).min()):
            problems.append(f"sform and qform lie {apart:.1f} mm apart: the sform is taken")
    try:
        unit = str(header.get_xyzt_units()[0])
    except KeyError:
        # a code that the standard does not know says as little as none
        unit = "unknown"
    size = np.linalg.norm(affine[:3, :3], axis=0)
    low, high = VOXEL_RANGE_MM
    for key in dict.fromkeys((unit, *_UNITS_MM)):
        scaled = size * _UNITS_MM.get(key, 1.0)
        if scaled.min() >= low and scaled.max() <= high:
            if key != unit:
                problems.append(f"voxels of {size.min():g} to {size.max():g} with the unit {unit}: taken in {key}")
            affine = affine.copy()
            affine[:3] *= _UNITS_MM[key]
            break
    return affine, problems
