"""``streamer report SESSION``: what was run, fed back and lost, as one HTML page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def report(
    session: Annotated[Path, typer.Argument(help="Folder of a session, or of a replay (`streamer replay --out`).")],
    out: Annotated[Path | None, typer.Option(help="HTML file to write; else report.html in the folder.")] = None,
    config: Annotated[Path | None, typer.Option(help="SESSION.toml, for a folder that holds no settings.")] = None,
    events: Annotated[
        Path | None, typer.Option(help="The task's blocks: a BIDS events.tsv, s after the run's first volume.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The figures as one JSON object, beside the file.")] = False,
) -> None:
    """Write a session's report: data quality, feedback, regulation, latency, processing, the CRED-nf checklist.

    A session that crashed, or whose condition is sealed, is reported as far as that goes.
    """
    from rich.console import Console

    from streamer.report.write import write_report

    path, values = write_report(session, out, config, events, overwrite=overwrite)
    if as_json:
        typer.echo(json.dumps({"report": str(path), **values}, allow_nan=False))
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(str(path), markup=False)
    for problem in values["problems"]:
        console.print(f"note: {problem}", style="yellow", markup=False)
