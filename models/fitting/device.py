"""Where the training runs, and how exactly."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from models.fitting.settings import TrainSettings
from streamer.errors import UsageError

MAX_THREADS = 2
"""More gain nothing at this size; their number is part of what makes two runs equal."""


@dataclass(frozen=True)
class Device:
    """A processor and a precision."""

    torch: torch.device
    mixed: bool
    """Matrix products in bfloat16, weights and sums in float32."""

    def __str__(self) -> str:
        return f"{self.torch}, {'bfloat16' if self.mixed else 'float32'}"

    def autocast(self) -> AbstractContextManager[object]:
        """Compute in the lower precision where it is safe."""
        return torch.autocast(self.torch.type, torch.bfloat16, enabled=self.mixed)

    def forked(self) -> AbstractContextManager[object]:
        """Leave torch's own generators as they were."""
        return torch.random.fork_rng(devices=[self.torch] if self.torch.type == "cuda" else [])

    def generators(self) -> dict[str, torch.Tensor]:
        """Give the states of torch's own generators."""
        states = {"cpu": torch.get_rng_state()}
        if self.torch.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self.torch)
        return states

    def restore(self, states: dict[str, torch.Tensor]) -> None:
        """Set the states of torch's own generators."""
        torch.set_rng_state(states["cpu"])
        if self.torch.type == "cuda":
            torch.cuda.set_rng_state(states["cuda"], self.torch)


def device_of(settings: TrainSettings) -> Device:
    """Choose the device.

    Raises
    ------
    UsageError
        A GPU is asked for and there is none.
    """
    there = torch.cuda.is_available()
    if settings.device == "cuda" and not there:
        raise UsageError(
            "device cuda: torch finds no GPU (it takes a build of torch for CUDA, and a driver): expected auto or cpu"
        )
    torch.set_num_threads(min(MAX_THREADS, torch.get_num_threads()))
    found = torch.device("cuda" if there and settings.device != "cpu" else "cpu")
    able = found.type == "cuda" and torch.cuda.is_bf16_supported()
    return Device(found, able if settings.mixed is None else settings.mixed)
