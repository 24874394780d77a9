"""The scanner's export directory: files that appear become volumes.

Runs in the BOLD worker process, in plain blocking code. Both inotify (fast) and listing the directory (works on network
shares, where inotify is silent) find new files. A file is a volume as soon as it parses and its pixels are complete;
until then it is tried again at every change, and given up when it has not changed for ``deadline_s``. Scanners that
export one slice a file are served, too: a volume is there with its last slice.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from pydantic import Field
from watchfiles import Change, watch

from streamer.acquire.export_runs import RunChoice
from streamer.clock import pause
from streamer.contracts import Settings
from streamer.errors import FormatError, IncompleteFile
from streamer.formats.dicom import NotAnImageVolume, Slice, read_image
from streamer.formats.dicom_assemble import Assembler
from streamer.formats.nifti import read_nifti
from streamer.messages import SessionTime, SourceState, Volume

MAX_FILE_BYTES = 512 * 2**20
_TEMPORARY = (".part", ".partial", ".tmp", ".temp", ".filepart", ".crdownload", "~")
_NUMBERED = re.compile(r"^(?P<prefix>.*?)(?P<number>\d+)$")
_SERIES_NUMBER = re.compile(r"(?:^|_)(\d+)_$")

_Signature = tuple[int, int, int]
"""Size in bytes, time of change in ns, inode: what changes when a file does."""


class ExportSettings(Settings):
    """How the export directory is watched."""

    poll_s: float = Field(default=0.05, gt=0, le=5)
    """How often the directory is listed when nothing wakes us, s."""
    deadline_s: float = Field(default=10.0, gt=0)
    """A file that is incomplete and has not changed for so long is given up, s."""
    series: int | None = Field(default=None, ge=0)
    """Number of the one series to take; none: the first that shows a volume after the start, and each later one of the
    same grid and repetition time as a further run."""
    ignore_existing: bool = True
    """Leave out files that were there at the start."""
    patterns: tuple[str, ...] = ("*.dcm", "*.ima", "*.nii", "*.nii.gz", "*[0-9]")
    """File names to look at, in lower case; the last one is for DICOM files without a suffix."""
    tr_s: float | None = Field(default=None, gt=0)
    """Repetition time for NIfTI files whose header has none, s."""
    first_number: int = Field(default=1, ge=0)
    """Number in the name of a series' first NIfTI file; DICOM files carry their own."""


@dataclass(frozen=True, slots=True)
class FileProblem:
    """A file, or a group of them, that gave no volume."""

    file: str
    text: str
    """What is wrong, naming the file."""
    lost: bool
    """Whether a volume of this run may be lost by it."""

    def __str__(self) -> str:
        return self.text


@dataclass(slots=True)
class _Pending:
    signature: _Signature = (-1, -1, -1)
    changed: float = 0.0
    error: str = ""
    doubtful: bool = False


class ExportDirectory:
    """The export directory as a source of volumes.

    Parameters
    ----------
    directory : Path
        May be absent at first.
    settings : ExportSettings
    now : callable
        Gives the time in s; measures deadlines.

    Attributes
    ----------
    counts : Counter of str
        ``volumes``, ``existing``, ``duplicates``, ``other_series``, ``not_images`` and ``quarantined`` so far; the
        last counts files, and volumes that lack slices.
    """

    name = "export"

    def __init__(self, directory: Path, settings: ExportSettings, now: Callable[[], float]) -> None:
        self.directory = directory
        self.settings = settings
        self.counts: Counter[str] = Counter()
        self._now = now
        self._done: dict[str, _Signature] = {}
        self._pending: dict[str, _Pending] = {}
        self._touched: set[str] = set()
        self._given_up: set[str] = set()
        self._seen: set[tuple[str, int]] = set()
        self._said: set[str] = set()
        self._runs = RunChoice(settings.series)
        self._assembler = Assembler()
        self._last_slice: dict[tuple[str, int], float] = {}
        self._state = ""
        self._identity: tuple[int, int] | None = None
        self._watch: Generator[set[tuple[Change, str]]] | None = None
        if settings.ignore_existing:
            try:
                self._done = {entry.name: _signature(entry.stat()) for entry in self._entries()}
            except OSError:
                self._done = {}
            self.counts["existing"] = len(self._done)

    def poll(self) -> list[Volume | FileProblem | SourceState]:
        """Look once; give what is new, volumes in the order of their numbers. ``received`` is NaN."""
        found: list[Volume | FileProblem | SourceState] = []
        try:
            entries = self._entries()
            status = self.directory.stat()
        except OSError as error:
            self._stop_watching()
            if self._state != "lost":
                self._state = "lost"
                found.append(self._say(f"{_reason(error)}; waiting for it"))
            return found
        if self._identity != (status.st_dev, status.st_ino):
            # another directory of the same name: what watched the old one hears nothing
            self._stop_watching()
            self._identity = (status.st_dev, status.st_ino)
        if self._state in {"", "lost"}:
            if self._state:
                self._state = "back"
                found.append(self._say("there again, watching"))
            else:
                self._state = "found"
                existing = self.counts["existing"]
                left_out = f"; {existing} files that were there before are left out" if existing else ""
                found.append(self._say(f"watching{left_out}"))
        volumes: list[Volume] = []
        for entry in entries:
            if entry.name not in self._done or entry.name in self._touched or entry.name in self._given_up:
                self._look(entry, volumes, found)
        self._touched.clear()
        for name in self._pending.keys() - {entry.name for entry in entries}:
            # renamed or removed before it was complete
            del self._pending[name]
        self._give_up_volumes(found)
        volumes.sort(key=self._runs.order)
        return [*found, *volumes]

    def wait(self, timeout_s: float) -> None:
        """Block until the directory changes, ``timeout_s`` at most (rounded to whole steps of ``poll_s``)."""
        for _ in range(max(1, round(timeout_s / self.settings.poll_s))):
            if self._wait_once():
                return

    def _wait_once(self) -> bool:
        if self._watch is None and self._state in {"found", "back"}:
            self._watch = watch(
                self.directory,
                watch_filter=None,
                debounce=1,
                step=1,
                rust_timeout=max(1, round(self.settings.poll_s * 1000)),
                yield_on_timeout=True,
                raise_interrupt=False,
                recursive=False,
            )
        if self._watch is not None:
            try:
                changed = {Path(path).name for _, path in next(self._watch)}
            except (OSError, StopIteration):
                # no inotify to be had (gone, or too many watches): listing goes on
                self._stop_watching()
            else:
                self._touched |= changed
                return bool(changed)
        pause(self.settings.poll_s)
        return False

    def close(self) -> None:
        """Stop watching. May be called twice."""
        self._stop_watching()

    def _entries(self) -> list[os.DirEntry[str]]:
        with os.scandir(self.directory) as listing:
            return sorted((entry for entry in listing if self._fits(entry)), key=lambda entry: entry.name)

    def _fits(self, entry: os.DirEntry[str]) -> bool:
        name = entry.name.lower()
        if name.startswith((".", "~")) or name.endswith(_TEMPORARY) or not entry.is_file():
            return False
        return any(fnmatchcase(name, pattern) for pattern in self.settings.patterns)

    def _look(
        self, entry: os.DirEntry[str], volumes: list[Volume], found: list[Volume | FileProblem | SourceState]
    ) -> None:
        now = self._now()
        try:
            signature = _signature(entry.stat())
        except OSError:
            # gone since it was listed
            return
        if self._done.get(entry.name) == signature:
            return
        pending = self._pending.setdefault(entry.name, _Pending())
        stable = signature == pending.signature
        if not stable:
            pending.signature, pending.changed = signature, now
        if not stable or (pending.doubtful and now - pending.changed >= self.settings.poll_s):
            try:
                image = self._read(Path(entry.path), signature[0])
            except NotAnImageVolume as error:
                self._finish(entry.name, signature)
                self.counts["not_images"] += 1
                self._say_once("not_images", FileProblem(entry.name, f"{error}; left out", lost=False), found)
                return
            except (FormatError, OSError) as error:
                # a file that was laid out at full length and is being filled looks damaged, too
                pending.error = str(error) if isinstance(error, FormatError) else f"{entry.name}: {_reason(error)}"
                pending.doubtful = False
            else:
                pending.doubtful = not stable and _may_be_unfilled(image)
                if not pending.doubtful:
                    self._given_up.discard(entry.name)
                    self._finish(entry.name, signature)
                    volume = self._add_slice(entry.name, image, now, found) if isinstance(image, Slice) else image
                    if volume is not None:
                        self._take(entry.name, volume, volumes, found)
                    return
        if now - pending.changed >= self.settings.deadline_s:
            self._finish(entry.name, signature)
            self._given_up.add(entry.name)
            self.counts["quarantined"] += 1
            text = f"{pending.error} (given up after {self.settings.deadline_s:g} s without a change)"
            found.append(FileProblem(entry.name, text, lost=True))

    def _add_slice(
        self, name: str, piece: Slice, now: float, found: list[Volume | FileProblem | SourceState]
    ) -> Volume | None:
        if piece.n_slices is None:
            self.counts["not_images"] += 1
            text = f"{name}: one slice of a volume, and its header does not tell of how many; all such are left out"
            self._say_once("slices", FileProblem(name, text, lost=True), found)
            return None
        self._last_slice[piece.series, piece.volume] = now
        before = self._assembler.counts["duplicates"]
        try:
            volume = self._assembler.feed(piece)
        except FormatError as error:
            self.counts["quarantined"] += 1
            found.append(FileProblem(name, str(error), lost=True))
            return None
        self.counts["duplicates"] += self._assembler.counts["duplicates"] - before
        return volume

    def _give_up_volumes(self, found: list[Volume | FileProblem | SourceState]) -> None:
        waiting = self._assembler.incomplete()
        self._last_slice = {key: self._last_slice[key] for key in ((each.series, each.volume) for each in waiting)}
        for each in waiting:
            if self._now() - self._last_slice[each.series, each.volume] >= self.settings.deadline_s:
                self._assembler.give_up(each.series, each.volume)
                self.counts["quarantined"] += 1
                text = f"{each} (given up after {self.settings.deadline_s:g} s without a further one)"
                found.append(FileProblem(each.series, text, lost=True))

    def _take(
        self, name: str, volume: Volume, volumes: list[Volume], found: list[Volume | FileProblem | SourceState]
    ) -> None:
        if (volume.series, volume.index) in self._seen:
            self.counts["duplicates"] += 1
            return
        self._seen.add((volume.series, volume.index))
        passed, left_out = self._runs.take(volume)
        for other, reason in left_out:
            self.counts["other_series"] += 1
            text = f"{name}: series {other.series} is left out: {reason}"
            self._say_once(f"{other.series} {reason}", FileProblem(name, text, lost=False), found)
        self.counts["volumes"] += len(passed)
        volumes += passed

    def _read(self, path: Path, size: int) -> Volume | Slice:
        if size == 0:
            raise IncompleteFile(f"{path.name}: empty")
        if size > MAX_FILE_BYTES:
            raise FormatError(f"{path.name}: {size} bytes, expected at most {MAX_FILE_BYTES}")
        raw = path.read_bytes()
        if path.name.lower().endswith((".nii", ".nii.gz")):
            return self._read_nifti(path.name, raw)
        return read_image(raw, path.name)

    def _read_nifti(self, name: str, raw: bytes) -> Volume:
        # a NIfTI file knows neither its series nor its place in it: both stand in its name
        numbered = _NUMBERED.match(re.sub(r"\.nii(\.gz)?$", "", name, flags=re.IGNORECASE))
        if numbered is None:
            raise FormatError(f"{name}: the name ends in no number, expected one that counts the volumes")
        images = read_nifti(raw, name, self.settings.tr_s)
        if len(images) != 1:
            raise FormatError(f"{name}: {len(images)} volumes, expected one a file")
        index = int(numbered["number"]) - self.settings.first_number
        if index < 0:
            raise FormatError(
                f"{name}: number {int(numbered['number'])}, expected {self.settings.first_number} or more"
            )
        series = _SERIES_NUMBER.search(numbered["prefix"])
        digest = hashlib.sha256(numbered["prefix"].encode()).hexdigest()[:8]
        label = f"s{int(series[1])}-{digest}" if series else f"nifti-{digest}"
        return replace(images[0], index=index, series=label)

    def _finish(self, name: str, signature: _Signature) -> None:
        self._pending.pop(name, None)
        self._done[name] = signature

    def _say(self, detail: str) -> SourceState:
        return SourceState(self.name, self._state, f"{self.directory}: {detail}", SessionTime(np.nan))

    def _say_once(self, key: str, problem: FileProblem, found: list[Volume | FileProblem | SourceState]) -> None:
        if key not in self._said:
            self._said.add(key)
            found.append(problem)

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None


def _signature(status: os.stat_result) -> _Signature:
    return (status.st_size, status.st_mtime_ns, status.st_ino)


def _may_be_unfilled(image: Volume | Slice) -> bool:
    # Copying to a share may lay a file out at full length and then fill it: the last image row is still all zero.
    # Such a file must stay as it is over two looks.
    if isinstance(image, Slice):
        return not image.pixels[-1].any()
    return not image.data[:, 0, -1].any() or not image.data[:, 0, 0].any()


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
