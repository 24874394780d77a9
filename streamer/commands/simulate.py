"""``streamer simulate OUT``: a session with planted truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def simulate(
    out: Annotated[Path, typer.Argument(help="New folder.")],
    seed: Annotated[int, typer.Option(min=0, help="Decides the participant and the noise.")] = 7,
    tr: Annotated[float, typer.Option(help="Repetition time, s.")] = 1.0,
    channels: Annotated[int, typer.Option(help="Channels with the ECG.")] = 32,
    sfreq: Annotated[float, typer.Option(help="Of the EEG, Hz.")] = 5000.0,
    blocks: Annotated[int, typer.Option(help="Blocks of the task run.")] = 24,
    block_s: Annotated[float, typer.Option("--block-s", help="Length of a block, s.")] = 16.0,
    calibration_s: Annotated[float, typer.Option("--calibration-s", help="Blocks of the calibration run, s.")] = 96.0,
    clock_ppm: Annotated[float, typer.Option(help="Amplifier clock against the scanner's.")] = 0.0,
    null: Annotated[bool, typer.Option("--null", help="No effect anywhere: what is found is chance.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="What was written, as JSON.")] = False,
) -> None:
    """Simulate a session whose truth is known: EEG with artefacts, volumes, and every component apart."""
    from pydantic import ValidationError
    from rich.console import Console

    from streamer.clock import stopwatch
    from streamer.commands.progress import bar
    from streamer.errors import ConfigError
    from streamer.simulate.session import SimulationSettings, simulate_session

    try:
        settings = SimulationSettings(
            seed=seed,
            tr_s=tr,
            n_channels=channels,
            sfreq=sfreq,
            n_blocks=blocks,
            block_s=block_s,
            calibration_s=calibration_s,
            clock_ppm=clock_ppm,
            null=null,
        )
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, p['loc'])) or 'settings'}: {p['msg']}" for p in error.errors()]
        raise ConfigError("streamer simulate", problems) from error
    began = stopwatch()
    with bar("simulating", quiet=as_json) as tell:
        simulate_session(out, settings, tell)
    seconds = round(stopwatch() - began, 1)
    recordings = [str(out / run / "recording.toml") for run in ("calibration", "task")]
    if as_json:
        typer.echo(json.dumps({"folder": str(out), "recordings": recordings, "seconds": seconds, "seed": seed}))
    else:
        Console(highlight=False).print(f"{out}: {' and '.join(recordings)}, in {seconds} s", soft_wrap=True)
