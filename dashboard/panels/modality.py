"""How much each modality counts in the decision, how old its newest data is, and whether the model's members agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from dashboard.board import Board
from dashboard.drawing.card import Card
from dashboard.drawing.theme import font, look, px
from dashboard.panels.decision import OLD_S
from streamer.wire import PredictionMessage

LABELS = {"eeg": "EEG", "bold": "BOLD"}
_ROW_PX = 40


@dataclass(frozen=True, slots=True)
class Modality:
    """One row."""

    name: str
    attention: float | None = None
    age: float | None = None
    masked: bool = False
    stale: bool = False
    """Masked because its data is too old."""

    @property
    def told(self) -> str:
        """How old it is, and whether it counts."""
        old = "no data" if self.age is None else f"{_seconds(self.age)} old"
        if self.masked:
            return f"■ {'stale' if self.stale else 'masked'}, {old}: does not count"
        return old


def modalities(prediction: PredictionMessage | None) -> Sequence[Modality]:
    """List EEG and BOLD, and whatever else the model attends to."""
    if prediction is None:
        return ()
    ages = {"eeg": prediction.age_eeg_s, "bold": prediction.age_bold_s}
    names = [*LABELS, *(name for name in prediction.attention if name not in LABELS)]
    flags = set(prediction.flags)
    return tuple(
        Modality(
            name,
            prediction.attention.get(name),
            ages.get(name),
            masked=f"NO_{name.upper()}" in flags,
            stale="STALE" in flags and ages.get(name) is not None,
        )
        for name in names
    )


class ModalityPanel(Card):
    """One bar per modality."""

    key = "modality"

    def __init__(self) -> None:
        super().__init__("Modalities")
        self.bars = Bars()
        self._shown: object = None
        self.hold(self.bars)

    def refresh(self, board: Board) -> None:
        """Show the attention and ages of the last prediction before ``board.shown``."""
        at = board.shown
        prediction = board.view.prediction.at(at) if np.isfinite(at) else None
        old = round(at - prediction.about) if prediction is not None and at - prediction.about > OLD_S else 0
        key = (id(board.view), None if prediction is None else prediction.seq, old, id(board.about))
        if key == self._shown:
            return
        self._shown = key
        self.bars.rows = modalities(prediction)
        self.bars.update()
        if prediction is None:
            blinded = board.about is not None and board.about.blinded
            self.caption("blinded: not sent" if blinded else "no decision" if not board.live else "no decision yet")
            return
        c = look()
        entries = [("", c.alarm, f"decision {old} s old")] if old else []
        entries.append(_agreement(prediction))
        if prediction.hold_eeg_s > 0:
            entries.append(("", c.faint, f"EEG held back {_seconds(prediction.hold_eeg_s)}"))
        self.legend(entries)


def _agreement(prediction: PredictionMessage) -> tuple[str, str, str]:
    nats = prediction.disagreement
    if "ABSTAINED" in prediction.flags:
        return ("◆", look().text, f"abstains; members disagree by {nats:.3f} nats")
    # a single member has nobody to disagree with
    return ("", look().faint, f"members disagree by {nats:.3f} nats" if nats > 0 else "no disagreement of members")


class Bars(QWidget):
    """Horizontal bars with their numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: Sequence[Modality] = ()

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        if self.rows:
            with QPainter(self) as painter:
                painter.setRenderHint(QPainter.RenderHint.Antialiasing)
                self._paint(painter)

    def _paint(self, painter: QPainter) -> None:
        c = look()
        colours = {"eeg": c.eeg, "bold": c.bold}
        high = min(float(px(_ROW_PX)), self.height() / len(self.rows))
        # rows that are low have small letters, not letters over each other
        size = min(13.0, 13.0 * 0.72 * high / px(13))
        painter.setFont(font(size))
        wide = painter.fontMetrics().horizontalAdvance
        share_room, told_room = wide("100 %") + px(8), max(wide(row.told) for row in self.rows) + px(8)
        name_room = max(wide(LABELS.get(row.name, row.name)) for row in self.rows) + px(16)
        room = self.width() - name_room - share_room
        # the bar gives way to words, down to a stub
        bar_room = max(px(30), min(room - told_room, room))
        middle, right = Qt.AlignmentFlag.AlignVCenter, Qt.AlignmentFlag.AlignRight
        for i, row in enumerate(self.rows):
            y = i * high
            painter.setFont(font(size, bold=True))
            painter.setPen(QColor(c.text))
            painter.drawText(QRectF(0, y, name_room, high), middle, LABELS.get(row.name, row.name))
            thick = min(float(px(12)), 0.7 * high)
            bar = QRectF(name_room, y + (high - thick) / 2, bar_room, thick)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(c.grid))
            painter.drawRoundedRect(bar, 4, 4)
            counts = row.attention is not None and not row.masked
            if row.attention is not None and counts:
                painter.setBrush(QColor(colours.get(row.name, c.faint)))
                share = min(max(row.attention, 0.0), 1.0)
                painter.drawRoundedRect(
                    QRectF(bar.left(), bar.top(), max(3.0, bar.width() * share), bar.height()), 4, 4
                )
            painter.setFont(font(size))
            painter.setPen(QColor(c.text))
            told = f"{row.attention * 100:.0f} %" if row.attention is not None and counts else "–"
            painter.drawText(QRectF(bar.right(), y, share_room - px(6), high), middle | right, told)
            painter.setPen(QColor(c.alarm if row.masked else c.faint))
            left = bar.right() + share_room
            word = painter.fontMetrics().elidedText(row.told, Qt.TextElideMode.ElideRight, int(self.width() - left))
            painter.drawText(QRectF(left, y, self.width() - left, high), middle | right, word)


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"
