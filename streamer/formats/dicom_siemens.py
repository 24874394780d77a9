"""What Siemens adds to DICOM for mosaics: the CSA header, the tiles, the geometry.

The CSA header ("SV10") is a table of named tags with text items. Only the tags that place a volume in space and time
are read; names and identifiers that it may hold never leave this module. The layout follows the description in the
SPM and nibabel documentation.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence

import numpy as np

from streamer.errors import FormatError
from streamer.messages import F64, Array

MAX_CSA_TAGS = 1000
CSA_MAGIC = b"SV10\x04\x03\x02\x01"
_TAG = struct.Struct("<64si4s3i")
_ITEM = struct.Struct("<4i")
_CHECK = 77


def read_csa(raw: bytes, wanted: frozenset[str]) -> dict[str, list[str]]:
    """Read the items of the ``wanted`` tags of a CSA image header, as text.

    Raises
    ------
    FormatError
        The header is not of version SV10, or its counts or lengths do not fit its size.
    """
    if raw[:4] != CSA_MAGIC[:4]:
        raise FormatError("CSA header of another version, expected one that starts with b'SV10'")
    if len(raw) < 16:
        raise FormatError(f"CSA header has {len(raw)} bytes: expected at least 16")
    (n_tags,) = struct.unpack_from("<I", raw, 8)
    if not 0 < n_tags <= MAX_CSA_TAGS:
        raise FormatError(f"CSA header announces {n_tags} tags: expected 1 to {MAX_CSA_TAGS}")
    found: dict[str, list[str]] = {}
    at = 16
    try:
        for _ in range(n_tags):
            name, _vm, _vr, _syngo, n_items, _check = _TAG.unpack_from(raw, at)
            at += _TAG.size
            if not 0 <= n_items <= MAX_CSA_TAGS:
                raise FormatError(f"a CSA tag announces {n_items} items: expected at most {MAX_CSA_TAGS}")
            items: list[str] = []
            for _ in range(n_items):
                length = _ITEM.unpack_from(raw, at)[1]
                at += _ITEM.size
                if not 0 <= length <= len(raw) - at:
                    raise FormatError(f"a CSA item announces {length} bytes where {len(raw) - at} are left")
                if length:
                    items.append(raw[at : at + length].split(b"\0", 1)[0].decode("latin-1").strip())
                at += (length + 3) // 4 * 4
            label = name.split(b"\0", 1)[0].decode("latin-1")
            if label in wanted:
                found[label] = [item for item in items if item]
    except struct.error as error:
        raise FormatError(f"CSA header of {len(raw)} bytes ends inside a tag") from error
    return found


def write_csa(tags: Mapping[str, tuple[str, Sequence[str]]]) -> bytes:
    """Write a CSA image header from ``name: (value representation, items)``."""
    parts = [CSA_MAGIC, struct.pack("<2I", len(tags), _CHECK)]
    for name, (vr, items) in tags.items():
        parts.append(_TAG.pack(name.encode(), len(items), vr.encode(), 0, len(items), _CHECK))
        for item in items:
            text = item.encode() + b"\0"
            parts.append(_ITEM.pack(len(text), len(text), _CHECK, len(text)))
            parts.append(text.ljust((len(text) + 3) // 4 * 4, b"\0"))
    return b"".join(parts)


def tiles_per_side(n_slices: int) -> int:
    """Count the tiles along one side of the mosaic of ``n_slices`` slices."""
    return math.isqrt(n_slices - 1) + 1


def split_mosaic(plane: Array, n_slices: int, *, reverse: bool) -> Array:
    """Cut a mosaic into a volume.

    Parameters
    ----------
    plane : array, shape (rows, columns)
        The mosaic image.
    n_slices : int
        Slices in it.
    reverse : bool
        Whether the slices stand in the mosaic against the direction of rows × columns.

    Returns
    -------
    volume : array, shape (x, y, z)
        Columns, rows (bottom up), slices: the storage order of dcm2niix. C-contiguous.
    """
    side = tiles_per_side(n_slices)
    rows, columns = plane.shape[0] // side, plane.shape[1] // side
    tiles = plane.reshape(side, rows, side, columns).transpose(0, 2, 1, 3).reshape(side * side, rows, columns)
    slices = tiles[:n_slices][::-1] if reverse else tiles[:n_slices]
    return np.ascontiguousarray(slices.transpose(2, 1, 0)[:, ::-1])


def join_mosaic(volume: Array) -> Array:
    """Lay the slices of a volume (x, y, z) out as a mosaic (rows, columns): the inverse of :func:`split_mosaic`."""
    columns, rows, n_slices = volume.shape
    side = tiles_per_side(n_slices)
    tiles = np.zeros((side * side, rows, columns), volume.dtype)
    tiles[:n_slices] = volume[:, ::-1].transpose(2, 1, 0)
    plane = tiles.reshape(side, side, rows, columns).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(plane).reshape(side * rows, side * columns)


def mosaic_affine(
    orientation: F64, position: F64, spacing: F64, slice_step: float, tile: tuple[int, int], n_slices: int, sign: int
) -> F64:
    """Voxel index of the volume of :func:`split_mosaic` to RAS+ mm, shape (4, 4).

    Parameters
    ----------
    orientation : array, shape (6,)
        ImageOrientationPatient: direction of increasing columns, then of increasing rows (LPS).
    position : array, shape (3,)
        ImagePositionPatient in mm (LPS): that of a plane as large as the whole mosaic, centred on the first slice.
    spacing : array, shape (2,)
        PixelSpacing in mm: between rows, between columns.
    slice_step : float
        Distance of slice centres, mm.
    tile : tuple of int
        Rows and columns of one slice.
    n_slices : int
        Slices in the mosaic.
    sign : int
        +1 when the mosaic's slices follow rows × columns, -1 when they go against it.
    """
    across, down = orientation[:3], orientation[3:]
    rows, columns = tile
    side = tiles_per_side(n_slices)
    step_x, step_y = across * spacing[1], down * spacing[0]
    step_z = np.cross(across, down) * slice_step
    first = position + step_x * (side - 1) * columns / 2 + step_y * (side - 1) * rows / 2
    if sign < 0:
        first = first - step_z * (n_slices - 1)
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1], lps[:3, 2] = step_x, -step_y, step_z
    lps[:3, 3] = first + step_y * (rows - 1)
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps
