"""Pictures of a session, as PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from streamer.messages import F64, Command, Flag, Score, Trigger, Veto
from streamer.report.gather import Block
from streamer.report.regulation import Estimate, Regulation
from streamer.wire import flag_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, PALE, BLUE, RED, GREEN = "#1f2328", "#d8dce2", "#2563b0", "#b04a25", "#12692f"
_TINTS = ("#e8eef8", "#fbeee6", "#e9f4ea", "#f3ebf7", "#fbf6df")
_WIDTH, _DPI = 10.0, 130
_GAP_S = 2.0
"""Where scores are further apart than this, the line is broken."""
_REASONS = 8
_MANY = 10_000
"""Scores from which on the line is drawn thin."""
_NAMED = 20
"""Blocks that are named one by one."""


def timeline(
    scores: Sequence[Score],
    triggers: Sequence[Trigger],
    vetoes: Sequence[Veto],
    blocks: Sequence[Block],
    veto_flags: Flag,
    commands: Sequence[Command],
    zero: float,
) -> bytes:
    """Draw what was shown, the threshold, triggers, and why triggers were held back or the level was neutral.

    Parameters
    ----------
    scores, triggers, vetoes, blocks : sequences
    veto_flags : Flag
        Flags that forbid a trigger.
    commands : sequence of Command
        The operator's.
    zero : float
        Session time that is drawn as 0, s.
    """
    reasons = _reasons(scores, vetoes, veto_flags)
    figure = Figure(figsize=(_WIDTH, 3.2 + 0.24 * len(reasons)), dpi=_DPI, layout="constrained")
    ratios = [3.0, max(0.3, 0.26 * len(reasons))]
    top, bottom = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": ratios})
    labels = list(dict.fromkeys(block.label for block in blocks))
    named: set[str] = set()
    for block in blocks:
        # many blocks leave no room for words: the legend tells their tints
        legend = block.label if len(blocks) > _NAMED and block.label not in named else None
        named.add(block.label)
        tint = _TINTS[labels.index(block.label) % len(_TINTS)]
        top.axvspan(block.start - zero, block.stop - zero, color=tint, lw=0, zorder=0, label=legend)
        if len(blocks) <= _NAMED:
            middle = 0.5 * (block.start + block.stop) - zero
            top.text(middle, 1.16, block.label, ha="center", va="top", fontsize=7.5, color="#5b626d")
    about = np.array([score.about for score in scores]) - zero
    level = np.array([score.level for score in scores])
    neutral = np.array([score.neutral for score in scores], dtype=bool)
    threshold = np.array([score.threshold for score in scores])
    t, y = _broken(about, np.where(neutral, np.nan, level))
    top.plot(t, y, color=BLUE, lw=1.1 if len(t) < _MANY else 0.5, label="level shown")
    t, y = _broken(about, np.where(neutral, level, np.nan))
    top.plot(t, y, color="#9aa1ab", lw=1.1, label="neutral")
    t, y = _broken(about, threshold)
    top.plot(t, y, color=RED, lw=0.9, ls="--", label="threshold")
    for command in commands:
        top.axvline(command.received - zero, color="#8a4fb5", lw=1.0, ls=":")
        top.text(command.received - zero, 0.02, f" {command.action}", rotation=90, fontsize=7, color="#8a4fb5")
    fired = [(trigger.fire_at - zero, trigger.level) for trigger in triggers]
    if fired:
        top.plot(*zip(*fired, strict=True), "^", color=GREEN, ms=6, label="trigger", zorder=5)
    top.set(ylim=(-0.03, 1.18), ylabel="level")
    top.set_yticks([0.0, 0.25, 0.5, 0.75, 1.0])
    top.legend(loc="lower left", fontsize=7.5, ncols=8, frameon=True, framealpha=0.85, edgecolor="none")
    for row, (_, spans, marks) in enumerate(reasons):
        bottom.broken_barh([(a - zero, b - a) for a, b in spans], (row - 0.36, 0.72), color="#d9a08c", lw=0)
        bottom.plot([at - zero for at in marks], [row] * len(marks), "x", color=RED, ms=5)
    bottom.set_yticks(range(len(reasons)), [name for name, _, _ in reasons], fontsize=7.5)
    bottom.set(ylim=(len(reasons) - 0.4, -0.6), xlabel="s")
    if not reasons:
        bottom.text(
            0.5, 0.5, "no trigger was held back", transform=bottom.transAxes, ha="center", va="center", color=INK
        )
        bottom.set(ylim=(-1, 1), yticks=[])
    for axes in (top, bottom):
        _plain(axes)
    return _png(figure)


def regulation_bars(found: Regulation, zero: float) -> bytes:
    """Draw each block's share above the threshold, and its mean level with the trend."""
    blocks = found.blocks
    figure = Figure(figsize=(_WIDTH, 2.6), dpi=_DPI, layout="constrained")
    left, right = figure.subplots(1, 2)
    labels = list(dict.fromkeys(block.label for block in blocks))
    colours = dict(zip(labels, (BLUE, "#a3741d", GREEN, "#8a4fb5", "#5b626d"), strict=False))
    for axes, name in ((left, "above"), (right, "mean")):
        for label in labels:
            chosen = [b for b in blocks if b.label == label]
            at = [0.5 * (b.start + b.stop) - zero for b in chosen]
            values = [getattr(b, name) for b in chosen]
            colour = colours.get(label, INK)
            if name == "above":
                widths = [0.85 * (b.stop - b.start) for b in chosen]
                axes.bar(at, values, widths, color=colour, label=label or "piece of the run")
            else:
                axes.plot(at, values, "o", color=colour, ms=5)
        axes.set(ylim=(0, 1.02), xlabel="s")
        _plain(axes)
    left.set_ylabel("share above the threshold", fontsize=9)
    right.set_ylabel("mean level", fontsize=9)
    left.legend(fontsize=7.5, frameon=False)
    if found.learning is not None and blocks:
        _trend(right, found.learning, found, zero)
    return _png(figure)


def _trend(axes: Axes, slope: Estimate, found: Regulation, zero: float) -> None:
    ends = np.array([found.blocks[0].start, found.blocks[-1].stop]) - zero
    drawn = [b for b in found.blocks if np.isfinite(b.mean)]
    middle = float(np.median([0.5 * (b.start + b.stop) - zero for b in drawn]))
    level = float(np.median([b.mean for b in drawn]))
    axes.plot(ends, level + slope.value * (ends - middle) / 60.0, color=RED, lw=1.0)
    text = f"{slope.value:+.3f} a minute ({slope.low:+.3f} to {slope.high:+.3f})"
    axes.text(0.98, 0.04, text, transform=axes.transAxes, ha="right", fontsize=8, color=RED)


def latencies(latency_ms: Mapping[str, Mapping[str, float]]) -> bytes:
    """Draw p50 to p99 of every stage, ms."""
    names = sorted(latency_ms, key=lambda name: latency_ms[name]["p99"])
    figure = Figure(figsize=(_WIDTH, 0.9 + 0.25 * len(names)), dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    least = 1e-3
    for row, name in enumerate(names):
        half, most = (max(least, latency_ms[name][key]) for key in ("p50", "p99"))
        axes.plot([half, most], [row, row], color=BLUE, lw=5, solid_capstyle="butt", alpha=0.45)
        axes.plot([half], [row], "|", color=BLUE, ms=11, mew=2.5)
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names], fontsize=8)
    axes.set(xscale="log", xlabel="ms: p50 (line) to p99", ylim=(-0.7, len(names) - 0.3))
    _plain(axes, grid="x")
    return _png(figure)


def ages(age_eeg: F64, age_bold: F64) -> bytes:
    """Draw how old EEG and BOLD were at the decisions."""
    parts = [(name, age[np.isfinite(age)]) for name, age in (("EEG", age_eeg), ("BOLD", age_bold))]
    figure = Figure(figsize=(_WIDTH, 2.1), dpi=_DPI, layout="constrained")
    for axes, (name, age) in zip(figure.subplots(1, 2), parts, strict=True):
        unit, factor = ("ms", 1e3) if name == "EEG" else ("s", 1.0)
        if len(age) and np.ptp(age) < 1e-6:
            told = f"{name}: {age[0] * factor:g} {unit} at every decision"
            axes.text(0.5, 0.5, told, transform=axes.transAxes, ha="center", color=INK)
            axes.set(xticks=[], yticks=[])
        elif len(age):
            axes.hist(age * factor, bins=40, color=BLUE, alpha=0.75)
            axes.set(xlabel=f"age of the newest {name}, {unit}", ylabel="decisions")
        else:
            axes.text(0.5, 0.5, f"no {name} in any decision", transform=axes.transAxes, ha="center", color=INK)
            axes.set(xticks=[], yticks=[])
        _plain(axes)
    return _png(figure)


def displacement(trace: F64, limit_mm: float | None, zero: float) -> bytes:
    """Draw framewise displacement, mm; ``trace`` has session time in s and mm, shape (n_volumes, 2)."""
    figure = Figure(figsize=(_WIDTH, 1.7), dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    axes.plot(trace[:, 0] - zero, trace[:, 1], color=BLUE, lw=1, marker=".", ms=3)
    if limit_mm is not None:
        axes.axhline(limit_mm, color=RED, lw=0.9, ls="--")
    axes.set(xlabel="s", ylabel="displacement, mm", ylim=(0, None))
    _plain(axes)
    return _png(figure)


_Reason = tuple[str, list[tuple[float, float]], list[float]]


def _reasons(scores: Sequence[Score], vetoes: Sequence[Veto], veto_flags: Flag) -> list[_Reason]:
    """Give for every reason the stretches in which its flag stood, and the triggers that it held back."""
    spans: dict[str, list[tuple[float, float]]] = {}
    since: dict[str, float] = {}
    last = 0.0
    for score in scores:
        now = set(flag_names(score.flags & veto_flags)) if score.about - last < _GAP_S or not since else set[str]()
        for name in set(since) - now:
            spans.setdefault(name, []).append((since.pop(name), float(score.about)))
        for name in now - set(since):
            since[name] = float(score.about)
        last = float(score.about)
    for name, start in since.items():
        spans.setdefault(name, []).append((start, last))
    marks: dict[str, list[float]] = {}
    for veto in vetoes:
        for name in veto.reason.removeprefix("flags: ").split(", "):
            marks.setdefault(name, []).append(float(veto.about))
    names = sorted({*spans, *marks}, key=lambda name: (-len(marks.get(name, ())), name))
    return [(name, spans.get(name, []), marks.get(name, [])) for name in names[:_REASONS]]


def _broken(times: F64, values: F64) -> tuple[F64, F64]:
    gaps = np.flatnonzero(np.diff(times) > _GAP_S) + 1
    return np.insert(times, gaps, np.nan), np.insert(values, gaps, np.nan)


def _plain(axes: Axes, grid: str = "both") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#9aa1ab")
    axes.tick_params(colors=INK, labelsize=8)
    axes.grid(axis="x" if grid == "x" else "both", color=PALE, lw=0.5)
    axes.set_axisbelow(True)
    axes.xaxis.label.set(size=9, color=INK)
    axes.yaxis.label.set(size=9, color=INK)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    # the same session gives the same bytes
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
