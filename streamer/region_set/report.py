"""The report of a region set: one HTML file that loads nothing and runs nothing."""

from __future__ import annotations

import base64
import math
from html import escape

from streamer.formats.region_files import RegionFacts, RegionRow
from streamer.region_set.picture import colours

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem;color:#1a1c20;background:#fff}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin-top:2rem}
img{width:100%;background:#101114;border-radius:6px}
table{border-collapse:collapse;width:100%}th,td{padding:.25rem .6rem;text-align:right;border-bottom:1px solid #dcdfe4}
th:first-child,td:first-child,td.text,th.text{text-align:left}th{font-weight:600;border-bottom:2px solid #8a9099}
.chip{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.5em}
.open{background:#fff3d6;border-left:5px solid #d08700;padding:.6rem 1rem}
.note{color:#8a4b00}pre{background:#f3f4f6;padding:.7rem;overflow-x:auto}
"""


def write_html(facts: RegionFacts, rows: tuple[RegionRow, ...], png: bytes, folder: str) -> str:
    """Write the report.

    Parameters
    ----------
    facts : RegionFacts
    rows : tuple of RegionRow
    png : bytes
        The picture.
    folder : str
        What the command to approve names.

    Returns
    -------
    html : str
    """
    picture = base64.b64encode(png).decode("ascii")
    status = (
        "Not approved when this was written. When the regions lie where they should: "
        f"<code>streamer regions approve {escape(folder)} --by NAME</code>"
    )
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Regions for {escape(facts.reference)}</title>',
        f"<style>{_STYLE}</style>",
        f"<h1>{len(rows)} region{'s' * (len(rows) != 1)} for {escape(facts.reference)}</h1>",
        f'<p class="open">{status}</p>',
        f'<img alt="The regions over the EPI" src="data:image/png;base64,{picture}">',
        "<h2>Look at this first</h2>" if facts.notes else "",
        _list(facts.notes),
        "<h2>Regions</h2>",
        _table(rows),
        "<h2>Space</h2>",
        _grid(facts),
        *(_transform(each.name, each.how, each.matrix, each.facts) for each in facts.transforms),
        "<h2>How they were made</h2><table>",
        *(
            f'<tr><td>{escape(key.replace("_", " "))}</td><td class="text">{escape(_words(value))}</td></tr>'
            for key, value in facts.how.items()
            if value not in (None, [], "")
        ),
        f'<tr><td>streamer</td><td class="text">{escape(facts.version)}</td></tr>',
        f'<tr><td>labels, sha256</td><td class="text"><code>{facts.image_sha256}</code></td></tr></table></html>',
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _table(rows: tuple[RegionRow, ...]) -> str:
    heads = ("x mm", "y mm", "z mm", "voxels", "in view", "tSNR", "intensity", "off by mm")
    lines = ['<table><tr><th>region</th><th class="text">from</th>', *(f"<th>{head}</th>" for head in heads), "</tr>"]
    for row, colour in zip(rows, colours(len(rows)), strict=True):
        cells = [
            *(f"{value:.1f}" for value in row.centre),
            str(row.voxels),
            f"{row.coverage:.0%}",
            "unknown" if math.isnan(row.tsnr) else f"{row.tsnr:.0f}",
            f"{row.intensity:.0%}",
            f"{row.offset_mm:.1f}",
        ]
        lines.append(
            f'<tr><td><span class="chip" style="background:{colour}"></span>{escape(row.name)}</td>'
            f'<td class="text">{escape(row.source)}</td>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
        )
    lines.append("</table><p>Centres in RAS mm of the EPI: x grows to the participant's right, y to the front, z up. "
                 "Intensity: of the brain's median; little is signal dropout.</p>")  # fmt: skip
    return "".join(lines)


def _grid(facts: RegionFacts) -> str:
    shape = " × ".join(str(n) for n in facts.grid.shape)
    return f"<p>Grid of the EPI: {shape} voxels.</p>{_matrix(facts.grid.affine)}"


def _transform(name: str, how: str, matrix: tuple[tuple[float, ...], ...], facts: dict[str, float]) -> str:
    told = ", ".join(f"{key.replace('_', ' ')} {value:.3g}" for key, value in facts.items())
    return f"<p><b>{escape(name)}</b>, {how}: {escape(told)}. RAS mm to RAS mm:</p>{_matrix(matrix)}"


def _matrix(rows: tuple[tuple[float, ...], ...]) -> str:
    return "<pre>" + "\n".join("".join(f"{value:11.4f}" for value in row) for row in rows) + "</pre>"


def _list(notes: tuple[str, ...]) -> str:
    return "<ul>" + "".join(f'<li class="note">{escape(note)}</li>' for note in notes) + "</ul>" if notes else ""


def _words(value: object) -> str:
    return ", ".join(str(each) for each in value) if isinstance(value, (list, tuple)) else str(value)
