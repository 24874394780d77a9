"""Loops that numpy cannot express, compiled by Numba.

Results must not depend on the machine's thread count or on how an optimiser reorders sums: no ``fastmath``, no
``parallel``. What was compiled is kept on disk, so that only the first start of an installation waits for it; a stage
whose first call would compile runs it in its warm-up, never on the first volume or chunk.

What is kept counts as out of date when its own file changes, and by nothing else: a compiled function calls none of
another module and uses none of its constants, but is given what it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function of numbers and arrays at its first call with each combination of types.

    Division by zero gives what numpy gives. The function releases the GIL. Where nothing may be written, neither
    beside the code nor in the user's cache, it is compiled anew in every process.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    njit = cast("Any", numba).njit
    try:
        made = njit(cache=True, **options)(function)
    except RuntimeError:
        made = njit(**options)(function)
    return cast("Callable[P, R]", made)
