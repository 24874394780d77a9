"""Signals as feedback shows them: regions and differences between two, each in a range that follows it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from streamer.clean.bold.dynamics.chosen import chosen_regions, record
from streamer.clean.bold.signal.scaling import DynamicRange
from streamer.clean.bold.signal.volume_order import VolumeOrder
from streamer.contracts import Settings
from streamer.messages import BoldFrame, Feature, Flag


class FeedbackSettings(Settings):
    """Signals for feedback."""

    enabled: bool = False
    """Whether they are given out."""
    regions: tuple[str, ...] = ()
    """Regions that are given; none: all, unless there are differences."""
    differences: dict[str, tuple[str, str]] = Field(default_factory=dict, max_length=16)
    """Name to two regions: the first less the second, which cancels what both share."""
    range_percent: float = Field(default=0.5, gt=0, le=20)
    """Half the range at the beginning, % signal change."""


class Feedback:
    """The signals in % and, as ``level``, where each lies in its range, 0 to 1.

    Parameters
    ----------
    settings : FeedbackSettings
    regions : sequence of str
        Names of all regions, in order.

    Raises
    ------
    ConfigError
        A region is not there.
    """

    def __init__(self, settings: FeedbackSettings, regions: Sequence[str]) -> None:
        where = "BOLD feedback"
        wanted = settings.regions or (() if settings.differences else tuple(regions))
        pairs = [chosen_regions(where, pair, regions) for pair in settings.differences.values()]
        self._mix = np.zeros((len(wanted) + len(pairs), len(regions)))
        chosen = chosen_regions(where, wanted, regions) if wanted else ()
        for row, region in enumerate(chosen):
            self._mix[row, region] = 1.0
        for row, (plus, minus) in enumerate(pairs, start=len(wanted)):
            self._mix[row, plus], self._mix[row, minus] = 1.0, -1.0
        names = (*wanted, *settings.differences)
        self._labels = (*(f"{name} (%)" for name in names), *(f"level {name}" for name in names))
        self._ranges = [DynamicRange(settings.range_percent) for _ in names]
        self._used = self._mix != 0
        self._order = VolumeOrder()

    def __call__(self, frame: BoldFrame) -> list[Feature]:
        """Take the next cleaned volume; give a record, none for a volume that comes late."""
        place = self._order(frame)
        if place.begins:
            for each in self._ranges:
                each.restart()
        if place.late or frame.flags & Flag.LATE:
            return []
        regions = frame.regions.astype(np.float64)
        # what is not used may be NaN
        values = np.array([weights[used] @ regions[used] for weights, used in zip(self._mix, self._used, strict=True)])
        moved = bool(frame.flags & Flag.MOTION)
        levels = [each(value, learn=not moved) for each, value in zip(self._ranges, values.tolist(), strict=True)]
        both = np.concatenate([values, np.array(levels)])
        return record("bold.feedback", frame, 0.0, self._labels, both, None, valid=not moved, flags=frame.flags)
