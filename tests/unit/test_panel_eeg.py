"""The EEG panel, driven through a board with real messages."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QImage, QWheelEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from dashboard.board import Board
from dashboard.drawing import theme
from dashboard.panels.eeg import RAW, EegPanel
from dashboard.panels.eeg_traces import clock_text, trace_colours, volts
from streamer.wire import BoldMessage, MarkerMessage, Status, TriggerMessage, VetoMessage
from tests.unit.planted_eeg import NAMES, START, send, session, sine, tell_time

WAVE = sine([20.0] * len(NAMES))


@pytest.fixture
def panel(qtbot: QtBot) -> EegPanel:
    made = EegPanel()
    qtbot.addWidget(made)
    made.resize(700, 420)
    made.show()
    return made


@pytest.fixture
def board() -> Board:
    made = session()
    send(made, WAVE, 0, 12)
    return made


def pixels(panel: EegPanel) -> np.ndarray:
    """What the field shows, RGB."""
    panel.traces.repaint()
    image = panel.traces.grab(panel.traces.field()).toImage().convertToFormat(_RGB)
    flat = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return flat[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).astype(int)


_RGB = QImage.Format.Format_RGB888


def near(image: np.ndarray, colour: str, reach: int = 60) -> np.ndarray:
    wanted = QColor(colour)
    return np.abs(image - [wanted.red(), wanted.green(), wanted.blue()]).sum(axis=2) < reach


def test_a_word_while_there_is_nothing(panel: EegPanel) -> None:
    panel.refresh(Board())
    assert panel.traces.scene.note == "no EEG yet"
    panel.refresh(session())
    assert panel.traces.scene.note == "no EEG yet"
    panel.toggle_raw()
    panel.refresh(session())
    assert panel.traces.scene.note == "no EEG yet"


def test_traces_are_drawn_in_both_tints_in_either_theme(colours: theme.Look, qtbot: QtBot, board: Board) -> None:
    panel = EegPanel()
    qtbot.addWidget(panel)
    panel.resize(700, 420)
    panel.show()
    panel.refresh(board)
    seen = pixels(panel)
    for tint in colours.tints:
        assert near(seen, tint).any(axis=0).mean() > 0.9
    assert panel.traces.scene.names == tuple(NAMES)
    assert "12 channels" in panel.legend_text()
    assert "50 µV per row" in panel.legend_text()
    assert "no samples missing" in panel.legend_text()


def test_nothing_is_drawn_again_while_nothing_changes(panel: EegPanel, board: Board) -> None:
    panel.refresh(board)
    scene = panel.traces.scene
    panel.refresh(board)
    assert panel.traces.scene is scene
    send(board, WAVE, 12, 12.5)
    panel.refresh(board)
    assert panel.traces.scene is not scene


def test_the_right_edge_is_the_time_shown(panel: EegPanel, board: Board) -> None:
    board.take("s", MarkerMessage(label="block rest", at=START + 9.0))
    panel.refresh(board)
    (event,) = panel.traces.scene.events
    assert (event.text, event.kind) == ("block rest", "marker")
    assert event.ago == pytest.approx(3.0)
    assert panel.traces.scene.session_time is None
    board.hold(START + 10.0)
    panel.refresh(board)
    assert panel.traces.scene.events[0].ago == pytest.approx(1.0)
    assert panel.traces.scene.session_time == pytest.approx(10.0)
    board.hold(START + 8.0)
    panel.refresh(board)
    assert panel.traces.scene.events == ()


def test_scrolled_back_before_the_beginning(panel: EegPanel, board: Board) -> None:
    board.hold(START - 50.0)
    panel.refresh(board)
    assert panel.traces.scene.note == "no EEG is held for this time"
    assert panel.traces.scene.gaps == ()
    board.release()
    panel.refresh(board)
    assert panel.traces.scene.note == ""


def test_a_gap_is_shaded_and_told(panel: EegPanel) -> None:
    board = session()
    send(board, WAVE, 0, 6)
    send(board, WAVE, 8, 12)
    panel.refresh(board)
    ((begin, end),) = panel.traces.scene.gaps
    assert (begin, end) == pytest.approx((6.0, 4.0))
    assert panel.traces.scene.silent == 0
    assert "200 samples missing" in panel.legend_text()
    before = pixels(panel)
    width = before.shape[1]
    inside, outside = slice(round(0.42 * width), round(0.58 * width)), slice(round(0.62 * width), width)
    assert not near(before[:, inside], theme.look().tints[0]).any()
    assert near(before[:, outside], theme.look().tints[0]).any()


def test_one_lost_sample_is_shaded_too(panel: EegPanel) -> None:
    board = session()
    send(board, WAVE, 0, 6)
    send(board, WAVE, 6.01, 12)
    panel.refresh(board)
    ((begin, end),) = panel.traces.scene.gaps
    assert begin - end == pytest.approx(0.01)


def test_dead_eeg_grows(panel: EegPanel, board: Board) -> None:
    tell_time(board, 12.5)
    panel.refresh(board)
    assert panel.traces.scene.gaps == ()
    for at in (14.0, 17.0):
        tell_time(board, at)
        panel.refresh(board)
        assert panel.traces.scene.silent == pytest.approx(at - 12.0)
        assert panel.traces.scene.gaps[-1] == pytest.approx((at - 12.0, 0.0))
    send(board, WAVE, 17, 17.5)
    panel.refresh(board)
    assert panel.traces.scene.silent == 0
    assert panel.traces.scene.gaps[-1] == pytest.approx((5.5, 0.5))


def test_a_channel_of_nan_leaves_the_others_alone(panel: EegPanel) -> None:
    board = session()
    send(board, sine([np.nan] + [20.0] * (len(NAMES) - 1)), 0, 12)
    panel.refresh(board)
    assert panel.traces.scene.gaps == ()
    assert near(pixels(panel), theme.look().tints[1]).any()


def test_bad_channels_are_named_and_struck(panel: EegPanel) -> None:
    board = session()
    send(board, WAVE, 0, 12, bad=[5, 9])
    panel.refresh(board)
    assert panel.traces.scene.bad == {5, 9}
    assert "✕ bad: Cz, O1" in panel.legend_text()
    panel.traces.repaint()
    beside = panel.traces.grab().toImage().convertToFormat(_RGB)
    colour = QColor(theme.look().alarm)
    row = panel.traces.field().top() + round(6 * panel.traces.field().height() / 13)
    found = [
        beside.pixelColor(x, y) == colour for x in range(panel.traces.field().left()) for y in range(row - 8, row + 8)
    ]
    assert sum(found) > 10


def test_triggers_vetoes_and_volumes_are_marked(panel: EegPanel, board: Board) -> None:
    board.take(
        "s",
        TriggerMessage(
            id="s/0", seq=0, action="reward", level=0.8, about=START + 10, fire_at=START + 10, expires=START + 11,
            reason="task", flags=[],
        ),
    )  # fmt: skip
    board.take("s", VetoMessage(window=3, reason="MOTION", about=START + 11))
    for i in range(6):
        board.take(
            "s",
            BoldMessage(
                index=i, acquired=START + 2 * i + 1, received=START + 2 * i + 2, regions=[], motion_mm=[0.0] * 3,
                motion_rad=[0.0] * 3, fd_mm=0.1, flags=[],
            ),
        )  # fmt: skip
    panel.refresh(board)
    scene = panel.traces.scene
    assert [(e.kind, round(e.ago, 3)) for e in scene.events] == [("fired", 2.0), ("vetoed", 1.0)]
    assert scene.events[0].text.startswith("reward 0.80")
    assert scene.volumes == pytest.approx((9, 7, 5, 3, 1))
    seen = pixels(panel)
    assert near(seen[-4:], theme.look().bold).any(axis=0).sum() >= 5
    assert near(seen, theme.look().mark).any()


def test_the_scale_goes_by_steps_and_fits(panel: EegPanel, board: Board, qtbot: QtBot) -> None:
    panel.refresh(board)
    assert panel.scale_uv == 50
    panel.rescale(-1)
    assert panel.scale_uv == 20
    panel.rescale(-100)
    assert panel.scale_uv == 1
    panel.rescale(+100)
    assert panel.scale_uv == 50_000
    panel.fit()
    panel.refresh(board)
    # a sine of ±20 µV
    assert panel.scale_uv == 50
    assert "50 µV per row" in panel.legend_text()
    panel.setFocus()
    qtbot.keyClick(panel, Qt.Key.Key_Equal)
    assert panel.scale_uv == 20


def test_raw_has_a_scale_of_its_own_and_no_offsets(panel: EegPanel, board: Board) -> None:
    panel.toggle_raw()
    panel.refresh(board)
    assert "no raw EEG" in panel.traces.scene.note
    offsets = np.arange(len(NAMES)) * 5000.0 - 20_000
    send(board, lambda t: sine([700.0] * len(NAMES))(t) + offsets, 0, 12, raw=True)
    panel.refresh(board)
    assert panel.kind == RAW
    assert panel.raw_button.isChecked()
    assert panel.scale_uv == 2000
    assert panel.scales["cleaned"] == 50
    assert "offsets taken off" in panel.legend_text()
    # every trace lies in its row, in spite of the offsets
    seen = pixels(panel)
    row = seen.shape[0] / (len(NAMES) + 1)
    for i in range(len(NAMES)):
        tint = theme.look().tints[i % 2]
        middle = round((i + 1) * row)
        assert near(seen[middle - 2 : middle + 3, :500], tint).any()
    panel.toggle_raw()
    panel.refresh(board)
    assert (panel.traces.scene.scale_uv, panel.raw_button.isChecked()) == (50, False)


def test_an_offset_that_moves_is_followed(panel: EegPanel, board: Board) -> None:
    panel.toggle_raw()
    wave = sine([100.0] * len(NAMES))
    send(board, wave, 0, 10, raw=True)
    panel.refresh(board)
    first = panel._offsets.copy()
    send(board, lambda t: wave(t) + 30_000.0, 10, 20, raw=True)
    panel.refresh(board)
    np.testing.assert_allclose(panel._offsets - first, 30_000, atol=300)


def test_seconds_follow_the_keys(panel: EegPanel, board: Board) -> None:
    commands = {command.keys: command for command in panel.commands()}
    assert set(commands) == {"R", "F", "+", "-", "Ctrl+Left", "Ctrl+Right", "E"}
    commands["Ctrl+Right"].do()
    panel.refresh(board)
    assert panel.traces.scene.seconds == 20
    for _ in range(9):
        commands["Ctrl+Left"].do()
    panel.refresh(board)
    assert panel.traces.scene.seconds == 5


def test_channels_are_chosen_by_group_and_by_box(panel: EegPanel, board: Board, qtbot: QtBot) -> None:
    panel.refresh(board)
    panel.pick()
    picker = panel.picker
    assert picker.isVisible()
    assert picker.chosen() == list(range(len(NAMES)))
    occipital = next(button for button in picker._buttons if button.text() == "occipital (3)")
    qtbot.mouseClick(occipital, Qt.MouseButton.LeftButton)
    panel.refresh(board)
    assert panel.traces.scene.names == ("O1", "Oz", "O2")
    assert "3 of 12 channels" in panel.legend_text()
    picker.list.item(0).setCheckState(Qt.CheckState.Checked)
    panel.refresh(board)
    assert panel.traces.scene.names == ("Fp1", "O1", "Oz", "O2")
    picker.check([])
    panel.refresh(board)
    # none chosen shows all: an empty field would look like dead EEG
    assert panel.traces.scene.names == tuple(NAMES)
    picker.hide()


def test_the_wheel_turns_pages(panel: EegPanel, board: Board) -> None:
    panel.refresh(board)
    panel.pick()
    panel.picker.page.setCurrentIndex(1)
    panel.picker.hide()

    def turn(steps: int) -> tuple[str, ...]:
        middle = QPointF(panel.traces.rect().center())
        none = QPoint(0, 0)
        event = QWheelEvent(
            middle, middle, none, QPoint(0, 120 * steps), Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase, False,
        )  # fmt: skip
        QApplication.sendEvent(panel.traces, event)
        panel.refresh(board)
        return panel.traces.scene.names

    panel.refresh(board)
    assert panel.traces.scene.names == tuple(NAMES[:8])
    assert "page 1 of 2" in panel.legend_text()
    assert turn(-1) == tuple(NAMES[8:])
    assert turn(-1) == tuple(NAMES[8:])
    assert turn(+1) == tuple(NAMES[:8])


def test_another_session_brings_other_channels(panel: EegPanel, board: Board) -> None:
    panel.refresh(board)
    panel.restore({"channels": ["Oz", "Cz"]})
    panel.refresh(board)
    assert panel.traces.scene.names == ("Cz", "Oz")
    panel.refresh(Board())
    assert panel.traces.scene.note == "no EEG yet"
    other = session(["A1", "A2", "A3"])
    send(other, sine([10.0] * 3), 0, 3)
    panel.refresh(other)
    assert panel.traces.scene.names == ("A1", "A2", "A3")


def test_settings_survive_a_new_panel(panel: EegPanel, qtbot: QtBot, board: Board) -> None:
    panel.refresh(board)
    panel.rescale(-1)
    panel.stretch(+1)
    panel.restore({"channels": ["Oz"], "per_page": 16})
    other = EegPanel()
    qtbot.addWidget(other)
    other.restore(panel.state())
    assert other.state() == panel.state()
    assert (other.scale_uv, other.seconds, other.per_page) == (20, 20, 16)


@pytest.mark.parametrize(
    "strange",
    [
        {},
        {"kind": 3, "seconds": "x", "per_page": -1, "scales": [1], "channels": "Oz"},
        {"scales": {"cleaned": float("nan"), "raw": "much"}, "channels": [1, None], "seconds": 7},
        {"kind": ["raw"], "seconds": [5], "per_page": {}, "scales": {"cleaned": [50]}},
    ],
)
def test_strange_settings_are_passed_over(panel: EegPanel, strange: dict[str, object]) -> None:
    before = panel.state()
    panel.restore(strange)
    assert panel.state() == before


@pytest.mark.parametrize("size", [(300, 160), (2400, 1500)])
def test_any_size(panel: EegPanel, board: Board, size: tuple[int, int]) -> None:
    panel.resize(*size)
    QApplication.processEvents()
    panel.refresh(board)
    assert near(pixels(panel), theme.look().tints[0]).any()


def test_a_loop_that_started_again_and_a_status_alone(panel: EegPanel, board: Board) -> None:
    panel.refresh(board)
    board.take("s", Status(session="s", online=False, state="STOPPED"))
    board.take("s", Status(session="s", online=True, state="RUNNING"))
    send(board, WAVE, 1, 2)
    panel.refresh(board)
    assert panel.traces.scene.note == ""
    assert len(panel.traces.scene.names) == len(NAMES)


def test_voltages_and_times_are_written_as_people_do() -> None:
    assert [volts(v) for v in (5, 500, 1000, 25_000)] == ["5 µV", "500 µV", "1 mV", "25 mV"]
    assert [clock_text(t) for t in (0, 59.96, 61, 3601, -2)] == ["0:00", "1:00", "1:01", "60:01", "−0:02"]
    assert clock_text(12.5, step=0.5) == "0:12.5"


def test_colours_are_premultiplied() -> None:
    table = trace_colours(("#ff8000", "#0000ff"))
    assert table[0] == 0
    alpha = table >> 24
    for shift in (16, 8, 0):
        assert ((table >> shift & 255) <= alpha).all()
    assert table[127] == 0xEB_EB_76_00
