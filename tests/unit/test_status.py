"""The status line: what it says, in which order of urgency, and what its panel shows of it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from pytestqt.qtbot import QtBot

from dashboard.board import Board
from dashboard.flags import MEANINGS, in_words
from dashboard.link.feed import BrokerAddress, Feed
from dashboard.link.played import PlayedFeed
from dashboard.panels.status_line import FLAGS_FROM_S, OVERLOAD_S, StatusPanel, situation
from dashboard.status import Level, Situation, status_line
from streamer.messages import Flag
from streamer.wire import About, ChannelEntry, ConfigMessage, HealthMessage, PredictionMessage, QualityMessage, Status

GOOD = {
    "connected": True,
    "session": "s",
    "online": True,
    "state": "RUNNING",
    "health_state": "RUNNING",
    "health_age": 0.5,
    "followed": 60.0,
    "eeg_age": 0.1,
    "volumes": 5,
}
STOPPED = {"state": "STOPPED", "health_state": "STOPPED"}


@pytest.mark.parametrize(
    ("change", "word", "level", "says"),
    [
        ({}, "RUNNING", Level.GOOD, "All lanes are good"),
        ({"connected": False, "broker": "mqtt://h:1"}, "NO BROKER", Level.ALARM, "mqtt://h:1"),
        ({"session": None, "online": False}, "NO SESSION", Level.IDLE, "Waiting for a session"),
        ({"wanted": "s", "online": False, "state": ""}, "NO SESSION", Level.IDLE, "session s"),
        ({"online": False}, "OFFLINE", Level.ALARM, "without a goodbye"),
        ({"online": False, "ended": True}, "ENDED", Level.IDLE, "over"),
        ({"health_age": 9.0}, "LOOP SILENT", Level.ALARM, "9 s"),
        ({"health_age": None}, "LOOP SILENT", Level.ALARM, "sends nothing"),
        ({"state": "STARTING", "eeg_age": None}, "STARTING", Level.BUSY, "streams"),
        ({"eeg_age": 3.2}, "EEG SILENT", Level.ALARM, "3 s"),
        ({"eeg_age": None}, "EEG SILENT", Level.ALARM, "No EEG yet"),
        ({"eeg_age": None, "expects_eeg": False}, "RUNNING", Level.GOOD, "All lanes"),
        ({"volumes": 0}, "WAITING FOR VOLUMES", Level.BUSY, "Start the scan"),
        ({"volumes": 0, "state": "WARMING"}, "WAITING FOR VOLUMES", Level.BUSY, "Start the scan"),
        ({"volumes": 0, "expects_volumes": False}, "RUNNING", Level.GOOD, "All lanes"),
        ({"state": "WARMING", "flags": ["WARMING"]}, "WARMING", Level.BUSY, "settle"),
        ({"state": "WARMING", "flags": ["WARMING", "GAP", "UNCALIBRATED"]}, "WARMING", Level.BUSY, "settle"),
        ({"state": "WARMING", "flags": ["WARMING", "BAD_CHANNELS"]}, "BAD CHANNELS", Level.WARN, "impedances"),
        ({"state": "DEGRADED"}, "DEGRADED", Level.WARN, "Triggers are off"),
        ({"state": "DEGRADED", "flags": ["STALE", "UNSYNCED"]}, "NO SYNC", Level.WARN, "trigger cable"),
        ({"flags": ["MOTION"], "vetoing": ["MOTION"]}, "MOTION", Level.WARN, "lie still. Triggers wait."),
        ({"flags": ["CLIPPED"], "bad_channels": ["T7"]}, "CLIPPED", Level.WARN, "range. Bad: T7."),
        ({"flags": ["BAD_CHANNELS"], "bad_channels": ["T7", "O2"]}, "BAD CHANNELS", Level.WARN, "Bad: T7, O2."),
        ({"flags": ["BAD_CHANNELS"], "bad_channels": ["C"] * 11}, "BAD CHANNELS", Level.WARN, "and 3 more."),
        ({"flags": ["STALE", "NO_BOLD"], "bold_age": 14.2}, "STALE BOLD", Level.WARN, "No new volume for 14 s"),
        ({"flags": ["STALE", "NO_EEG"]}, "NO EEG", Level.ALARM, "amplifier"),
        ({"flags": ["NO_BOLD"]}, "NO BOLD", Level.WARN, "export"),
        ({"flags": ["ABSTAINED"]}, "ABSTAINED", Level.BUSY, "cannot tell"),
        ({"flags": ["ABSTAINED", "MOTION"]}, "MOTION", Level.WARN, "lie still"),
        ({"flags": ["RECORDING_LOST"], "state": "WARMING"}, "NOT RECORDED", Level.ALARM, "disk"),
        ({"bad_channels": ["T7"]}, "RUNNING", Level.GOOD, "Bad: T7. Triggers are on."),
        ({"losses": {"volumes": 2, "eeg_samples": 0}}, "RUNNING", Level.WARN, "Lost: volumes 2."),
        (STOPPED, "TRIGGERS STOPPED", Level.WARN, "Arm to go on"),
        ({"armed": False}, "TRIGGERS STOPPED", Level.WARN, "Arm to go on"),
        ({"armed": True}, "RUNNING", Level.GOOD, "All lanes"),
        (STOPPED | {"flags": ["MOTION", "WARMING"]}, "TRIGGERS STOPPED", Level.WARN, "lie still"),
        (STOPPED | {"volumes": 0}, "TRIGGERS STOPPED", Level.WARN, "Arm to go on"),
        # stopped triggers are no reason to overlook a dead amplifier or a disk that is full
        (STOPPED | {"eeg_age": 3.0}, "EEG SILENT", Level.ALARM, "3 s"),
        (STOPPED | {"flags": ["RECORDING_LOST"]}, "NOT RECORDED", Level.ALARM, "disk"),
        ({"state": "STOPPED", "health_age": 9.0, "eeg_age": 9.0}, "STOPPED", Level.IDLE, "writes out"),
        ({"overloaded": True, "flags": ["MOTION"]}, "WINDOW BEHIND", Level.WARN, "cannot follow"),
        ({"overloaded": True, "eeg_age": 3.0}, "EEG SILENT", Level.ALARM, "3 s"),
        ({"state": "DREAMING"}, "DREAMING", Level.WARN, "does not know"),
        (
            {"replayed": 0.43, "online": False, "flags": ["MOTION"]},
            "REPLAY",
            Level.IDLE,
            "43 % read. Then: RUNNING · MOT",
        ),
        ({"replayed": 1.0, "health_age": 99.0}, "REPLAY", Level.IDLE, "Read to its end. Then: RUNNING"),
        ({"replayed": 0.0, "session": None, "broker": "recording r"}, "REPLAY", Level.BUSY, "Reading recording r"),
        ({"replayed": 0.4, "problem": "no such file"}, "REPLAY BROKEN", Level.ALARM, "no such file"),
    ],
)
def test_status_line(change: dict[str, object], word: str, level: Level, says: str) -> None:
    line = status_line(Situation(**(GOOD | change)))
    assert (line.word, line.level) == (word, level)
    assert says in line.advice


def test_every_flag_has_its_meaning() -> None:
    assert set(MEANINGS) == {flag.name for flag in Flag if flag}
    words = [meaning.word for meaning in MEANINGS.values()]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize("flag", list(MEANINGS))
def test_every_flag_shows_in_a_session_that_runs_degraded(flag: str) -> None:
    line = status_line(Situation(**(GOOD | {"state": "DEGRADED", "flags": [flag]})))
    assert (line.word, line.level) == (MEANINGS[flag].word, MEANINGS[flag].level)
    assert line.advice.startswith(MEANINGS[flag].advice)


def test_reasons_in_words() -> None:
    assert in_words("MOTION, stopped by the operator") == "the head moves, stopped by the operator"
    assert in_words("gate: expired") == "gate: expired"
    assert in_words("") == ""


def feed() -> Feed:
    made = Feed(BrokerAddress("127.0.0.1", 1, tls=False))
    made.connected = True
    return made


def health(at: float, state: str = "RUNNING", flags: tuple[str, ...] = ()) -> HealthMessage:
    return HealthMessage(
        state=state, at=at, counts={}, losses={}, latency_ms={}, queues={}, flags=list(flags), notes=[]
    )  # fmt: skip


def prediction(seq: int, *flags: str) -> PredictionMessage:
    return PredictionMessage(
        seq=seq, model="m", probabilities={"a": 0.4, "b": 0.6}, uncertainty=0.9, attention={}, about=100 + seq / 10,
        ready=None, expires=200.0, age_eeg_s=0.0, age_bold_s=8.5, flags=list(flags),
    )  # fmt: skip


def board(*, blinded: bool = False) -> Board:
    made = Board()
    about = About(
        session="s", eeg_sfreq=250.0, channels=[], regions=[], classes=["a", "b"], model="m@0", tick_hz=10.0,
        thresholds={}, versions={}, blinded=blinded,
    )  # fmt: skip
    made.take("s", about)
    made.take("s", Status(session="s", online=True, state="RUNNING"))
    made.take("s", health(100.0))
    return made


def test_a_flag_of_decisions_counts_when_half_of_them_had_it() -> None:
    one = board()
    n = int(FLAGS_FROM_S * 10)
    for i in range(n):
        one.take("s", prediction(i, *(["ABSTAINED"] if i == n - 1 else [])))
    assert "ABSTAINED" not in situation(one, feed()).flags
    for i in range(n, n + n // 2 + 1):
        one.take("s", prediction(i, "ABSTAINED"))
    assert situation(one, feed()).flags == {"ABSTAINED"}


def test_the_situation_knows_what_holds_triggers_back_and_which_channels_are_bad() -> None:
    one = board()
    one.take("s", ConfigMessage(session="s", sha256="", settings={"decision": {"veto": ["MOTION"]}}))
    one.take(
        "s",
        QualityMessage(
            at=101.0, bad_channels=["T7"], n_channels=2, eeg={}, fd_mm=None, fd_mean_mm=None, fd_max_mm=None, volumes=0,
            volumes_motion=0, flags=[],
        ),
    )  # fmt: skip
    found = situation(one, feed())
    assert found.vetoing == {"MOTION"}
    assert found.bad_channels == ("T7",)
    one.take("s", ConfigMessage(session="s", sha256="", settings={"decision": "(not sent)"}))
    assert situation(one, feed()).vetoing == frozenset()


def test_without_previews_silent_eeg_is_no_alarm() -> None:
    one = board()
    one.take("s", msgspec.structs.replace(board().about, channels=[ChannelEntry("Cz", "eeg")]))
    assert situation(one, feed()).expects_eeg
    one.take("s", ConfigMessage(session="s", sha256="", settings={"mqtt": {"preview": "none"}}))
    assert not situation(one, feed()).expects_eeg


def test_of_a_recording_the_line_speaks_of_the_time_that_is_shown(qtbot: QtBot) -> None:
    played = PlayedFeed(Path("run-1"))
    played.connected, played.progress = True, 0.4
    panel = StatusPanel(played)
    qtbot.addWidget(panel)
    one = board()
    one.take("s", health(110.0, flags=("MOTION",)))
    one.take("s", health(160.0))
    one.hold(112.0)
    panel.refresh(one)
    assert panel.text().splitlines()[:3] == ["○ REPLAY", "40 % read. Then: RUNNING · MOTION", ""]
    one.hold(160.0)
    panel.refresh(one)
    assert "40 % read. Then: RUNNING\n" in panel.text()


def test_the_panel_shows_word_advice_and_session(qtbot: QtBot) -> None:
    panel = StatusPanel(feed())
    qtbot.addWidget(panel)
    one = board()
    panel.refresh(one)
    assert panel.text().splitlines()[:2] == ["● RUNNING", "All lanes are good. Triggers are on."]
    assert "session s" in panel.text()
    assert "mqtt://127.0.0.1:1 · m@0" in panel.text()
    one.take("s", health(101.0, flags=("MOTION",)))
    panel.refresh(one)
    assert panel.line is not None
    assert panel.line.word == "MOTION"
    assert "▲ MOTION" in panel.text()


def test_the_panel_marks_what_is_special(qtbot: QtBot) -> None:
    panel = StatusPanel(feed())
    qtbot.addWidget(panel)
    one = board(blinded=True)
    panel.refresh(one, observer=True)
    assert "◑ BLINDED" in panel.text()
    assert "◇ READ-ONLY" in panel.text()
    assert "PAST" not in panel.text()
    one.take("s", health(300.0))
    one.hold(170.0)
    panel.refresh(one, note="the layout could not be saved")
    assert "SHOWS THE PAST, 2:10 ago: L returns" in panel.text()
    assert "the layout could not be saved" in panel.text()
    assert "READ-ONLY" not in panel.text()
    one.release()
    panel.refresh(one, paused=True)
    assert "PAUSED: L goes on" in panel.text()


def test_the_line_speaks_of_the_present_while_the_past_is_shown(qtbot: QtBot) -> None:
    panel = StatusPanel(feed())
    qtbot.addWidget(panel)
    one = board()
    one.hold(100.0)
    one.take("s", health(160.0, flags=("CLIPPED",)))
    panel.refresh(one)
    assert panel.line is not None
    assert panel.line.word == "CLIPPED"


def test_a_window_that_drops_messages_says_so_for_a_while(qtbot: QtBot) -> None:
    source = feed()
    panel = StatusPanel(source)
    qtbot.addWidget(panel)
    one = board()
    source.dropped = 3
    panel.refresh(one)
    assert panel.line is not None
    assert panel.line.word == "WINDOW BEHIND"
    one.at = OVERLOAD_S + 0.1
    one.take("s", health(110.0))
    panel.refresh(one)
    assert panel.line.word == "RUNNING"


def test_a_narrow_window_still_has_the_word(qtbot: QtBot) -> None:
    panel = StatusPanel(feed())
    qtbot.addWidget(panel)
    panel.resize(700, 92)
    panel.show()
    panel.refresh(board())
    assert "RUNNING" in panel.text()
    assert panel.width() == 700
