"""Channels of an EEG cap in groups by the letters of their names: the same in training, explanation and the loop."""

from __future__ import annotations

import re
from collections.abc import Sequence

_AREAS = {
    "frontal": {"FP", "AF", "F", "FC", "N"},
    "central": {"C", "CP"},
    "temporal": {"FT", "T", "TP", "M"},
    "parietal": {"P"},
    "occipital": {"PO", "O", "I"},
}
_OF = {letters: area for area, rows in _AREAS.items() for letters in rows}
# former names of P7 and P8 (American Clinical Neurophysiology Society 1991)
_FORMER = {"T5": "parietal", "T6": "parietal"}
_NAME = re.compile(r"(FP|AF|FC|FT|CP|TP|PO|F|C|T|P|O|N|I|M)(?:Z|[1-9]|10)")


def channel_groups(channels: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Put channels together by lobe.

    Parameters
    ----------
    channels : sequence of str
        Names, of the 10-10 system in any case, in order.

    Returns
    -------
    dict of str to tuple of int
        ``frontal``, ``central``, ``temporal``, ``parietal``, ``occipital``, as far as there are any, to the places of
        their channels; a channel of another name is a group of its own, after them.
    """
    found: dict[str, list[int]] = {area: [] for area in _AREAS}
    others: dict[str, tuple[int, ...]] = {}
    for place, name in enumerate(channels):
        area = _area(name)
        if area is not None:
            found[area].append(place)
        else:
            # a channel called like an area would hide it
            others[name if name not in _AREAS else f"channel {name}"] = (place,)
    return {area: tuple(places) for area, places in found.items() if places} | others


def _area(name: str) -> str | None:
    upper = name.strip().upper()
    match = _NAME.fullmatch(upper)
    return _FORMER.get(upper) or (None if match is None else _OF[match[1]])
