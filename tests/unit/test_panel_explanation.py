"""The panel of what decisions depend on: the map, whom it speaks of, and whether to believe it."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PySide6.QtGui import QImage
from pytestqt.qtbot import QtBot

from dashboard.board import Board
from dashboard.drawing.colour_maps import diverging
from dashboard.drawing.theme import choose
from dashboard.panels.explanation import CAVEAT, SCALES, ExplanationPanel
from streamer.wire import CardMessage, ConfigMessage
from tests.unit.decision_messages import NAME, board, health, prediction, relevance

LABELS = ["target_index", "eeg", "bold", "eeg.frontal.alpha", "eeg.frontal.beta", "bold.motor", "bold.insula"]
VALUES = [1.0, 0.8, 0.3, 2.5, -0.25, None, 0.125]


@pytest.fixture(autouse=True)
def dark(qapp: object) -> None:
    assert qapp is not None
    choose("dark")


def words(panel: ExplanationPanel) -> str:
    return re.sub(r"<[^>]*>", "", panel.legend_text())


def colours(panel: ExplanationPanel, qtbot: QtBot, size: tuple[int, int] = (520, 220)) -> set[str]:
    qtbot.addWidget(panel)
    panel.resize(*size)
    image = panel.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    return {f"#{colour & 0xFFFFFF:06x}" for colour in np.unique(np.frombuffer(image.constBits(), np.uint32)).tolist()}


def explained() -> Board:
    one = board()
    one.take(NAME, prediction(0))
    one.take(NAME, relevance(100.0, LABELS, VALUES))
    return one


def card(name: str = "fusion") -> CardMessage:
    return CardMessage(
        session=NAME, name=name, sha256="", model_kind="network", description="", licence="MIT",
        classes=["rest", "task"], channels=[], regions=[], verdict="better than its rivals", scores={},
    )  # fmt: skip


def test_it_says_of_which_class_and_how_old() -> None:
    panel, one = ExplanationPanel(), explained()
    panel.refresh(one)
    assert "task · 0 s old" in words(panel)
    one.take(NAME, health(104.0))
    panel.refresh(one)
    assert "task · 4 s old" in words(panel)
    one.take(NAME, health(130.0))
    panel.refresh(one)
    assert "▲ 30 s old" in words(panel)


def test_a_target_that_is_no_class_is_not_guessed() -> None:
    panel, one = ExplanationPanel(), board()
    one.take(NAME, relevance(100.0, LABELS, [7.0, *VALUES[1:]]))
    panel.refresh(one)
    assert "the likeliest class" in words(panel)


def test_without_a_check_it_is_not_validated() -> None:
    panel, one = ExplanationPanel(), explained()
    panel.refresh(one)
    assert "▲ NOT VALIDATED" in words(panel)
    assert CAVEAT in panel.toolTip()
    one.take(NAME, card())
    panel.refresh(one)
    assert "▲ NOT VALIDATED" in words(panel)
    assert "fusion (network)" in panel.toolTip()
    assert "better than its rivals" in panel.toolTip()


def test_cells_have_the_colours_of_a_fixed_symmetric_scale(qtbot: QtBot) -> None:
    panel, one = ExplanationPanel(), explained()
    panel.refresh(one)
    table = diverging("dark")
    seen = colours(panel, qtbot)
    quarter = round((-0.25 + 1) / 2 * (len(table) - 1))
    for place in (quarter, len(table) - 1):
        assert "#{:02x}{:02x}{:02x}".format(*table[place]) in seen
    assert panel.map.hidden == 0


def test_the_scale_is_chosen_and_remembered() -> None:
    panel = ExplanationPanel()
    assert panel.state() == {"scale": 1.0}
    panel.commands()[0].do()
    assert panel.state() == {"scale": 2.0}
    panel.rescale(len(SCALES))
    assert panel.state() == {"scale": 2.0}
    panel.restore({"scale": 0.25})
    for strange in (0.3, "1", None, [], float("nan")):
        panel.restore({"scale": strange})
    assert panel.state() == {"scale": 0.25}


def test_switched_off_it_says_how_to_switch_it_on() -> None:
    panel, one = ExplanationPanel(), board()
    panel.refresh(one)
    assert "[model.relevance] enabled = true" in panel.map.word
    one.take(NAME, ConfigMessage(session=NAME, sha256="", settings={"model": {"relevance": {"enabled": False}}}))
    panel.refresh(one)
    assert panel.map.word.startswith("Not computed.")
    one.take(NAME, ConfigMessage(session=NAME, sha256="", settings={"model": {"relevance": {"enabled": True}}}))
    panel.refresh(one)
    assert panel.map.word == "waiting for the first round"
    one.take(NAME, ConfigMessage(session=NAME, sha256="", settings={"model": "(not sent)"}))
    panel.refresh(one)
    assert "enabled = true" in panel.map.word


def test_a_blinded_session_says_so() -> None:
    panel, one = ExplanationPanel(), board(blinded=True)
    panel.refresh(one)
    assert panel.map.word == "blinded: not sent"


def test_scrolled_back_it_shows_the_map_of_then() -> None:
    panel, one = ExplanationPanel(), explained()
    one.take(NAME, relevance(110.0, LABELS, [0.0, *VALUES[1:]]))
    panel.refresh(one)
    assert "· rest · 0 s old" in words(panel)
    one.hold(105.0)
    panel.refresh(one)
    assert "· task · 5 s old" in words(panel)
    one.hold(99.0)
    panel.refresh(one)
    assert panel.map.found is None


def test_what_settles_is_marked() -> None:
    panel, one = ExplanationPanel(), board()
    one.take(NAME, relevance(100.0, LABELS, VALUES, valid=False))
    panel.refresh(one)
    assert "▲ not valid" in words(panel)


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", [(300, 130), (520, 150), (1600, 1200)])
def test_many_groups_and_regions_are_painted_or_counted(qtbot: QtBot, size: tuple[int, int], theme: str) -> None:
    choose("light" if theme == "light" else "dark")
    labels = ["target_index", *(f"eeg.E{i}.{band}" for i in range(30) for band in ("a", "b"))]
    labels += [f"bold.region {i}" for i in range(100)]
    panel, one = ExplanationPanel(), board()
    one.take(NAME, relevance(100.0, labels, [0.0, *np.linspace(-2, 2, len(labels) - 1).tolist()]))
    panel.refresh(one)
    assert len(colours(panel, qtbot, size)) > 5
    assert (panel.map.hidden == 0) == (size[0] == 1600)


@pytest.mark.parametrize("labels", [["bold.motor"], ["eeg.a.b"], ["target_index"], [], ["?"]])
def test_maps_of_one_modality_or_none_are_painted(qtbot: QtBot, labels: list[str]) -> None:
    panel, one = ExplanationPanel(), board()
    one.take(NAME, relevance(100.0, labels, [0.5] * len(labels)))
    panel.refresh(one)
    assert colours(panel, qtbot)
