"""Named features of a window: what linear rivals are fitted on in training and fed with in the loop.

Every feature is made of one part of a window, for a whole batch at once: training makes them of thousands of windows,
the loop of one, and both get the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from streamer.errors import ModelError
from streamer.messages import F32, Array

Source = Literal["eeg", "bold", "tangent"]
"""The part of a window that a feature is made of."""


@dataclass(frozen=True)
class WindowFeature:
    """One feature."""

    source: Source
    """What it is made of."""
    make: Callable[[Array], Array]
    """From (b, n_steps, width) or, for ``tangent``, (b, width) to (b, n)."""
    newest: bool = False
    """One number per channel and band, or region; otherwise one per step of them."""


def _mean(steps: Array) -> Array:
    return steps.mean(axis=1, dtype=np.float64)


def _every(steps: Array) -> Array:
    return steps.reshape(len(steps), math.prod(steps.shape[1:]))


def _newest(steps: Array) -> Array:
    return steps[:, -1]


FEATURES: Mapping[str, WindowFeature] = {
    "eeg_mean": WindowFeature("eeg", _mean, newest=True),
    "eeg_steps": WindowFeature("eeg", _every),
    "eeg_newest": WindowFeature("eeg", _newest, newest=True),
    "tangent": WindowFeature("tangent", _every),
    "bold_mean": WindowFeature("bold", _mean, newest=True),
    "bold_steps": WindowFeature("bold", _every),
    "bold_newest": WindowFeature("bold", _newest, newest=True),
}
"""By name. ``_mean`` is over the window, ``_newest`` the last step, ``_steps`` every step, oldest first."""


def sources(names: Sequence[str]) -> frozenset[Source]:
    """Say what features are made of.

    Parameters
    ----------
    names : sequence of str
        Keys of ``FEATURES``.

    Raises
    ------
    ModelError
        A name is not known.
    """
    return frozenset(_known(name).source for name in names)


def widths(
    names: Sequence[str], eeg_shape: tuple[int, int], bold_shape: tuple[int, int], tangent_width: int
) -> tuple[int, ...]:
    """Count the numbers of every feature.

    Parameters
    ----------
    names : sequence of str
        Keys of ``FEATURES``.
    eeg_shape, bold_shape : tuple of int
        (n_steps, width) of a window.
    tangent_width : int

    Raises
    ------
    ModelError
        A name is not known.
    """
    shapes: dict[Source, tuple[int, ...]] = {"eeg": eeg_shape, "bold": bold_shape, "tangent": (tangent_width,)}
    found: list[int] = []
    for name in names:
        feature = _known(name)
        shape = shapes[feature.source]
        found.append(shape[-1] if feature.newest else math.prod(shape))
    return tuple(found)


def features_of(names: Sequence[str], eeg: F32, bold: F32, tangent: F32) -> F32:
    """Make features of windows, side by side.

    Parameters
    ----------
    names : sequence of str
        Keys of ``FEATURES``, in order.
    eeg : ndarray, float32, shape (b, n_steps, n_channels * n_bands)
    bold : ndarray, float32, shape (b, n_steps, n_regions)
    tangent : ndarray, float32, shape (b, k)

    Returns
    -------
    ndarray, float32, shape (b, n)

    Raises
    ------
    ModelError
        A name is not known.
    """
    parts: dict[Source, Array] = {"eeg": eeg, "bold": bold, "tangent": tangent}
    made = [feature.make(parts[feature.source]) for feature in map(_known, names)]
    return np.concatenate(made, axis=1, dtype=np.float32, casting="same_kind")


def _known(name: str) -> WindowFeature:
    feature = FEATURES.get(name)
    if feature is None:
        raise ModelError(f"feature {name} of a window is not known: expected {', '.join(FEATURES)}")
    return feature
