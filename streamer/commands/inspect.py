"""``streamer inspect PATH``: what is in a recording."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def inspect(
    path: Annotated[Path, typer.Argument(help="recording.toml, a session's folder, .vhdr, DICOM folder, .nii.")],
    as_json: Annotated[bool, typer.Option("--json", help="One object with `parts`.")] = False,
) -> None:
    """Say what is in a recording."""
    from rich.console import Console
    from rich.table import Table

    from streamer.inspection import inspect_path

    parts = inspect_path(path)
    if as_json:
        typer.echo(json.dumps({"path": str(path), "parts": [part.plain() for part in parts]}))
        return
    console = Console(highlight=False)
    for part in parts:
        table = Table(title=f"{part.kind}, {part.format}", title_justify="left", show_header=False)
        for key, value in part.plain().items():
            if key not in {"kind", "format", "problems"}:
                table.add_row(key.replace("_", " "), str(value), style=None)
        for problem in part.problems:
            table.add_row("problem", problem, style="bold red")
        console.print(table)
