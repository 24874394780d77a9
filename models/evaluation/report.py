"""A judgement on paper: JSON for machines, and one HTML file that loads nothing and runs nothing."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields, is_dataclass
from html import escape
from typing import Any

import numpy as np

from models.evaluation.contribution import Contribution
from models.evaluation.judge import GATES, Judged, Judgement
from models.evaluation.metrics import METRICS
from models.evaluation.plots import confusion_svg, parts_svg, reliability_svg
from models.evaluation.resample import Estimate
from streamer import __version__

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:78rem;padding:0 1rem;color:#1a1c20;background:#fff}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin-top:2.2rem}h3{font-size:1rem;margin-bottom:.2rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .4rem;text-align:right;border-bottom:1px solid #dcdfe4;vertical-align:top}
th:first-child,td:first-child,td.text{text-align:left}th{font-weight:600;border-bottom:2px solid #8a9099}
small{color:#5b626d;font-size:11px;white-space:nowrap;display:block}.pass{color:#12692f;font-weight:600}
.fail{color:#a31d1d;font-weight:600}
.verdict{background:#eef3fa;border-left:5px solid #2563b0;padding:.6rem 1rem}
.plots{display:flex;flex-wrap:wrap;gap:1.5rem}.plots figure{margin:0}figcaption{font-weight:600;max-width:240px}
.scroll{overflow-x:auto}
"""
_CONTRIBUTION_WORDS = (
    "Balanced accuracy, over windows that hold both. Shapley: mean gain from adding the modality. Drop: loss when its "
    "data comes from other windows of the subject."
)
_RELIABILITY_WORDS = (
    "How often the state was there against how probable the model said it was, in bins of equal mass; an honest model "
    "keeps to the diagonal."
)
_TITLES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "mcc": "MCC",
    "pr_auc": "PR-AUC",
    "brier": "Brier",
    "ece": "ECE",
}


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


def as_json(judgement: Judgement, origin: Origin) -> str:
    """Write the report for machines; what has no value is null."""
    whole = {"schema": 1, "streamer": __version__, "verdict": judgement.verdict}
    return json.dumps(whole | {"origin": plain(origin)} | plain(judgement), indent=1, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """Turn dataclasses and arrays into what JSON holds."""
    if isinstance(value, Contribution):
        return {"kind": value.kind, "sentence": value.sentence} | _fields(value)
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
    # words stand beside what they explain
    sections = (
        ("Scores", _words_of_scores(judgement), _scores(judgement)),
        ("Gates", f"The interval's lower end against the gate; for {escape(judgement.classes[1])}.", _gates(judgement)),
        ("Beside the rivals", "On the same windows and the same draws.", _differences(judgement)),
        ("What each modality contributes", _CONTRIBUTION_WORDS, _contributions(judgement)),
        (
            "Parts held out",
            "Share of blocks decided rightly, with Wilson's 95 % interval.",
            f'<div class="scroll">{_parts(judgement)}</div>',
        ),
        (
            "Reliability",
            _RELIABILITY_WORDS,
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
        ("Origin", f"Data: {escape(', '.join(origin.data))}. Seed {origin.seed}. streamer {__version__}.{card}", ""),
    )
    head = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Evaluation</title>'
        f"<style>{_STYLE}</style><h1>{escape(first.name)} and {len(judgement.models) - 1} other(s)</h1>"
        f"<p>{classes}, {given}: {people}. {escape(origin.split)}.</p>"
        f'<p class="verdict">{escape(judgement.verdict)}.</p>'
    )
    body = "\n".join(f"<h2>{title}</h2><p>{words}</p>{shown}" for title, words, shown in sections)
    return f"{head}\n{body}</html>\n"


def _words_of_scores(judgement: Judgement) -> str:
    reach = "" if judgement.unit == "subject" else " They speak for these subjects, not for new ones."
    return (
        f"Below each score its 95 % interval, from drawing {judgement.n_units} {judgement.unit}s anew.{reach} Chance "
        f"is {judgement.chance:.3f} per window; guessing reaches {judgement.block_threshold:.3f} of the blocks with a "
        "probability below 0.05. p: labels of blocks permuted within runs. Brier and ECE are better when smaller; ECE "
        "grows when drawn anew, so that its interval may lie above it."
    )


def _scores(judgement: Judgement) -> str:
    heads = ["model", "by", *(_TITLES[name] for name in METRICS), "blocks", "p"]
    rows = [
        [
            f"{escape(m.name)}<small>{escape(m.trained_on)}</small>",
            {"both": "EEG + BOLD", "eeg": "EEG", "bold": "BOLD"}[m.modalities],
            *(_cell(m.windows[name]) for name in METRICS),
            _cell(m.block_accuracy),
            f"{m.p_value:.3f}",
        ]
        for m in judgement.models
    ]
    return _table(heads, rows)


def _gates(judgement: Judgement) -> str:
    heads = ["model", *(f"{_TITLES[name]} &gt; {bar:.2f}" for name, bar in GATES.items()), "all"]
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
            rows.append([escape(m.name), *map(_cell, parts), escape(c.sentence)])
    return _table(heads, rows) if rows else "<p>No model here knows both.</p>"


def _parts(judgement: Judgement) -> str:
    chosen = [(m.name, m.parts) for m in judgement.models]
    share = max(judgement.chance, 1 - judgement.chance)
    return parts_svg(chosen, share, "Share of blocks decided rightly, per part that was held out")


def _figures(pairs: Any) -> str:
    figures = "".join(f"<figure><figcaption>{escape(name)}</figcaption>{svg}</figure>" for name, svg in pairs)
    return f'<div class="plots">{figures}</div>'


def _table(heads: list[str], rows: list[list[str]]) -> str:
    top = "".join(f"<th>{head}</th>" for head in heads)
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{top}</tr>{lines}</table></div>'


def _cell(estimate: Estimate) -> str:
    if not math.isfinite(estimate.value):
        return "–"
    return f"{estimate.value:.3f}<small>{estimate.low:.3f} to {estimate.high:.3f}</small>"


def _passed(passed: bool) -> str:
    return f'<span class="{"pass" if passed else "fail"}">{"PASS" if passed else "FAIL"}</span>'


def _fields(value: Any) -> dict[str, Any]:
    return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
