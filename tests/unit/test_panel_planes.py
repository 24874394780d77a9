"""The panel of three planes, driven through a real board."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QImage, QWheelEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from dashboard.board import Board
from dashboard.drawing.theme import choose
from dashboard.figures.place import Place, Scale
from dashboard.panels.planes import PlanesPanel
from tests.unit.looked_at_heads import ACTIVE, CENTRE, QUIET, board, head, oblique


@pytest.fixture(autouse=True)
def theme():
    choose("dark")
    yield
    choose("dark")


@pytest.fixture
def panel(qtbot: QtBot) -> PlanesPanel:
    made = PlanesPanel(Place())
    qtbot.addWidget(made)
    made.resize(900, 360)
    made.show()
    return made


def words(card) -> str:
    return re.sub(r"<[^>]*>|&nbsp;", " ", card.legend_text())


def pixel(widget, at: QPointF) -> np.ndarray:
    colour = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB32).pixelColor(at.toPoint())
    return np.array([colour.red(), colour.green(), colour.blue()])


def beside(mm, *by) -> np.ndarray:
    return np.add(mm, by)


def at(panel, axis, mm) -> QPointF:
    """Where the middle of a place's voxel is drawn."""
    view = panel.view
    mm = view.picture.grid.centre(view.picture.grid.point(tuple(mm)))
    panes, _, _ = view.layout_of(view.width(), view.height())
    return view._on_pane(view.picture, axis, panes[axis], tuple(mm))


def wheel(widget, point, delta=120, modifiers=Qt.KeyboardModifier.NoModifier):
    event = QWheelEvent(
        point,
        point,
        QPoint(),
        QPoint(0, delta),
        Qt.MouseButton.NoButton,
        modifiers,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(widget, event)


def test_a_word_before_there_is_anything(panel):
    panel.refresh(Board())
    assert panel.view.word == "no volumes yet"
    panel.grab()
    late = board(head(received=100.0))
    late.hold(50.0)
    late.held = 50.0
    panel.refresh(late)
    assert panel.view.word == "no volume had come by then"
    assert panel.readout() == ()


def test_the_middle_of_the_head_first_and_then_the_place_that_is_chosen(panel):
    shown = board(head(7))
    panel.refresh(shown)
    assert panel.place.mm == pytest.approx(tuple(CENTRE), abs=4)
    assert "volume 7" in words(panel)
    panel.place.move(ACTIVE)
    panel.refresh(shown)
    said = panel.readout()
    assert re.fullmatch(r"change \+2\.[2-7]\d %", said[0])
    assert said[1] == "38 R  22 P  40 S mm"
    assert said[2] == "motor, centre 0 mm away"
    assert said[3].startswith("mean 0.")
    assert said[4] == "voxel 20 30 29"
    panel.place.move(QUIET)
    panel.refresh(shown)
    assert re.fullmatch(r"change \u2212[12]\.\d\d %", panel.readout()[0])
    assert panel.readout()[2] == "insula, centre 0 mm away"


@pytest.mark.parametrize("theme_name", ["dark", "light"])
@pytest.mark.parametrize("affine", [None, oblique()], ids=["aligned", "oblique"])
def test_heat_is_where_the_map_is_and_grey_is_elsewhere(qtbot, theme_name, affine):
    choose(theme_name)
    panel = PlanesPanel(Place())
    qtbot.addWidget(panel)
    panel.resize(900, 360)
    panel.show()
    panel.place.move(ACTIVE)
    panel.refresh(board(head() if affine is None else head(affine=affine)))
    aside = beside(ACTIVE, 4.5, 4.5, 4.5)
    for axis in range(3):
        red, _, blue = pixel(panel.view, at(panel, axis, aside)).astype(int)
        assert red > blue + 60
        calm = CENTRE.copy()
        calm[axis] = ACTIVE[axis]
        shades = pixel(panel.view, at(panel, axis, beside(calm, 8, -30, -8))).astype(int)
        assert np.ptp(shades) < 12
        assert shades.mean() > 40
    panel.place.move(QUIET)
    panel.refresh(board(head() if affine is None else head(affine=affine)))
    red, _, blue = pixel(panel.view, at(panel, 2, beside(QUIET, 4.5, 4.5, 0))).astype(int)
    assert blue > red + 60


def test_left_is_left_until_somebody_wants_it_otherwise(panel, qtbot):
    shown = board(head())
    panel.place.move(ACTIVE)
    panel.refresh(shown)
    assert panel.side.text() == "neurological"
    middle = at(panel, 2, CENTRE).x()
    assert at(panel, 2, ACTIVE).x() > middle
    sagittal = at(panel, 0, ACTIVE)
    before = pixel(panel.view, at(panel, 2, beside(ACTIVE, 4.5, 4.5, 0)))
    qtbot.mouseClick(panel.side, Qt.MouseButton.LeftButton)
    panel.refresh(shown)
    assert panel.side.text() == "radiological"
    assert at(panel, 2, ACTIVE).x() < at(panel, 2, CENTRE).x()
    assert at(panel, 0, ACTIVE) == sagittal
    # the same voxel has the same colour on the other side
    assert pixel(panel.view, at(panel, 2, beside(ACTIVE, 4.5, 4.5, 0))) == pytest.approx(before, abs=2)
    assert panel.view.place_at(2, at(panel, 2, ACTIVE)) == pytest.approx(tuple(ACTIVE), abs=1.8)


def test_a_click_a_drag_the_wheel_and_the_arrows_move_the_place(panel, qtbot):
    shown = board(head())
    panel.refresh(shown)
    view, place = panel.view, panel.place
    z = place.mm[2]
    qtbot.mouseClick(view, Qt.MouseButton.LeftButton, pos=at(panel, 2, ACTIVE).toPoint())
    assert place.mm[:2] == pytest.approx(tuple(ACTIVE[:2]), abs=2.5)
    assert place.mm[2] == z
    qtbot.mousePress(view, Qt.MouseButton.LeftButton, pos=at(panel, 1, ACTIVE).toPoint())
    qtbot.mouseRelease(view, Qt.MouseButton.LeftButton, pos=at(panel, 1, ACTIVE).toPoint())
    assert place.mm == pytest.approx(tuple(ACTIVE), abs=2.5)
    panel.refresh(shown)
    assert float(re.search(r"[\d.]+", panel.readout()[0]).group()) > 2
    x, y, z = place.mm
    qtbot.keyClick(view, Qt.Key.Key_Right)
    panel.refresh(shown)
    qtbot.keyClick(view, Qt.Key.Key_Up)
    panel.refresh(shown)
    qtbot.keyClick(view, Qt.Key.Key_PageDown)
    panel.refresh(shown)
    # the picture that was clicked last is the coronal one: right, up, and a slice back
    assert place.mm == pytest.approx((x + 3, y - 3, z + 3.5))
    wheel(view, at(panel, 2, place.mm))
    assert place.mm[2] == pytest.approx(z + 7)
    # beyond the edge it stays inside
    for _ in range(80):
        qtbot.keyClick(view, Qt.Key.Key_Left)
        panel.refresh(shown)
    assert panel.view.picture.grid.voxel(place.mm) is not None


def test_the_wheel_over_the_colour_bar_changes_threshold_and_range(panel):
    shown = board(head())
    panel.refresh(shown)
    _, bar, _ = panel.view.layout_of(panel.view.width(), panel.view.height())
    wheel(panel.view, bar.center())
    wheel(panel.view, bar.center(), modifiers=Qt.KeyboardModifier.ControlModifier)
    panel.refresh(shown)
    assert panel.view.picture.scale == Scale(0.75, 4.0)
    wheel(panel.view, bar.center(), -120)
    assert panel.place.scale("%") == Scale(0.5, 4.0)


def commands(panel):
    return {each.text: each for each in panel.commands()}


def test_threshold_range_and_map_by_command(panel):
    shown = board(head())
    panel.place.move(ACTIVE)
    panel.refresh(shown)
    by_name = commands(panel)
    assert {each.keys for each in by_name.values()} == {"M", "T", "Shift+T", "Ctrl+M", ""}
    assert (panel.view.picture.unit, panel.view.picture.scale) == ("%", Scale(0.5, 3.0))
    aside = at(panel, 2, beside(ACTIVE, 7, -7, 0))
    assert np.ptp(pixel(panel.view, aside).astype(int)) > 60
    for _ in range(5):
        by_name["Raise the map's threshold"].do()
    by_name["Widen the map's colour range"].do()
    panel.refresh(shown)
    assert panel.view.picture.scale == Scale(2.5, 4.0)
    # what is below the threshold shows the mean again
    assert np.ptp(pixel(panel.view, aside).astype(int)) < 12
    by_name["Next map"].do()
    panel.refresh(shown)
    assert panel.maps.currentText() == "t task"
    assert (panel.view.picture.unit, panel.view.picture.scale) == ("t", Scale(3.0, 10.0))
    assert re.fullmatch(r"t task \+[89]\.\d\d", panel.readout()[0])
    by_name["Next map"].do()
    panel.refresh(shown)
    assert panel.view.picture.scale == Scale(2.5, 4.0)


def test_colours_do_not_follow_the_data(panel):
    panel.place.move(ACTIVE)
    panel.refresh(board(head(gain=1.0)))
    before = panel.view.picture
    panel.refresh(board(head(gain=0.3)))
    assert panel.readout()[0] < "change +1"
    assert np.array_equal(panel.view.picture.heats, before.heats)


def test_values_beyond_what_is_sent_say_so(panel):
    panel.place.move(ACTIVE)
    panel.refresh(board(head(gain=4.0)))
    assert panel.readout()[0] == "change ≥ +5.00 %"


def test_stale_volumes_are_marked(panel):
    shown = board(head(3, 100.0))
    shown.view.now = 105.9
    panel.refresh(shown)
    assert "stale" not in words(panel)
    shown.view.now = 118.2
    panel.refresh(shown)
    assert "stale, 18 s old" in words(panel)
    assert "▲" in words(panel)
    # in the past, the age is that of the time shown
    shown.held = 101.0
    panel.refresh(shown)
    assert "stale" not in words(panel)


def test_spacing_is_learnt_where_the_tr_is_not_known(panel):
    shown = board(tr_s=None)
    for i in range(3):
        shown.take("s", head(i, 100.0 + 5 * i))
        panel.refresh(shown)
    shown.view.now = 124.0
    panel.refresh(shown)
    assert "stale" not in words(panel)
    shown.view.now = 126.0
    panel.refresh(shown)
    assert "stale, 16 s old" in words(panel)


def test_scrolled_back_shows_the_volume_of_then(panel):
    shown = board(*(head(i, 100.0 + 2 * i, gain=i / 4) for i in range(5)))
    panel.place.move(ACTIVE)
    panel.refresh(shown)
    assert "volume 4" in words(panel)
    shown.hold(103.0)
    panel.refresh(shown)
    assert "volume 1" in words(panel)
    assert re.fullmatch(r"change \+0\.[3-8]\d %", panel.readout()[0])


def test_a_blinded_session_says_so(panel):
    panel.refresh(board(head(maps=()), blinded=True))
    assert "blinded" in words(panel)
    assert not panel.maps.isVisible()
    assert panel.view.picture.heat is None
    assert panel.readout()[0].endswith("mm")
    panel.grab()


def test_a_map_that_is_not_known_yet(panel):
    message = head()
    message.images["change"].steps[:] = -128
    panel.refresh(board(message))
    assert "change: not known yet" in words(panel)
    assert panel.readout()[0] == "change …"


def test_another_session_with_another_grid_and_other_maps(panel):
    panel.place.move((60.0, 40.0, 0.0))
    panel.place.choose("t task")
    panel.refresh(board(head()))
    small = np.diag([5.0, 5.0, 5.0, 1.0])
    small[:3, 3] = (-20, -20, 80)
    panel.refresh(board(head(shape=(9, 8, 7), affine=small, maps=("t left", "t right")), regions=[], regions_mm=[]))
    assert panel.view.picture.grid.shape == (9, 8, 7)
    assert [panel.maps.itemText(i) for i in range(panel.maps.count())] == ["t left", "t right"]
    assert panel.view.picture.grid.voxel(panel.place.mm) is not None
    panel.grab()
    panel.refresh(Board())
    assert panel.view.picture is None


def test_a_useless_affine_is_a_word(panel):
    panel.refresh(board(head(affine=np.zeros((4, 4)))))
    assert "no usable position" in panel.view.word


def test_nothing_is_done_while_nothing_changes(panel):
    shown = board(head())
    panel.refresh(shown)
    first = panel.view.picture
    shown.view.now += 1.0
    panel.refresh(shown)
    assert panel.view.picture is first
    panel.place.move(ACTIVE)
    panel.refresh(shown)
    assert panel.view.picture is not first


@pytest.mark.parametrize("size", [(300, 160), (60, 40), (1400, 300), (500, 900), (3800, 2000)])
def test_every_size_is_painted_to_one_scale(panel, size):
    panel.resize(*size)
    shown = board(head())
    panel.refresh(shown)
    panel.grab()
    view = panel.view
    panes, bar, text = view.layout_of(view.width(), view.height())
    if size == (60, 40):
        return
    grid = view.picture.grid
    scales = [panes[axis].width() / grid.size_mm(1 if axis == 0 else 0) for axis in range(3)]
    scales += [panes[axis].height() / grid.size_mm(1 if axis == 2 else 2) for axis in range(3)]
    assert np.ptp(scales) < 1e-9
    room = view.rect().toRectF()
    everything = [*panes.values(), *(each for each in (bar, text) if each.width() > 0 and each.height() > 0)]
    for i, one in enumerate(everything):
        assert room.adjusted(-1, -1, 1, 1).contains(one)
        assert not any(one.adjusted(1, 1, -1, -1).intersects(other) for other in everything[i + 1 :])


def test_settings_are_kept(panel, qtbot):
    panel.refresh(board(head()))
    panel.place.move(ACTIVE)
    panel.place.rethreshold(2)
    again = PlanesPanel(Place())
    qtbot.addWidget(again)
    again.restore(panel.state())
    assert again.state() == panel.state()
    again.restore({"mm": "here", "scales": 3})
    assert again.state() == panel.state()
