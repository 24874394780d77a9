"""Scores and triggers as OSC over UDP, for stimulus software that speaks it.

=====================  ==================================================================================
``/nf/score f``        the level that is shown, 0..1
``/nf/axis s f``       name and level of an axis, 0..1; only where there are several
``/nf/neutral i``      1: show the neutral level, whatever came before; 0: show the score
``/nf/trigger i s f``  number, action, level; receivers drop a number that is not above the newest
=====================  ==================================================================================

What belongs together comes as one bundle. That of a trigger has the time at which it is to be acted on (NTP, the wall
clock of this machine) and is sent at that time, so that a stop still stops it. Datagrams may be lost: while neutral is
what counts it is said again twice a second, and a receiver that hears nothing for longer than a second shows neutral.

Specification: https://opensoundcontrol.stanford.edu/spec-1_0.html
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Self

from pydantic import Field, model_validator
from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
from pythonosc.osc_message_builder import OscMessageBuilder

from streamer.clock import Clock
from streamer.contracts import Settings
from streamer.emit.gate import Gate
from streamer.emit.mqtt_settings import is_loopback
from streamer.emit.schedule import Schedule, may_show
from streamer.errors import SourceError
from streamer.messages import Output, Score, SessionTime, Trigger

AGAIN_S = 0.5
"""Neutral is said again this often, s."""

Message = tuple[str, str, tuple[int | float | str, ...]]
"""Address, types, values."""


class OscSettings(Settings):
    """Scores and triggers over OSC."""

    enabled: bool = False
    """Send them."""
    host: str = Field(default="127.0.0.1", min_length=1)
    """Address of the receiver."""
    port: int = Field(default=9000, ge=1, le=65535)
    """Its UDP port."""
    insecure: bool = False
    """Allow a receiver on another machine: OSC knows neither encryption nor who sent it."""

    @model_validator(mode="after")
    def _check_host(self) -> Self:
        if not (is_loopback(self.host) or self.insecure):
            raise ValueError(
                f"host is {self.host!r}, on another machine: OSC is not protected; expected insecure = true"
            )
        return self


class OscSink:
    """Scores and triggers as OSC datagrams.

    Parameters
    ----------
    settings : OscSettings
    neutral_level : float
        0..1: what is sent as the score where nothing counts.
    gate : Gate
    clock : Clock
        One that waits for real.
    wall : callable
        Tells the time of day, s since 1970 (UTC).
    tell : callable
        Takes what the operator should know; called from any thread.

    Raises
    ------
    SourceError
        The host's name is not known.
    """

    name = "osc"

    def __init__(
        self,
        settings: OscSettings,
        neutral_level: float,
        gate: Gate,
        clock: Clock,
        wall: Callable[[], float],
        tell: Callable[[str], None],
    ) -> None:
        try:
            # once: to look a name up takes time that a trigger has not
            family, _, _, _, self._address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_DGRAM)[0]
        except (OSError, UnicodeError) as error:
            raise SourceError(f"osc.host is {settings.host!r}: {error}") from error
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._neutral_level = neutral_level
        self._gate = gate
        self._clock = clock
        self._wall = wall
        self._tell = tell
        self._lost: Counter[str] = Counter()
        self._failing = False
        self._good_until = -math.inf
        self._lock = Lock()
        self.schedule = Schedule(self.name, clock, gate, self._fire, tell)
        self.schedule.at(clock.now(), self._watch)

    def put(self, item: Output) -> None:
        """Send a score, take a trigger; everything else is passed over."""
        match item:
            case Score():
                self._show(item)
            case Trigger():
                self.schedule.put(item)
            case _:
                pass

    def losses(self) -> Mapping[str, int]:
        return Counter(self.schedule.losses()) + self._lost

    def neutral(self, why: str) -> None:
        """Send the neutral level and forget triggers that wait. From any thread."""
        self.schedule.drop(why)
        with self._lock:
            self._good_until = -math.inf
            self._send_neutral()

    async def close(self) -> None:
        """Send the neutral level, then free everything. May be called twice."""
        await asyncio.to_thread(self.schedule.close)
        with self._lock:
            if self._socket.fileno() >= 0:
                self._send_neutral()
                self._socket.close()

    def _show(self, score: Score) -> None:
        messages: list[Message] = [("/nf/neutral", "i", (0,)), ("/nf/score", "f", (score.level,))]
        messages += [("/nf/axis", "sf", (name, level)) for name, level in score.axes.items()]
        # a score must not overtake the neutral level that another thread sends
        with self._lock:
            if may_show(score, self._gate, self._clock.now()):
                self._good_until = score.expires
                self._send("scores", messages)
            else:
                self._good_until = -math.inf
                self._send_neutral()

    def _fire(self, trigger: Trigger) -> None:
        at = self._wall() + (trigger.fire_at - self._clock.now())
        self._send("triggers", [("/nf/trigger", "isf", (trigger.seq, trigger.action, trigger.level))], at)

    def _watch(self) -> None:
        with self._lock:
            now = self._clock.now()
            if now >= self._good_until:
                self._send_neutral()
            left = self._good_until - now
        self.schedule.at(SessionTime(now + (left if 0 < left < AGAIN_S else AGAIN_S)), self._watch)

    def _send_neutral(self) -> None:
        self._send("neutral", [("/nf/neutral", "i", (1,)), ("/nf/score", "f", (self._neutral_level,))])

    def _send(self, kind: str, messages: list[Message], at: float | None = None) -> None:
        bundle = OscBundleBuilder(IMMEDIATELY if at is None else at)  # pyright: ignore[reportArgumentType]
        for address, types, values in messages:
            builder = OscMessageBuilder(address)
            for value, kind_of in zip(values, types, strict=True):
                builder.add_arg(value, kind_of)
            bundle.add_content(builder.build())
        try:
            self._socket.sendto(bundle.build().dgram, self._address)
        except OSError as error:
            self._lost[kind] += 1
            if not self._failing:
                self._failing = True
                self._tell(f"osc: nothing is sent: {error}")
        else:
            self._failing = False
