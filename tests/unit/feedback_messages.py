"""Messages for the participant's view."""

from __future__ import annotations

import msgspec

from streamer.wire import ScoreMessage, Status, TriggerMessage


def a_score(at: float, **changes: object) -> ScoreMessage:
    made = ScoreMessage(
        window=round(at * 10),
        level=0.8,
        axes={},
        threshold=0.7,
        neutral=False,
        about=at - 0.1,
        ready=at,
        expires=at + 0.9,
        flags=[],
    )
    return msgspec.structs.replace(made, **changes)


def a_trigger(at: float, seq: int = 0, **changes: object) -> TriggerMessage:
    made = TriggerMessage(
        id=f"s/{seq}",
        seq=seq,
        action="reward",
        level=0.8,
        about=at - 0.1,
        fire_at=at,
        expires=at + 0.9,
        reason="",
        flags=[],
    )
    return msgspec.structs.replace(made, **changes)


def a_status(session: str = "s", *, online: bool = True, state: str = "RUNNING") -> Status:
    return Status(session=session, online=online, state=state)
