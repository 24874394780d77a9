"""Previews as bytes: a header, a byte per channel, and samples as they lie in memory.

All little-endian.

======  ========  ==================================================================
offset  type      what
======  ========  ==================================================================
0       4 bytes   ``EFSP``
4       uint16    schema, that of the JSON payloads
6       uint16    bytes before the samples: 64, then a byte per channel, then zeros up to a multiple of 4
8       uint32    flags: ``Flag`` as a number
12      uint32    n_channels
16      uint32    n_times
20      uint32    0 cleaned, 1 raw
24      int64     first_sample, on the cleaned grid: a jump is a gap
32      float64   t0, SessionTime of the first sample, s
40      float64   sfreq, Hz
48      float64   hold_s, by how much the cleaning held the EEG back, s
56      8 bytes   zeros
64      uint8     per channel: 0 good, 1 bad, 2 bad and shown as its neighbours let expect
…       float32   µV, shape (n_times, n_channels), NaN where unknown
======  ========  ==================================================================
"""

from __future__ import annotations

import math
import struct

import numpy as np

from streamer.errors import FormatError
from streamer.messages import F32, Flag
from streamer.wire.convert import flag_names
from streamer.wire.payloads import SCHEMA, EegPreview

MAGIC = b"EFSP"
_HEADER = struct.Struct("<4sHHIIIIqddd8x")


def encode_preview(
    microvolts: F32,
    *,
    first_sample: int,
    t0: float,
    sfreq: float,
    flags: Flag,
    bad: list[int],
    interpolated: list[int],
    hold_s: float,
    raw: bool = False,
) -> bytes:
    """Write one preview.

    Parameters
    ----------
    microvolts : ndarray of float32
        µV, shape (n_times, n_channels).
    first_sample : int
        On the cleaned grid.
    t0 : float
        SessionTime s.
    sfreq : float
        Hz.
    flags : Flag
    bad, interpolated : list of int
        Indices of channels; ``interpolated`` are some of ``bad``.
    hold_s : float
        s.
    raw : bool
        Before any cleaning.
    """
    n_times, n_channels = microvolts.shape
    state = np.zeros(-4 * (-n_channels // 4), np.uint8)
    state[bad] = 1
    state[interpolated] = 2
    start = _HEADER.size + state.size
    header = _HEADER.pack(
        MAGIC, SCHEMA, start, int(flags), n_channels, n_times, int(raw), first_sample, t0, sfreq, hold_s
    )  # fmt: skip
    return header + state.tobytes() + np.ascontiguousarray(microvolts, "<f4").tobytes()


def decode_preview(payload: bytes) -> EegPreview:
    """Read one preview.

    Raises
    ------
    FormatError
        It is cut short, not a preview, or newer than ours.
    """
    if len(payload) < _HEADER.size or not payload.startswith(MAGIC):
        raise FormatError(f"{len(payload)} bytes are no preview: expected {_HEADER.size} or more, from {MAGIC!r} on")
    _, schema, start, flags, n_channels, n_times, raw, first_sample, t0, sfreq, hold_s = _HEADER.unpack_from(payload)
    if not SCHEMA - 1 <= schema <= SCHEMA:
        raise FormatError(f"preview has schema {schema}: expected {SCHEMA - 1} or {SCHEMA}")
    expected = start + 4 * n_channels * n_times
    if len(payload) != expected or start < _HEADER.size + n_channels:
        raise FormatError(f"preview of {n_times} x {n_channels} has {len(payload)} bytes: expected {expected}")
    if not all(map(math.isfinite, (t0, sfreq, hold_s))) or flags > sum(Flag):
        raise FormatError("preview has a time, rate or flag that cannot be")
    state = np.frombuffer(payload, np.uint8, n_channels, _HEADER.size)
    samples = np.frombuffer(payload, "<f4", n_channels * n_times, start).reshape(n_times, n_channels)
    channels = samples.T.astype(np.float64).tolist()
    return EegPreview(
        schema=schema,
        first_sample=first_sample,
        t0=t0,
        sfreq=sfreq,
        data_uv=[[v if math.isfinite(v) else None for v in channel] for channel in channels],
        flags=flag_names(Flag(flags)),
        bad=np.flatnonzero(state).tolist(),
        interpolated=np.flatnonzero(state == 2).tolist(),
        hold_s=hold_s,
        raw=bool(raw),
    )
