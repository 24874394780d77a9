"""One progress bar after the other: a long command says what it is at."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from streamer.commands.progress import bar


class Phases:
    """Bars for people, on standard error; nothing for machines.

    Parameters
    ----------
    quiet : bool
        Show nothing.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._open = ExitStack()
        self._title = ""
        self._advance: Callable[[float], None] = lambda _: None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def tell(self, what: str, fraction: float) -> None:
        """Take what is being done and the fraction done: another deed ends the bar before."""
        if what != self._title:
            self._open.close()
            self._title = what
            self._advance = self._open.enter_context(bar(what, quiet=self._quiet))
        self._advance(fraction)
