"""A WFDB record as physiology of a recording: ECG, with its beats as markers."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from streamer.acquire.recording import PhysioPart, RecordedMarker
from streamer.errors import FormatError
from streamer.formats.volts import volts_per
from streamer.formats.wfdb import WfdbRecord, read_wfdb
from streamer.messages import F64, ChannelInfo

_LEADS = {
    "I",
    "II",
    "III",
    "AVR",
    "AVL",
    "AVF",
    *(f"V{k}" for k in range(1, 10)),
    *(f"MLI{x}" for x in ("", "I", "II")),
}


def open_wfdb(hea: Path) -> PhysioPart:
    """Open a record.

    Raises
    ------
    FormatError
        A file is missing, cut, or not what its format demands.
    """
    record = read_wfdb(hea)
    if record.problems:
        # a part of physiology has no place to say that something is missing
        raise FormatError(f"{hea.name}: {'; '.join(record.problems)}")
    volts = [volts_per(signal.unit) for signal in record.signals]
    channels = tuple(
        ChannelInfo(signal.name, _kind(signal.name), "V" if volt is not None else signal.unit)
        for signal, volt in zip(record.signals, volts, strict=True)
    )
    scale = np.array([1.0 if volt is None else volt for volt in volts])
    markers = tuple(
        RecordedMarker(
            a.text or a.symbol,
            a.sample / record.sfreq,
            a.sample / record.sfreq,
            a.sample,
            "beat" if a.is_beat else "rhythm" if a.symbol == "+" else "annotation",
        )
        for a in record.annotations
    )
    return PhysioPart("WFDB", channels, record.sfreq, record.n_samples, 0.0, partial(_read, record, scale), markers)


def _kind(name: str) -> str:
    upper = name.upper()
    return "ecg" if upper in _LEADS or upper.startswith(("ECG", "EKG", "MLV")) else "misc"


def _read(record: WfdbRecord, scale: F64, start: int, stop: int) -> F64:
    return record.read(start, stop) * scale
