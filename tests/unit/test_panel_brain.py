"""The brain panel where there is no OpenGL, and what it works out beside the window."""

from __future__ import annotations

import os
import re
import sys
from threading import Event

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from dashboard.board import Board
from dashboard.drawing.background import Background
from dashboard.drawing.gl_scene import Camera, open_scene
from dashboard.drawing.theme import choose
from dashboard.figures.place import Place, Scale
from dashboard.panels.brain import BrainPanel
from dashboard.panels.planes import PlanesPanel
from tests.unit.looked_at_heads import ACTIVE, board, head


def words(card) -> str:
    return re.sub(r"<[^>]*>|&nbsp;", " ", card.legend_text())


@pytest.fixture
def brain(qtbot: QtBot, monkeypatch) -> BrainPanel:
    # Qt's offscreen platform has OpenGL where there is an X server beside it
    monkeypatch.setattr("dashboard.drawing.gl_scene.renderer_here", lambda: None)
    choose("dark")
    made = BrainPanel(Place())
    qtbot.addWidget(made)
    made.resize(700, 360)
    made.show()
    return made


@pytest.mark.skipif("DISPLAY" in os.environ, reason="there is a screen, which may have OpenGL")
def test_no_screen_has_no_opengl(qapp):
    assert open_scene() == "this screen has no OpenGL"


def test_a_missing_library_is_named(qapp, monkeypatch):
    monkeypatch.setattr("dashboard.drawing.gl_scene.renderer_here", lambda: "llvmpipe")
    for name in [name for name in sys.modules if name.startswith(("pyqtgraph.opengl", "OpenGL"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "OpenGL", None)
    assert open_scene() == "PyOpenGL is not installed: pip install PyOpenGL"


def test_the_camera_stays_over_the_head():
    camera = Camera(350.0, 80.0, 1.0)
    assert camera.turned(20.0, 30.0) == Camera(10.0, 90.0, 1.0)
    assert camera.zoomed(100.0).zoom == 6.0
    assert camera.zoomed(0.001).zoom == 0.4


def test_without_opengl_the_brain_is_flat_and_says_why(brain):
    assert brain.why_flat == "this screen has no OpenGL"
    assert brain.solid is None
    assert not brain.flatten.isVisible()
    assert brain.commands() == ()
    shown = board(head())
    brain.refresh(Board())
    assert brain.flat.word == "no volumes yet"
    brain.refresh(shown)
    assert "flat: this screen has no OpenGL" in words(brain)
    picture = brain.flat.picture
    assert [dot.name for dot in picture.dots] == ["motor", "insula"]
    # the blobs are seen from every side, wherever the place is
    values = head().images["change"].steps
    for axis in range(3):
        assert picture.heat[axis].max() == values.max()
    assert brain.grab().width() == brain.width()


def test_both_panels_show_one_place_map_and_threshold(brain, qtbot):
    planes = PlanesPanel(brain.place)
    qtbot.addWidget(planes)
    commands = {each.text: each for each in planes.commands()}
    shown = board(head())
    for each in (brain, planes):
        each.refresh(shown)
    view = brain.flat
    panes, _, _ = view.layout_of(view.width(), view.height())
    qtbot.mouseClick(
        view, Qt.MouseButton.LeftButton, pos=view._on_pane(view.picture, 2, panes[2], tuple(ACTIVE)).toPoint()
    )
    commands["Next map"].do()
    commands["Lower the map's threshold"].do()
    for each in (brain, planes):
        each.refresh(shown)
    assert view.picture.mm == planes.view.picture.mm
    assert view.picture.mm[:2] == pytest.approx(tuple(ACTIVE[:2]), abs=2.5)
    assert view.picture.scale == planes.view.picture.scale == Scale(2.5, 10.0)
    assert view.picture.readout[0] == planes.readout()[0]
    assert view.picture.readout[0].startswith("t task")


def test_of_many_regions_only_the_nearest_is_named(brain):
    names = [f"r{i}" for i in range(40)]
    centres = [[float(i), 0.0, 0.0] if i % 2 else None for i in range(40)]
    brain.place.move((24.9, 0.0, 0.0))
    brain.refresh(board(head(), regions=names, regions_mm=centres))
    assert [dot.name for dot in brain.flat.picture.dots if dot.name] == ["r25"]
    assert len(brain.flat.picture.dots) == 20


def test_the_brain_of_a_blinded_session(brain):
    brain.refresh(board(head(maps=()), blinded=True))
    assert "blinded" in words(brain)
    assert brain.flat.picture.heat is None
    brain.grab()


def test_a_stale_brain_says_so(brain):
    shown = board(head(3, 100.0))
    brain.refresh(shown)
    assert "stale" not in words(brain)
    shown.view.now = 112.5
    brain.refresh(shown)
    assert "stale, 12 s old" in words(brain)
    assert "▲" in words(brain)
    shown.held = 104.0
    brain.refresh(shown)
    assert "stale" not in words(brain)


def test_the_brains_settings_take_nonsense(brain):
    brain.restore({"flat": 3, "template": "x", "camera": [1, "y"]})
    assert brain.state() == {"flat": False, "template": False}


def test_of_wishes_that_come_meanwhile_only_the_last_is_fulfilled(qtbot):
    go, done = Event(), []
    background: Background[str] = Background("test")

    def work(name):
        go.wait(5.0)
        done.append(name)
        return name

    for name in ("a", "b", "c", "c"):
        background.ask(name, lambda name=name: work(name))
    assert background.busy
    assert background.result is None
    go.set()
    qtbot.waitUntil(lambda: not background.busy)
    assert done == ["a", "c"]
    assert (background.result, background.of) == ("c", "c")
    background.ask("c", lambda: work("again"))
    assert not background.busy
    background.forget()
    background.ask("c", lambda: work("again"))
    qtbot.waitUntil(lambda: not background.busy)
    assert background.result == "again"


def test_work_that_fails_says_why_and_the_next_one_goes_on(qtbot):
    background: Background[float] = Background("test")
    background.ask(1, lambda: 1 / 0)
    qtbot.waitUntil(lambda: not background.busy)
    assert background.result is None
    assert background.error.startswith("ZeroDivisionError")
    background.ask(2, lambda: 2.0)
    qtbot.waitUntil(lambda: not background.busy)
    assert (background.result, background.error) == (2.0, "")


def test_keys_work_though_the_planes_were_never_shown(brain, qtbot):
    planes = PlanesPanel(brain.place)
    qtbot.addWidget(planes)
    commands = {each.text: each for each in planes.commands()}
    for each in commands.values():
        each.do()
    shown = board(head())
    brain.refresh(shown)
    for _ in range(2):
        commands["Raise the map's threshold"].do()
    brain.refresh(shown)
    assert brain.flat.picture.scale == Scale(1.0, 3.0)
    commands["Next map"].do()
    brain.refresh(shown)
    assert brain.flat.picture.unit == "t"
