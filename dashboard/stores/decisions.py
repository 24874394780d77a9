"""Class probabilities, scores, and triggers with what held them back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dashboard.stores.rows import RowRing
from dashboard.stores.timeline import Timeline
from streamer.messages import F64
from streamer.wire import ScoreMessage


@dataclass(frozen=True, slots=True)
class Mark:
    """A trigger that fired or was held back."""

    at: float
    """SessionTime s that it speaks of."""
    fired: bool
    text: str
    """Action and level, or the reason why it was held back."""


class PredictionStore:
    """Class probabilities with their uncertainty, and triggers and vetoes.

    Parameters
    ----------
    classes : sequence of str
        In the order of the model.
    tick_hz : float
        Decisions per second.
    seconds : float
        Length that is held.
    """

    def __init__(self, classes: Sequence[str], tick_hz: float, seconds: float) -> None:
        if not tick_hz > 0:
            raise ValueError(f"{tick_hz!r} decisions per second: expected above 0")
        self.classes = tuple(classes)
        self.tick_hz = tick_hz
        self.seconds = seconds
        self.rows = RowRing(max(2, round(seconds * tick_hz)), 2 + len(self.classes))
        self.marks: Timeline[Mark] = Timeline(seconds)
        self.triggers = 0
        self.vetoes = 0
        self.revision = 0
        self._known: dict[str, None] = {}

    def put(self, seq: int, about: float, probabilities: dict[str, float], uncertainty: float = np.nan) -> None:
        """Put one prediction; a class that it does not name is NaN."""
        values = [probabilities.get(name, np.nan) for name in self.classes]
        self.rows.put(seq, np.array([[about, uncertainty, *values]]))
        self.revision += 1

    def mark(self, key: str, mark: Mark) -> None:
        """Note a trigger or veto once per ``key``."""
        if key in self._known:
            return
        self._known[key] = None
        # doubles come soon after
        while len(self._known) > self.rows.capacity:
            del self._known[next(iter(self._known))]
        self.marks.add(mark.at, mark)
        self.triggers += mark.fired
        self.vetoes += not mark.fired
        self.revision += 1

    def traces(self, end: float, seconds: float) -> tuple[F64, F64, F64]:
        """Give times, shape (n,), probabilities, shape (n, n_classes), and uncertainty, shape (n,), before ``end``.

        NaN where one is missing.
        """
        rows = self.rows.read()
        known = np.flatnonzero((rows[:, 0] > end - seconds) & (rows[:, 0] <= end))
        rows = rows[known[0] : known[-1] + 1] if len(known) else rows[:0]
        return rows[:, 0], rows[:, 2:], rows[:, 1]


class ScoreStore:
    """What the participant was shown.

    Parameters
    ----------
    seconds : float
        Length that is held.
    """

    def __init__(self, seconds: float) -> None:
        self.messages: Timeline[ScoreMessage] = Timeline(seconds)

    @property
    def revision(self) -> int:
        """Changes whenever the picture would."""
        return self.messages.revision

    def put(self, message: ScoreMessage) -> None:
        """Put one."""
        self.messages.add(message.about, message)

    def traces(self, end: float, seconds: float) -> tuple[F64, F64, F64]:
        """Give times, levels (NaN where neutral was shown) and thresholds before ``end``, each of shape (n,)."""
        held = self.messages.between(end - seconds, end)
        values = [(m.about, np.nan if m.neutral else m.level, m.threshold) for m in held]
        made = np.array(values, np.float64).reshape(-1, 3)
        return made[:, 0], made[:, 1], made[:, 2]
