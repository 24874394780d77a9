"""What the gradient stage is told, and what it gives."""

from __future__ import annotations

from collections import deque
from typing import Literal, NamedTuple

from pydantic import Field

from streamer.contracts import Settings
from streamer.messages import F32, Flag


class GradientSettings(Settings):
    """How the gradient artefact is taken out."""

    enabled: bool = True
    """False passes everything through: for EEG without a scanner, or corrected in hardware."""
    n_min: int = Field(default=4, ge=2)
    """Epochs in the template until which the output is flagged ``WARMING``."""
    n_max: int = Field(default=25, ge=2)
    """Epochs in the template at most."""
    window: Literal["sliding", "weighted"] = "sliding"
    """``weighted`` lets the weight of an epoch fall by ``exp(-2 / n_max)`` per volume as well."""
    coast_max: int = Field(default=3, ge=0)
    """Volumes in a row that may be corrected without a trigger."""
    highpass_hz: float = Field(default=0.5, gt=0)
    """Order-2 high-pass before the template, Hz: slow EEG and drift would enter it and come out as steps."""
    hold_s: float = Field(default=0.0, ge=0, le=0.5)
    """The output comes so much later, s. 0.064 lets the first 64 ms of a volume tell where it begins before they are
    corrected: for scanners whose volumes jitter against the amplifier's clock."""
    follow_gain: bool = True
    """Follow the artefact's amplitude in each channel from volume to volume."""
    motion_mm: float = Field(default=0.5, gt=0)
    """A volume's weight falls to 1/e when the head has moved by so much since, mm."""
    activity_v: float = Field(default=150e-6, gt=0)
    """Gradients are heard when the median channel changes within 2 ms by more than this from peak to peak, V."""


class Span(NamedTuple):
    """What holds for a stretch of samples."""

    start: int
    stop: int
    flags: Flag


class Corrected(NamedTuple):
    """Consecutive corrected samples."""

    first: int
    """Grid index of the first."""
    data: F32
    """V, shape (n_times, n_channels)."""
    spans: list[Span]
    """What holds for which samples, without holes."""
    taken: F32
    """What was subtracted, V, shape as ``data``; without rows where it was not asked for."""
    starts: list[int]
    """Grid indices among these samples at which a volume begins."""

    def flag(self, start: int, stop: int, flags: Flag) -> None:
        """Say what holds for the samples from ``start`` on, where the last stretch ends."""
        if self.spans and self.spans[-1].flags == flags:
            start = self.spans.pop().start
        self.spans.append(Span(start, stop, flags))


class Spoiled:
    """Stretches of samples that are not to be learnt from: the newest 1024, those that touch as one."""

    def __init__(self) -> None:
        self._stretches: deque[tuple[int, int]] = deque(maxlen=1024)

    def add(self, start: int, stop: int) -> None:
        """Take samples ``start`` to ``stop`` (excluded)."""
        if self._stretches and self._stretches[-1][1] >= start:
            start = min(start, self._stretches.pop()[0])
        self._stretches.append((start, stop))

    def among(self, start: int, stop: int) -> bool:
        """Whether one lies among samples ``start`` to ``stop`` (excluded)."""
        return any(a < stop and b > start for a, b in self._stretches)
