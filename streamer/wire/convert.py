"""From the records of the loop to payloads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from streamer.messages import BoldFrame, Feature, Flag, Health, Prediction, Score, SessionTime, Trigger, Veto
from streamer.wire.payloads import (
    BoldMessage,
    CardMessage,
    CardScoreEntry,
    FeatureMessage,
    HealthMessage,
    PredictionMessage,
    ScoreMessage,
    TriggerMessage,
    VetoMessage,
)


def flag_names(flags: Flag) -> list[str]:
    """Name the flags that are set, in the order of their values."""
    return [flag.name for flag in Flag if flag & flags and flag.name is not None]


def finite(value: float) -> float | None:
    """Give None for NaN and infinity."""
    # JSON has neither NaN nor infinity
    return value if -1e300 < value < 1e300 else None


def from_prediction(prediction: Prediction, expires: SessionTime) -> PredictionMessage:
    """Put a prediction on the wire."""
    return PredictionMessage(
        seq=prediction.seq,
        model=prediction.model,
        probabilities=dict(zip(prediction.classes, prediction.probabilities, strict=True)),
        uncertainty=prediction.uncertainty,
        attention=dict(prediction.attention),
        about=prediction.about,
        ready=prediction.ready,
        expires=expires,
        age_eeg_s=finite(prediction.age_eeg),
        age_bold_s=finite(prediction.age_bold),
        flags=flag_names(prediction.flags),
        hold_eeg_s=prediction.hold_eeg,
        disagreement=prediction.disagreement,
        candidates=None if prediction.candidates is None else list(prediction.candidates),
    )


def from_score(score: Score) -> ScoreMessage:
    """Put a score on the wire, as shown: ``Score.actual`` never leaves."""
    return ScoreMessage(
        window=score.window,
        level=score.level,
        axes=dict(score.axes),
        threshold=score.threshold,
        neutral=score.neutral,
        about=score.about,
        ready=score.ready,
        expires=score.expires,
        flags=flag_names(score.flags),
    )


def from_trigger(session: str, trigger: Trigger) -> TriggerMessage:
    """Put a trigger on the wire."""
    return TriggerMessage(
        id=f"{session}/{trigger.seq}",
        seq=trigger.seq,
        action=trigger.action,
        level=trigger.level,
        about=trigger.about,
        fire_at=trigger.fire_at,
        expires=trigger.expires,
        reason=trigger.reason,
        flags=flag_names(trigger.flags),
        source=trigger.source,
    )


def from_veto(veto: Veto) -> VetoMessage:
    """Put a veto on the wire."""
    return VetoMessage(window=veto.window, reason=veto.reason, about=veto.about)


def from_bold(frame: BoldFrame, *, blinded: bool = False) -> BoldMessage:
    """Put a BOLD frame on the wire; ``blinded`` leaves its region signals out."""
    return BoldMessage(
        index=frame.index,
        series=frame.series,
        acquired=frame.acquired,
        received=frame.received,
        regions=[None if blinded else finite(float(v)) for v in frame.regions],
        motion_mm=[float(v) for v in frame.motion[:3]],
        motion_rad=[float(v) for v in frame.motion[3:]],
        fd_mm=frame.fd,
        flags=flag_names(frame.flags),
        z=[None if blinded else finite(float(v)) for v in frame.z],
        dvars_percent=finite(frame.dvars),
    )


def from_feature(feature: Feature, expires: SessionTime) -> FeatureMessage:
    """Put a feature on the wire."""
    return FeatureMessage(
        name=feature.name,
        sample=feature.sample,
        about=feature.about,
        delay_s=feature.delay_s,
        ready=feature.ready,
        age_s=None if feature.ready is None else feature.ready - feature.about,
        expires=expires,
        labels=list(feature.labels),
        values=[finite(v) for v in feature.values],
        uncertainty=[finite(v) for v in feature.uncertainty],
        valid=feature.valid,
        flags=flag_names(feature.flags),
    )


def from_health(health: Health) -> HealthMessage:
    """Put telemetry on the wire."""
    return HealthMessage(
        state=health.state.value,
        at=health.at,
        counts=dict(health.counts),
        losses=dict(health.losses),
        latency_ms={stage: [p50, p99] for stage, (p50, p99) in health.latency_ms.items()},
        queues=dict(health.queues),
        flags=flag_names(health.flags),
        notes=list(health.notes),
        eeg={name: finite(value) for name, value in health.eeg.items()},
        armed=health.armed,
        queue_sizes=dict(health.queue_sizes),
    )


def from_card(session: str, card: Mapping[str, Any], sha256: str) -> CardMessage:
    """Put a model card on the wire; ``card`` is a ``ModelCard`` as plain values, ``sha256`` that of its file."""
    eeg, bold = card.get("eeg") or {}, card.get("bold") or {}
    return CardMessage(
        session=session,
        name=card["name"],
        sha256=sha256,
        model_kind=card.get("kind", "network"),
        description=card["description"],
        licence=card["licence"],
        classes=list(card["classes"]),
        channels=list(eeg.get("channels", ())),
        regions=list(bold.get("regions", ())),
        verdict=card.get("verdict", ""),
        scores=msgspec.convert(card.get("scores", {}), dict[str, CardScoreEntry]),
        explained=dict(card.get("explained", {})),
    )
