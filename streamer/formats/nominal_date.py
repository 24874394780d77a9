"""Dates that are none: recordings know no time of day, but formats ask for one."""

from __future__ import annotations

from datetime import datetime, timedelta

# BIDS and others take dates up to 1925 for ones that were made up, and some readers end in 1901
_FIRST = datetime(1925, 1, 1)  # noqa: DTZ001 - a count, not a time of day


def nominal_date(at_s: float) -> datetime:
    """Give the date for a time on a recording's axis, s: its zero is the beginning of 1925."""
    return _FIRST + timedelta(microseconds=round(1e6 * at_s))
