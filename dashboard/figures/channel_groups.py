"""EEG channels by where on the head they lie, told from their names."""

from __future__ import annotations

import re
from collections.abc import Sequence

ALL = "all"
_GROUPS = {
    "frontal": ("FP", "AF", "F"),
    "central": ("FC", "C", "CP"),
    "temporal": ("FT", "T", "TP"),
    "parietal": ("P",),
    "occipital": ("PO", "O", "I"),
}
_OTHERS = "others"


def channel_groups(names: Sequence[str]) -> dict[str, list[int]]:
    """Group channels by the rows of the 10-10 system.

    Parameters
    ----------
    names : sequence of str
        In any case.

    Returns
    -------
    dict
        Indices by group: all first, then frontal, central, temporal, parietal, occipital, left, right, and others for
        names that are none of the system. Groups without a channel are left out.
    """
    found: dict[str, list[int]] = {ALL: list(range(len(names)))}
    rows = {row: group for group, members in _GROUPS.items() for row in members}
    parts = [re.fullmatch(r"([A-Z]+?)(Z|\d{1,2})", name.strip().upper()) for name in names]
    known = [part is not None and part[1] in rows for part in parts]
    for group in _GROUPS:
        found[group] = [i for i, part in enumerate(parts) if part is not None and rows.get(part[1]) == group]
    sides = [
        int(part[2]) % 2 if part is not None and k and part[2] != "Z" else None
        for part, k in zip(parts, known, strict=True)
    ]
    found["left"] = [i for i, side in enumerate(sides) if side == 1]
    found["right"] = [i for i, side in enumerate(sides) if side == 0]
    found[_OTHERS] = [i for i, k in enumerate(known) if not k]
    return {group: members for group, members in found.items() if members or group == ALL}
