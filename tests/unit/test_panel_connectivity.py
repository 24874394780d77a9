"""The panel of connectivity, fed through a board."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPointF
from pytestqt.qtbot import QtBot

from dashboard.board import Board
from dashboard.panels.connectivity import ConnectivityPanel
from streamer.wire import ChannelEntry, FeatureMessage
from tests.unit.volume_boards import BEGIN, SESSION, TR, board_of, bold, config, send

NAMES = ["motor", "insula", "visual", "amygdala"]
CENTRES = [[-38.0, -20.0, 55.0], [36.0, 5.0, 2.0], [4.0, -88.0, 4.0], [20.0, -4.0, -18.0]]
FRAMES = 6
"""After so many a panel has drawn."""


@pytest.fixture
def panel(qtbot: QtBot) -> ConnectivityPanel:
    made = ConnectivityPanel()
    qtbot.addWidget(made)
    qtbot.addWidget(made.head)
    made.resize(480, 360)
    made.show()
    return made


def draw(panel: ConnectivityPanel, board: Board) -> None:
    for _ in range(FRAMES):
        panel.refresh(board)


def connected(n: int = 90) -> np.ndarray:
    """Signals of which the first and the third go against each other."""
    values = np.random.default_rng(1).standard_normal((n, 4))
    values[:, 2] = 0.3 * values[:, 2] - values[:, 0]
    return values


def plain(panel: ConnectivityPanel) -> str:
    return panel.legend_text().replace("&nbsp;", " ")


def press(panel: ConnectivityPanel, keys: str) -> None:
    {command.keys: command.do for command in panel.commands()}[keys]()


def test_before_any_volume_it_says_so(panel: ConnectivityPanel) -> None:
    draw(panel, Board())
    assert panel.view.word() == "waiting for volumes"


def test_too_few_volumes_are_counted(panel: ConnectivityPanel) -> None:
    board = board_of(NAMES)
    send(board, connected(12))
    board.take(SESSION, bold(12, [0.0] * 4, fd_mm=2.0))
    draw(panel, board)
    assert panel.view.word() == "too few volumes yet: 12 in the last 3 min (1 moved and were left out), needs 20"
    assert panel.view.network is None


def test_the_planted_edge_is_drawn_and_told(panel: ConnectivityPanel) -> None:
    board = board_of(NAMES)
    send(board, connected())
    draw(panel, board)
    network = panel.view.network
    assert network is not None
    assert [(one, other) for one, other, _ in network.edges] == [(0, 2)]
    assert "1 of 6 edges above chance" in plain(panel)
    assert "3 min: 89 volumes" in panel.view.foot()
    panel.grab()
    told = panel.view.tell(panel.view._nodes[0])
    assert told.startswith("motor\nmotor – visual: −0.9")
    assert panel.view.tell(QPointF(1, 1)) == ""


def test_volumes_that_moved_are_left_out(panel: ConnectivityPanel) -> None:
    board = board_of(NAMES)
    rng = np.random.default_rng(2)
    for index, row in enumerate(rng.standard_normal((90, 4))):
        moved = index % 15 == 7
        # what a jerk does to all regions at once looks like a connection
        board.take(SESSION, bold(index, (row + 30 * moved).tolist(), fd_mm=0.9 if moved else 0.1))
    draw(panel, board)
    network = panel.view.network
    assert network is not None
    assert not network.edges
    assert "6 moved and left out" in panel.view.foot()
    board.take(SESSION, config(clean={"bold": {"fd_limit_mm": 1.0}}))
    draw(panel, board)
    assert panel.view.network is not None
    assert len(panel.view.network.edges) == 6


def test_layouts_follow_one_another(panel: ConnectivityPanel) -> None:
    board = board_of(NAMES, regions_mm=CENTRES)
    send(board, connected())
    seen = []
    for _ in range(3):
        draw(panel, board)
        panel.grab()
        seen.append(panel.view.layout_shown)
        if panel.view.layout_shown == "brain":
            x = [node.x() for node in panel.view._nodes]
            y = [node.y() for node in panel.view._nodes]
            # left is left, and the front is at the top
            assert x[0] < x[2] < x[1]
            assert y[1] < y[3] < y[0] < y[2]
        if panel.view.layout_shown == "matrix":
            place = panel.view._matrix
            cell = place.width() / 4
            told = panel.view.tell(QPointF(place.left() + 2.5 * cell, place.top() + 0.5 * cell))
            assert told.startswith("motor – visual: −0.9")
            assert panel.view.tell(QPointF(place.left() + 3.5 * cell, place.top() + 1.5 * cell)).endswith(
                "above chance"
            )
        press(panel, "C")
    assert seen == ["circle", "brain", "matrix"]


def test_regions_whose_place_is_not_known_stay_on_the_circle(panel: ConnectivityPanel) -> None:
    board = board_of(NAMES, regions_mm=[*CENTRES[:3], None])
    send(board, connected())
    press(panel, "C")
    draw(panel, board)
    assert panel.view.layout_shown == "circle"
    assert "places not known" in panel.view.foot()


def test_one_computation_per_volume(panel: ConnectivityPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    board = board_of(NAMES)
    send(board, connected())
    draw(panel, board)
    monkeypatch.setattr("dashboard.panels.connectivity.correlate", lambda *_: pytest.fail("computed again"))
    draw(panel, board)


def test_the_past_is_judged_by_what_was_known(panel: ConnectivityPanel) -> None:
    board = board_of(NAMES)
    send(board, connected())
    board.hold(BEGIN + TR * 30)
    draw(panel, board)
    assert panel.view.network is not None
    assert panel.view.network.n_volumes == 30
    board.hold(BEGIN - 10)
    draw(panel, board)
    assert "too few volumes yet: 0" in panel.view.word()


def test_volumes_leave_the_window_also_when_none_comes(panel: ConnectivityPanel) -> None:
    board = board_of(NAMES)
    send(board, connected())
    draw(panel, board)
    board.view.now += 160.0
    draw(panel, board)
    assert "too few volumes" in panel.view.word()


def test_a_blinded_session_says_so(panel: ConnectivityPanel) -> None:
    board = board_of(NAMES, blinded=True)
    send(board, np.full((30, 4), np.nan))
    draw(panel, board)
    assert "blinded" in panel.view.word()
    assert "blinded" in panel.legend_text()


def test_a_single_region_has_nothing_to_go_with(panel: ConnectivityPanel) -> None:
    board = board_of(["motor"])
    send(board, connected()[:, :1])
    draw(panel, board)
    assert "fewer than two" in panel.view.word()


def eeg(at: float, measure: str = "imcoh", **change: object) -> FeatureMessage:
    fields: dict[str, object] = {
        "name": "connectivity",
        "sample": 1,
        "about": at,
        "delay_s": 2.0,
        "ready": at + 2.0,
        "age_s": 2.0,
        "expires": at + 3.0,
        "labels": [f"{measure} front~back", f"{measure} front~left", f"{measure} back~left", "n_independent"],
        "values": [0.4, 0.02, -0.3, 40.0],
        "uncertainty": [0.05, 0.05, 0.05, 0.0] if measure == "imcoh" else [None] * 4,
        "valid": True,
        "flags": [],
    }
    return FeatureMessage(**(fields | change))  # type: ignore[arg-type]


def test_channel_groups_are_shown_on_the_key(panel: ConnectivityPanel) -> None:
    channels = [
        ChannelEntry("Fz", "eeg", [0.0, 0.7, 0.7]),
        ChannelEntry("Oz", "eeg", [0.0, -1.0, 0.0]),
        ChannelEntry("C3", "eeg", [-0.7, 0.0, 0.7]),
    ]
    board = board_of(NAMES, channels=channels)
    press(panel, "Ctrl+E")
    draw(panel, board)
    assert panel.view.word() == "no EEG connectivity in this session"
    groups = {"front": ["Fz"], "back": ["Oz"], "left": ["C3"]}
    board.take(SESSION, config(extra={"connectivity": {"groups": groups}}))
    board.take(SESSION, eeg(BEGIN))
    press(panel, "C")
    draw(panel, board)
    assert panel.view.network is not None
    assert panel.view.network.names == ("front", "back", "left")
    assert "2 of 3 edges above chance" in plain(panel)
    assert "imcoh" in panel.view.foot()
    assert panel.view.layout_shown == "brain"
    board.take(SESSION, eeg(BEGIN + 1, "wpli"))
    draw(panel, board)
    assert "all 3 edges, not tested" in plain(panel)
    board.take(SESSION, eeg(BEGIN + 2, valid=False, flags=["WARMING"]))
    draw(panel, board)
    assert "not valid now" in panel.view.word()
    assert "warming" in panel.legend_text()


def test_old_eeg_connectivity_is_stale(panel: ConnectivityPanel) -> None:
    board = board_of(NAMES)
    board.take(SESSION, eeg(BEGIN))
    board.view.now = BEGIN + 63.0
    press(panel, "Ctrl+E")
    draw(panel, board)
    assert panel.view.word() == "EEG connectivity is stale: nothing new for 60 s"


def test_settings_are_kept_and_strange_ones_left_aside(panel: ConnectivityPanel) -> None:
    press(panel, "C")
    press(panel, "Ctrl+E")
    panel.stretch(+9)
    assert panel.span_s == 300.0
    again = ConnectivityPanel()
    again.restore(panel.state())
    assert again.state() == {"span_s": 300.0, "layout": "brain", "eeg": True}
    again.restore({"span_s": None, "layout": ["circle"], "eeg": "x"})
    assert again.state() == {"span_s": 300.0, "layout": "brain", "eeg": False}


@pytest.mark.parametrize("layout", ["circle", "brain", "matrix"])
@pytest.mark.parametrize(("n", "size"), [(4, (300, 130)), (100, (300, 130)), (100, (2400, 1500))])
def test_many_regions_fit_any_size(qtbot: QtBot, layout: str, n: int, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    board = board_of([f"region {i}" for i in range(n)], regions_mm=rng.normal(0, 40, (n, 3)).tolist())
    values = rng.standard_normal((40, n))
    values[:, 1:] += 2 * values[:, :1]
    send(board, values)
    made = ConnectivityPanel()
    qtbot.addWidget(made)
    made.restore({"layout": layout})
    made.resize(*size)
    made.show()
    draw(made, board)
    assert made.view.layout_shown == layout
    assert not made.grab().isNull()
