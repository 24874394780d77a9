"""What the window remembers, the bar of time, and how it counts its own frames."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt

from dashboard.board import Board
from dashboard.drawing.theme import choose
from dashboard.layout import Layout, load_layout, save_layout
from dashboard.link.feed import Arrival
from dashboard.meter import FrameMeter
from dashboard.timeline_bar import TimelineBar, clock_text
from streamer.wire import HealthMessage, MarkerMessage, PredictionMessage


def test_a_layout_comes_back_as_it_was_left(tmp_path: Path) -> None:
    path = tmp_path / "new" / "dashboard.json"
    layout = Layout("light", 1.3, "AAECAw==", "BAUG", {"eeg": {"scale": 50.0}})
    assert save_layout(path, layout) == ""
    assert load_layout(path) == (layout, "")
    assert load_layout(tmp_path / "none.json") == (Layout(), "")
    assert [p.name for p in path.parent.iterdir()] == ["dashboard.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 99}', "\ud800"])
def test_a_damaged_layout_gives_the_usual_one_and_says_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "dashboard.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    layout, note = load_layout(path)
    assert layout == Layout()
    assert str(path) in note


@pytest.mark.parametrize(
    "entry", [{"theme": "pink"}, {"scale": 1e9}, {"scale": "big"}, {"docks": 3}, {"docks": "ä"}, {"panels": []}]
)
def test_what_a_layout_cannot_hold_is_left_aside(tmp_path: Path, entry: dict[str, Any]) -> None:
    path = tmp_path / "dashboard.json"
    path.write_text(json.dumps({"version": 1, **entry}), encoding="utf-8")
    assert load_layout(path) == (Layout(), "")


def test_a_layout_that_cannot_be_kept_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert "could not be kept" in save_layout(tmp_path / "file" / "dashboard.json", Layout())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (61.4, "1:01"), (3725, "1:02:05"), (-5, "−0:05"), (math.inf, "…"), (math.nan, "…")],
)
def test_times_are_written_as_people_do(seconds: float, text: str) -> None:
    assert clock_text(seconds) == text


def board_at(now: float) -> Board:
    board = Board("one")
    board.take(
        "one",
        HealthMessage(
            state="RUNNING", at=now, counts={}, losses={}, latency_ms={}, queues={}, flags=[], notes=[]
        ),
    )  # fmt: skip
    return board


def test_a_click_on_the_bar_chooses_a_time(qtbot: Any) -> None:
    choose("dark")
    bar = TimelineBar(recorded=False)
    qtbot.addWidget(bar)
    bar.resize(1000, 40)
    bar.show()
    board = board_at(1000.0)
    board.take("one", MarkerMessage(label="task", at=700.0))
    bar.refresh(board, 400.0, 1000.0, 1000.0, playing=False)
    assert "live" in bar.text()
    middle = QPoint(bar.strip.width() // 2, 10)
    with qtbot.waitSignal(bar.chosen) as chosen:
        qtbot.mouseClick(bar.strip, Qt.MouseButton.LeftButton, pos=middle)
    assert chosen.args == [pytest.approx(700.0, abs=1.5)]
    board.hold(chosen.args[0])
    bar.refresh(board, 400.0, 1000.0, 1000.0, playing=False)
    assert bar.text() == "5:00 ago"
    assert bar.strip.x_of(bar.strip.time_at(321.0)) == pytest.approx(321.0)


def test_before_anything_came_the_bar_says_so(qtbot: Any) -> None:
    bar = TimelineBar(recorded=True)
    qtbot.addWidget(bar)
    bar.refresh(Board(), math.nan, math.nan, math.nan, playing=True)
    assert bar.text() == "no data yet"


def test_the_board_cannot_be_held_beyond_what_it_holds() -> None:
    board = board_at(1000.0)
    board.hold(2000.0)
    assert board.shown == 1000.0
    board.hold(0.0)
    assert board.shown == 400.0
    assert not board.live
    board.release()
    assert board.shown == 1000.0


def test_frames_and_ways_are_counted() -> None:
    meter = FrameMeter()
    assert math.isnan(meter.fps)
    assert math.isnan(meter.frame_ms_p99)
    for i in range(11):
        meter.add(0.1 * i, 0.1 * i + 0.02)
    message = PredictionMessage(
        seq=0, model="m", probabilities={}, uncertainty=0.0, attention={}, about=1.0, ready=2.0, expires=3.0,
        age_eeg_s=None, age_bold_s=None, flags=[],
    )  # fmt: skip
    meter.shown([Arrival("one", message, came=2.01), Arrival("one", message)], 2.05)
    said = meter.summary()
    assert said["frames"] == 11
    assert said["fps"] == pytest.approx(10.0)
    assert said["frame"] == {"p50_ms": 20.0, "p95_ms": 20.0, "p99_ms": 20.0}
    assert said["arrival_to_pixels"]["p95_ms"] == pytest.approx(40.0)
    assert said["ready_to_pixels"]["p95_ms"] == pytest.approx(50.0)
