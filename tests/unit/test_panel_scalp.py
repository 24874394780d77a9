"""The scalp panel, driven through a board with real messages."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from dashboard.board import Board
from dashboard.drawing import theme
from dashboard.drawing.colour_maps import diverging
from dashboard.panels.scalp import ScalpPanel
from tests.unit.planted_eeg import NAMES, START, send, session, tell_time

BEHIND = [NAMES.index(name) for name in ("O1", "Oz", "O2")]
FRONT = [NAMES.index(name) for name in ("Fp1", "Fp2")]


def rising_alpha(t: np.ndarray) -> np.ndarray:
    """Noise, and 10 Hz that grows fourfold behind at 30 s."""
    noise = np.random.default_rng(round(t[0] * 100)).normal(size=(len(t), len(NAMES)))
    gain = np.where(t < 30, 5.0, 20.0)[:, None] * np.isin(np.arange(len(NAMES)), BEHIND) + 0.0
    gain[:, [i for i in range(len(NAMES)) if i not in BEHIND]] = 5.0
    return noise + gain * np.sin(2 * np.pi * 10 * t)[:, None]


@pytest.fixture
def panel(qtbot: QtBot) -> ScalpPanel:
    made = ScalpPanel()
    qtbot.addWidget(made)
    made.resize(420, 380)
    made.show()
    return made


@pytest.fixture
def board() -> Board:
    made = session()
    send(made, rising_alpha, 0, 33)
    return made


def settle(panel: ScalpPanel, board: Board) -> None:
    for _ in range(80):
        panel.refresh(board)


def test_a_word_while_there_is_nothing(panel: ScalpPanel, board: Board) -> None:
    panel.refresh(Board())
    assert panel.view.scene.note == "no EEG yet"
    panel.refresh(session())
    assert panel.view.scene.note == "no EEG yet"
    settle(panel, board)
    assert panel.view.scene.note == ""
    panel.refresh(Board())
    assert panel.view.scene.note == "no EEG yet"
    assert panel.view.scene.image is None


def test_a_change_shows_where_it_is(panel: ScalpPanel, board: Board) -> None:
    settle(panel, board)
    # 20 µV against a mean over 31 s (125 columns) of which some 9 see them, wholly or in part
    expected = 10 * np.log10(400 / ((116 * 25 + 9 * 0.6 * 400) / 125))
    assert panel.values[BEHIND] == pytest.approx([expected] * 3, abs=1.5)
    assert panel.values[FRONT] == pytest.approx([0, 0], abs=0.5)
    image = panel.view.scene.image
    assert image is not None
    size = image.width()
    table = diverging("dark")
    high, zero = table[-1].astype(int), table[128].astype(int)
    behind = np.array(image.pixelColor(size // 2, round(size * 0.9)).getRgb()[:3])
    front = np.array(image.pixelColor(size // 2, round(size * 0.1)).getRgb()[:3])
    assert np.abs(behind - high).sum() < np.abs(behind - zero).sum()
    assert np.abs(front - zero).sum() < np.abs(front - high).sum()
    assert "8–13 Hz, last 2 s against the last 31 s, dB" in panel.legend_text()
    assert (panel.view.scene.low, panel.view.scene.high, panel.view.scene.unit) == (-6, 6, "dB")


def test_power_as_it_is(panel: ScalpPanel, board: Board) -> None:
    panel.measures.setCurrentIndex(1)
    panel.measures.activated.emit(1)
    settle(panel, board)
    # 20² / 2 µV² over a band of 5 Hz
    assert panel.values[BEHIND] == pytest.approx([10 * np.log10(200 / 5)] * 3, abs=0.5)
    assert panel.values[FRONT] == pytest.approx([10 * np.log10(12.5 / 5)] * 2, abs=0.7)
    panel.choose("theta")
    panel.refresh(board)
    # noise of 1 µV over 50 Hz, and nothing of the rhythm
    assert panel.values[FRONT].max() < -8


def test_the_voltage_of_a_moment(panel: ScalpPanel) -> None:
    board = session()
    send(board, lambda t: np.arange(len(NAMES)) * 3.0 + np.floor(t + 1e-6)[:, None], 0, 10)
    panel.choose("voltage")
    panel.refresh(board)
    assert not panel.measures.isEnabled()
    np.testing.assert_allclose(panel.values, np.arange(len(NAMES)) * 3.0 + 9)
    board.hold(START + 4.5)
    panel.refresh(board)
    np.testing.assert_allclose(panel.values, np.arange(len(NAMES)) * 3.0 + 4)
    assert (panel.view.scene.low, panel.view.scene.high, panel.view.scene.unit) == (-50, 50, "µV")


def test_bad_channels_are_crossed_and_left_out(panel: ScalpPanel) -> None:
    board = session()

    def wild(t: np.ndarray) -> np.ndarray:
        data = rising_alpha(t)
        data[:, 5] *= 1000
        return data

    panel.restore({"against": False})
    send(board, wild, 0, 20, bad=[5])
    settle(panel, board)
    assert [e.name for e in panel.view.scene.electrodes if e.bad] == [NAMES[5]]
    assert np.isnan(panel.values[5])
    assert "✕ 1 bad left out" in panel.legend_text()
    middle = panel.view.head().center().toPoint()
    picture = panel.view.grab().toImage()
    colours = {picture.pixelColor(middle.x() + d, middle.y() + d).name() for d in range(-4, 5)}
    assert QColor(theme.look().alarm).name() in colours
    board = session()
    send(board, wild, 0, 20, bad=range(9))
    settle(panel, board)
    assert panel.view.scene.note == "too few good channels"
    assert panel.view.scene.image is None
    assert len(panel.view.scene.electrodes) == len(NAMES)


def test_electrodes_without_a_place_are_named(panel: ScalpPanel) -> None:
    board = session(unplaced=["Cz", "O2"])
    send(board, rising_alpha, 0, 20)
    settle(panel, board)
    assert {e.name for e in panel.view.scene.electrodes} == set(NAMES) - {"Cz", "O2"}
    assert "no place known: Cz, O2" in panel.legend_text()
    assert panel.view.scene.image is not None


def test_too_few_places_give_a_word(panel: ScalpPanel) -> None:
    board = session(unplaced=NAMES[3:])
    send(board, rising_alpha, 0, 20)
    settle(panel, board)
    assert panel.view.scene.note == "3 electrodes have a known place: a map needs 4"


def test_dead_eeg_has_no_map(panel: ScalpPanel, board: Board) -> None:
    settle(panel, board)
    assert panel.view.scene.image is not None
    tell_time(board, 33.6)
    panel.refresh(board)
    assert panel.view.scene.image is not None
    tell_time(board, 36.0)
    panel.refresh(board)
    assert (panel.view.scene.note, panel.view.scene.image) == ("no EEG", None)
    send(board, rising_alpha, 36, 39)
    settle(panel, board)
    assert panel.view.scene.image is not None


def test_scrolled_back_before_the_beginning(panel: ScalpPanel, board: Board) -> None:
    board.hold(START - 20)
    settle(panel, board)
    assert panel.view.scene.note == "no EEG"


def test_the_mean_settles_first(panel: ScalpPanel) -> None:
    board = session()
    send(board, rising_alpha, 0, 3)
    settle(panel, board)
    assert panel.view.scene.image is None
    assert "settling" in panel.legend_text()


def test_the_map_changes_four_times_a_second(panel: ScalpPanel, board: Board) -> None:
    settle(panel, board)
    scene = panel.view.scene
    panel.refresh(board)
    send(board, rising_alpha, 33, 33.2)
    panel.refresh(board)
    assert panel.view.scene is scene
    send(board, rising_alpha, 33.2, 33.3)
    panel.refresh(board)
    assert panel.view.scene is not scene


def test_the_scale_stays_until_it_is_fitted(panel: ScalpPanel, board: Board) -> None:
    panel.choose("voltage")
    panel.refresh(board)
    assert panel.limits["voltage"] == (-50, 50)
    commands = {command.text: command for command in panel.commands()}
    commands["Scalp map: fit the scale"].do()
    panel.refresh(board)
    # up to 20 µV and some noise
    assert panel.limits["voltage"][1] in {5, 10, 20}
    panel.choose("alpha")
    settle(panel, board)
    panel.fit()
    settle(panel, board)
    low, high = panel.limits["change"]
    assert low == -high
    assert high == np.ceil(np.percentile(np.abs(panel.values), 95)) > 6
    commands["Scalp map: change or power"].do()
    panel.fit()
    panel.refresh(board)
    assert panel.limits["power"][0] % 5 == panel.limits["power"][1] % 5 == 0
    assert panel.limits["power"][1] >= 15


def test_bands_follow_the_key(panel: ScalpPanel, board: Board) -> None:
    (command,) = [command for command in panel.commands() if command.keys]
    assert command.keys == "Ctrl+B"
    seen = []
    for _ in range(5):
        command.do()
        settle(panel, board)
        seen.append((panel.band, panel.bands.currentText()))
        assert panel.view.scene.image is not None
    assert seen == [(band, band) for band in ("beta", "voltage", "delta", "theta", "alpha")]


def test_it_is_drawn_in_any_size(colours: object, qtbot: QtBot, board: Board) -> None:
    panel = ScalpPanel()
    qtbot.addWidget(panel)
    panel.show()
    for size in ((420, 380), (300, 160), (1600, 1400)):
        panel.resize(*size)
        QApplication.processEvents()
        settle(panel, board)
        head = panel.view.head().toRect()
        assert panel.view.rect().contains(head)
        picture = panel.view.grab().toImage()
        # between the electrodes and their names
        behind = picture.pixelColor(
            head.center().x() + round(0.05 * head.width()), head.center().y() + round(0.31 * head.height())
        )
        table = diverging(theme.look().name).astype(int)
        assert np.abs(table[150:] - behind.getRgb()[:3]).sum(axis=1).min() < 30


def test_settings_survive_a_new_panel(panel: ScalpPanel, qtbot: QtBot) -> None:
    panel.choose("beta")
    panel.limits["power"] = (-20.0, 5.0)
    panel.restore({"against": False})
    other = ScalpPanel()
    qtbot.addWidget(other)
    other.restore(panel.state())
    assert other.state() == panel.state()
    assert (other.bands.currentText(), other.measures.currentText(), other.scale) == ("beta", "power", "power")


@pytest.mark.parametrize(
    "strange",
    [
        {},
        {"band": ["alpha"], "against": "no", "limits": 3},
        {"band": "gamma", "limits": {"change": [1, 1], "power": "x", "voltage": [float("inf"), 2]}},
    ],
)
def test_strange_settings_are_passed_over(panel: ScalpPanel, strange: dict[str, object]) -> None:
    before = panel.state()
    panel.restore(strange)
    assert panel.state() == before
