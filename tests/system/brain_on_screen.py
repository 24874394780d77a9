"""Show the brain panel on a screen with OpenGL, drive it as a person would, and say in JSON what it showed.

``python -m tests.system.brain_on_screen FOLDER`` puts its pictures into FOLDER.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import numpy as np
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QTabWidget, QVBoxLayout, QWidget

from dashboard.drawing import gl_scene
from dashboard.drawing.colour_bar import WIDTH
from dashboard.drawing.theme import choose, px, style_sheet
from dashboard.figures.place import Place
from dashboard.panels.brain import BrainPanel
from dashboard.panels.planes import PlanesPanel
from tests.unit.looked_at_heads import ACTIVE, QUIET, board, head

WAIT_MS = 20_000
STEP_MS = 5


class Desk:
    """A window with both panels."""

    def __init__(self, theme: str) -> None:
        choose(theme)
        self.window = QWidget()
        self.window.setStyleSheet(style_sheet())
        layout = QVBoxLayout(self.window)
        self.place = Place()
        self.brain, self.planes = BrainPanel(self.place), PlanesPanel(self.place)
        for panel in (self.brain, self.planes):
            layout.addWidget(panel.head)
            layout.addWidget(panel, 1)
        self.window.resize(760, 1000)
        self.window.show()
        assert QTest.qWaitForWindowExposed(self.window)

    def show(self, shown) -> None:
        """Draw until all that is worked out beside has come."""

        beside = (self.brain._head, self.brain._blobs, self.brain._template)
        for _ in range(WAIT_MS // STEP_MS):
            settled = not any(each.busy for each in beside)
            for panel in (self.brain, self.planes):
                panel.refresh(shown)
            QTest.qWait(STEP_MS)
            if settled and not any(each.busy for each in beside):
                return
        raise AssertionError("what is worked out beside did not come")

    def words(self) -> str:
        return self.brain.legend_text().replace("&nbsp;", " ")

    def picture(self, path: Path | None = None) -> np.ndarray:
        """Shape (height, width, 3), of the 3-D view alone."""
        image = self.brain.solid.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
        if path is not None:
            self.window.grab().save(str(path))
        raw = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
        return raw[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).astype(int)

    def colour_at(self, mm) -> list[int]:
        """Colour beside a place, where neither its label nor the cross covers it."""
        at = self.brain.solid._scene.on_picture(tuple(mm)) + QPointF(9, 9)
        colour: QColor = self.brain.solid.grab().toImage().pixelColor(at.toPoint())
        return [colour.red(), colour.green(), colour.blue()]


def main(folder: Path) -> dict[str, object]:
    app = QApplication([])
    said: dict[str, object] = {}
    desks: list[Desk] = []
    for theme in ("dark", "light"):
        desk = Desk(theme)
        desks.append(desk)
        shown = board(head(0, 100.0))
        desk.place.move(ACTIVE)
        desk.show(shown)
        said["why_flat"] = desk.brain.why_flat
        if desk.brain.solid is None:
            return said
        said[f"hot {theme}"] = desk.colour_at(ACTIVE)
        said[f"cold {theme}"] = desk.colour_at(QUIET)
        first = desk.picture(folder / f"brain_{theme}.png")
        said[f"lit {theme}"] = float(np.mean(first.sum(axis=2) > 60))
    solid = desk.brain.solid
    said["words"] = desk.words()

    drawn = solid.drawn
    for _ in range(20):
        desk.show(shown)
    said["drawn while nothing changed"] = solid.drawn - drawn
    desk.place.move(QUIET)
    desk.show(shown)
    said["drawn for another place"] = solid.drawn - drawn
    said["place changed pixels"] = float(np.mean(np.any(first != desk.picture(), axis=2)))

    azimuth = solid.camera.azimuth
    middle = solid.rect().center()
    QTest.mousePress(solid, Qt.MouseButton.LeftButton, pos=middle)
    QTest.mouseMove(solid, middle + QPoint(40, 0))
    app.processEvents()
    QTest.mouseRelease(solid, Qt.MouseButton.LeftButton, pos=middle + QPoint(40, 0))
    said["turned by the mouse"] = solid.camera.azimuth - azimuth
    QTest.keyClick(solid, Qt.Key.Key_Left)
    said["turned by a key"] = solid.camera.azimuth - azimuth - said["turned by the mouse"]
    desk.show(shown)
    said["drawn for turns"] = solid.drawn - drawn

    commands = {each.text: each.do for each in desk.brain.commands()}
    faces = len(desk.brain._blobs.result.mesh.faces)
    raise_threshold = next(each.do for each in desk.planes.commands() if each.text.startswith("Raise"))
    for _ in range(3):
        raise_threshold()
    desk.show(shown)
    said["words at a higher threshold"] = desk.words()
    said["faces fall"] = len(desk.brain._blobs.result.mesh.faces) / faces
    commands["Brain from the left"]()
    desk.show(shown)
    desk.picture(folder / "brain_left.png")
    commands["MNI template in place of this head"]()
    desk.show(shown)
    said["words of the template"] = desk.words()
    said["template faces"] = len(solid.shown.head.faces)
    desk.picture(folder / "brain_template.png")
    commands["Brain flat or in 3-D"]()
    desk.show(shown)
    said["flat"] = desk.brain.flat.isVisible() and desk.brain.flat.picture is not None
    said["state"] = desk.brain.state()
    commands["Brain flat or in 3-D"]()

    # the same head again, and then none: surfaces are found once for each grid
    found = desk.brain._head.result
    for i in range(1, 4):
        shown.take("s", head(i, 100.0 + 2 * i))
        desk.show(shown)
    said["surface found again"] = desk.brain._head.result is not found
    dark = head(9, 120.0)
    dark.images["mean"].steps[:] = 0
    desk.show(board(dark, session="t"))
    other = board(head(9, 120.0, shape=(30, 40, 20)))
    desk.show(other)
    said["surface found for another grid"] = desk.brain._head.result is not found

    # every pixel is drawn in every size: at the edges there is nothing but black
    edges = []
    for width, height in ((900, 900), (620, 1100), (1000, 1100)):
        desk.window.resize(width, height)
        desk.show(other)
        solid.look_from(solid.camera.zoomed(0.7))
        seen = desk.picture()[:, : solid.width() - px(WIDTH)]
        edges += [int(part.max()) for part in (seen[:6], seen[-6:], seen[:, :6], seen[:, -6:])]
    said["edges"] = edges

    # a change of theme throws panels away and makes new ones, whenever Python collects them
    for _ in range(4):
        thrown = Desk("dark")
        thrown.show(other)
        thrown.window.deleteLater()
        del thrown
        gc.collect()
        QTest.qWait(STEP_MS)
    for _ in range(200):
        if len(gl_scene._OPEN) == len(desks):
            break
        QTest.qWait(STEP_MS)
    said["scenes left"] = len(gl_scene._OPEN)

    # a panel that is moved to another window goes on
    tabs = QTabWidget()
    tabs.resize(500, 400)
    tabs.addTab(desk.brain, "brain")
    tabs.show()
    assert QTest.qWaitForWindowExposed(tabs)
    desk.show(other)
    moved = desk.picture()
    said["lit after moving"] = float(np.mean(moved.sum(axis=2) > 60))
    return said


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
