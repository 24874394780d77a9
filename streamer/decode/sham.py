"""What the participant of a blinded session is shown: their own score, or sham.

=========  ========================================================================================
condition  what is shown
=========  ========================================================================================
real       the participant's own score
yoked      the recorded scores of another session, at the same time into the run
reversed   recorded scores, last to first
scrambled  recorded scores with random phases: same values, same spectrum, another course [1]_
other      another feature of this session, for instance of a region that the training does not aim at
=========  ========================================================================================

Nobody may see from the work that is done, or from when nothing is shown, which of them is in force. So in every
session of one study, real ones too, the same is computed, and nothing is shown while any of the study's conditions has
nothing to show: a session with feedback for longer than its record goes neutral when the record ends, in all of them.

Time into the run counts from the first clean decision, in the record as here: filters and templates settle a fixed time
after the scanner starts. It moves on with decisions and never back, so that a clock that is set does not rewind it.

References
----------
.. [1] Schreiber & Schmitz 1996, iterated amplitude-adjusted surrogates, doi:10.1103/PhysRevLett.77.635.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from streamer.contracts import Settings
from streamer.decode.score_source import ScoreSource, ScoreSourceSettings
from streamer.messages import F64, Feature, SessionTime

REAL = "real"
RECORDED = ("yoked", "reversed", "scrambled")
"""Conditions that need a record."""
OTHER = "other"
CONDITIONS = (REAL, *RECORDED, OTHER)

SHORTEST_S = 30.0
LONGEST_S = 6 * 3600.0
ROUNDS = 100
SLACK = 1e-6
"""Decisions lie on a grid of tenths of a second, which binary fractions miss by less than this."""


class ShamSettings(Settings):
    """Sham, but for its files."""

    hold_s: float = Field(default=5.0, ge=0, le=60)
    """Where the record was not clean, its last clean score holds for so long, s; then neutral is shown, whatever the
    condition."""
    other: ScoreSourceSettings = ScoreSourceSettings()
    """The feature that is shown in the condition ``other``."""


@dataclass(frozen=True)
class Record:
    """Scores of a session on a regular grid, from its first clean decision on."""

    step_s: float
    levels: F64
    """0..1, shape (n,)."""
    valid: NDArray[np.bool_]
    """False where the record has nothing to show, shape (n,)."""

    @property
    def length_s(self) -> float:
        """How long it is, s."""
        return self.step_s * len(self.levels)


def make_record(times: F64, scores: F64, clean: NDArray[np.bool_], hold_s: float) -> Record:
    """Put a session's scores on a regular grid.

    Parameters
    ----------
    times : array, shape (n,)
        Session time of each decision, s; where it jumps back, it goes on from there.
    scores : array, shape (n,)
        0..1; those that are not finite count as not clean.
    clean : array of bool, shape (n,)
    hold_s : float
        How long a clean score holds where others are not, s.

    Raises
    ------
    ValueError
        The clean scores span too little or too much time.
    """
    elapsed = np.concatenate([[0.0], np.cumsum(np.maximum(np.diff(times), 0.0))])[: len(times)]
    kept = clean & np.isfinite(scores)
    at, levels = elapsed[kept], np.clip(scores[kept], 0.0, 1.0)
    span = float(at[-1] - at[0]) if len(at) else 0.0
    if not SHORTEST_S <= span <= LONGEST_S:
        raise ValueError(f"its clean scores span {span:.0f} s; expected {SHORTEST_S:g} to {LONGEST_S:g} s")
    steps = np.diff(at)
    # to the microsecond, so that the grid does not run away from decisions a tenth of a second apart
    step_s = round(float(np.median(steps[steps > 0])), 6)
    grid = at[0] + step_s * np.arange(math.floor(span / step_s + 0.5) + 1)
    newest = np.searchsorted(at, grid + step_s / 2, side="right") - 1
    return Record(step_s, levels[newest], grid - at[newest] <= hold_s + SLACK)


def phase_scrambled(levels: F64, seed: int) -> F64:
    """Give a series the course of noise.

    Parameters
    ----------
    levels : array, shape (n,)
    seed : int

    Returns
    -------
    array, shape (n,)
        The very values of ``levels`` in another order, with its amplitude spectrum as nearly as these values allow.
    """
    values = np.sort(levels)
    amplitudes = np.abs(np.fft.rfft(levels))
    found = levels[np.argsort(np.random.default_rng(seed).random(len(levels)), kind="stable")]
    for _ in range(ROUNDS):
        phases = np.angle(np.fft.rfft(found))
        wanted = np.fft.irfft(amplitudes * np.exp(1j * phases), len(levels))
        before, found = found, np.empty_like(values)
        found[np.argsort(wanted, kind="stable")] = values
        if np.array_equal(found, before):
            break
    return found


class BlindFeedback:
    """Gives the level to show in place of the participant's own; made in every session of a blinded study.

    Parameters
    ----------
    condition : str
        In force for the whole session.
    conditions : collection of str
        All that the study has.
    settings : ShamSettings
    record : Record, optional
        Needed where the study has a recorded condition.
    seed : int
        For ``scrambled``.
    smoothing_s : float
        Time constant that the participant's own score is smoothed with, s: another feature is smoothed alike.

    Raises
    ------
    ValueError
        The condition is none of the study's, or what one of the study's conditions needs is missing.
    """

    def __init__(
        self,
        condition: str,
        conditions: Collection[str],
        settings: ShamSettings,
        *,
        record: Record | None = None,
        seed: int = 0,
        smoothing_s: float = 0.0,
    ) -> None:
        if condition not in conditions or not set(conditions) <= set(CONDITIONS):
            # what was given is not said: an error message is seen by the operator
            raise ValueError(f"not a condition of this study: expected one of {', '.join(conditions)}")
        recorded = set(conditions) & set(RECORDED)
        if recorded and record is None:
            raise ValueError(f"{' and '.join(sorted(recorded))} feedback needs a record: none was given")
        if OTHER in conditions and not settings.other.feature:
            raise ValueError("feedback of another feature needs its name and label: none were given")
        self._condition = condition
        self._record = record if recorded else None
        self._played: dict[str, F64] = {}
        if self._record is not None:
            levels = self._record.levels
            made = {"yoked": levels, "reversed": levels[::-1], "scrambled": phase_scrambled(levels, seed)}
            self._played = {name: made[name] for name in RECORDED if name in recorded}
        self._other = _Other(settings.other, smoothing_s) if OTHER in conditions else None
        self._begun = False
        self._into_s = 0.0
        self._last: float | None = None

    @property
    def length_s(self) -> float:
        """How long there is something to show, s from the first clean decision; inf without a record."""
        return math.inf if self._record is None else self._record.length_s

    def feature(self, feature: Feature) -> None:
        """Take a feature that may be the one to show."""
        if self._other is not None:
            self._other.source.feature(feature)

    def level(self, actual: float, at: SessionTime, *, clean: bool = True) -> float | None:
        """Give the level to show.

        Parameters
        ----------
        actual : float
            The participant's own score, 0..1.
        at : SessionTime
            The time that the decision speaks of.
        clean : bool
            Whether the decision was made from clean data: the first such begins the run.

        Returns
        -------
        float or None
            0..1; None while there is nothing to show.
        """
        if self._last is not None and self._begun:
            self._into_s += max(0.0, at - self._last)
        self._last = float(at)
        self._begun |= clean
        found: dict[str, float | None] = {REAL: actual, **self._recorded()}
        if self._other is not None:
            found[OTHER] = self._other(at)
        if not self._begun or None in found.values():
            return None
        return found[self._condition]

    def _recorded(self) -> dict[str, float | None]:
        if self._record is None:
            return {}
        k = math.floor(self._into_s / self._record.step_s + SLACK)
        there = k < len(self._record.levels) and bool(self._record.valid[k])
        return {name: float(levels[k]) if there else None for name, levels in self._played.items()}


class _Other:
    """The level of another feature, smoothed as the participant's own is."""

    def __init__(self, settings: ScoreSourceSettings, smoothing_s: float) -> None:
        self.source = ScoreSource(settings, 0)
        self._smoothing_s = smoothing_s
        self._level: float | None = None
        self._last = 0.0

    def __call__(self, at: SessionTime) -> float | None:
        raw, _ = self.source.newest(at)
        since, self._last = at - self._last, float(at)
        if raw is None or self._level is None or self._smoothing_s == 0 or since < 0:
            self._level = raw
        else:
            self._level += (1.0 - math.exp(-since / self._smoothing_s)) * (raw - self._level)
        return self._level
