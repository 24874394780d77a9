"""From a sender's raw stamps to the recorder's clock, by the clock offsets that were measured while it recorded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamer.messages import F64, Array

RESET_S = 1.0
"""Between two measurements an offset changes by more than this only when a clock was set anew, s."""
_LEAST_FOR_DRIFT = 4
_LEAST_SPAN_S = 20.0
"""Over less than this, the noise of the measurements would make more of a drift than clocks have, s."""
_HUBER = 1.345


@dataclass(frozen=True)
class SenderClock:
    """A straight line of the offset over the sender's time, one for each stretch between two resets of its clock."""

    first: Array
    """First sample of each stretch, shape (n,); the first is 0."""
    at: F64
    """s on the sender's clock, shape (n,)."""
    offset: F64
    """s to add at that time, shape (n,)."""
    drift: F64
    """Change of the offset, s per s, shape (n,)."""
    problems: tuple[str, ...] = ()

    def correct(self, start: int, stamps: F64) -> F64:
        """Give the recorder's time, s, of consecutive samples from ``start`` on with these raw stamps."""
        k = np.searchsorted(self.first, np.arange(start, start + len(stamps)), "right") - 1
        return np.asarray(stamps + self.offset[k] + self.drift[k] * (stamps - self.at[k]), np.float64)


def fit_clock(stamps: F64, measured: F64) -> SenderClock:
    """Fit the offsets of a stream; without any, its stamps are left as they are.

    The line is fitted by iteratively reweighted least squares with Huber's weights, since single measurements over a
    busy network are far off.

    Parameters
    ----------
    stamps : array, shape (n_samples,)
        Raw stamps, s.
    measured : array, shape (n, 3)
        s on the sender's clock, s to add, samples stored before the measurement.

    References
    ----------
    Huber, P. J. (1964). Robust estimation of a location parameter. https://doi.org/10.1214/aoms/1177703732
    """
    measured = _without_strays(measured)
    if not len(measured):
        none = np.zeros(1)
        return SenderClock(np.zeros(1, np.int64), none, none, none)
    resets = np.flatnonzero(np.abs(np.diff(measured[:, 1])) > RESET_S)
    first, kept, problems = [0], [0], list[str]()
    for k in resets.tolist():
        begins = _first_after(stamps, measured, k, first[-1])
        step = measured[k + 1, 1] - measured[k, 1]
        problems.append(f"its clock was set anew before sample {begins}: the offset changes by {step:.3f} s")
        first.append(begins)
        kept.append(k + 1)
    lines = [_line(part[:, 0], part[:, 1]) for part in np.split(measured, kept[1:])]
    at, offset, drift = (np.array(column) for column in zip(*lines, strict=True))
    return SenderClock(np.array(first, np.int64), at, offset, drift, tuple(problems))


def _without_strays(measured: F64) -> F64:
    # a clock that was set anew stays so; one measurement that differs from both neighbours was wrong
    offsets = measured[:, 1]
    if len(offsets) < 3:
        return measured
    step = np.abs(np.diff(offsets)) > RESET_S
    back = np.abs(offsets[2:] - offsets[:-2]) <= RESET_S
    stray = np.concatenate([[False], step[:-1] & step[1:] & back, [False]])
    return measured[~stray]


def _first_after(stamps: F64, measured: F64, k: int, after: int) -> int:
    """Find the first sample with the new clock: where the stamps jump by what the offset changes."""
    low, high = int(measured[k, 2]), int(measured[k + 1, 2])
    if low >= high:
        # the file keeps its measurements apart from the samples
        low, high = after, len(stamps)
    low, high = max(low, after + 1, 1), min(high + 1, len(stamps))
    change = measured[k + 1, 1] - measured[k, 1]
    jumps = np.abs(np.diff(stamps[low - 1 : high]) + change)
    if len(jumps) and jumps.min() < abs(change) / 2:
        return low + int(jumps.argmin())
    return max(after, min(int(measured[k + 1, 2]), len(stamps)))


def _line(at: F64, offset: F64) -> tuple[float, float, float]:
    middle = float(np.mean(at))
    if len(at) < _LEAST_FOR_DRIFT or np.ptp(at) < _LEAST_SPAN_S:
        return middle, float(np.median(offset)), 0.0
    columns = np.column_stack([np.ones_like(at), at - middle])
    weights = np.ones_like(at)
    line = np.zeros(2)
    for _ in range(30):
        root = np.sqrt(weights)
        line = np.linalg.lstsq(columns * root[:, None], offset * root, rcond=None)[0]
        rest = np.abs(offset - columns @ line)
        limit = max(_HUBER * 1.4826 * float(np.median(rest)), 1e-9)
        weights = np.minimum(1.0, limit / np.maximum(rest, limit))
    return middle, float(line[0]), float(line[1])
