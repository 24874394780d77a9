"""Cleaned EEG and volumes as they are looked at: bad channels filled in and named, voxels in a byte each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from streamer import wire
from streamer.messages import F32, Array, CleanEeg, Flag, VolumeView
from streamer.wire.preview_bytes import encode_preview

_LARGEST = {"%": 5.0, "t": 20.0}
"""What is above is shown as this, by unit."""


class Fill(Protocol):
    """Fills bad channels in, for display only."""

    def __call__(self, data: F32, bad: Array) -> F32:
        """Take V, shape (n_times, n_channels), and which channels are bad, bool; give the same with those filled in."""
        ...

    @property
    def filled(self) -> Array:
        """Indices of the channels that the last call filled in."""
        ...


@dataclass(frozen=True, slots=True)
class _Shown:
    microvolts: F32
    """µV, shape (n_times, n_channels)."""
    first_sample: int
    t0: float
    sfreq: float
    flags: Flag
    bad: list[int]
    interpolated: list[int]
    hold_s: float


def preview_of(hops: list[CleanEeg], sfreq: float | None = None, fill: Fill | None = None) -> wire.EegPreview:
    """Make one preview message of consecutive hops with the same bad channels; µV with two decimals, NaN as null.

    ``sfreq`` is the nominal rate, Hz; None takes it from the hops' own time stamps (0 for a single sample).
    """
    shown = _shown(hops, sfreq, fill)
    rounded = np.round(shown.microvolts.T.astype(np.float64), 2)
    return wire.EegPreview(
        first_sample=shown.first_sample,
        t0=shown.t0,
        sfreq=shown.sfreq,
        data_uv=[[v if math.isfinite(v) else None for v in channel] for channel in rounded.tolist()],
        flags=wire.flag_names(shown.flags),
        bad=shown.bad,
        interpolated=shown.interpolated,
        hold_s=shown.hold_s,
    )


def preview_bytes_of(hops: list[CleanEeg], sfreq: float | None = None, fill: Fill | None = None) -> bytes:
    """Make the same preview as bytes: see :mod:`streamer.wire.preview_bytes`."""
    shown = _shown(hops, sfreq, fill)
    return encode_preview(
        shown.microvolts,
        first_sample=shown.first_sample,
        t0=shown.t0,
        sfreq=shown.sfreq,
        flags=shown.flags,
        bad=shown.bad,
        interpolated=shown.interpolated,
        hold_s=shown.hold_s,
    )


def volume_bytes_of(view: VolumeView, *, blinded: bool = False) -> bytes:
    """Make the preview of a volume: see :mod:`streamer.wire.volume_bytes`; ``blinded`` leaves its maps out.

    The mean image is a share of its brightest voxel; maps of another unit than % and t reach to their largest value.
    """
    images = {"mean": wire.VolumeImage.of(view.mean / np.float32(_largest(view.mean)), "", 1.0)}
    if not blinded:
        images |= {
            name: wire.VolumeImage.of(values, unit, _LARGEST.get(unit) or _largest(values))
            for name, (values, unit) in view.maps.items()
        }
    return wire.encode_volume(wire.VolumeMessage(view.index, view.series, view.received, view.affine, images))


def _largest(values: F32) -> float:
    largest = float(np.max(np.abs(values), where=np.isfinite(values), initial=0.0))
    return largest if largest > 0 else 1.0


def _shown(hops: list[CleanEeg], sfreq: float | None, fill: Fill | None) -> _Shown:
    data = np.concatenate([hop.data for hop in hops])
    times = np.concatenate([hop.times for hop in hops])
    bad = list(hops[0].bad)
    interpolated: list[int] = []
    if bad and fill is not None:
        mask = np.zeros(data.shape[1], dtype=bool)
        mask[bad] = True
        data = fill(data, mask)
        interpolated = fill.filled.tolist()
    span = float(times[-1] - times[0])
    flags = Flag.NONE
    for hop in hops:
        flags |= hop.flags
    return _Shown(
        microvolts=(data.astype(np.float64) * 1e6).astype(np.float32),
        first_sample=hops[0].first_sample,
        t0=float(times[0]),
        sfreq=sfreq if sfreq is not None else round((len(times) - 1) / span, 3) if span > 0 else 0.0,
        flags=flags,
        bad=bad,
        interpolated=interpolated,
        hold_s=hops[0].hold,
    )
