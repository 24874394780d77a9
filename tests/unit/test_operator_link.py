"""The operator's commands as the session's own guard takes them, and what the window says became of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dashboard.link.keys import Keys
from dashboard.link.operator import ANSWER_S, LATE_S, LONGEST, NOTED, OperatorLink, Outcome
from streamer.errors import UsageError
from tests.unit.operator_room import ALL, KEY, Room, keys_of, status


@pytest.fixture
def room(tmp_path: Path) -> Room:
    made = Room(keys=keys_of(tmp_path))
    made.begin()
    return made


@pytest.mark.parametrize("tells", [True, False])
def test_a_stop_needs_no_key_and_is_confirmed_by_the_loop(tells: bool) -> None:
    room = Room(key=None)
    room.tells_armed = tells
    room.begin(["stop"])
    assert room.link.armed is True
    assert room.link.stop().outcome is Outcome.SENT
    assert room.sent[-1][1] is False
    room.wait(0.1)
    assert room.link.last is not None
    assert room.link.last.outcome is Outcome.SENT
    room.tell()
    assert room.link.last.outcome is Outcome.TAKEN
    assert room.link.armed is False
    assert room.guard.refused == {}


def test_all_else_is_signed_with_the_sessions_clock(room: Room) -> None:
    room.stopped = True
    room.wait(0.7)
    for do in (
        room.link.arm,
        lambda: room.link.annotate("coughs"),
        lambda: room.link.recentre("freeze"),
        room.link.end,
    ):
        assert do().outcome is Outcome.SENT
    assert [(c.action, c.text) for c in room.heard] == [
        ("arm", "over MQTT"),
        ("annotate", "coughs"),
        ("recentre", "freeze"),
        ("end", "ended from the dashboard"),
    ]
    assert room.guard.refused == {}
    # what must not come late is sent so that no broker keeps it
    assert [once for _, once in room.sent] == [True, False, True, True]
    at = json.loads(room.sent[0][0])["at"]
    assert at == pytest.approx(room.session_time, abs=1e-3)


@pytest.mark.parametrize(("action", "seconds"), [("stop", ANSWER_S), ("arm", ANSWER_S), ("end", 6.0)])
def test_no_answer_is_said_with_another_way(room: Room, action: str, seconds: float) -> None:
    room.stopped = action == "arm"
    room.reached = False
    room.tell()
    getattr(room.link, action)()
    room.wait(seconds)
    assert room.link.last is not None
    assert room.link.last.outcome is Outcome.SENT
    room.tell()
    room.wait(0.1)
    assert room.link.last.outcome is Outcome.NO_ANSWER
    assert "STOP" in room.link.last.said
    assert bool(room.link.alarm) is (action == "stop")


def test_a_stop_without_answer_is_not_hidden_by_a_note(room: Room) -> None:
    room.reached = False
    room.link.stop()
    room.reached = True
    room.link.annotate("later")
    room.wait(ANSWER_S + 0.1)
    assert room.link.last is not None
    assert (room.link.last.action, room.link.last.outcome) == ("stop", Outcome.NO_ANSWER)


def test_health_from_before_the_arming_does_not_confirm_it(room: Room) -> None:
    room.link.stop()
    room.tell()
    room.reached = False
    room.link.arm()
    room.tell()
    assert room.link.last is not None
    assert room.link.last.outcome is Outcome.SENT
    assert room.link.armed is False


def test_a_wrong_key_is_said_to_be_refused(tmp_path: Path) -> None:
    room = Room(keys=keys_of(tmp_path, key=b"another key, long enough"))
    room.begin()
    room.link.annotate("x")
    room.time += 0.5
    room.tell()
    assert room.link.last is not None
    assert room.link.last.outcome is Outcome.REFUSED
    assert "wrong signature" in room.link.last.said


def test_a_note_is_confirmed_by_its_marker_and_tells_its_time(room: Room) -> None:
    at = room.time
    room.wait(2.1)
    assert room.link.annotate("moved\tan arm\n", at).text == "moved an arm (at −2.1 s)"
    room.wait(0.0)
    assert room.link.last is not None
    assert room.link.last.outcome is Outcome.TAKEN
    assert room.link.annotate("now", room.time - LATE_S / 2).text == "now"
    assert room.link.annotate("  ").text == NOTED
    assert list(room.link.notes) == ["now", "moved an arm"]


@pytest.mark.parametrize("text", ["ü" * 2000, "a\x00b\x1b[2J\x7f", "\ud800 alone", '"\\' * 300])
def test_any_note_is_taken(room: Room, text: str) -> None:
    sent = room.link.annotate(text, room.time - 5)
    assert sent.outcome is Outcome.SENT
    assert len(room.heard) == 1
    assert len(room.heard[0].text) <= LONGEST
    assert room.heard[0].text.endswith("(at −5.0 s)")


def test_recentre_counts_as_taken_when_the_loop_does_not_complain(room: Room) -> None:
    room.link.recentre("rollback")
    room.tell()
    assert room.link.last is not None
    assert room.link.last.outcome is Outcome.SENT
    room.time += 1.0
    room.tell()
    assert room.link.last.outcome is Outcome.TAKEN


def test_the_end_is_confirmed_by_the_goodbye(room: Room) -> None:
    room.link.end()
    room.board.take("s", status("s", online=False, state="STOPPED"))
    room.wait(0.1)
    assert room.link.last is not None
    assert room.link.last.outcome is Outcome.TAKEN
    assert "not there" in room.link.cannot("arm")


def test_an_observer_sends_nothing(tmp_path: Path) -> None:
    room = Room(keys=keys_of(tmp_path), observer=True)
    room.begin()
    for action in ALL:
        assert "observes" in room.link.cannot(action)
    assert room.link.stop().outcome is Outcome.NOT_SENT
    assert room.link.alarm == ""
    assert room.sent == []


def test_what_cannot_be_done_says_why(tmp_path: Path) -> None:
    room = Room(keys=Keys(folder=tmp_path))
    room.link.refresh(room.board)
    assert "no session" in room.link.cannot("stop")
    room.begin(["stop", "arm"])
    assert room.link.cannot("stop") == ""
    assert "--key-file" in room.link.cannot("arm")
    assert "mqtt.commands" in room.link.cannot("end")
    room.connected = False
    assert "no connection" in room.link.cannot("stop")
    said = room.link.stop()
    assert said.outcome is Outcome.NOT_SENT
    assert "loop's terminal" in said.said
    recording = OperatorLink(None)
    assert "recording" in recording.cannot("stop")


def test_a_session_that_waits_for_its_eeg_can_be_ended_on_its_machine(tmp_path: Path) -> None:
    room = Room(keys=Keys(folder=tmp_path))
    room.board.take("s", status("s", state="STARTING"))
    room.link.refresh(room.board)
    assert room.link.time() is None
    assert room.link.cannot("stop") == ""
    keys_of(tmp_path)
    room.wait(2.0)
    assert room.link.time() == room.time
    assert room.link.cannot("end") == ""


def test_the_key_of_a_session_that_began_anew_is_taken(room: Room, tmp_path: Path) -> None:
    keys_of(tmp_path, key=b"the key of the next life")
    room.link.annotate("x")
    assert room.guard.refused == {"wrong signature": 1}


@pytest.mark.parametrize("name", ["../s", "", ".", "..", "a/b", "/etc", "s\x00", "x" * 65])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    keys_of(tmp_path)
    keys = Keys(folder=tmp_path / "sessions")
    assert keys.place(name) is None
    assert keys.of(name) is None


def test_given_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "key"
    file.write_bytes(KEY + b"\n")
    assert Keys(file).of("any") == KEY
    monkeypatch.setenv("LAB_KEY", KEY.decode())
    assert Keys(variable="LAB_KEY").of("any") == KEY
    assert KEY.decode() not in repr(Keys(variable="LAB_KEY"))
    file.write_bytes(b"short")
    with pytest.raises(UsageError, match="holds 5 bytes"):
        Keys(file)
    with pytest.raises(UsageError, match="No such file"):
        Keys(tmp_path / "none")
    with pytest.raises(UsageError, match="holds 0 bytes"):
        Keys(variable="NO_SUCH_KEY")
