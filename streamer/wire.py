"""What goes over MQTT: the contract with the dashboard and with third parties.

Every payload is one JSON object with ``kind`` and ``schema``. Readers accept their own schema number and the one
before. Times are ``SessionTime`` (s, the acquisition host's LSL clock). A value that is not known is ``null``.

Topics, under ``eegfmri/<session>/``:

==================  ========  ==============================================================================
topic               retained  payload
==================  ========  ==============================================================================
``status``          yes       :class:`Status`; also the last will (``online: false``)
``about``           yes       :class:`About`: channels, regions, classes, model
``prediction``      no        :class:`PredictionMessage`, at every decision
``trigger``         no        :class:`TriggerMessage`, QoS 1: consumers drop doubles by ``id``
``veto``            no        :class:`VetoMessage`
``bold``            no        :class:`BoldMessage`, once per volume
``preview/eeg``     no        :class:`EegPreview`, cleaned EEG in µV, a few times a second
``feature/<name>``  no        :class:`FeatureMessage`: phase, tangent vector, connectivity; each at its own rate
``health``          no        :class:`HealthMessage`, once a second
==================  ========  ==============================================================================
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from streamer.errors import FormatError
from streamer.messages import BoldFrame, Feature, Flag, Health, Prediction, SessionTime, Trigger, Veto

SCHEMA = 1
ROOT = "eegfmri"


class Payload(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """What every payload has."""

    schema: int = SCHEMA


class Status(Payload, frozen=True, kw_only=True, tag="status"):
    """Whether the session's loop is there, and its state."""

    session: str
    online: bool
    state: str
    detail: str = ""


class ChannelEntry(msgspec.Struct, frozen=True):
    """A channel as the dashboard needs it."""

    name: str
    kind: str


class About(Payload, frozen=True, kw_only=True, tag="about"):
    """What the session consists of."""

    session: str
    eeg_sfreq: float
    """Hz, of the cleaned EEG."""
    channels: list[ChannelEntry]
    regions: list[str]
    classes: list[str]
    model: str
    tick_hz: float
    thresholds: dict[str, float]
    versions: dict[str, str]
    pulse: str = "off"
    """How the pulse artefact is taken out of the EEG."""
    eeg_delay_s: float = 0.0
    """Delay of the EEG's filters at 10 Hz; already taken off all times."""
    eeg_hold_s: float = 0.0
    """By how much cleaned EEG is held back on purpose."""


class PredictionMessage(Payload, frozen=True, kw_only=True, tag="prediction"):
    """One decision of the model."""

    seq: int
    model: str
    probabilities: dict[str, float]
    uncertainty: float
    attention: dict[str, float]
    about: float
    ready: float | None
    expires: float
    """After this time the prediction is stale."""
    age_eeg_s: float | None
    age_bold_s: float | None
    flags: list[str]
    hold_eeg_s: float = 0.0
    """By how much the cleaning held the EEG back."""


class TriggerMessage(Payload, frozen=True, kw_only=True, tag="trigger"):
    """One neurofeedback trigger."""

    id: str
    """``<session>/<seq>``: unique, for dropping doubles."""
    seq: int
    action: str
    level: float
    about: float
    fire_at: float
    expires: float
    """A trigger that arrives after this time must not be acted on."""
    reason: str
    flags: list[str]


class VetoMessage(Payload, frozen=True, kw_only=True, tag="veto"):
    """A trigger that was due and was held back."""

    window: int
    reason: str
    about: float


class BoldMessage(Payload, frozen=True, kw_only=True, tag="bold"):
    """What the BOLD lane made of one volume."""

    index: int
    series: str = ""
    """The run of the scanner: numbers start anew in another."""
    acquired: float | None
    received: float
    regions: list[float | None]
    """% signal change, in the order of ``About.regions``."""
    motion_mm: list[float]
    motion_rad: list[float]
    fd_mm: float
    flags: list[str]
    z: list[float | None] = []
    """``regions`` against their own past, in standard deviations."""
    dvars_percent: float | None = None
    """Change since the volume before, % of the mean intensity."""


class FeatureMessage(Payload, frozen=True, kw_only=True, tag="feature"):
    """One feature of the cleaned EEG besides band power."""

    name: str
    sample: int
    """Index on the cleaned grid of the sample after the newest one that entered."""
    about: float
    """The time that the values speak of."""
    delay_s: float
    """From ``about`` to the newest sample."""
    ready: float | None
    age_s: float | None
    """From ``about`` to ``ready``."""
    expires: float
    """After this time the values are stale."""
    labels: list[str]
    values: list[float | None]
    uncertainty: list[float | None]
    """Standard deviation of each value (circular for a phase); empty where none is known."""
    valid: bool
    """False while anything settles or is learned, and where the samples are dirty: do not use the values."""
    flags: list[str]


class EegPreview(Payload, frozen=True, kw_only=True, tag="preview"):
    """A stretch of cleaned EEG, for looking at."""

    first_sample: int
    """Index on the cleaned grid: a jump is a gap."""
    t0: float
    sfreq: float
    data_uv: list[list[float | None]]
    """µV, one list per channel, in the order of ``About.channels`` of kind ``eeg``."""
    flags: list[str]
    bad: list[int] = []
    """Indices of bad channels."""
    interpolated: list[int] = []
    """Those of them that are shown as their neighbours let expect."""
    hold_s: float = 0.0
    """By how much the cleaning held the EEG back."""


class HealthMessage(Payload, frozen=True, kw_only=True, tag="health"):
    """Telemetry, once a second."""

    state: str
    at: float
    counts: dict[str, int]
    losses: dict[str, int]
    latency_ms: dict[str, list[float]]
    """p50 and p99 per stage."""
    queues: dict[str, int]
    flags: list[str]
    notes: list[str]
    eeg: dict[str, float | None] = {}
    """How clean the EEG is: see the README for the names; null while not known."""


Message = (
    Status
    | About
    | PredictionMessage
    | TriggerMessage
    | VetoMessage
    | BoldMessage
    | FeatureMessage
    | EegPreview
    | HealthMessage
)

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Message)

T = TypeVar("T")


def topic(session: str, name: str) -> str:
    """Name the topic of ``session`` for ``name`` (``status``, ``prediction``, ``preview/eeg`` …)."""
    return f"{ROOT}/{session}/{name}"


def encode(message: Message) -> bytes:
    """Encode as JSON, UTF-8."""
    return _encoder.encode(message)


def decode(payload: bytes) -> Message:
    """Decode a payload.

    Raises
    ------
    FormatError
        Not JSON, an unknown kind, a missing field, or a schema that is newer than ours.
    """
    try:
        message = _decoder.decode(payload)
    except msgspec.MsgspecError as error:
        raise FormatError(f"MQTT payload of {len(payload)} bytes is not a message of ours: {error}") from error
    if not SCHEMA - 1 <= message.schema <= SCHEMA:
        raise FormatError(f"MQTT payload has schema {message.schema}: expected {SCHEMA - 1} or {SCHEMA}")
    return message


def flag_names(flags: Flag) -> list[str]:
    """Name the flags that are set, in the order of their values."""
    return [flag.name for flag in Flag if flag & flags and flag.name is not None]


def _finite(value: float) -> float | None:
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
        age_eeg_s=_finite(prediction.age_eeg),
        age_bold_s=_finite(prediction.age_bold),
        flags=flag_names(prediction.flags),
        hold_eeg_s=prediction.hold_eeg,
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
    )


def from_veto(veto: Veto) -> VetoMessage:
    """Put a veto on the wire."""
    return VetoMessage(window=veto.window, reason=veto.reason, about=veto.about)


def from_bold(frame: BoldFrame) -> BoldMessage:
    """Put a BOLD frame on the wire."""
    return BoldMessage(
        index=frame.index,
        series=frame.series,
        acquired=frame.acquired,
        received=frame.received,
        regions=[_finite(float(v)) for v in frame.regions],
        motion_mm=[float(v) for v in frame.motion[:3]],
        motion_rad=[float(v) for v in frame.motion[3:]],
        fd_mm=frame.fd,
        flags=flag_names(frame.flags),
        z=[_finite(float(v)) for v in frame.z],
        dvars_percent=_finite(frame.dvars),
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
        values=[_finite(v) for v in feature.values],
        uncertainty=[_finite(v) for v in feature.uncertainty],
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
        eeg={name: _finite(value) for name, value in health.eeg.items()},
    )
