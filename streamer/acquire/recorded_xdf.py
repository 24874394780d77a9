"""An XDF file as parts of a recording: one EEG stream, marker streams, physiology, all on the recorder's clock.

Raw stamps are kept; the clock offsets are applied once. Nothing is dejittered: the stamps are what the recorder wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from streamer.acquire.recorded_clock import SenderClock, fit_clock
from streamer.acquire.recording import PhysioPart, RecordedMarker
from streamer.errors import FormatError, RecordingError
from streamer.formats.volts import volts_per
from streamer.formats.xdf_read import XdfFile, XdfSamples, XdfStream, read_stamps, read_texts, scan_xdf
from streamer.messages import F32, F64, ChannelInfo

FORMAT = "XDF"
_BIOSIGNALS = {"eeg", "ecg", "eog", "emg", "ref"}
_PHYSIOLOGY = {"ecg", "ekg", "ppg", "pulse", "resp", "respiration", "eda", "gsr", "emg", "physio"}
_SAME_STAMP_S = 1e-7
"""Two stamps of one clock that are this close are of one sample, s."""
_GAP_S = 0.25
"""Stamps that are later than expected by this are said to be behind a gap, s; the engine looks closer."""
_RATE_OFF = 0.005
"""Rates that differ by more than this, relative, are said."""


@dataclass(frozen=True)
class XdfEeg:
    """The EEG stream of a file."""

    stream: XdfStream
    samples: XdfSamples
    stamps: F64
    """Raw stamps, s on the sender's clock, shape (n_samples,)."""
    clock: SenderClock
    start: float
    """Of the first sample, s on the recorder's clock."""
    duration_s: float
    """From the first sample to the end of the last one, lost stretches included, s."""
    channels: tuple[ChannelInfo, ...]
    scale: F64
    """From stored value to unit, shape (n_channels,)."""
    markers: tuple[RecordedMarker, ...]
    problems: tuple[str, ...]
    format: str = FORMAT

    @property
    def sfreq(self) -> float:
        """Nominal rate, Hz."""
        return self.stream.sfreq

    @property
    def n_samples(self) -> int:
        """How many there are; lost ones are not counted."""
        return self.stream.count

    def read(self, start: int, stop: int) -> F32:
        """Read samples ``start`` to ``stop`` (excluded), V, shape (stop - start, n_channels)."""
        return (self.samples.read(start, stop) * self.scale).astype(np.float32)

    def times(self, start: int, stop: int) -> tuple[F64, F64]:
        """Give the sender's raw stamps of these samples, s, and their times on the recording's axis, s."""
        raw = self.stamps[start:stop]
        return raw, self.clock.correct(start, raw) - self.start


@dataclass(frozen=True)
class XdfRecording:
    """What a file holds that can be played."""

    eeg: XdfEeg | None
    others: tuple[RecordedMarker, ...]
    """Markers of all streams in the order of their times; those of the EEG part are the same."""
    problems: tuple[str, ...]
    """What is wrong with the file and with all its streams."""
    physio: tuple[PhysioPart, ...] = ()


def list_streams(path: Path) -> list[XdfStream]:
    """List what a file holds, without reading the samples; what is wrong with the file stands with its first stream.

    Raises
    ------
    FormatError
        It cannot be read or is no XDF file.
    """
    file = scan_xdf(path)
    first, *rest = file.streams
    return [replace(first, problems=(*file.problems, *first.problems)), *rest]


def open_xdf(path: Path, stream: str | None = None, unit: str | None = None) -> XdfRecording:
    """Open a file.

    Parameters
    ----------
    path : Path
    stream : str, optional
        Name or number of the EEG stream; needed when there are several.
    unit : str, optional
        Unit of all channels of the EEG; needed when the file tells none.

    Raises
    ------
    FormatError
        It cannot be read or is no XDF file, or a channel has no known unit.
    RecordingError
        It is not clear which stream is the EEG.
    """
    file = scan_xdf(path)
    chosen = _choose(file, stream)
    problems = [*file.problems, *(f"stream {s.name!r}: {problem}" for s in file.streams for problem in s.problems)]
    stamps = read_stamps(path, chosen) if chosen is not None else np.zeros(0)
    clock = fit_clock(stamps, chosen.offsets if chosen is not None else np.zeros((0, 3)))
    timed = [(found, *read_texts(path, found)) for found in file.streams if found is not chosen and found.is_markers]
    corrected = [_correct(found, raw, problems) for found, raw, _ in timed]
    if chosen is not None:
        start = float(clock.correct(0, stamps[:1])[0])
    else:
        start = min((float(times.min()) for times in corrected if len(times)), default=0.0)
    markers: list[RecordedMarker] = []
    for (found, raw, texts), times in zip(timed, corrected, strict=True):
        samples = _same_samples(chosen, stamps, found, raw)
        for text, at, at_raw, sample in zip(texts, (times - start).tolist(), raw.tolist(), samples, strict=True):
            markers.append(RecordedMarker(text, at, at_raw, sample, found.name))
    ordered = tuple(sorted(markers, key=lambda marker: marker.at_s))
    physio = tuple(
        _physio(path, found, start, problems)
        for found in file.streams
        if found is not chosen and found.n_samples and found.sfreq > 0 and found.type.lower() in _PHYSIOLOGY
    )
    eeg = None
    if chosen is not None:
        channels, scale = read_channels(path, chosen, unit)
        said = [*(f"stream {chosen.name!r}: {p}" for p in (*clock.problems, *judge(chosen, stamps, clock)))]
        problems += said
        times = clock.correct(0, stamps) - start
        duration = float(times.max()) + 1.0 / chosen.sfreq
        eeg = XdfEeg(
            chosen, XdfSamples(path, chosen), stamps, clock, start, duration, channels, scale, ordered, tuple(problems)
        )
    return XdfRecording(eeg, ordered, tuple(problems), physio)


def _choose(file: XdfFile, wanted: str | None) -> XdfStream | None:
    regular = [s for s in file.streams if s.sfreq > 0 and s.n_samples]
    if wanted is not None:
        fitting = [s for s in regular if wanted == s.name] or [s for s in regular if wanted == str(s.number)]
    else:
        fitting = [s for s in regular if s.type.lower() == "eeg"]
        if not fitting:
            return None
    if len(fitting) == 1:
        return fitting[0]
    listed = "; ".join(
        f"{s.number} {s.name!r} (type {s.type}, {s.n_channels} channels, {s.sfreq:g} Hz)" for s in fitting or regular
    )
    if not fitting:
        raise RecordingError(
            f"{file.path.name}: no stream {wanted!r} with samples at a regular rate; there are {listed}"
        )
    raise RecordingError(f"{file.path.name}: {len(fitting)} EEG streams, expected one; set stream to one of: {listed}")


def read_channels(path: Path, stream: XdfStream, unit: str | None) -> tuple[tuple[ChannelInfo, ...], F64]:
    """Read a stream's channels, and what their values are multiplied with to be in V (1 for no voltage).

    Raises
    ------
    FormatError
        A unit is missing or unknown, a name stands there twice, or no channel is EEG.
    """
    title = f"{path.name}: stream {stream.name!r}"
    if unit is not None and volts_per(unit) is None:
        raise FormatError(f"{title}: unit is {unit!r}, expected V, mV or µV")
    channels: list[ChannelInfo] = []
    scale = np.ones(stream.n_channels)
    doubtful: list[str] = []
    for k in range(stream.n_channels):
        described = stream.channels[k] if k < len(stream.channels) else None
        name = (described.label if described is not None else "") or f"Ch{k + 1}"
        kind = ((described.kind if described is not None else "") or stream.type).lower()
        given = unit or (described.unit if described is not None else "")
        volts = volts_per(given)
        if volts is None and (kind in _BIOSIGNALS or not given):
            doubtful.append(f"{name} ({given or 'none'})")
        scale[k] = 1.0 if volts is None else volts
        channels.append(ChannelInfo(name, kind, given if volts is None else "V"))
    if doubtful:
        listed = ", ".join(doubtful[:4]) + (f" and {len(doubtful) - 4} more" if len(doubtful) > 4 else "")
        raise FormatError(f"{title}: unit of {listed}; expected V, mV or µV in the file, or set unit to what it is")
    names = [channel.name for channel in channels]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise FormatError(f"{title}: more than one channel is called {', '.join(doubled)}")
    return tuple(channels), scale


def judge(stream: XdfStream, stamps: F64, clock: SenderClock) -> list[str]:
    """Say what is wrong with the stamps of a regular stream; they stay as they are."""
    problems: list[str] = []
    if not len(stream.offsets):
        problems.append("no clock offsets: its stamps are taken to be on the recorder's clock")
    raw_steps, steps = np.diff(stamps), np.diff(clock.correct(0, stamps))
    if doubled := int(np.count_nonzero(raw_steps == 0)):
        problems.append(f"{doubled} stamps are the same as the one before")
    if backwards := int(np.count_nonzero(steps < 0)):
        problems.append(f"{backwards} stamps go backwards, by {-float(steps.min()):.3f} s at most")
    late = steps > _GAP_S + 1.0 / stream.sfreq
    if late.any():
        problems.append(f"{int(late.sum())} gaps, the longest of {float(steps.max()):.3f} s")
    even = steps[(steps >= 0) & ~late]
    if len(even) >= stream.sfreq and even.sum() > 0:
        rate = len(even) / float(even.sum())
        if abs(rate / stream.sfreq - 1) > _RATE_OFF:
            problems.append(f"nominal rate {stream.sfreq:g} Hz, but by its stamps {rate:.2f} Hz")
    return problems


def _correct(stream: XdfStream, raw: F64, problems: list[str]) -> F64:
    clock = fit_clock(raw, stream.offsets)
    problems += [f"stream {stream.name!r}: {problem}" for problem in clock.problems]
    return clock.correct(0, raw)


def _same_samples(eeg: XdfStream | None, stamps: F64, stream: XdfStream, raw: F64) -> Sequence[int | None]:
    """Give the EEG sample that has the very stamp of each marker, where both are stamped by one machine's clock."""
    none: list[int | None] = [None] * len(raw)
    if eeg is None or not stream.host or stream.host != eeg.host:
        return none
    order = np.argsort(stamps, kind="stable")
    ordered = stamps[order]
    near = np.clip(np.searchsorted(ordered, raw - _SAME_STAMP_S), 0, len(ordered) - 1)
    hit = np.abs(ordered[near] - raw) <= _SAME_STAMP_S
    if np.count_nonzero(hit) < len(hit) / 2:
        # a sender that does not stamp by samples meets one now and then
        return none
    return [int(order[k]) if same else None for k, same in zip(near.tolist(), hit.tolist(), strict=True)]


def _physio(path: Path, stream: XdfStream, start: float, problems: list[str]) -> PhysioPart:
    kind = stream.type.lower()
    described = [*stream.channels, *[None] * (stream.n_channels - len(stream.channels))]
    volts = [volts_per(entry.unit) if entry is not None else None for entry in described]
    channels = tuple(
        ChannelInfo(
            (entry.label if entry is not None else "") or f"Ch{k + 1}",
            "ecg" if kind in {"ecg", "ekg"} else "misc",
            "V" if volt is not None else (entry.unit if entry is not None else ""),
        )
        for k, (entry, volt) in enumerate(zip(described, volts, strict=True))
    )
    scale = np.array([1.0 if volt is None else volt for volt in volts])
    stamps = read_stamps(path, stream)
    times = _correct(stream, stamps, problems)
    return PhysioPart(
        FORMAT,
        channels,
        stream.sfreq,
        stream.count,
        float(times[0]) - start,
        partial(_read_scaled, XdfSamples(path, stream), scale),
    )


def _read_scaled(samples: XdfSamples, scale: F64, start: int, stop: int) -> F64:
    return np.asarray(samples.read(start, stop) * scale, np.float64)
