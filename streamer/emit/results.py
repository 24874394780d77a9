"""What a session made, as plain files: predictions, triggers, vetoes, region and motion traces.

::

    predictions.jsonl     one object per decision
    triggers.jsonl        one object per trigger that left
    vetoes.jsonl          one object per trigger that was held back
    bold_regions.tsv      index, acquired (s), then % signal change per region
    confounds.tsv         index, then motion (mm, rad) and framewise displacement (mm) under fMRIPrep's names

The objects have the fields of their records (flags by name; an age is null where there is no data of that kind) but for
``Prediction.ready``, which is telemetry: a live run and its replay write the same bytes. TSV files say ``n/a`` for what
is not known.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

import msgspec

from streamer.errors import FormatError, RecordingError, UsageError
from streamer.messages import BoldFrame, Flag, Output, Prediction, Trigger, Veto
from streamer.wire import flag_names

PREDICTIONS = "predictions.jsonl"
TRIGGERS = "triggers.jsonl"
VETOES = "vetoes.jsonl"
BOLD_REGIONS = "bold_regions.tsv"
CONFOUNDS = "confounds.tsv"

_MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")

_log = logging.getLogger(__name__)
_encoder = msgspec.json.Encoder()

Result = Prediction | Trigger | Veto | BoldFrame
T = TypeVar("T", Prediction, Trigger, Veto)


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

    Raises
    ------
    UsageError
        The directory holds results already: nothing is overwritten.
    """

    name = "results"

    def __init__(self, directory: Path, regions: Sequence[str], capacity: int = 8192) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        names = (PREDICTIONS, TRIGGERS, VETOES, BOLD_REGIONS, CONFOUNDS)
        with ExitStack() as stack:
            try:
                files = [stack.enter_context((directory / name).open("xb", buffering=0)) for name in names]
            except FileExistsError as error:
                raise UsageError(f"{error.filename} exists: expected a directory without results") from None
            self._files: dict[str, FileIO] = dict(zip(names, files, strict=True))
            self._files[BOLD_REGIONS].write(_row(["index", "acquired", *regions]))
            self._files[CONFOUNDS].write(_row(["index", *_MOTION, "framewise_displacement"]))
            self._close_files = stack.pop_all()
        self._capacity = capacity
        self._dropped: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._queue: SimpleQueue[Result | None] = SimpleQueue()
        self._closed = False
        self._thread = Thread(target=self._write, name="results", daemon=True)
        self._thread.start()

    def put(self, item: Output) -> None:
        """Queue one result; other outputs are passed over."""
        if not isinstance(item, Prediction | Trigger | Veto | BoldFrame):
            return
        if self._closed or self._queue.qsize() >= self._capacity:
            self._dropped[type(item).__name__.lower()] += 1
        else:
            self._queue.put(item)

    def losses(self) -> Mapping[str, int]:
        return dict(self._dropped.copy() + self._refused.copy())

    async def close(self) -> None:
        """Write out what is queued and close the files. May be called twice."""
        await asyncio.to_thread(self.finish)

    def finish(self) -> None:
        """Do what ``close`` does, from outside a loop."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._thread.join()

    def _write(self) -> None:
        with self._close_files:
            while (item := self._queue.get()) is not None:
                try:
                    self._store(item)
                except (OSError, TypeError, ValueError) as error:
                    if not self._refused:
                        _log.error("results are lost: %s", error)
                    self._refused[type(item).__name__.lower()] += 1

    def _store(self, item: Result) -> None:
        match item:
            case Prediction():
                self._append(PREDICTIONS, _line(item))
            case Trigger():
                self._append(TRIGGERS, _line(item))
            case Veto():
                self._append(VETOES, _line(item))
            case BoldFrame():
                acquired = "n/a" if item.acquired is None else f"{item.acquired:.6f}"
                self._append(BOLD_REGIONS, _row([str(item.index), acquired, *(_cell(v) for v in item.regions)]))
                self._append(CONFOUNDS, _row([str(item.index), *(_cell(v) for v in (*item.motion, item.fd))]))

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


def _row(cells: Sequence[str]) -> bytes:
    return ("\t".join(" ".join(cell.split()) for cell in cells) + "\n").encode()


def _cell(value: float) -> str:
    # nine digits carry a float32 whole
    return f"{value:.9g}" if math.isfinite(value) else "n/a"


def _line(item: Prediction | Trigger | Veto) -> bytes:
    values = msgspec.to_builtins(item)
    values.pop("ready", None)
    if not isinstance(item, Veto):
        values["flags"] = flag_names(item.flags)
    # what is not finite becomes null in the encoder
    return _encoder.encode(values) + b"\n"


def read_predictions(directory: Path) -> list[Prediction]:
    """Read ``predictions.jsonl``: the records that were put, but for ``ready``.

    Raises
    ------
    RecordingError
        The file cannot be read.
    FormatError
        A line is not one of ours.
    """
    return _read(directory / PREDICTIONS, Prediction)


def read_triggers(directory: Path) -> list[Trigger]:
    """Read ``triggers.jsonl``: errors as ``read_predictions``."""
    return _read(directory / TRIGGERS, Trigger)


def read_vetoes(directory: Path) -> list[Veto]:
    """Read ``vetoes.jsonl``: errors as ``read_predictions``."""
    return _read(directory / VETOES, Veto)


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
            if "flags" in values:
                values["flags"] = sum(Flag[name] for name in values["flags"])
            found.append(msgspec.convert(values, record, dec_hook=lambda _, value: Flag(value)))
        except (msgspec.MsgspecError, KeyError, TypeError) as error:
            raise FormatError(f"{path} line {position} is not a {record.__name__}: {error!r}") from error
    return found
