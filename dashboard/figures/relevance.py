"""What parts of a window contribute to a decision, sorted into channel groups by bands, and regions: numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamer.messages import F64

TARGET = "target_index"
"""Label of the class that the other values speak of, by its place among the model's."""
_WHOLE = {"eeg", "bold"}


@dataclass(frozen=True, slots=True)
class RelevanceMap:
    """Drops of the class's log-odds (nats) when a part is replaced by the participant's baseline; NaN where unused."""

    target: int | None
    whole: dict[str, float]
    """Of all EEG and all BOLD."""
    groups: tuple[str, ...]
    bands: tuple[str, ...]
    eeg: F64
    """Shape (n_groups, n_bands)."""
    regions: tuple[str, ...]
    bold: F64
    """Shape (n_regions,)."""


def relevance_map(labels: Sequence[str], values: Sequence[float | None]) -> RelevanceMap:
    """Sort the values of a ``relevance`` feature by where they belong; labels of another form are left aside.

    Parameters
    ----------
    labels : sequence of str
        ``target_index``, ``eeg``, ``bold``, ``eeg.GROUP.BAND``, ``bold.REGION``.
    values : sequence of float or None
        In their order.
    """
    target: int | None = None
    whole: dict[str, float] = {}
    cells: dict[tuple[str, str], float] = {}
    regions: dict[str, float] = {}
    # of unequal lengths only what is paired means anything
    for label, given in zip(labels, values, strict=False):
        value = np.nan if given is None else given
        modality, _, part = label.partition(".")
        if label == TARGET:
            target = int(value) if np.isfinite(value) else None
        elif label in _WHOLE:
            whole[label] = value
        elif modality == "bold" and part:
            regions[part] = value
        elif modality == "eeg" and "." in part:
            group, _, band = part.rpartition(".")
            cells[group, band] = value
    groups, bands = (tuple(dict.fromkeys(key[i] for key in cells)) for i in (0, 1))
    eeg = np.array([cells.get((group, band), np.nan) for group in groups for band in bands], np.float64)
    eeg = eeg.reshape(len(groups), len(bands))
    return RelevanceMap(target, whole, groups, bands, eeg, tuple(regions), np.array([*regions.values()]))


def strongest(values: F64, count: int) -> list[int]:
    """Give the places of the ``count`` rows with the largest size, in their own order; NaN counts least.

    Parameters
    ----------
    values : array, shape (n,) or (n, m)
    count : int
    """
    rows = values if values.ndim > 1 else values[:, None]
    size = np.nan_to_num(np.abs(rows), nan=-1.0).max(axis=1, initial=-1.0)
    return sorted(np.argsort(-size, kind="stable")[: max(0, count)].tolist())
