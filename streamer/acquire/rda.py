"""EEG and markers from BrainVision Recorder, by its Remote Data Access (RDA), as one source."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping

import numpy as np
from pydantic import Field

from streamer.acquire.eeg_stream import EegDescription, FirstSecond, refuse_channels
from streamer.acquire.mailbox import Mailbox
from streamer.acquire.rda_count import BlockCount, Since
from streamer.acquire.rda_link import RdaLink
from streamer.clock import Clock
from streamer.contracts import Settings
from streamer.errors import FormatError, SourceError, StreamNotFound, StreamRefused
from streamer.formats.brainvision_header import kind_of
from streamer.formats.rda import RdaData, RdaStart, RdaStop
from streamer.messages import ChannelInfo, ClockOffset, EegChunk, Flag, Marker, SessionTime, SourceState

CAPACITY_S = 10.0
OFFSET_EVERY_S = 2.0
_RETRY_S = 0.5
_VOLTS_PER_MICROVOLT = 1e-6


class RdaSettings(Settings):
    """Where BrainVision Recorder is found, and how its stream is taken."""

    host: str = "127.0.0.1"
    """Name or address of the computer that Recorder runs on."""
    port: int = Field(default=51244, ge=1, le=65535)
    """Port of its Remote Data Access: 51244 sends 32-bit floats, 51234 16-bit integers; both are read."""
    connect_s: float = Field(default=2.0, gt=0)
    """How long a connection may take to come about, and Recorder to begin to send, s."""
    silence_s: float = Field(default=1.0, gt=0)
    """Without data for so long the stream counts as lost, s."""
    reconnect_s: float = Field(default=10.0, gt=0)
    """Without data for so long the connection is made anew, s: a computer that lost its power hangs up on nobody."""
    delay_s: float = Field(default=0.0, ge=0, lt=1)
    """Shortest time from the end of a sample to its arrival here, s: subtracted from its time.
    Amplifier and Recorder hold samples back by about a block; arrivals alone cannot tell by how much."""
    recover: bool = True
    """Wait for a lost connection; False ends the session."""
    ignore: tuple[str, ...] = ("New Segment",)
    """Types of markers that are left out, as Recorder calls them."""


class RdaSource:
    """EEG and markers of one Recorder; yields ``ClockOffset``, ``EegChunk``, ``Marker`` and ``SourceState``.

    RDA carries no time stamps. ``EegChunk.times_raw`` is the sample's number over the rate: the sender's sample clock;
    ``times`` maps it to session time by the earliest arrivals (`ArrivalClock`). ``first_sample`` counts the samples of
    lost blocks, exactly; after Recorder was started anew, by estimate (`BlockCount`), flagged ``CLOCK_STEP``. A marker
    has its exact sample and comes right before the chunk that holds it.

    Parameters
    ----------
    settings : RdaSettings
    clock : Clock
        The LSL clock of this host.
    """

    name = "eeg"

    def __init__(self, settings: RdaSettings, clock: Clock) -> None:
        self.settings = settings
        self._clock = clock
        self._mailbox: Mailbox | None = None
        self._link: RdaLink | None = None
        self._task: asyncio.Task[None] | None = None
        self._lost = False
        self._told_offset = -np.inf

    async def open(self, *, wait: bool = True, on_wait: Callable[[str], None] | None = None) -> EegDescription:
        """Connect to Recorder while it monitors or records; every block from here on is received.

        Parameters
        ----------
        wait : bool
            Go on trying while nobody answers or nothing is monitored.
        on_wait : callable or None
            Called with a message while it is absent: once, and when the reason changes.

        Raises
        ------
        StreamNotFound
            Nobody answers, or nothing is monitored, and ``wait`` is False.
        StreamRefused
            What answers is no Recorder, or its channels cannot be used.
        """
        if self._task is not None:
            raise RuntimeError("the RDA source is open already")
        told = ""
        while True:
            try:
                link, start = await self._greet()
                break
            except StreamNotFound as error:
                if not wait:
                    raise
                if on_wait is not None and str(error) != told:
                    told = str(error)
                    on_wait(f"{error}; waiting")
                await asyncio.sleep(_RETRY_S)
        self._link = link
        description = self._begin(start)
        self._task = asyncio.create_task(self._read(), name="rda")
        return description

    @property
    def _where(self) -> str:
        return f"{self.settings.host}:{self.settings.port}"

    async def _greet(self) -> tuple[RdaLink, RdaStart]:
        s = self.settings
        try:
            link = await RdaLink.open(s.host, s.port, s.connect_s, self._clock)
        except OSError as error:
            reason = error.strerror or "no answer"
            raise StreamNotFound(
                f"no BrainVision Recorder at {self._where} ({reason}): start it, and switch Remote Data Access on"
            ) from error
        try:
            async with asyncio.timeout(s.connect_s):
                message, _ = await link.next()
                while not isinstance(message, RdaStart):
                    message, _ = await link.next()
        except BaseException as error:
            await link.close()
            if isinstance(error, OSError):
                raise StreamNotFound(
                    f"BrainVision Recorder at {self._where} sends nothing: start monitoring or recording in it"
                ) from error
            if isinstance(error, FormatError):
                raise StreamRefused(f"what answers at {self._where} is no BrainVision Recorder: {error}") from error
            raise
        return link, message

    def _begin(self, start: RdaStart) -> EegDescription:
        channels = tuple(ChannelInfo(name, kind_of(name)) for name in start.names)
        title = f"BrainVision Recorder at {self._where}"
        refuse_channels(repr(title), channels)
        description = EegDescription(title, start.sfreq, channels, triggers="RDA", counter="RDA")
        self._start = start
        self._scales = np.array(start.resolutions) * _VOLTS_PER_MICROVOLT
        self._count = BlockCount(start.sfreq)
        self._first_second = FirstSecond(description, "resolutions that it sends", "correct them in Recorder")
        self._mailbox = Mailbox(round(CAPACITY_S * start.sfreq))
        self._put(SourceState(self.name, "found", f"{title}, {_shape(start)}", self._clock.now()))
        return description

    def _put(self, item: EegChunk | ClockOffset | Marker | SourceState, n_samples: int = 0) -> None:
        assert self._mailbox is not None
        self._mailbox.put(item, n_samples)

    async def _read(self) -> None:
        assert self._mailbox is not None
        try:
            while True:
                reason = await self._listen()
                if not self.settings.recover:
                    raise SourceError(f"BrainVision Recorder at {self._where} was lost: {reason}")
                # what hung up before it sent anything is not asked again at once
                pause = _RETRY_S if self._lost else 0.0
                self._lose(reason)
                self._count.since = Since.START if self._count.since is Since.START else Since.CONNECTION
                await self._connect_again(pause)
        except Exception as error:  # noqa: BLE001 - whatever happens in the task must reach the loop
            self._mailbox.put(error)

    async def _listen(self) -> str:
        """Take what comes until the connection is of no more use; say why."""
        assert self._link is not None
        s, heard = self.settings, self._clock.now()
        while True:
            limit = s.reconnect_s if self._lost else min(s.silence_s, s.reconnect_s)
            try:
                async with asyncio.timeout(max(0.0, heard + limit - self._clock.now())):
                    message, at = await self._link.next()
            except TimeoutError:
                reason = f"no data for {limit:g} s"
                if limit == s.reconnect_s:
                    return reason
                self._lose(reason)
                continue
            except (OSError, FormatError) as error:
                return f"{error.strerror or error}" if isinstance(error, OSError) else str(error)
            match message:
                case RdaData():
                    heard = self._clock.now()
                    self._take(message, at)
                case RdaStart():
                    self._start_again(message)
                case RdaStop():
                    self._count.since = Since.START
                    self._lose("monitoring was stopped in Recorder")

    async def _connect_again(self, pause: float) -> None:
        s = self.settings
        assert self._link is not None
        await self._link.close()
        await asyncio.sleep(pause)
        while True:
            with contextlib.suppress(OSError):
                self._link = await RdaLink.open(s.host, s.port, s.connect_s, self._clock)
                return
            await asyncio.sleep(_RETRY_S)

    def _start_again(self, start: RdaStart) -> None:
        was = self._start
        if start.names != was.names or start.interval_us != was.interval_us:
            changed = sorted(set(start.names) ^ set(was.names))
            which = f" (not in both: {', '.join(changed[:8])})" if changed else ""
            raise StreamRefused(
                f"BrainVision Recorder at {self._where} was started anew with {_shape(start)}{which}, expected "
                f"{_shape(was)} as when the session began: start a new session, or go back to the old workspace"
            )
        if self._count.since is Since.BLOCK:
            self._count.since = Since.START
        self._start = start
        self._scales = np.array(start.resolutions) * _VOLTS_PER_MICROVOLT

    def _take(self, block: RdaData, at: SessionTime) -> None:
        n = len(block.samples)
        if self._lost:
            self._lost = False
            self._put(SourceState(self.name, "back", "data again", self._clock.now()))
        first, flags = self._count.add(block.block, n, at - self.settings.delay_s)
        if at - self._told_offset >= OFFSET_EVERY_S or flags & Flag.CLOCK_STEP:
            self._told_offset = at
            self._put(ClockOffset(self.name, self._count.offset, at))
        data = (block.samples * self._scales).astype(np.float32)
        self._first_second.add(data)
        for marker in block.markers:
            if marker.label and marker.kind not in self.settings.ignore:
                sample = first + marker.position
                when = SessionTime(float(self._count.times(sample, 1)[0]))
                self._put(Marker(marker.label, when, float(self._count.raw(sample, 1)[0]), sample, at))
        if n:
            raw, times = self._count.raw(first, n), self._count.times(first, n)
            self._put(EegChunk(self.name, data, raw, times, first, at, flags), n)

    def _lose(self, reason: str) -> None:
        if not self._lost:
            self._lost = True
            self._put(SourceState(self.name, "lost", reason, self._clock.now()))

    async def __aiter__(self) -> AsyncIterator[EegChunk | ClockOffset | Marker | SourceState]:
        if self._mailbox is None:
            raise RuntimeError("the RDA source is not open: call open() first")
        while (item := await self._mailbox.get()) is not None:
            if not isinstance(item, EegChunk | ClockOffset | Marker | SourceState):
                raise TypeError(f"the RDA reader made a {type(item).__name__}")
            yield item

    def losses(self) -> Mapping[str, int]:
        """Samples that were received, but not fetched in time."""
        return {"eeg_samples": 0 if self._mailbox is None else self._mailbox.lost_samples}

    async def close(self) -> None:
        """Hang up. May be called twice."""
        if self._task is not None:
            task, self._task = self._task, None
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._link is not None:
            link, self._link = self._link, None
            await link.close()
        if self._mailbox is not None:
            self._mailbox.put(None)


def _shape(start: RdaStart) -> str:
    return f"{len(start.names)} channels at {start.sfreq:g} Hz"
