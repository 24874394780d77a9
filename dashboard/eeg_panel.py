"""Cleaned EEG: all channels, ten seconds, gaps in plain sight."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QRect, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from dashboard.board import EEG_SECONDS, Board
from dashboard.card import Card
from dashboard.raster import LEVELS, raster, row_height
from dashboard.theme import BRIGHT_RED, EDGE, FAINT, GRID, TEXT, VERMILLION, WELL, font
from streamer.messages import F64

SCALES_UV = (5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
"""µV between two neighbouring traces."""
TINTS = ("#8fd0f5", "#f2c46b")
SILENT_S = 1.0


class EegPanel(Card):
    """Traces below each other."""

    def __init__(self) -> None:
        super().__init__("EEG, cleaned")
        self._traces = EegTraces()
        self._scale = SCALES_UV.index(50.0)
        self.hold(self._traces)

    @property
    def scale_uv(self) -> float:
        """µV between two neighbouring traces."""
        return SCALES_UV[self._scale]

    def rescale(self, steps: int) -> None:
        """Make traces larger (steps below 0) or smaller."""
        self._scale = min(max(self._scale + steps, 0), len(SCALES_UV) - 1)

    def refresh(self, board: Board) -> None:
        """Show the store's traces."""
        view, about = board.view, board.about
        store = view.eeg
        if store is None:
            self._traces.show_nothing("no EEG yet")
            self.caption("")
            return
        lag = view.now - store.newest if np.isfinite(view.now) else 0.0
        names = [channel.name for channel in about.channels if channel.kind == "eeg"] if about is not None else []
        if len(names) != store.rows.width:
            names = [f"{i + 1}" for i in range(store.rows.width)]
        self._traces.show_traces(
            store.traces(lag if lag > SILENT_S else 0.0),
            names,
            store.bad,
            self.scale_uv,
            (id(store), store.revision, lag),
        )
        rows = store.rows
        lost = f"{rows.missing} samples missing" if rows.missing else "no samples missing"
        colour = BRIGHT_RED if rows.missing else FAINT
        bad = ", ".join(names[i] for i in sorted(store.bad) if i < len(names))
        interpolated = f' &nbsp;·&nbsp; <span style="color:{BRIGHT_RED}">bad, interpolated: {bad}</span>' if bad else ""
        self.caption(
            f"{rows.width} channels &nbsp;·&nbsp; {self.scale_uv:g} µV per row &nbsp;·&nbsp; {store.sfreq:g} Hz"
            f' &nbsp;·&nbsp; <span style="color:{colour}">{lost}</span>{interpolated}'
        )


class EegTraces(QWidget):
    """The picture of the traces, with names and a time axis."""

    LEFT = 46
    BOTTOM = 34

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumSize(300, 160)
        self._data: F64 | None = None
        self._names: list[str] = []
        self._bad: frozenset[int] = frozenset()
        self._scale_uv = 50.0
        self._key: object = None
        self._drawn: object = None
        self._image = QImage()
        self._note = ""

    def show_nothing(self, note: str) -> None:
        """Show an empty field with a word in it."""
        if self._data is not None or note != self._note:
            self._data, self._note, self._key = None, note, None
            self.update()

    def show_traces(self, data: F64, names: list[str], bad: frozenset[int], scale_uv: float, revision: object) -> None:
        """Show ``data``, µV, shape (n_times, n_channels); nothing is done while ``revision`` stays.

        The names of ``bad`` channels (indices) stand in red: what is shown of them was made of their neighbours.
        """
        key = (revision, scale_uv, tuple(names), bad)
        if key != self._key:
            self._data, self._names, self._scale_uv, self._key, self._note = data, names, scale_uv, key, ""
            self._bad = bad
            self.update()

    def field(self) -> QRect:
        """Where the traces are."""
        return QRect(self.LEFT, 2, max(10, self.width() - self.LEFT - 4), max(10, self.height() - self.BOTTOM - 2))

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        painter = QPainter(self)
        field = self.field()
        painter.fillRect(field, QColor(WELL))
        painter.setPen(QPen(QColor(GRID), 1, Qt.PenStyle.DotLine))
        for second in range(1, int(EEG_SECONDS)):
            x = field.left() + round(field.width() * second / EEG_SECONDS)
            painter.drawLine(x, field.top(), x, field.bottom())
        if self._data is not None:
            self._draw_gaps(painter, field, self._data)
            self._draw_traces(painter, field, self._data)
            self._draw_names(painter, field)
        painter.setPen(QColor(EDGE))
        painter.drawRect(field)
        self._draw_axis(painter, field)
        if self._note:
            painter.setFont(font(15))
            painter.setPen(QColor(FAINT))
            painter.drawText(field, Qt.AlignmentFlag.AlignCenter, self._note)
        painter.end()

    def _draw_gaps(self, painter: QPainter, field: QRect, data: F64) -> None:
        blank = np.isnan(data).all(axis=1)
        edges = np.flatnonzero(np.diff(blank.astype(np.int8), prepend=0, append=0))
        per_sample = field.width() / len(data)
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            if start == 0:
                continue  # the time before the stream began is not a gap
            left = field.left() + start * per_sample
            shade = QColor(VERMILLION)
            shade.setAlpha(70)
            painter.fillRect(QRectF(left, field.top(), max(2.0, (stop - start) * per_sample), field.height()), shade)
            if stop == len(data):
                painter.setFont(font(13, bold=True))
                painter.setPen(QColor(TEXT))
                width = max(120.0, field.right() - left)
                place = QRectF(field.right() - width, field.top(), width, field.height())
                painter.drawText(place, Qt.AlignmentFlag.AlignCenter, "no EEG")

    def _draw_traces(self, painter: QPainter, field: QRect, data: F64) -> None:
        ratio = self.devicePixelRatioF()
        size = (round(field.width() * ratio), round(field.height() * ratio))
        if (self._key, size) != self._drawn:
            picture = raster(data, *size, per_row=self._scale_uv, thickness=1.25 * ratio)
            padded = np.zeros((size[1], -(-size[0] // 4) * 4), dtype=np.uint8)
            padded[:, : size[0]] = picture
            image = QImage(padded.tobytes(), size[0], size[1], padded.shape[1], QImage.Format.Format_Indexed8)
            image.setColorTable(_colour_table())
            self._image = image.copy()
            self._drawn = (self._key, size)
        painter.drawImage(field, self._image)

    def _draw_names(self, painter: QPainter, field: QRect) -> None:
        row = row_height(field.height(), len(self._names))
        painter.setFont(font(int(min(12, max(7, row * 0.8)))))
        every = max(1, round(9 / row + 0.49))
        for i, name in enumerate(self._names):
            if i % every == 0:
                painter.setPen(QColor(BRIGHT_RED if i in self._bad else TINTS[i % 2]))
                place = QRectF(0, field.top() + (i + 0.5) * row, self.LEFT - 6, row)
                align = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                painter.drawText(place, align, name)

    def _draw_axis(self, painter: QPainter, field: QRect) -> None:
        painter.setFont(font(11))
        painter.setPen(QColor(FAINT))
        centred = Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop
        for second in range(0, int(EEG_SECONDS) + 1, 2):
            x = field.left() + field.width() * second / EEG_SECONDS
            text = f"−{EEG_SECONDS - second:g}" if second < EEG_SECONDS else "0"
            painter.drawText(QRectF(min(x, field.right() - 8) - 20, field.bottom() + 3, 40, 14), centred, text)
        painter.drawText(QRectF(field.left(), field.bottom() + 16, field.width(), 16), centred, "time (s before now)")


def _colour_table() -> list[int]:
    table = [0] * (1 + 2 * LEVELS)
    for i, tint in enumerate(TINTS):
        colour = QColor(tint)
        for level in range(1, LEVELS + 1):
            colour.setAlphaF(0.92 * level / LEVELS)
            table[i * LEVELS + level] = colour.rgba()
    return table
