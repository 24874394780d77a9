"""The scanner's export directory: files that appear become volumes.

Runs in the BOLD worker process, in plain blocking code. Both inotify (fast) and listing the directory (works on network
shares, where inotify is silent) find new files, in subfolders, too. A file is a volume as soon as it parses and its
pixels are complete; until then it is tried again at every change, and given up when it has not changed for
``deadline_s``. What it holds goes the way of all images: see ``export_intake.py``.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field
from watchfiles._rust_notify import RustNotify  # pyright: ignore[reportPrivateUsage]

from streamer.acquire.export_files import ExportFiles, OutsideDirectory, is_hidden
from streamer.acquire.export_intake import Arrival, FileProblem, VolumeIntake, shown_name
from streamer.acquire.export_read import ExportReader
from streamer.contracts import Settings
from streamer.errors import FormatError
from streamer.formats.dicom import NotAnImageVolume, Slice
from streamer.messages import SessionTime, SourceState, Volume

__all__ = ["ExportDirectory", "ExportSettings", "FileProblem"]

_EVENT_STEP_MS = 1
_LIST_AT_LEAST_S = 0.5
_N_RECENT = 8


class ExportSettings(Settings):
    """How the export directory is watched."""

    watch: Literal["auto", "poll"] = "auto"
    """auto: the system tells of changes, and the directory is listed besides; poll: it is only listed, for network
    shares on which the system's word is wrong."""
    poll_s: float = Field(default=0.04, gt=0, le=5)
    """How often the directory is looked at when nothing wakes us, s."""
    subfolders: int = Field(default=2, ge=0, le=4)
    """Levels of subfolders that are looked through: scanners make a folder for each session or series; 0: none."""
    deadline_s: float = Field(default=10.0, gt=0)
    """A file that is incomplete and has not changed for so long is given up, s."""
    series: int | None = Field(default=None, ge=0)
    """Number of the one series to take; none: the first that shows a volume after the start, and each later one of the
    same grid and repetition time as a further run."""
    ignore_existing: bool = True
    """Leave out files that were there at the start."""
    patterns: tuple[str, ...] = (
        "*.dcm",
        "*.ima",
        "*.nii",
        "*.nii.gz",
        "*.hdr",
        "*.img",
        "*.par",
        "*.rec",
        "*[0-9]",
    )
    """File names to look at, in lower case; the last one is for DICOM files without a suffix."""
    tr_s: float | None = Field(default=None, gt=0)
    """Repetition time for files whose header has none (NIfTI, PAR), s."""
    first_number: int = Field(default=1, ge=0)
    """Number in the name of a series' first NIfTI file; other files carry their own."""
    echo: int = Field(default=1, ge=1)
    """Which echo of a multi-echo scan is taken; the others are left out."""

    def intake(self, now: Callable[[], float]) -> VolumeIntake:
        """Make the intake of a session, for all its sources."""
        return VolumeIntake(self.series, self.deadline_s, now, self.echo)


@dataclass(slots=True)
class _Pending:
    signature: tuple[int, ...] = ()
    changed: float = 0.0
    error: str = ""
    doubtful: bool = False
    unreadable: bool = False


class ExportDirectory:
    """The export directory as a source of volumes.

    Parameters
    ----------
    directory : Path
        May be absent at first.
    settings : ExportSettings
    now : callable
        Gives the time in s; measures deadlines.
    intake : VolumeIntake, optional
        Takes the images; one for all sources of a session.

    Attributes
    ----------
    counts : Counter of str
        What the intake counts, and ``existing`` files, links that lead ``outside``, and files ``quarantined``.
    """

    name = "export"

    def __init__(
        self,
        directory: Path,
        settings: ExportSettings,
        now: Callable[[], float],
        intake: VolumeIntake | None = None,
    ) -> None:
        self.directory = directory
        self.settings = settings
        self.intake = intake or settings.intake(now)
        self.counts = self.intake.counts
        self._now = now
        self._files = ExportFiles(directory, self._fits, settings.subfolders, now)
        self._reader = ExportReader(self._files, settings.tr_s, settings.first_number, self.intake.echo)
        self._done: dict[str, tuple[int, ...]] = {}
        self._old: dict[str, int] = {}
        self._pending: dict[str, _Pending] = {}
        self._touched: set[str] = set()
        self._given_up: dict[str, None] = {}
        self._recent: dict[str, None] = {}
        self._listed = now()
        self._state = ""
        self._identity: tuple[int, int] | None = None
        self._events: RustNotify | None = None
        self._deaf = settings.watch == "poll"
        if settings.ignore_existing:
            self._pass_over_existing()

    def _pass_over_existing(self) -> None:
        try:
            existing = self._files.existing()
        except OSError:
            existing = {}
        for path, known in existing.items():
            parts = self._reader.parts(path)
            if isinstance(known, int):
                self._old[parts[0]] = known
            elif len(parts) == 1:
                self._done[path] = known
            else:
                with contextlib.suppress(OSError, FormatError):
                    self._done[parts[0]] = self._reader.signature(parts) or ()
        self.counts["existing"] = len(existing)

    def poll(self) -> list[Arrival]:
        """Look once; give what is new, volumes in the order of their numbers. ``received`` is NaN."""
        self.intake.tick()
        touched, self._touched = self._touched, set()
        heard = {self._reader.parts(path)[0] for path in touched if self._files.holds(path)}
        # what we were told of is read before a long directory is listed
        if not touched or self._now() - self._listed >= _LIST_AT_LEAST_S:
            try:
                heard |= {self._reader.parts(path)[0] for path in self._files.new()}
            except OSError as error:
                self._lose(error)
                return self.intake.drain()
            self._listed = self._now()
            self._found()
        again = [*self._pending, *islice(reversed(self._given_up), _N_RECENT), *self._recent]
        for path in sorted({*heard, *again}):
            self._look(path)
        return self.intake.drain()

    def _lose(self, error: OSError) -> None:
        self._stop_listening()
        if self._state != "lost":
            self._state = "lost"
            self._say(f"{_reason(error)}; waiting for it")

    def _found(self) -> None:
        if self._identity != self._files.identity:
            # another directory of the same name: what listened to the old one hears nothing
            self._stop_listening()
            self._identity = self._files.identity
        if self._state == "lost":
            self._state = "back"
            self._say("there again, watching")
        elif not self._state:
            self._state = "found"
            existing = self.counts["existing"]
            left_out = f"; {existing} files that were there before are left out" if existing else ""
            self._say(f"watching{left_out}")
        for path, error in self._files.unreadable:
            # scanners name such folders by the person who is measured
            text = f"a subfolder cannot be listed ({_reason(error)}); left out"
            self.intake.say_once(f"folder {path}", FileProblem(self.name, text, lost=True))
        self._files.unreadable.clear()

    def wait(self, timeout_s: float, wake: threading.Event | None = None) -> None:
        """Block until the directory changes or ``wake`` is set, ``timeout_s`` at most."""
        wake = wake or threading.Event()
        self._listen()
        if self._events is None:
            wake.wait(timeout_s)
            return
        try:
            told = self._events.watch(_EVENT_STEP_MS, _EVENT_STEP_MS, max(1, round(timeout_s * 1000)), wake)
        except (OSError, RuntimeError):
            self._stop_listening()
            self._deaf = True
            return
        if isinstance(told, set):
            self._touched |= {path for _, path in told}

    def close(self) -> None:
        """Stop watching. May be called twice."""
        self._stop_listening()

    def _listen(self) -> None:
        if self._events is not None or self._deaf or self._state not in {"found", "back"}:
            return
        try:
            self._events = RustNotify([self._files.root], False, False, 300, self.settings.subfolders > 0, True)
        except (OSError, RuntimeError):
            # no more watches to be had, or none at all: listing goes on
            self._deaf = True
            text = f"{self.directory}: the system tells of no changes; listed every {self.settings.poll_s:g} s"
            self.intake.say_once("deaf", FileProblem(str(self.directory), text, lost=False))

    def _stop_listening(self) -> None:
        if self._events is not None:
            self._events.close()
            self._events = None

    def _fits(self, name: str) -> bool:
        lower = name.lower()
        return not is_hidden(lower) and any(fnmatchcase(lower, pattern) for pattern in self.settings.patterns)

    def _look(self, path: str) -> None:
        parts = self._reader.parts(path)
        name = shown_name(os.path.basename(path))  # noqa: PTH119 - bytes that are no UTF-8 stay as they are
        try:
            signature = self._reader.signature(parts)
        except OutsideDirectory as error:
            self.counts["outside"] += 1
            self.intake.say_once("outside", FileProblem(name, f"{name}: {error}", lost=True))
            return
        except OSError as error:
            self._pending.setdefault(path, _Pending(changed=self.intake.age))
            self._fail(path, name, f"{name}: {_reason(error)}", unreadable=True)
            return
        if signature is None:
            # renamed or removed before it was complete, or no file at all
            for known in (self._pending, self._recent, self._given_up):
                known.pop(path, None)
            return
        if self._done.get(path) == signature:
            return
        if (old := self._old.get(path)) is not None:
            if max(signature[1::3]) <= old:
                return
            del self._old[path]
        pending = self._pending.setdefault(path, _Pending())
        rested = signature == pending.signature
        if not rested:
            pending.signature, pending.changed = signature, self.intake.age
        since = self.intake.age - pending.changed
        if rested and not pending.unreadable and not (pending.doubtful and since >= self.settings.poll_s):
            self._maybe_give_up(path, name, pending)
            return
        pending.doubtful = pending.unreadable = False
        self._read(path, parts, name, pending, rested=rested)

    def _read(self, path: str, parts: tuple[str, ...], name: str, pending: _Pending, *, rested: bool) -> None:
        try:
            for image in self._reader.images(parts):
                if not rested and _may_be_unfilled(image):
                    pending.doubtful = True
                    pending.error = f"{name}: its last rows are empty"
                    return
                self.intake.take(name, image)
            self.intake.note(name, self._reader.notes)
        except NotAnImageVolume as error:
            self.intake.leave_out(name, error)
        except (FormatError, OSError) as error:
            # a file that was laid out at full length and is being filled looks damaged, too
            text = str(error) if isinstance(error, FormatError) else f"{name}: {_reason(error)}"
            self._fail(path, name, text, unreadable=isinstance(error, OSError))
            return
        self._finish(path, pending.signature)

    def _fail(self, path: str, name: str, error: str, *, unreadable: bool) -> None:
        pending = self._pending[path]
        pending.error, pending.unreadable = error, unreadable
        self._maybe_give_up(path, name, pending)

    def _maybe_give_up(self, path: str, name: str, pending: _Pending) -> None:
        if self.intake.age - pending.changed < self.settings.deadline_s:
            return
        gave = path in self._recent or self._reader.gave(self._reader.parts(path))
        unreadable, known = pending.unreadable, path in self._given_up
        self._finish(path, pending.signature)
        self._recent.pop(path, None)
        self._given_up[path] = None
        if unreadable:
            # its permissions may change, which its signature does not tell
            del self._done[path]
        if not known:
            text = f"{pending.error} (given up after {self.settings.deadline_s:g} s without a change)"
            self.intake.give_up(name, text, lost=not gave)

    def _finish(self, path: str, signature: tuple[int, ...]) -> None:
        self._pending.pop(path, None)
        self._given_up.pop(path, None)
        self._done[path] = signature
        # files that are written over, or grow, have no new name
        self._recent.pop(path, None)
        self._recent[path] = None
        if len(self._recent) > _N_RECENT:
            del self._recent[next(iter(self._recent))]

    def _say(self, detail: str) -> None:
        self.intake.say(SourceState(self.name, self._state, f"{self.directory}: {detail}", SessionTime(np.nan)))


def _may_be_unfilled(image: Volume | Slice) -> bool:
    # Copying to a share may lay a file out at full length and then fill it: the last image row is still all zero.
    # Such a file must stay as it is over two looks.
    if isinstance(image, Slice):
        return not image.pixels[-1].any()
    return not image.data[:, 0, -1].any() or not image.data[:, 0, 0].any()


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
