"""What scanners send becomes the session's volumes: the one way that files and pushed objects share.

Images come one by one, whole volumes or slices of them. Slices are put together, series that are no run are left out,
what came before is dropped: by series and number, never by the order of arrival.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from streamer.acquire.export_runs import RunChoice
from streamer.errors import FormatError
from streamer.formats.dicom import NotAnImageVolume, Slice
from streamer.formats.dicom_assemble import Assembler
from streamer.messages import SourceState, Volume

_MAX_STEP_S = 2.0
_BEFORE_MR = re.compile(r"^.+?(?=\.MR\.)")
_UID = re.compile(r"\d+(?:\.\d+){5,}")


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


Arrival = Volume | FileProblem | SourceState


class VolumeIntake:
    """Images of all sources to the volumes of the session's runs.

    Parameters
    ----------
    series : int or None
        Number of the one series to take; None as :class:`RunChoice` has it.
    deadline_s : float
        A volume whose slices have stopped coming for so long is given up, s.
    now : callable
        Gives the time in s. A step of more than 2 s between two looks counts as 2 s: after a stop of the machine
        everything that is unfinished gets its time again.
    echo : int
        Which echo of a multi-echo scan the sources are to read, from 1.

    Attributes
    ----------
    counts : Counter of str
        ``volumes``, ``duplicates``, ``contradictions`` (duplicates with other content), ``other_series``,
        ``not_images`` and ``quarantined`` so far, and what the sources count.
    """

    def __init__(self, series: int | None, deadline_s: float, now: Callable[[], float], echo: int = 1) -> None:
        self.echo = echo
        self.counts: Counter[str] = Counter()
        self.age = 0.0
        """Seconds in which somebody looked."""
        self._deadline_s = deadline_s
        self._now = now
        self._last = now()
        self._runs = RunChoice(series)
        self._assembler = Assembler()
        self._last_slice: dict[tuple[str, int], float] = {}
        self._seen: dict[tuple[str, int], int | None] = {}
        self._said: set[str] = set()
        self._problems: list[FileProblem | SourceState] = []
        self._volumes: list[Volume] = []

    def resume(self, seen: Iterable[tuple[str, int]], newest: Volume | None) -> None:
        """Go on where another intake ended: with the volumes that it gave, and the newest of its present run."""
        self._seen.update(dict.fromkeys(seen))
        if newest is not None:
            self._runs.take(newest)

    def tick(self) -> None:
        """Let the time go on; once before every look."""
        now = self._now()
        self.age += min(max(now - self._last, 0.0), _MAX_STEP_S)
        self._last = now

    def take(self, name: str, image: Volume | Slice) -> None:
        """Take an image that came whole; ``name`` is how problems call it."""
        volume = self._add_slice(name, image) if isinstance(image, Slice) else image
        if volume is None:
            return
        identity = (volume.series, volume.index)
        # only to tell a repetition from a contradiction
        digest = zlib.crc32(volume.data.tobytes())
        if identity in self._seen:
            self.counts["duplicates"] += 1
            if self._seen[identity] not in {digest, None}:
                self.counts["contradictions"] += 1
                text = f"{name}: volume {volume.index + 1} of series {volume.series} came before with other content"
                self.say_once("contradiction", FileProblem(name, f"{text}; the first is kept", lost=False))
            return
        self._seen[identity] = digest
        passed, left_out = self._runs.take(volume)
        for other, reason in left_out:
            self.counts["other_series"] += 1
            text = f"{name}: series {other.series} is left out: {reason}"
            self.say_once(f"{other.series} {reason}", FileProblem(name, text, lost=False))
        self.counts["volumes"] += len(passed)
        self._volumes += passed

    def note(self, name: str, notes: Iterable[str]) -> None:
        """Tell what was put right or left out in a file, once for each kind."""
        for text in notes:
            self.say_once(f"note: {text}", FileProblem(name, f"{name}: {text}", lost=False))

    def leave_out(self, name: str, error: NotAnImageVolume) -> None:
        """Count an object that is sound and no volume; told once for each kind."""
        self.counts["not_images"] += 1
        kind = str(error).removeprefix(f"{name}: ")
        self.say_once(f"not an image: {kind}", FileProblem(name, f"{error}; left out", lost=False))

    def give_up(self, name: str, text: str, *, lost: bool = True) -> None:
        """Count a file, or an object, that cannot be used."""
        self.counts["quarantined"] += 1
        self.say(FileProblem(name, text, lost=lost))

    def say(self, item: FileProblem | SourceState) -> None:
        """Hand something on with the volumes."""
        self._problems.append(item)

    def say_once(self, key: str, problem: FileProblem) -> None:
        """Hand a problem on, the first of its kind only."""
        if key not in self._said:
            self._said.add(key)
            self.say(problem)

    def drain(self) -> list[Arrival]:
        """Give what came since the last time: problems and states, then volumes in the order of their numbers."""
        self._give_up_volumes()
        problems, volumes = self._problems, self._volumes
        self._problems, self._volumes = [], []
        return [*problems, *sorted(volumes, key=self._runs.order)]

    def _add_slice(self, name: str, piece: Slice) -> Volume | None:
        if piece.n_slices is None:
            self.counts["not_images"] += 1
            text = f"{name}: one slice of a volume, and its header does not tell of how many; all such are left out"
            self.say_once("slices", FileProblem(name, text, lost=True))
            return None
        self._last_slice[piece.series, piece.volume] = self.age
        before = self._assembler.counts["duplicates"]
        try:
            volume = self._assembler.feed(piece)
        except FormatError as error:
            self.give_up(name, str(error))
            return None
        self.counts["duplicates"] += self._assembler.counts["duplicates"] - before
        return volume

    def _give_up_volumes(self) -> None:
        waiting = self._assembler.incomplete()
        self._last_slice = {key: self._last_slice[key] for key in ((each.series, each.volume) for each in waiting)}
        for each in waiting:
            if self.age - self._last_slice[each.series, each.volume] >= self._deadline_s:
                self._assembler.give_up(each.series, each.volume)
                self.give_up(each.series, f"{each} (given up after {self._deadline_s:g} s without a further one)")


def shown_name(name: str) -> str:
    """Write a file's name as messages may show it: without a person's name or a UID, on one line.

    Siemens scanners begin the names of .IMA files with the name that was registered, and many exports name files by
    their UID.
    """
    name = _BEFORE_MR.sub("…", name)
    name = _UID.sub(lambda found: "…" + found[0].rpartition(".")[2], name)
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in name)
