"""BrainVision recordings (.vhdr, .vmrk, .eeg): read where they lie, and written while they grow.

The format is BrainVision Core Data Format 1.0. Binary data only, time domain; samples are read when they are asked for.

A file that grows is written by :class:`BrainVisionWriter`::

    with BrainVisionWriter(folder / "clean_eeg.vhdr", 250.0, channels, resolution=None) as writer:
        writer.append(block)  # V, shape (n_times, n_channels); as often as there is something
        writer.mark(FileMarker("Response", "R128", sample))  # at any time, in any order
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from streamer.errors import FormatError
from streamer.formats.brainvision_header import (
    NEW_SEGMENT,
    BrainVisionHeader,
    BrainVisionMarkers,
    FileMarker,
    read_header,
    read_markers,
    write_header,
    write_markers,
)
from streamer.messages import F32, F64, Array, ChannelInfo

__all__ = [
    "NEW_SEGMENT",
    "BrainVisionFile",
    "BrainVisionHeader",
    "BrainVisionMarkers",
    "BrainVisionWriter",
    "FileMarker",
    "read_brainvision",
    "read_header",
    "read_markers",
    "write_brainvision",
]

RESOLUTION_V = 0.5e-6
"""V per stored value where nothing else is asked for: that of the usual amplifier in a scanner."""


@dataclass(frozen=True)
class BrainVisionFile:
    """A recording that was opened."""

    sfreq: float
    """Hz."""
    channels: tuple[ChannelInfo, ...]
    """Unit V where the file has volts of any size, else the file's own unit."""
    n_samples: int
    markers: tuple[FileMarker, ...]
    """In the order of their samples, new segments included."""
    data_file: Path
    dtype: np.dtype[Any]
    """Of a stored value."""
    multiplexed: bool
    """Sample after sample; else channel after channel."""
    scale: F64
    """From stored value to unit, shape (n_channels,)."""
    problems: tuple[str, ...] = ()
    """What was wrong and was got over, in sentences."""

    def read(self, start: int, stop: int) -> F32:
        """Read samples ``start`` to ``stop`` (excluded) in the channels' units, shape (stop - start, n_channels).

        Raises
        ------
        ValueError
            The range is not within the recording.
        """
        return np.ascontiguousarray(self.stored(start, stop) * self.scale, dtype=np.float32)

    def stored(self, start: int, stop: int) -> Array:
        """Read stored values, shape (stop - start, n_channels); errors as ``read``."""
        if not 0 <= start <= stop <= self.n_samples:
            raise ValueError(f"samples {start} to {stop} of a recording of {self.n_samples}")
        width = len(self.channels)
        if self.multiplexed:
            # not mapped: the pages of a long recording would count as memory of this process
            at = start * width * self.dtype.itemsize
            return np.fromfile(self.data_file, self.dtype, (stop - start) * width, offset=at).reshape(-1, width)
        return np.memmap(self.data_file, self.dtype, "r", shape=(width, self.n_samples))[:, start:stop].T


def read_brainvision(vhdr: Path) -> BrainVisionFile:
    """Open a recording.

    A data file that was cut is read up to its last whole sample, and markers beyond that are left out; the problems say
    so.

    Raises
    ------
    FormatError
        A file is missing or is not what the format demands.
    """
    header = read_header(vhdr)
    for path in (header.data_file, header.marker_file):
        if path is not None and not path.is_file():
            other = vhdr.with_suffix(path.suffix)
            hint = f"; {other.name} is there: was the recording renamed?" if other.is_file() else ""
            raise FormatError(f"{vhdr.name}: names the file {path.name!r}, which is not in {vhdr.parent}{hint}")
    n_samples, problems = _length(header)
    found = BrainVisionMarkers(())
    if header.marker_file is not None:
        found = read_markers(header.marker_file, n_samples)
    problems = (*header.problems, *problems, *found.problems)
    return BrainVisionFile(
        header.sfreq,
        header.channels,
        n_samples,
        found.markers,
        header.data_file,
        np.dtype(header.dtype),
        header.multiplexed,
        header.scale,
        problems,
    )


class BrainVisionWriter:
    """Writes a recording block by block; the header is there from the start, the markers when it is closed.

    Parameters
    ----------
    vhdr : Path
        The header; .vmrk and .eeg are put beside it. What is there is replaced.
    sfreq : float
        Hz.
    channels : sequence of ChannelInfo
        Unit V, or any other, which is written as it stands.
    resolution : float, sequence of float, or None
        What one stored INT_16 value is worth, in V; one per channel, each in the channel's own unit, where some are not
        in V. None stores float32: nothing is rounded or clipped.

    Raises
    ------
    ValueError
        One resolution for channels of different units.
    """

    def __init__(
        self,
        vhdr: Path,
        sfreq: float,
        channels: Sequence[ChannelInfo],
        resolution: float | Sequence[float] | None = RESOLUTION_V,
    ) -> None:
        self._vhdr = vhdr
        self._float = resolution is None
        if isinstance(resolution, int | float) and (others := [c.name for c in channels if c.unit != "V"]):
            raise ValueError(f"{', '.join(others)} not in V: give each channel a resolution in its own unit, or None")
        to_file = np.array([1e6 if c.unit == "V" else 1.0 for c in channels])
        self._resolution = np.broadcast_to(
            1.0 / to_file if resolution is None else np.asarray(resolution, np.float64), to_file.shape
        )
        self._markers: list[FileMarker] = []
        self.n_samples = 0
        """Written so far."""
        self.altered = 0
        """Values that INT_16 could not hold: beyond its rails, or not a number (stored as 0)."""
        self.left_out: tuple[FileMarker, ...] = ()
        """Markers beyond the last sample; known when it is closed."""
        binary = "IEEE_FLOAT_32" if self._float else "INT_16"
        write_header(vhdr, sfreq, channels, (self._resolution * to_file).tolist(), binary)
        write_markers(vhdr.with_suffix(".vmrk"), [])
        self._stream = vhdr.with_suffix(".eeg").open("wb")

    def append(self, block: Array) -> None:
        """Write samples.

        Parameters
        ----------
        block : array, shape (n_times, n_channels)
            In the channels' units, V where it is a voltage. int16 are stored values, unless float32 is written.

        Raises
        ------
        ValueError
            Another number of channels.
        """
        if block.ndim != 2 or block.shape[1] != len(self._resolution):
            raise ValueError(f"block of shape {block.shape}: expected (n_times, {len(self._resolution)})")
        stored = block
        if self._float:
            stored = block / self._resolution
        elif block.dtype != np.int16:
            wanted = np.rint(block / self._resolution)
            stored = np.nan_to_num(np.clip(wanted, -32768, 32767), nan=0.0)
            self.altered += int(np.count_nonzero(stored != wanted))
        self._stream.write(np.ascontiguousarray(stored, dtype="<f4" if self._float else "<i2").data)
        self.n_samples += len(block)

    def mark(self, marker: FileMarker) -> None:
        """Add a marker; its sample may still have to come.

        Raises
        ------
        ValueError
            It lies before the first sample.
        """
        if marker.sample < 0:
            raise ValueError(f"marker {marker.label} at sample {marker.sample}, expected 0 or more")
        self._markers.append(marker)

    def flush(self) -> None:
        """Hand what was appended to the operating system."""
        self._stream.flush()

    def close(self) -> None:
        """Write the markers and close the file. May be called twice."""
        if self._stream.closed:
            return
        self._stream.close()
        self.left_out = tuple(m for m in self._markers if m.sample >= self.n_samples)
        write_markers(self._vhdr.with_suffix(".vmrk"), [m for m in self._markers if m.sample < self.n_samples])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def write_brainvision(
    vhdr: Path,
    sfreq: float,
    channels: Sequence[ChannelInfo],
    data: Iterable[Array],
    markers: Iterable[FileMarker],
    resolution: float | Sequence[float] | None = RESOLUTION_V,
) -> int:
    """Write a recording; gives the number of samples.

    Parameters
    ----------
    vhdr, sfreq, channels, resolution
        As for :class:`BrainVisionWriter`.
    data : iterable of array, shape (n_times, n_channels)
        As for :meth:`BrainVisionWriter.append`.
    markers : iterable of FileMarker
        Within the recording; asked for after the data.

    Raises
    ------
    ValueError
        A block has another number of channels, or a marker lies outside.
    """
    with BrainVisionWriter(vhdr, sfreq, channels, resolution) as writer:
        for block in data:
            writer.append(block)
        for marker in markers:
            writer.mark(marker)
    for marker in writer.left_out:
        raise ValueError(f"marker {marker.label} at sample {marker.sample} of a recording of {writer.n_samples}")
    return writer.n_samples


def _length(header: BrainVisionHeader) -> tuple[int, tuple[str, ...]]:
    path, dtype, n_channels = header.data_file, header.dtype, len(header.channels)
    size = path.stat().st_size
    width = np.dtype(dtype).itemsize * n_channels
    n_samples, rest = divmod(size, width)
    if not n_samples:
        raise FormatError(f"{path.name}: {size} bytes, expected at least one sample of {n_channels} channels ({width})")
    problems: list[str] = []
    if not header.multiplexed:
        # channel after channel: only the header can say where one ends in a file that was cut
        if rest or header.n_samples not in {None, n_samples}:
            expected = f"{width * header.n_samples}" if header.n_samples else f"a multiple of {width}"
            raise FormatError(f"{path.name}: {size} bytes, expected {expected} ({n_channels} channels of {dtype[1:]})")
        return n_samples, ()
    if rest:
        problems.append(f"{path.name}: ends in the middle of a sample; the last {rest} bytes are left out")
    if header.n_samples not in {None, n_samples}:
        problems.append(f"{path.name}: {n_samples} samples, but the header says {header.n_samples}")
    return n_samples, tuple(problems)
