"""A session's run log as a recording: what the loop was fed, with the times that it knew.

The index (one line an event) is read when the session is opened; samples and pixels are read when they are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from streamer.acquire.recorded_bold import DEFAULT_LATENCY_S, BoldPart
from streamer.acquire.recorded_runs import join_runs
from streamer.acquire.recording import RecordedMarker, Recording
from streamer.acquire.volume_pairing import number_pulses, onsets_by_pulses
from streamer.errors import RecordingError
from streamer.messages import F32, F64, Array, ChannelInfo, Flag, ScannerTime, SessionHeader, SessionTime, Volume
from streamer.runlog import EEG, LOG, STAMPS, VOLUMES
from streamer.runlog_read import is_session, log_lines, read_header

FORMAT = "run log"
_SAME_STAMP_S = 1e-6
"""A marker has a sample of its own when their raw stamps are this close, s."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """Where a volume lies in volumes.bin, and what is known of it."""

    series: str
    index: int
    start: int
    shape: tuple[int, ...]
    dtype: str
    affine: F64
    onset: ScannerTime | None
    tr: float
    slice_times: tuple[float, ...]
    received: float
    flags: Flag


@dataclass
class _Index:
    """What the log says, without the raw data."""

    rows: list[tuple[int, int, int]] = field(default_factory=list[tuple[int, int, int]])
    """Of each EEG chunk: its row in eeg.f32, its length, the number of its first sample."""
    markers: list[tuple[str, float, float, int | None]] = field(
        default_factory=list[tuple[str, float, float, int | None]]
    )
    """Label, session time, raw stamp, sample."""
    volumes: dict[str, dict[int, _Stored]] = field(default_factory=dict[str, dict[int, _Stored]])
    acquired: dict[tuple[str, int], float] = field(default_factory=dict[tuple[str, int], float])
    """Session time of the middle of each volume, as the loop found it."""
    problems: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class SessionEeg:
    """The EEG of a session: samples as they came, the sender's raw stamps, and their times with the clock offset."""

    sfreq: float
    """Hz, nominal."""
    channels: tuple[ChannelInfo, ...]
    markers: tuple[RecordedMarker, ...]
    data: Array
    """V, float32, memory-mapped, shape (n_samples, n_channels)."""
    stamps: Array
    """Raw stamps and session times, s, memory-mapped, shape (n_samples, 2)."""
    problems: tuple[str, ...] = ()
    format: str = FORMAT

    @property
    def n_samples(self) -> int:
        """How many there are; lost ones are not counted."""
        return len(self.data)

    @property
    def start(self) -> float:
        """Session time of the first sample, s."""
        return float(self.stamps[0, 1])

    @property
    def duration_s(self) -> float:
        """From the first sample to the end of the last one, lost stretches included, s."""
        return float(self.stamps[-1, 1]) - self.start + 1.0 / self.sfreq

    def read(self, start: int, stop: int) -> F32:
        """Read samples ``start`` to ``stop`` (excluded), V, shape (stop - start, n_channels).

        Raises
        ------
        ValueError
            The range is not within the recording.
        """
        if not 0 <= start <= stop <= self.n_samples:
            raise ValueError(f"samples {start} to {stop} of a recording of {self.n_samples}")
        return np.array(self.data[start:stop], np.float32)

    def times(self, start: int, stop: int) -> tuple[F64, F64]:
        """Give the sender's raw stamps of these samples, s, and their times on the recording's axis, s."""
        stamps = np.array(self.stamps[start:stop], np.float64)
        return stamps[:, 0].copy(), stamps[:, 1] - self.start


def open_session(folder: Path) -> Recording:
    """Open a session's folder; one that was cut short is read as far as it goes, and ``problems`` says so.

    Raises
    ------
    RecordingError
        There is no run log, or nothing in it.
    FormatError
        Its header cannot be read.
    """
    header = read_header(folder)
    if not is_session(folder):
        raise RecordingError(f"{folder} holds no session log: {LOG} is absent")
    index = _read_index(folder, len(header.channels))
    eeg = _eeg(folder, header, index)
    bold = _bold(folder, header, index, eeg)
    if eeg is None and bold is None:
        raise RecordingError(f"{folder}: the run log has neither EEG nor volumes" + _because(index.problems))
    return Recording(folder.resolve().name, eeg=eeg, bold=bold, problems=tuple(index.problems))


def _because(problems: list[str]) -> str:
    return f" ({problems[0]})" if problems else ""


def _whole(line: dict[str, Any]) -> dict[str, Any]:
    return line


def _read_index(folder: Path, n_channels: int) -> _Index:
    index = _Index()
    n_rows = min(_size(folder / EEG) // (4 * n_channels) if n_channels else 0, _size(folder / STAMPS) // 16)
    n_bytes = _size(folder / VOLUMES)
    unreadable = without_raw = 0
    for _, line in log_lines(folder, index.problems, _whole):
        try:
            match line["kind"]:
                case "eeg":
                    row, n_times = int(line["row"]), int(line["n_times"])
                    if row + n_times > n_rows:
                        without_raw += 1
                    elif n_times:
                        index.rows.append((row, n_times, int(line["first_sample"])))
                case "marker":
                    sample = line["sample"]
                    at, at_raw = float(line["at"]), float(line["at_raw"])
                    index.markers.append((str(line["label"]), at, at_raw, None if sample is None else int(sample)))
                case "volume":
                    stored = _stored(line)
                    if stored.start + math.prod(stored.shape) * np.dtype(stored.dtype).itemsize > n_bytes:
                        without_raw += 1
                    else:
                        # a volume that was exported twice is known from its first time
                        index.volumes.setdefault(stored.series, {}).setdefault(stored.index, stored)
                case "frame":
                    if line["acquired"] is not None:
                        index.acquired[str(line["series"]), int(line["index"])] = float(line["acquired"])
                case _:
                    pass
        except (KeyError, TypeError, ValueError):
            unreadable += 1
    if unreadable:
        index.problems.append(f"{unreadable} lines of {LOG} lack what their kind needs and are left out")
    if without_raw:
        index.problems.append(f"{without_raw} events lack their raw data and are left out")
    return index


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _stored(line: Mapping[str, Any]) -> _Stored:
    onset = line["onset"]
    return _Stored(
        series=str(line["series"]),
        index=int(line["index"]),
        start=int(line["start"]),
        shape=tuple(int(n) for n in line["shape"]),
        dtype=str(line["dtype"]),
        affine=np.array([float(value) for value in line["affine"]]).reshape(4, 4),
        onset=None if onset is None else ScannerTime(float(onset)),
        tr=float(line["tr"]),
        slice_times=tuple(float(value) for value in line["slice_times"]),
        received=float(line["received"]),
        flags=Flag(line["flags"]),
    )


def _mapped(path: Path, dtype: str, width: int, rows: list[tuple[int, int, int]]) -> Array:
    # whole rows only: a crash may have cut the last one short
    whole = _size(path) // (np.dtype(dtype).itemsize * width)
    mapped = np.memmap(path, dtype, "r", shape=(whole, width))
    if all(a[0] + a[1] == b[0] for a, b in pairwise(rows)):
        return mapped[rows[0][0] : rows[-1][0] + rows[-1][1]]
    # lines were lost in between: what no line speaks of is no part of the recording
    return np.concatenate([mapped[row : row + n] for row, n, _ in rows])


def _eeg(folder: Path, header: SessionHeader, index: _Index) -> SessionEeg | None:
    if not header.channels or not index.rows:
        return None
    data = _mapped(folder / EEG, "<f4", len(header.channels), index.rows)
    stamps = _mapped(folder / STAMPS, "<f8", 2, index.rows)
    problems: list[str] = []
    span = float(stamps[-1, 1] - stamps[0, 1]) * header.eeg_sfreq + 1
    if span - len(data) > 0.01 * len(data):
        problems.append(f"{len(data)} samples, but their time stamps span about {round(span)}")
    markers = _markers(index, stamps)
    return SessionEeg(header.eeg_sfreq, header.channels, markers, data, stamps, tuple(problems))


def _markers(index: _Index, stamps: Array) -> tuple[RecordedMarker, ...]:
    lengths = np.array([n for _, n, _ in index.rows])
    firsts = np.array([first for _, _, first in index.rows])
    places = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    start = float(stamps[0, 1])
    rising = bool(np.all(np.diff(stamps[:, 0]) > 0))
    markers: list[RecordedMarker] = []
    for label, at, at_raw, counted in index.markers:
        sample = _place(counted, firsts, lengths, places) if counted is not None else None
        if sample is None and rising:
            sample = _nearest(at_raw, stamps)
        at_s = (at if sample is None else float(stamps[sample, 1])) - start
        markers.append(RecordedMarker(label, at_s, at_raw, sample))
    return tuple(sorted(markers, key=lambda marker: marker.at_s))


def _place(counted: int, firsts: Array, lengths: Array, places: Array) -> int | None:
    # the newest chunk that holds it: a stream that was opened again counts from 0 again
    holding = np.flatnonzero((firsts <= counted) & (counted < firsts + lengths))
    return int(places[holding[-1]] + counted - firsts[holding[-1]]) if len(holding) else None


def _nearest(at_raw: float, stamps: Array) -> int | None:
    place = int(np.searchsorted(stamps[:, 0], at_raw - _SAME_STAMP_S))
    if place < len(stamps) and abs(float(stamps[place, 0]) - at_raw) <= _SAME_STAMP_S:
        return place
    return None


def _bold(folder: Path, header: SessionHeader, index: _Index, eeg: SessionEeg | None) -> BoldPart | None:
    """Give the volumes of all series, one after the other: a scan that was started again is a series of its own."""
    trigger, first_volume = _settings(header)
    runs = [[stored for _, stored in sorted(found.items())] for found in index.volumes.values()]
    runs.sort(key=lambda volumes: min(stored.received for stored in volumes))
    if not runs:
        return None
    if len({volumes[0].tr for volumes in runs}) > 1:
        kept = max(runs, key=len)
        counted = ", ".join(f"{v[0].series} ({len(v)} volumes)" for v in runs)
        index.problems.append(f"series of more than one TR: {counted}; the longest is taken, {kept[0].series}")
        runs = [kept]
    onsets = [_onsets(volumes, index, eeg, trigger, first_volume) for volumes in runs]
    zero = eeg.start if eeg is not None else onsets[0][0]
    pixels = np.memmap(folder / VOLUMES, "u1", "r")
    return join_runs(
        [
            BoldPart(
                indices=tuple(stored.index for stored in volumes),
                tr=volumes[0].tr,
                trigger=trigger,
                first_volume=first_volume,
                onsets=tuple(onset - zero for onset in began),
                known_at=tuple(stored.received - zero for stored in volumes),
                read=partial(_volume, pixels, volumes),
                path=lambda _: None,
                format=FORMAT,
            )
            for volumes, began in zip(runs, onsets, strict=True)
        ]
    )


def _volume(pixels: Array, volumes: list[_Stored], k: int) -> Volume:
    stored = volumes[k]
    dtype = np.dtype(stored.dtype)
    stop = stored.start + math.prod(stored.shape) * dtype.itemsize
    return Volume(
        data=np.array(pixels[stored.start : stop]).view(dtype).reshape(stored.shape),
        affine=stored.affine,
        series=stored.series,
        index=stored.index,
        onset=stored.onset,
        tr=stored.tr,
        slice_times=stored.slice_times,
        received=SessionTime(stored.received),
        flags=stored.flags,
    )


def _settings(header: SessionHeader) -> tuple[str, int]:
    # a header of another version may lack them
    clean, bold = header.config.get("clean", {}), header.config.get("bold", {})
    return str(clean.get("triggers", {}).get("label", "R128")), int(bold.get("first_volume", 0))


def _onsets(
    volumes: list[_Stored], index: _Index, eeg: SessionEeg | None, trigger: str, first_volume: int
) -> list[float]:
    """Give the session time of each volume's beginning: as the loop found it, by the triggers, or by its arrival."""
    numbers = np.array([stored.index for stored in volumes], np.float64)
    middle = np.array([index.acquired.get((v.series, v.index), math.nan) for v in volumes])
    trs = np.array([stored.tr for stored in volumes])
    found = middle - trs / 2
    known = np.isfinite(found)
    if known.any():
        tr = float(trs[0])
        nearest = np.array([int(np.argmin(np.where(known, np.abs(numbers - n), np.inf))) for n in numbers])
        return np.where(known, found, found[nearest] + (numbers - numbers[nearest]) * tr).tolist()
    times = [m.at_s for m in eeg.markers if m.label == trigger] if eeg is not None else []
    if eeg is not None and times:
        train = number_pulses(times, volumes[0].tr, trigger)
        return [at + eeg.start for at in onsets_by_pulses([v.index for v in volumes], first_volume, train)]
    # nothing tells when they began: the one that came fastest came with the usual latency
    received = np.array([stored.received for stored in volumes])
    first = float(np.min(received - numbers * trs)) - volumes[0].tr - DEFAULT_LATENCY_S
    if eeg is not None:
        index.problems.append(
            f"no trigger {trigger} and no time of a volume: when volumes began is told from their arrival"
        )
    return (first + numbers * trs).tolist()
