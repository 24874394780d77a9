"""What the tests of the operator's window share: a room with a window, its words, its pictures."""

from __future__ import annotations

import os
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication, QLabel, QWidget
from pytestqt.qtbot import QtBot

from dashboard.drawing.card import Card
from dashboard.flags import Level
from dashboard.link.feed import Feed, parse_broker
from dashboard.status import StatusLine
from dashboard.window import Window, WindowSettings
from tests.system.dashboard_loop import CAUGHT_UP, Loop

ROOT = Path(__file__).resolve().parents[2]
WAIT_MS = 15_000
PICTURES = "STREAMER_PICTURES"
"""Environment variable with the folder that keeps pictures."""


class Room:
    """A window in this process, whose clock stands still unless the test moves it on."""

    def __init__(self, qtbot: QtBot, url: str, session: str | None, pictures: Path) -> None:
        self._qtbot = qtbot
        self._pictures = pictures
        self._time = 0.0
        self.window = Window(Feed(parse_broker(url), session), WindowSettings(session, theme="dark"))
        self.window.now = lambda: self._time  # type: ignore[method-assign]
        qtbot.addWidget(self.window)
        self.window.show()
        self.window.start()
        qtbot.waitUntil(lambda: self.window.feed.connected, timeout=WAIT_MS)

    def passes(self, seconds: float) -> None:
        """Let time go by on the window's own clock."""
        QApplication.processEvents()
        self._time += seconds
        self.window.frame()
        QApplication.processEvents()

    def catch_up(self, loop: Loop) -> None:
        """Wait until the window has taken all that the loop said, and has drawn it."""
        number = loop.last_word()

        def taken() -> bool:
            held = self.window.board.view.features.get(CAUGHT_UP)
            return held is not None and held.newest is not None and held.newest.sample == number

        self._qtbot.waitUntil(taken, timeout=WAIT_MS)
        # panels draw a few times a second, not all in every frame
        self.passes(0.6)

    def until(self, text: str) -> None:
        """Wait for a text in the status line."""
        self._qtbot.waitUntil(lambda: text in self.status, timeout=WAIT_MS)

    @property
    def status(self) -> str:
        """All that the status line shows."""
        return self.window.status.text()

    @property
    def line(self) -> StatusLine:
        """What the status line says."""
        line = self.window.status.line
        assert line is not None
        return line

    @property
    def word(self) -> str:
        """Its word."""
        return self.line.word

    @property
    def level(self) -> Level:
        """How urgent it is."""
        return self.line.level

    @property
    def advice(self) -> str:
        """What to do."""
        return self.line.advice

    def panel(self, key: str) -> Any:
        """A panel, brought to the front and drawn."""
        dock = self.window.docks.docks[key]
        dock.show()
        dock.raise_()
        QApplication.processEvents()
        self.passes(0.05)
        return dock.widget()

    def said(self, key: str) -> str:
        """All words of a panel, without its formatting."""
        return said(self.panel(key))

    def picture(self, name: str) -> Path:
        """Keep a picture of the window."""
        path = self._pictures / f"{name}.png"
        # after a burst of messages spectra are worked out over many frames
        for _ in range(20):
            self.passes(0.0)
        assert self.window.save(path)
        return path

    def close(self) -> None:
        self.window.stop()
        self.window.close()


def plain(html: str) -> str:
    """Give the words alone."""
    return unescape(re.sub(r"<[^>]*>", "", html)).replace("\u00a0", " ")


def said(panel: Card) -> str:
    """Give the legend, the labels that are seen, and what is painted as words, one a line."""
    lines = [plain(panel.legend_text())]
    for widget in panel.findChildren(QWidget):
        if isinstance(widget, QLabel):
            lines.append(plain(widget.text()))
            continue
        shown: Any = widget
        scene, picture, word = (getattr(shown, name, None) for name in ("scene", "picture", "word"))
        texts: list[Any] = [getattr(scene, "note", ""), word() if callable(word) else word]
        texts += [getattr(picture, name, "") for name in ("word", "empty", "doubt")]
        lines += [text for text in texts if isinstance(text, str)]
        if hasattr(shown, "lines"):
            lines += shown.lines()
        lines += [f"{row.name} {row.told}" for row in getattr(shown, "rows", ()) if hasattr(row, "told")]
    return "\n".join(line for line in lines if line)


def grey(image: QImage) -> np.ndarray:
    """Give the brightness of all pixels, shape (height, width), 0..255."""
    image = image.convertToFormat(QImage.Format.Format_Grayscale8)
    raw = np.frombuffer(image.constBits(), dtype=np.uint8).reshape(image.height(), image.bytesPerLine())
    return raw[:, : image.width()].astype(float)


def pictures_folder(otherwise: Path) -> Path:
    """Where pictures are kept: the folder that CI names, else ``otherwise``."""
    folder = Path(os.environ.get(PICTURES) or otherwise)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def environment(**changes: str) -> dict[str, str]:
    """The environment of a child that has no display unless ``changes`` name one."""
    graphics = {"DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"}
    return {name: value for name, value in os.environ.items() if name not in graphics} | changes
