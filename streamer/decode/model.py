"""What the loop asks of a model, whatever it is made of."""

from __future__ import annotations

from typing import Protocol

from streamer.decode.model_card import ModelCard
from streamer.messages import Prediction, Window


class Model(Protocol):
    """A window in, a prediction out: the same windows in the same order give the same predictions."""

    @property
    def card(self) -> ModelCard:
        """What it takes and gives."""
        ...

    @property
    def name(self) -> str:
        """``name@sha256`` of its card (first 12 hex digits)."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What fell back, and why; grows when a processor is lost in mid-run."""
        ...

    @property
    def unusable(self) -> int:
        """Windows so far with a number that was not finite, in the input or in the output."""
        ...

    @property
    def provider(self) -> str:
        """Name of ONNX Runtime's execution provider that it runs on now; the processor's for a model without graph."""
        ...

    def warm_up(self) -> None:
        """Run all that the loop will run, so that the first window does not pay for what is set up lazily."""
        ...

    def aside(self, window: Window) -> Prediction:
        """Classify a window without touching what is carried from one window to the next; errors as the call's."""
        ...

    def __call__(self, window: Window) -> Prediction:
        """Classify a window.

        Raises
        ------
        ModelError
            The window's shapes are not those of the card.
        """
        ...
