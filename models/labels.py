"""What state there was when: from a recording's blocks, from a table of events, or from its markers.

A block lasts as long as its table says; an event without a duration, and a marker, last until the next one. What lies
between blocks is rest where the class ``rest`` is asked for and nothing is called so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from models.dataset import Block
from streamer.bold_inputs import read_events
from streamer.decode.scores import BlockEvent
from streamer.errors import ModelError

REST = "rest"
LEAST_S = 1.0
"""Shorter stretches between two blocks are no rest, s."""
LISTED = 12
"""So many labels are named in an error."""


@dataclass(frozen=True)
class Labels:
    """Where the labels of a data set come from."""

    classes: tuple[str, ...] = ()
    """Trial types or marker labels to tell apart, in order; empty takes all that occur."""
    events: Path | None = None
    """A table as BIDS has it (onset, duration, trial_type; s on the recording's axis); none: the recording's own."""
    block_s: float | None = None
    """How long an event without a duration and a marker last, s; none: until the next."""


def blocks_of(
    name: str,
    subject: str,
    own: Iterable[BlockEvent],
    markers: Iterable[tuple[float, str]],
    end_s: float,
    labels: Labels,
) -> list[Block]:
    """Find the blocks of a run.

    Parameters
    ----------
    name : str
        Of the recording, for errors.
    subject : str
    own : iterable of BlockEvent
        What the recording has as events, s on its axis.
    markers : iterable of (float, str)
        Time on the recording's axis and label of each, the volumes' left out; taken where there are no events.
    end_s : float
        End of the recording, s.
    labels : Labels

    Returns
    -------
    blocks : list of Block
        In the order of their onsets, of every label that ``labels`` does not leave out.

    Raises
    ------
    ModelError
        Nothing is labelled, or nothing with one of the classes.
    """
    found = events_of(own, labels)
    if not found and labels.events is None:
        found = [(at, 0.0, label) for at, label in markers if label]
    if not found:
        raise ModelError(
            f"{name}: nothing is labelled: no events in {labels.events or 'the recording'}, and no markers besides the "
            "volumes'; expected an events.tsv, markers, or a table of events"
        )
    blocks = [Block(*entry, subject) for entry in _lasting(sorted(found), end_s, labels.block_s)]
    present = {block.label for block in blocks}
    if REST in labels.classes and REST not in present:
        rest = [Block(a, b - a, REST, subject) for a, b in rest_spans(blocks, end_s)]
        blocks = sorted([*blocks, *rest], key=lambda block: block.onset_s)
    chosen = [block for block in blocks if not labels.classes or block.label in labels.classes]
    if not chosen:
        there = ", ".join(sorted(present)[:LISTED])
        raise ModelError(f"{name}: no block of {', '.join(labels.classes)}; there are {there}")
    return chosen


def events_of(own: Iterable[BlockEvent], labels: Labels) -> list[tuple[float, float, str]]:
    """Give onset and duration, s, and label of the events of the table that ``labels`` names, else of ``own``."""
    events = read_events(labels.events) if labels.events is not None else own
    return [(e.onset_s, e.duration_s, e.label) for e in events]


def classes_among(blocks: Iterable[Block], labels: Labels) -> tuple[str, ...]:
    """Name the classes: those asked for, or all that occur, rest first.

    Raises
    ------
    ModelError
        There are fewer than two, or one that was asked for does not occur.
    """
    present = {block.label for block in blocks}
    absent = [name for name in labels.classes if name not in present]
    if absent:
        raise ModelError(f"no block of {', '.join(absent)}; there are {', '.join(sorted(present)[:LISTED]) or 'none'}")
    classes = labels.classes or tuple(sorted(present, key=lambda name: (name != REST, name)))
    if len(classes) < 2:
        raise ModelError(
            f"one class, {', '.join(classes) or '(none)'}: expected two or more; {REST!r} among the classes takes what "
            "lies between the blocks"
        )
    return classes


def rest_spans(blocks: Sequence[Block], end_s: float) -> list[tuple[float, float]]:
    """Give beginning and end of all rest, s: blocks called rest or, where none is, what lies between the blocks."""
    named = [(b.onset_s, b.onset_s + b.duration_s) for b in blocks if b.label == REST]
    if named:
        return named
    gaps: list[tuple[float, float]] = []
    reached = 0.0
    for onset, end in [*((b.onset_s, b.onset_s + b.duration_s) for b in blocks), (end_s, end_s)]:
        if onset - reached >= LEAST_S:
            gaps.append((reached, onset))
        reached = max(reached, end)
    return gaps


def _lasting(
    events: Sequence[tuple[float, float, str]], end_s: float, block_s: float | None
) -> list[tuple[float, float, str]]:
    nexts = [later[0] for _, later in pairwise(events)] + [end_s]
    lasting: list[tuple[float, float, str]] = []
    for (onset, duration, label), following in zip(events, nexts, strict=True):
        until_next = max(0.0, following - onset)
        short = until_next if block_s is None else min(block_s, until_next)
        lasting.append((onset, duration or short, label))
    return lasting
