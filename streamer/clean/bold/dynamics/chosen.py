"""Which of the regions a feature is made of, and what its records have in common."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamer.errors import ConfigError
from streamer.messages import F64, Array, BoldFrame, Feature, Flag, SessionTime

_DECIMALS = 6


def chosen_regions(where: str, wanted: Sequence[str], regions: Sequence[str]) -> Array:
    """Give the indices of the regions ``wanted``, or of all when none is named.

    Raises
    ------
    ConfigError
        A region is not there, or is named twice.
    """
    problems = [f"no region {name}: expected some of {', '.join(regions)}" for name in wanted if name not in regions]
    problems += [f"region {name} is named twice" for name in sorted({n for n in wanted if list(wanted).count(n) > 1})]
    if problems:
        raise ConfigError(where, problems)
    return np.array([list(regions).index(name) for name in wanted] if wanted else range(len(regions)), np.int64)


def record(
    name: str,
    frame: BoldFrame,
    delay_s: float,
    labels: tuple[str, ...],
    values: F64,
    uncertainty: F64 | None,
    *,
    valid: bool,
    flags: Flag,
) -> list[Feature]:
    """Make the record of one volume; none while nobody knows when it was acquired."""
    if frame.acquired is None:
        return []
    return [
        Feature(
            name=name,
            sample=frame.index + 1,
            about=SessionTime(frame.acquired - delay_s),
            delay_s=delay_s,
            labels=labels,
            values=tuple(np.round(values, _DECIMALS).tolist()),
            uncertainty=() if uncertainty is None else tuple(np.round(uncertainty, _DECIMALS).tolist()),
            valid=valid and bool(np.isfinite(values).any()),
            flags=flags,
        )
    ]
