"""What a run comes to: counts, losses, latencies; for people and as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from streamer.bold_core import BoldCore
from streamer.clean.eeg.quality.quality import Course, EegFigures, Figure
from streamer.emit.quality import QualityTally
from streamer.engine import EegCore


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

    def facts(self) -> dict[str, Any]:
        """As JSON values, without what differs between two replays of one recording."""
        values = self.plain()
        for key in self.telemetry():
            del values[key]
        return values

    def telemetry(self) -> dict[str, Any]:
        """What differs between two replays of one recording, as JSON values."""
        values = self.plain()
        return {key: values[key] for key in ("folder", "latency_ms")}

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
        notes = [f"[yellow]note:[/yellow] {escape(note)}" for note in self.notes]
        return Group(counts, latency, *notes)


def quality_values(tally: QualityTally, core: EegCore, bold: BoldCore | None = None) -> dict[str, Any]:
    """Sum up the quality of a session as JSON values: the content of ``quality.json``.

    Parameters
    ----------
    tally : QualityTally
        What was counted while the session ran.
    core : EegCore
    bold : BoldCore, optional
        Where it ran in this process.
    """
    values = tally.plain()
    lane = core.lane.quality
    values["eeg"] |= {
        "clipped_samples": lane.clipped_hops,
        "filter_restarts": lane.gaps,
        "bad_channels_at_end": list(lane.bad_channels),
        "delay_s": round(core.lane.delay_s, 9),
        "template": {
            "epochs": lane.template_epochs,
            "age_s": None if lane.template_age_s is None else round(lane.template_age_s, 6),
            "synced": lane.synced,
            "triggers_ignored": lane.triggers_ignored,
        },
        "pulse": core.lane.settings.pulse.mode,
        "hold_s": round(core.lane.hold_s, 9),
        "bad_channel_reasons": {name: list(why) for name, why in lane.reasons.items()},
        "bad_channel_shares": core.lane.bad_shares,
        "figures": eeg_figures(lane.figures, tuple(c.name for c in core.lane.channels)),
    }
    if bold is not None:
        values["bold"] |= {
            "refused": bold.refused,
            "not_converged": bold.lane.not_converged,
            "slice_times_unknown": bold.lane.untimed,
            "coverage": {name: round(share, 4) for name, share in bold.lane.coverage.items()},
        }
    timing = {name: value if math.isfinite(value) else None for name, value in core.timing().items()}
    alarms = list(core.timing_alarms())
    return {"schema": 1, "state": core.state.value, "timing": timing, "timing_alarms": alarms, **values}


def eeg_figures(figures: EegFigures | None, channels: tuple[str, ...]) -> dict[str, Any] | None:
    """Give the figures of the EEG's quality as JSON values; None before there were any.

    Parameters
    ----------
    figures : EegFigures or None
        The newest: they hold the session's too.
    channels : tuple of str
        Names of the EEG channels, in order.
    """
    if figures is None:
        return None
    values: dict[str, Any] = {"at_sample": figures.at}
    for name in (f.name for f in fields(figures)):
        match getattr(figures, name):
            case Figure() as figure:
                values[name] = _figure(figure, channels)
            case Course() as course:
                values[name] = {key: _rounded(value) for key, value in asdict(course).items()}
            case _:
                pass
    return values


def _figure(figure: Figure, channels: tuple[str, ...]) -> dict[str, Any]:
    mean = figure.session_mean
    known = np.flatnonzero(np.isfinite(mean))
    worst = int(known[np.argmax(mean[known])]) if len(known) else None
    return {
        "median": _rounded(figure.median),
        "worst": _rounded(figure.worst),
        "session_median": _rounded(float(np.median(mean[known])) if len(known) else math.nan),
        "session_worst": None if worst is None else _rounded(float(mean[worst])),
        "session_worst_channel": None if worst is None else channels[worst],
        "channels": {
            channel: {
                "now": _rounded(float(figure.channels[i])),
                "session_mean": _rounded(float(mean[i])),
                "session_max": _rounded(float(figure.session_max[i])),
            }
            for i, channel in enumerate(channels)
        },
    }


def _rounded(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
