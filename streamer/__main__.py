"""The command line: ``streamer VERB``.

Exit codes: 0 done, 1 failed, 2 wrong use, 3 a source or the broker is absent, 4 data was lost, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from importlib import import_module
from importlib.metadata import entry_points
from typing import Annotated

import typer
from rich.console import Console

from streamer import __version__
from streamer.errors import StreamerError

VERBS = (
    "demo",
    "run",
    "rig",
    "replay",
    "messages",
    "report",
    "simulate",
    "calibrate",
    "inspect",
    "convert",
    "to-bids",
    "bench",
    "doctor",
)
"""Each is a function of its own name, with ``_`` for ``-``, in ``streamer/commands/``."""

app = typer.Typer(
    name="streamer",
    help="Real-time closed loop for simultaneous EEG-fMRI. For research use only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def top(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --version: all versions, as JSON.")] = False,
) -> None:
    """Real-time closed loop for simultaneous EEG-fMRI. For research use only."""
    if not version:
        return
    if as_json:
        from streamer.compose import versions

        typer.echo(json.dumps(versions()))
    else:
        typer.echo(f"streamer {__version__}")
    raise typer.Exit


def _add_verbs() -> None:
    for name in VERBS:
        function = name.replace("-", "_")
        app.command(name)(getattr(import_module(f"streamer.commands.{function}"), function))
    for group in ("config", "regions", "sham", "wire"):
        app.add_typer(import_module(f"streamer.commands.{group}").app, name=group)
    for point in sorted(entry_points(group="streamer.verbs"), key=lambda p: p.name):
        app.command(point.name)(point.load())


def main() -> None:
    """Run the command line."""
    # the order in which a product is summed must not depend on the number of cores: a replay gives the same bits
    for library in ("OPENBLAS", "MKL", "VECLIB", "BLIS"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    # SIGTERM ends a command as Ctrl-C does, so that its child processes end with it
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _add_verbs()
    try:
        app(standalone_mode=True)
    except StreamerError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]error:[/bold red] {_plain(error)}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def _plain(error: StreamerError) -> str:
    # square brackets are markup to rich
    return str(error).replace("[", "\\[")


if __name__ == "__main__":
    main()
