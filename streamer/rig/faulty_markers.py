"""Faults of the markers: missing, twice, too many, before or long after their chunk."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from streamer.rig.actions import SendMarker
from streamer.rig.draw import Draw
from streamer.rig.faulty_eeg import SenderClock, before_the_next, inside, windows_of
from streamer.rig.ledger import Injected

TimedMarker = tuple[float, SendMarker]
_ALONE_S = 1.0
"""Within so long after the last marker of a label an extra one falls, s."""


def faulty_markers(
    markers: Sequence[TimedMarker], trigger: str | None, clock: SenderClock, draw: Draw, ledger: list[Injected]
) -> list[TimedMarker]:
    """Put the markers' faults into them.

    Parameters
    ----------
    markers : sequence of (float, SendMarker)
    trigger : str or None
        Label of the markers that begin a volume.
    """
    faults, at = draw.faults, [when for when, _ in markers]
    gone = windows_of(draw, "outlet_gone_s")
    scan = windows_of(draw, "restarted_scan_s") if trigger is not None else ()
    missing, doubled, extra, late, early = (
        draw.hits(name, at)
        for name in ("missing_marker", "doubled_marker", "extra_marker", "late_marker", "early_marker")
    )
    delays = draw.rng("late_marker-size").uniform(0.05, 1.0, len(at)) * faults.late_marker_s
    leads = draw.rng("early_marker-size").uniform(0.05, 1.0, len(at)) * faults.early_marker_s
    places = draw.rng("extra_marker-size").uniform(0.1, 0.9, len(at)).tolist()
    until_next = _distances([marker for _, marker in markers])
    sent: list[TimedMarker] = []

    def send(when: float, marker: SendMarker) -> None:
        offset, ppm = clock.error(marker.at_s)
        sent.append((when, replace(marker, offset_s=offset, ppm=ppm)))

    for i, (when, marker) in enumerate(markers):
        if marker.label == trigger and (pause := inside(scan, marker.at_s)) is not None:
            ledger.append(
                Injected(pause.fault, when, marker=marker.place, detail="no trigger: the scanner stood still")
            )
            continue
        if (window := inside(gone, when)) is not None:
            ledger.append(Injected(window.fault, when, marker=marker.place))
            continue
        if missing[i]:
            ledger.append(Injected("missing_marker", when, marker=marker.place))
            continue
        moved = when
        if late[i]:
            moved = before_the_next(gone, when, when + float(delays[i]))
            ledger.append(Injected("late_marker", when, moved - when, marker=marker.place))
        elif early[i]:
            # never before playing begins, nor into a stretch without streams
            floor = max((window.end for window in gone if window.end <= when), default=draw.start_s)
            moved = min(when, max(floor, when - float(leads[i])))
            ledger.append(Injected("early_marker", when, moved - when, marker=marker.place))
        send(moved, marker)
        if doubled[i]:
            send(moved, marker)
            ledger.append(Injected("doubled_marker", moved, marker=marker.place))
        if extra[i]:
            away = places[i] * until_next[i]
            if inside(gone, when + away) is None:
                send(when + away, SendMarker(marker.label, marker.at_s + away))
                ledger.append(Injected("extra_marker", when + away, marker.at_s + away, detail=marker.label))
    return sent


def _distances(markers: Sequence[SendMarker]) -> list[float]:
    """Give the time from each marker to the next of its label, s."""
    of: defaultdict[str, list[float]] = defaultdict(list)
    for marker in markers:
        of[marker.label].append(marker.at_s)
    after = {
        (label, here): there - here
        for label, times in of.items()
        for here, there in itertools.pairwise(sorted(times))
        if there > here
    }
    return [after.get((marker.label, marker.at_s), _ALONE_S) for marker in markers]
