"""Lost EEG samples: the recording goes on without them, and says by dates how long it paused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from streamer.formats.brainvision import NEW_SEGMENT, FileMarker
from streamer.formats.brainvision_header import SEGMENT_DATE
from streamer.messages import Array
from streamer.simulate.ledger import RunFaults

# no session was recorded then: only differences of dates mean anything
_BEGAN = datetime.fromisoformat("2000-01-01T10:00:00")


@dataclass(frozen=True)
class Gaps:
    """Where samples are lost."""

    ranges: Array
    """First lost sample and the one after the last, lost ones counted, in order; shape (n_gaps, 2)."""

    def place(self, sample: int) -> int | None:
        """Place of a sample in the file, None when it is lost."""
        behind = self.ranges[:, 0] <= sample
        if np.any(behind & (sample < self.ranges[:, 1])):
            return None
        return sample - int(np.diff(self.ranges[behind]).sum())

    def cut(self, blocks: Iterator[Array]) -> Iterator[Array]:
        """Leave the lost samples out of consecutive blocks."""
        at = 0
        for block in blocks:
            kept = np.ones(len(block), np.bool_)
            for first, stop in self.ranges.tolist():
                kept[max(0, first - at) : max(0, stop - at)] = False
            at += len(block)
            yield block if kept.all() else block[kept]

    def markers(self, sfreq: float) -> list[FileMarker]:
        """Mark the beginning of each stretch with its date, as an amplifier does that went on after a pause."""
        if not len(self.ranges):
            return []
        markers = [FileMarker(NEW_SEGMENT, "", 0, _date(0.0))]
        for _, stop in self.ranges.tolist():
            place = self.place(stop)
            assert place is not None
            markers.append(FileMarker(NEW_SEGMENT, "", place, _date(stop / sfreq)))
        return markers


def draw_gaps(faults: RunFaults, sfreq: float, triggers: Array) -> Gaps:
    """Lay out the gaps that are asked for.

    Parameters
    ----------
    faults : RunFaults
    sfreq : float
        Hz.
    triggers : array, shape (n_volumes,)
        Sample of each volume's pulse: those within a gap are lost with it.
    """
    ranges: list[tuple[int, int]] = []
    for size_ms, at in sorted(faults.settings.gap_ms, key=lambda gap: gap[1]):
        first = round(at * sfreq)
        stop = first + max(1, round(size_ms * 1e-3 * sfreq))
        ranges.append((first, stop))
        lost = np.flatnonzero((triggers >= first) & (triggers < stop)).tolist()
        faults.enter("gap", first / sfreq, stop / sfreq, samples=[first, stop], size_ms=size_ms, triggers_lost=lost)
    return Gaps(np.array(ranges, np.int64).reshape(-1, 2))


def _date(seconds: float) -> str:
    return (_BEGAN + timedelta(seconds=seconds)).strftime(SEGMENT_DATE)
