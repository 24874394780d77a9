"""Physiology beside a recording: ``_physio.tsv.gz`` as BIDS has it, and WFDB records."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from streamer.acquire.bids_files import Beside, parse_name, read_json
from streamer.acquire.recording import PhysioPart
from streamer.errors import FormatError, RecordingError
from streamer.formats.brainvision_header import kind_of
from streamer.messages import F64, ChannelInfo


def open_physio(path: Path, start_s: float | None = None) -> PhysioPart:
    """Open physiology.

    Parameters
    ----------
    path : Path
        A ``_physio.tsv.gz`` (or .tsv) with its JSON, or the .hea of a WFDB record.
    start_s : float, optional
        Its first sample on the recording's axis, s; by default what the JSON says, or 0.

    Raises
    ------
    RecordingError
        It cannot be read.
    """
    if path.name.lower().endswith(".hea"):
        from streamer.acquire.recorded_wfdb import open_wfdb

        part = open_wfdb(path)
    elif path.name.lower().endswith((".tsv", ".tsv.gz")):
        part = _open_table(path)
    else:
        raise RecordingError(f"{path}: expected physiology in a _physio.tsv.gz or a .hea")
    if start_s is None:
        return part
    moved = start_s - part.start_s
    markers = tuple(replace(marker, at_s=marker.at_s + moved) for marker in part.markers)
    return replace(part, start_s=start_s, markers=markers)


def _open_table(path: Path) -> PhysioPart:
    about = _about(path)
    columns = about.get("Columns")
    if not isinstance(columns, list) or not columns:
        raise FormatError(f"{path.name}: its JSON has Columns {columns!r}, expected a list of names")
    sfreq, start = (_number(about, key, path.name) for key in ("SamplingFrequency", "StartTime"))
    if not sfreq > 0:
        raise FormatError(f"{path.name}: its JSON has SamplingFrequency {sfreq:g}, expected Hz above 0")
    data = _read_table(path, len(columns))
    return PhysioPart(
        format="BIDS physio",
        channels=tuple(_channel(str(name), about) for name in columns),
        sfreq=sfreq,
        n_samples=len(data),
        start_s=start,
        read=lambda first, stop: data[first:stop],
    )


def _about(path: Path) -> Mapping[str, Any]:
    if parse_name(path) is not None and (values := Beside(path).metadata):
        return values
    sidecar = path.with_name(path.name.partition(".")[0] + ".json")
    if not sidecar.is_file():
        raise FormatError(f"{path.name}: no {sidecar.name} beside it: its columns and rate are unknown")
    return read_json(sidecar)


def _number(about: Mapping[str, Any], key: str, name: str) -> float:
    value = about.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise FormatError(f"{name}: its JSON has {key} {value!r}, expected a number")
    return float(value)


def _channel(name: str, about: Mapping[str, Any]) -> ChannelInfo:
    described = about.get(name)
    unit = str(described.get("Units", "")) if isinstance(described, dict) else ""
    kind = kind_of(name)
    # kind_of takes what it does not know for EEG
    return ChannelInfo(name, kind if kind in {"ecg", "eog"} else "misc", unit)


def _read_table(path: Path, n_columns: int) -> F64:
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8-sig")
        lines = text.replace("n/a", "nan").splitlines()
        data = np.loadtxt(lines, delimiter="\t", ndmin=2) if lines else np.empty((0, n_columns))
    except (OSError, EOFError, UnicodeDecodeError, ValueError, zlib.error) as error:
        raise FormatError(
            f"{path.name}: not a table of numbers without a header line ({type(error).__name__})"
        ) from error
    if data.shape[1] != n_columns:
        raise FormatError(f"{path.name}: {data.shape[1]} columns, its JSON names {n_columns}")
    return np.asarray(data, np.float64)
