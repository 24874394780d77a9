"""``streamer replay RECORDING``: the same loop on a recording."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def replay(
    recording: Annotated[Path, typer.Argument(help="Any recording, or the folder of a recorded session.")],
    config: Annotated[Path | None, typer.Option(help="SESSION.toml; a session's log brings its own.")] = None,
    calibration: Annotated[Path | None, typer.Option(help="Folder that `streamer calibrate` wrote.")] = None,
    out: Annotated[Path | None, typer.Option(help="New folder for everything that the loop makes.")] = None,
    speed: Annotated[str, typer.Option(help="Session seconds per second, or `max`: as fast as it goes.")] = "max",
    as_json: Annotated[bool, typer.Option("--json", help="The summary as JSON.")] = False,
) -> None:
    """Replay a recording through the loop.

    Two replays of one recording write the same bytes, but for timings.json.
    """
    from rich.console import Console

    from streamer.calibration import load_calibration
    from streamer.commands.progress import bar
    from streamer.replay import config_for, replay_recording

    console = Console(highlight=False)
    factor = _factor(speed)
    settings = config_for(recording, config)
    loaded = load_calibration(calibration) if calibration is not None else None
    with bar("replaying", quiet=as_json) as tell:
        # nobody asked for the model that ships: where it does not fit, cleaning is still of use
        summary = replay_recording(recording, settings, out, loaded, tell, factor, without_model=config is None)
    if as_json:
        typer.echo(json.dumps(summary.plain()))
    else:
        console.print(summary.table())
    if summary.lost:
        raise typer.Exit(4)


def _factor(speed: str) -> float | None:
    if speed == "max":
        return None
    try:
        factor = float(speed)
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):
        raise typer.BadParameter(f"{speed!r}: expected a number above 0, or max", param_hint="--speed")
    return factor
