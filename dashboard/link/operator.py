"""The operator's hand: signs commands, sends them, and watches whether the session did what it was told."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

import msgspec
from pylsl import local_clock

from dashboard.board import Board
from dashboard.link.keys import Keys
from streamer.errors import FormatError
from streamer.messages import State
from streamer.wire import CommandMessage, HealthMessage, decode_command, signed_command

ANSWER_S = 2.0
"""A session that did not do it by then gave no answer, s."""
ENDS_S = 6.0
"""The same for the end of a session, which sends first what it still has."""
TRANSIT_S = 0.1
"""A command takes no longer to a session that can be heard, s."""
KEY_AGAIN_S = 1.0
"""The key is looked for so often, s."""
LATE_S = 0.2
"""A note that is sent so long after its time says so, s."""
LONGEST = 500
"""Characters of a note."""
NOTED = "noted by the operator"
NOTES = 8
"""Of the last notes so many are kept to be taken again."""
REFUSALS = "commands over MQTT that were refused"
"""How a session's health begins to tell what it refused."""
OTHERWISE = "press S in the loop's terminal, or make a file STOP in its folder"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


class Outcome(Enum):
    """What became of a command."""

    SENT = "sent"
    TAKEN = "taken"
    REFUSED = "refused"
    NO_ANSWER = "no answer"
    NOT_SENT = "not sent"


@dataclass(frozen=True, slots=True)
class Sent:
    """A command, and what became of it."""

    action: str
    session: str
    text: str
    at: float
    """When, s on the clock of the link."""
    outcome: Outcome
    said: str
    """In plain words."""

    @property
    def trouble(self) -> bool:
        """Whether the operator must act in another way."""
        return self.outcome in {Outcome.REFUSED, Outcome.NO_ANSWER, Outcome.NOT_SENT}


class Sender(Protocol):
    """What takes commands to a session: a feed."""

    connected: bool

    def send(self, session: str, payload: bytes, *, once: bool) -> bool:
        """Send; tells whether it is on its way."""
        ...


def armed_of(health: HealthMessage | None) -> bool | None:
    """Tell whether a loop lets triggers leave, as far as the operator decides that; None where it does not say."""
    if health is None:
        return None
    # an older loop tells it by its state alone
    return health.armed if health.armed is not None else health.state != State.STOPPED.value


class OperatorLink:
    """Sends commands to the session that the board follows.

    Parameters
    ----------
    sender : Sender or None
        None where a recording is shown: it takes none.
    keys : Keys, optional
    observer : bool
        Send nothing at all, not even a stop.
    now : callable
        Tells the time, s; that of the sessions on this machine.
    """

    def __init__(
        self,
        sender: Sender | None,
        keys: Keys | None = None,
        *,
        observer: bool = False,
        now: Callable[[], float] = local_clock,
    ) -> None:
        self.sender = sender
        """Whoever connects the window elsewhere sets it."""
        self.keys = keys or Keys()
        self.observer = observer
        self.last: Sent | None = None
        """The newest command."""
        self.notes: deque[str] = deque(maxlen=NOTES)
        """The last notes, the newest first."""
        self.now = now
        self._board = Board()
        self._offset: float | None = None
        self._health: HealthMessage | None = None
        self._key: bytes | None = None
        self._looked: tuple[str | None, float] = (None, float("-inf"))
        self._pending: list[tuple[Sent, HealthMessage | None, str]] = []

    @property
    def session(self) -> str | None:
        """The session that is followed."""
        return self._board.session

    @property
    def armed(self) -> bool | None:
        """Whether the loop lets triggers leave; None when it does not say."""
        return armed_of(self._health)

    @property
    def online(self) -> bool:
        """Whether the session's loop says that it is there."""
        return self._board.peer is not None and self._board.peer.online

    @property
    def alarm(self) -> str:
        """What must be read from far: a stop that the session did not hear; empty otherwise."""
        last = self.last
        return last.said if last is not None and last.action == "stop" and last.trouble and not self.observer else ""

    def refresh(self, board: Board) -> None:
        """Look what the session said; called once per frame."""
        if board is not self._board or board.session != self._looked[0]:
            self._offset = None
        self._board = board
        health, now = board.view.health.newest, self.now()
        if health is not None and health is not self._health:
            self._offset = health.at - now
        self._health = health
        self._look_for_key(now)
        for entry in list(self._pending):
            done = self._judge(*entry, now)
            if done is not None:
                self._pending.remove(entry)
                if self.last is entry[0]:
                    self.last = done
                elif done.action == "stop" and done.trouble:
                    # a note that was sent since must not hide it
                    self.last = replace(done, at=now)

    def time(self) -> float | None:
        """Estimate SessionTime, s; None while it is not known."""
        now = self.now()
        if self._offset is not None:
            return now + self._offset
        place = self.keys.place(self.session) if self.session is not None else None
        # one on this machine has its clock; before it has all its streams it says nothing of its health
        return now if place is not None and place.is_dir() else None

    def cannot(self, action: str) -> str:
        """Tell why ``action`` cannot be done now; empty where it can."""
        board = self._board
        if self.sender is None:
            return "a recording is shown: it takes no commands"
        if self.observer:
            return "this window only observes (--observer)"
        if board.session is None or board.peer is None:
            return "no session is there"
        if not self.sender.connected:
            return "no connection to the broker"
        if board.peer.status is not None and not board.peer.status.online:
            return "the session is not there any more"
        about = board.about
        if about is not None and action not in about.commands:
            return "the session does not take this over MQTT (see mqtt.commands in its configuration)"
        if action == "stop":
            return ""
        if about is None and self._health is not None:
            return "the session has not said which commands it takes"
        if self._key is None:
            return self.keys.missing
        return "" if self.time() is not None else "the session's time is not known yet"

    def stop(self) -> Sent:
        """Stop triggers, at once; it needs no key and no time."""
        payload = msgspec.json.encode(CommandMessage(action="stop", session=self.session or ""))
        return self._send("stop", "", lambda _key, _at: payload, "triggers stop")

    def arm(self) -> Sent:
        """Let triggers leave again."""
        return self._signed("arm", "")

    def annotate(self, text: str, at: float | None = None) -> Sent:
        """Write a note into the recording.

        Parameters
        ----------
        text : str
            What is to be noted; control characters become blanks, and what is too long is cut.
        at : float, optional
            The time that it speaks of, s on the clock of the link; the note says how long before that was.
        """
        plain = _CONTROL.sub(" ", text).encode("utf-8", "replace").decode().strip() or NOTED
        if plain != NOTED:
            with_it = [plain, *(note for note in self.notes if note != plain)]
            self.notes = deque(with_it[:NOTES], maxlen=NOTES)
        before = self.now() - at if at is not None else 0.0
        late = f" (at −{before:.1f} s)" if before >= LATE_S else ""
        return self._signed("annotate", plain[: LONGEST - len(late)] + late)

    def recentre(self, how: str) -> Sent:
        """Let the model's reference follow the data (``on``), stay (``freeze``), or go back and stay (``rollback``)."""
        return self._signed("recentre", how)

    def end(self) -> Sent:
        """End the session."""
        return self._signed("end", "ended from the dashboard")

    def _signed(self, action: str, text: str) -> Sent:
        session = self.session or ""
        return self._send(
            action, text, lambda key, at: signed_command(key, session, action, text, at), f"{action} is on its way"
        )

    def _send(self, action: str, text: str, make: Callable[[bytes, float], bytes], said: str) -> Sent:
        session, now = self.session or "", self.now()
        # the session may have drawn another key since
        self._look_for_key(now, anew=True)
        sent = Sent(action, session, text, now, Outcome.SENT, said)
        reason = self.cannot(action)
        if not reason:
            try:
                payload = make(self._key or b"", self.time() or 0.0)
                decode_command(payload)
            except FormatError as error:
                reason = str(error)
            else:
                # what lets triggers leave or ends a session must not come later than it was said; the rest not get lost
                once = action in {"arm", "end", "recentre"}
                if self.sender is None or not self.sender.send(session, payload, once=once):
                    reason = "the connection to the broker was just lost"
        if reason:
            emergency = f"; {OTHERWISE}" if action == "stop" and not self.observer and self.sender is not None else ""
            sent = replace(sent, outcome=Outcome.NOT_SENT, said=f"{action} not sent: {reason}{emergency}")
        else:
            self._pending.append((sent, self._health, _refusals(self._health)))
        self.last = sent
        return sent

    def _look_for_key(self, now: float, *, anew: bool = False) -> None:
        session = self.session
        if not anew and session == self._looked[0] and now - self._looked[1] < KEY_AGAIN_S:
            return
        self._looked = (session, now)
        self._key = self.keys.of(session) if session is not None else None

    def _judge(self, sent: Sent, before: HealthMessage | None, refused: str, now: float) -> Sent | None:
        # what became of it; None while that is open
        if self.session != sent.session:
            return replace(sent, outcome=Outcome.NO_ANSWER, said=f"{sent.action}: another session is followed now")
        health = self._health if self._health is not before else None
        if self._done(sent, health):
            return replace(sent, outcome=Outcome.TAKEN, said=_TAKEN[sent.action])
        if health is not None and _refusals(health) != refused and sent.action != "stop":
            return replace(sent, outcome=Outcome.REFUSED, said=f"{sent.action} refused: {_refusals(health)}")
        if health is not None and sent.action == "recentre" and self._after(sent, health):
            return replace(sent, outcome=Outcome.TAKEN, said=_TAKEN[sent.action])
        wait = ENDS_S if sent.action == "end" else ANSWER_S
        if now - sent.at <= wait:
            return None
        hint = "does a file STOP lie in the session's folder?" if sent.action == "arm" else OTHERWISE
        return replace(sent, outcome=Outcome.NO_ANSWER, said=f"{sent.action}: no answer in {wait:g} s; {hint}")

    def _done(self, sent: Sent, health: HealthMessage | None) -> bool:
        board = self._board
        match sent.action:
            case "stop":
                return armed_of(health) is False
            case "arm":
                return armed_of(health) is True
            case "annotate":
                begin = sent.at + self._offset - 1.0 if self._offset is not None else float("-inf")
                return any(m.label == sent.text for m in board.view.markers.between(begin, float("inf")))
            case "end":
                return board.peer is not None and board.peer.status is not None and not board.peer.status.online
            case _:
                return False

    def _after(self, sent: Sent, health: HealthMessage) -> bool:
        return self._offset is not None and health.at > sent.at + self._offset + TRANSIT_S


_TAKEN = {
    "stop": "triggers are stopped",
    "arm": "armed: triggers may leave",
    "annotate": "the note is in the recording",
    "recentre": "recentre was taken",
    "end": "the session has ended",
}


def _refusals(health: HealthMessage | None) -> str:
    return next((note for note in health.notes if note.startswith(REFUSALS)), "") if health is not None else ""
