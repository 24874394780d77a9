"""A judgement on paper: JSON for machines, and one HTML file that loads nothing and runs nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass
from html import escape
from typing import Any

import numpy as np

from models.evaluation.contribution import Contribution
from models.evaluation.judge import GATES, Judged, Judgement
from models.evaluation.metrics import METRICS
from models.evaluation.plots import confusion_svg, curves_svg, parts_svg, reliability_svg
from models.evaluation.report_words import (
    BY,
    CONTRIBUTION,
    CURVES,
    DOUBT,
    EPOCHS,
    NESTED,
    ONE_MODALITY,
    RELIABILITY,
    STYLE,
    TITLES,
    WITHIN_RUN,
    of_scores,
)
from models.evaluation.resample import Estimate
from streamer import __version__

SCHEMA = 2
"""Of the JSON; schema 1 had two classes."""


@dataclass(frozen=True)
class Origin:
    """Where the figures come from."""

    split: str
    """What was held out, in words."""
    data: tuple[str, ...]
    """Names of the sets of windows."""
    card_sha256: str = ""
    """Of the card's file; empty without one."""
    seed: int = 0
    within_run: bool = False
    """Whether the features were standardised within each run."""


def as_json(judgement: Judgement, origin: Origin) -> str:
    """Write the report for machines; what has no value is null."""
    whole = {"schema": SCHEMA, "streamer": __version__, "verdict": judgement.verdict, "averaging": judgement.averaging}
    return json.dumps(whole | {"origin": plain(origin)} | plain(judgement), indent=1, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """Turn dataclasses and arrays into what JSON holds."""
    if isinstance(value, Contribution):
        return {"kind": value.kind, "harms": value.harms, "sentence": value.sentence} | _fields(value)
    if isinstance(value, Judged):
        return {"passed": value.passed} | _fields(value)
    if is_dataclass(value):
        return _fields(value)
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return round(value, 5) if math.isfinite(value) else None
    return value


def as_html(judgement: Judgement, origin: Origin) -> str:
    """Write the report for people."""
    first = judgement.models[0]
    classes, people = escape(" or ".join(judgement.classes)), escape(", ".join(judgement.people))
    given = f"{judgement.n_windows} windows in {judgement.n_blocks} blocks of {len(judgement.people)} subject(s)"
    card = f" Card <code>{origin.card_sha256}</code>." if origin.card_sha256 else ""
    of_gates = f"of {judgement.classes[1]}" if judgement.averaging == "target" else "means over the classes"
    # words stand beside what they explain
    sections = [
        ("Scores", of_scores(judgement), _scores(judgement)),
        ("Gates", f"The interval's lower end against the gate; {escape(of_gates)}.", _gates(judgement)),
    ]
    if judgement.differences:
        sections.append(("Beside the rivals", "On the same windows and the same draws.", _differences(judgement)))
    if judgement.modalities == "both":
        sections.append(("What each modality contributes", CONTRIBUTION, _contributions(judgement)))
    else:
        sections.append(("What each modality contributes", ONE_MODALITY[judgement.modalities], ""))
    if any(m.doubt for m in judgement.models):
        sections.append(("Candidates and abstention", DOUBT, _doubt(judgement)))
    held_out = f'<div class="scroll">{_parts(judgement)}</div>'
    sections.append(("Parts held out", "Share of blocks decided rightly, with Wilson's 95 % interval.", held_out))
    sections += _curves(judgement)
    told = RELIABILITY[judgement.averaging]
    sections += [
        (
            "Reliability",
            told,
            _figures((m.name, reliability_svg(m.reliability, f"Reliability of {m.name}")) for m in judgement.models),
        ),
        (
            "Confusion",
            "Windows by true and decided state.",
            _figures(
                (m.name, confusion_svg(m.confusion, judgement.classes, f"Confusion of {m.name}"))
                for m in judgement.models
            ),
        ),
        (
            "Origin",
            f"Data: {escape(', '.join(origin.data))}. {NESTED} Seed {origin.seed}. streamer {__version__}.{card}",
            "",
        ),
    ]
    others = len(judgement.models) - 1
    title = escape(first.name) + (f" and {others} other{'s' if others > 1 else ''}" if others else "")
    offline = f'<p class="warning">{WITHIN_RUN}</p>' if origin.within_run else ""
    head = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Evaluation</title>'
        f"<style>{STYLE}</style><h1>{title}</h1>"
        f"<p>{classes}, {given}: {people}. {escape(origin.split)}.</p>"
        f'<p class="verdict">{escape(judgement.verdict)}.</p>{offline}'
    )
    body = "\n".join(f"<h2>{title}</h2><p>{words}</p>{shown}" for title, words, shown in sections)
    return f"{head}\n{body}</html>\n"


def _scores(judgement: Judgement) -> str:
    heads = ["model", "by", *(TITLES[name] for name in METRICS), "blocks", "p"]
    rows = [
        [
            f"{escape(m.name)}<small>{escape(m.trained_on)}</small>",
            BY[m.modalities],
            *(_cell(m.windows[name]) for name in METRICS),
            _cell(m.block_accuracy),
            f"{m.p_value:.3f}",
        ]
        for m in judgement.models
    ]
    return _table(heads, rows)


def _gates(judgement: Judgement) -> str:
    heads = ["model", *(f"{TITLES[name]} &gt; {bar:.2f}" for name, bar in GATES.items()), "all"]
    rows = [
        [
            escape(m.name),
            *(f"{_passed(m.gates[name])}<small>lower end {m.windows[name].low:.3f}</small>" for name in GATES),
            _passed(m.passed),
        ]
        for m in judgement.models
    ]
    return _table(heads, rows)


def _differences(judgement: Judgement) -> str:
    rows = [[escape(d.second), _cell(d.accuracy), _cell(d.balanced_accuracy)] for d in judgement.differences]
    return _table([f"{escape(judgement.models[0].name)} less", "accuracy", "balanced"], rows)


def _contributions(judgement: Judgement) -> str:
    heads = ["model", "both", "EEG alone", "BOLD alone", "Shapley EEG", "Shapley BOLD", "drop EEG", "drop BOLD", ""]
    rows: list[list[str]] = []
    for m in judgement.models:
        c = m.contribution
        if c is not None:
            parts = [
                c.both,
                *(values[k] for values in (c.alone, c.shapley, c.permutation_drop) for k in ("eeg", "bold")),
            ]
            rows.append([escape(m.name), *map(_cell, parts), f'<span class="text">{escape(c.sentence)}</span>'])
    return _table(heads, rows) if rows else "<p>No model here knows both.</p>"


def _doubt(judgement: Judgement) -> str:
    heads = [
        "model",
        "by",
        "windows",
        "coverage, blocks",
        "coverage, windows",
        "candidates",
        "abstained",
        "accuracy",
        "accuracy when decided",
    ]
    rows: list[list[str]] = []
    for m in judgement.models:
        for d in m.doubt:
            cells = (
                d.coverage_blocks,
                d.coverage_windows,
                d.n_candidates,
                d.abstained,
                d.accuracy,
                d.accuracy_answered,
            )
            rows.append([escape(m.name), BY[d.pattern], str(d.n_windows), *map(_cell, cells)])
    return _table(heads, rows)


def _parts(judgement: Judgement) -> str:
    chosen = [(m.name, m.parts) for m in judgement.models]
    return parts_svg(chosen, judgement.chance, "Share of blocks decided rightly, per part that was held out")


def _curves(judgement: Judgement) -> list[tuple[str, str, str]]:
    learning = [curve for curve in judgement.curves if curve.across != "epochs"]
    epochs = [curve for curve in judgement.curves if curve.across == "epochs"]
    found: list[tuple[str, str, str]] = []
    if learning:
        drawn = curves_svg(learning, 1 / len(judgement.classes), "Learning curves")
        found.append(("Learning curves", CURVES, f'<div class="scroll">{drawn}</div>'))
    if epochs:
        measures = dict.fromkeys(curve.measure for curve in epochs)
        drawn = _figures((m, curves_svg([c for c in epochs if c.measure == m], None, m)) for m in measures)
        found.append(("Training of the network", EPOCHS, drawn))
    return found


def _figures(pairs: Iterable[tuple[str, str]]) -> str:
    figures = "".join(f"<figure><figcaption>{escape(name)}</figcaption>{svg}</figure>" for name, svg in pairs)
    return f'<div class="plots">{figures}</div>'


def _table(heads: list[str], rows: list[list[str]]) -> str:
    top = "".join(f"<th>{head}</th>" for head in heads)
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{top}</tr>{lines}</table></div>'


def _cell(estimate: Estimate | None) -> str:
    if estimate is None or not math.isfinite(estimate.value):
        return "–"
    return f"{estimate.value:.3f}<small>{estimate.low:.3f} to {estimate.high:.3f}</small>"


def _passed(passed: bool) -> str:
    return f'<span class="{"pass" if passed else "fail"}">{"PASS" if passed else "FAIL"}</span>'


def _fields(value: Any) -> dict[str, Any]:
    return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
