"""One session through which everything but the scanner fails, one after the other."""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pylsl import local_clock

from streamer.config import commented_toml
from streamer.emit.results import read_triggers
from streamer.errors import StreamerError
from streamer.messages import EegChunk
from streamer.runlog_read import read_session
from tests.faults.live import Seen, config_of, follow, heard, task, until, well_again, windows_of
from tests.faults.table import FaultTable

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]

SETTLED_S = 21.5
"""By then all templates are there, s of the recording."""
STOPPED_S = 5.0
CAUGHT_UP_S = 17.0
PLAYED_S = 29.5
"""Of the recording, by the second amplifier."""


@dataclass
class Session:
    """What happened, and what came of it."""

    folder: Path
    times: dict[str, float]
    """Session times of what was done."""
    windows: list[Seen]
    lines: list[tuple[float, str, str]]
    said: list[str]
    summary: dict[str, Any]
    code: int
    faults: list[dict[str, Any]]
    picture: int
    """Bytes of what the second dashboard showed."""


@pytest.fixture(scope="module")
def session(alone: None, small: Path, tmp_path_factory: pytest.TempPathFactory) -> Session:
    out = tmp_path_factory.mktemp("amplifier")
    stream = f"amplifier-{uuid.uuid4().hex[:8]}"
    (out / "SESSION.toml").write_text(commented_toml(config_of(small, out, stream, "live", bold=False)))
    amplifier = ("rig", task(small), "--stream-name", stream, "--json")
    times: dict[str, float] = {}
    faults: list[dict[str, Any]] = []
    with follow("run", str(out / "SESSION.toml"), "--json") as run:
        with follow(*amplifier, "--faults", f"silent_s=10@{SETTLED_S}") as rig:
            running = run.wait_for(lambda m: m.get("event") == "running", 60)
            rig.wait_for(lambda m: m.get("state") == "playing", 60)
            began = local_clock()
            with heard(running["broker"], out / "heard") as lines:
                wait_until(began + SETTLED_S + 10.0 + 7.0)
                times["broker"] = kill_broker(run.child.process.pid)
                times["broker again"] = until(
                    lambda: lines()[-1][0] > times["broker"] + 0.1, 20, "a message after the broker was killed"
                )
                kill_dashboard(running["broker"], out, times)
                times["stop"] = local_clock()
                run.child.process.send_signal(signal.SIGSTOP)
                time.sleep(STOPPED_S)
                run.child.process.send_signal(signal.SIGCONT)
                times["continue"] = local_clock()
                time.sleep(CAUGHT_UP_S)
                times["amplifier"] = local_clock()
                rig.child.process.kill()
                rig.child.process.wait(5)
                time.sleep(1.0)
                with follow(*amplifier, "--faults", f"silent_s=1@{SETTLED_S}", "--stop", str(PLAYED_S)) as other:
                    other.wait_for(lambda m: m.get("state") == "playing", 60)
                    times["amplifier again"] = local_clock()
                    picture = look(running["broker"], out / "second.png")
                    faults = other.wait_for(lambda m: m.get("state") == "done", 90)["faults"]
                    time.sleep(0.5)
                    run.child.process.send_signal(signal.SIGTERM)
                    summary = run.wait_for(lambda m: m.get("event") == "summary", 60)
                    code = run.child.process.wait(60)
                found = lines()
        with pytest.raises(StreamerError):
            run.wait_for(lambda _: False, 1.0)
    times["began"], times["end"] = began, local_clock()
    windows = windows_of(out / "live")
    return Session(out / "live", times, windows, found, run.said(), summary, code, faults, picture)


def wait_until(at: float) -> None:
    time.sleep(max(0.0, at - local_clock()))


def kill_broker(parent: int) -> float:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            status = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if int(status[1]) == parent and b"mosquitto" in command:
            os.kill(int(entry.name), signal.SIGKILL)
            return local_clock()
    raise AssertionError(f"process {parent} has no broker")


def kill_dashboard(broker: str, out: Path, times: dict[str, float]) -> None:
    with follow("dashboard", "--broker", broker, "--offscreen", "--screenshot", str(out / "first.png")) as first:
        time.sleep(4.0)
        assert first.child.process.poll() is None, first.child.text()
        times["dashboard"] = local_clock()
        first.child.process.kill()
    time.sleep(2.0)


def look(broker: str, picture: Path) -> int:
    with follow("dashboard", "--broker", broker, "--offscreen", "--after", "4", "--screenshot", str(picture)) as again:
        again.child.process.wait(60)
        assert again.child.process.returncode == 0, again.child.text()
    return picture.stat().st_size


def gaps_of(session: Session, begin: float, end: float) -> float:
    """Seconds of EEG that are missing from the record between two times."""
    stamps = [e.times for _, e in read_session(session.folder).events if isinstance(e, EegChunk)]
    edges = [(float(a[-1]), float(b[0])) for a, b in pairwise(stamps)]
    return sum(b - a for a, b in edges if b - a > 0.05 and begin <= b and a <= end)


@pytest.mark.parametrize(("seconds", "after"), [(10.0, "began"), (1.0, "amplifier again")])
def test_a_silent_amplifier(session: Session, table: FaultTable, seconds: float, after: str) -> None:
    begin = session.times[after] + SETTLED_S
    lost = gaps_of(session, begin - 1.0, begin + seconds + 2.0)
    assert lost == pytest.approx(seconds, abs=0.1)
    stop = session.times["broker"] if seconds == 10.0 else session.times[after] + PLAYED_S - 0.2
    again = well_again(session.windows, begin - 0.2, begin + seconds, stop)
    assert 0 < again < 8.0
    inside = [w for w in session.windows if begin + 0.6 < w.cut < begin + seconds]
    assert inside, "windows go on"
    assert not any(w.well for w in inside), "and say that there is no EEG"
    seen = "windows go on, flagged GAP or NO_EEG; no trigger"
    if seconds == 10.0:
        assert any(": no data" in text for text in session.said)
        seen = f"“lost: no data for …”, then “back”; {seen}"
    table.add(f"EEG silent for {seconds:g} s, the stream stays", seen, f"{lost:.2f} s of EEG, as samples", again)


def test_an_amplifier_that_is_killed_and_started_again(session: Session, table: FaultTable) -> None:
    begin, end = session.times["amplifier"], session.times["amplifier again"]
    assert any("lost" in text for text in session.said)
    assert any("back" in text for text in session.said)
    again = well_again(session.windows, begin - 0.1, end, end + SETTLED_S - 0.3)
    assert again < SETTLED_S
    lost = gaps_of(session, begin - 1.0, end + 2.0)
    assert lost >= end - begin - 0.5
    table.add(
        "amplifier's process killed, another started",
        "“lost: its sender is gone”, then “back: data again”; no trigger until templates are made anew",
        f"{lost:.1f} s of EEG: the time that it was away",
        again,
    )


def test_all_that_was_sent_and_is_gone_is_counted(session: Session) -> None:
    missing = session.summary["losses"]["samples"]
    gone = gaps_of(session, session.times["began"], session.times["end"])
    assert missing == pytest.approx(gone * 1000.0, abs=50)
    assert session.code == 4, "data was lost: the exit code says so"


def test_a_broker_that_is_killed(session: Session, table: FaultTable) -> None:
    killed, back = session.times["broker"], session.times["broker again"]
    assert any("embedded broker had died" in text for text in session.said)
    assert back - killed < 10.0
    numbers = [
        json.loads(p)["seq"] for at, topic, p in session.lines if topic == "prediction" and at < session.times["stop"]
    ]
    lost = max(numbers) - min(numbers) + 1 - len(set(numbers))
    assert lost <= 10 * (back - killed) + 20
    windows = [w for w in session.windows if killed <= w.cut < back + 1.0]
    assert all(w.well for w in windows), "the loop does not wait for a broker"
    table.add(
        "broker killed",
        "“the embedded broker had died; it was started again”; health names the broker while it is away",
        f"{lost} of {max(numbers) - min(numbers) + 1} predictions (QoS 0) for one that listens; nothing in the loop",
        back - killed,
    )


def test_a_dashboard_that_is_killed(session: Session, table: FaultTable) -> None:
    at = session.times["dashboard"]
    assert all(w.well for w in session.windows if at - 3.0 < w.cut < at + 1.5)
    assert session.picture > 20_000, "another one shows all"
    table.add("dashboard killed", "its window is gone; another can be opened at once", "nothing", 0.0)


def test_a_loop_that_stands_still(session: Session, table: FaultTable) -> None:
    begin, end = session.times["stop"], session.times["continue"]
    assert gaps_of(session, begin - 1.0, end + 2.0) == 0.0, "LSL keeps what was sent meanwhile"
    again = well_again(session.windows, begin - 0.1, end, session.times["amplifier"])
    assert again < CAUGHT_UP_S - 1.0
    # what is decided while the loop catches up is too late to be acted on
    late = [w for w in session.windows if end <= w.cut < end + again and w.cut - w.end > 1.0]
    assert late
    triggers = read_triggers(session.folder)
    assert not [t for t in triggers if begin < t.expires < end]
    table.add(
        "loop stopped for 5 s (SIGSTOP)",
        "silence; then it catches up, and triggers that are late are refused (“gate: expired”)",
        "nothing: LSL holds 5 s and more",
        again,
    )
