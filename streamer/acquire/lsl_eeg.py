"""An EEG stream on LSL as a source: V, own stamps kept, refused when it cannot be trusted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from pydantic import Field

from streamer.acquire.eeg_stream import EegDescription, FirstSecond, refuse_channels
from streamer.acquire.lsl_find import Wanted, describe, find
from streamer.acquire.lsl_reader import InletReader
from streamer.acquire.lsl_subscription import Subscription
from streamer.acquire.trigger_channel import EXACT_FLOAT32, SampleCounter, TriggerChannel
from streamer.clock import Clock
from streamer.contracts import Settings
from streamer.errors import StreamRefused
from streamer.formats.volts import volts_per
from streamer.messages import F64, Array, ChannelInfo, ClockOffset, EegChunk, Marker, SourceState

CAPACITY_S = 10.0
NO_CHANNEL = "none"
"""As the name of a channel: take none."""
NO_UNIT = "n/a"
"""Of a channel that holds numbers."""
TRIGGER_KINDS = frozenset({"trig", "trigger", "stim", "ttl"})
COUNTER_KINDS = frozenset({"counter"})
_BIOSIGNALS = {"eeg", "ecg", "eog", "emg", "ref"}


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
    trigger_channel: str | None = None
    """Channel whose rising edges are volume triggers.
    Unset: the one of type TRIG, STIM or TTL, if there is just one; "none": no channel."""
    trigger_label: str = "R128"
    """Label of the markers that are made from it."""
    trigger_code: int | None = None
    """Value that means a volume, for a channel of digital codes; unset: any rise is a volume."""
    trigger_rise: float = Field(default=0.5, gt=0)
    """A rise from one sample to the next by more than this is an edge, in the channel's own numbers."""
    trigger_debounce_s: float = Field(default=0.005, ge=0, le=1)
    """Edges that come sooner after a trigger are bounce, s."""
    counter_channel: str | None = None
    """Channel that numbers the samples, so that lost ones are counted exactly.
    Unset: the one of type COUNTER, if there is just one; "none": no channel."""
    counter_bits: Literal[8, 16, 24, 32] | None = None
    """Size of the counter; unset: guessed from its highest value."""


class LslEegSource:
    """An EEG stream; yields ``ClockOffset``, ``EegChunk``, ``Marker`` and ``SourceState``.

    Markers come from a trigger channel, when the stream has one, right before the chunk that holds their sample.
    ``EegChunk.first_sample`` counts the samples received; with a sample counter it counts the lost ones, too, and a
    chunk ends where samples are missing. Whatever else is odd in the stamps is passed on as it came.

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
        self._first_second: FirstSecond | None = None
        self._counter: SampleCounter | None = None
        self._triggers: TriggerChannel | None = None
        self._counter_at = self._triggers_at = 0

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
            self._prepare(reader.full_info(), sfreq)

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

    def _prepare(self, info: Any, sfreq: float) -> None:
        from pylsl import cf_float32

        s = self.settings
        channels, self._scales = read_channels(info, s.unit, numbers=(s.trigger_channel, s.counter_channel))
        triggers = _the_channel(channels, s.trigger_channel, TRIGGER_KINDS, "trigger_channel")
        counter = _the_channel(channels, s.counter_channel, COUNTER_KINDS, "counter_channel")
        name = str(info.name())
        if triggers is not None:
            self._triggers_at = triggers
            self._triggers = TriggerChannel(
                s.trigger_label, sfreq, s.trigger_code, s.trigger_rise, s.trigger_debounce_s
            )
        if counter is not None:
            limit = EXACT_FLOAT32 if info.channel_format() == cf_float32 else np.inf
            self._counter_at = counter
            self._counter = SampleCounter(channels[counter].name, sfreq, s.counter_bits, limit)
        self._description = EegDescription(
            name,
            sfreq,
            channels,
            triggers="" if triggers is None else channels[triggers].name,
            counter="" if counter is None else channels[counter].name,
        )
        said_by = "stream's description" if s.unit == "from-stream" else f"settings (unit {s.unit!r})"
        advice = "correct the sender, or set eeg.stream.unit"
        self._first_second = FirstSecond(self._description, said_by, advice)

    def _convert(self, samples: Array, stamps: F64, offset: float) -> None:
        data = (samples.astype(np.float64) * self._scales).astype(np.float32)
        if self._first_second is not None:
            self._first_second.add(data)
        numbers = self._number(samples, stamps)
        times = stamps + offset
        received = self._clock.now()
        cuts = [0, *(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist(), len(data)]
        for start, stop in pairwise(cuts):
            piece, first = slice(start, stop), int(numbers[start])
            if self._triggers is not None:
                pulses = samples[piece, self._triggers_at]
                for marker in self._triggers(pulses, first, stamps[piece], times[piece], received):
                    self._held.put(marker)
            chunk = EegChunk(self.name, data[piece], stamps[piece], times[piece], first, received)
            self._held.put(chunk, stop - start)

    def _number(self, samples: Array, stamps: F64) -> Array:
        """Give each sample's index since the stream was opened."""
        if self._counter is not None:
            return self._counter(samples[:, self._counter_at], stamps)
        first, self._received = self._received, self._received + len(samples)
        return np.arange(first, self._received)

    def __aiter__(self) -> AsyncIterator[EegChunk | ClockOffset | Marker | SourceState]:
        return self._held.items((EegChunk, ClockOffset, Marker, SourceState))

    def losses(self) -> Mapping[str, int]:
        """Samples that were received, but not fetched in time."""
        return {"eeg_samples": self._held.lost_samples}

    async def close(self) -> None:
        """End the threads and the subscription. May be called twice."""
        await self._held.close()


def read_channels(
    info: Any, unit: str, *, numbers: tuple[str | None, str | None] = (None, None)
) -> tuple[tuple[ChannelInfo, ...], F64]:
    """Read a stream's channels.

    Parameters
    ----------
    info : pylsl.StreamInfo
        With its description.
    unit : str
        ``from-stream`` or the unit of all channels.
    numbers : tuple of str or None
        Channels that hold triggers and sample numbers, whatever their type says.

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
        for named, other in zip(numbers, ("trig", "counter"), strict=True):
            kind = other if label == named else kind
        own = entry.child_value("unit").strip()
        entry = entry.next_sibling("channel")
        if kind in TRIGGER_KINDS | COUNTER_KINDS:
            # a number, whatever unit the sender gives to all of its channels alike
            channels.append(ChannelInfo(label, kind, NO_UNIT))
            scales.append(1.0)
            continue
        given = own if unit == "from-stream" else unit
        scale = volts_per(given)
        if scale is None and (kind in _BIOSIGNALS or not given):
            problems.append(f"{label} ({given!r})" if given else f"{label} (none)")
        channels.append(ChannelInfo(label, kind, "V" if scale is not None else given))
        scales.append(1.0 if scale is None else scale)
    if problems:
        listed = ", ".join(problems[:4]) + (f" and {len(problems) - 4} more" if len(problems) > 4 else "")
        raise StreamRefused(
            f"stream {title}: unit of {listed}; expected V, mV or µV in its description, or eeg.stream.unit in the "
            "settings"
        )
    refuse_channels(title, channels)
    return tuple(channels), np.array(scales)


def _the_channel(
    channels: tuple[ChannelInfo, ...], named: str | None, kinds: frozenset[str], setting: str
) -> int | None:
    """Find the channel of the settings, or the only one of its kinds; give its place."""
    if named == NO_CHANNEL:
        return None
    if named is None:
        fitting = [i for i, channel in enumerate(channels) if channel.kind in kinds]
        return fitting[0] if len(fitting) == 1 else None
    place = next((i for i, channel in enumerate(channels) if channel.name == named), None)
    if place is None:
        raise StreamRefused(
            f"eeg.stream.{setting} is {named!r}, the stream has the channels {', '.join(c.name for c in channels)}"
        )
    return place
