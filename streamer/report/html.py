"""Pieces of HTML; what is given is text, and stands as such."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape


def picture(png: bytes, text: str) -> str:
    """Put a PNG into the page; ``text`` says what it shows."""
    return f'<img alt="{escape(text)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def folded(title: str, body: str, n: int) -> str:
    """Fold a part away under its title and number of entries; nothing where there are none."""
    return f"<details><summary>{escape(title)} ({n})</summary>{body}</details>" if n else ""


def pairs(rows: Iterable[tuple[str, str]]) -> str:
    """Make a table of names and what they are."""
    return "<table>" + "".join(f"<tr><td>{escape(a)}</td><td>{escape(b)}</td></tr>" for a, b in rows) + "</table>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Make a table with a line of heads."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{lines}</table>"
