"""What the text files of a BrainVision recording say: channels, rate and markers, without the samples."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamer.errors import FormatError
from streamer.formats.brainvision_text import Text, join_entry, parse_sections, split_entry, write_sections
from streamer.formats.volts import volts_per
from streamer.messages import F64, ChannelInfo

NEW_SEGMENT = "New Segment"
"""Kind of the marker with which a file and every stretch after a pause begins."""

SEGMENT_DATE = "%Y%m%d%H%M%S%f"
"""How such a marker writes its date."""

DTYPES = {"INT_16": "<i2", "UINT_16": "<u2", "INT_32": "<i4", "IEEE_FLOAT_32": "<f4", "IEEE_FLOAT_64": "<f8"}
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
    date: str = ""
    """When a new segment began, ``YYYYMMDDhhmmssuuuuuu``; empty when the file tells none."""


@dataclass(frozen=True)
class BrainVisionHeader:
    """A header file."""

    sfreq: float
    """Hz."""
    channels: tuple[ChannelInfo, ...]
    """Unit V where the file has volts of any size, else the file's own unit."""
    scale: F64
    """From stored value to unit, shape (n_channels,)."""
    dtype: str
    """Of a stored value, as numpy writes it."""
    multiplexed: bool
    """Stored sample by sample; else channel by channel."""
    n_samples: int | None
    """As the header says; most say nothing."""
    data_file: Path
    """Where the samples should lie."""
    marker_file: Path | None
    """Where the markers should lie; None when the header names no file."""
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class BrainVisionMarkers:
    """A marker file."""

    markers: tuple[FileMarker, ...]
    """In the order of their samples, new segments included."""
    problems: tuple[str, ...] = ()


def read_header(vhdr: Path) -> BrainVisionHeader:
    """Read a header file; the files that it names need not be there.

    Raises
    ------
    FormatError
        It is missing or not what the format demands, or its samples are of a kind that is not read.
    """
    text = parse_sections(vhdr, _HEADER)
    common, name = text.sections.get("common infos", {}), vhdr.name
    if (layout := common.get("dataformat", "BINARY").upper()) != "BINARY":
        raise FormatError(f"{name}: data format {layout}, expected BINARY")
    if (domain := common.get("datatype", "TIMEDOMAIN").upper()) != "TIMEDOMAIN":
        raise FormatError(f"{name}: data type {domain}, expected TIMEDOMAIN")
    if (orientation := common.get("dataorientation", "").upper()) not in {"MULTIPLEXED", "VECTORIZED"}:
        raise FormatError(f"{name}: data orientation {orientation or 'missing'}, expected MULTIPLEXED or VECTORIZED")
    binary = text.sections.get("binary infos", {}).get("binaryformat", "").upper()
    if binary not in DTYPES:
        raise FormatError(f"{name}: binary format {binary or 'missing'}, expected one of {', '.join(DTYPES)}")
    n_channels = _whole(common, "numberofchannels", name, _MAX_CHANNELS)
    channels, scale, problems = _channels(text, n_channels, name)
    data_file = _beside(vhdr, common.get("datafile", ""))
    if data_file is None:
        raise FormatError(f"{name}: no data file is named")
    return BrainVisionHeader(
        1e6 / _number(common, "samplinginterval", name),
        channels,
        scale,
        DTYPES[binary],
        orientation == "MULTIPLEXED",
        _whole(common, "datapoints", name, 2**53) if common.get("datapoints") else None,
        data_file,
        _beside(vhdr, common.get("markerfile", "")),
        (*text.problems, *problems),
    )


def read_markers(vmrk: Path, n_samples: int | None = None) -> BrainVisionMarkers:
    """Read a marker file.

    Parameters
    ----------
    vmrk : Path
    n_samples : int, optional
        Length of the recording: markers beyond it are left out, which is said in the problems.

    Raises
    ------
    FormatError
        It is missing or no marker file.
    """
    text = parse_sections(vmrk, _MARKERS)
    markers: list[FileMarker] = []
    unreadable = outside = 0
    for key, entry in text.sections.get("marker infos", {}).items():
        if not re.fullmatch(r"mk\d+", key):
            continue
        kind, label, position, _, _, date = split_entry(entry, 6)[:6]
        cut = text.last_entry == ("marker infos", key) and entry.count(",") < 4
        if cut or not re.fullmatch(r"-?\d{1,18}", position):
            unreadable += 1
        elif int(position) < 1 or (n_samples is not None and int(position) > n_samples):
            outside += 1
        else:
            markers.append(FileMarker(kind, label, int(position) - 1, date if date.strip("0") else ""))
    problems = list(text.problems)
    if unreadable:
        problems.append(f"{vmrk.name}: {unreadable} of the markers have no readable position and are left out")
    if outside:
        length = f"1 to {n_samples}" if n_samples is not None else "1 on"
        problems.append(f"{vmrk.name}: {outside} of the markers lie outside samples {length} and are left out")
    return BrainVisionMarkers(tuple(sorted(markers, key=lambda marker: marker.sample)), tuple(problems))


def write_header(
    vhdr: Path, sfreq: float, channels: Sequence[ChannelInfo], resolutions: Sequence[float], binary: str
) -> None:
    """Write a header file; ``resolutions`` are µV per stored value, or the channel's own unit if that is not V."""
    entries = [
        # a blank unit would be read as µV
        join_entry(c.name, "", f"{size:.12g}", "µV" if c.unit == "V" else c.unit.strip() or "n/a")
        for c, size in zip(channels, resolutions, strict=True)
    ]
    common = [
        ("Codepage", "UTF-8"),
        ("DataFile", vhdr.with_suffix(".eeg").name),
        ("MarkerFile", vhdr.with_suffix(".vmrk").name),
        ("DataFormat", "BINARY"),
        ("DataOrientation", "MULTIPLEXED"),
        ("NumberOfChannels", str(len(channels))),
        ("SamplingInterval", f"{1e6 / sfreq:.17g}"),
    ]
    numbered = [(f"Ch{k}", entry) for k, entry in enumerate(entries, start=1)]
    write_sections(
        vhdr,
        "Brain Vision Data Exchange Header File Version 1.0",
        [("Common Infos", common), ("Binary Infos", [("BinaryFormat", binary)]), ("Channel Infos", numbered)],
    )


def write_markers(vmrk: Path, markers: Sequence[FileMarker]) -> None:
    """Write a marker file; the new segment at the first sample, which every file has, is added when it is absent."""
    if not any(m.kind == NEW_SEGMENT and m.sample == 0 for m in markers):
        markers = [FileMarker(NEW_SEGMENT, "", 0), *markers]
    # at one sample, the segment begins before anything happens in it
    ordered = sorted(markers, key=lambda m: (m.sample, m.kind != NEW_SEGMENT))
    entries: list[tuple[str, str]] = []
    for k, m in enumerate(ordered, start=1):
        date = (m.date,) if m.date else ()
        entries.append((f"Mk{k}", join_entry(m.kind, m.label, str(m.sample + 1), "1", "0", *date)))
    common = [("Codepage", "UTF-8"), ("DataFile", vmrk.with_suffix(".eeg").name)]
    write_sections(
        vmrk,
        "Brain Vision Data Exchange Marker File, Version 1.0",
        [("Common Infos", common), ("Marker Infos", entries)],
    )


def _channels(text: Text, n_channels: int, name: str) -> tuple[tuple[ChannelInfo, ...], F64, list[str]]:
    entries = text.sections.get("channel infos", {})
    channels: list[ChannelInfo] = []
    scale = np.ones(n_channels)
    garbled: list[str] = []
    for k in range(n_channels):
        entry = entries.get(f"ch{k + 1}")
        if entry is None:
            raise FormatError(f"{name}: channel {k + 1} of {n_channels} is not described")
        if text.last_entry == ("channel infos", f"ch{k + 1}") and entry.count(",") < entries["ch1"].count(","):
            raise FormatError(f"{name}: ends in the middle of channel {k + 1} of {n_channels}")
        label, _, resolution, unit = split_entry(entry, 4)[:4]
        try:
            size = float(resolution) if resolution else 1.0
        except ValueError:
            size = math.nan
        if not math.isfinite(size) or size == 0:
            raise FormatError(f"{name}: channel {label} has resolution {resolution!r}, expected a number that is not 0")
        volts = volts_per(unit or "µV")
        if volts is None and re.fullmatch(r"[^\x00-\x7f]{1,2}[Vv]", unit):
            # of the prefixes only that of µV is beyond ASCII: a code page made something else of it
            volts = 1e-6
            garbled.append(label)
        scale[k] = size * (1.0 if volts is None else volts)
        kind = "misc" if volts is None else kind_of(label)
        channels.append(ChannelInfo(label, kind, unit if volts is None else "V"))
    problems: list[str] = []
    if garbled:
        problems.append(f"{name}: the unit of {len(garbled)} of {n_channels} channels is garbled and taken as µV")
    return tuple(channels), scale, problems


def kind_of(label: str) -> str:
    """Tell the kind of a channel that measures a voltage from its name: a header that has no kinds knows no better."""
    upper = label.upper()
    for part, kind in (("ECG", "ecg"), ("EKG", "ecg"), ("EOG", "eog"), ("EMG", "misc"), ("RESP", "resp")):
        if part in upper:
            return kind
    return "eeg"


def _beside(vhdr: Path, given: str) -> Path | None:
    # a header that came from elsewhere may only name what lies beside it
    name = Path(given.replace("$b", vhdr.stem).replace("\\", "/")).name
    return vhdr.parent / name if name else None


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
