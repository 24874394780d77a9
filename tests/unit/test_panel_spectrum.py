"""The spectrum panel, driven through a board with real messages."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PySide6.QtCore import QRectF
from PySide6.QtGui import QColor, QImage
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from dashboard.board import Board
from dashboard.drawing import theme
from dashboard.drawing.range_bar import coloured, number
from dashboard.panels.spectrum import DEFAULT_RANGE, SpectrumPanel
from tests.unit.planted_eeg import NAMES, START, send, session, tell_time

Show = Callable[[Board], SpectrumPanel]


def alpha_behind(t: np.ndarray) -> np.ndarray:
    """10 Hz over the back of the head and noise everywhere."""
    noise = np.random.default_rng(round(t[0] * 100)).normal(size=(len(t), len(NAMES))) * 3
    behind = np.array([name[0] in "OP" for name in NAMES])
    return noise + 15 * np.sin(2 * np.pi * 10 * t)[:, None] * behind


@pytest.fixture
def panel(qtbot: QtBot) -> SpectrumPanel:
    made = SpectrumPanel()
    qtbot.addWidget(made)
    made.resize(760, 300)
    made.show()
    return made


@pytest.fixture
def board() -> Board:
    made = session()
    send(made, alpha_behind, 0, 40)
    return made


def settle(panel: SpectrumPanel, board: Board) -> None:
    for _ in range(80):
        panel.refresh(board)


def columns(panel: SpectrumPanel) -> np.ndarray:
    """Which columns of the spectrogram have a picture."""
    image = panel.view.scene.image
    assert image is not None
    return np.array([image.pixelColor(x, image.height() // 2).alpha() == 255 for x in range(image.width())])


def test_a_word_while_there_is_nothing(panel: SpectrumPanel, board: Board) -> None:
    panel.refresh(Board())
    assert panel.view.scene.note == "no EEG yet"
    panel.refresh(board)
    assert panel.view.scene.note == ""
    panel.refresh(session())
    assert panel.view.scene.note == "no EEG yet"


def test_alpha_is_found_where_it_is(panel: SpectrumPanel, board: Board) -> None:
    panel.choose("occipital")
    settle(panel, board)
    assert panel.peak is not None
    assert panel.peak.frequency == pytest.approx(10.0, abs=0.1)
    assert "occipital: mean of 3 channels" in panel.legend_text()
    assert "α peak 10.0 Hz" in panel.legend_text()
    scene = panel.view.scene
    assert scene.frequencies is not None
    assert scene.spectrum is not None
    assert scene.frequencies[np.argmax(scene.spectrum)] == 10.0
    # 15² / 2 µV² within 1.5 bins of 0.5 Hz, which is what a Hann window spreads a line over
    assert scene.spectrum.max() == pytest.approx(10 * np.log10(112.5 / 0.75), abs=1.0)
    panel.choose("Fp1")
    panel.refresh(board)
    assert panel.peak is None
    assert "no α peak" in panel.legend_text()
    assert scene.spectrum is not panel.view.scene.spectrum
    # noise of 3 µV over 50 Hz
    assert np.median(panel.view.scene.spectrum) == pytest.approx(10 * np.log10(9 / 50), abs=1.5)


def test_bad_channels_do_not_count(panel: SpectrumPanel) -> None:
    board = session()

    def one_is_wild(t: np.ndarray) -> np.ndarray:
        data = alpha_behind(t)
        data[:, NAMES.index("Oz")] *= 1000
        return data

    panel.choose("occipital")
    send(board, one_is_wild, 0, 20, bad=[NAMES.index("Oz")])
    settle(panel, board)
    assert "mean of 2 channels" in panel.legend_text()
    assert "1 bad left out" in panel.legend_text()
    assert panel.view.scene.spectrum is not None
    assert panel.view.scene.spectrum.max() < 30
    # a bad channel that is asked for by name is shown
    panel.choose("Oz")
    panel.refresh(board)
    assert panel.view.scene.spectrum.max() > 60


def test_columns_come_a_few_per_frame_and_are_not_computed_again(panel: SpectrumPanel, board: Board) -> None:
    panel.refresh(board)
    assert 0 < columns(panel).sum() <= 4
    settle(panel, board)
    # 40 s of EEG are 153 columns of 2 s every 0.25 s
    assert columns(panel).sum() == 153
    scene = panel.view.scene
    panel.refresh(board)
    assert panel.view.scene is scene
    send(board, alpha_behind, 40, 40.25)
    panel.refresh(board)
    assert columns(panel).sum() == 154


def test_gaps_stay_empty(panel: SpectrumPanel) -> None:
    board = session()
    send(board, alpha_behind, 0, 20)
    send(board, alpha_behind, 25, 40)
    settle(panel, board)
    shown = columns(panel)
    # a column ends every 0.25 s, the last at 40 s, and is whole when its 2 s are
    ends = 40 - 0.25 * np.arange(len(shown))[::-1]
    np.testing.assert_array_equal(shown, ((ends >= 2) & (ends <= 20)) | (ends >= 27))


def test_dead_eeg_moves_on_empty(panel: SpectrumPanel, board: Board) -> None:
    settle(panel, board)
    tell_time(board, 55.0)
    settle(panel, board)
    shown = columns(panel)
    assert not shown[-60:].any()
    assert shown[-61]
    assert panel.view.scene.spectrum is None
    assert panel.view.scene.note == "no EEG"
    send(board, alpha_behind, 55, 60)
    settle(panel, board)
    assert panel.view.scene.note == ""
    assert columns(panel)[-1]


def test_the_past_is_what_it_was(panel: SpectrumPanel, board: Board) -> None:
    settle(panel, board)
    now = panel.view.scene.spectrum
    send(board, lambda t: alpha_behind(t) * 30, 40, 60)
    settle(panel, board)
    assert panel.view.scene.right == "now"
    assert panel.view.scene.spectrum is not None
    assert panel.view.scene.spectrum.max() > 30
    board.hold(START + 40)
    settle(panel, board)
    assert panel.view.scene.right == "the time shown"
    np.testing.assert_allclose(panel.view.scene.spectrum, now, atol=1e-4)
    board.hold(START - 100)
    settle(panel, board)
    assert panel.view.scene.note == "no EEG"


def test_the_scale_stays_until_it_is_fitted(panel: SpectrumPanel, board: Board) -> None:
    settle(panel, board)
    assert panel.range == DEFAULT_RANGE
    send(board, lambda t: alpha_behind(t) * 30, 40, 60)
    settle(panel, board)
    assert panel.range == DEFAULT_RANGE
    panel.fit_button.click()
    panel.refresh(board)
    low, high = panel.range
    assert high > 25
    assert panel.view.scene.high == high
    assert f"{number(low)} to {number(high)} dB" in panel.legend_text()
    settle(panel, board)
    assert panel.range == (low, high)


def test_it_is_drawn(colours: object, qtbot: QtBot, board: Board) -> None:
    panel = SpectrumPanel()
    qtbot.addWidget(panel)
    panel.show()
    for size in ((760, 300), (300, 500), (300, 160), (2000, 1200)):
        panel.resize(*size)
        QApplication.processEvents()
        settle(panel, board)
        picture = panel.view.grab().toImage()
        spectrum, image = panel.view.fields()
        assert panel.view.rect().contains(spectrum.toAlignedRect())
        line = QColor(theme.look().eeg)
        assert _has(picture, spectrum, line)
        if image is None:
            assert size == (300, 160)
        else:
            ground = QColor(theme.look().well)
            middle = image.adjusted(image.width() * 0.6, 4, -image.width() * 0.1, -4)
            assert not _has(picture, middle, ground)


def _has(picture: QImage, field: QRectF, colour: QColor) -> bool:
    inside = field.toAlignedRect().adjusted(2, 2, -2, -2)
    return any(
        picture.pixelColor(x, y) == colour
        for x in range(inside.left(), inside.right(), 2)
        for y in range(inside.top(), inside.bottom())
    )


def test_settings_survive_a_new_panel(panel: SpectrumPanel, qtbot: QtBot, board: Board) -> None:
    panel.refresh(board)
    panel.choose("Oz")
    panel.range = (-30.0, 10.0)
    other = SpectrumPanel()
    qtbot.addWidget(other)
    other.restore(panel.state())
    # its channels are not known yet
    assert other.group == "all"
    other.refresh(board)
    assert (other.group, other.groups.currentText(), other.range) == ("Oz", "Oz", (-30.0, 10.0))


@pytest.mark.parametrize(
    "strange", [{}, {"group": 3, "range": "wide"}, {"range": [1]}, {"range": [5, 4]}, {"range": [float("nan"), 4]}]
)
def test_strange_settings_are_passed_over(panel: SpectrumPanel, strange: dict[str, object]) -> None:
    before = panel.state()
    panel.restore(strange)
    assert panel.state() == before


def test_commands_go_through_the_groups(panel: SpectrumPanel, board: Board) -> None:
    panel.refresh(board)
    commands = {command.text: command.do for command in panel.commands()}
    commands["Spectrum: next channels"]()
    assert panel.group == "frontal"
    commands["Spectrum: fit the scale"]()
    panel.refresh(board)
    assert panel.range != DEFAULT_RANGE


def test_another_session_with_other_channels(panel: SpectrumPanel, board: Board) -> None:
    panel.refresh(board)
    panel.choose("occipital")
    other = session(["A1", "A2", "A3"])
    send(other, lambda t: alpha_behind(t)[:, :3], 0, 10)
    settle(panel, other)
    assert panel.group == "all"
    assert "mean of 3 channels" in panel.legend_text()


def test_values_are_coloured_between_the_limits_and_nan_is_empty() -> None:
    table = np.array([[0, 0, 0], [100, 0, 0], [200, 0, 0]], np.uint8)
    image = coloured(np.array([[-5.0, 0.0, 5.0, 10.0, 99.0, np.nan]]), 0.0, 10.0, table)
    assert [image.pixelColor(x, 0).red() for x in range(5)] == [0, 0, 100, 200, 200]
    assert [image.pixelColor(x, 0).alpha() for x in (0, 5)] == [255, 0]
