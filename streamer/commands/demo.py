"""``streamer demo``: a simulated session through the whole loop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path | None, typer.Option(help="New folder for all that is made; default demo-output/TIME.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulated session.")] = 7,
    live: Annotated[float, typer.Option(min=12.0, help="Length of the live part, s.")] = 30.0,
    headless: Annotated[bool, typer.Option("--headless", help="Never open a window.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the result to this file.")] = None,
) -> None:
    """Simulate a short session and run the whole loop on it, live and replayed."""
    from rich.console import Console

    from streamer.clock import wall_time_stamp
    from streamer.commands.demo_report import report
    from streamer.commands.progress import bar
    from streamer.demo import DemoSettings, run_demo
    from streamer.errors import UsageError

    console = Console(highlight=False, soft_wrap=True)
    folder = out if out is not None else Path("demo-output") / wall_time_stamp()
    if folder.exists():
        raise UsageError(f"{folder} exists: nothing is overwritten; choose another --out")
    settings = DemoSettings(folder, seed, live, headless)
    result = run_demo(settings, lambda text: console.print(text, markup=False), lambda title: bar(title, quiet=False))
    if json_file is not None:
        json_file.write_text(json.dumps(result.plain(), indent=1) + "\n", encoding="utf-8")
    Console(highlight=False).print(report(result))
    if result.lost_samples or result.lost_volumes:
        raise typer.Exit(4)
