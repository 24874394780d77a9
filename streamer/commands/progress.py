"""A progress bar for people; nothing for machines."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


@contextmanager
def bar(title: str, *, quiet: bool) -> Generator[Callable[[float], None]]:
    """Show a bar; give a function that takes the fraction done."""
    columns = (TextColumn("{task.description:<28}"), BarColumn(), TimeElapsedColumn())
    # on standard error: what a command prints stays clean, and a pipe sees no bar
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        task = progress.add_task(title, total=1.0)

        def tell(fraction: float) -> None:
            progress.update(task, completed=min(1.0, fraction))

        yield tell
        progress.update(task, completed=1.0)
