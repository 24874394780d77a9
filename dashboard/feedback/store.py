"""What the participant is to see at a moment: no Qt, no network, and no time but what is given.

Whatever comes, the answer is either a score that counts at this moment or the neutral look.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass

from dashboard.feedback.sender_clock import SenderClock
from streamer.messages import State
from streamer.wire import ScoreMessage, Status, TriggerMessage

FLASH_S = 0.5
"""How long a reward lights up, s: so never more than twice a second."""
LONGEST_S = 5.0
"""A score is shown no longer than this, s, whatever deadline it gives itself."""
AHEAD_S = 0.5
"""A trigger may be asked for so far ahead, s: what the gate lets through."""
SILENT_S = 5.0
"""A session that shows nothing for so long gives way to one that does, s."""
MAX_IDS = 4096
MAX_SESSIONS = 256
MAX_AXES = 4
MAX_WAITING = 64


@dataclass(frozen=True, slots=True)
class Heard:
    """One message of a session and when it came; None for one on the score's topic that cannot be read."""

    session: str
    message: Status | ScoreMessage | TriggerMessage | None
    at: float
    """s on our clock."""


@dataclass(frozen=True, slots=True)
class Look:
    """What is to be on the screen."""

    serial: int = 0
    """Number of the score; 0 for the neutral look."""
    levels: tuple[float, ...] = ()
    """0..1, one per axis; empty for the neutral look."""
    threshold: float | None = None
    """0..1, where a reward begins; None where no single axis tells."""
    reached: bool = False
    """The score is at or above its threshold."""
    flash: bool = False
    """A reward lights up."""

    @property
    def neutral(self) -> bool:
        """Nothing that counts is known."""
        return not self.levels


@dataclass(frozen=True, slots=True)
class Times:
    """When the score that is shown came about, s on our clock."""

    arrival: float
    ready: float
    about: float


class FeedbackStore:
    """Follows a session and tells what to show.

    Parameters
    ----------
    session : str or None
        The only session to follow; None follows one that is online, until it ends or falls silent and another is there.
    """

    def __init__(self, session: str | None = None) -> None:
        self.wanted = session
        self.session = session
        self.counts: Counter[str] = Counter()
        """Scores and triggers so far: ``scores``, ``triggers`` that were shown, all else by why it was not."""
        self._online: OrderedDict[str, bool] = OrderedDict()
        self._clock = SenderClock()
        self._score: ScoreMessage | None = None
        self._arrival = -math.inf
        self._lively = -math.inf
        self._serial = 0
        self._seen = 0
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._waiting: deque[tuple[float, float]] = deque()
        self._flash_until = -math.inf

    @property
    def online(self) -> bool:
        """Whether the session that is followed says that it runs."""
        return self.session is not None and self._online.get(self.session, False)

    @property
    def times(self) -> Times | None:
        """When the newest score came about; None when there is none."""
        offset = self._clock.offset(self._arrival)
        if self._score is None or self._score.ready is None or offset is None:
            return None
        return Times(self._arrival, self._score.ready + offset, self._score.about + offset)

    def take(self, heard: Heard) -> None:
        """Take one message."""
        if isinstance(heard.message, Status):
            self._announce(heard.session, heard.message)
            return
        self._take_over(heard)
        if heard.session != self.session:
            self.counts["other_session"] += 1
        elif not self.online:
            self.counts["offline"] += 1
        elif heard.message is None:
            self._refuse("unreadable")
        elif isinstance(heard.message, ScoreMessage):
            self._take_score(heard.message, heard.at)
        else:
            self._take_trigger(heard.message, heard.at)

    def look(self, now: float, *, connected: bool) -> Look:
        """Tell what to show.

        Parameters
        ----------
        now : float
            s on our clock.
        connected : bool
            Whether the broker is there.
        """
        if not (connected and self.online):
            self._hide()
            return Look()
        flash = self._flash(now)
        score, session_now = self._score, self._clock.now(now)
        # comparisons are written so that NaN hides
        if (
            score is None
            or session_now is None
            or not session_now <= score.expires
            or not 0 <= now - self._arrival <= LONGEST_S
        ):
            self._score = None
            return Look(flash=flash)
        if self._seen != self._serial:
            self._seen = self._serial
            self.counts["scores"] += 1
        if score.neutral:
            return Look(flash=flash)
        plain = not 2 <= len(score.axes) <= MAX_AXES
        return Look(
            serial=self._serial,
            levels=(score.level,) if plain else tuple(score.axes.values()),
            threshold=score.threshold if plain else None,
            reached=score.level >= score.threshold,
            flash=flash,
        )

    def _announce(self, session: str, status: Status) -> None:
        if self.wanted is not None and session != self.wanted:
            return
        online = status.online and status.state != State.STOPPED.value
        born = online and not self._online.get(session, False)
        self._online[session] = online
        self._online.move_to_end(session)
        while len(self._online) > MAX_SESSIONS:
            del self._online[next(name for name in self._online if name != self.session)]
        if session == self.session and born:
            # its numbers and its clock may have begun anew
            self._follow(session)
        elif not self.online:
            self._hide()
            if self.wanted is None and (others := [name for name, on in self._online.items() if on]):
                self._follow(others[-1])

    def _take_over(self, heard: Heard) -> None:
        if heard.session == self.session:
            self._lively = heard.at
        elif self.wanted is None and self._online.get(heard.session, False) and heard.at - self._lively > SILENT_S:
            self._follow(heard.session)
            self._lively = heard.at

    def _follow(self, session: str) -> None:
        self.session = session
        self._clock = SenderClock()
        self._ids.clear()
        self._hide()

    def _hide(self) -> None:
        self._score = None
        self._waiting.clear()
        self._flash_until = -math.inf

    def _refuse(self, why: str) -> None:
        # the newest that is known says nothing: so neither does the display
        self.counts[why] += 1
        self._score = None

    def _take_score(self, score: ScoreMessage, at: float) -> None:
        if not _sound(score):
            self._refuse("invalid")
            return
        if score.ready is None:
            self._refuse("untimed")
            return
        if not self._clock.hear(at, score.ready):
            self._refuse("future")
            return
        session_now = self._clock.now(at)
        shown = self._score
        if shown is not None and session_now is not None and session_now <= shown.expires:
            if score.about < shown.about:
                self.counts["late"] += 1
                return
            if (score.about, score.window) == (shown.about, shown.window):
                self.counts["doubled"] += 1
                return
        if session_now is None or session_now > score.expires:
            self._refuse("expired")
            return
        if shown is not None and self._seen != self._serial:
            self.counts["superseded"] += 1
        self._serial += 1
        self._score, self._arrival = score, at

    def _take_trigger(self, trigger: TriggerMessage, at: float) -> None:
        if trigger.id in self._ids:
            self.counts["trigger_doubled"] += 1
            return
        self._ids[trigger.id] = None
        if len(self._ids) > MAX_IDS:
            self._ids.popitem(last=False)
        session_now = self._clock.now(at)
        times = (trigger.about, trigger.fire_at, trigger.expires)
        if not (all(map(math.isfinite, times)) and 0.0 <= trigger.level <= 1.0):
            self.counts["trigger_invalid"] += 1
        elif session_now is None:
            self.counts["trigger_untimed"] += 1
        elif session_now > trigger.expires or trigger.fire_at > trigger.expires:
            self.counts["trigger_expired"] += 1
        elif trigger.fire_at - session_now > AHEAD_S or len(self._waiting) >= MAX_WAITING:
            self.counts["trigger_refused"] += 1
        else:
            ahead = at - session_now
            self._waiting.append((max(at, trigger.fire_at + ahead), trigger.expires + ahead))

    def _flash(self, now: float) -> bool:
        for _ in range(len(self._waiting)):
            begin, deadline = self._waiting.popleft()
            if begin > now:
                self._waiting.append((begin, deadline))
            elif now <= deadline:
                self._flash_until = now + FLASH_S
                self.counts["triggers"] += 1
            else:
                self.counts["trigger_expired"] += 1
        return now < self._flash_until

    def summary(self) -> Mapping[str, int]:
        """Give the counts by name, in order."""
        return dict(sorted(self.counts.items()))


def _sound(score: ScoreMessage) -> bool:
    times = (score.about, score.expires, score.about if score.ready is None else score.ready)
    levels = (score.level, score.threshold, *score.axes.values())
    return all(map(math.isfinite, times)) and all(0.0 <= level <= 1.0 for level in levels)
