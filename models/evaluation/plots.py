"""Pictures of a judgement as SVG text: reliability, confusion, accuracy per part."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from models.evaluation.judge import Part
from models.evaluation.learning import POINTS, Curve
from streamer.decode.scores import wilson_interval

_INK, _PALE, _BLUE, _RED = "#1a1c20", "#dcdfe4", "#2563b0", "#b04a25"
_COLOURS = (_BLUE, "#12692f", "#8a4fb5", "#a3741d", "#0f7d86", "#a31d5b", "#5b626d", "#4d7c0f")
_SIDE = 240
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 100.0, 1e9)


def reliability_svg(bins: Sequence[tuple[float, float, int]], title: str) -> str:
    """Draw how often class 1 is there against how probable it was said to be; the diagonal is honest."""
    left, top, size = 44, 24, _SIDE - 64
    parts = [_frame(left, top, size, "said", "found")]
    parts.append(_line([(left, top + size), (left + size, top)], _PALE, dashed=True))
    points = [(left + p * size, top + (1 - share) * size) for p, share, _ in bins]
    parts.append(_line(points, _BLUE))
    parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{_BLUE}"/>' for x, y in points]
    return _svg(_SIDE, _SIDE, title, parts)


def confusion_svg(counts: NDArray[np.int64], classes: Sequence[str], title: str) -> str:
    """Draw windows by true class (rows) and decided class (columns), shaded by their share of the row."""
    k = len(classes)
    cell = 80 if k == 2 else max(34, 240 // k)
    left, top = 14 + 7 * max(map(len, classes)), 30
    big, small = (17, 12) if k == 2 else (12, 9)
    parts: list[str] = []
    for row in range(k):
        whole = max(1, int(counts[row].sum()))
        for column in range(k):
            share = counts[row, column] / whole
            x, y = left + column * cell, top + row * cell
            ink = "#fff" if share > 0.55 else _INK
            parts.append(
                f'<rect x="{x}" y="{y}" width="{cell - 2}" height="{cell - 2}" fill="{_BLUE}" '
                f'fill-opacity="{0.06 + 0.9 * share:.2f}"/>'
            )
            parts.append(_text(x + cell / 2 - 1, y + cell / 2, f"{share:.0%}", "middle", ink, big))
            parts.append(_text(x + cell / 2 - 1, y + cell / 2 + big, str(counts[row, column]), "middle", ink, small))
        parts.append(_text(left - 6, top + row * cell + cell / 2 + 4, classes[row], "end"))
        # side by side there is room for two names
        at = left + row * cell + cell / 2, top + k * cell + 14
        parts.append(_text(*at, classes[row], "middle") if k == 2 else _tilted(*at, classes[row]))
    parts.append(_text(4, top - 12, "rows: true, columns: decided", "start"))
    foot = 24 if k == 2 else 14 + 5 * max(map(len, classes))
    return _svg(left + k * cell + 8, top + k * cell + foot, title, parts)


def curves_svg(curves: Sequence[Curve], chance: float | None, title: str) -> str:
    """Draw scores against what there was to learn from, with 95 % intervals where they are known."""
    left, top, width, height = 54, 16, 420, 240
    at = np.unique([point.at for curve in curves for point in curve.points])
    spread = [v for c in curves for p in c.points for v in (p.value.value, p.value.low, p.value.high) if np.isfinite(v)]
    low, high = min([*spread, chance or spread[0]]), max([*spread, chance or spread[0]])
    step = next(step for step in _STEPS if (high - low) / step <= 5)
    low, high = np.floor(low / step) * step, np.ceil(high / step + 1e-9) * step
    # halves of halves stand evenly apart
    scale = np.log2 if curves[0].across != "epochs" else np.asarray
    first, last = float(scale(at[0])), float(scale(at[-1]))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (float(scale(x)) - first) / max(last - first, 1e-9)
        return left + across * width, top + (high - y) / (high - low) * height

    parts: list[str] = []
    for y in np.arange(round((high - low) / step) + 1) * step + low:
        parts.append(_line([place(at[0], y), place(at[-1], y)], _PALE))
        parts.append(_text(left - 6, place(at[0], y)[1] + 4, f"{y:.4g}", "end"))
    told = at if len(at) <= POINTS else at[:: max(1, len(at) // 6)]
    parts += [_text(place(x, low)[0], top + height + 16, f"{x:g}", "middle") for x in told]
    parts.append(_text(left + width / 2, top + height + 34, curves[0].across, "middle"))
    if chance is not None:
        parts.append(_line([place(at[0], chance), place(at[-1], chance)], _RED, dashed=True))
        parts.append(_text(left + width + 6, place(at[0], chance)[1] + 4, "chance", "start", _RED))
    named = 0.0
    ends = sorted(curves, key=lambda c: -c.points[-1].value.value)
    for curve in ends:
        colour = _COLOURS[[c.model for c in curves].index(curve.model) % len(_COLOURS)]
        points = [place(p.at, p.value.value) for p in curve.points]
        parts.append(_line(points, colour))
        for point, (x, y) in zip(curve.points, points, strict=True):
            if np.isfinite(point.value.low):
                ends_y = [place(point.at, v)[1] for v in (point.value.low, point.value.high)]
                parts.append(_line([(x, ends_y[0]), (x, ends_y[1])], colour, faint=True))
                parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')
        # names keep clear of one another
        named = max(points[-1][1] + 4, named + 15)
        parts.append(_text(left + width + 66, named, curve.model, "start", colour))
        parts.append(_line([(points[-1][0] + 4, points[-1][1]), (left + width + 62, named - 4)], colour, faint=True))
    return _svg(left + width + 330, max(top + height + 44, named + 20), title, parts)


def parts_svg(parts_of: Sequence[tuple[str, Sequence[Part]]], chance: float, title: str) -> str:
    """Draw the accuracy over blocks of every model in every part, with Wilson's 95 % interval."""
    names = [part.name for part in parts_of[0][1]]
    left, top, row = 250, 30, 16
    height = top + len(names) * (len(parts_of) * row + 22) + 40
    width, span = 760, 440
    bottom = height - 40
    drawn: list[str] = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        x = left + tick * span
        drawn.append(_line([(x, top), (x, bottom)], _PALE))
        drawn.append(_text(x, bottom + 16, f"{tick:g}", "middle"))
    x = left + chance * span
    drawn.append(_line([(x, top), (x, bottom)], _RED, dashed=True))
    drawn.append(_text(x, bottom + 30, "chance", "middle", _RED))
    y = top
    for k, name in enumerate(names):
        y += 18
        drawn.append(_text(8, y, name, "start", weight="600"))
        for number, (model, judged) in enumerate(parts_of):
            part = judged[k]
            y += row
            drawn.append(_text(left - 12, y, model, "end"))
            if not part.n_blocks:
                drawn.append(_text(left + 4, y, "no block", "start"))
                continue
            low, high = wilson_interval(part.n_correct_blocks, part.n_blocks)
            colour = _BLUE if number == 0 else "#6b7280"
            at = left + part.n_correct_blocks / part.n_blocks * span
            drawn.append(_line([(left + low * span, y - 4), (left + high * span, y - 4)], colour))
            drawn.append(f'<circle cx="{at:.1f}" cy="{y - 4:.1f}" r="4" fill="{colour}"/>')
            told = f"{part.n_correct_blocks} of {part.n_blocks}"
            drawn.append(_text(left + span + 10, y, told, "start"))
        y += 4
    return _svg(width, height, title, drawn)


def _frame(left: float, top: float, size: float, across: str, up: str) -> str:
    parts = [f'<rect x="{left}" y="{top}" width="{size}" height="{size}" fill="none" stroke="{_PALE}"/>']
    for tick in (0, 0.5, 1):
        parts.append(_text(left + tick * size, top + size + 14, f"{tick:g}", "middle"))
        parts.append(_text(left - 5, top + (1 - tick) * size + 4, f"{tick:g}", "end"))
    parts.append(_text(left + size / 2, top + size + 30, across, "middle"))
    parts.append(_text(8, top + size / 2 - 12, up, "start"))
    return "".join(parts)


def _line(points: Sequence[tuple[float, float]], colour: str, *, dashed: bool = False, faint: bool = False) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dash = ' stroke-dasharray="4 3"' if dashed else ""
    opacity = ' stroke-opacity="0.4"' if faint else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"{dash}{opacity}/>'


def _text(x: float, y: float, text: str, anchor: str, colour: str = _INK, size: int = 12, weight: str = "400") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )


def _tilted(x: float, y: float, text: str) -> str:
    return f'<g transform="translate({x:.1f} {y:.1f}) rotate(-40)">{_text(0, 0, text, "end")}</g>'


def _svg(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="system-ui,sans-serif"><title>{escape(title)}</title>{"".join(parts)}</svg>'
    )
