"""What the window shows in every trouble that an operator must see: a real broker, asserted on the widgets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtGui import QImage
from pytestqt.qtbot import QtBot

from dashboard.flags import Level
from streamer.broker import EmbeddedBroker
from streamer.wire import MarkerMessage
from tests.system.dashboard_loop import CHANNELS, STEP_S, Loop
from tests.system.dashboard_room import Room, grey, pictures_folder

pytestmark = [pytest.mark.system, pytest.mark.beside]

Open = Callable[..., Room]


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as started:
        yield started


@pytest.fixture
def loop(broker: EmbeddedBroker) -> Iterator[Loop]:
    made = Loop(broker.url)
    made.begin()
    yield made
    made.close()


@pytest.fixture
def open_room(qtbot: QtBot, broker: EmbeddedBroker, tmp_path: Path) -> Iterator[Open]:
    opened: list[Room] = []

    def make(session: str | None) -> Room:
        opened.append(Room(qtbot, broker.url, session, pictures_folder(tmp_path)))
        return opened[-1]

    yield make
    for room in opened:
        room.close()


@pytest.fixture
def room(open_room: Open, loop: Loop) -> Room:
    """A window on a loop that has run well for 12 s."""
    made = open_room(loop.session)
    loop.run(24)
    made.catch_up(loop)
    assert made.word == "RUNNING"
    return made


def test_all_is_well(room: Room, loop: Loop) -> None:
    loop.mark("task begins")
    loop.trigger(0)
    loop.veto("MOTION")
    loop.run(4)
    room.catch_up(loop)
    assert (room.level, room.advice) == (Level.GOOD, "All lanes are good. Triggers are on.")
    assert loop.session in room.status
    assert "fusion@0123456789ab" in room.status
    eeg = room.said("eeg")
    assert f"{len(CHANNELS)} channels" in eeg
    assert "no samples missing" in eeg
    assert "bad" not in eeg
    decision = room.said("decision")
    for text in ("rest 0.", "task 0.", "1 triggers", "uncertainty 0.70", "the head moves"):
        assert text in decision
    assert "still: FD 0.10 mm" in room.said("motion")
    assert "no volume for" not in room.said("regions")
    assert "threshold 0.70" in room.said("score")
    assert "eeg 20 ms old" in room.said("modality")
    health = room.said("health")
    for text in ("1.23 M", "12.5", "eeg samples 0", "unreadable 0", "heart rate 62 /min"):
        assert text in health
    assert "stale" not in room.said("planes")
    assert "α peak 10" in room.said("spectrum")
    picture = room.picture("running")
    assert grey(QImage(str(picture))).std() > 10


def test_dead_eeg(room: Room, loop: Loop) -> None:
    room.passes(2.0)
    # the loop itself goes on
    loop.run(8, eeg=False, state="DEGRADED", flags=["NO_EEG", "STALE"], health_flags=["NO_EEG", "STALE"])
    room.catch_up(loop)
    assert (room.word, room.level) == ("EEG SILENT", Level.ALARM)
    assert "No EEG for 3 s: is the amplifier recording" in room.advice
    scene = room.panel("eeg").traces.scene
    assert scene.silent == pytest.approx(8 * STEP_S, abs=0.1)
    assert "eeg ■ stale, 20 ms old: does not count" in room.said("modality")
    room.picture("dead-eeg")
    # and it comes back, with the gap in plain sight
    loop.run(4)
    room.catch_up(loop)
    assert room.word == "RUNNING"
    assert "1000 samples missing" in room.said("eeg")
    begin, end = room.panel("eeg").traces.scene.gaps[0]
    assert begin - end == pytest.approx(8 * STEP_S, abs=0.05)


def test_no_eeg_from_the_beginning(open_room: Open, loop: Loop) -> None:
    room = open_room(loop.session)
    loop.run(2, eeg=False)
    room.catch_up(loop)
    room.passes(3.5)
    loop.run(2, eeg=False)
    room.catch_up(loop)
    assert room.word == "EEG SILENT"
    assert "start the amplifier's LSL stream" in room.advice
    assert "no EEG yet" in room.said("eeg")


def test_dead_scanner(room: Room, loop: Loop) -> None:
    flags = ["NO_BOLD", "STALE"]
    loop.run(40, volumes=False, state="DEGRADED", flags=flags, health_flags=flags, bold_age=20.0)
    room.catch_up(loop)
    assert (room.word, room.level) == ("STALE BOLD", Level.WARN)
    assert "No new volume for 20 s: is the scan still running" in room.advice
    assert "Triggers wait." in room.advice
    for key in ("regions", "motion"):
        assert "no volume for 2" in room.said(key)
    assert "stale, 2" in room.said("planes")
    assert "bold ■ stale, 20.0 s old: does not count" in room.said("modality")
    room.picture("dead-scanner")


def test_a_scan_that_has_not_begun(open_room: Open, loop: Loop) -> None:
    room = open_room(loop.session)
    loop.run(4, volumes=False)
    room.catch_up(loop)
    assert (room.word, room.level) == ("WAITING FOR VOLUMES", Level.BUSY)
    assert "Start the scan" in room.advice
    for key in ("regions", "motion", "planes", "connectivity"):
        assert "volume" in room.said(key), key


def test_stale_bold_that_still_comes(room: Room, loop: Loop) -> None:
    loop.run(8, state="DEGRADED", flags=["NO_BOLD", "STALE"], health_flags=["STALE", "NO_BOLD"], bold_age=9.0)
    room.catch_up(loop)
    assert room.word == "STALE BOLD"
    assert "bold ■ stale, 9.0 s old: does not count" in room.said("modality")
    # volumes come, but too late: nothing is missing in their own panels
    assert "no volume for" not in room.said("motion")


def test_a_loop_that_vanishes(room: Room, loop: Loop) -> None:
    loop.vanish()
    room.until("OFFLINE")
    assert room.level is Level.ALARM
    assert "vanished without a goodbye" in room.advice
    room.picture("dead-loop")


def test_a_loop_that_hangs(room: Room) -> None:
    room.passes(5.0)
    assert (room.word, room.level) == ("LOOP SILENT", Level.ALARM)
    assert "Is its process alive?" in room.advice


def test_motion(room: Room, loop: Loop) -> None:
    loop.run(8, fd=1.2, flags=["MOTION"], health_flags=["MOTION"])
    loop.veto("MOTION")
    room.catch_up(loop)
    assert (room.word, room.level) == ("MOTION", Level.WARN)
    assert "remind the participant to lie still. Triggers wait." in room.advice
    assert "moved: FD 1.20 mm" in room.said("motion")
    assert "2 moved" in room.said("regions")
    decision = room.said("decision")
    assert "the head moves" in decision
    assert "1 " in decision
    room.picture("motion")


def test_a_clipped_channel(room: Room, loop: Loop) -> None:
    loop.run(8, clipped=["Cz"], bad=["Cz"], flags=["CLIPPED"], health_flags=["CLIPPED"])
    room.catch_up(loop)
    assert (room.word, room.level) == ("CLIPPED", Level.WARN)
    assert "check electrodes and the amplifier's range. Bad: Cz." in room.advice
    assert "bad: Cz" in room.said("eeg")
    assert room.panel("eeg").traces.scene.bad == {CHANNELS.index("Cz")}
    assert "1 bad left out" in room.said("spectrum")
    assert "1 bad left out" in room.said("scalp")
    room.picture("clipped")


def test_bad_channels(room: Room, loop: Loop) -> None:
    bad = ["Fp1", "Fp2", "F3", "O1"]
    loop.run(8, bad=bad, flags=["BAD_CHANNELS"], health_flags=["BAD_CHANNELS"], state="DEGRADED")
    room.catch_up(loop)
    assert (room.word, room.level) == ("BAD CHANNELS", Level.WARN)
    assert "check the cap's impedances. Bad: Fp1, Fp2, F3, O1." in room.advice
    assert "bad: Fp1, Fp2, F3, O1" in room.said("eeg")
    assert "too many bad channels" in room.said("health")
    room.picture("bad-channels")


def test_abstention(room: Room, loop: Loop) -> None:
    loop.run(8, flags=["ABSTAINED"])
    room.catch_up(loop)
    assert (room.word, room.level) == ("ABSTAINED", Level.BUSY)
    assert "cannot tell the states apart" in room.advice
    decision = room.said("decision")
    assert "abstained" in decision
    assert "candidates: none" in decision
    assert "abstains" in room.said("modality")
    room.picture("abstention")


def test_triggers_stopped(room: Room, loop: Loop) -> None:
    loop.status("STOPPED")
    loop.run(4, state="STOPPED", neutral=True)
    loop.veto("stopped by the operator")
    room.catch_up(loop)
    assert (room.word, room.level) == ("TRIGGERS STOPPED", Level.WARN)
    assert "Arm to go on" in room.advice
    assert "neutral" in room.said("score")
    assert "stopped by the operator" in room.said("decision")
    room.picture("triggers-stopped")


def test_blinded(open_room: Open, broker: EmbeddedBroker) -> None:
    loop = Loop(broker.url, blinded=True)
    try:
        loop.begin()
        room = open_room(loop.session)
        loop.run(12)
        room.catch_up(loop)
        assert "◑ BLINDED" in room.status
        assert room.word == "RUNNING"
        for key in ("regions", "decision", "modality", "explanation", "connectivity"):
            assert "blinded" in room.said(key), key
        assert "as shown (may be sham)" in room.said("score")
        room.picture("blinded")
    finally:
        loop.close()


def test_losses_are_shown_at_once(room: Room, loop: Loop) -> None:
    loop.losses["eeg_samples"] = 40
    loop.run(2)
    room.catch_up(loop)
    assert (room.word, room.level) == ("RUNNING", Level.WARN)
    assert "Lost: eeg samples 40." in room.advice
    assert "eeg samples 40" in room.said("health")


def test_a_window_that_opens_late(open_room: Open, broker: EmbeddedBroker) -> None:
    loop = Loop(broker.url, step=7200)
    try:
        loop.begin()
        room = open_room(loop.session)
        loop.run(12)
        room.catch_up(loop)
        assert room.word == "RUNNING"
        # what was before is not missing: it was never this window's
        assert "no samples missing" in room.said("eeg")
        assert "no volume for" not in room.said("motion")
        assert "stale" not in room.said("planes")
    finally:
        loop.close()


def test_a_session_of_another_shape(room: Room, loop: Loop, broker: EmbeddedBroker) -> None:
    assert f"{len(CHANNELS)} channels" in room.said("eeg")
    before = {panel.key: panel.state() for panel in room.window.panels}
    loop.close()
    other = Loop(
        broker.url, loop.session, channels=("Oz", "Iz", "X1"), regions=("left", "right", "brainstem"),
        classes=("left", "right", "feet"), sfreq=100.0,
    )  # fmt: skip
    try:
        other.begin()
        other.run(12)
        room.catch_up(other)
        assert room.word == "RUNNING"
        eeg = room.said("eeg")
        assert "3 channels" in eeg
        assert "100 Hz" in eeg
        assert room.panel("eeg").traces.scene.names == ("Oz", "Iz", "X1")
        assert "feet 0." in room.said("decision")
        assert room.window.board.about is not None
        assert room.window.board.about.regions == ["left", "right", "brainstem"]
        # too few electrodes for a map, and it says so
        assert "a map needs" in room.said("scalp")
        room.said("regions")
        assert {panel.key for panel in room.window.panels} == set(before)
        assert room.window.board.rejected == 0
        room.picture("another-shape")
    finally:
        other.close()


def test_nothing_but_unknown_values(room: Room, loop: Loop) -> None:
    loop.run(24, unknown=True)
    room.catch_up(loop)
    assert room.word == "RUNNING"
    for panel in room.window.panels:
        assert room.said(panel.key), panel.key
    assert "bold no data" in room.said("modality")
    assert "heart rate …" in room.said("health")
    room.picture("unknown-values")
    loop.run(24)
    room.catch_up(loop)
    assert "bold 2.5 s old" in room.said("modality")
    assert "α peak 10" in room.said("spectrum")


def test_unknown_values_from_the_first_on(open_room: Open, loop: Loop) -> None:
    room = open_room(loop.session)
    loop.run(16, unknown=True)
    room.catch_up(loop)
    assert room.word == "RUNNING"
    for panel in room.window.panels:
        room.said(panel.key)
    room.picture("unknown-from-the-first")


def test_a_session_ends_and_the_window_goes_over_to_the_next(open_room: Open, broker: EmbeddedBroker) -> None:
    first, second = Loop(broker.url), Loop(broker.url, channels=CHANNELS[:5])
    try:
        first.begin()
        room = open_room(None)
        first.run(4)
        room.until(first.session)
        first.status("STOPPED", online=False, detail="All data is written.")
        room.until("ENDED")
        assert "All data is written." in room.advice
        second.begin()
        second.run(4)
        room.until(second.session)
        room.catch_up(second)
        assert room.word == "RUNNING"
        assert "5 channels" in room.said("eeg")
        # the one before says something late: nobody is shown it
        first.run(2)
        first.last_word()
        second.run(2)
        room.catch_up(second)
        assert second.session in room.status
        assert "5 channels" in room.said("eeg")
    finally:
        second.close()
        first.close()


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("health", b"\xff not a message"),
        ("preview/eeg.bin", b"EFSP" + b"\xff" * 60),
        ("preview/eeg.bin", b""),
        ("preview/volume", b"EFVV" + b"\xff" * 200),
        ("bold", b'{"kind":"bold","schema":99}'),
        ("prediction", b"[" * 100_000),
        ("about", b'{"kind":"about","schema":1}'),
    ],
    ids=["text", "preview", "empty", "volume", "newer", "deep", "incomplete"],
)
def test_hostile_payloads_are_counted(room: Room, loop: Loop, name: str, payload: bytes) -> None:
    loop.say(name, payload)
    loop.run(2)
    room.catch_up(loop)
    assert room.window.feed.malformed == 1
    assert room.word == "RUNNING"
    room.passes(2.1)
    assert "unreadable 1" in room.said("health")


def test_messages_that_contradict_their_session(room: Room, loop: Loop) -> None:
    ragged = (
        b'{"kind":"preview","schema":1,"first_sample":0,"t0":1.0,"sfreq":250.0,"data_uv":[[1.0],[1.0,2.0]],"flags":[]}'
    )
    loop.say("preview/eeg", ragged)
    loop.say("marker", MarkerMessage(label="<b>&x</b>" * 500, at=loop.now))
    loop.run(2)
    room.catch_up(loop)
    assert room.window.board.rejected == 1
    assert f"{len(CHANNELS)} channels" in room.said("eeg")
    room.passes(2.1)
    assert "unreadable 1" in room.said("health")


@pytest.mark.parametrize("at", [1e300, -1e300, 1e12])
def test_a_time_that_cannot_be(room: Room, loop: Loop, at: float) -> None:
    loop.say("marker", MarkerMessage(label="when?", at=at))
    loop.run(4)
    room.catch_up(loop)
    assert room.word == "RUNNING"
    for panel in room.window.panels:
        room.said(panel.key)
    assert room.panel("eeg").traces.scene.silent == 0
    assert "no volume for" not in room.said("motion")
