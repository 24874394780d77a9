"""The demo's summary, for a person."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table

from streamer.demo import DemoResult


def report(result: DemoResult) -> RenderableType:
    """Lay the result out."""
    low, high = result.accuracy_ci95
    right = sum(b["correct"] for b in result.blocks)
    verdict = "above chance" if low > result.chance else "NOT above chance"
    lines = [
        (
            f"[bold]{right} of {result.n_blocks} blocks right[/bold]: accuracy {result.accuracy:.2f} "
            f"(95 % interval {low:.2f} to {high:.2f}; chance {result.chance:.2f}): {verdict}"
        ),
        f"{result.triggers} triggers, {result.triggers_in_task} of them while the planted state was the target",
        f"lost: {result.lost_samples} samples, {result.lost_volumes} volumes",
    ]
    counts = Table("", "live", "whole run", title="What went through", title_justify="left")
    live, session = result.live["counts"], result.session["counts"]
    for key in ("chunks", "samples", "markers", "volumes", "windows", "decisions", "triggers", "vetoes"):
        counts.add_row(key, f"{live.get(key, 0):,}", f"{session.get(key, 0):,}")
    latency = Table("stage", "p50 ms", "p99 ms", title="Latency, live", title_justify="left")
    for stage, values in result.latency_ms.items():
        latency.add_row(stage.replace("_", " "), f"{values['p50']:.2f}", f"{values['p99']:.2f}")
    p = result.parity
    parity = (
        f"live = replay: {p['predictions_equal']} of {p['predictions_live']} predictions equal, "
        f"triggers {p['triggers_live']} live and {p['triggers_replayed']} replayed"
    )
    tail = [parity, f"everything is in {result.folder}", f"done in {result.seconds:.0f} s"]
    if result.screenshot:
        tail.insert(1, f"screenshot: {result.screenshot}")
    notes = [f"[yellow]note:[/yellow] {note}" for note in result.notes]
    return Group(counts, latency, Panel("\n".join(lines), title="The session", expand=False), *tail, *notes)
