"""Whether anything is lost when the loop runs live at full size."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from streamer.bench.figures import Figure
from streamer.bench.session import STREAM, make_session, memory_mb, write_settings
from streamer.child import child
from streamer.clock import pause

_SETTLE_S = 2.0
_FILLED_S = 90.0
"""By then the gradient's template holds all the volumes that it ever does, s."""


def bench_live(folder: Path, minutes: float, progress: Callable[[float], None]) -> list[Figure]:
    """Run rig and loop against each other for ``minutes``, on one machine, with the BOLD lane at work.

    Parameters
    ----------
    folder : Path
        New.
    minutes : float
    progress : callable
        Takes the fraction done of the simulation.
    """
    recording = make_session(folder, minutes, progress)
    (folder / "export").mkdir()
    export = str(folder / "export")
    with (
        child("run", str(write_settings(folder)), "--json") as run,
        child("rig", str(recording), "--export", export, "--stream-name", STREAM, "--json") as rig,
    ):
        run.wait_for(lambda m: m.get("event") == "running", 60.0)
        rig.wait_for(lambda m: m.get("state") == "playing", 60.0)
        settled = min(_FILLED_S, 30.0 * minutes)
        pause(settled)
        first = memory_mb(run.process.pid)
        sent = rig.wait_for(lambda m: m.get("state") == "done", 60.0 * minutes + 120.0)
        last = memory_mb(run.process.pid)
        pause(_SETTLE_S)
        run.process.send_signal(signal.SIGTERM)
        summary = run.wait_for(lambda m: m.get("event") == "summary", 60.0)
        run.process.wait(120.0)
    counts, losses = summary["counts"], summary["losses"]
    lost = max(int(sent["samples"]) - int(counts["samples"]), int(losses.get("samples", 0)))
    volumes = max(int(sent["volumes"]) - int(counts.get("volumes", 0)), int(losses.get("volumes", 0)))
    figures = [
        Figure("samples sent", float(sent["samples"]), ""),
        Figure("samples lost", float(lost), "", 0.0),
        Figure("volumes sent", float(sent["volumes"]), ""),
        Figure("volumes lost", float(volumes), "", 0.0),
        Figure(f"memory after {settled:g} s", first, "MB"),
        Figure("memory at the end against it", 100 * (last / first - 1), "%", 5.0),
    ]
    for stage, values in summary["latency_ms"].items():
        figures.append(Figure(f"{stage.replace('_', ' ')}, p50", values["p50"], "ms"))
        figures.append(Figure(f"{stage.replace('_', ' ')}, p99", values["p99"], "ms"))
    return figures
