"""Which volume trigger began which volume of a recording, and what is wrong with how the two go together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamer.errors import RecordingError

_TR_TOLERANCE = 0.01
"""Header and triggers may differ by this part of the TR."""
_STEP_TOLERANCE = 0.1
"""How far from a whole number of TR a trigger may lie, in TR."""
_MIN_INTERVALS = 3
_FOLLOWING = 6
"""So many pulses tell whether one that is off the beat begins another."""
_PAUSE_TR = 20.0
"""A longer pause lies between two runs, in TR."""


@dataclass(frozen=True, slots=True)
class PulseTrain:
    """The volume triggers of a recording, numbered: a missing one leaves its number free."""

    numbers: tuple[int, ...]
    """From 0, ascending."""
    times: tuple[float, ...]
    """On the recording's axis, s."""
    period: float
    """Median interval, s; the TR where the triggers are too few or too irregular to tell."""
    problems: tuple[str, ...]


def number_pulses(times: Sequence[float], tr: float, label: str) -> PulseTrain:
    """Number volume triggers by their distances, so that a missing or doubled one shifts none of the others.

    Parameters
    ----------
    times : sequence of float
        At least one, ascending, s.
    tr : float
        By the images' header, s.
    label : str
        How sentences call the triggers.
    """
    period, problems = _period(times, tr, label)
    numbers, kept = [0], [float(times[0])]
    doubled = extra = missing = 0
    breaks: list[float] = []
    for place in range(1, len(times)):
        at = float(times[place])
        steps = (at - kept[-1]) / period
        if steps < 0.5:
            doubled += 1
            continue
        if not _whole(steps):
            following = (times[place + 1] - kept[-1]) / period if place + 1 < len(times) else 0.0
            if following and _whole(following):
                extra += 1
                continue
            breaks.append(at)
        step = max(1, round(steps))
        missing += step - 1
        numbers.append(numbers[-1] + step)
        kept.append(at)
    problems += [
        f"{count} {'trigger is' if count == 1 else 'triggers are'} {what}: {label}"
        for count, what in ((missing, "missing"), (doubled, "doubled"), (extra, "out of step"))
        if count
    ]
    if breaks:
        problems.append(f"the triggers {label} go on out of step at {breaks[0]:.3f} s: was the sequence restarted?")
    return PulseTrain(tuple(numbers), tuple(kept), period, tuple(problems))


def split_runs(times: Sequence[float], tr: float) -> list[tuple[float, ...]]:
    """Split volume triggers where the scanner began anew: after a pause that is long, or no whole number of TR.

    Parameters
    ----------
    times : sequence of float
        Ascending, s.
    tr : float
        s.
    """
    runs: list[list[float]] = []
    on_beat = 0
    beat = 0.0
    for place, at in enumerate(times):
        follows = bool(runs) and _whole((at - beat) / tr) and at - beat > 0.5 * tr
        if runs and (at - beat) / tr <= _PAUSE_TR:
            if not follows:
                following = times[place + 1 : place + 1 + _FOLLOWING]
                fits = [sum(_whole((later - start) / tr) for later in following) for start in (at, beat)]
                if fits[0] <= fits[1]:
                    # a stray or doubled pulse: those behind it keep the beat
                    runs[-1].append(at)
                    continue
                if on_beat > 1:
                    runs.append([])
                    on_beat = 0
        else:
            runs.append([])
            on_beat = 0
        runs[-1].append(at)
        on_beat += 1
        beat = at
    return [tuple(run) for run in runs]


def _whole(steps: float) -> bool:
    return abs(steps - round(steps)) <= _STEP_TOLERANCE


def _period(times: Sequence[float], tr: float, label: str) -> tuple[float, list[str]]:
    intervals = np.diff(np.asarray(times, np.float64))
    if len(intervals) < _MIN_INTERVALS:
        return tr, []
    middle = float(np.median(intervals))
    if middle <= 0 or np.mean(np.abs(intervals - middle) < 0.02 * middle) <= 0.5:
        return tr, [f"the triggers {label} are irregular: they are numbered by the TR of {tr:g} s"]
    if abs(middle - tr) > _TR_TOLERANCE * tr:
        return middle, [f"TR is {middle:.6g} s by the triggers {label}, {tr:.6g} s by the images' header"]
    return middle, []


def onsets_by_pulses(indices: Sequence[int], first_volume: int, train: PulseTrain) -> tuple[float, ...]:
    """Give each volume its beginning: the trigger of its number, or a line through its neighbours where there is none.

    Parameters
    ----------
    indices : sequence of int
        Acquisition numbers.
    first_volume : int
        Acquisition number that belongs to the first trigger.
    train : PulseTrain

    Returns
    -------
    onsets : tuple of float
        On the recording's axis, s.
    """
    wanted = np.asarray(indices, np.float64) - first_volume
    numbers, times = np.asarray(train.numbers, np.float64), np.asarray(train.times)
    onsets = np.interp(wanted, numbers, times)
    onsets += np.minimum(wanted - numbers[0], 0.0) * train.period + np.maximum(wanted - numbers[-1], 0.0) * train.period
    return tuple(onsets.tolist())


def count_problems(indices: Sequence[int], first_volume: int, train: PulseTrain, label: str) -> list[str]:
    """Say whether there are as many triggers as volumes that should have one."""
    expected, there = indices[-1] - first_volume + 1, train.numbers[-1] + 1
    if there < expected:
        return [
            f"{there} triggers {label} for {expected} volumes: the last {expected - there} are placed by the TR alone"
        ]
    if there > expected:
        return [f"{there} triggers {label} for {expected} volumes: the last {there - expected} began none"]
    return []


def overlap_problems(origin: Path, eeg_end_s: float, bold_start_s: float, bold_end_s: float) -> list[str]:
    """Say whether the volumes reach beyond the EEG, which begins at 0.

    Raises
    ------
    RecordingError
        EEG and volumes have no time in common.
    """
    if bold_end_s <= 0 or bold_start_s >= eeg_end_s:
        raise RecordingError(
            f"{origin}: EEG and volumes do not overlap: the EEG runs from 0 to {eeg_end_s:.3f} s, the volumes from "
            f"{bold_start_s:.3f} to {bold_end_s:.3f} s"
        )
    if bold_start_s < 0 or bold_end_s > eeg_end_s:
        spans = f"they run from {bold_start_s:.3f} to {bold_end_s:.3f} s, the EEG from 0 to {eeg_end_s:.3f} s"
        return [f"the volumes reach beyond the EEG: {spans}"]
    return []
