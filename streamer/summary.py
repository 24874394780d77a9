"""What a run comes to: counts, losses, latencies; for people and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table


@dataclass(frozen=True)
class RunSummary:
    """The sum of one run."""

    session: str
    folder: str
    state: str
    seconds: float
    """Session seconds covered."""
    counts: dict[str, int]
    losses: dict[str, int]
    latency_ms: dict[str, tuple[float, float]]
    """p50, p99."""
    provider: str = ""
    notes: list[str] = field(default_factory=list[str])

    @property
    def lost(self) -> int:
        """All that was lost."""
        return sum(self.losses.values())

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        values = asdict(self)
        values["latency_ms"] = {k: {"p50": a, "p99": b} for k, (a, b) in self.latency_ms.items()}
        return values

    def table(self) -> RenderableType:
        """As two tables for the terminal."""
        counts = Table(title=f"Session {self.session}", title_justify="left", show_header=False)
        for key in ("chunks", "samples", "volumes", "bold_frames", "windows", "decisions", "triggers", "vetoes"):
            counts.add_row(key.replace("_", " "), f"{self.counts.get(key, 0):,}")
        lost = ", ".join(f"{k} {v}" for k, v in self.losses.items() if v) or "nothing"
        counts.add_row("lost", lost, style="bold red" if self.lost else "")
        if self.provider:
            counts.add_row("model on", self.provider)
        latency = Table("stage", "p50 ms", "p99 ms", title="Latency", title_justify="left")
        for stage, (p50, p99) in self.latency_ms.items():
            latency.add_row(stage.replace("_", " "), f"{p50:.2f}", f"{p99:.2f}")
        notes = [f"[yellow]note:[/yellow] {note}" for note in self.notes]
        return Group(counts, latency, *notes)
