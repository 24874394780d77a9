"""The amplifier: brings the model's courses to the sampling rate, adds the gradient artefact, stores whole numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from streamer.messages import F32, F64, Array
from streamer.simulate.gradient import GradientArtefact

_TAPS = 16
_BLOCK_S = 4.0


def interpolation_table(factor: int) -> F32:
    """Windowed sinc that makes ``factor`` samples of one, flat below 0.4 of the old rate; shape (factor, 16)."""
    fraction = np.arange(factor)[:, None] / factor
    away = np.arange(_TAPS)[None, :] - (_TAPS // 2 - 1) - fraction
    window = np.kaiser(2001, 7.0)
    weights = np.sinc(away) * np.interp(away, np.linspace(-_TAPS / 2, _TAPS / 2, 2001), window)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def finer_blocks(courses: F64, factor: int, sfreq: float, n_samples: int) -> Iterator[tuple[int, F32]]:
    """Bring courses to the sampling rate, block by block.

    Parameters
    ----------
    courses : array, shape (n_times, n_channels)
        At ``sfreq / factor``.
    factor : int
    sfreq : float
        Hz.
    n_samples : int
        At most ``n_times * factor``.

    Yields
    ------
    first : int
        First sample of the block.
    fine : array, float32, shape (n, n_channels)
    """
    before, after = _TAPS // 2 - 1, _TAPS // 2
    padded = np.concatenate(
        [np.repeat(courses[:1], before, axis=0), courses, np.repeat(courses[-1:], after, axis=0)]
    ).astype(np.float32)
    table = interpolation_table(factor)
    step = max(1, round(_BLOCK_S * sfreq / factor))
    for first in range(0, len(courses), step):
        count = min(step, len(courses) - first)
        # (count, taps, channels) without a copy: one small product for each old sample gives its new ones
        windows = np.lib.stride_tricks.sliding_window_view(padded[first : first + count + _TAPS - 1], _TAPS, axis=0)
        fine = np.matmul(table, windows.transpose(0, 2, 1)).reshape(count * factor, courses.shape[1])
        fine = fine[: max(0, n_samples - first * factor)]
        if len(fine):
            yield first * factor, fine


def recorded_blocks(
    courses: F64, factor: int, sfreq: float, n_samples: int, artefact: GradientArtefact, resolution_v: float
) -> Iterator[Array]:
    """Give the recording block by block.

    Parameters
    ----------
    courses, factor, sfreq, n_samples
        As in :func:`finer_blocks`; V.
    artefact : GradientArtefact
    resolution_v : float
        V per stored unit.

    Yields
    ------
    array, shape (n, n_channels)
        int16: stored values, held at the rails.
    """
    for first, fine in finer_blocks(courses, factor, sfreq, n_samples):
        artefact.add_to(fine, first)
        yield np.clip(np.rint(fine * np.float32(1.0 / resolution_v)), -32768, 32767).astype(np.int16)
