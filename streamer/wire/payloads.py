"""The payloads: one struct per kind."""

from __future__ import annotations

from typing import Any

import msgspec

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
    position: list[float] | None = None
    """Place on the unit sphere, x to the right, y to the front, z up; null where the name tells none."""


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
    blinded: bool = False
    """A session with sham: what would tell the true score is not sent."""
    regions_mm: list[list[float] | None] = []
    """Centre of each region, RAS+ mm in the space of the volumes; empty while not known."""
    tr_s: float | None = None
    """Between two volumes, s; null before the first volume, where nothing else tells."""
    commands: list[str] = []
    """Actions that the session takes over ``command``; none without ``mqtt.commands``."""


class MarkerMessage(Payload, frozen=True, kw_only=True, tag="marker"):
    """An event in the EEG recording that is no volume pulse: the beginning of a block, a stimulus, a note."""

    label: str
    at: float
    note: bool = False
    """Written by the operator."""


class CardScoreEntry(msgspec.Struct, frozen=True):
    """How well the model does on what it had not seen."""

    window_accuracy: float
    block_accuracy: float
    block_ci95: list[float]
    """Wilson interval of ``block_accuracy``."""
    n_blocks: int
    chance: float


class CardMessage(Payload, frozen=True, kw_only=True, tag="card"):
    """The model card, without the subjects that it was trained on."""

    session: str
    name: str
    sha256: str
    """Of the card's file."""
    model_kind: str
    """``network``, ``linear`` or ``score``."""
    description: str
    licence: str
    classes: list[str]
    channels: list[str]
    """EEG channels that it takes; empty for a model of BOLD alone."""
    regions: list[str]
    """Regions that it takes; empty for a model of EEG alone."""
    verdict: str
    """Whether it earned its place beside the best rival."""
    scores: dict[str, CardScoreEntry]
    """By what a window holds: ``both``, ``eeg``, ``bold``."""
    explained: dict[str, str] = {}
    """Ways of explaining that were checked on this model against a planted truth, with the figures in words; what is
    missing was not validated."""


class ConfigMessage(Payload, frozen=True, kw_only=True, tag="config"):
    """The settings of the session, without paths, names and addresses."""

    session: str
    sha256: str
    """Digest of all settings, those that are left out too."""
    settings: dict[str, Any]


class QualityMessage(Payload, frozen=True, kw_only=True, tag="quality"):
    """How good the data are, once a second."""

    at: float
    bad_channels: list[str]
    """Names of the EEG channels that count as bad."""
    n_channels: int
    """EEG channels in all; 0 while not known."""
    eeg: dict[str, float | None]
    """How clean the EEG is: see the README for the names; null while not known."""
    fd_mm: float | None
    """Framewise displacement of the newest volume."""
    fd_mean_mm: float | None
    """Its mean over the session."""
    fd_max_mm: float | None
    """Its maximum over the session."""
    volumes: int
    """Volumes that have come so far."""
    volumes_motion: int
    """Those of them that moved more than the limit."""
    flags: list[str]
    """Of the newest window."""


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
    disagreement: float = 0.0
    """Mutual information of the model's members, nats: what they do not agree on."""
    candidates: list[str] | None = None
    """Classes that cannot be ruled out; null where the model was not calibrated for that."""


class ScoreMessage(Payload, frozen=True, kw_only=True, tag="score"):
    """What the participant is shown."""

    window: int
    level: float
    """0..1; the neutral value where ``neutral``."""
    axes: dict[str, float]
    """0..1 per modality or source; empty where there is one only."""
    threshold: float
    """0..1: where a reward begins."""
    neutral: bool
    """Nothing that counts is known, or a veto holds: show the neutral value."""
    about: float
    ready: float | None
    expires: float
    """After this time what is shown must be neutral."""
    flags: list[str]


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
    source: str = "score"
    """What asked for it: ``score``, ``phase``, ``spindle``, ``spike``."""


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
    """Hz; samples are numbered on the grid of ``About.eeg_sfreq``."""
    data_uv: list[list[float | None]]
    """µV, one list per channel, in the order of ``About.channels`` of kind ``eeg``."""
    flags: list[str]
    bad: list[int] = []
    """Indices of bad channels."""
    interpolated: list[int] = []
    """Those of them that are shown as their neighbours let expect."""
    hold_s: float = 0.0
    """By how much the cleaning held the EEG back."""
    raw: bool = False
    """EEG as it came, before any cleaning: two samples stand for the least and the largest of their stretch, in the
    order in which they came, so that no artefact is lost."""


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
    armed: bool | None = None
    """Whether triggers may leave; null in a replay."""
    queue_sizes: dict[str, int] = {}
    """What each of ``queues`` holds at most."""


Message = (
    Status
    | About
    | CardMessage
    | ConfigMessage
    | PredictionMessage
    | ScoreMessage
    | TriggerMessage
    | VetoMessage
    | BoldMessage
    | QualityMessage
    | FeatureMessage
    | MarkerMessage
    | EegPreview
    | HealthMessage
)
"""What a session sends."""


def topic(session: str, name: str) -> str:
    """Name the topic of ``session`` for ``name`` (``status``, ``prediction``, ``preview/eeg`` …)."""
    return f"{ROOT}/{session}/{name}"
