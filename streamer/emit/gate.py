"""The gate: the last check before a trigger leaves. When in doubt, no trigger.

Its hard limits stand in the code: no configuration lifts them.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping

from pydantic import Field

from streamer.contracts import Settings
from streamer.messages import SessionTime, Trigger

HARD_MAX_PER_MINUTE = 60
HARD_MAX_PER_RUN = 5000
HARD_MAX_ON_S = 1.0
"""s that a line of an output may stay raised."""
HARD_MAX_AHEAD_S = 0.5
"""s that a trigger may be scheduled ahead: what was seen must not be acted on much later."""

_MINUTE_S = 60.0


class GateSettings(Settings):
    """Limits of what may leave."""

    max_per_minute: int = Field(default=20, ge=0, le=HARD_MAX_PER_MINUTE)
    """Triggers admitted within any 60 s."""
    max_per_run: int = Field(default=500, ge=0, le=HARD_MAX_PER_RUN)
    """Triggers admitted from one ``begin_run`` to the next."""
    heartbeat_s: float = Field(default=1.0, gt=0, le=1.0)
    """s without a heartbeat of the loop after which nothing is admitted and outputs go to neutral."""


class Gate:
    """Admits a trigger, or says why not.

    It starts disarmed, and knows no time but what it is given. ``disarm`` may be called from any thread.

    Parameters
    ----------
    settings : GateSettings
    """

    def __init__(self, settings: GateSettings) -> None:
        # once more here: settings can be made without being checked
        self._per_minute = min(settings.max_per_minute, HARD_MAX_PER_MINUTE)
        self._per_run = min(settings.max_per_run, HARD_MAX_PER_RUN)
        self.heartbeat_s = min(settings.heartbeat_s, 1.0)
        self._armed = False
        self._why = "not armed"
        self._beat: SessionTime | None = None
        self._recent: deque[SessionTime] = deque()
        self._in_run = 0
        self._newest = -1
        self._counts: Counter[str] = Counter()

    @property
    def armed(self) -> bool:
        """Whether the operator lets triggers leave."""
        return self._armed

    @property
    def counts(self) -> Mapping[str, int]:
        """Triggers so far: ``admitted``, and refused by reason."""
        return dict(self._counts)

    def arm(self) -> None:
        """Let triggers leave from now on."""
        self._armed = True

    def disarm(self, why: str = "not armed") -> None:
        """Hold all triggers back from now on; ``why`` is what is said of each."""
        self._why = why
        self._armed = False

    def begin_run(self) -> None:
        """Start a run: its count of triggers starts at 0, and it must be armed anew."""
        self._in_run = 0
        self.disarm()

    def beat(self, now: SessionTime) -> None:
        """Take note that the loop is alive."""
        self._beat = now

    def alive(self, now: SessionTime) -> bool:
        """Whether the loop's last heartbeat is recent enough."""
        # written so that NaN is not
        return self._beat is not None and abs(now - self._beat) <= self.heartbeat_s

    def admit(self, trigger: Trigger, now: SessionTime) -> tuple[bool, str]:
        """Decide on one trigger.

        Returns
        -------
        bool
            Whether it may leave.
        str
            ``admitted``, or why not.
        """
        reason = self._refusal(trigger, now)
        if reason is None:
            self._recent.append(now)
            self._in_run += 1
            self._newest = trigger.seq
            reason = "admitted"
        self._counts[reason] += 1
        return reason == "admitted", reason

    def _refusal(self, trigger: Trigger, now: SessionTime) -> str | None:
        # comparisons are written so that NaN refuses
        if not self._armed:
            return self._why
        if not self.alive(now):
            return "no heartbeat"
        if not now <= trigger.expires:
            return "expired"
        if not trigger.fire_at - now <= HARD_MAX_AHEAD_S:
            return "too far ahead"
        if not trigger.fire_at <= trigger.expires:
            return "expires before it fires"
        if not 0.0 <= trigger.level <= 1.0:
            return "level out of range"
        if trigger.seq <= self._newest:
            return "repeated"
        while self._recent and now - self._recent[0] >= _MINUTE_S:
            self._recent.popleft()
        if len(self._recent) >= self._per_minute:
            return "too many in a minute"
        if self._in_run >= self._per_run:
            return "too many in the run"
        return None


class LoggedGate(Gate):
    """The gate of a session that is replayed from its log: it refuses what it refused then, and nothing else.

    Whether a trigger is too late depends on how busy the machine was; the log knows, a replay cannot.
    """

    def __init__(self, settings: GateSettings) -> None:
        super().__init__(settings)
        self._refused: dict[int, str] = {}

    def refuse(self, seq: int, reason: str) -> None:
        """Take from the log that trigger ``seq`` was refused."""
        self._refused[seq] = reason

    def _refusal(self, trigger: Trigger, now: SessionTime) -> str | None:
        del now
        return self._refused.get(trigger.seq)
