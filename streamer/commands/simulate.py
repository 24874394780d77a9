"""``streamer simulate OUT``: a session with planted truth."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

_RUNS = ("calibration", "task")


def simulate(
    out: Annotated[Path, typer.Argument(help="New folder.")],
    seed: Annotated[int, typer.Option(min=0, help="Decides the participant and the noise.")] = 7,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, max=240, help="Length of the task run: as many blocks as fit into it.")
    ] = None,
    tr: Annotated[float | None, typer.Option(help="Repetition time, s; by default 1, or what --triggers has.")] = None,
    channels: Annotated[int, typer.Option(help="Channels with the ECG.")] = 32,
    sfreq: Annotated[float, typer.Option(help="Of the EEG, Hz.")] = 5000.0,
    slices: Annotated[int, typer.Option(help="Slices of a volume.")] = 16,
    blocks: Annotated[int, typer.Option(help="Blocks of the task run, where --minutes says nothing.")] = 24,
    block_s: Annotated[float, typer.Option("--block-s", help="Length of a block, s.")] = 16.0,
    calibration_s: Annotated[float, typer.Option("--calibration-s", help="Blocks of the calibration run, s.")] = 96.0,
    null: Annotated[bool, typer.Option("--null", help="No effect anywhere: what is found is chance.")] = False,
    effect_in: Annotated[
        Literal["both", "eeg", "bold"],
        typer.Option("--effect-in", help="eeg or bold: only that one knows the state, and fusing adds nothing to it."),
    ] = "both",
    faults: Annotated[
        str,
        typer.Option(
            metavar="SPEC",
            help="What goes wrong: all, a comma list such as missing_trigger=0.005,gap_ms=100@30,clock_ppm=20 "
            "(SIZE@SECONDS places a fault), or a .toml with the same keys.",
        ),
    ] = "",
    triggers: Annotated[
        Path | None,
        typer.Option(help="Real trigger times for the scanner: events.tsv (onset, trial_type) or .vmrk."),
    ] = None,
    trigger_label: Annotated[
        str, typer.Option("--trigger-label", help="Events of --triggers that are pulses, of volumes or slices.")
    ] = "",
    r_peaks: Annotated[
        Path | None, typer.Option("--r-peaks", help="Real R peaks for the heart: the same kinds of file.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting, such as pulse_v=100e-6; repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="What was written, as JSON.")] = False,
) -> None:
    """Simulate a session whose truth is known: EEG with artefacts, volumes, and every component apart."""
    from pydantic import ValidationError
    from rich.console import Console

    from streamer.clock import stopwatch
    from streamer.commands.progress import bar
    from streamer.errors import ConfigError
    from streamer.simulate.event_tables import read_triggers
    from streamer.simulate.session import FaultSettings, SimulationSettings, parse_faults, problems_of, simulate_session

    more = _more(setting or [])
    if tr is None:
        tr = read_triggers(triggers, trigger_label).tr_s(slices) if triggers is not None else 1.0
    given: dict[str, Any] = {
        "seed": seed,
        "tr_s": tr,
        "n_channels": channels,
        "sfreq": sfreq,
        "grid": (64, 64, slices),
        "n_blocks": blocks,
        "block_s": block_s,
        "calibration_s": calibration_s,
        "null": null,
        "effect_in": effect_in,
        "faults": parse_faults(faults) if faults else FaultSettings(),
        "triggers": triggers,
        "trigger_label": trigger_label,
        "r_peaks": r_peaks,
    }
    try:
        settings = SimulationSettings.model_validate({**given, **more})
        if minutes is not None:
            blocks = settings.blocks_in(60.0 * minutes)
            settings = settings.model_copy(update={"n_blocks": blocks})
    except ValidationError as error:
        raise ConfigError("streamer simulate", problems_of(error, "settings")) from error
    began = stopwatch()
    with bar("simulating", quiet=as_json) as tell:
        simulate_session(out, settings, tell)
    seconds = round(stopwatch() - began, 1)
    recordings = [str(out / run / "recording.toml") for run in _RUNS]
    counts = {run: _counts(out / run / "ledger.json") for run in _RUNS}
    if as_json:
        facts = {"folder": str(out), "recordings": recordings, "seconds": seconds, "seed": seed, "faults": counts}
        typer.echo(json.dumps(facts))
        return
    console = Console(highlight=False)
    console.print(f"{out}: {' and '.join(recordings)}, in {seconds} s", soft_wrap=True)
    for run, found in counts.items():
        if found:
            listed = ", ".join(f"{count} {kind}" for kind, count in found.items())
            console.print(f"{run}: {listed}; see {out / run / 'ledger.json'}", soft_wrap=True)


def _more(items: Sequence[str]) -> dict[str, Any]:
    from streamer.errors import ConfigError
    from streamer.simulate.session import SimulationSettings

    values: dict[str, Any] = {}
    problems: list[str] = []
    known = SimulationSettings.model_fields
    for item in items:
        name, _, value = (part.strip() for part in item.partition("="))
        if name not in known:
            problems.append(f"{name or item!r}: unknown setting; there are {', '.join(known)}")
            continue
        try:
            values[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            problems.append(f"{item!r}: expected NAME=VALUE, the value a number, true, false or a list")
    if problems:
        raise ConfigError("--set", problems)
    return values


def _counts(ledger: Path) -> dict[str, int]:
    entries = json.loads(ledger.read_text(encoding="utf-8"))["faults"]
    return dict(Counter(entry["kind"] for entry in entries))
