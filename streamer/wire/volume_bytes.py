"""Volumes as bytes, for looking at: a header in JSON, and a byte per voxel and image.

All little-endian.

======  ========  ==================================================================
offset  type      what
======  ========  ==================================================================
0       4 bytes   ``EFVV``
4       uint16    schema, that of the JSON payloads
6       uint16    0
8       uint32    bytes of the header, a multiple of 4
12      JSON      the header, padded with blanks: index, series, received, shape, affine, images
…       int8      each image in the order of the header, x slowest; value = byte * scale, -128 unknown
======  ========  ==================================================================
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamer.errors import FormatError
from streamer.messages import F32, F64
from streamer.wire.payloads import SCHEMA

VOLUME_MAGIC = b"EFVV"
UNKNOWN = -128
MAX_VOXELS = 2**24
"""More is no volume for looking at."""
_HEADER = struct.Struct("<4sHHI")
_STEPS = 127


class _Entry(msgspec.Struct, frozen=True):
    name: str
    unit: str
    scale: float


class _Header(msgspec.Struct, frozen=True):
    index: int
    series: str
    received: float
    shape: tuple[int, int, int]
    affine: list[float]
    """Rows of the 4 x 4 matrix one after the other."""
    images: list[_Entry]


@dataclass(frozen=True, slots=True, eq=False)
class VolumeImage:
    """One image of a volume, a byte per voxel."""

    unit: str
    """As it is written behind a value; empty for none."""
    scale: float
    """Value of one step, in ``unit``."""
    steps: NDArray[np.int8]
    """Shape (x, y, z), -128 unknown."""

    @classmethod
    def of(cls, values: F32, unit: str, largest: float) -> VolumeImage:
        """Take values; what is above ``largest`` (or below its negative) is cut there, NaN is unknown.

        Raises
        ------
        ValueError
            ``largest`` is not above 0, or not finite.
        """
        if not 0 < largest < math.inf:
            raise ValueError(f"largest value {largest!r}: expected above 0 and finite")
        known = np.isfinite(values)
        # cut first: a value far above would leave what float32 holds
        cut = np.where(known, values, 0.0).clip(-largest, largest)
        scaled = np.rint(cut * (_STEPS / largest)).clip(-_STEPS, _STEPS)
        return cls(unit, largest / _STEPS, np.where(known, scaled, UNKNOWN).astype(np.int8))

    def values(self) -> F32:
        """Give the values in ``unit``, NaN where unknown, float32, shape (x, y, z)."""
        made = self.steps.astype(np.float32) * np.float32(self.scale)
        made[self.steps == UNKNOWN] = np.nan
        return made


@dataclass(frozen=True, slots=True, eq=False)
class VolumeMessage:
    """A volume and what is known of its voxels, on the grid of the motion reference."""

    index: int
    series: str
    received: float
    """SessionTime s."""
    affine: F64
    """Voxel index to RAS+ mm, shape (4, 4)."""
    images: Mapping[str, VolumeImage]
    """``mean`` (0..1 of the brightest) and maps by name; all of one shape."""
    schema: int = SCHEMA

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along x, y, z."""
        x, y, z = next(iter(self.images.values())).steps.shape
        return x, y, z


def encode_volume(message: VolumeMessage) -> bytes:
    """Write a volume.

    Raises
    ------
    ValueError
        It has no image, or images of several shapes, or a number that nobody could read.
    """
    shapes = {image.steps.shape for image in message.images.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 3:
        raise ValueError(f"images of shapes {sorted(shapes)}: expected one shape (x, y, z)")
    header = _Header(
        index=message.index,
        series=message.series,
        received=message.received,
        shape=message.shape,
        affine=[float(v) for v in np.asarray(message.affine, np.float64).ravel()],
        images=[_Entry(name, image.unit, image.scale) for name, image in message.images.items()],
    )
    if problem := _problem(header):
        raise ValueError(problem)
    text = msgspec.json.encode(header)
    text += b" " * (-len(text) % 4)
    voxels = [np.ascontiguousarray(image.steps).tobytes() for image in message.images.values()]
    return b"".join([_HEADER.pack(VOLUME_MAGIC, SCHEMA, 0, len(text)), text, *voxels])


def decode_volume(payload: bytes) -> VolumeMessage:
    """Read a volume.

    Raises
    ------
    FormatError
        It is cut short, not a volume, contradicts itself, or is newer than ours.
    """
    if len(payload) < _HEADER.size or not payload.startswith(VOLUME_MAGIC):
        raise FormatError(f"{len(payload)} bytes are no volume: expected {_HEADER.size} or more, from {VOLUME_MAGIC!r}")
    _, schema, _, size = _HEADER.unpack_from(payload)
    if not SCHEMA - 1 <= schema <= SCHEMA:
        raise FormatError(f"volume has schema {schema}: expected {SCHEMA - 1} or {SCHEMA}")
    start = _HEADER.size + size
    try:
        header = msgspec.json.decode(payload[_HEADER.size : start], type=_Header)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise FormatError(f"volume has a header of {size} bytes that cannot be read: {error}") from error
    if problem := _problem(header):
        raise FormatError(problem)
    n_voxels = math.prod(header.shape)
    expected = start + n_voxels * len(header.images)
    if len(payload) != expected:
        raise FormatError(f"volume of {header.shape} has {len(payload)} bytes: expected {expected}")
    images = {
        entry.name: VolumeImage(
            entry.unit,
            entry.scale,
            np.frombuffer(payload, np.int8, n_voxels, start + i * n_voxels).reshape(header.shape),
        )
        for i, entry in enumerate(header.images)
    }
    affine = np.array(header.affine).reshape(4, 4)
    return VolumeMessage(header.index, header.series, header.received, affine, images, schema)


def _problem(header: _Header) -> str:
    # what is wrong with it; empty for nothing
    if min(header.shape) < 1 or math.prod(header.shape) > MAX_VOXELS or not header.images:
        return f"volume of shape {header.shape} with {len(header.images)} images cannot be"
    if len({entry.name for entry in header.images}) != len(header.images):
        return "volume with two images of one name"
    if not 0 <= header.index < 2**63 or not math.isfinite(header.received):
        return f"volume {header.index}, received at {header.received}, cannot be: expected an index from 0, and a time"
    if not all(0 < entry.scale < math.inf for entry in header.images):
        return f"volume with scales {[entry.scale for entry in header.images]} cannot be: expected above 0, and finite"
    affine = header.affine
    if len(affine) != 16 or not all(map(math.isfinite, affine)) or affine[12:] != [0.0, 0.0, 0.0, 1.0]:
        return f"volume with affine {affine} cannot be: expected 4 x 4 finite numbers, the last row 0 0 0 1"
    try:
        known = bool(np.isfinite(np.linalg.inv(np.array(affine).reshape(4, 4))).all())
    except np.linalg.LinAlgError:
        known = False
    return "" if known else f"volume with affine {affine} cannot be: it has no inverse"
