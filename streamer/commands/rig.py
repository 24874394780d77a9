"""``streamer rig RECORDING``: be the scanner room."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Annotated, Any

import typer


def rig(
    recording: Annotated[
        Path,
        typer.Argument(
            help="Anything that `streamer inspect` reads: recording.toml or its folder, .vhdr, DICOM, .nii …"
        ),
    ],
    export: Annotated[Path | None, typer.Option(help="Directory that the volumes drop into.")] = None,
    speed: Annotated[float, typer.Option(min=0.1, max=100, help="Recording seconds per second.")] = 1.0,
    start: Annotated[float, typer.Option(min=0, help="Where to begin, s.")] = 0.0,
    stop: Annotated[float | None, typer.Option(min=0, help="Where to end, s.")] = None,
    stream_name: Annotated[str, typer.Option(help="Of the EEG stream; the markers' ends in -markers.")] = "rig",
    rda: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Send the EEG as BrainVision Recorder, at this port.")
    ] = None,
    faults: Annotated[
        str, typer.Option(help="What goes wrong: name=value[@seconds], commas between; a .toml file; all.")
    ] = "",
    ledger: Annotated[Path | None, typer.Option(help="New JSON file that lists every fault.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides which markers and files come how.")] = 0,
    wait_consumers: Annotated[bool, typer.Option(help="Begin when somebody listens to both streams.")] = True,
    wait: Annotated[float, typer.Option(min=0.1, help="How long to wait for listeners, s.")] = 120.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line per change of state.")] = False,
) -> None:
    """Play a recording as an amplifier's streams and as files that a scanner exports."""
    from collections import Counter
    from dataclasses import asdict

    from pydantic import ValidationError
    from rich.console import Console

    from streamer.acquire.recordings import open_recording
    from streamer.commands.progress import bar
    from streamer.errors import UsageError
    from streamer.rig.faults import RigFaults
    from streamer.rig.ledger import check_ledger, write_ledger
    from streamer.rig.player import Played, RigSettings, play

    try:
        settings = RigSettings(
            stream_name=stream_name,
            speed=speed,
            start_s=start,
            stop_s=stop,
            seed=seed,
            faults=RigFaults.parse(faults) if faults else RigFaults(),
            rda_port=rda,
            wait_consumers=wait_consumers,
            wait_s=wait,
        )
    except ValidationError as error:
        raise UsageError("; ".join(str(problem["msg"]) for problem in error.errors())) from error
    if ledger is not None:
        check_ledger(ledger)
    opened = open_recording(recording)
    end = opened.duration_s if stop is None else min(stop, opened.duration_s)
    ended = False

    def end_it(*_: Any) -> None:
        nonlocal ended
        ended = True

    before = {number: signal.signal(number, end_it) for number in (signal.SIGINT, signal.SIGTERM)}
    console = Console(stderr=True, highlight=False)
    states: list[str] = []
    try:
        with bar("playing", quiet=as_json) as tell:

            def report(now: str, played: Played) -> None:
                if opened.eeg is not None and end > start:
                    tell(played.samples / opened.eeg.sfreq / (end - start))
                if now == "progress":
                    return
                states.append(now)
                if as_json:
                    listed = {"faults": [entry.plain() for entry in played.faults]}
                    typer.echo(json.dumps({"state": now, "stream": stream_name, **asdict(played), **listed}))
                elif now == "ready" and wait_consumers and opened.eeg is not None:
                    there = f"streams {stream_name} and {stream_name}-markers are there"
                    if played.rda_port is not None:
                        there = f"BrainVision Recorder is played at 127.0.0.1:{played.rda_port}"
                    console.print(f"{there}; waiting for a listener")

            played = play(opened, export, settings, report, lambda: ended)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if ledger is not None:
        write_ledger(ledger, settings.faults, settings.seed, played.faults)
    if not as_json:
        console.print(
            f"{states[-1]}: {played.samples} samples, {played.markers} markers, {played.volumes} volumes; "
            f"at most {played.late_ms:.1f} ms late"
        )
        if played.markers_left_out or played.volumes_left_out:
            console.print(
                f"outside what was played: {played.markers_left_out} markers, {played.volumes_left_out} volumes"
            )
        if settings.faults.names:
            count = Counter(entry.fault for entry in played.faults)
            console.print("faults: " + ", ".join(f"{name} {count[name]}" for name in settings.faults.names))
    if states[-1] == "stopped":
        raise typer.Exit(130)
