"""Values that are chosen from a list, one after the other."""

from __future__ import annotations

from collections.abc import Sequence


def stepped(options: Sequence[float], value: float, steps: int) -> float:
    """Go so many options on from the one nearest to ``value``, or back where negative; the ends are the ends.

    Parameters
    ----------
    options : sequence of float
        Rising.
    value : float
    steps : int
    """
    nearest = min(range(len(options)), key=lambda i: abs(options[i] - value))
    return options[min(max(nearest + steps, 0), len(options) - 1)]
