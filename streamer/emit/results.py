"""What a session made, as plain files: decisions, triggers, vetoes, features, region and motion traces.

::

    decisions.jsonl       one object per decision
    scores.jsonl          one object per decision: what the participant was shown, and their own score
    triggers.jsonl        one object per trigger that left
    vetoes.jsonl          one object per trigger that was held back
    features.jsonl        one object per feature besides band power; empty when none is switched on
    bold_regions.tsv      index, acquired (s), then % signal change per region
    confounds.tsv         index, then motion (mm, rad), framewise displacement (mm), DVARS and tissue means (both in
                          the volumes' own intensity) under fMRIPrep's names

The objects have the fields of their records (flags by name; an age is null where there is no data of that kind, a
feature's value where it is masked) but for ``ready``, which is telemetry: a live run and its replay write the same
bytes. TSV files say ``n/a`` for what is not known. Sessions of before called decisions.jsonl predictions.jsonl; they
are read all the same.
"""

from __future__ import annotations

import asyncio
import errno
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from streamer.emit.file_thread import FileThread
from streamer.errors import FormatError, RecordingError, UsageError
from streamer.messages import BoldFrame, Feature, Flag, Output, Prediction, Score, Trigger, Veto
from streamer.wire import flag_names

DECISIONS = "decisions.jsonl"
SCORES = "scores.jsonl"
TRIGGERS = "triggers.jsonl"
VETOES = "vetoes.jsonl"
FEATURES = "features.jsonl"
BOLD_REGIONS = "bold_regions.tsv"
CONFOUNDS = "confounds.tsv"

_DECISIONS_BEFORE = "predictions.jsonl"
_MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
_TISSUE = ("white_matter", "csf", "global_signal")

_encoder = msgspec.json.Encoder()

Result = Prediction | Score | Trigger | Veto | Feature | BoldFrame
T = TypeVar("T", Prediction, Score, Trigger, Veto, Feature)


class ResultsSink:
    """Writes a session's results from a thread of its own.

    ``put`` queues up to ``capacity`` results; one more is dropped and counted, and so is one that the disk refuses.

    Parameters
    ----------
    directory : Path
        Made if it is not there.
    regions : sequence of str
        Names of the BOLD regions, for the header of their table.
    capacity : int
    waits : bool
        A full queue makes ``put`` wait instead of dropping: for replays.

    Raises
    ------
    UsageError
        The directory holds results already: nothing is overwritten.
    """

    name = "results"

    def __init__(self, directory: Path, regions: Sequence[str], capacity: int = 8192, *, waits: bool = False) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        names = (DECISIONS, SCORES, TRIGGERS, VETOES, FEATURES, BOLD_REGIONS, CONFOUNDS)
        with ExitStack() as stack:
            try:
                files = [stack.enter_context((directory / name).open("xb", buffering=0)) for name in names]
            except FileExistsError as error:
                raise UsageError(f"{error.filename} exists: expected a directory without results") from None
            self._files: dict[str, FileIO] = dict(zip(names, files, strict=True))
            self._files[BOLD_REGIONS].write(_row(["index", "acquired", *regions]))
            self._files[CONFOUNDS].write(_row(["index", *_MOTION, "framewise_displacement", "dvars", *_TISSUE]))
            close_files = stack.pop_all().close
        self._thread = FileThread[Result](self.name, self._store, close_files, capacity, waits=waits)

    def put(self, item: Output) -> None:
        """Queue one result; other outputs are passed over."""
        if isinstance(item, Prediction | Score | Trigger | Veto | Feature | BoldFrame):
            self._thread.put(type(item).__name__.lower(), item)

    def losses(self) -> Mapping[str, int]:
        return self._thread.losses()

    async def close(self) -> None:
        """Write out what is queued and close the files. May be called twice."""
        await asyncio.to_thread(self.finish)

    def finish(self) -> None:
        """Do what ``close`` does, from outside a loop."""
        self._thread.finish()

    def _store(self, item: Result) -> None:
        match item:
            case Prediction():
                self._append(DECISIONS, _line(item))
            case Score():
                self._append(SCORES, _line(item))
            case Trigger():
                self._append(TRIGGERS, _line(item))
            case Veto():
                self._append(VETOES, _line(item))
            case Feature():
                self._append(FEATURES, _line(item))
            case BoldFrame():
                acquired = "n/a" if item.acquired is None else f"{item.acquired:.6f}"
                self._append(BOLD_REGIONS, _row([str(item.index), acquired, *(_cell(v) for v in item.regions)]))
                self._append(CONFOUNDS, _row([str(item.index), *(_cell(v) for v in _confounds(item))]))

    def _append(self, name: str, data: bytes) -> None:
        # a line is whole or not there at all
        file = self._files[name]
        start = file.tell()
        try:
            written = file.write(data)
            if written != len(data):
                raise OSError(errno.ENOSPC, f"{written} of {len(data)} bytes written", name)
        except OSError:
            file.truncate(start)
            file.seek(start)
            raise


def _confounds(frame: BoldFrame) -> tuple[float, ...]:
    tissue = [float(mean) for mean in frame.tissue] or [math.nan] * len(_TISSUE)
    return (*frame.motion, frame.fd, frame.dvars / 100.0 * tissue[-1], *tissue)


def _row(cells: Sequence[str]) -> bytes:
    return ("\t".join(" ".join(cell.split()) for cell in cells) + "\n").encode()


def _cell(value: float) -> str:
    # nine digits carry a float32 whole
    return f"{value:.9g}" if math.isfinite(value) else "n/a"


def _line(item: Prediction | Score | Trigger | Veto | Feature) -> bytes:
    values = msgspec.to_builtins(item)
    values.pop("ready", None)
    if not isinstance(item, Veto):
        values["flags"] = flag_names(item.flags)
    # what is not finite becomes null in the encoder
    return _encoder.encode(values) + b"\n"


def read_predictions(directory: Path) -> list[Prediction]:
    """Read ``decisions.jsonl``: the records that were put, but for ``ready``.

    Raises
    ------
    RecordingError
        The file cannot be read.
    FormatError
        A line is not one of ours.
    """
    before = directory / _DECISIONS_BEFORE
    path = directory / DECISIONS
    return _read(before if before.exists() and not path.exists() else path, Prediction)


def read_scores(directory: Path) -> list[Score]:
    """Read ``scores.jsonl``: errors as ``read_predictions``; none in a session of before scores were written."""
    return _read(directory / SCORES, Score) if (directory / SCORES).exists() else []


def read_triggers(directory: Path) -> list[Trigger]:
    """Read ``triggers.jsonl``: errors as ``read_predictions``."""
    return _read(directory / TRIGGERS, Trigger)


def read_vetoes(directory: Path) -> list[Veto]:
    """Read ``vetoes.jsonl``: errors as ``read_predictions``."""
    return _read(directory / VETOES, Veto)


def read_features(directory: Path) -> list[Feature]:
    """Read ``features.jsonl``: the records that were put, but for ``ready``; errors as ``read_predictions``."""
    return _read(directory / FEATURES, Feature)


def _read(path: Path, record: type[T]) -> list[T]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise RecordingError(f"{path} cannot be read: {error}") from error
    found: list[T] = []
    for position, line in enumerate(lines, start=1):
        try:
            values = msgspec.json.decode(line, type=dict[str, Any])
            for name in ("age_eeg", "age_bold"):
                if name in values and values[name] is None:
                    values[name] = math.inf
            if "actual" in values and values["actual"] is None:
                values["actual"] = math.nan
            for name in ("values", "uncertainty"):
                if isinstance(values.get(name), list):
                    values[name] = [math.nan if value is None else value for value in values[name]]
            if "flags" in values:
                values["flags"] = sum(Flag[name] for name in values["flags"])
            found.append(msgspec.convert(values, record, dec_hook=lambda _, value: Flag(value)))
        except (msgspec.MsgspecError, KeyError, TypeError) as error:
            raise FormatError(f"{path} line {position} is not a {record.__name__}: {error!r}") from error
    return found
