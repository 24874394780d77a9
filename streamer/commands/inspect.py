"""``streamer inspect PATH``: what is in a recording, a file or a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def inspect(
    path: Annotated[Path, typer.Argument(help="A recording of any kind, a single file, or a folder of them.")],
    as_json: Annotated[bool, typer.Option("--json", help="One object with `parts`.")] = False,
) -> None:
    """Say what is in a recording."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from streamer.inspection import inspect_path

    parts = inspect_path(path)
    if as_json:
        typer.echo(json.dumps({"path": str(path), "parts": [part.plain() for part in parts]}))
        return
    console = Console(highlight=False)
    for part in parts:
        named = ", ".join(text for text in (part.kind, part.format, part.name, part.path) if text)
        table = Table(title=escape(named), title_justify="left", show_header=False)
        for key, value in part.plain().items():
            if key not in {"kind", "format", "name", "path", "problems"}:
                table.add_row(key.replace("_", " "), escape(_text(value)))
        for problem in part.problems:
            table.add_row("problem", escape(problem), style="bold red")
        console.print(table)


def _text(value: object) -> str:
    match value:
        case dict():
            return ", ".join(f"{label} × {count}" for label, count in value.items())
        case tuple():
            return ", ".join(f"{item:g}" for item in value) or "unknown"
        case _:
            return str(value)
