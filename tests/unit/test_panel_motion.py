"""The panel of head motion, fed through a board."""

from __future__ import annotations

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from dashboard.board import Board
from dashboard.panels.motion import MotionPanel
from tests.unit.volume_boards import BEGIN, SESSION, acquired, board_of, bold, config

FRAMES = 4
"""After so many a panel has drawn."""


@pytest.fixture
def panel(qtbot: QtBot) -> MotionPanel:
    made = MotionPanel()
    qtbot.addWidget(made)
    qtbot.addWidget(made.head)
    made.resize(640, 420)
    made.show()
    return made


def draw(panel: MotionPanel, board: Board) -> None:
    for _ in range(FRAMES):
        panel.refresh(board)


def filled(n: int = 40, **change: object) -> Board:
    board = board_of(["a"])
    for index in range(n):
        board.take(SESSION, bold(index, [0.0], **change))
    return board


def plain(panel: MotionPanel) -> str:
    return panel.legend_text().replace("&nbsp;", " ")


def test_before_any_volume_it_says_so(panel: MotionPanel) -> None:
    draw(panel, Board())
    assert "no volumes yet" in panel.legend_text()


def test_parameters_in_millimetres_and_degrees(panel: MotionPanel) -> None:
    draw(panel, filled())
    shown = {entry.name: (entry.y, entry.value) for entry in panel.names.entries}
    assert shown["x"] == (pytest.approx(0.1), "+0.10 mm")
    assert shown["yaw"] == (pytest.approx(np.degrees(-0.002)), "−0.11°")
    assert shown["FD"][1] == "0.10 mm"
    assert shown["limit"] == (0.5, "0.5 mm")
    assert "usual" not in shown
    assert "still: FD 0.10 mm" in plain(panel)


def test_a_head_that_moved_is_said_in_a_word(panel: MotionPanel) -> None:
    board = filled()
    board.take(SESSION, bold(40, [0.0], fd_mm=0.82))
    draw(panel, board)
    assert "▲" in panel.legend_text()
    assert "moved: FD 0.82 mm" in plain(panel)
    assert "1 of 41 volumes (2 %) above 0.5 mm" in plain(panel)
    assert panel._above.getData()[1].tolist() == [0.82]
    high = panel.fd_plot.getViewBox().viewRange()[1][1]
    assert high > 0.82


def test_the_sessions_own_limit_stands_beside_the_usual_one(panel: MotionPanel) -> None:
    board = filled(fd_mm=0.25)
    board.take(SESSION, config(clean={"bold": {"fd_limit_mm": 0.2}}))
    draw(panel, board)
    shown = {entry.name: entry.value for entry in panel.names.entries}
    assert (shown["limit"], shown["usual"]) == ("0.2 mm", "0.5 mm")
    assert panel._own.value() == 0.2
    assert "40 of 40 volumes (100 %) above 0.2 mm" in plain(panel)


def test_the_change_of_the_signal_is_shown_where_it_is_known_and_there_is_room(panel: MotionPanel) -> None:
    board = filled(dvars_percent=None)
    draw(panel, board)
    assert not panel.dvars_plot.isVisible()
    board.take(SESSION, bold(40, [0.0], dvars_percent=1.5))
    draw(panel, board)
    assert panel.dvars_plot.isVisible()
    panel.resize(640, 160)
    assert not panel.dvars_plot.isVisible()


def test_missing_volumes_break_all_lines(panel: MotionPanel) -> None:
    board = board_of(["a"])
    for index in (*range(10), *range(12, 20)):
        board.take(SESSION, bold(index, [0.0]))
    draw(panel, board)
    for curve in (panel._fd, panel._dvars, *panel._curves):
        assert np.flatnonzero(np.isnan(curve.values)).tolist() == [10, 11]


def test_the_past_is_shown_as_it_was(panel: MotionPanel) -> None:
    board = filled()
    board.take(SESSION, bold(40, [0.0], fd_mm=0.82))
    board.hold(acquired(20))
    draw(panel, board)
    assert "still" in plain(panel)
    assert "0 of 21 volumes" in plain(panel)
    board.hold(BEGIN - 50)
    draw(panel, board)
    assert "no volumes up to here" in panel.legend_text()
    assert not panel.names.entries


def test_a_scanner_that_fell_silent_is_told(panel: MotionPanel) -> None:
    board = filled()
    draw(panel, board)
    assert "no&nbsp;volume" not in panel.legend_text()
    board.view.now += 60.0
    draw(panel, board)
    assert "no&nbsp;volume&nbsp;for&nbsp;62&nbsp;s" in panel.legend_text()


def test_a_blinded_session_shows_its_motion(panel: MotionPanel) -> None:
    board = board_of(["a"], blinded=True)
    for index in range(5):
        board.take(SESSION, bold(index, [None]))
    draw(panel, board)
    assert "0 of 5 volumes" in plain(panel)


def test_settings_are_kept(panel: MotionPanel) -> None:
    panel.commands()[0].do()
    again = MotionPanel()
    again.restore(panel.state())
    assert again.span_s == panel.span_s != MotionPanel().span_s
    again.restore({"span_s": {}})
    assert again.span_s == panel.span_s
