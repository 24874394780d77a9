"""The scanner's export: files that appear in a directory one by one, some of them half-written for a moment."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from streamer.acquire.recording import Recording
from streamer.errors import UsageError
from streamer.formats.dicom import write_mosaic
from streamer.messages import F64, Array, ScannerTime, Volume

_SERIES_NUMBER = 3
_FIRST_ONSET_S = 10 * 3600.0
_HIGHEST = 4095
_UID_ROOT = "1.2.826.0.1.3680043.10.1337"


class Exporter:
    """Drops a recording's volumes into a directory under their final names.

    Volumes that lie as DICOM files are copied byte by byte; those of a NIfTI are written as mosaics.

    Parameters
    ----------
    recording : Recording
        With a BOLD part.
    directory : Path
        Made when it is not there.

    Raises
    ------
    UsageError
        A file of the same name is in it already.
    """

    def __init__(self, recording: Recording, directory: Path) -> None:
        if recording.bold is None:
            raise UsageError(f"{recording.name}: no volumes to export")
        self._bold = recording.bold
        self._directory = directory
        self._pending: dict[int, bytes] = {}
        digest = hashlib.sha256(recording.name.encode()).digest()
        self._series_uid = f"{_UID_ROOT}.{int.from_bytes(digest[:6], 'big')}"
        self._scale: float | None = None
        if directory.exists() and not directory.is_dir():
            raise UsageError(f"{directory} is a file: expected a directory to export into")
        directory.mkdir(parents=True, exist_ok=True)
        there = {path.name for path in directory.iterdir()}
        if taken := sorted(there & {self._name(k) for k in range(self._bold.n_volumes)}):
            raise UsageError(f"{directory}: holds {taken[0]} already; nothing is overwritten, expected an empty one")

    def _name(self, k: int) -> str:
        path = self._bold.file(k)
        return path.name if path is not None else f"001_{_SERIES_NUMBER:06d}_{self._bold.indices[k] + 1:06d}.dcm"

    def write(self, k: int, part: int, parts: int) -> None:
        """Write part ``part`` of ``parts`` of volume ``k``."""
        raw = self._pending.pop(k, None) if part else None
        if raw is None:
            path = self._bold.file(k)
            raw = path.read_bytes() if path is not None else self._mosaic(self._bold.volume(k))
        start, stop = len(raw) * part // parts, len(raw) * (part + 1) // parts
        with (self._directory / self._name(k)).open("ab" if part else "xb") as stream:
            stream.write(raw[start:stop])
        if part + 1 < parts:
            self._pending[k] = raw

    def _mosaic(self, volume: Volume) -> bytes:
        data, affine, times = _left_handed(volume.data, volume.affine, volume.slice_times)
        if data.dtype == np.uint16 or (data.dtype == np.int16 and data.min() >= 0):
            stored = data.astype(np.uint16)
        else:
            # the first volume decides, so that all are on one scale
            if self._scale is None:
                peak = float(np.nanmax(data))
                self._scale = _HIGHEST / peak if peak > 0 else 1.0
            stored = np.clip(np.rint(np.nan_to_num(data) * self._scale), 0, 65535).astype(np.uint16)
        return write_mosaic(
            stored,
            affine,
            tr=volume.tr,
            slice_times=times,
            instance=volume.index + 1,
            series_number=_SERIES_NUMBER,
            series_uid=self._series_uid,
            onset=ScannerTime(_FIRST_ONSET_S + volume.index * volume.tr),
        )


def _left_handed(data: Array, affine: F64, slice_times: tuple[float, ...]) -> tuple[Array, F64, tuple[float, ...]]:
    # a mosaic is stored left-handed: turn the first axis round where it is not, which moves no voxel in the world
    if np.linalg.det(affine[:3, :3]) < 0:
        return data, affine, slice_times
    turned = affine.copy()
    turned[:3, 3] += affine[:3, 0] * (data.shape[0] - 1)
    turned[:3, 0] *= -1
    return data[::-1], turned, slice_times
