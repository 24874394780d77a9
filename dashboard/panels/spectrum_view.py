"""The picture of a power spectrum and of how it went."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QWidget

from dashboard.drawing.colour_maps import sequential
from dashboard.drawing.range_bar import WIDTH, number, paint_range
from dashboard.drawing.theme import font, look, px
from dashboard.figures.spectra import BANDS, HIGHEST_HZ, LOWEST_HZ, Peak
from streamer.messages import F64

_SIGNS = {"delta": "δ", "theta": "θ", "alpha": "α", "beta": "β"}
_TICKS_HZ = (4, 8, 13, 20, 30, 40)
_BESIDE = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_WIDE = 1.6
_SMALL = (380, 230)
"""A view smaller than that both ways, in pixels that are not scaled, has room for the spectrum alone."""


@dataclass(frozen=True, slots=True)
class SpectrumScene:
    """All that is drawn."""

    note: str = ""
    """A word in place of it."""
    frequencies: F64 | None = None
    """Hz, shape (n,)."""
    spectrum: F64 | None = None
    """dB µV²/Hz, shape (n,); None where no EEG is."""
    peak: Peak | None = None
    image: QImage | None = None
    """A row per frequency, the highest at the top, a column per ``hop``."""
    newest_ago: float = 0.0
    """s from the end of the last column of ``image`` to the right edge."""
    image_s: float = 60.0
    """s that the image spans."""
    seconds: float = 60.0
    """s that are shown."""
    low: float = -15.0
    high: float = 25.0
    """dB µV²/Hz."""
    right: str = "now"
    """What the right edge is."""


class SpectrumView(QWidget):
    """Draws a scene: beside each other where it is wide, else one below the other."""

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumSize(px(200), px(80))
        self.scene = SpectrumScene(note="no EEG yet")

    def show_scene(self, scene: SpectrumScene) -> None:
        """Show ``scene``."""
        self.scene = scene
        self.update()

    def fields(self) -> tuple[QRectF, QRectF | None]:
        """Where the spectrum and the spectrogram are, without their axes; no spectrogram where there is no room."""
        left, below, bar = px(44), px(32), px(WIDTH)
        width, height = self.width(), self.height()
        if width < px(_SMALL[0]) and height < px(_SMALL[1]):
            return _room(QRectF(left, 2, width - left - px(10), height - below - 2)), None
        if width >= _WIDE * height:
            half = width * 0.42
            first = QRectF(left, 2, half - left - px(10), height - below - 2)
            second = QRectF(half + left, 2, width - half - left - bar, height - below - 2)
        else:
            half = height * 0.5
            first = QRectF(left, 2, width - left - bar, half - below - 2)
            second = QRectF(left, half + px(4), width - left - bar, height - half - below - px(4))
        return _room(first), _room(second)

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        above, below = self.fields()
        shown = [above] if below is None else [above, below]
        for field in shown:
            painter.fillRect(field, QColor(look().well))
        if below is not None:
            self._draw_image(painter, below)
        self._draw_bands(painter, above)
        self._draw_spectrum(painter, above)
        painter.setPen(QColor(look().edge))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for field in shown:
            painter.drawRect(field)
        scene = self.scene
        painter.setFont(font(11))
        painter.setPen(QColor(look().faint))
        self._draw_axes(painter, above)
        if below is not None:
            self._draw_axes_of_image(painter, below)
            bar = QRectF(below.right() + px(4), below.top(), px(WIDTH) - px(4), below.height())
            paint_range(painter, bar, sequential(), scene.low, scene.high, "dB")
        if scene.note:
            painter.setFont(font(15))
            painter.setPen(QColor(look().text))
            for field in shown if scene.image is None else (above,):
                painter.drawText(field, Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, scene.note)
        painter.end()

    def _draw_image(self, painter: QPainter, field: QRectF) -> None:
        scene = self.scene
        if scene.image is None or scene.frequencies is None or not len(scene.frequencies):
            return
        per_second = field.width() / scene.seconds
        right = field.right() - scene.newest_ago * per_second
        step = float(scene.frequencies[1] - scene.frequencies[0]) if len(scene.frequencies) > 1 else 1.0
        top = _across(field, float(scene.frequencies[-1]) + step / 2)
        bottom = _across(field, float(scene.frequencies[0]) - step / 2)
        width = scene.image_s * per_second
        painter.save()
        painter.setClipRect(field)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawImage(QRectF(right - width, top, width, bottom - top), scene.image)
        painter.restore()

    def _draw_bands(self, painter: QPainter, field: QRectF) -> None:
        painter.setFont(font(11))
        metrics = painter.fontMetrics()
        for name, (low, high) in BANDS.items():
            left, right = _along(field, max(low, LOWEST_HZ)), _along(field, high)
            painter.setPen(QPen(QColor(look().grid), 1, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(right, field.top()), QPointF(right, field.bottom()))
            text = name if metrics.horizontalAdvance(name) < right - left - 4 else _SIGNS[name]
            if metrics.horizontalAdvance(text) > right - left:
                continue
            painter.setPen(QColor(look().faint))
            place = QRectF(left - px(10), field.top() + 2, right - left + px(20), metrics.height())
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, text)

    def _draw_spectrum(self, painter: QPainter, field: QRectF) -> None:
        scene = self.scene
        if scene.spectrum is None or scene.frequencies is None:
            return
        share = (scene.spectrum - scene.low) / (scene.high - scene.low)
        known = np.isfinite(share)
        x = [_along(field, f) for f in scene.frequencies[known].tolist()]
        y = [field.bottom() - s * field.height() for s in share[known].tolist()]
        painter.save()
        painter.setClipRect(field)
        painter.setPen(QPen(QColor(look().eeg), px(2)))
        painter.drawPolyline(QPolygonF([QPointF(a, b) for a, b in zip(x, y, strict=True)]))
        if scene.peak is not None:
            at = _along(field, scene.peak.frequency)
            level = float(np.interp(scene.peak.frequency, scene.frequencies[known], share[known]))
            height = min(max(field.bottom() - level * field.height(), field.top() + px(6)), field.bottom())
            painter.setFont(font(12, bold=True))
            text = f"α {scene.peak.frequency:.1f} Hz"
            width, line = painter.fontMetrics().horizontalAdvance(text), painter.fontMetrics().height()
            painter.setBrush(QColor(look().mark))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.drawEllipse(QPointF(at, height), px(4), px(4))
            left = min(at + px(8), field.right() - width - px(4))
            place = QRectF(left, max(height - line, field.top() + line + 4), width + 2, line)
            ground = QColor(look().well)
            ground.setAlpha(200)
            painter.fillRect(place, ground)
            painter.setPen(QColor(look().mark))
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, text)
        painter.restore()

    def _draw_axes(self, painter: QPainter, above: QRectF) -> None:
        scene, metrics = self.scene, painter.fontMetrics()
        taken = -1e9
        for tick in _TICKS_HZ:
            x, half = _along(above, tick), metrics.horizontalAdvance(f"{tick}") / 2
            if x - half > taken and x + half <= above.right() + px(6):
                self._text(painter, x, above.bottom() + 2, f"{tick}")
                taken = x + half + px(4)
        self._text(painter, above.center().x(), above.bottom() + px(15), "frequency (Hz)")
        steps = (scene.low, (scene.low + scene.high) / 2, scene.high)
        for value in steps if above.height() > 4 * metrics.height() else (scene.low, scene.high):
            y = above.bottom() - (value - scene.low) / (scene.high - scene.low) * above.height()
            y = min(max(y, above.top() + metrics.height() / 2), above.bottom() - metrics.height() / 2)
            painter.drawText(QRectF(0, y - 10, above.left() - 5, 20), _BESIDE, number(value))
        self._upright(painter, above, "dB (µV²/Hz)")

    def _draw_axes_of_image(self, painter: QPainter, below: QRectF) -> None:
        scene, metrics = self.scene, painter.fontMetrics()
        taken = 1e9
        for tick in _TICKS_HZ:
            y = _across(below, tick)
            if y + metrics.height() / 2 < taken:
                painter.drawText(QRectF(below.left() - px(30), y - 10, px(30) - 5, 20), _BESIDE, f"{tick}")
                taken = y - metrics.height() / 2
        self._upright(painter, below, "Hz")
        step = next((s for s in (10, 15, 20, 30, 60) if below.width() * s / scene.seconds >= px(34)), 60)
        for ago in range(0, int(scene.seconds) + 1, step):
            x = below.right() - ago / scene.seconds * below.width()
            self._text(painter, x, below.bottom() + 2, f"−{ago}" if ago else "0")
        self._text(painter, below.center().x(), below.bottom() + px(15), f"time (s before {scene.right})")

    def _text(self, painter: QPainter, x: float, y: float, text: str) -> None:
        width = painter.fontMetrics().horizontalAdvance(text) + 2
        left = min(max(x - width / 2, 0.0), self.width() - width)
        painter.drawText(QRectF(left, y, width, px(15)), Qt.AlignmentFlag.AlignCenter, text)

    def _upright(self, painter: QPainter, field: QRectF, text: str) -> None:
        if painter.fontMetrics().horizontalAdvance(text) > field.height():
            return
        painter.save()
        painter.translate(field.left() - px(44) + px(8), field.center().y())
        painter.rotate(-90)
        painter.drawText(QRectF(-200, -px(8), 400, px(16)), Qt.AlignmentFlag.AlignCenter, text)
        painter.restore()


def _room(field: QRectF) -> QRectF:
    return QRectF(field.left(), field.top(), max(10.0, field.width()), max(10.0, field.height()))


def _along(field: QRectF, frequency: float) -> float:
    return field.left() + (frequency - LOWEST_HZ) / (HIGHEST_HZ - LOWEST_HZ) * field.width()


def _across(field: QRectF, frequency: float) -> float:
    return field.bottom() - (frequency - LOWEST_HZ) / (HIGHEST_HZ - LOWEST_HZ) * field.height()
