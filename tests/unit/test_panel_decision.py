"""The panels of decisions: what they show of real messages."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PySide6.QtGui import QImage
from pytestqt.qtbot import QtBot

from dashboard.board import Board
from dashboard.drawing.card import Card
from dashboard.drawing.strip import Pace
from dashboard.drawing.theme import choose, look
from dashboard.panels.decision import DecisionPanel
from dashboard.panels.modality import ModalityPanel, modalities
from dashboard.panels.score import ScorePanel
from tests.unit.decision_messages import NAME, board, prediction, score, trigger, veto


@pytest.fixture(autouse=True)
def dark(qapp: object) -> None:
    assert qapp is not None
    choose("dark")


def words(panel: Card) -> str:
    """The legend without its markup."""
    return re.sub(r"<[^>]*>", "", panel.legend_text()).replace("&nbsp;", " ")


def shown(panel: Card, qtbot: QtBot, size: tuple[int, int] = (520, 300)) -> set[str]:
    """Paint the panel; gives the colours in the picture."""
    qtbot.addWidget(panel)
    panel.resize(*size)
    image = panel.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    return {f"#{colour & 0xFFFFFF:06x}" for colour in np.unique(np.frombuffer(image.constBits(), np.uint32)).tolist()}


def near(colour: str, colours: set[str]) -> bool:
    """Whether a soft line of ``colour`` is in a picture."""
    wanted, *found = (np.array([int(each[i : i + 2], 16) for i in (1, 3, 5)]) for each in (colour, *colours))
    return min(int(np.abs(each - wanted).max()) for each in found) < 24


def decided(n: int = 100, **change: object) -> Board:
    made = board()
    for i in range(n):
        made.take(NAME, prediction(i, **change))
    return made


def test_probabilities_are_told_and_drawn(qtbot: QtBot) -> None:
    panel = DecisionPanel()
    panel.refresh(decided(candidates=["task"]))
    assert "rest 0.20" in words(panel)
    assert "task 0.80" in words(panel)
    assert panel.plot.picture.doubt == "uncertainty 0.72 of 1 (entropy) · candidates: task"
    colours = shown(panel, qtbot)
    assert near(look().lines[0], colours)
    assert near(look().lines[1], colours)


def test_triggers_and_vetoes_with_their_reasons(qtbot: QtBot) -> None:
    panel, one = DecisionPanel(), decided()
    one.take(NAME, trigger(0, 103.0))
    one.take(NAME, veto(50, 105.0, "MOTION, gate: expired"))
    panel.refresh(one)
    assert "▼ 1 triggers" in words(panel)
    assert "✕ 1 vetoes: the head moves, gate: expired" in words(panel)
    colours = shown(panel, qtbot)
    assert look().alarm.lower() in colours
    assert panel.plot.events == 2
    x = float(panel.plot.along(np.array(109.9 - 105.0)))
    assert panel.plot.told_at(x) == "−4.9 s  ✕ held back: the head moves, gate: expired"
    assert panel.plot.told_at(x + 60) == ""


def test_abstaining_is_a_stretch_with_a_word() -> None:
    panel, one = DecisionPanel(), decided(50)
    for i in range(50, 80):
        one.take(NAME, prediction(i, flags=["ABSTAINED"], candidates=[]))
    for i in range(80, 100):
        one.take(NAME, prediction(i))
    panel.refresh(one)
    ((begin, end),) = panel.plot.picture.abstained
    assert begin == pytest.approx(4.9)
    assert end == pytest.approx(1.9)
    assert "abstained" not in words(panel)
    one.hold(107.0)
    panel.refresh(one)
    assert "◆ abstained" in words(panel)
    assert panel.plot.picture.doubt.endswith("candidates: none")


def test_scrolled_back_it_shows_the_past_and_counts_what_is_in_view() -> None:
    panel, one = DecisionPanel(), decided(600)
    one.take(NAME, trigger(0, 101.0))
    one.take(NAME, trigger(1, 150.0))
    one.hold(110.0)
    panel.refresh(one)
    assert "1 triggers in 60 s" in words(panel)
    assert not panel.plot.live
    assert panel.plot.picture.ages.max() == pytest.approx(10.0)
    one.release()
    panel.refresh(one)
    assert "2 triggers" in words(panel)
    assert panel.plot.live


def test_an_adaptive_threshold_takes_the_place_of_the_announced_ones() -> None:
    panel, one = DecisionPanel(), decided()
    for i in range(100):
        one.take(NAME, score(i, threshold=0.7))
    panel.refresh(one)
    assert dict(panel.plot.picture.limits) == {"on": 0.7, "off": 0.5}
    one.take(NAME, score(100, threshold=0.62))
    panel.refresh(one)
    assert dict(panel.plot.picture.limits) == {}
    assert panel.plot.picture.moving[1][-1] == 0.62


def test_a_gap_breaks_the_lines() -> None:
    panel, one = DecisionPanel(), decided(20)
    for i in range(60, 80):
        one.take(NAME, prediction(i))
    panel.refresh(one)
    assert np.isnan(panel.plot.picture.probabilities).all(axis=1).sum() == 1


def test_old_decisions_say_how_old_they_are() -> None:
    panel, one = DecisionPanel(), decided(10)
    one.take(NAME, veto(1, 130.0, "STALE"))
    panel.refresh(one)
    assert "29 s old" in words(panel)


def test_blinded_and_empty_sessions_say_so(qtbot: QtBot) -> None:
    for change, word in (({"blinded": True}, "blinded: probabilities are not sent"), ({}, "no decisions yet")):
        panel, one = DecisionPanel(), board(**change)
        panel.refresh(one)
        assert word in words(panel)
        assert panel.plot.picture.empty == word
        # marks come all the same
        one.take(NAME, veto(1, 100.0, "MOTION"))
        panel.refresh(one)
        assert panel.plot.picture.empty == word
        assert "1 vetoes" in words(panel)
        shown(panel, qtbot, (300, 130))


def test_nothing_is_done_while_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    panel, one = DecisionPanel(), decided()
    calls: list[object] = []
    monkeypatch.setattr(panel, "_picture", lambda _board: calls.append(1) or panel.plot.picture)
    for _ in range(3):
        panel.refresh(one)
    assert len(calls) == 1
    one.take(NAME, prediction(100))
    panel.refresh(one)
    assert len(calls) == 2


def test_it_is_drawn_no_more_often_than_its_pixels_can_show(monkeypatch: pytest.MonkeyPatch) -> None:
    panel, one = DecisionPanel(), decided()
    calls: list[object] = []
    monkeypatch.setattr(panel, "_picture", lambda _board: calls.append(1) or panel.plot.picture)
    for frame in range(60):
        one.at = frame / 30
        one.take(NAME, prediction(100 + frame))
        panel.refresh(one)
    assert 15 <= len(calls) <= 22
    calls.clear()
    # what the operator does is seen at once
    one.hold(103.0)
    panel.refresh(one)
    panel.span.step(+1)
    panel.refresh(one)
    assert len(calls) == 2


def test_plots_take_turns() -> None:
    first, second = Pace(), Pace()
    frames = [k / 30 for k in range(1, 40)]
    drawn = [[pace.due(at, 60.0, "same", at) for pace in (first, second)] for at in frames]
    # settings that are new are drawn at once
    assert drawn[0] == [True, True]
    assert not any(all(both) for both in drawn[1:])
    assert [12 <= sum(column) <= 14 for column in zip(*drawn, strict=True)] == [True, True]


def test_the_span_is_chosen_by_keys_and_remembered() -> None:
    panel, one = DecisionPanel(), decided(3000)
    more, less = panel.commands()
    assert (more.keys, less.keys) == ("Alt+Left", "Alt+Right")
    for _ in range(5):
        more.do()
    panel.refresh(one)
    assert panel.plot.picture.ages.max() == pytest.approx(299.9)
    assert panel.state() == {"seconds": 300.0}
    for _ in range(5):
        less.do()
    panel.refresh(one)
    assert panel.plot.picture.ages.max() == pytest.approx(29.9)
    panel.restore({"seconds": 120})
    assert panel.state() == {"seconds": 120.0}
    for strange in (
        {},
        {"seconds": 7},
        {"seconds": "60"},
        {"seconds": None},
        {"seconds": [1]},
        {"seconds": float("nan")},
    ):
        panel.restore(strange)
        assert panel.state() == {"seconds": 120.0}
    panel.span.click()
    assert panel.state() == {"seconds": 300.0}


@pytest.mark.parametrize("size", [(300, 160), (120, 70), (1900, 1400)])
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_all_are_painted_at_any_size(qtbot: QtBot, size: tuple[int, int], theme: str) -> None:
    choose("light" if theme == "light" else "dark")
    one = decided(flags=["ABSTAINED"])
    for i in range(100):
        one.take(NAME, score(i, neutral=i > 50))
    one.take(NAME, veto(1, 103.0, "MOTION"))
    for panel in (DecisionPanel(), ScorePanel(), ModalityPanel()):
        panel.refresh(one)
        assert len(shown(panel, qtbot, size)) > 1


def test_the_score_is_shown_with_its_threshold_and_axes(qtbot: QtBot) -> None:
    panel, one = ScorePanel(), board()
    for i in range(50):
        one.take(NAME, score(i, 0.75, axes={"eeg": 0.9, "bold": 0.3}))
    panel.refresh(one)
    assert "level 0.75" in words(panel)
    assert "threshold 0.70 reached" in words(panel)
    assert "eeg 0.90" in words(panel)
    assert "bold 0.30" in words(panel)
    assert "sham" not in words(panel)
    assert near(look().lines[0], shown(panel, qtbot))


def test_neutral_stretches_and_an_expired_level_show_no_level() -> None:
    panel, one = ScorePanel(), board()
    for i in range(50):
        one.take(NAME, score(i, neutral=20 <= i < 30))
    panel.refresh(one)
    ((begin, end),) = panel.plot.picture.neutral
    assert (begin, end) == (pytest.approx(2.9), pytest.approx(1.9))
    assert panel.plot.picture.word == ""
    one.take(NAME, score(50, neutral=True))
    panel.refresh(one)
    assert panel.plot.picture.word == "neutral"
    assert "reached" not in words(panel)
    one.take(NAME, score(51))
    one.take(NAME, veto(1, 110.0, "STALE"))
    panel.refresh(one)
    assert panel.plot.picture.word == "expired"


def test_in_a_blinded_session_the_score_is_as_shown() -> None:
    panel, one = ScorePanel(), board(blinded=True)
    one.take(NAME, score(0))
    panel.refresh(one)
    assert "as shown (may be sham)" in words(panel)


def test_without_a_score_it_says_so() -> None:
    panel, one = ScorePanel(), board()
    panel.refresh(one)
    assert "no score yet" in words(panel)
    one.take(NAME, score(100))
    one.take(NAME, prediction(100))
    one.hold(105.0)
    panel.refresh(one)
    assert "no score at this time" in words(panel)


def test_modalities_with_attention_and_ages() -> None:
    panel, one = ModalityPanel(), decided(1, disagreement=0.0312)
    panel.refresh(one)
    assert [(row.name, row.attention, row.told) for row in panel.bars.rows] == [
        ("eeg", 0.6, "20 ms old"),
        ("bold", 0.4, "2.5 s old"),
    ]
    assert "members disagree by 0.031 nats" in words(panel)


def test_what_does_not_count_says_why() -> None:
    stale, never = (
        modalities(prediction(0, flags=["NO_BOLD", *flags], age_bold_s=age))[1]
        for flags, age in ((["STALE"], 7.25), ([], None))
    )
    assert stale.told == "■ stale, 7.2 s old: does not count"
    assert never.told == "■ masked, no data: does not count"


def test_a_third_modality_has_a_row_of_its_own(qtbot: QtBot) -> None:
    panel, one = ModalityPanel(), decided(1, attention={"eeg": 0.5, "bold": 0.3, "estimate": 0.2})
    panel.refresh(one)
    assert [row.name for row in panel.bars.rows] == ["eeg", "bold", "estimate"]
    colours = shown(panel, qtbot)
    assert look().eeg.lower() in colours
    assert look().bold.lower() in colours


def test_modalities_of_a_decision_that_is_old_or_absent() -> None:
    panel, one = ModalityPanel(), board(blinded=True)
    panel.refresh(one)
    assert "blinded" in words(panel)
    panel, one = ModalityPanel(), decided(1, flags=["ABSTAINED"])
    one.take(NAME, score(200))
    panel.refresh(one)
    assert "decision 20 s old" in words(panel)
    assert "abstains" in words(panel)
