"""What the decision rests on, while it is made: parts of a window are taken away, and the model is asked again.

A round begins with a decision's window, which is kept. Every later decision pays for one more question: the kept window
with one part replaced by the participant's baseline (zeros: z of 0, 0 % signal change). When all parts were asked for,
the drops of the winner's log-odds are given out and the next round begins: with 31 channels in five groups, three bands
and six regions a round takes 24 decisions, 2.4 s at ten a second. Occlusion says what the number depends on, not where
the brain's signal is: see ``models/explain`` for maps that were checked against a planted truth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streamer.contracts import Settings
from streamer.decode.montage_groups import channel_groups
from streamer.messages import Feature, Flag, Prediction, SessionTime, Window

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
class _Part:
    label: str
    column: int
    """0 for EEG, 1 for BOLD."""
    features: NDArray[np.int64]
    """Columns that are replaced."""


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
        self._parts = _parts(channel_groups(channels), bands, regions)
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

    def _drop(self, kept: _Round, part: _Part) -> float:
        if not kept.used[part.column]:
            return math.nan
        name = "bold" if part.column else "eeg"
        # a copy: the window's arrays are not ours
        data = getattr(kept.window, name).copy()
        data[:, part.features] = 0
        found = self._model.aside(replace(kept.window, **{name: data}))
        return round(kept.whole - _log_odds(found, kept.target), _DECIMALS)


def _parts(groups: Mapping[str, tuple[int, ...]], bands: Sequence[str], regions: Sequence[str]) -> tuple[_Part, ...]:
    n_channels = sum(len(places) for places in groups.values())
    parts: list[_Part] = []
    if n_channels:
        parts.append(_Part("eeg", 0, np.arange(n_channels * len(bands))))
    if regions:
        parts.append(_Part("bold", 1, np.arange(len(regions))))
    for group, places in groups.items():
        for k, band in enumerate(bands):
            # features come channels outermost
            parts.append(_Part(f"eeg.{group}.{band}", 0, np.array(places) * len(bands) + k))
    parts += [_Part(f"bold.{region}", 1, np.array([k])) for k, region in enumerate(regions)]
    return tuple(parts)


def _log_odds(prediction: Prediction, target: int) -> float:
    p = min(1.0 - _LEAST, max(_LEAST, prediction.probabilities[target]))
    return math.log(p) - math.log1p(-p)
