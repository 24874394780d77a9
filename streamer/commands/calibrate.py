"""``streamer calibrate RUN``: baselines, thresholds and the eye correction from a calibration run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def calibrate(
    run: Annotated[Path, typer.Argument(help="The calibration run: a recording or a session's folder.")],
    out: Annotated[Path, typer.Option(help="Folder for the result; name it as model.calibration in SESSION.toml.")],
    config: Annotated[Path | None, typer.Option(help="SESSION.toml; a session's log brings its own.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="What was found, as JSON.")] = False,
) -> None:
    """Measure baselines, reference volume and thresholds on a calibration run."""
    from rich.console import Console

    from streamer.calibrate import calibrate_recording
    from streamer.calibration import save_calibration
    from streamer.commands.progress import bar
    from streamer.replay import config_for

    with bar("calibrating", quiet=as_json) as tell:
        found = calibrate_recording(run, config_for(run, config), tell)
    path = save_calibration(found, out)
    facts = {
        "calibration": str(path),
        "channels": len(found.channels),
        "regions": len(found.regions),
        "threshold_on": found.threshold_on,
        "threshold_off": found.threshold_off,
        "windows": found.n_windows,
        "eyes": "left as they are" if found.ocular is None else found.ocular.summary,
    }
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        for key, value in facts.items():
            Console(highlight=False).print(f"{key.replace('_', ' ')}: {value}")
