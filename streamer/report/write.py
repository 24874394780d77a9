"""From a session's folder to its report."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from streamer.errors import UsageError
from streamer.report.cobidas import Step, plain, processing_steps
from streamer.report.crednf import Item, checklist, counts
from streamer.report.gather import Facts, gather
from streamer.report.page import page
from streamer.report.regulation import Regulation, regulation

NAME = "report.html"


def write_report(
    folder: Path,
    out: Path | None = None,
    config: Path | None = None,
    events: Path | None = None,
    *,
    overwrite: bool = False,
) -> tuple[Path, dict[str, Any]]:
    """Write the report of a session, or of a replay's folder, as one HTML file.

    Parameters
    ----------
    folder : Path
    out : Path, optional
        File to write; ``report.html`` in the folder where none is named.
    config : Path, optional
        SESSION.toml for a folder that holds no configuration of its own.
    events : Path, optional
        The task's blocks as BIDS has them, s after the run's first volume.
    overwrite : bool
        Whether ``out`` may be there.

    Returns
    -------
    Path
        What was written.
    dict
        The same for machines, as JSON values.

    Raises
    ------
    UsageError
        ``out`` exists or cannot be written, or ``folder`` holds no results.
    StreamerError
        ``config`` or ``events`` cannot be read.
    """
    out = folder / NAME if out is None else out
    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists: nothing is overwritten; choose another file, or --overwrite")
    facts = gather(folder, config, events)
    steps = [] if facts.config is None else _steps(facts)
    found = regulation(facts)
    items = checklist(facts, steps, found)
    text = page(facts, found, steps, items)
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error}") from error
    return out, _values(facts, steps, found, items)


def _steps(facts: Facts) -> list[Step]:
    assert facts.config is not None
    return processing_steps(facts.config, facts.eeg_sfreq, facts.tr_s, facts.feature_delays_s)


def _values(facts: Facts, steps: list[Step], found: Regulation, items: list[Item]) -> dict[str, Any]:
    told = facts.feedback
    values: dict[str, Any] = {
        "schema": 1,
        "session": facts.name,
        "condition": facts.blinding.condition or ("sealed" if facts.blinding.sealed else None),
        "decisions": len(told.decisions),
        "scores": len(told.scores),
        "triggers": len(told.triggers),
        "vetoes": dict(Counter(veto.reason for veto in told.vetoes).most_common()),
        "latency_ms": facts.latency_ms,
        "losses": (facts.summary or {}).get("losses"),
        "regulation": None,
        "processing": [plain(step) for step in steps],
        "cred_nf": {"counts": counts(items), "items": [asdict(item) for item in items]},
        "problems": list(facts.problems),
    }
    if not facts.blinding.hidden:
        values["regulation"] = _finite(asdict(found))
    return values


def _finite(value: Any) -> Any:
    match value:
        case dict():
            return {key: _finite(each) for key, each in value.items()}
        case list() | tuple():
            return [_finite(each) for each in value]
        case float() | np.floating():
            return float(value) if math.isfinite(value) else None
        case _:
            return value
