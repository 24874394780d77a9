"""Which parts of a window the decision rests on, by taking parts away: for any model that gives probabilities.

Parts are channel group × band × time, region × time and, where a model takes it, the covariance as a whole. In many
copies of a window random parts are replaced by the participant's baseline (zeros); a weighted ridge regression of the
log-odds on what was left says what each part adds (LIME; Ribeiro 2016, doi:10.1145/2939672.2939778). The same masks
serve all windows, so that one factorisation does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.dataset import WindowSet
from models.explain.attribution import Attribution
from models.explain.network import Modality, present
from streamer.decode.montage_groups import channel_groups
from streamer.messages import F32, F64

SPANS = 4
"""Stretches of time that a window is cut into."""
RIDGE = 1.0
KERNEL = 0.5
"""Width of the weight of a copy over the share of parts that it lost."""
_MAX_WINDOWS = 128
_AT_ONCE = 4096
_LEAST = 1e-5
"""Probabilities are told to so many digits."""


@dataclass(frozen=True)
class Parts:
    """Which part each input belongs to."""

    index: dict[Modality, NDArray[np.int64]]
    """Per modality, shape (n_steps, n_features)."""
    count: int
    """Parts in all."""
    covariance: int | None
    """The part that the tangent vector is, as a whole; None where there is none."""


def parts_of(windows: WindowSet, spans: int = SPANS) -> Parts:
    """Cut windows into channel group × band × time and region × time."""
    index: dict[Modality, NDArray[np.int64]] = {}
    count = 0
    for name in present(windows):
        n_steps, width = getattr(windows, name).shape[1:]
        if name == "eeg":
            groups = channel_groups(windows.inputs.channels)
            n_bands = width // len(windows.inputs.channels)
            columns = np.empty((len(windows.inputs.channels), n_bands), dtype=np.int64)
            for g, members in enumerate(groups.values()):
                columns[list(members)] = g * n_bands + np.arange(n_bands)
            columns = columns.reshape(-1)
        else:
            columns = np.arange(width)
        n_columns = int(columns.max()) + 1
        span = np.minimum(np.arange(n_steps) * spans // n_steps, spans - 1)
        index[name] = count + span[:, None] * n_columns + columns
        count += n_columns * min(spans, n_steps)
    covariance = count if windows.tangent.shape[1] else None
    return Parts(index, count + (covariance is not None), covariance)


def perturb(
    ask: Callable[[WindowSet], F64], windows: WindowSet, target: int, seed: int = 0, copies: int | None = None
) -> Attribution:
    """Attribute the log-odds of a class.

    Parameters
    ----------
    ask : callable
        Windows to probabilities, shape (n, n_classes).
    windows : WindowSet
        More than 128 are thinned out.
    target : int
        Index of the class.
    seed : int
        Of the masks.
    copies : int, optional
        Of each window; by default three per part.

    Returns
    -------
    Attribution
        A part's contribution is shared equally by its inputs. ``fidelity``: share of the variance of the copies'
        log-odds that the regression explains; ``covariance``: mean size of what the tangent vector adds.
    """
    if len(windows) > _MAX_WINDOWS:
        windows = windows.rows(np.unique(np.linspace(0, len(windows) - 1, _MAX_WINDOWS).round().astype(np.int64)))
    parts = parts_of(windows)
    copies = copies if copies is not None else 3 * parts.count
    kept = np.random.default_rng(seed).random((copies, parts.count)) < 0.5
    kept[0] = True
    odds = np.empty((copies, len(windows)))
    at_once = max(1, _AT_ONCE // max(1, len(windows)))
    for start in range(0, copies, at_once):
        rows = kept[start : start + at_once]
        p = ask(_occluded(windows, parts, rows))[:, target].reshape(len(rows), len(windows))
        odds[start : start + at_once] = log_odds(p)
    weight = np.exp(-(((1.0 - kept.mean(axis=1)) / KERNEL) ** 2))
    design = kept.astype(np.float64)
    centre, level = _mean(design, weight), _mean(odds, weight)
    x, y = design - centre, odds - level
    slopes = np.linalg.solve((x * weight[:, None]).T @ x + RIDGE * np.eye(parts.count), (x * weight[:, None]).T @ y)
    left = weight @ np.square(y - x @ slopes)
    whole = weight @ np.square(y)
    sizes = np.zeros(parts.count)
    facts = {"fidelity": float(1.0 - left.sum() / max(whole.sum(), 1e-12)), "copies": copies}
    if parts.covariance is not None:
        sizes[parts.covariance] = 1
        facts["covariance"] = float(np.abs(slopes[parts.covariance]).mean())
    for index in parts.index.values():
        sizes += np.bincount(index.ravel(), minlength=parts.count)
    found: dict[Modality, F64] = {name: (slopes / sizes[:, None]).T[:, index] for name, index in parts.index.items()}
    return Attribution(
        "perturbation",
        {name: part.sum(axis=(1, 2)) for name, part in found.items()},
        {name: np.abs(part).mean(axis=0) for name, part in found.items()},
        facts,
        windows,
    )


def log_odds(p: F64) -> F64:
    """Log-odds of probabilities, cut off before they are infinite."""
    p = np.clip(p, _LEAST, 1.0 - _LEAST)
    return np.log(p) - np.log1p(-p)


def _occluded(windows: WindowSet, parts: Parts, kept: NDArray[np.bool_]) -> WindowSet:
    """Copies of all windows, one set of them per row of ``kept``, one behind the other."""
    rows = np.tile(np.arange(len(windows)), len(kept))
    copied = windows.rows(rows)
    seen: dict[str, F32] = {}
    for name, index in parts.index.items():
        mask = np.repeat(kept[:, index], len(windows), axis=0)
        seen[name] = np.where(mask, getattr(copied, name), np.float32(0))
    if parts.covariance is not None:
        lost = ~np.repeat(kept[:, parts.covariance], len(windows))
        # one that a window never had stays absent
        seen["tangent"] = np.where(lost[:, None], copied.tangent * np.float32(0), copied.tangent)
    return replace(copied, **seen)


def _mean(values: F64, weight: F64) -> F64:
    return weight @ values / weight.sum()
