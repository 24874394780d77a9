"""An explanation on paper: JSON for machines, one HTML file that loads nothing, and a picture per validated view."""

from __future__ import annotations

import base64
import json
import math
from html import escape
from pathlib import Path
from typing import Any

from models.explain.disputed import WARNING
from models.explain.maps import View, bold_map, eeg_map
from models.explain.occlusion import LiveCheck
from models.explain.pictures import badge, picture
from models.explain.planted import AUROC_KNOWS_NOTHING, AUROC_MIN
from models.explain.run import DISPUTED, Explanation
from streamer import __version__
from streamer.messages import F64

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem;color:#1a1c20;background:#fff}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin-top:2.2rem}img{max-width:100%}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}th,td{padding:.3rem .7rem;text-align:right}
th,td{border-bottom:1px solid #dcdfe4}th:first-child,td:first-child{text-align:left}
.pass{color:#12692f;font-weight:600}.fail{color:#a3261b;font-weight:600}
"""
_WORDS: dict[View, str] = {
    "pattern": "Where the signal lies that the model reads: the correlation of each input with the evidence that the "
    "model draws from its modality (Haufe 2014), in multiples of what networks with drawn weights have there. Its sign "
    "says which way the input goes when the evidence grows.",
    "dependence": "What the decision changes with. A model also uses inputs without any signal, to subtract noise that "
    "others share: such a map need not lie where the brain's effect lies.",
}
_ATTENTION = (
    "weights, not an explanation: they say how strongly the head mixes the modalities' tokens in, not what a token says"
)


LIVE = (
    "Occlusion, as the loop makes it: the drop of the winner's log-odds when a part is taken away. Its size was held "
    "against the planted truth; a planted part may drop below 0 where the model takes it to subtract what others share."
)


def write(explanation: Explanation, out: Path, *, show_anyway: bool) -> str:
    """Write ``report.html``, ``report.json`` and ``VIEW.png``; give the JSON's text.

    Parameters
    ----------
    explanation : Explanation
    out : Path
        Folder; made where it is absent.
    show_anyway : bool
        Also maps that were not validated.
    """
    out.mkdir(parents=True, exist_ok=True)
    drawn: dict[View, bytes] = {}
    for kind in explanation.maps:
        file = out / f"{kind}.png"
        if show_anyway or kind in explanation.validated:
            drawn[kind] = picture(explanation, kind)
            file.write_bytes(drawn[kind])
        else:
            # one that an earlier run drew would be taken for this one's
            file.unlink(missing_ok=True)
    text = json.dumps(_plain(explanation, drawn), indent=1) + "\n"
    (out / "report.json").write_text(text, encoding="utf-8")
    (out / "report.html").write_text(_html(explanation, drawn), encoding="utf-8")
    return text


def _plain(explanation: Explanation, drawn: dict[View, bytes]) -> dict[str, Any]:
    e = explanation
    return {
        "schema": 1,
        "model": e.card.name,
        "card_sha256": e.card_sha256,
        "method": e.method,
        "warning": WARNING if e.method in DISPUTED else None,
        "target": e.target,
        "windows": e.n_windows,
        "subjects": e.subjects,
        "facts": e.facts,
        "attention": {"note": _ATTENTION, "weights": e.attention} if e.attention else None,
        "model_checked": e.model_checked,
        "live": _live(e.live),
        "views": {
            kind: {
                "validated": kind in e.validated,
                "problems": e.problems(kind),
                "checks": [
                    {
                        "name": check.name,
                        "truth": check.truth,
                        "found": {
                            name: {"auroc": f.auroc, "mass": f.mass, "area": f.area} for name, f in check.found.items()
                        },
                        "random": check.random,
                        "permuted": check.permuted,
                    }
                    for check in e.checks[kind]
                ],
                "cascade": {f"{share:g}": alike for share, alike in e.cascades.get(kind, {}).items()},
                "map": _map(e, kind) if kind in drawn else None,
            }
            for kind in e.maps
        },
    }


def _live(live: LiveCheck) -> dict[str, Any]:
    return {
        "validated": not live.problems,
        "sentence": live.sentence,
        "problems": live.problems,
        "score_share": live.score_share,
        "rounds": [
            {
                "truth": each.truth,
                "auroc": _told(each.auroc),
                "apart": each.apart,
                "drawn": _told(each.drawn),
                "permuted": _told(each.permuted),
                "against": each.against,
                "parts": {
                    label: {"drop": drop, "planted": _told(each.planted[label])} for label, drop in each.drops.items()
                },
            }
            for each in live.rounds
        ],
    }


def _map(explanation: Explanation, kind: View) -> dict[str, Any]:
    relevance, axes = explanation.maps[kind], explanation.axes
    found: dict[str, Any] = {}
    if "eeg" in relevance:
        eeg = eeg_map(relevance["eeg"], axes)
        found["eeg"] = {
            "groups": eeg.groups,
            "channels": axes.channels,
            "bands": eeg.bands,
            "group_band": _rounded(eeg.group_band),
            "channel_band": _rounded(eeg.channel_band),
            "band_time": _rounded(eeg.band_time),
            "lag_s": _rounded(eeg.lag_s),
        }
    if "bold" in relevance:
        bold = bold_map(relevance["bold"], axes)
        found["bold"] = {
            "regions": bold.regions,
            "region_time": _rounded(bold.region_time),
            "lag_s": _rounded(bold.lag_s),
        }
    return found


def _rounded(values: F64) -> Any:
    return values.round(6).tolist()


def _html(explanation: Explanation, drawn: dict[View, bytes]) -> str:
    e = explanation
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Explanation</title>',
        f"<style>{_STYLE}</style><h1>What {escape(e.card.name)} decides “{escape(e.target)}” by</h1>",
        f"<p>{e.method} on {e.n_windows} windows of {escape(', '.join(e.subjects))}. {escape(_facts(e))}</p>",
    ]
    if e.method in DISPUTED:
        parts.append(f'<p class="fail">{e.method}: {escape(WARNING)}.</p>')
    for kind in e.maps:
        parts.append(f"<h2>{kind.capitalize()}</h2><p>{escape(_WORDS[kind])}</p>")
        passed = kind in e.validated
        told = badge(e, kind) if passed else f"not validated: {'; '.join(e.problems(kind))}"
        parts.append(f'<p class="{"pass" if passed else "fail"}">{escape(told)}</p>')
        if kind in drawn:
            image = base64.b64encode(drawn[kind]).decode("ascii")
            parts.append(f'<img alt="{kind} of {escape(e.card.name)}" src="data:image/png;base64,{image}">')
        parts.append(_checks(e, kind))
    parts.append(_live_told(e.live))
    if e.attention:
        weights = ", ".join(f"{name} {weight:.2f}" for name, weight in e.attention.items())
        parts.append(f"<h2>Attention</h2><p>Mean over the windows: {weights}. These are {_ATTENTION}.</p>")
    parts.append(f"<p>Card {e.card_sha256[:12]}. streamer {__version__}.</p></html>\n")
    return "\n".join(parts)


def _facts(explanation: Explanation) -> str:
    facts = explanation.facts
    if "completeness" in facts:
        return f"Contributions add up to {100 * facts['completeness']:.2f} % of the log-odds' change."
    if "fidelity" in facts:
        return f"The linear stand-in explains {100 * facts['fidelity']:.0f} % of the perturbed log-odds."
    return ""


def _checks(explanation: Explanation, kind: View) -> str:
    rows: list[str] = []
    for check in explanation.checks[kind]:
        for name, found in check.found.items():
            values = [found.auroc, found.mass, found.area, check.random.get(name), check.permuted.get(name)]
            cells = "".join(f"<td>{_number(value)}</td>" for value in values)
            rows.append(f"<tr><td>{escape(check.name)}, {name}: {escape(check.truth)}</td>{cells}</tr>")
    heads = (
        "planted-truth check",
        f"AUROC (≥ {AUROC_MIN:g})",
        "mass there",
        "even map",
        f"drawn weights (≤ {AUROC_KNOWS_NOTHING:g})",
        f"permuted labels (≤ {AUROC_KNOWS_NOTHING:g})",
    )
    table = f"<table><tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>{''.join(rows)}</table>"
    alike = explanation.cascades.get(kind, {})
    told = ", ".join(f"{value:.2f} with {100 * share:g} %" for share, value in alike.items())
    return table + (
        f"<p>Likeness to the map after drawing layers anew, from the output on: {told}.</p>" if told else ""
    )


def _live_told(live: LiveCheck) -> str:
    told = live.sentence or f"not validated: {'; '.join(live.problems)}"
    found = [
        f"<h2>The live map</h2><p>{escape(LIVE)}</p>",
        f'<p class="{"fail" if live.problems else "pass"}">{escape(told)}</p>',
    ]
    if live.rounds:
        heads = ("AUROC", "EEG alone", "BOLD alone", "drawn weights", "permuted labels")
        rows = "".join(
            f"<tr><td>{escape(each.truth)}</td>"
            + "".join(
                f"<td>{_number(value)}</td>"
                for value in (each.auroc, each.apart.get("eeg"), each.apart.get("bold"), each.drawn, each.permuted)
            )
            + f"<td>{escape(', '.join(each.against)) or '–'}</td></tr>"
            for each in live.rounds
        )
        names = "".join(f"<th>{head}</th>" for head in heads)
        found.append(
            f"<table><tr><th>planted-truth check</th>{names}<th>planted, with a drop below 0</th></tr>{rows}</table>"
        )
    return "".join(found)


def _told(value: float) -> float | None:
    # JSON has no NaN
    return value if math.isfinite(value) else None


def _number(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.2f}"
