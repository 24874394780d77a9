"""``streamer to-bids RECORDING OUT``: a recording as a BIDS dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def to_bids(
    recording: Annotated[Path, typer.Argument(help="Any recording, or the folder of a recorded session.")],
    out: Annotated[Path, typer.Argument(help="The dataset: a new folder, or one that this command made.")],
    subject: Annotated[str, typer.Option(help="Label of the participant: letters and digits, no name.")] = "01",
    session: Annotated[str | None, typer.Option(help="Label of the participant's session.")] = None,
    task: Annotated[str, typer.Option(help="Label of the task.")] = "task",
    run: Annotated[str | None, typer.Option(help="Number of the run.")] = None,
    line: Annotated[float | None, typer.Option(help="Frequency of the mains, Hz.", min=1.0)] = None,
    condition: Annotated[str | None, typer.Option(help="Condition of an unblinded session, for its events.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="What was written, as JSON.")] = False,
) -> None:
    """Write a recording as BIDS: EEG, volumes, events and physiology, without identity."""
    from rich.console import Console

    from streamer.commands.progress import bar
    from streamer.formats.bids import Entities
    from streamer.to_bids import write_bids

    entities = Entities(subject, session, task, run)
    with bar("writing BIDS", quiet=as_json) as tell:
        report = write_bids(recording, out, entities, line, tell, condition)
    if as_json:
        typer.echo(json.dumps({"folder": str(report.folder), "files": report.files, "problems": report.problems}))
        return
    console = Console(highlight=False, soft_wrap=True)
    for name in report.files:
        console.print(name, markup=False)
    for problem in report.problems:
        console.print(f"note: {problem}", style="yellow", markup=False)
