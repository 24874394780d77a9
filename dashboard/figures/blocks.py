"""Task blocks, from the markers of the EEG recording or from the design in the settings.

A marker only says that something begins. So the rule is: a block has the label of the marker that begins it, and lasts
until the next marker with another label. Labels that say rest, or an end, begin rest. Not every marker begins a block:

- What amplifiers write by themselves (segments, clock signals, volume pulses) is left out.
- A label that comes again within a few seconds, as pulses, heart beats and single trials do, marks events: the blocks
  around them go on. Labels of the model's classes are never taken for events.
- A note of the operator looks like any marker. Where the labels of the classes come, nothing else begins a block; else
  a label of more than three words counts as a note.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, cast

import numpy as np

EVENT_S = 8.0
"""A label that comes again sooner than that (median) marks events."""
_MOST_WORDS = 3
_MOST_LETTERS = 32
_TECHNICAL = re.compile(
    r"r|t 1|(new segment|sync (on|off)|r ?128|scan start|volume|trigger|pulse|boundary|dc correction"
    r"|impedance|buffer overflow|lost ?samples|edge|epoch)\b[\s:.\d]*"
)
_REST = re.compile(r"(rest|resting|baseline|base|fixation|fix|fixate|pause|relax|iti|isi|wait|off|idle)\b.*")
_END = re.compile(r"(end|stop|offset|finish|finished)( of)?\b.*|.+\b(end|stop|off|offset|finished)")
_BEGIN = re.compile(r"^(start|begin|onset)( of)?\b\s*|\s*\b(start|begin|onset)$")
# BrainVision's and BIDS' types stand before the label
_TYPE = re.compile(r"^(stimulus|response|comment|marker|event)/", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch with one state."""

    label: str
    """As the marker has it; empty for what follows an end."""
    begin: float
    """SessionTime s."""
    end: float
    """SessionTime s; infinite while it is on."""
    rest: bool


def blocks_of_markers(markers: Iterable[tuple[float, str]], classes: Collection[str] = ()) -> list[Block]:
    """Find blocks.

    Parameters
    ----------
    markers : iterable of (float, str)
        Time in s and label, in order of time.
    classes : collection of str
        Labels of the model's classes.

    Returns
    -------
    blocks : list of Block
        In order; neighbours of one label are one block.
    """
    told = [(at, _plain(label)) for at, label in markers]
    wanted = {_plain(name).lower() for name in classes}
    named = [label for _, label in told if label.lower() in wanted]
    # classes of which only rest ever comes name no blocks
    if any(not _is_rest(label) for label in named):
        told = [(at, label) for at, label in told if label.lower() in wanted or _is_rest(label) or _ends(label)]
    else:
        told = [(at, label) for at, label in told if _may_begin(label)]
        events = _events(told, wanted)
        told = [(at, label) for at, label in told if label not in events]
    states = [(at, "" if _ends(label) else _BEGIN.sub("", label) or label) for at, label in told]
    runs = [(label, next(group)[0]) for label, group in groupby(states, key=lambda state: state[1])]
    ends = [*(at for _, at in runs[1:]), math.inf]
    return [
        Block(label, begin, end, rest=not label or _is_rest(label))
        for (label, begin), end in zip(runs, ends, strict=False)
    ]


def blocks_of_design(settings: Mapping[str, Any], zero: float) -> list[Block]:
    """Read the blocks that a session's settings tell of; impulses are none.

    Parameters
    ----------
    settings : mapping
        All settings, as ``ConfigMessage`` has them; whatever does not fit is passed over.
    zero : float
        When the first volume began, SessionTime s.
    """
    places = (("clean", "bold", "maps", "design"), ("clean", "regions", "nuisance", "design"))
    for place in places:
        conditions = setting(settings, *place, "conditions")
        told = [block for each in _listed(conditions) for block in _condition(each, zero)]
        if told:
            return sorted(told, key=lambda block: block.begin)
    return []


def setting(settings: Mapping[str, Any], *path: str) -> object:
    """Give what stands at ``path`` in nested mappings; None where nothing does."""
    found: object = settings
    for name in path:
        found = cast("Mapping[str, object]", found).get(name) if isinstance(found, Mapping) else None
    return found


def _condition(each: object, zero: float) -> list[Block]:
    if not isinstance(each, Mapping):
        return []
    condition = cast("Mapping[str, object]", each)
    label = str(condition.get("name", ""))
    onsets, durations = (_numbers(condition.get(name)) for name in ("onsets_s", "durations_s"))
    if len(durations) == 1:
        durations = durations * len(onsets)
    return [
        Block(label, zero + onset, zero + onset + length, rest=_is_rest(label))
        for onset, length in zip(onsets, durations, strict=False)
        if length > 0
    ]


def _listed(value: object) -> Sequence[object]:
    return cast("Sequence[object]", value) if isinstance(value, list | tuple) else ()


def _numbers(value: object) -> list[float]:
    return [float(v) for v in _listed(value) if isinstance(v, int | float) and math.isfinite(v)]


def _plain(label: str) -> str:
    return " ".join(_TYPE.sub("", label.strip()).rstrip("/").replace("_", " ").split())


def _is_rest(label: str) -> bool:
    return _REST.fullmatch(_BEGIN.sub("", label.lower())) is not None


def _ends(label: str) -> bool:
    return _END.fullmatch(label.lower()) is not None


def _may_begin(label: str) -> bool:
    short = len(label) <= _MOST_LETTERS and len(label.split()) <= _MOST_WORDS
    return bool(label) and short and _TECHNICAL.fullmatch(label.lower()) is None


def _events(told: Sequence[tuple[float, str]], classes: Collection[str]) -> set[str]:
    times: dict[str, list[float]] = {}
    for at, label in told:
        times.setdefault(label, []).append(at)
    return {
        label
        for label, at in times.items()
        if len(at) > 1 and label.lower() not in classes and float(np.median(np.diff(at))) < EVENT_S
    }
