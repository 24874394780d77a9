"""``streamer messages`` and the dashboard's feed of a recording, in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import replay_data
from dashboard.link.feed import Arrival
from dashboard.link.played import PlayedFeed
from streamer import wire
from streamer.wire.records import PROGRESS, decode_progress, read_records

pytestmark = [pytest.mark.system, pytest.mark.beside, pytest.mark.timeout(120)]

SHIPPED = Path(replay_data.__file__).parent / "short" / "task" / "recording.toml"
COMMAND = [sys.executable, "-m", "streamer", "messages"]


def take(feed: PlayedFeed, seconds: float = 60.0) -> list[Arrival]:
    """All that a feed gives until it ends or says why it does not."""
    deadline = time.monotonic() + seconds
    taken: list[Arrival] = []
    while time.monotonic() < deadline:
        over = feed.ended or bool(feed.problem)
        taken += feed.drain()
        if over:
            return taken
        time.sleep(0.02)
    raise AssertionError(f"not over after {seconds} s: {feed.progress}")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def wait_until_gone(pid: int, seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not is_alive(pid):
            return True
        time.sleep(0.05)
    return False


def test_standard_output_holds_records_and_nothing_else(tmp_path: Path):
    out = tmp_path / "records"
    with out.open("wb") as file:
        done = subprocess.run([*COMMAND, str(SHIPPED)], stdout=file, stderr=subprocess.PIPE, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    with out.open("rb") as file:
        records = list(read_records(file))
    assert records[-1].topic == PROGRESS
    assert decode_progress(records[-1].payload).ended
    kinds = Counter(record.topic for record in records)
    assert kinds["eegfmri/task/about"] == 2  # the second knows the TR
    assert kinds["eegfmri/task/bold"] == kinds["eegfmri/task/preview/volume"] == 24
    for record in records:
        if record.topic != PROGRESS:
            wire.decode(record.payload)


def test_without_a_model_nothing_is_decided():
    done = subprocess.run([*COMMAND, "--no-model", str(SHIPPED)], capture_output=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert b'"model":"none"' in done.stdout
    assert b'"kind":"prediction"' not in done.stdout
    assert b'"kind":"bold"' in done.stdout


def test_what_cannot_be_played_ends_with_a_reason(tmp_path: Path):
    done = subprocess.run([*COMMAND, str(tmp_path / "none")], capture_output=True, timeout=100, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"no such file" in done.stderr


def test_bytes_are_not_written_to_a_terminal():
    leader, follower = os.openpty()
    try:
        done = subprocess.run(
            [*COMMAND, str(SHIPPED)], stdout=follower, stderr=subprocess.PIPE, timeout=100, check=False
        )
    finally:
        os.close(follower)
        os.close(leader)
    assert done.returncode == 2
    assert b"is a terminal" in done.stderr


def test_a_reader_that_goes_away_ends_it_without_a_word():
    child = subprocess.Popen([*COMMAND, str(SHIPPED)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stderr is not None
    with child.stdout, child.stderr:
        assert child.stdout.read(4) == b"EFSM"
        child.stdout.close()
        assert child.wait(60) == 0
        assert child.stderr.read() == b""


def test_the_feed_gives_the_whole_recording():
    feed = PlayedFeed(SHIPPED)
    feed.start()
    try:
        kinds = Counter(type(arrival.message).__name__ for arrival in take(feed))
    finally:
        feed.stop()
    assert (feed.problem, feed.malformed, feed.dropped, feed.progress, feed.ended) == ("", 0, 0, 1.0, True)
    assert kinds["BoldMessage"] == kinds["VolumeMessage"] == 24
    assert kinds["EegPreview"] > 200
    assert kinds["Status"] >= 3
    assert feed.span[0] < 1.0
    assert feed.span[1] > 28.0


@pytest.mark.parametrize(
    ("options", "said"),
    [((), "no such file"), (("--config", "/none.toml"), "/none.toml"), (("--nothing",), "--nothing")],
)
def test_the_feed_says_why_a_recording_cannot_be_played(tmp_path: Path, options: tuple[str, ...], said: str):
    feed = PlayedFeed(tmp_path / "none", options)
    feed.start()
    try:
        assert take(feed) == []
    finally:
        feed.stop()
    assert said in feed.problem
    assert not feed.connected
    assert not feed.ended


def test_a_child_that_is_killed_is_a_problem():
    feed = PlayedFeed(SHIPPED, capacity=1)
    feed.start()
    try:
        assert feed._child is not None
        while not feed.received:
            time.sleep(0.02)
        feed._child.kill()
        take(feed)
    finally:
        feed.stop()
    assert "ended with -9" in feed.problem or "ends within a record" in feed.problem
    assert not feed.connected


def test_stopping_ends_a_child_that_waits_for_room():
    feed = PlayedFeed(SHIPPED, capacity=1)
    feed.start()
    assert feed._child is not None
    pid = feed._child.pid
    while feed.received < 2:
        time.sleep(0.02)
    feed.stop()
    assert not is_alive(pid)
    assert (feed.problem, feed.ended) == ("", False)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at /proc")
def test_the_child_dies_with_a_parent_that_is_killed():
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from dashboard.link.played import PlayedFeed\n"
        "feed = PlayedFeed(Path(sys.argv[1]), capacity=1)\n"
        "feed.start()\n"
        "while feed.received < 2:\n    time.sleep(0.02)\n"
        "print(feed._child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(SHIPPED)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert wait_until_gone(pid)
