"""How much each modality counts in the decision, and how old its newest data is."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from dashboard.board import Board
from dashboard.card import Card
from dashboard.theme import BRIGHT_RED, FAINT, GRID, ORANGE, SKY, TEXT, font
from streamer.wire import PredictionMessage

COLOURS = {"eeg": SKY, "bold": ORANGE}
LABELS = {"eeg": "EEG", "bold": "BOLD"}


@dataclass(frozen=True, slots=True)
class Modality:
    """One row."""

    name: str
    attention: float | None
    age: float | None
    masked: bool


def modalities(prediction: PredictionMessage | None) -> list[Modality]:
    """List EEG and BOLD, and whatever else the model attends to."""
    if prediction is None:
        return [Modality(name, None, None, masked=False) for name in LABELS]
    ages = {"eeg": prediction.age_eeg_s, "bold": prediction.age_bold_s}
    names = [*LABELS, *(name for name in prediction.attention if name not in LABELS)]
    return [
        Modality(name, prediction.attention.get(name), ages.get(name), f"NO_{name.upper()}" in prediction.flags)
        for name in names
    ]


class ModalityPanel(Card):
    """One bar per modality."""

    def __init__(self) -> None:
        super().__init__("Modalities")
        self.caption("attention &nbsp;·&nbsp; age of the newest data")
        self._bars = Bars()
        self.hold(self._bars)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(112)

    def refresh(self, board: Board) -> None:
        """Show the newest prediction's attention and ages."""
        self._bars.show_rows(modalities(board.view.prediction))


class Bars(QWidget):
    """Horizontal bars with their numbers."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[Modality] = []

    def show_rows(self, rows: list[Modality]) -> None:
        """Show ``rows``; nothing is done while they stay."""
        if rows != self._rows:
            self._rows = rows
            self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        if not self._rows:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        height = min(34.0, self.height() / len(self._rows))
        left, right = 62.0, 250.0
        width = max(20.0, self.width() - left - right)
        middle = Qt.AlignmentFlag.AlignVCenter
        for i, row in enumerate(self._rows):
            y = i * height
            painter.setFont(font(14, bold=True))
            painter.setPen(QColor(TEXT))
            painter.drawText(QRectF(0, y, left, height), middle, LABELS.get(row.name, row.name))
            bar = QRectF(left, y + height / 2 - 7, width, 14)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(GRID))
            painter.drawRoundedRect(bar, 4, 4)
            if row.attention is not None and not row.masked:
                share = min(max(row.attention, 0.0), 1.0)
                painter.setBrush(QColor(COLOURS.get(row.name, FAINT)))
                painter.drawRoundedRect(QRectF(bar.left(), bar.top(), max(3.0, bar.width() * share), 14), 4, 4)
            painter.setFont(font(14))
            painter.setPen(QColor(TEXT))
            share_text = "…" if row.attention is None else f"{row.attention * 100:.0f} %"
            place = QRectF(left + width + 8, y, 62, height)
            painter.drawText(place, middle | Qt.AlignmentFlag.AlignRight, share_text)
            painter.setPen(QColor(BRIGHT_RED if row.masked else FAINT))
            place = QRectF(left + width + 84, y, right - 84, height)
            painter.drawText(place, middle | Qt.AlignmentFlag.AlignRight, _age(row))
        painter.end()


def _age(row: Modality) -> str:
    age = "no data" if row.age is None else f"{row.age * 1000:.0f} ms old" if row.age < 1 else f"{row.age:.1f} s old"
    return f"■ masked, {age}" if row.masked else age
