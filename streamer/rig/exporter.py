"""The scanner's export: files that appear in a directory one by one, some of them half-written for a moment."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from streamer.acquire.recording import Recording
from streamer.errors import RecordingError, SourceError, UsageError
from streamer.formats.dicom import write_mosaic
from streamer.messages import F64, Array, ScannerTime
from streamer.rig.actions import (
    FileAction,
    Foreign,
    MakeDirectory,
    RemoveDirectory,
    RenameVolume,
    RepeatVolume,
    StartSeries,
    WriteForeign,
    WriteVolume,
)
from streamer.rig.foreign import motion_corrected

_SERIES_NUMBER = 3
_NUMBERED_SERIES = re.compile(r"s(\d+)-")
_FIRST_ONSET_S = 10 * 3600.0
_HIGHEST = 4095
_UID_ROOT = "1.2.826.0.1.3680043.10.1337"
_REMARK = b"A remark of the scanner's console, no image.\n"


class Exporter:
    """Drops a recording's volumes into a directory under their final names.

    Volumes that lie as files of their own are copied byte by byte; all others are written as Siemens mosaics, and so
    are those of a scan that was started anew. Values that a mosaic cannot hold are scaled to 0..4095 by the first
    volume.

    Parameters
    ----------
    recording : Recording
        With a BOLD part.
    directory : Path
        Made when it is not there.
    remove : bool
        Whether the directory will be removed while it is exported into.

    Raises
    ------
    UsageError
        A file of the same name is in it already, or anything when it will be removed.
    """

    def __init__(self, recording: Recording, directory: Path, *, remove: bool = False) -> None:
        if recording.bold is None or not recording.bold.n_volumes:
            raise UsageError(f"{recording.name}: no volumes to export")
        self._bold = recording.bold
        self._directory = directory
        self._starts = [0]
        self._last: tuple[tuple[int, int], bytes] | None = None
        self._written: set[Path] = set()
        # a series that has a number keeps it; one that is started anew counts on from it
        label = self._bold.volume(0).series
        own = _NUMBERED_SERIES.match(label)
        self._number = int(own[1]) if own else _SERIES_NUMBER
        digest = hashlib.sha256(f"{recording.name} {label}".encode()).digest()
        self._series_uid = f"{_UID_ROOT}.{int.from_bytes(digest[:6], 'big')}"
        self._scale: float | None = None
        if directory.exists() and not directory.is_dir():
            raise UsageError(f"{directory} is a file: expected a directory to export into")
        with _writing(directory):
            directory.mkdir(parents=True, exist_ok=True)
            there = {path.name for path in directory.iterdir()}
        taken = there if remove else there & {self._name(k) for k in range(self._bold.n_volumes)}
        if taken:
            raise UsageError(
                f"{directory}: holds {min(taken)} already; nothing is overwritten or removed, expected an empty one"
            )

    def perform(self, action: FileAction) -> bool:
        """Do something in the directory; True when a volume's file is whole by it.

        Raises
        ------
        SourceError
            The directory does not take it.
        RecordingError
            The volume cannot be read, or no mosaic can hold it.
        """
        match action:
            case WriteVolume(k, part, parts, suffix):
                self._write(k, part, parts, suffix)
                return part + 1 == parts and not suffix
            case RenameVolume(k, suffix):
                path = self._path(k)
                with _writing(path):
                    Path(f"{path}{suffix}").rename(path)
                self._written.add(path)
                return True
            case RepeatVolume(k, over):
                path = self._path(k)
                self._put(path if over else path.with_name(f"copy_{path.name}"), self._bytes(k), new=not over)
            case WriteForeign(k, what):
                self._write_foreign(k, what)
            case StartSeries(first):
                self._starts.append(first)
            case RemoveDirectory():
                with _writing(self._directory):
                    for path in self._written:
                        path.unlink(missing_ok=True)
                    self._directory.rmdir()
                self._written.clear()
            case MakeDirectory():
                with _writing(self._directory):
                    self._directory.mkdir()
        return False

    def _series(self, k: int) -> int:
        """Say in which series a volume lies, counted from 0."""
        return sum(k >= start for start in self._starts) - 1

    def _index(self, k: int) -> int:
        series = self._series(k)
        return k - self._starts[series] if series else self._bold.indices[k]

    def _series_number(self, k: int) -> int:
        return self._number + 2 * self._series(k)

    def _name(self, k: int) -> str:
        path = self._bold.file(k)
        if path is not None and not self._series(k):
            return path.name
        return f"001_{self._series_number(k):06d}_{self._index(k) + 1:06d}.dcm"

    def _path(self, k: int) -> Path:
        return self._directory / self._name(k)

    def _write(self, k: int, part: int, parts: int, suffix: str) -> None:
        raw, path = self._bytes(k), Path(f"{self._path(k)}{suffix}")
        piece = raw[len(raw) * part // parts : len(raw) * (part + 1) // parts]
        if not part:
            self._put(path, piece, new=True)
            return
        with _writing(path), path.open("r+b") as stream:
            stream.seek(0, 2)
            stream.write(piece)

    def _put(self, path: Path, raw: bytes, *, new: bool) -> None:
        with _writing(path), path.open("xb" if new else "wb") as stream:
            stream.write(raw)
        self._written.add(path)

    def _write_foreign(self, k: int, what: Foreign) -> None:
        match what:
            case "moco":
                number = self._series_number(k) + 1
                raw = motion_corrected(self._mosaic(k), number, f"{self._series_uid}.{self._series(k) + 1}.9")
                self._put(self._directory / f"001_{number:06d}_{self._index(k) + 1:06d}.dcm", raw, new=True)
            case "text":
                self._put(self._directory / f"remark-{k + 1}.txt", _REMARK, new=True)
            case "hidden":
                raw = self._bytes(k)
                self._put(self._directory / f"._{self._name(k)}", raw[: len(raw) // 2], new=True)

    def _bytes(self, k: int) -> bytes:
        key = (k, self._series(k))
        if self._last is None or self._last[0] != key:
            path = self._bold.file(k)
            if path is not None and not self._series(k):
                try:
                    raw = path.read_bytes()
                except OSError as error:
                    raise RecordingError(f"{path}: cannot be read ({_reason(error)})") from error
            else:
                raw = self._mosaic(k)
            self._last = (key, raw)
        return self._last[1]

    def _mosaic(self, k: int) -> bytes:
        volume = self._bold.volume(k)
        data, affine, times = _left_handed(volume.data, volume.affine, volume.slice_times)
        onset = volume.onset if volume.onset is not None else _FIRST_ONSET_S + self._bold.onset_s(k)
        try:
            return write_mosaic(
                self._stored(data),
                affine,
                tr=volume.tr,
                slice_times=times,
                instance=self._index(k) + 1,
                series_number=self._series_number(k),
                series_uid=f"{self._series_uid}.{self._series(k) + 1}",
                onset=ScannerTime(onset),
            )
        except ValueError as error:
            raise RecordingError(f"volume {k + 1} cannot be written as a mosaic: {error}") from error

    def _stored(self, data: Array) -> Array:
        if data.dtype == np.uint16 or (data.dtype == np.int16 and data.min() >= 0):
            return data.astype(np.uint16)
        # the first volume decides, so that all are on one scale
        if self._scale is None:
            peak = float(np.nanmax(data))
            self._scale = _HIGHEST / peak if peak > 0 else 1.0
        return np.clip(np.rint(np.nan_to_num(data) * self._scale), 0, 65535).astype(np.uint16)


@contextmanager
def _writing(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise SourceError(f"{path}: the export cannot go on ({_reason(error)})") from error


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _left_handed(data: Array, affine: F64, slice_times: tuple[float, ...]) -> tuple[Array, F64, tuple[float, ...]]:
    # a mosaic is stored left-handed: turn the first axis round where it is not, which moves no voxel in the world
    if np.linalg.det(affine[:3, :3]) < 0:
        return data, affine, slice_times
    turned = affine.copy()
    turned[:3, 3] += affine[:3, 0] * (data.shape[0] - 1)
    turned[:3, 0] *= -1
    return data[::-1], turned, slice_times
