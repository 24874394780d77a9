"""BrainVision files (.vhdr, .vmrk, .eeg): read where they lie, and written block by block.

The format is BrainVision Core Data Format 1.0. Binary data only, time domain; samples are memory-mapped, so that a long
recording costs no memory until it is read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamer.errors import FormatError
from streamer.formats.brainvision_text import parse_sections, split_entry
from streamer.messages import F32, F64, Array, ChannelInfo

_FORMATS = {"INT_16": "<i2", "UINT_16": "<u2", "INT_32": "<i4", "IEEE_FLOAT_32": "<f4", "IEEE_FLOAT_64": "<f8"}
_VOLTS = {"": 1e-6, "µv": 1e-6, "μv": 1e-6, "uv": 1e-6, "mv": 1e-3, "v": 1.0, "nv": 1e-9}
_HEADER = re.compile(r"Brain ?Vision(?: Core)? Data Exchange Header File,? Version \d", re.IGNORECASE)
_MARKERS = re.compile(r"Brain ?Vision(?: Core)? Data Exchange Marker File,? Version \d", re.IGNORECASE)
_MAX_CHANNELS = 4096


@dataclass(frozen=True, slots=True)
class FileMarker:
    """An event in a file."""

    kind: str
    """The type, ``Response``."""
    label: str
    """The description, ``R128``."""
    sample: int
    """From 0."""


@dataclass(frozen=True)
class BrainVisionFile:
    """A recording that was opened."""

    sfreq: float
    """Hz."""
    channels: tuple[ChannelInfo, ...]
    """Unit V where the file has volts of any size, else the file's own unit."""
    n_samples: int
    markers: tuple[FileMarker, ...]
    data: Array
    """Stored values, memory-mapped, shape (n_samples, n_channels)."""
    scale: F64
    """From stored value to unit, shape (n_channels,)."""

    def read(self, start: int, stop: int) -> F32:
        """Read samples ``start`` to ``stop`` (excluded) in the channels' units, shape (stop - start, n_channels).

        Raises
        ------
        ValueError
            The range is not within the recording.
        """
        if not 0 <= start <= stop <= self.n_samples:
            raise ValueError(f"samples {start} to {stop} of a recording of {self.n_samples}")
        return np.ascontiguousarray(self.data[start:stop] * self.scale, dtype=np.float32)


def read_brainvision(vhdr: Path) -> BrainVisionFile:
    """Open a recording.

    Raises
    ------
    FormatError
        A file is missing, is not what the format demands, or the data file is not a whole number of samples long.
    """
    header = parse_sections(vhdr, _HEADER)
    common = header.get("common infos", {})
    name = vhdr.name
    if (layout := common.get("dataformat", "BINARY").upper()) != "BINARY":
        raise FormatError(f"{name}: data format {layout}, expected BINARY")
    if (domain := common.get("datatype", "TIMEDOMAIN").upper()) != "TIMEDOMAIN":
        raise FormatError(f"{name}: data type {domain}, expected TIMEDOMAIN")
    n_channels = _whole(common, "numberofchannels", name, _MAX_CHANNELS)
    interval_us = _number(common, "samplinginterval", name)
    binary = header.get("binary infos", {}).get("binaryformat", "").upper()
    if binary not in _FORMATS:
        raise FormatError(f"{name}: binary format {binary or 'missing'}, expected one of {', '.join(_FORMATS)}")
    channels, scale = _channels(header.get("channel infos", {}), n_channels, name)
    orientation = common.get("dataorientation", "").upper()
    data = _map(_beside(vhdr, common, "datafile"), _FORMATS[binary], n_channels, orientation, name)
    markers: tuple[FileMarker, ...] = ()
    if common.get("markerfile"):
        markers = _read_markers(_beside(vhdr, common, "markerfile"), len(data))
    return BrainVisionFile(1e6 / interval_us, channels, len(data), markers, data, scale)


def write_brainvision(
    vhdr: Path,
    sfreq: float,
    channels: Sequence[ChannelInfo],
    data: Iterable[Array],
    markers: Iterable[FileMarker],
    resolution_v: float = 0.5e-6,
) -> int:
    """Write a recording as INT_16, multiplexed; gives the number of samples.

    Parameters
    ----------
    vhdr : Path
        The header; .vmrk and .eeg are put beside it.
    sfreq : float
        Hz.
    channels : sequence of ChannelInfo
        Unit V.
    data : iterable of array, shape (n_times, n_channels)
        int16 blocks are stored values; others are V, rounded to the resolution and held at the rails of int16.
    markers : iterable of FileMarker
        Within the recording; asked for after the data.
    resolution_v : float
        V per stored unit.

    Raises
    ------
    ValueError
        A block has another number of channels, or a marker lies outside.
    """
    n_samples = 0
    with vhdr.with_suffix(".eeg").open("wb") as stream:
        for block in data:
            if block.ndim != 2 or block.shape[1] != len(channels):
                raise ValueError(f"block of shape {block.shape}: expected (n_times, {len(channels)})")
            stored = block
            if block.dtype != np.int16:
                stored = np.clip(np.rint(block / resolution_v), -32768, 32767)
            stream.write(np.ascontiguousarray(stored, dtype="<i2").data)
            n_samples += len(block)
    events = sorted(markers, key=lambda marker: marker.sample)
    for marker in events:
        if not 0 <= marker.sample < n_samples:
            raise ValueError(f"marker {marker.label} at sample {marker.sample} of a recording of {n_samples}")
    unit_uv = f"{resolution_v * 1e6:.12g}"
    header = [
        "Brain Vision Data Exchange Header File Version 1.0",
        "",
        "[Common Infos]",
        "Codepage=UTF-8",
        f"DataFile={vhdr.with_suffix('.eeg').name}",
        f"MarkerFile={vhdr.with_suffix('.vmrk').name}",
        "DataFormat=BINARY",
        "DataOrientation=MULTIPLEXED",
        f"NumberOfChannels={len(channels)}",
        f"SamplingInterval={1e6 / sfreq:.12g}",
        "",
        "[Binary Infos]",
        "BinaryFormat=INT_16",
        "",
        "[Channel Infos]",
        *(f"Ch{i}={_escaped(c.name)},,{unit_uv},µV" for i, c in enumerate(channels, start=1)),
        "",
    ]
    lines = [
        "Brain Vision Data Exchange Marker File, Version 1.0",
        "",
        "[Common Infos]",
        "Codepage=UTF-8",
        f"DataFile={vhdr.with_suffix('.eeg').name}",
        "",
        "[Marker Infos]",
        "Mk1=New Segment,,1,1,0",
        *(f"Mk{i}={_escaped(m.kind)},{_escaped(m.label)},{m.sample + 1},1,0" for i, m in enumerate(events, start=2)),
        "",
    ]
    vhdr.with_suffix(".vmrk").write_bytes("\r\n".join(lines).encode())
    vhdr.write_bytes("\r\n".join(header).encode())
    return n_samples


def _channels(entries: dict[str, str], n_channels: int, name: str) -> tuple[tuple[ChannelInfo, ...], F64]:
    channels: list[ChannelInfo] = []
    scale = np.ones(n_channels)
    for k in range(n_channels):
        entry = entries.get(f"ch{k + 1}")
        if entry is None:
            raise FormatError(f"{name}: channel {k + 1} of {n_channels} is not described")
        label, _, resolution, unit = (*split_entry(entry), "", "", "", "")[:4]
        try:
            size = float(resolution) if resolution else 1.0
        except ValueError as error:
            raise FormatError(f"{name}: channel {label} has resolution {resolution!r}, expected a number") from error
        if not math.isfinite(size) or size == 0:
            raise FormatError(f"{name}: channel {label} has resolution {resolution!r}, expected a number that is not 0")
        volts = _VOLTS.get(unit.strip().lower())
        scale[k] = size * (1.0 if volts is None else volts)
        kind = "misc" if volts is None else _kind(label)
        channels.append(ChannelInfo(label, kind, unit.strip() if volts is None else "V"))
    return tuple(channels), scale


def _kind(label: str) -> str:
    upper = label.upper()
    for part, kind in (("ECG", "ecg"), ("EKG", "ecg"), ("EOG", "eog"), ("EMG", "misc"), ("RESP", "misc")):
        if part in upper:
            return kind
    return "eeg"


def _map(path: Path, dtype: str, n_channels: int, orientation: str, name: str) -> Array:
    size = path.stat().st_size
    width = np.dtype(dtype).itemsize * n_channels
    if size == 0 or size % width:
        raise FormatError(
            f"{path.name}: {size} bytes, expected a multiple of {width} ({n_channels} channels of {dtype[1:]}, {name})"
        )
    n_samples = size // width
    if orientation == "MULTIPLEXED":
        return np.memmap(path, dtype, "r", shape=(n_samples, n_channels))
    if orientation == "VECTORIZED":
        return np.memmap(path, dtype, "r", shape=(n_channels, n_samples)).T
    raise FormatError(f"{name}: data orientation {orientation or 'missing'}, expected MULTIPLEXED or VECTORIZED")


def _read_markers(path: Path, n_samples: int) -> tuple[FileMarker, ...]:
    entries = parse_sections(path, _MARKERS).get("marker infos", {})
    markers: list[FileMarker] = []
    for key, entry in entries.items():
        if not re.fullmatch(r"mk\d+", key):
            continue
        kind, label, position = (*split_entry(entry), "", "", "")[:3]
        try:
            sample = int(position) - 1
        except ValueError as error:
            raise FormatError(f"{path.name}: {key} has position {position!r}, expected a whole number") from error
        if not 0 <= sample < n_samples:
            raise FormatError(f"{path.name}: {key} at sample {sample + 1}, expected 1 to {n_samples}")
        markers.append(FileMarker(kind.strip(), label.strip(), sample))
    return tuple(sorted(markers, key=lambda marker: marker.sample))


def _beside(vhdr: Path, common: dict[str, str], key: str) -> Path:
    given = common.get(key, "").replace("$b", vhdr.stem)
    if not given:
        raise FormatError(f"{vhdr.name}: no {'data' if key == 'datafile' else 'marker'} file is named")
    # a header that came from elsewhere may only name what lies beside it
    path = vhdr.parent / Path(given.replace("\\", "/")).name
    if not path.is_file():
        raise FormatError(f"{vhdr.name}: names the file {given!r}, which is not in {vhdr.parent}")
    return path


def _number(common: dict[str, str], key: str, name: str) -> float:
    text = common.get(key, "")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise FormatError(f"{name}: {key} is {text or 'missing'!r}, expected a number above 0")
    return value


def _whole(common: dict[str, str], key: str, name: str, most: int) -> int:
    value = _number(common, key, name)
    if value != int(value) or value > most:
        raise FormatError(f"{name}: {key} is {value:g}, expected a whole number up to {most}")
    return int(value)


def _escaped(text: str) -> str:
    return text.replace(",", "\\1")
