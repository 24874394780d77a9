"""How the network is fitted."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from streamer.contracts import Settings

Device = Literal["auto", "cpu", "cuda"]


class TrainSettings(Settings):
    """How the network is fitted."""

    seed: int = Field(default=1, ge=0)
    """Of initialisation, batch order and dropout; each member has its own, made from it."""
    members: int = Field(default=3, ge=1, le=16)
    """Networks that are trained from different seeds and asked together: more than three gained nothing measurable on
    simulated people, and every one costs the same again in training and in the loop."""
    epochs: int = Field(default=60, ge=1)
    """At most."""
    patience: int = Field(default=10, ge=1)
    """Epochs without a better validation loss after which training stops."""
    batch: int = Field(default=256, ge=1)
    """Windows per step."""
    stride: int = Field(default=2, ge=1)
    """Every epoch sees one in this many windows, in turn: neighbours are nearly the same."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Of AdamW, at its peak."""
    weight_decay: float = Field(default=1e-2, ge=0)
    """Of AdamW."""
    auxiliary: float = Field(default=0.3, ge=0)
    """Weight of either single-modality loss."""
    noise: float = Field(default=0.6, ge=0)
    """Standard deviation of noise added to the EEG's z-scores in training."""
    device: Device = "auto"
    """``auto``: a GPU where there is one."""
    mixed: bool | None = None
    """Train in bfloat16 where that is safe; None: on a GPU that can."""

    def seed_of(self, member: int) -> int:
        """Seed of a member, counted from 0."""
        # far apart: the seeds of another run's members are others
        return self.seed + 7919 * member
