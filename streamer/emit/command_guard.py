"""Which commands from the broker count.

Whoever may publish may stop: that is the safe side. Everything else needs the session's key, a time near ours and a
nonce that was never used.
"""

from __future__ import annotations

import hmac
import logging
from collections import Counter

from streamer import wire
from streamer.errors import FormatError
from streamer.messages import Command, SessionTime

NEAR_S = 30.0
"""s by which the time of a signed command may differ from ours."""
STOP_AGAIN_S = 0.2
"""s within which a further unsigned stop is not looked at: one is in force, and a flood must not fill the log."""
MAX_NONCES = 1000
"""Signed commands within twice ``NEAR_S``."""

_log = logging.getLogger(__name__)


class CommandGuard:
    """Checks payloads of the topic ``command``; keeps count of what it refuses.

    Parameters
    ----------
    session : str
    key : bytes or None
        What commands are signed with; None takes no command but stop.
    started : float
        SessionTime s: what was signed before is refused, for the nonces of an earlier life are forgotten.
    """

    def __init__(self, session: str, key: bytes | None, started: SessionTime) -> None:
        self.refused: Counter[str] = Counter()
        """Payloads refused so far, by reason."""
        self._session = session
        self._key = key
        self._started = started
        self._used: dict[str, SessionTime] = {}
        self._stopped: SessionTime | None = None

    def take(self, payload: bytes, now: SessionTime) -> Command | None:
        """Check one payload; None when it is refused. Never raises."""
        try:
            message = wire.decode_command(payload)
        except FormatError:
            return self._refuse("malformed")
        if message.session not in {"", self._session}:
            return self._refuse("for another session")
        if not message.mac and message.action == "stop":
            return self._unsigned_stop(now)
        reason = self._doubt(message, now)
        if reason is not None:
            return self._refuse(reason)
        self._used[message.nonce] = now
        if message.action == "arm":
            # another hand's stop after this one is news
            self._stopped = None
        return Command(message.action, message.text or "over MQTT", now)

    def _unsigned_stop(self, now: SessionTime) -> Command | None:
        if self._stopped is not None and 0 <= now - self._stopped < STOP_AGAIN_S:
            return self._refuse("stop repeated")
        self._stopped = now
        # its text is anybody's: it goes nowhere
        return Command("stop", "over MQTT, unsigned", now)

    def _doubt(self, message: wire.CommandMessage, now: SessionTime) -> str | None:
        if self._key is None:
            return "no key"
        if not message.mac or not message.nonce or message.at is None:
            return "unsigned"
        expected = wire.mac_of(
            self._key, self._session, message.action, message.text, message.at, message.nonce
        )  # fmt: skip
        if not hmac.compare_digest(expected, message.mac):
            return "wrong signature"
        if not abs(message.at - now) <= NEAR_S:
            return "wrong time"
        if message.at < self._started:
            return "from before the session"
        # once its time is refused, a nonce need not be known any more
        self._used = {nonce: at for nonce, at in self._used.items() if now - at <= 2 * NEAR_S}
        if message.nonce in self._used:
            return "repeated"
        if len(self._used) >= MAX_NONCES:
            return "too many"
        return None

    def _refuse(self, reason: str) -> None:
        self.refused[reason] += 1
        count = self.refused[reason]
        if str(count).strip("0") == "1":
            # the 1st, 10th, 100th …: a flood must not fill the disk; what was sent is not repeated
            _log.warning("command over MQTT refused, %s (%d so far)", reason, count)
