"""The panel of health: latency against budgets, losses, queues, the EEG's quality, and the window itself."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from pytestqt.qtbot import QtBot

from dashboard.drawing.table import Row, Section, Weight, fitted, placed
from dashboard.drawing.theme import choose
from dashboard.panels.health import HealthPanel, milliseconds, number
from streamer.wire import BoldMessage, ConfigMessage
from tests.unit.decision_messages import NAME, board, health


@pytest.fixture(autouse=True)
def dark(qapp: object) -> None:
    assert qapp is not None
    choose("dark")


@dataclass
class Figures:
    received: int = 1234
    malformed: int = 0
    dropped: int = 0


@dataclass
class Meter:
    fps: float = 30.0
    frame_ms_p99: float = 12.5


def make(figures: Figures | None = None, meter: Meter | None = None) -> HealthPanel:
    return HealthPanel(figures or Figures(), meter or Meter())


def words(panel: HealthPanel) -> str:
    return re.sub(r"<[^>]*>", "", panel.legend_text()).replace("&nbsp;", " ")


def rows(panel: HealthPanel) -> dict[str, Row]:
    return {row.name: row for section in panel.sheet.sections for row in section.rows}


def test_latency_stands_beside_its_budget() -> None:
    panel, one = make(), board(eeg_delay_s=0.0145)
    latency = {"sample_to_decision": [17.0, 83.0], "model": [0.4, 2.0], "align": [0.16, 0.5]}
    one.take(NAME, health(100.0, latency_ms=latency))
    panel.refresh(one)
    found = rows(panel)
    assert found["EEG to decision"].values == ("17.0", "83.0", "26.5")
    assert found["EEG to decision"].weight is Weight.ALARM
    assert found["model"].values == ("0.40", "2.00", "3.00")
    assert found["model"].weight is Weight.PLAIN
    assert found["model"].bar == (pytest.approx(0.4 / 3), pytest.approx(2 / 3))
    assert found["time alignment"].values == ("0.16", "0.50", "–")
    assert found["time alignment"].bar is None
    assert "1 over budget" in words(panel)


def test_volumes_are_judged_by_the_time_between_them() -> None:
    panel, one = make(), board()
    for i in range(4):
        message = BoldMessage(
            index=i, acquired=100.0 + 2 * i, received=101.0 + 2 * i, regions=[0.0, 0.0], motion_mm=[0.0] * 3,
            motion_rad=[0.0] * 3, fd_mm=0.0, flags=[],
        )  # fmt: skip
        one.take(NAME, message)
    one.take(NAME, health(110.0, latency_ms={"volume_to_frame": [800.0, 1900.0]}))
    panel.refresh(one)
    assert rows(panel)["volume to BOLD"].values == ("800", "1900", "2000")
    assert rows(panel)["volume to BOLD"].weight is Weight.PLAIN


def test_losses_are_faint_until_there_are_some() -> None:
    panel, one = make(), board()
    one.take(NAME, health(100.0, losses={"samples": 0, "recording_eeg": 3}))
    panel.refresh(one)
    assert rows(panel)["samples"].weight is Weight.FAINT
    assert rows(panel)["recording eeg"].weight is Weight.ALARM
    assert "3 lost" in words(panel)


def test_queues_stand_against_their_size() -> None:
    panel, one = make(), board()
    one.take(NAME, ConfigMessage(session=NAME, sha256="", settings={"mqtt": {"queue_size": 1000}}))
    one.take(NAME, health(100.0, queues={"events": 3, "mqtt": 612}))
    panel.refresh(one)
    assert rows(panel)["mqtt"].values == ("612 of 1\u2009000",)
    assert rows(panel)["mqtt"].weight is Weight.ALARM
    assert rows(panel)["events"].values == ("3",)


def test_figures_of_the_eeg_have_plain_names_units_and_limits() -> None:
    panel, one = make(), board(pulse="best")
    eeg = {"r_confidence": 0.31, "pulse_residual_db": 1.5, "slice_residual_db": -0.31, "line_60_db": None, "new": 2.0}
    one.take(NAME, health(100.0, eeg=eeg))
    panel.refresh(one)
    found = rows(panel)
    assert found["R-peak confidence"] == Row("R-peak confidence", ("0.31 (< 0.5)",), Weight.ALARM)
    assert found["pulse artefact left"].values == ("1.5 dB (> 1)",)
    assert found["gradient left"] == Row("gradient left", ("−0.3 dB",))
    assert found["60 Hz over its neighbours"].values == ("…",)
    assert found["new"].values == ("2.00",)


def test_flags_are_said_in_words_with_the_notes() -> None:
    panel, one = make(), board()
    one.take(NAME, health(100.0, flags=["MOTION", "TOMORROWS_FLAG"], notes=["a note"]))
    panel.refresh(one)
    found = rows(panel)
    assert found["the head moves"].weight is Weight.ALARM
    assert found["tomorrows flag"].weight is Weight.ALARM
    assert found["a note"].weight is Weight.PLAIN
    assert panel.sheet.toolTip() == "a note"
    one.take(NAME, health(101.0))
    panel.refresh(one)
    assert rows(panel)["no flags"].weight is Weight.FAINT


def test_the_window_has_its_own_health() -> None:
    figures, meter = Figures(dropped=2, malformed=1), Meter(fps=12.0, frame_ms_p99=80.0)
    panel, one = make(figures, meter), board()
    one.rejected = 4
    panel.refresh(one)
    found = rows(panel)
    assert found["frames per second"] == Row("frames per second", ("12",), Weight.ALARM)
    assert found["a frame takes (p99)"] == Row("a frame takes (p99)", ("80.0 ms",), Weight.ALARM)
    assert found["unreadable"].values == ("5",)
    assert found["dropped"].weight is Weight.ALARM
    assert "no telemetry yet" in words(panel)


def test_a_window_that_has_not_drawn_yet_is_not_in_alarm() -> None:
    panel = make(meter=Meter(float("nan"), float("nan")))
    panel.refresh(board())
    assert rows(panel)["frames per second"] == Row("frames per second", ("…",))
    assert rows(panel)["a frame takes (p99)"] == Row("a frame takes (p99)", ("… ms",))


def test_scrolled_back_it_shows_the_health_of_then() -> None:
    panel, one = make(), board()
    one.take(NAME, health(100.0, losses={"samples": 1}))
    one.take(NAME, health(160.0, losses={"samples": 2}))
    one.hold(130.0)
    panel.refresh(one)
    assert rows(panel)["samples"].values == ("1",)
    assert "30 s ago" in words(panel)
    one.hold(20.0)
    panel.refresh(one)
    assert "no telemetry at this time" in words(panel)


@pytest.mark.parametrize("size", [(300, 160), (100, 40), (2400, 1600)])
def test_it_is_painted_at_any_size(qtbot: QtBot, size: tuple[int, int]) -> None:
    panel, one = make(), board()
    many = {f"queue {i}": i for i in range(40)}
    one.take(NAME, health(100.0, queues=many, losses={"samples": 1}, latency_ms={"model": [9.0, 9.0]}))
    panel.refresh(one)
    qtbot.addWidget(panel)
    panel.resize(*size)
    assert not panel.grab().isNull()
    assert (panel.sheet.left_out == 0) == (size[0] == 2400)


def sections(*weights: str) -> list[Section]:
    kinds = {"f": Weight.FAINT, "p": Weight.PLAIN, "a": Weight.ALARM}
    return [Section(text, (), [Row(f"{text}{i}", (), kinds[w]) for i, w in enumerate(text)]) for text in weights]


def names(kept: list[Section]) -> list[str]:
    return [row.name for section in kept for row in section.rows]


def test_what_fits_stays_and_has_lines_between() -> None:
    kept, gap, left_out = fitted(sections("pp", "ff"), 1, 7)
    assert (names(kept), gap, left_out) == (["pp0", "pp1", "ff0", "ff1"], 1, 0)


def test_the_lines_between_go_first_then_the_faint_then_the_plain_never_an_alarm() -> None:
    assert fitted(sections("pp", "ff"), 1, 6)[1:] == (0, 0)
    kept, _, left_out = fitted(sections("pap", "fa"), 1, 6)
    assert (names(kept), left_out) == (["pap0", "pap1", "fa1"], 2)
    kept, _, left_out = fitted(sections("pap", "fa"), 1, 5)
    assert (names(kept), left_out) == (["pap1", "fa1"], 3)


def test_nothing_at_all_fits_anywhere() -> None:
    assert fitted([], 1, 3) == ([], 1, 0)
    assert fitted(sections("aaaa"), 1, 3)[2] == 3


def test_a_heading_never_stands_last_in_a_column() -> None:
    where = [(column, line) for column, line, _ in placed(sections("pp", "p"), 4, 0)]
    assert where == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]


def test_numbers_stay_short() -> None:
    assert [number(n) for n in (0, 12345, 1_234_567)] == ["0", "12\u2009345", "1.23 M"]
    assert [milliseconds(v) for v in (0.123, 12.34, 123.4, float("nan"))] == ["0.12", "12.3", "123", "…"]
