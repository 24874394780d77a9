"""The CRED-nf checklist, filled in as far as a session's folder can tell; the rest is for the experimenter.

Ros, T. et al. (2020). Consensus on the reporting and experimental design of clinical and cognitive-behavioural
neurofeedback studies (CRED-nf checklist). Brain 143(6), 1674-1685. doi:10.1093/brain/awaa009

The items' wording here is ours; the numbers are the checklist's.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from streamer.decode.model_card import ModelCard
from streamer.report.cobidas import Step
from streamer.report.gather import Facts
from streamer.report.regulation import Regulation

REFERENCE = "doi:10.1093/brain/awaa009"
_DOMAINS = {
    "1": "Before the experiment",
    "2": "Control groups",
    "3": "Control measures",
    "4": "Feedback",
    "5": "Outcome: brain",
    "6": "Outcome: behaviour",
    "7": "Data",
}
_ITEMS = {
    "1a": "Protocol and planned analyses are registered beforehand",
    "1b": "The size of the sample is justified",
    "2a": "There is a control group or a control condition",
    "2b": "Participant and experimenter are blind, where the design allows it",
    "2c": "Those who rate outcomes, and where possible those who analyse, are blind",
    "2d": "Whether participants and experimenters stayed blind is examined",
    "2e": "Clinical efficacy: a group with standard care is the benchmark",
    "3a": "Psychosocial factors (motivation, expectation, effort …) are collected",
    "3b": "Whether participants were given a strategy is reported",
    "3c": "The strategies that participants used are reported",
    "3d": "Online processing and artefact correction are reported",
    "3e": "Artefacts are compared between conditions and groups",
    "4a": "How the fed back feature was made is reported",
    "4b": "The schedule of reinforcement is reported and justified",
    "4c": "Modality and content of the feedback are reported",
    "4d": "All variables that were fed back are kept as they were displayed",
    "4e": "Hardware and software are reported",
    "5a": "Success of regulation, by the fed back signal, is reported",
    "5b": "Blocks of regulation are plotted within and between sessions, and rest before against rest after",
    "5c": "Condition and control are compared with each other by a test",
    "6a": "Measures of clinical or behavioural meaning were set beforehand; whether they were reached is told",
    "6b": "Success of regulation is correlated with behaviour",
    "7a": "Materials, code, raw data and final values are in an open repository, where possible",
}


@dataclass(frozen=True, slots=True)
class Item:
    """An item of the checklist."""

    number: str
    domain: str
    text: str
    """What the item asks for."""
    filled: str
    """What the session tells of it; empty where only the experimenter can tell."""
    left: str = ""
    """What remains for the experimenter."""


def checklist(facts: Facts, steps: list[Step], found: Regulation) -> list[Item]:
    """Fill in the checklist.

    Parameters
    ----------
    facts : Facts
    steps : list of Step
        Every filter and correction that was in force.
    found : Regulation
        How well the participant regulated.
    """
    filled = {
        "2a": _condition(facts),
        "2b": _blind(facts),
        "3d": _processing(steps),
        "3e": _artefacts(facts),
        "4a": _feature(facts),
        "4b": _reinforcement(facts),
        "4c": _shown(facts),
        "4d": _kept(facts),
        "4e": _software(facts),
        "5a": _success(facts, found),
        "5b": "The blocks of this session are plotted in this report." if found.blocks else "",
        "7a": _data(facts),
    }
    left = {
        "2a": "the groups of the study",
        "2b": "who else knew",
        "3e": "the comparison between conditions and groups",
        "4b": "why this schedule",
        "4c": "the display itself, and what the participant was told of it",
        "4e": "amplifier, cap, scanner, sequence, display",
        "5b": "other sessions, rest before and after",
        "7a": "where the data is",
    }
    return [
        Item(
            number,
            _DOMAINS[number[0]],
            text,
            filled.get(number, ""),
            left.get(number, "") if filled.get(number) else "",
        )
        for number, text in _ITEMS.items()
    ]


def _condition(facts: Facts) -> str:
    if facts.blinding.condition is not None:
        return f"This session's condition, unblinded: {facts.blinding.condition}."
    return "This session's condition stands in a sealed list (not opened)." if facts.blinding.sealed else ""


def _blind(facts: Facts) -> str:
    if not facts.blinding.sealed:
        return ""
    opened = "was opened since" if facts.blinding.condition is not None else "has not been opened"
    return (
        "The condition came from a sealed, seeded list; the program showed it to neither participant nor operator, and "
        f"stored the participant's own score all the same. The seal {opened}."
    )


def _processing(steps: list[Step]) -> str:
    return "; ".join(f"{step.name}: {step.what}" for step in steps if step.lane != "decision")


def _artefacts(facts: Facts) -> str:
    windows = (facts.quality or {}).get("windows", {})
    n = windows.get("windows", 0)
    if not n:
        return ""
    flags = ", ".join(f"{name} {count / n:.1%}" for name, count in windows.get("flags_windows", {}).items())
    return f"Share of {n} decisions with each flag: {flags or 'none was flagged'}."


def _feature(facts: Facts) -> str:
    if facts.config is None:
        return ""
    source, decision = facts.config.decision.source, facts.config.decision
    if source.feature:
        what = f"Feature {source.feature}, value {source.label}, from {source.low:g} (0) to {source.high:g} (1)"
    else:
        name = "the model" if facts.card is None else f"{facts.card.name} ({facts.card.kind}: {facts.card.description})"
        what = f"Probability of {decision.target!r} by {name}{'; '.join(('', *score_terms(facts.card)))}"
    return f"{what.rstrip('.')}; smoothed with a time constant of {decision.smoothing_s:g} s, 0 to 1."


def score_terms(card: ModelCard | None) -> list[str]:
    """Say what a score that was not trained is made of; nothing for other models."""
    if card is None or card.score is None:
        return []
    s = card.score
    terms = [f"{t.weight:+g} per SD of log {t.band} power at {', '.join(t.channels)}" for t in s.eeg]
    terms += [f"{t.weight:+g} per SD of signal change in {', '.join(t.regions)}" for t in s.bold]
    joined = f"log-odds {s.intercept:+g}" if s.intercept else "log-odds"
    span = f"mean of the newest {s.eeg_s:g} s of EEG and {s.bold_s:g} s of BOLD, at most {s.limit_sd:g} SD each"
    return [f"{joined}: {', '.join(terms)}", span]


def _reinforcement(facts: Facts) -> str:
    if facts.config is None:
        return ""
    d = facts.config.decision
    a = d.adapt
    rule = f"fixed thresholds, {d.threshold_on:g} to begin and {d.threshold_off:g} to end"
    if facts.header is None and (used := {score.threshold for score in facts.feedback.scores}):
        # a calibration may have had another say than the settings that were named
        rule = f"threshold {min(used):g}" + (f" to {max(used):g}" if len(used) > 1 else "")
    if a.mode == "percentile":
        rule = (
            f"thresholds at percentile {a.upper:g} and {min(a.off_percentile, a.upper):g} of the last {a.memory_s:g} s "
            f"of clean scores, moved by at most {a.change_per_minute:g} a minute, from {a.learn_s:g} s on"
        )
    if d.mode == "intermittent":
        return f"Intermittent: the mean score of {d.block_s:g} s is shown for {d.show_s:g} s after it; {rule}."
    if d.mode == "continuous":
        return f"Continuous: the score alone, {facts.config.tick_hz:g} times a second; {rule}."
    n = len(facts.feedback.triggers)
    return (
        f"Triggers ({d.action!r}) after {d.dwell_s:g} s above the threshold, beside the continuous score; {rule}; "
        f"{d.refractory_s:g} s apart at least, at most {d.max_per_minute} a minute and {d.max_per_run} a run; none "
        f"while the data was flagged {', '.join(d.veto)}. In this session: {n}."
    )


def _shown(facts: Facts) -> str:
    if not facts.feedback.scores or facts.config is None:
        return ""
    axes = sorted({name for score in facts.feedback.scores for name in score.axes})
    more = f", with axes {', '.join(axes)}" if axes else ""
    return (
        f"A level from 0 to 1, {facts.config.tick_hz:g} times a second{more}; {facts.config.decision.neutral:g} "
        "(neutral) where nothing counted."
    )


def _kept(facts: Facts) -> str:
    n = len(facts.feedback.scores)
    return (
        f"scores.jsonl: all {n} levels as displayed, with threshold and expiry; `streamer to-bids` writes them as "
        "stim.tsv.gz."
        if n
        else ""
    )


def _software(facts: Facts) -> str:
    if facts.header is None:
        return ""
    versions = ", ".join(f"{name} {version}" for name, version in facts.header.versions.items())
    return f"EEG-fMRI Streamer with {versions}; {facts.header.processor}."


def _success(facts: Facts, found: Regulation) -> str:
    if facts.blinding.hidden:
        return ""
    if not found.n or math.isnan(found.above):
        return ""
    text = f"{found.above:.1%} of {found.n} scores that count lay at or above the threshold"
    if found.contrast is not None:
        c = found.contrast
        text += f"; task less rest {c.value:+.3f} (95 % interval {c.low:+.3f} to {c.high:+.3f})"
    return f"{text}."


def _data(facts: Facts) -> str:
    if facts.header is None:
        return ""
    return (
        f"The session's folder holds raw data, settings (sha256 {facts.header.config_sha256[:12]}) and results; "
        "`streamer to-bids` writes them as BIDS, without identity."
    )


def counts(items: list[Item]) -> dict[str, int]:
    """Count what is filled in, in part, and left."""
    found = Counter("left" if not i.filled else "in part" if i.left else "filled in" for i in items)
    return {name: found[name] for name in ("filled in", "in part", "left")}
