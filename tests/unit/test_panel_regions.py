"""The panel of region signals, fed through a board."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from pytestqt.qtbot import QtBot

from dashboard.board import Board
from dashboard.drawing.theme import choose, line_colour
from dashboard.panels.line_names import apart
from dashboard.panels.regions import MOST_LINES, RegionPanel
from dashboard.panels.time_lines import SPANS_S, Later
from tests.unit.volume_boards import BEGIN, SESSION, TR, about, acquired, board_of, bold, config, mark, send

NAMES = ["motor", "insula"]


@pytest.fixture
def panel(qtbot: QtBot) -> RegionPanel:
    made = RegionPanel()
    qtbot.addWidget(made)
    qtbot.addWidget(made.head)
    made.resize(640, 320)
    made.show()
    return made


def waves(n: int, regions: int = 2) -> np.ndarray:
    return np.column_stack([np.sin(np.arange(n) / 5 + i) * (i + 1) for i in range(regions)])


def filled(n: int = 60) -> Board:
    board = board_of(NAMES)
    send(board, waves(n))
    return board


def test_before_any_volume_it_says_so(panel: RegionPanel) -> None:
    for board in (Board(), board_of(NAMES)):
        panel.refresh(board)
        assert "no volumes yet" in panel.legend_text()
        assert panel.word.text() == "waiting for volumes"


def test_lines_end_with_their_names_and_newest_values(panel: RegionPanel) -> None:
    board = filled()
    panel.refresh(board)
    newest = waves(60)[-1]
    shown = {entry.name: (entry.y, entry.value) for entry in panel.names.entries}
    assert shown["motor"][0] == pytest.approx(newest[0])
    assert shown["insula"][1] == f"{newest[1]:+.1f} %".replace("-", "−")
    assert panel.word.text() == ""
    assert panel._curves[0].times[-1] == pytest.approx(acquired(59) - board.shown)
    low, high = panel.plot.getViewBox().viewRange()[1]
    assert low < waves(60).min()
    assert high > waves(60).max()


def test_the_picture_has_the_lines_colours(panel: RegionPanel, qtbot: QtBot) -> None:
    panel.refresh(filled())
    image = panel.plot.grab().toImage()
    counts = {"line": 0, "well": 0}
    wanted = QColor(line_colour(1))
    for x in range(60, image.width()):
        for y in range(0, image.height(), 2):
            colour = image.pixelColor(x, y)
            far = abs(colour.red() - wanted.red()) + abs(colour.green() - wanted.green())
            counts["line" if far + abs(colour.blue() - wanted.blue()) < 60 else "well"] += 1
    assert counts["line"] > 100


def test_a_missing_volume_breaks_the_line_and_a_late_value_is_not_guessed(panel: RegionPanel) -> None:
    board = board_of(NAMES)
    for index, row in enumerate(waves(40)):
        if index not in {20, 21}:
            board.take(SESSION, bold(index, [float(row[0]), None if index == 39 else float(row[1])]))
    panel.refresh(board)
    assert np.flatnonzero(np.isnan(panel._curves[0].values)).tolist() == [20, 21]
    assert {entry.name: entry.value for entry in panel.names.entries}["insula"] == "…"


def test_blocks_are_shaded_and_named(panel: RegionPanel) -> None:
    board = filled()
    for at, label in ((0, "rest"), (40, "task"), (80, "rest"), (100, "task")):
        mark(board, BEGIN + at, label)
    panel.refresh(board)
    assert panel.shades.shown() == ["rest", "task", "rest", "task"]
    board.hold(BEGIN + 60)
    panel.refresh(board)
    assert panel.shades.shown() == ["rest", "task"]


def test_blocks_of_the_design_are_shown_where_no_marker_tells(panel: RegionPanel) -> None:
    board = filled()
    conditions = [{"name": "faces", "onsets_s": [20.0, 60.0], "durations_s": [20.0]}]
    board.take(SESSION, config(clean={"bold": {"maps": {"design": {"conditions": conditions}}}}))
    panel.refresh(board)
    assert panel.shades.shown() == ["faces", "faces"]
    assert panel._blocks[0].begin == pytest.approx(BEGIN + 20.0)


def test_volumes_that_moved_are_marked_by_the_sessions_own_limit(panel: RegionPanel) -> None:
    board = filled()
    board.take(SESSION, bold(60, [0.0, 0.0], fd_mm=0.35))
    panel.refresh(board)
    assert "moved" not in panel.legend_text()
    board.take(SESSION, config(clean={"bold": {"fd_limit_mm": 0.3}}))
    panel.refresh(board)
    assert "1&nbsp;moved&nbsp;(FD&nbsp;&gt;&nbsp;0.3&nbsp;mm)" in panel.legend_text()
    assert panel._moved.getData()[0].tolist() == [pytest.approx(acquired(60) - board.shown)]


def test_z_is_shown_on_the_key(panel: RegionPanel) -> None:
    board = filled()
    board.take(SESSION, bold(60, [0.1, 0.2], z=[2.5, None]))
    {command.keys: command.do for command in panel.commands()}["Z"]()
    panel.refresh(board)
    assert panel._curves[0].values[-1] == 2.5
    assert np.isnan(panel._curves[0].values[:-1]).all()
    assert panel.plot.getPlotItem().getAxis("left").labelText == "SD of the past"


def test_the_span_goes_from_one_to_ten_minutes(panel: RegionPanel) -> None:
    board = filled()
    keys = {command.keys: command.do for command in panel.commands()}
    for _ in range(9):
        keys["Shift+Left"]()
    panel.refresh(board)
    assert panel.plot.getViewBox().viewRange()[0] == [-600.0, 0.0]
    for _ in range(9):
        keys["Shift+Right"]()
    panel.refresh(board)
    assert panel.plot.getViewBox().viewRange()[0] == [-60.0, 0.0]
    # one volume more, so that the line begins at the edge
    assert panel._curves[0].times[0] < -60 <= panel._curves[0].times[1]


def test_the_past_is_shown_as_it_was(panel: RegionPanel) -> None:
    board = filled()
    board.hold(acquired(30))
    panel.refresh(board)
    assert panel._curves[0].times[-1] == pytest.approx(0.0)
    assert len(panel._curves[0].values) == 31
    assert panel.plot.getPlotItem().getAxis("bottom").labelText == "s before the time shown"
    board.hold(BEGIN - 30)
    panel.refresh(board)
    assert "no volumes up to here" in panel.legend_text()


def test_nothing_is_done_while_nothing_changes(panel: RegionPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    board = filled()
    panel.refresh(board)
    monkeypatch.setattr(type(board.view.volumes), "traces", lambda _: pytest.fail("drawn again"))
    panel.refresh(board)


def test_a_scanner_that_fell_silent_is_told(panel: RegionPanel) -> None:
    board = filled()
    panel.refresh(board)
    assert "no&nbsp;volume" not in panel.legend_text()
    board.view.now += 60.0
    panel.refresh(board)
    assert "no&nbsp;volume&nbsp;for&nbsp;62&nbsp;s" in panel.legend_text()


def test_a_blinded_session_says_so(panel: RegionPanel) -> None:
    board = board_of(NAMES, blinded=True)
    send(board, np.full((20, 2), np.nan))
    panel.refresh(board)
    assert "blinded" in panel.legend_text()
    assert "blinded" in panel.word.text()


def test_no_baseline_yet_is_said(panel: RegionPanel) -> None:
    board = board_of(NAMES)
    send(board, np.full((3, 2), np.nan))
    panel.refresh(board)
    assert panel.word.text() == "no baseline yet"


def test_regions_are_chosen_from_a_list(panel: RegionPanel, qtbot: QtBot) -> None:
    many = [f"region {i}" for i in range(20)]
    board = board_of(many)
    send(board, waves(20, 20))
    panel.refresh(board)
    assert len(panel._curves) == MOST_LINES
    assert "12&nbsp;of&nbsp;20&nbsp;regions" in panel.legend_text()
    {command.keys: command.do for command in panel.commands()}["Ctrl+R"]()
    chooser = panel.chooser
    assert chooser is not None
    chooser._set_all(Qt.CheckState.Unchecked)
    qtbot.keyClicks(chooser.filter, "region 1")
    chooser._set_all(Qt.CheckState.Checked)
    assert panel.chosen == ["region 1", *many[10:]]
    chooser.list.item(1).setCheckState(Qt.CheckState.Unchecked)
    panel.refresh(board)
    assert {entry.name for entry in panel.names.entries} == set(many[10:])
    qtbot.keyClick(chooser, Qt.Key.Key_Escape)
    chooser._take([])
    panel.refresh(board)
    assert panel.word.text() == "no region is chosen"


def test_another_session_with_other_regions_takes_the_panel_over(panel: RegionPanel) -> None:
    board = filled()
    panel.chosen = ["insula"]
    panel.refresh(board)
    assert [entry.name for entry in panel.names.entries] == ["insula"]
    board.take(SESSION, about(["a", "b", "c"]))
    send(board, waves(15, 3))
    panel.refresh(board)
    assert {entry.name for entry in panel.names.entries} == {"a", "b", "c"}


def test_settings_are_kept_and_strange_ones_left_aside(panel: RegionPanel) -> None:
    panel.toggle_z()
    panel.stretch(+1)
    panel.chosen = ["motor"]
    again = RegionPanel()
    again.restore(panel.state())
    assert again.state() == panel.state()
    for strange in ({}, {"span_s": "x", "z": 3, "chosen": {"a": 1}}, {"span_s": [1], "chosen": [1, None, "motor"]}):
        again.restore(strange)
    assert again.span_s in SPANS_S
    assert again.chosen == ["motor"]


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", [(300, 130), (3000, 1800)])
def test_any_size_and_theme_is_painted(qtbot: QtBot, theme: str, size: tuple[int, int]) -> None:
    choose(theme)  # type: ignore[arg-type]
    try:
        made = RegionPanel()
        qtbot.addWidget(made)
        made.resize(*size)
        made.show()
        board = filled()
        mark(board, BEGIN + TR, "task")
        made.refresh(board)
        assert not made.grab().isNull()
    finally:
        choose("dark")


def test_names_are_moved_apart_as_little_as_it_takes() -> None:
    assert apart([10, 50], 14, 5, 95) == [10, 50]
    assert apart([10, 12], 14, 5, 95) == [10, 24]
    assert apart([90, 94], 14, 5, 95) == [81, 95]
    assert apart([], 14, 5, 95) == []


def test_what_can_wait_is_drawn_some_frames_later() -> None:
    later = Later(2)
    assert later.due(1)
    assert [later.due(key) for key in (1, 2, 3, 4, 4)] == [False, False, False, True, False]
    later.now()
    assert later.due(4)
