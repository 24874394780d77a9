"""Live sessions that faults are injected into, and what can be found out about them afterwards."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pylsl import local_clock

from streamer.acquire.scanner_export import ExportSettings
from streamer.child import Child
from streamer.config import BoldSection, Config, EegSection, ModelSection, SessionSection
from streamer.messages import Flag, Window
from streamer.replay import config_for, open_origin, prepare
from tests.foreign_client import TEXT_TOPICS

TROUBLE = Flag.GAP | Flag.CLOCK_STEP | Flag.WARMING | Flag.STALE | Flag.UNSYNCED | Flag.NO_EEG | Flag.BAD_CHANNELS
"""What a window must not say while all is well with its EEG."""
LATE_S = 0.5
"""A window that is cut this long after its end comes from a loop that has not caught up."""


def config_of(small: Path, out: Path, stream: str, name: str, *, bold: bool = True) -> Config:
    """Settings for a live session in ``out`` on the small recording's streams."""
    recording = small / "recording"
    return Config(
        session=SessionSection(directory=out, name=name),
        eeg=EegSection.of_rig(stream),
        bold=BoldSection(
            enabled=bold,
            directory=out / "export",
            export=ExportSettings(deadline_s=3.0),
            regions=recording / "regions.nii.gz",
            region_names=recording / "regions.tsv",
        ),
        model=ModelSection(card="score", calibration=small / "calibration"),
    )


@dataclass
class Follower:
    """A child whose messages are kept."""

    child: Child
    seen: list[dict[str, Any]] = field(default_factory=list)

    def wait_for(self, fits: Callable[[dict[str, Any]], bool], seconds: float) -> dict[str, Any]:
        """Wait for a message; StreamerError when it does not come."""

        def keep(message: dict[str, Any]) -> bool:
            self.seen.append(message)
            return fits(message)

        return self.child.wait_for(keep, seconds)

    def said(self) -> list[str]:
        """What the operator was told."""
        return [str(m["text"]) for m in self.seen if m.get("event") == "said"]


@contextmanager
def follow(*arguments: str) -> Generator[Follower]:
    """Start a verb, keep what it says, and end it with the block."""
    follower = Follower(Child(*arguments))
    try:
        yield follower
    finally:
        follower.child.end()


@contextmanager
def heard(broker: str, path: Path) -> Generator[Callable[[], list[tuple[float, str, str]]]]:
    """Listen as a foreign client; gives what it heard so far: time (session's), topic, payload."""
    program = shutil.which("mosquitto_sub")
    assert program, "mosquitto_sub is missing: sudo apt-get install -y mosquitto-clients"
    port = broker.rsplit(":", 1)[-1]
    command = [program, "-p", port, *TEXT_TOPICS, "-F", "%U %t %p"]
    offset = local_clock() - time.time()

    def lines() -> list[tuple[float, str, str]]:
        whole = [line.split(" ", 2) for line in path.read_text(errors="replace").splitlines() if line.count(" ") > 1]
        return [(float(at) + offset, topic.split("/", 2)[-1], payload) for at, topic, payload in whole]

    with path.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL) as client:
        try:
            yield lines
        finally:
            client.terminate()


def until(fits: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait until something holds; gives the session time then."""
    deadline = time.monotonic() + seconds
    while not fits():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.05)
    return local_clock()


@dataclass(frozen=True)
class Seen:
    """One window of a live session: when it was cut, what it speaks of, what was wrong."""

    cut: float
    end: float
    flags: Flag
    eeg_valid: bool

    @property
    def well(self) -> bool:
        """Whether it would have been good enough for a trigger."""
        return self.eeg_valid and not self.flags & TROUBLE and self.cut - self.end < LATE_S


def windows_of(folder: Path) -> list[Seen]:
    """Every window of a session, from its own log."""
    run = prepare(open_origin(folder), config_for(folder, None))
    return [
        Seen(event.received, output.end, output.flags, output.eeg_valid)
        for event, outputs in run.steps()
        for output in outputs
        if isinstance(output, Window)
    ]


def well_again(windows: list[Seen], begin: float, end: float, until_s: float) -> float:
    """Give the time from a fault's ``end`` to the window after which all stays well, up to ``until_s``.

    The windows just before ``begin`` must be well: otherwise nothing would be known.
    """
    before = [w for w in windows if begin - 1.0 <= w.cut < begin]
    assert before
    assert all(w.well for w in before), [w.flags for w in before]
    during = [w for w in windows if begin <= w.cut < until_s]
    bad = [place for place, w in enumerate(during) if not w.well]
    if not bad:
        return 0.0
    assert bad[-1] + 1 < len(during), f"not well again: {during[-1].flags}"
    return max(0.0, during[bad[-1] + 1].cut - end)


def task(small: Path) -> str:
    """The recording that is played."""
    return str(small / "recording" / "task" / "recording.toml")


def last_health(lines: list[tuple[float, str, str]]) -> dict[str, Any]:
    """Newest telemetry that a foreign client heard."""
    return json.loads(next(payload for _, topic, payload in reversed(lines) if topic == "health"))
