"""``streamer bench [WHAT]...``: the performance table of this machine."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from streamer.bench.figures import Figure

FILE_WIDTH = 160
"""Columns of a table that goes into a file."""


class What(Enum):
    """What can be measured."""

    ALIGNMENT = "alignment"
    EEG = "eeg"
    BOLD = "bold"
    MODEL = "model"
    EVENTS = "events"
    REPLAY = "replay"
    LIVE = "live"
    MQTT = "mqtt"
    LOOP = "loop"
    OUTLETS = "outlets"
    DASHBOARD = "dashboard"


def bench(
    what: Annotated[
        list[What] | None,
        typer.Argument(help="What to measure; default: all but live, loop, mqtt, outlets and dashboard."),
    ] = None,
    minutes: Annotated[float, typer.Option(min=1, help="Length of the session that is replayed or run live.")] = 5.0,
    quick: Annotated[
        bool, typer.Option("--quick", help="eeg, bold, model, events, mqtt, outlets, dashboard: less and shorter.")
    ] = False,
    real: Annotated[
        Path | None,
        typer.Option(
            help="eeg: folder of real recordings, artefacts are planted into one; bold: a real run is cleaned."
        ),
    ] = None,
    peers: Annotated[
        Path | None,
        typer.Option(
            help="bold: Python with benchmarks/bold-peers-requirements.txt, to run others on the same volumes."
        ),
    ] = None,
    card: Annotated[
        list[Path] | None, typer.Option(help="model: card to measure, may be given often; default: those that ship.")
    ] = None,
    hours: Annotated[
        float, typer.Option(min=0.01, help="dashboard: length of the session that its memory is watched in.")
    ] = 0.1,
    speed: Annotated[
        float, typer.Option(min=0.1, max=100, help="dashboard: how many times as fast that session is sent.")
    ] = 10.0,
    keep: Annotated[Path | None, typer.Option(help="New folder that keeps what was made for it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One object, by what was measured.")] = False,
) -> None:
    """Measure this machine: alignment errors, cost and quality of both lanes, decisions, speed of replay, losses.

    dashboard opens windows: on a virtual screen where there is none.
    """
    from rich.console import Console
    from rich.table import Table

    from streamer.commands.progress import bar
    from streamer.errors import UsageError

    if keep is not None and keep.exists():
        raise UsageError(f"{keep} exists: nothing is overwritten; choose another --keep")
    chosen = list(dict.fromkeys(what or [What.ALIGNMENT, What.EEG, What.BOLD, What.MODEL, What.EVENTS, What.REPLAY]))
    found: dict[str, list[Figure]] = {}
    with tempfile.TemporaryDirectory(prefix="streamer-bench-") as temporary:
        for each in chosen:
            folder = (Path(temporary) if keep is None else keep) / each.value
            with bar(each.value, quiet=as_json) as tell:
                found[each.value] = _measure(
                    each, folder, minutes, tell, quick=quick, real=real, peers=peers, cards=card or [], hours=hours,
                    speed=speed,
                )  # fmt: skip
    if as_json:
        typer.echo(json.dumps({name: [figure.plain() for figure in figures] for name, figures in found.items()}))
        return
    # a table that goes into a file need not fit a narrow terminal
    wide = None if sys.stdout.isatty() else max(FILE_WIDTH, shutil.get_terminal_size().columns)
    console = Console(highlight=False, width=wide)
    for name, figures in found.items():
        table = Table("", "measured", "", "bar", title=name, title_justify="left")
        more = [column for column in ("peer", "note") if any(getattr(figure, column) for figure in figures)]
        for column in more:
            table.add_column({"peer": "others", "note": ""}[column], style="dim")
        for figure in figures:
            style = "bold red" if figure.met is False else ""
            cells = (figure.name, f"{figure.value:,.5g}", figure.unit, figure.limit)
            table.add_row(*cells, *(getattr(figure, column) for column in more), style=style)
        console.print(table)


def _measure(
    what: What,
    folder: Path,
    minutes: float,
    tell: Callable[[float], None],
    *,
    quick: bool,
    real: Path | None,
    peers: Path | None,
    cards: list[Path],
    hours: float,
    speed: float,
) -> list[Figure]:
    match what:
        case What.ALIGNMENT:
            from streamer.bench.alignment import bench_alignment

            return bench_alignment(tell)
        case What.EEG:
            from streamer.bench.eeg_lane import bench_eeg_lane

            return bench_eeg_lane(tell, quick=quick, real=real)
        case What.BOLD:
            from streamer.bench.bold_rows import bench_bold

            return bench_bold(tell, quick=quick, real=real, peers=peers)
        case What.MODEL:
            from streamer.bench.model import bench_model

            return bench_model(tell, cards, quick=quick)
        case What.EVENTS:
            from streamer.bench.events import bench_events

            return bench_events(tell, quick=quick)
        case What.REPLAY:
            from streamer.bench.replay import bench_replay

            return bench_replay(folder, minutes, tell)
        case What.LIVE:
            from streamer.bench.live import bench_live

            return bench_live(folder, minutes, tell)
        case What.LOOP:
            from streamer.bench.loop import bench_loop

            return bench_loop(folder, minutes, tell)
        case What.MQTT:
            from streamer.bench.mqtt import bench_mqtt

            return bench_mqtt(folder, tell, quick=quick)
        case What.OUTLETS:
            from streamer.bench.outlets import bench_outlets

            return bench_outlets(tell, quick=quick)
        case What.DASHBOARD:
            from streamer.bench.dashboard import bench_dashboard

            return bench_dashboard(folder, minutes, hours, speed, tell, quick=quick)
