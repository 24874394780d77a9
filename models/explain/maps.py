"""From attributions per window to maps: two views, and their sums by channel group, band, region and time.

===========  ==========================================================================================================
view         what a value says
===========  ==========================================================================================================
pattern      correlation of an input with the evidence that the model draws from its modality: where the signal is that
             the model reads (Haufe 2014, doi:10.1016/j.neuroimage.2013.10.067); in multiples of what networks with
             drawn weights have there, since inputs that go together are found by any network
dependence   how much the log-odds depend on the input: also on those that hold no signal and only serve to subtract
             noise that others share
===========  ==========================================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from models.dataset import WindowSet
from models.explain.attribution import Attribution
from models.explain.network import Modality
from streamer.decode.montage_groups import channel_groups
from streamer.messages import F64

View = Literal["pattern", "dependence"]
VIEWS: tuple[View, ...] = ("pattern", "dependence")
_LEAST_CHANCE = 0.01
"""A correlation below it is no yardstick."""
Relevance = Mapping[Modality, F64]
"""Per modality, shape (n_steps, n_features)."""


@dataclass(frozen=True)
class Axes:
    """What the inputs are called."""

    channels: tuple[str, ...]
    bands: tuple[str, ...]
    regions: tuple[str, ...]
    eeg_step_s: float
    bold_step_s: float


@dataclass(frozen=True)
class EegMap:
    """Relevance of EEG."""

    groups: tuple[str, ...]
    bands: tuple[str, ...]
    group_band: F64
    """Mean over the group's channels and time, shape (n_groups, n_bands)."""
    channel_band: F64
    """Mean over time, shape (n_channels, n_bands)."""
    band_time: F64
    """Mean size over the channels, shape (n_bands, n_steps)."""
    lag_s: F64
    """Of each step's end before the window's, s."""


@dataclass(frozen=True)
class BoldMap:
    """Relevance of BOLD."""

    regions: tuple[str, ...]
    region_time: F64
    """Shape (n_regions, n_steps)."""
    lag_s: F64
    """Of each step before the newest, s."""


def view(attribution: Attribution, windows: WindowSet, kind: View) -> dict[Modality, F64]:
    """Make one view of an attribution; the pattern as a plain correlation.

    Parameters
    ----------
    attribution : Attribution
    windows : WindowSet
        Those that it was made of.
    kind : str
        ``pattern`` or ``dependence``.
    """
    if kind == "dependence":
        return dict(attribution.dependence)
    windows = attribution.windows if attribution.windows is not None else windows
    found: dict[Modality, F64] = {}
    for name, evidence in attribution.evidence.items():
        values = getattr(windows, name).astype(np.float64)
        values = values - values.mean(axis=0)
        spread = values.std(axis=0) * evidence.std()
        together = np.tensordot(evidence - evidence.mean(), values, axes=1) / max(1, len(evidence))
        found[name] = np.where(spread > 0, together / np.where(spread > 0, spread, 1.0), 0.0)
    return found


def views(attribution: Attribution, windows: WindowSet, chance: Relevance) -> dict[View, Relevance]:
    """Make every view, the pattern in multiples of chance.

    Parameters
    ----------
    attribution : Attribution
    windows : WindowSet
        Those that it was made of.
    chance : mapping
        Root mean square of the pattern of networks with drawn weights, per modality, shape (n_steps, n_features).
    """
    pattern = view(attribution, windows, "pattern")
    return {
        "pattern": {name: values / np.maximum(chance[name], _LEAST_CHANCE) for name, values in pattern.items()},
        "dependence": view(attribution, windows, "dependence"),
    }


def per_feature(values: F64) -> F64:
    """Mean size over time, shape (n_features,)."""
    return np.abs(values).mean(axis=0)


def eeg_map(values: F64, axes: Axes) -> EegMap:
    """Sum up the relevance of EEG, shape (n_steps, n_channels * n_bands)."""
    n_steps = len(values)
    cells = values.reshape(n_steps, len(axes.channels), len(axes.bands))
    groups = channel_groups(axes.channels)
    flat = cells.mean(axis=0)
    return EegMap(
        tuple(groups),
        axes.bands,
        np.array([flat[list(members)].mean(axis=0) for members in groups.values()]),
        flat,
        np.abs(cells).mean(axis=1).T,
        axes.eeg_step_s * np.arange(n_steps - 1, -1, -1, dtype=np.float64),
    )


def bold_map(values: F64, axes: Axes) -> BoldMap:
    """Sum up the relevance of BOLD, shape (n_steps, n_regions)."""
    return BoldMap(axes.regions, values.T, axes.bold_step_s * np.arange(len(values) - 1, -1, -1, dtype=np.float64))
