"""What all panels of the EEG must bear."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from dashboard.drawing.card import Card
from dashboard.panels.eeg import EegPanel
from dashboard.panels.scalp import ScalpPanel
from dashboard.panels.spectrum import SpectrumPanel
from streamer.wire import EegPreview
from tests.unit.planted_eeg import NAMES, START, send, session, sine, tell_time

PANELS = [EegPanel, SpectrumPanel, ScalpPanel]


@pytest.fixture(params=PANELS, ids=[panel.key for panel in PANELS])
def panel(request: pytest.FixtureRequest, qtbot: QtBot) -> Card:
    made = request.param()
    qtbot.addWidget(made)
    made.resize(500, 300)
    made.show()
    return made


def show(panel: Card, board: object) -> None:
    for _ in range(20):
        panel.refresh(board)
    QApplication.processEvents()
    assert not panel.grab().isNull()


def preview(first: int, sfreq: float, data: np.ndarray) -> EegPreview:
    values = [[None if np.isnan(v) else float(v) for v in channel] for channel in data.T]
    return EegPreview(first_sample=first, t0=START + first / sfreq, sfreq=sfreq, data_uv=values, flags=[])


@pytest.mark.parametrize("wild", [np.nan, np.inf, -np.inf, 1e30])
def test_values_that_make_no_sense(panel: Card, wild: float) -> None:
    board = session()
    data = np.random.default_rng(0).normal(size=(2000, len(NAMES))) * 20
    data[500:700, 2] = wild
    data[:, 4] = wild
    data[900:910] = wild
    board.take("s", preview(0, 100.0, data))
    show(panel, board)
    for command in panel.commands():
        if command.keys != "E":
            command.do()
            show(panel, board)


@pytest.mark.parametrize("sfreq", [0.5, 7.0, 33.3, 5000.0])
def test_strange_rates(panel: Card, sfreq: float) -> None:
    board = session()
    board.take("s", preview(0, sfreq, np.random.default_rng(0).normal(size=(40, len(NAMES)))))
    show(panel, board)


def test_a_session_that_changes_its_channels(panel: Card) -> None:
    board = session()
    send(board, sine([20.0] * len(NAMES)), 0, 10)
    show(panel, board)
    board.take("s", preview(1000, 100.0, np.zeros((500, 3))))
    show(panel, board)
    board.take("s", preview(1500, 100.0, np.zeros((500, 40))))
    show(panel, board)


def test_a_blinded_session_shows_its_eeg(panel: Card) -> None:
    board = session(blinded=True)
    send(board, sine([20.0] * len(NAMES)), 0, 10)
    show(panel, board)
    assert "no EEG" not in panel.legend_text()


def test_late_pieces_and_times_all_over(panel: Card) -> None:
    board = session()
    wave = sine([20.0] * len(NAMES))
    for begin in (0, 4, 2, 30, 10, 2):
        send(board, wave, begin, begin + 2)
        show(panel, board)
    for at in (-1e6, START, START + 31.0, 1e12):
        board.hold(at)
        show(panel, board)
    board.release()
    tell_time(board, 5000.0)
    show(panel, board)


def test_a_click_on_nothing(panel: Card) -> None:
    board = session()
    for command in panel.commands():
        if command.keys != "E":
            command.do()
    show(panel, board)
    panel.restore(panel.state())
    show(panel, board)
