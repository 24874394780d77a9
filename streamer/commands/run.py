"""``streamer run SESSION.toml``: the live loop."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def run(
    session: Annotated[Path, typer.Argument(help="SESSION.toml; `streamer config init` writes one.")],
    no_wait: Annotated[bool, typer.Option("--no-wait", help="End at once when a source is not there.")] = False,
    duration: Annotated[float | None, typer.Option(min=0.1, help="End after so many seconds of data.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line: states, then the summary.")] = False,
) -> None:
    """Run a live session until Ctrl-C."""
    import asyncio

    from rich.console import Console

    from streamer.app import Options, run_session
    from streamer.config import load_config
    from streamer.emit.recorder import write_xdf

    console = Console(highlight=False, soft_wrap=True)

    def say(text: str) -> None:
        if as_json:
            typer.echo(json.dumps({"event": "said", "text": text}))
        else:
            console.print(text, markup=False)
        sys.stdout.flush()

    def announce(event: dict[str, object]) -> None:
        if as_json:
            typer.echo(json.dumps(event))
            sys.stdout.flush()

    config = load_config(session)
    options = Options(wait=not no_wait, duration_s=duration, say=say, announce=announce)
    if sys.platform == "win32":
        summary = asyncio.run(run_session(config, options))
    else:
        import uvloop

        summary = uvloop.run(run_session(config, options))
    if as_json:
        announce({"event": "summary", **summary.plain()})
    else:
        console.print(summary.table())
    folder = Path(summary.folder)
    if config.output.record and folder.exists():
        say("all is on disk; writing recording.xdf from it (Ctrl-C leaves it out: `streamer convert` makes it later)")
        try:
            write_xdf(folder)
        except OSError as error:
            say(f"recording.xdf could not be written: {error}; `streamer convert` makes it when there is room")
    if summary.lost:
        raise typer.Exit(4)
