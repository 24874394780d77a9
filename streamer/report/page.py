"""The report of a session as one HTML file that loads nothing and runs nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from streamer import __version__
from streamer.decode.model_card import ModelCard
from streamer.messages import Flag
from streamer.report import plots
from streamer.report.cobidas import Step, eeg_delay_s
from streamer.report.crednf import REFERENCE, Item, counts, score_terms
from streamer.report.gather import Facts
from streamer.report.html import folded, pairs, picture, table
from streamer.report.regulation import Estimate, Regulation

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1f2328;background:#fff;margin:2rem auto;max-width:66rem;padding:0 1.2rem}
h1{font-size:1.6rem;margin-bottom:.2rem}h2{font-size:1.2rem;margin-top:2.4rem;border-bottom:1px solid #d8dce2}
h3{font-size:1rem;margin:1.4rem 0 .3rem}p{max-width:48rem}.pale{color:#5b626d}
table{border-collapse:collapse;margin:.6rem 0;font-size:.9rem}
td,th{text-align:left;vertical-align:top;padding:.22rem .9rem .22rem 0;border-bottom:1px solid #eceef1}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
img{max-width:100%;height:auto}code{font-size:.88em;word-break:break-all}
.note{background:#fdf3e7;border-left:3px solid #b04a25;padding:.5rem .9rem;margin:.6rem 0}.note p{margin:.2rem 0}
.good{color:#12692f}.open{color:#b04a25}nav a{margin-right:1.1rem}
@media print{body{margin:0;max-width:none}h2{break-after:avoid}img,tr{break-inside:avoid}}
"""
_LANES = {"EEG": "EEG", "BOLD": "BOLD", "decision": "From cleaned data to what is shown"}


def page(facts: Facts, found: Regulation, steps: Sequence[Step], items: Sequence[Item]) -> str:
    """Write the whole report.

    Parameters
    ----------
    facts : Facts
    found : Regulation
    steps : sequence of Step
    items : sequence of Item
    """
    sections = {
        "run": ("What was run", _run(facts)),
        "feedback": ("Feedback", _feedback(facts)),
        "regulation": ("Regulation", _regulation(facts, found)),
        "quality": ("Data quality", _quality(facts)),
        "latency": ("Latency and losses", _latency(facts)),
        "processing": ("Processing", _processing(facts, steps)),
        "crednf": ("CRED-nf checklist", _checklist(items)),
    }
    title = escape(f"Session {facts.name}")
    links = "".join(f'<a href="#{key}">{escape(name)}</a> ' for key, (name, _) in sections.items())
    body = "".join(f'<h2 id="{key}">{escape(name)}</h2>{text}' for key, (name, text) in sections.items())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>"
        f'<p class="pale">EEG-fMRI Streamer {escape(__version__)}. For research use only.</p>'
        f"<nav>{links}</nav>{_notes(facts)}{body}</html>\n"
    )


def _notes(facts: Facts) -> str:
    notes = list(facts.problems)
    if facts.blinding.hidden:
        notes.insert(
            0,
            "The condition of this session is sealed: what would tell it is left out. Open the seal "
            "(`streamer sham open`) once the study is over, and write the report again.",
        )
    notes += [str(note) for note in (facts.summary or {}).get("notes", ())]
    return f'<div class="note">{"".join(f"<p>{escape(note)}</p>" for note in notes)}</div>' if notes else ""


def _run(facts: Facts) -> str:
    header, card, summary = facts.header, facts.card, facts.summary or {}
    rows: list[tuple[str, str]] = []
    if header is not None:
        kinds = [channel.kind for channel in header.channels]
        each = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        rows += [
            ("EEG", f"{each or 'none'} channels at {header.eeg_sfreq:g} Hz" if kinds else "none"),
            ("regions", ", ".join(header.regions) or "none"),
            ("settings", f"sha256 {header.config_sha256}"),
            ("calibration", _calibration(header.calibration)),
            ("machine", header.processor),
            ("versions", ", ".join(f"{name} {version}" for name, version in header.versions.items())),
        ]
    if summary:
        rows.insert(0, ("length", f"{summary.get('seconds', 0.0):.1f} s"))
        if summary.get("provider"):
            rows.append(("model ran on", str(summary["provider"])))
    rows.append(("condition", _condition(facts)))
    return pairs(rows) + _model(facts) if card is not None or facts.feedback.decisions else pairs(rows)


def _condition(facts: Facts) -> str:
    if facts.blinding.condition is not None:
        return f"{facts.blinding.condition} (unblinded)"
    if facts.blinding.sealed:
        return "sealed"
    return "not known" if facts.header is None and facts.config is None else "no sham feedback"


def _calibration(plain: Mapping[str, Any]) -> str:
    if not plain:
        return "none: baselines were estimated from the run's own past"
    return f"from {plain.get('source', 'unknown')}, settings {str(plain.get('preprocessing', ''))[:12]}"


def _model(facts: Facts) -> str:
    card = facts.card
    named = facts.feedback.decisions[0].model if facts.feedback.decisions else "none"
    if card is None:
        text = f"{named}. Its card was not found."
        return f"<h3>Model</h3><p>{escape(text)}</p>"
    rows = [
        ("model", f"{named} ({card.kind})"),
        ("what it is", "; ".join((card.description.rstrip("."), *score_terms(card)))),
        ("classes", ", ".join(card.classes)),
        ("verdict", card.verdict or "none"),
        ("trained on", _training(card)),
    ]
    scores = [
        (name, f"{s.window_accuracy:.3f}", f"{s.block_accuracy:.3f}", f"{s.block_ci95[0]:.3f} to {s.block_ci95[1]:.3f}",
         str(s.n_blocks), f"{s.chance:.3f}")
        for name, s in card.scores.items()
    ]  # fmt: skip
    head = ("data", "windows right", "blocks right", "95 % interval", "blocks", "chance")
    return "<h3>Model</h3>" + pairs(rows) + (table(head, scores) if scores else "<p>Its card has no scores.</p>")


def _training(card: ModelCard) -> str:
    if card.kind == "score":
        return "nothing"
    return f"{card.training.data}; {card.training.n_windows} windows"


def _feedback(facts: Facts) -> str:
    told = facts.feedback
    if not told.scores:
        text = f"There are no scores. Triggers: {len(told.triggers)}; held back: {len(told.vetoes)}."
        return f"<p>{escape(text)}</p>{_events(facts)}"
    flags = Flag.NONE if facts.config is None else facts.config.decision.veto_flags()
    drawn = plots.timeline(told.scores, told.triggers, told.vetoes, facts.blocks, flags, facts.commands, _zero(facts))
    neutral = sum(score.neutral for score in told.scores) / len(told.scores)
    text = (
        f"{len(told.scores)} scores, {neutral:.1%} of them neutral; {len(told.triggers)} triggers; "
        f"{len(told.vetoes)} triggers were due and held back. Below: flags that forbid triggers (bars), and the "
        "triggers that they and other reasons held back (crosses; at most one a second is told). Seconds count "
        "from the first decision."
    )
    shown = picture(drawn, "Level, threshold, triggers and vetoes over the run")
    return f"<p>{escape(text)}</p>{shown}{_events(facts)}"


def _events(facts: Facts) -> str:
    zero = _zero(facts)
    triggers = [
        (str(t.seq), f"{t.fire_at - zero:.2f}", t.action, t.source, f"{t.level:.3f}", t.reason)
        for t in facts.feedback.triggers
    ]
    out = folded("Triggers", table(("number", "s", "action", "source", "level", "reason"), triggers), len(triggers))
    commands = [(f"{c.received - zero:.2f}", c.action, c.text) for c in facts.commands]
    out += folded("The operator's commands", table(("s", "command", ""), commands), len(commands))
    reasons: dict[str, int] = {}
    for veto in facts.feedback.vetoes:
        reasons[veto.reason] = reasons.get(veto.reason, 0) + 1
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    held = table(("reason", "times"), [(reason, str(n)) for reason, n in ordered])
    return out + folded("Reasons of those held back", held, len(ordered))


def _regulation(facts: Facts, found: Regulation) -> str:
    if not found.n:
        return "<p>No score counts: nothing can be said of regulation.</p>"
    what = "the participant's own score" if found.own else "what was shown"
    text = (
        f"Of {found.n_all} scores {found.n} count ({what}); {found.above:.1%} of these lie at or above the threshold."
    )
    if facts.blinding.hidden:
        return (
            f"<p>{escape(text)} Blocks, learning and the comparison of task and rest are left out while the condition "
            "is sealed: they would tell it.</p>"
        )
    rows = [
        (b.label or "piece", f"{b.start - _zero(facts):.1f}", f"{b.stop - b.start:.1f}", str(b.n), _share(b.above),
         "" if math.isnan(b.mean) else f"{b.mean:.3f}")
        for b in found.blocks
    ]  # fmt: skip
    told = [f"<p>{escape(text)}</p>"]
    if found.contrast is not None:
        told.append(f"<p>Task less rest, mean level of blocks: {_interval(found.contrast)}.</p>")
    if found.learning is not None:
        told.append(f"<p>Learning over the run, mean level of blocks: {_interval(found.learning)} a minute.</p>")
    if not facts.blocks:
        told.append(
            '<p class="pale">The task\'s blocks are not known (--events tells them): the run is cut into pieces of 30 '
            "s, and task is not compared with rest.</p>"
        )
    drawn = picture(plots.regulation_bars(found, _zero(facts)), "Regulation per block")
    head = ("block", "from s", "length s", "scores", "above", "mean level")
    return "".join(told) + drawn + folded("Blocks", table(head, rows), len(rows))


def _quality(facts: Facts) -> str:
    quality = facts.quality
    told: list[str] = []
    if quality is not None:
        told.append(_quality_tables(quality))
    trace = facts.displacement
    if len(trace) and np.isfinite(trace).all(axis=1).any():
        limit = None if facts.config is None else facts.config.clean.bold.fd_limit_mm
        drawn = plots.displacement(trace, limit, _zero(facts))
        told += ["<h3>Head motion</h3>", picture(drawn, "Framewise displacement per volume")]
    return "".join(told) or "<p>Nothing was written about it.</p>"


def _quality_tables(quality: Mapping[str, Any]) -> str:
    rows: list[tuple[str, str, str]] = []
    for what, total, flags in (
        ("EEG samples", "clean_samples", "flags_samples"),
        ("volumes", "frames", "flags_frames"),
        ("decisions", "windows", "flags_windows"),
    ):
        part = next((p for p in quality.values() if isinstance(p, Mapping) and total in p), {})
        n = part.get(total, 0)
        shares = ", ".join(f"{name} {count / n:.1%}" for name, count in part.get(flags, {}).items()) if n else ""
        rows.append((what, str(n), shares or "none"))
    eeg, bold = quality.get("eeg", {}), quality.get("bold", {})
    template = eeg.get("template", {})
    more = [
        ("bad channels (share of decisions)", _named(eeg.get("bad_channels", {})) or "none"),
        (
            "gradient template at the end",
            f"{template.get('epochs', 0)} volumes, {'in' if template.get('synced') else 'out of'} step",
        ),
        ("pulse artefact", f"mode {eeg.get('pulse', 'unknown')}"),
        ("framewise displacement, mm", _spread(bold.get("framewise_displacement_mm"))),
        ("DVARS, %", _spread(bold.get("dvars_percent"))),
    ]
    figures = eeg.get("figures") or {}
    more += [
        (name, _residue(figures[key]))
        for key, name in (("slice_residual_db", "slice harmonics, dB"), ("pulse_residual_db", "pulse residue, dB"))
        if isinstance(figures.get(key), Mapping) and figures[key].get("session_median") is not None
    ]
    alarms = quality.get("timing_alarms") or []
    more += [("timing", text) for text in alarms]
    return table(("data", "number", "share with each flag"), rows) + pairs(more)


def _latency(facts: Facts) -> str:
    told: list[str] = []
    if facts.latency_ms:
        rows = [(name.replace("_", " "), f"{v['p50']:.3f}", f"{v['p99']:.3f}") for name, v in facts.latency_ms.items()]
        told += [picture(plots.latencies(facts.latency_ms), "Latency per stage"),
                 folded("Figures", table(("stage", "p50 ms", "p99 ms"), rows), len(rows))]  # fmt: skip
    else:
        told.append("<p>No latencies were written.</p>")
    decisions = facts.feedback.decisions
    if decisions:
        eeg, bold = (np.array([getattr(p, name) for p in decisions]) for name in ("age_eeg", "age_bold"))
        told += ["<h3>Age of the data at the decisions</h3>", picture(plots.ages(eeg, bold), "Ages of EEG and BOLD")]
    losses = (facts.summary or {}).get("losses")
    if losses is not None:
        lost = [(name.replace("_", " "), str(n)) for name, n in losses.items() if n]
        told.append("<h3>Losses</h3>" + (table(("what", "number"), lost) if lost else "<p>Nothing was lost.</p>"))
    else:
        told.append("<h3>Losses</h3><p>Not known: the run wrote no summary.</p>")
    return "".join(told)


def _processing(facts: Facts, steps: Sequence[Step]) -> str:
    if facts.config is None:
        return "<p>The settings are not known.</p>"
    told = ["<p>Every filter and correction that was in force, with the delay that it declares.</p>"]
    for lane, name in _LANES.items():
        rows = [
            (s.name, s.what, s.causality, _delay(s),
             "" if s.delay_samples is None else f"{s.delay_samples:.1f} at {s.rate_hz:g} Hz", s.note)
            for s in steps if s.lane == lane
        ]  # fmt: skip
        if rows:
            head = ("stage", "what it does", "causality", "delay ms", "samples", "")
            told.append(f"<h3>{escape(name)}</h3>{table(head, rows)}")
    declared = (facts.quality or {}).get("eeg", {}).get("delay_s")
    if (total := eeg_delay_s(list(steps))) is not None and facts.config.eeg.enabled:
        text = f"EEG filters together: {total * 1e3:.2f} ms"
        text += f"; the session itself declared {declared * 1e3:.2f} ms." if declared is not None else "."
        told.append(f"<p>{escape(text)}</p>")
    return "".join(told)


def _checklist(items: Sequence[Item]) -> str:
    found = counts(list(items))
    summed = ", ".join(f"{n} {name}" for name, n in found.items()).replace("left", "for the experimenter")
    rows: list[str] = []
    domain = ""
    for item in items:
        if item.domain != domain:
            domain = item.domain
            rows.append(f'<tr><th colspan="3">{escape(domain)}</th></tr>')
        text = escape(item.filled)
        if not item.filled:
            text = '<span class="open">for the experimenter</span>'
        elif item.left:
            text += f' <span class="open">For the experimenter: {escape(item.left)}.</span>'
        rows.append(f"<tr><td>{item.number}</td><td>{escape(item.text)}</td><td>{text}</td></tr>")
    return (
        f"<p>Of {len(items)} items: {summed}. The numbers are those of the checklist ({REFERENCE}), the words ours.</p>"
        f"<table>{''.join(rows)}</table>"
    )


def _delay(step: Step) -> str:
    if step.delay_s is None:
        return "none" if step.causality == "no filter" else "not known"
    return f"{step.delay_s * 1e3:.2f}"


def _zero(facts: Facts) -> float:
    span = facts.span
    return 0.0 if span is None else span[0]


def _interval(value: Estimate) -> str:
    return f"{value.value:+.3f} (95 % interval {value.low:+.3f} to {value.high:+.3f})"


def _share(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.0%}"


def _spread(values: Mapping[str, float | None] | None) -> str:
    if not values or values.get("mean") is None:
        return "not known"
    return f"{values['mean']:.3f} mean, {values['max']:.3f} at most"


def _residue(figure: Mapping[str, Any]) -> str:
    worst = f"{figure['session_worst']:.2f} (worst, {figure['session_worst_channel']})"
    return f"{figure['session_median']:.2f} (median channel), {worst}"


def _named(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in values.items())
