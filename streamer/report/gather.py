"""All that a session's folder tells, as far as it is there: a crash may have left any part of it out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from streamer.acquire.recording_tables import read_events, read_rows
from streamer.config import Config, load_config, parse_config
from streamer.decode.model_card import ModelCard
from streamer.emit.blinding import Blinding, read_blinding
from streamer.emit.neurofeedback_events import Feedback, read_feedback
from streamer.emit.quality import QUALITY
from streamer.emit.results import BOLD_REGIONS, CONFOUNDS, DECISIONS, FEATURES, SCORES
from streamer.emit.run_files import SUMMARY, read_json, read_latency_ms
from streamer.errors import RecordingError, UsageError
from streamer.loop import REFUSED
from streamer.messages import F64, Command, SessionHeader, SessionTime
from streamer.report.find_card import find_card
from streamer.runlog import HEADER, LOG
from streamer.runlog_read import read_header

_LINES = 2000
"""Of features.jsonl: every feature comes at least once in so many."""
_COMMAND = b'"kind":"command"'
_KNOWN = (HEADER, LOG, SUMMARY, QUALITY, DECISIONS, SCORES, "predictions.jsonl")


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of the task."""

    start: float
    """Session time, s."""
    stop: float
    label: str


@dataclass(frozen=True)
class Facts:
    """What is known of a session."""

    folder: Path
    name: str
    header: SessionHeader | None
    """None for the folder of a replay that holds none, and where it cannot be read."""
    config: Config | None
    feedback: Feedback
    blinding: Blinding
    summary: Mapping[str, Any] | None
    """None where the run did not get so far as to write it."""
    quality: Mapping[str, Any] | None
    latency_ms: Mapping[str, Mapping[str, float]]
    card: ModelCard | None
    feature_delays_s: Mapping[str, float] = field(default_factory=dict[str, float])
    """Delay that each feature beside band power declares, s."""
    commands: tuple[Command, ...] = ()
    """The operator's."""
    displacement: F64 = field(default_factory=lambda: np.empty((0, 2)))
    """Framewise displacement: session time in s (NaN where not known) and mm, shape (n_volumes, 2)."""
    tr_s: float | None = None
    """Repetition time, s; None where it is not known."""
    blocks: tuple[Block, ...] = ()
    """Of the task, in order; empty where nobody told."""
    problems: tuple[str, ...] = ()
    """What is missing or cannot be read, in sentences."""

    @property
    def span(self) -> tuple[float, float] | None:
        """Session time of the first and last decision, s."""
        times = [each.about for each in (*self.feedback.scores, *self.feedback.decisions)]
        return (min(times), max(times)) if times else None

    @property
    def eeg_sfreq(self) -> float | None:
        """Rate of the incoming EEG, Hz; None where it is not known."""
        return (self.header.eeg_sfreq or None) if self.header is not None else None


def gather(folder: Path, config: Path | None = None, events: Path | None = None) -> Facts:
    """Read a session's folder, or one that ``streamer replay --out`` wrote.

    Parameters
    ----------
    folder : Path
    config : Path, optional
        SESSION.toml for a folder that holds no configuration of its own.
    events : Path, optional
        The task's blocks as BIDS has them, s after the run's first volume; none: those of the configuration.

    Raises
    ------
    UsageError
        It is not the folder of a session or a replay.
    StreamerError
        ``config`` or ``events`` cannot be read.
    """
    if not any((folder / name).exists() for name in _KNOWN):
        raise UsageError(f"{folder}: expected the folder of a session, or of a replay (`streamer replay --out`)")
    problems: list[str] = []
    header = _header(folder, problems, needed=config is None)
    settings = load_config(config) if config is not None else _config(folder, header, problems)
    summary, quality = (_object(folder / name, problems) for name in (SUMMARY, QUALITY))
    feedback = read_feedback(folder)
    problems += feedback.problems
    volumes = _volumes(folder)
    return Facts(
        folder=folder,
        name=_name(folder, header, summary),
        header=header,
        config=settings,
        feedback=feedback,
        blinding=read_blinding(folder, _plain(header, settings)),
        summary=summary,
        quality=quality,
        latency_ms=read_latency_ms(folder),
        card=find_card(folder, header, settings, feedback.decisions[0].model if feedback.decisions else ""),
        feature_delays_s=_feature_delays(folder),
        commands=_commands(folder),
        displacement=_displacement(folder, problems),
        tr_s=None if volumes is None else volumes[1],
        blocks=_blocks(settings, events, None if volumes is None else volumes[0], problems),
        problems=tuple(problems),
    )


def _name(folder: Path, header: SessionHeader | None, summary: Mapping[str, Any] | None) -> str:
    if header is not None:
        return header.session
    return str((summary or {}).get("session") or folder.resolve().name)


def _plain(header: SessionHeader | None, config: Config | None) -> Mapping[str, Any] | None:
    if header is not None:
        return header.config
    return None if config is None else config.plain()


def _header(folder: Path, problems: list[str], *, needed: bool) -> SessionHeader | None:
    if not (folder / HEADER).exists():
        unknown = "settings (--config SESSION.toml tells them), versions and rates" if needed else "versions and rates"
        problems.append(f"there is no {HEADER}: {unknown} are not known")
        return None
    try:
        return read_header(folder)
    except RecordingError as error:
        problems.append(str(error))
        return None


def _config(folder: Path, header: SessionHeader | None, problems: list[str]) -> Config | None:
    if header is None:
        return None
    try:
        return parse_config(dict(header.config), f"{folder}/{HEADER}", folder)
    except UsageError as error:
        problems.append(f"the settings are of another version of the program, so that filters are not listed: {error}")
        return None


def _object(path: Path, problems: list[str]) -> dict[str, Any] | None:
    try:
        found = read_json(path)
    except RecordingError as error:
        problems.append(str(error))
        return None
    if found is None:
        problems.append(f"{path.name} is absent: the run did not end in order, and what it would tell is left out")
    return found


def _feature_delays(folder: Path) -> dict[str, float]:
    try:
        with (folder / FEATURES).open("rb") as stream:
            rows = [json.loads(line) for line in islice(stream, _LINES)]
        return {str(row["name"]): float(row["delay_s"]) for row in rows}
    except (OSError, ValueError, KeyError, TypeError):
        # it adds to the list of filters, no more
        return {}


def _commands(folder: Path) -> tuple[Command, ...]:
    found: list[Command] = []
    try:
        with (folder / LOG).open("rb") as stream:
            # one line in a thousand: the others are not worth decoding
            for line in (line for line in stream if _COMMAND in line):
                row = json.loads(line)
                if row["action"] != REFUSED:
                    found.append(Command(str(row["action"]), str(row["text"]), SessionTime(float(row["received"]))))
    except (OSError, ValueError, KeyError, TypeError):
        # a replay keeps no log, and a crash may have cut its last line
        return tuple(found)
    return tuple(found)


def _displacement(folder: Path, problems: list[str]) -> F64:
    if not (folder / CONFOUNDS).exists():
        return np.empty((0, 2))
    try:
        moved = read_rows(folder / CONFOUNDS, ("framewise_displacement",))
        times = read_rows(folder / BOLD_REGIONS, ("acquired",))
    except RecordingError as error:
        problems.append(str(error))
        return np.empty((0, 2))
    pairs = zip((row["acquired"] for row in times), (row["framewise_displacement"] for row in moved), strict=False)
    return np.array([[_number(at), _number(value)] for at, value in pairs], np.float64).reshape(-1, 2)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _blocks(config: Config | None, events: Path | None, zero: float | None, problems: list[str]) -> tuple[Block, ...]:
    if events is not None:
        told = [(each.onset_s, each.duration_s, each.label) for each in read_events(events)]
    elif config is not None:
        designs = (config.clean.bold.maps.design, config.clean.regions.nuisance.design)
        conditions = next((design.conditions for design in designs if design.conditions), ())
        told = [
            # one duration may stand for all
            (onset, each.durations_s[k if len(each.durations_s) > 1 else 0], each.name)
            for each in conditions
            for k, onset in enumerate(each.onsets_s)
        ]
    else:
        told = []
    if not told:
        return ()
    if zero is None:
        problems.append("the task's blocks are known, but not when the first volume began: they are left out")
        return ()
    return tuple(Block(zero + on, zero + on + length, label) for on, length, label in sorted(told))


def _volumes(folder: Path) -> tuple[float, float] | None:
    """Tell when the run's first volume began, in session time, and the TR, both s; None where that is not known."""
    try:
        rows = read_rows(folder / BOLD_REGIONS, ("index", "acquired"))
    except RecordingError:
        return None
    known = np.array([(_number(row["index"]), _number(row["acquired"])) for row in rows]).reshape(-1, 2)
    index, at = known[np.isfinite(known).all(axis=1)].T
    # where another series begins, numbers begin anew
    on = np.diff(index) > 0
    if not on.any():
        return None
    tr = float(np.median(np.diff(at)[on] / np.diff(index)[on]))
    return float(at[0] - (index[0] + 0.5) * tr), tr
