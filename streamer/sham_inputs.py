"""What a blinded session is run with, from the settings' files; and the session's own copies.

A session keeps, whatever its condition, ``sham/list.json`` (the sealed entry of its code, and no other) and
``sham/scores.jsonl`` (the record). With the key its replay shows what the session showed; without the key it is
refused; a replay with settings that have no ``[sham]`` shows the participant's own score throughout, where a blinded
session also keeps its baseline from following drift (``[model.recentre]``).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from streamer.clock import wall_time_stamp
from streamer.decode.decision_settings import DecisionSettings
from streamer.decode.sham import RECORDED, BlindFeedback, Record, ShamSettings, make_record
from streamer.emit.blinding import FOLDER, OPENED
from streamer.emit.results import SCORES, read_scores
from streamer.errors import RecordingError, UsageError
from streamer.messages import Flag
from streamer.sham_list import SealedList, entry_alone, open_entry, read_key, read_list, write_list

LIST = "list.json"
"""Name of a session's own sealed entry, in its folder ``sham``."""


class ShamSection(ShamSettings):
    """A blinded study: real feedback or sham, from a sealed list."""

    list: Path | None = None
    """The sealed list that ``streamer sham make`` wrote; none: feedback is real, and nobody is blind."""
    code: str = ""
    """The participant's code in the list."""
    record: Path | None = None
    """Folder of the session whose scores are played back; needed in every session, real ones too, where the list has
    yoked, reversed or scrambled feedback."""
    key: Path | None = None
    """File with the list's key, readable by its owner alone; none: the variable EEGFMRI_SHAM_KEY."""

    @property
    def blinded(self) -> bool:
        """Whether feedback may be sham."""
        return self.list is not None


def sham_problems(section: ShamSection, decision: DecisionSettings) -> list[str]:
    """Say what does not go together, in sentences."""
    if not section.blinded:
        given = [name for name in ("code", "record", "key") if getattr(section, name)]
        return [f"sham.{name} is given without sham.list" for name in given]
    found: list[str] = []
    if not section.code:
        found.append("sham.list is given without sham.code: expected the participant's code")
    if decision.adapt.mode != "fixed":
        # they are frozen in a blinded session, and would never be learned
        found.append("decision.adapt.mode: expected fixed in a blinded session")
    if decision.axes:
        found.append("decision.axes: expected none in a blinded session, where they would tell the participant's own")
    return found


def load_sham(section: ShamSection, decision: DecisionSettings) -> BlindFeedback | None:
    """Make what stands between the participant's score and the participant; None in a session that is not blinded.

    The same files are read in the same order whatever the condition, and errors do not tell it.

    Parameters
    ----------
    section : ShamSection
    decision : DecisionSettings
        Those in force: scores with a veto flag do not count as clean.

    Raises
    ------
    UsageError
        List, key, code or record is missing, or what a condition of the list needs.
    FormatError
        The list was altered, or the record is not one.
    """
    if section.list is None:
        return None
    sealed = read_list(section.list)
    assignment = open_entry(sealed, section.code, read_key(section.key))
    record = None
    if section.record is not None and _needs_record(sealed):
        record = read_record(section.record, decision.veto_flags(), section.hold_s)
    try:
        return BlindFeedback(
            assignment.condition,
            tuple(sealed.ratio),
            section,
            record=record,
            seed=assignment.seed,
            smoothing_s=decision.smoothing_s,
        )
    except ValueError as error:
        raise UsageError(f"{section.list}: {error}; see [sham] in the settings") from error


def read_record(folder: Path, veto: Flag, hold_s: float) -> Record:
    """Read a session's own scores as a record to play back.

    They are the participant's own, whatever was shown: the record of a session with sham serves as well.

    Raises
    ------
    RecordingError
        The session has no scores, or too few clean ones.
    """
    scores = read_scores(folder)
    times = np.array([float(each.about) for each in scores])
    actual = np.array([each.actual for each in scores], dtype=np.float64)
    clean = np.array([not each.flags & veto for each in scores], dtype=bool)
    try:
        return make_record(times, actual, clean, hold_s)
    except ValueError as error:
        raise RecordingError(f"{folder}/{SCORES} does not serve as a record: {error}") from error


def keep_sham(section: ShamSection, folder: Path) -> None:
    """Write a session's own copies of its sealed entry and of the record; nothing where it is not blinded."""
    if section.list is None:
        return
    kept = folder / FOLDER
    kept.mkdir()
    sealed = read_list(section.list)
    write_list(kept / LIST, entry_alone(sealed, section.code))
    if section.record is not None and _needs_record(sealed):
        shutil.copyfile(section.record / SCORES, kept / SCORES)


def kept_sham(folder: Path) -> dict[str, str]:
    """Give the settings under ``[sham]`` that name a session's own copies."""
    kept = folder / FOLDER
    found = {"list": kept / LIST, "record": kept}
    needed = {"list": kept / LIST, "record": kept / SCORES}
    return {name: str(path) for name, path in found.items() if needed[name].exists()}


def unblind_session(folder: Path, key: Path | None) -> tuple[str, str]:
    """Write into a session's folder what its condition was; gives its code and condition.

    Raises
    ------
    UsageError
        The session is not blinded, it was opened before, or there is no key.
    FormatError
        Its entry was altered, or the key is not the list's.
    """
    path = folder / FOLDER / LIST
    if not path.exists():
        raise UsageError(f"{folder} is not a blinded session: expected {FOLDER}/{LIST} in it")
    sealed = read_list(path)
    code = next(iter(sealed.entries))
    condition = open_entry(sealed, code, read_key(key)).condition
    told = {"condition": condition, "code": code, "opened_utc": wall_time_stamp()}
    try:
        with (folder / FOLDER / OPENED).open("x", encoding="utf-8") as file:
            file.write(json.dumps(told) + "\n")
    except FileExistsError:
        raise UsageError(f"{folder} was opened before: {FOLDER}/{OPENED} says what it was") from None
    except OSError as error:
        raise UsageError(f"{folder} cannot be written, so it is not opened: {error}") from error
    return code, condition


def _needs_record(sealed: SealedList) -> bool:
    return bool(set(sealed.ratio) & set(RECORDED))
