"""An EEG stream on LSL as a source: V, own stamps kept, refused when it cannot be trusted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field

from streamer.acquire.lsl_find import Wanted, describe, find
from streamer.acquire.lsl_reader import InletReader
from streamer.acquire.lsl_subscription import Subscription
from streamer.clock import Clock
from streamer.contracts import Settings
from streamer.errors import StreamRefused
from streamer.messages import F32, F64, Array, ChannelInfo, ClockOffset, EegChunk, SourceState

CAPACITY_S = 10.0
_VOLTS = {
    "v": 1.0,
    "volt": 1.0,
    "volts": 1.0,
    "mv": 1e-3,
    "millivolt": 1e-3,
    "millivolts": 1e-3,
    "uv": 1e-6,
    "µv": 1e-6,
    "μv": 1e-6,
    "microvolt": 1e-6,
    "microvolts": 1e-6,
}
_BIOSIGNALS = {"eeg", "ecg", "eog", "emg", "ref"}
# EEG lies between 1 µV and, with scanner artefacts, some 10 mV
_LEAST_V = 1e-9
_MOST_V = 0.1


class EegStreamSettings(Settings):
    """Which EEG stream is taken, and how."""

    name: str | None = None
    """Name of the stream; none: any of the type."""
    source_id: str | None = None
    """Identity of the sender; none: any."""
    type: str = "EEG"
    """Content type of the stream."""
    unit: Literal["from-stream", "V", "mV", "uV"] = "from-stream"
    """Unit of all channels; from-stream takes each channel's own, and refuses a stream that tells none."""
    max_chunk_s: float = Field(default=0.2, gt=0, le=5)
    """Longest chunk, s: what waits is fetched in pieces of this length."""
    buffer_s: int = Field(default=120, ge=60)
    """What liblsl keeps while the program is busy, s."""
    silence_s: float = Field(default=1.0, gt=0)
    """Without data for so long the stream counts as lost, s."""
    resolve_s: float = Field(default=1.0, gt=0)
    """How long one look for streams takes, s."""
    recover: bool = True
    """Wait for a lost stream; False ends the session."""
    ignore: tuple[str, ...] = ("CleanEEG",)
    """Names that are not taken unless ``name`` asks for one: our own cleaned EEG."""


@dataclass(frozen=True, slots=True)
class EegDescription:
    """What is known of an EEG stream once it is open."""

    name: str
    sfreq: float
    """Hz, nominal."""
    channels: tuple[ChannelInfo, ...]


class LslEegSource:
    """An EEG stream; yields ``ClockOffset``, ``EegChunk`` and ``SourceState``.

    Parameters
    ----------
    settings : EegStreamSettings
    clock : Clock
        The LSL clock of this host.
    """

    name = "eeg"

    def __init__(self, settings: EegStreamSettings, clock: Clock) -> None:
        self.settings = settings
        self._clock = clock
        self._held = Subscription(self.name, "EEG", clock)
        self._description = EegDescription("", 0.0, ())
        self._scales: F64 = np.ones(0)
        self._received = 0
        self._first_second: list[F32] | None = []

    async def open(self, *, wait: bool = True, on_wait: Callable[[str], None] | None = None) -> EegDescription:
        """Find the stream and subscribe to it: every sample sent from here on is received.

        Parameters
        ----------
        wait : bool
            Go on looking while there is none.
        on_wait : callable or None
            Called with a message while it is absent: once, and when the list of streams changes.

        Raises
        ------
        StreamNotFound
            There is none and ``wait`` is False.
        StreamRefused
            Several fit, or what it tells of itself cannot be trusted.
        SourceError
            It was found, but does not answer.
        """
        self._held.refuse_if_open()
        s = self.settings
        wanted = Wanted("EEG", s.type, s.name, s.source_id, s.ignore)
        info = await find(wanted, s.resolve_s, wait=wait, on_wait=on_wait)
        sfreq = float(info.nominal_srate())
        if not sfreq > 0:
            raise StreamRefused(f"{describe([info])}: expected EEG at a regular rate")
        shape = (info.channel_count(), info.nominal_srate())

        def describe_it(reader: InletReader) -> None:
            channels, self._scales = read_channels(reader.full_info(), s.unit)
            self._description = EegDescription(str(info.name()), sfreq, channels)

        await self._held.open(
            info,
            wanted,
            self._convert,
            capacity=round(CAPACITY_S * sfreq),
            resolve_s=s.resolve_s,
            same=lambda found: (found.channel_count(), found.nominal_srate()) == shape,
            max_samples=max(1, round(s.max_chunk_s * sfreq)),
            buffer_s=s.buffer_s,
            silence_s=s.silence_s,
            recover=s.recover,
            prepare=describe_it,
        )
        return self._description

    def _convert(self, samples: Array, stamps: F64, offset: float) -> None:
        data = (samples.astype(np.float64) * self._scales).astype(np.float32)
        chunk = EegChunk(
            stream=self.name,
            data=data,
            times_raw=stamps,
            times=stamps + offset,
            first_sample=self._received,
            received=self._clock.now(),
        )
        self._received += len(data)
        if self._first_second is not None:
            self._first_second.append(data)
            if self._received >= self._description.sfreq:
                first, self._first_second = np.concatenate(self._first_second), None
                check_amplitude(first, self._description, self.settings.unit)
        self._held.put(chunk, len(data))

    def __aiter__(self) -> AsyncIterator[EegChunk | ClockOffset | SourceState]:
        return self._held.items((EegChunk, ClockOffset, SourceState))

    def losses(self) -> Mapping[str, int]:
        """Samples that were received, but not fetched in time."""
        return {"eeg_samples": self._held.lost_samples}

    async def close(self) -> None:
        """End the threads and the subscription. May be called twice."""
        await self._held.close()


def read_channels(info: Any, unit: str) -> tuple[tuple[ChannelInfo, ...], F64]:
    """Read a stream's channels.

    Parameters
    ----------
    info : pylsl.StreamInfo
        With its description.
    unit : str
        ``from-stream`` or the unit of all channels.

    Returns
    -------
    channels : tuple of ChannelInfo
    scales : array, shape (n_channels,)
        What a channel's values are multiplied with to be in V; 1 for a channel that measures no voltage.

    Raises
    ------
    StreamRefused
        Strings instead of numbers, a unit that is missing or unknown, or a name that stands there twice.
    """
    from pylsl import cf_string

    title, count = repr(info.name()), int(info.channel_count())
    if info.channel_format() == cf_string:
        raise StreamRefused(f"stream {title} holds strings: expected numbers")
    channels: list[ChannelInfo] = []
    scales: list[float] = []
    problems: list[str] = []
    entry = info.desc().child("channels").child("channel")
    for number in range(1, count + 1):
        label = entry.child_value("label").strip() or f"Ch{number}"
        kind = entry.child_value("type").strip().lower() or "eeg"
        given = entry.child_value("unit").strip() if unit == "from-stream" else unit
        scale = _VOLTS.get(given.casefold())
        if scale is None and (kind in _BIOSIGNALS or not given):
            problems.append(f"{label} ({given!r})" if given else f"{label} (none)")
        channels.append(ChannelInfo(label, kind, "V" if scale is not None else given))
        scales.append(1.0 if scale is None else scale)
        entry = entry.next_sibling("channel")
    if problems:
        listed = ", ".join(problems[:4]) + (f" and {len(problems) - 4} more" if len(problems) > 4 else "")
        raise StreamRefused(
            f"stream {title}: unit of {listed}; expected V, mV or µV in its description, or eeg.stream.unit in the "
            "settings"
        )
    names = [channel.name for channel in channels]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise StreamRefused(f"stream {title}: more than one channel is called {', '.join(doubled)}")
    if not any(channel.kind == "eeg" for channel in channels):
        kinds = ", ".join(sorted({channel.kind for channel in channels}))
        raise StreamRefused(f"stream {title}: channels of type {kinds}, expected at least one of type EEG")
    return tuple(channels), np.array(scales)


def check_amplitude(data: F32, description: EegDescription, unit: str) -> None:
    """Refuse EEG whose size tells that its unit is wrong.

    Parameters
    ----------
    data : array, shape (n_times, n_channels)
        V.
    description : EegDescription
    unit : str
        The unit of the settings, for the message.

    Raises
    ------
    StreamRefused
        The median standard deviation of the EEG channels is beyond what EEG or its artefacts reach.
    """
    eeg = [i for i, channel in enumerate(description.channels) if channel.kind == "eeg"]
    spread = float(np.median(data[:, eeg].std(axis=0, dtype=np.float64)))
    # a line that is exactly flat says nothing of the unit
    if spread == 0.0 or _LEAST_V <= spread <= _MOST_V:
        return
    said = "stream's description" if unit == "from-stream" else f"settings (unit {unit!r})"
    likely = "it is probably in V already" if spread < _LEAST_V else "it is probably in µV"
    raise StreamRefused(
        f"stream {description.name!r}: by the {said} the EEG has an amplitude of {spread:.3g} V, expected "
        f"{_LEAST_V:g} to {_MOST_V:g} V: {likely}; correct the sender, or set eeg.stream.unit"
    )
