"""Brokers that are remembered or found, and the dialog that shows what is heard there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from dashboard.dialogs.connect import NEWEST, ConnectDialog, Places
from dashboard.link.feed import Feed
from dashboard.link.sessions import MOST, BrokerChoice, Search, local_brokers, remember, remembered, unique
from streamer.errors import UsageError
from streamer.wire import HealthMessage, encode
from tests.unit.operator_room import about, status

HERE = "mqtt://127.0.0.1:1"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Feed, "start", lambda _: None)


real_start = Feed.start


class Bench:
    def __init__(self, qtbot: QtBot, folder: Path) -> None:
        self.window = QWidget()
        qtbot.addWidget(self.window)
        self.taken: list[tuple[Feed, str | None, BrokerChoice]] = []
        self.stops: list[int] = []
        self.kept = folder / "home" / "brokers.json"
        self.dialog = ConnectDialog(
            self.window,
            Places(BrokerChoice(HERE), folder, self.kept),
            lambda *chosen: self.taken.append(chosen),
            lambda: self.stops.append(1),
        )
        # what is heard comes from the test
        self.dialog._timer.stop()
        self.dialog.open_now()

    def feed(self, at: int = 0) -> Feed:
        found = self.dialog._search.brokers[at].feed
        assert found is not None
        return found

    def hear(self, *names: str, at: int = 0, online: bool = True) -> None:
        self.feed(at).connected = True
        for name in names:
            state = "RUNNING" if online else "STOPPED"
            self.feed(at).take(f"eegfmri/{name}/status", encode(status(name, online=online, state=state)))
            self.feed(at).take(f"eegfmri/{name}/about", encode(about(name)))
        self.dialog.look()

    def rows(self) -> list[str]:
        table = self.dialog.table
        items = [[table.item(i, k) for k in range(3)] for i in range(table.rowCount())]
        return [" | ".join(item.text() if item else "" for item in row) for row in items]


@pytest.fixture
def bench(qtbot: QtBot, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(qtbot, tmp_path)
    yield made
    made.dialog.reject()
    for feed, _, _ in made.taken:
        feed.stop()


def test_nothing_can_be_chosen_while_nothing_answers(bench: Bench) -> None:
    assert bench.rows()[0].startswith("— | asking")
    bench.feed().problem = "nothing answers there"
    bench.dialog.look()
    assert bench.rows()[0].startswith("— | nothing answers there")
    assert bench.dialog.chosen() is None
    assert not bench.dialog.go.isEnabled()
    bench.dialog.take()
    assert bench.taken == []


def test_sessions_come_as_they_are_heard_and_one_is_followed(bench: Bench, qtbot: QtBot) -> None:
    bench.hear("old", online=False)
    assert [row.split(" | ")[0] for row in bench.rows()[:2]] == ["old", NEWEST]
    assert bench.dialog.chosen() is not None
    bench.hear("new")
    assert bench.rows()[0] == "new | ● online, RUNNING, 1 EEG channel | nothing yet"
    assert bench.rows()[1] == "old | ○ over, STOPPED, 1 EEG channel | "
    health = HealthMessage(state="RUNNING", at=1.0, counts={}, losses={}, latency_ms={}, queues={}, flags=[], notes=[])
    bench.feed().take("eegfmri/new/health", encode(health))
    bench.dialog.look()
    assert bench.rows()[0].endswith("| now")
    qtbot.keyClick(bench.dialog.table, Qt.Key.Key_Return)
    feed, session, choice = bench.taken[0]
    assert (feed.broker.text, session, choice) == (HERE, "new", BrokerChoice(HERE))
    assert remembered(bench.kept) == [BrokerChoice(HERE)]
    assert not bench.dialog.isVisible()


def test_what_a_hand_chose_stays_chosen(bench: Bench, qtbot: QtBot) -> None:
    bench.hear("b")
    qtbot.keyClick(bench.dialog.table, Qt.Key.Key_Down)
    chosen = bench.dialog.chosen()
    assert chosen is not None
    assert chosen.session is None
    bench.hear("a", "c")
    chosen = bench.dialog.chosen()
    assert chosen is not None
    assert (chosen.session, bench.dialog.table.currentRow()) == (None, 3)
    bench.dialog.take()
    assert bench.taken[0][1] is None


def test_another_broker_is_asked_and_its_password_is_kept_nowhere(bench: Bench, qtbot: QtBot) -> None:
    dialog = bench.dialog
    for text, says in (("http://x", "expected mqtt://"), ("mqtt://u:p@x", "has a user or password in it")):
        dialog.url.setText(text)
        dialog.ask()
        assert says in dialog.said.text()
    dialog.url.setText("mqtt://127.0.0.1:2")
    dialog.variable.setText("NO_SUCH_VARIABLE")
    dialog.ask()
    assert "NO_SUCH_VARIABLE" in dialog.said.text()
    dialog.variable.clear()
    dialog.user.setText("lab")
    dialog.password.setText("a secret")
    qtbot.keyClick(dialog.password, Qt.Key.Key_Return)
    assert dialog.isVisible()
    bench.hear("s", at=0)
    dialog.take()
    assert bench.taken[0][2] == BrokerChoice("mqtt://127.0.0.1:2", "lab")
    assert "a secret" not in bench.kept.read_text()
    assert json.loads(bench.kept.read_text())["brokers"][0]["username"] == "lab"


def test_triggers_stop_from_here(bench: Bench, qtbot: QtBot) -> None:
    qtbot.waitUntil(bench.dialog.isActiveWindow)
    qtbot.keyClick(bench.dialog.url, Qt.Key.Key_Period, Qt.KeyboardModifier.ControlModifier)
    assert bench.stops == [1]


def test_certificates_that_cannot_be_read_are_said(bench: Bench, tmp_path: Path) -> None:
    bench.dialog.url.setText("mqtts://127.0.0.1:2")
    bench.dialog.ca.setText(str(tmp_path / "none.pem"))
    bench.dialog.ask()
    assert any("none.pem" in row for row in bench.rows())


def test_the_last_brokers_are_remembered_each_once(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "brokers.json"
    for i in range(MOST + 3):
        assert remember(path, BrokerChoice(f"mqtt://host-{i}:1")) == ""
    remember(path, BrokerChoice("mqtt://host-5:1", "me", "LAB_PASSWORD", "ca.pem"))
    found = remembered(path)
    assert len(found) == MOST
    assert found[0] == BrokerChoice("mqtt://host-5:1", "me", "LAB_PASSWORD", "ca.pem")
    assert [choice.url for choice in found].count("mqtt://host-5:1") == 1


@pytest.mark.parametrize(
    "text",
    ["", "[1]", "{", '{"brokers": 3}', '{"brokers": [1, {"url": 5}, {"url": "http://x"}, null]}', "[" * 10_000, "\x00"],
)
def test_a_strange_file_remembers_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "brokers.json"
    path.write_text(text)
    assert remembered(path) == []
    assert remember(path, BrokerChoice(HERE)) == ""
    assert remembered(path) == [BrokerChoice(HERE)]


def test_what_cannot_be_kept_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "could not be remembered" in remember(tmp_path / "file" / "brokers.json", BrokerChoice(HERE))


def test_sessions_of_this_machine_tell_their_brokers(tmp_path: Path) -> None:
    for name, text in (("a", '{"broker": "mqtt://127.0.0.1:40001"}'), ("b", '{"broker": "ftp://x"}'), ("c", "[]")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "running.json").write_text(text)
    assert local_brokers(tmp_path) == [BrokerChoice("mqtt://127.0.0.1:40001")]
    assert local_brokers(tmp_path / "none") == []
    known = Places(BrokerChoice("mqtt://127.0.0.1:1883", "me"), tmp_path, None).choices()
    assert known == [BrokerChoice("mqtt://127.0.0.1:1883", "me"), BrokerChoice("mqtt://127.0.0.1:40001")]


def test_the_first_of_an_address_counts() -> None:
    assert unique([BrokerChoice("mqtt://x", "me"), BrokerChoice("mqtt://x:1883")]) == [BrokerChoice("mqtt://x", "me")]


def test_a_search_that_ended_has_left_all_brokers() -> None:
    search = Search([BrokerChoice(HERE), BrokerChoice("mqtt://127.0.0.1:2")])
    search.look()
    search.end()
    search.end()
    for broker in search.brokers:
        assert broker.feed is not None
        with pytest.raises(RuntimeError, match="make another one"):
            real_start(broker.feed)


def test_a_typed_password_goes_before_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_PASSWORD", "from there")
    choice = BrokerChoice(HERE, "me", "LAB_PASSWORD")
    assert choice.access().password == "from there"
    assert choice.access("typed").password == "typed"
    with pytest.raises(UsageError, match="NOT_SET"):
        BrokerChoice(HERE, "me", "NOT_SET").access()
