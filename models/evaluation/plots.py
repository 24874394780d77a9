"""Pictures of a judgement as SVG text: reliability, confusion, accuracy per part."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from models.evaluation.judge import Part
from streamer.decode.scores import wilson_interval

_INK, _PALE, _BLUE = "#1a1c20", "#dcdfe4", "#2563b0"
_SIDE = 240


def reliability_svg(bins: Sequence[tuple[float, float, int]], title: str) -> str:
    """Draw how often class 1 is there against how probable it was said to be; the diagonal is honest."""
    left, top, size = 44, 24, _SIDE - 64
    parts = [_frame(left, top, size, "said", "found")]
    parts.append(_line([(left, top + size), (left + size, top)], _PALE, dashed=True))
    points = [(left + p * size, top + (1 - share) * size) for p, share, _ in bins]
    parts.append(_line(points, _BLUE))
    parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{_BLUE}"/>' for x, y in points]
    return _svg(_SIDE, _SIDE, title, parts)


def confusion_svg(counts: NDArray[np.int64], classes: tuple[str, str], title: str) -> str:
    """Draw windows by true class (rows) and decided class (columns), shaded by their share of the row."""
    left, top, cell = 64, 44, 80
    parts: list[str] = []
    for row in range(2):
        whole = max(1, int(counts[row].sum()))
        for column in range(2):
            share = counts[row, column] / whole
            x, y = left + column * cell, top + row * cell
            ink = "#fff" if share > 0.55 else _INK
            parts.append(
                f'<rect x="{x}" y="{y}" width="{cell - 2}" height="{cell - 2}" fill="{_BLUE}" '
                f'fill-opacity="{0.06 + 0.9 * share:.2f}"/>'
            )
            parts.append(_text(x + cell / 2, y + cell / 2, f"{share:.0%}", "middle", ink, 17))
            parts.append(_text(x + cell / 2, y + cell / 2 + 18, str(counts[row, column]), "middle", ink))
        parts.append(_text(left - 6, top + row * cell + cell / 2 + 4, classes[row], "end"))
        parts.append(_text(left + row * cell + cell / 2, top + 2 * cell + 14, classes[row], "middle"))
    parts.append(_text(left, top - 8, "rows: true, columns: decided", "start"))
    return _svg(_SIDE, _SIDE, title, parts)


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
    drawn.append(_line([(x, top), (x, bottom)], "#b04a25", dashed=True))
    drawn.append(_text(x, bottom + 30, "chance", "middle", "#b04a25"))
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


def _line(points: Sequence[tuple[float, float]], colour: str, *, dashed: bool = False) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dash = ' stroke-dasharray="4 3"' if dashed else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"{dash}/>'


def _text(x: float, y: float, text: str, anchor: str, colour: str = _INK, size: int = 12, weight: str = "400") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )


def _svg(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="system-ui,sans-serif"><title>{escape(title)}</title>{"".join(parts)}</svg>'
    )
