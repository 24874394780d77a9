"""A session's decisions as messages, for tests of the panels that show them."""

from __future__ import annotations

from dashboard.board import Board
from streamer.wire import (
    About,
    FeatureMessage,
    HealthMessage,
    PredictionMessage,
    ScoreMessage,
    Status,
    TriggerMessage,
    VetoMessage,
)

REGIONS = ["motor", "insula"]
NAME = "s"


def about(**change: object) -> About:
    fields: dict[str, object] = {
        "session": NAME,
        "eeg_sfreq": 250.0,
        "channels": [],
        "regions": REGIONS,
        "classes": ["rest", "task"],
        "model": "m@0",
        "tick_hz": 10.0,
        "thresholds": {"on": 0.7, "off": 0.5},
        "versions": {},
    }
    return About(**(fields | change))


def board(**change: object) -> Board:
    """A board that follows a session which said nothing yet."""
    made = Board()
    made.take(NAME, about(**change))
    made.take(NAME, Status(session=NAME, online=True, state="RUNNING"))
    return made


def prediction(seq: int, task: float = 0.8, **change: object) -> PredictionMessage:
    """Decision ``seq``, at 100 s and a tenth for each."""
    fields: dict[str, object] = {
        "seq": seq,
        "model": "m@0",
        "probabilities": {"rest": 1 - task, "task": task},
        "uncertainty": 0.72,
        "attention": {"eeg": 0.6, "bold": 0.4},
        "about": 100 + seq / 10,
        "ready": None,
        "expires": 101 + seq / 10,
        "age_eeg_s": 0.02,
        "age_bold_s": 2.5,
        "flags": [],
    }
    return PredictionMessage(**(fields | change))


def score(seq: int, level: float = 0.6, **change: object) -> ScoreMessage:
    fields: dict[str, object] = {
        "window": seq,
        "level": level,
        "axes": {},
        "threshold": 0.7,
        "neutral": False,
        "about": 100 + seq / 10,
        "ready": None,
        "expires": 101 + seq / 10,
        "flags": [],
    }
    return ScoreMessage(**(fields | change))


def trigger(seq: int, at: float) -> TriggerMessage:
    return TriggerMessage(
        id=f"{NAME}/{seq}", seq=seq, action="reward", level=0.8, about=at, fire_at=at, expires=at + 1, reason="",
        flags=[],
    )  # fmt: skip


def veto(window: int, at: float, reason: str) -> VetoMessage:
    return VetoMessage(window=window, reason=reason, about=at)


def relevance(at: float, labels: list[str], values: list[float | None], *, valid: bool = True) -> FeatureMessage:
    return FeatureMessage(
        name="relevance", sample=round(10 * at), about=at, delay_s=0.0, ready=at, age_s=0.0, expires=at + 1,
        labels=labels, values=values, uncertainty=[], valid=valid, flags=[],
    )  # fmt: skip


def health(at: float, **change: object) -> HealthMessage:
    fields: dict[str, object] = {
        "state": "RUNNING",
        "at": at,
        "counts": {"windows": 12345},
        "losses": {},
        "latency_ms": {},
        "queues": {},
        "flags": [],
        "notes": [],
    }
    return HealthMessage(**(fields | change))
