"""Blocks of a length that need be no whole number of samples, on the absolute grid of samples."""

from __future__ import annotations

import math
from fractions import Fraction


def block_at(sample: int, length: Fraction) -> tuple[int, int, int]:
    """Give the block that holds ``sample``: its number, its first sample, and the first sample of the next one."""
    index = math.floor(sample / length)
    if math.ceil((index + 1) * length) <= sample:
        index += 1
    return index, math.ceil(index * length), math.ceil((index + 1) * length)
