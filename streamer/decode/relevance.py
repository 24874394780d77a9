"""What the decision rests on, while it is made: parts of a window are taken away, and the model is asked again.

A round begins with a decision's window, which is kept. Every later decision pays for one more question: the kept window
with one part replaced by the participant's baseline (zeros: z of 0, 0 % signal change). When all parts were asked for,
the drops of the winner's log-odds are given out and the next round begins: with 31 channels in five groups, three bands
and six regions a round takes 24 decisions, 2.4 s at ten a second. Occlusion says what the number depends on, not where
the brain's signal is: whether both agree for a model was checked where its card says so (``ModelCard.explained``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from streamer.contracts import Settings
from streamer.decode.montage_groups import channel_groups
from streamer.messages import F32, Feature, Flag, Prediction, SessionTime, Window

TARGET = "target_index"
"""Label of the first value: the place of the class whose log-odds the others speak of, among the model's classes."""
_DECIMALS = 5
_LEAST = 1e-5
"""Probabilities are told to so many digits."""


class RelevanceSettings(Settings):
    """What the decision rests on, as a feature beside the predictions."""

    enabled: bool = False
    """Whether parts of the window are taken away and the model is asked again, once per decision."""


class Asks(Protocol):
    """A model that answers without touching what it carries from one window to the next."""

    def aside(self, window: Window) -> Prediction:
        """Classify a window."""
        ...


@dataclass(frozen=True)
class Part:
    """What is taken away at once."""

    label: str
    modality: Literal["eeg", "bold"]
    features: NDArray[np.int64]
    """Columns of the modality's steps that are replaced."""
    whole: bool = False
    """The whole modality; the EEG's covariance goes with it."""


@dataclass(frozen=True)
class _Round:
    window: Window
    used: tuple[bool, bool]
    """Whether EEG and BOLD counted."""
    target: int
    flags: Flag
    whole: float
    """Log-odds of the target with nothing taken away."""


class Relevance:
    """Ask what each part of a window contributes, one part per decision.

    Parameters
    ----------
    model : Asks
    channels : sequence of str
        Of the EEG, in order; none without EEG.
    bands : sequence of str
        In order.
    regions : sequence of str
        In order; none without BOLD.
    """

    def __init__(self, model: Asks, channels: Sequence[str], bands: Sequence[str], regions: Sequence[str]) -> None:
        self._model = model
        self._parts = parts_of(channels, bands, regions)
        self._round: _Round | None = None
        self._values: list[float] = []
        self.labels = (TARGET, *(part.label for part in self._parts))
        """Of the values of a round."""

    def __call__(self, window: Window, prediction: Prediction) -> Feature | None:
        """Take a decision; give a round's result when this decision completes it.

        Parameters
        ----------
        window : Window
        prediction : Prediction
            Of this window; says which modalities counted.
        """
        if self._round is None:
            self._begin(window, prediction)
            return None
        part = self._parts[len(self._values)]
        self._values.append(self._drop(self._round, part))
        if len(self._values) < len(self._parts):
            return None
        done, values = self._round, self._values
        self._round, self._values = None, []
        return Feature(
            name="relevance",
            sample=done.window.seq,
            about=SessionTime(done.window.end),
            delay_s=0.0,
            labels=self.labels,
            values=(float(done.target), *values),
            uncertainty=(),
            valid=any(math.isfinite(value) for value in values),
            flags=done.flags,
        )

    def _begin(self, window: Window, prediction: Prediction) -> None:
        used = (not prediction.flags & Flag.NO_EEG, not prediction.flags & Flag.NO_BOLD)
        if not self._parts or not any(used):
            return
        target = prediction.probabilities.index(max(prediction.probabilities))
        self._round = _Round(window, used, target, prediction.flags, _log_odds(self._model.aside(window), target))

    def _drop(self, kept: _Round, part: Part) -> float:
        if not kept.used[part.modality == "bold"]:
            return math.nan
        window = kept.window
        changed = without(part, window.eeg, window.bold, window.tangent)
        found = self._model.aside(replace(window, **changed))
        return round(kept.whole - _log_odds(found, kept.target), _DECIMALS)


def parts_of(channels: Sequence[str], bands: Sequence[str], regions: Sequence[str]) -> tuple[Part, ...]:
    """Cut a window into its modalities, channel groups times bands, and regions.

    Parameters
    ----------
    channels : sequence of str
        Of the EEG, in order; none without EEG.
    bands : sequence of str
        In order.
    regions : sequence of str
        In order; none without BOLD.
    """
    parts: list[Part] = []
    if channels:
        parts.append(Part("eeg", "eeg", np.arange(len(channels) * len(bands)), whole=True))
    if regions:
        parts.append(Part("bold", "bold", np.arange(len(regions)), whole=True))
    for group, places in channel_groups(channels).items():
        for k, band in enumerate(bands):
            # features come channels outermost
            parts.append(Part(f"eeg.{group}.{band}", "eeg", np.array(places) * len(bands) + k))
    parts += [Part(f"bold.{region}", "bold", np.array([k])) for k, region in enumerate(regions)]
    return tuple(parts)


def without(part: Part, eeg: F32, bold: F32, tangent: F32) -> dict[str, F32]:
    """Give those arrays of a window, or of several, that differ without a part: copies with zeros in its place.

    Parameters
    ----------
    part : Part
    eeg, bold : ndarray, float32, shape (..., n_steps, n_features)
    tangent : ndarray, float32, shape (..., k)
        Of zero width where there is none; NaN stays NaN.
    """
    data = (bold if part.modality == "bold" else eeg).copy()
    data[..., part.features] = 0
    changed = {part.modality: data}
    if part.whole and part.modality == "eeg" and tangent.size:
        changed["tangent"] = tangent * np.float32(0)
    return changed


def _log_odds(prediction: Prediction, target: int) -> float:
    p = min(1.0 - _LEAST, max(_LEAST, prediction.probabilities[target]))
    return math.log(p) - math.log1p(-p)
