"""What is known of a session, and the stores of the one that is followed. No Qt, no clock, no network."""

from __future__ import annotations

from dataclasses import dataclass, field

from dashboard.stores import HISTORY_S, EegStore, ImageStore, PredictionStore, ScoreStore, Timeline, VolumeStore
from streamer.wire import (
    About,
    CardMessage,
    ConfigMessage,
    FeatureMessage,
    HealthMessage,
    MarkerMessage,
    PredictionMessage,
    QualityMessage,
    Status,
    TriggerMessage,
)


@dataclass(slots=True)
class Peer:
    """A session that was heard of."""

    status: Status | None = None
    about: About | None = None
    card: CardMessage | None = None
    config: ConfigMessage | None = None
    order: int = 0
    """Grows with every announcement: the newest session is the one that announced itself last."""
    heard: float = float("-inf")
    """When data came last, s on the window's own clock."""

    @property
    def online(self) -> bool:
        """Whether its loop says that it is there."""
        return self.status is not None and self.status.online


@dataclass(slots=True)
class View:
    """The stores of the session that is followed; times are SessionTime, s."""

    history_s: float = HISTORY_S
    """How far back they reach."""
    eeg: EegStore | None = None
    """Cleaned."""
    raw: EegStore | None = None
    """As it came: two samples hold the least and the largest of their stretch."""
    volumes: VolumeStore | None = None
    images: ImageStore = field(init=False)
    predictions: PredictionStore | None = None
    prediction: Timeline[PredictionMessage] = field(init=False)
    scores: ScoreStore = field(init=False)
    markers: Timeline[MarkerMessage] = field(init=False)
    health: Timeline[HealthMessage] = field(init=False)
    quality: Timeline[QualityMessage] = field(init=False)
    features: dict[str, Timeline[FeatureMessage]] = field(default_factory=dict[str, "Timeline[FeatureMessage]"])
    """By name."""
    trigger: TriggerMessage | None = None
    now: float = float("-inf")
    """Newest time that any message named."""
    began: float = float("inf")
    """Oldest time that any message named."""
    heard: dict[str, float] = field(default_factory=dict[str, float])
    """When each kind of message came last, s on the window's own clock."""

    def __post_init__(self) -> None:
        self.images = ImageStore(self.history_s)
        self.prediction = Timeline(self.history_s)
        self.scores = ScoreStore(self.history_s)
        self.markers = Timeline(self.history_s)
        self.health = Timeline(self.history_s)
        self.quality = Timeline(self.history_s)

    def age(self, kind: str, now: float) -> float | None:
        """Seconds since a message of ``kind`` came; None when none did."""
        return now - self.heard[kind] if kind in self.heard else None
