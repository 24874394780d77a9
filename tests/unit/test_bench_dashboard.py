"""The arithmetic of the window's figures, on answers that are known, and the traffic that its memory is watched in."""

from __future__ import annotations

import asyncio
import math
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from dashboard.board import Board
from dashboard.meter import FrameMeter
from streamer import wire
from streamer.bench.dashboard import Beside, Decisions, Span, bench_dashboard, loop_rows, window_rows
from streamer.bench.dashboard_soak import quarters, soak_rows
from streamer.bench.dashboard_traffic import SessionTraffic, session_about
from streamer.bench.dashboard_window import HOME, on_a_screen
from streamer.bench.figures import Figure
from streamer.bench.loop import Chunks
from streamer.clock import ReplayClock
from streamer.emit.message_stream import MessageStream
from streamer.emit.mqtt import MqttSettings
from streamer.errors import UsageError

SAID = {
    "frames": 900, "fps": 29.5, "frame": {"p50_ms": 8.0, "p95_ms": 12.0, "p99_ms": 40.0},
    "arrival_to_pixels": {"p50_ms": 20.0, "p95_ms": 45.0, "p99_ms": 60.0}, "ready_to_pixels": None,
    "messages": 1000, "dropped": 0, "malformed": 0, "rejected": 2,
}  # fmt: skip


def decision(ready: float) -> wire.PredictionMessage:
    return wire.PredictionMessage(
        seq=0, model="m", probabilities={}, uncertainty=0.0, attention={}, about=ready - 0.1, ready=ready,
        expires=ready + 1.0, age_eeg_s=None, age_bold_s=None, flags=[],
    )  # fmt: skip


def test_a_decision_is_followed_back_to_the_sample_that_completed_its_window():
    # three chunks, handed over at 1, 2 and 3 s, taken 5 ms later
    stamps = np.array([1.0, 2.0, 3.0])
    chunks = Chunks(np.array([0.0, 100.0, 200.0]), stamps, stamps + 0.005, 100.0)
    heard = [(1.012, decision(1.010)), (2.019, decision(2.010)), (3.030, decision(3.010))]
    took = Decisions.of(chunks, heard)
    assert took.ms == pytest.approx([12.0, 19.0, 30.0])
    assert took.within(Span(0.0, 1.5), Span(2.5, 4.0)) == pytest.approx([12.0, 30.0])
    assert len(took.within(Span(5.0, 6.0))) == 0


def test_what_a_window_costs_the_loop_is_told_against_the_loop_alone():
    took = Decisions(np.array([1.0, 2.0, 11.0, 12.0, 21.0]), np.array([4.0, 4.0, 9.0, 9.0, 6.5]))
    rows = named(loop_rows(took, [Span(0.0, 10.0)], [beside("a", Span(10.0, 20.0), Span(20.0, 30.0))]))
    assert rows["loop alone: sample to decision in hand, p99"].value == pytest.approx(4.0)
    assert rows["loop beside a: sample to decision in hand, p99"].value == pytest.approx(6.5)
    moved = rows["loop beside a: p99 moved by"]
    assert moved.value == pytest.approx(2.5)
    assert moved.met is False
    assert rows["loop while a window opens: sample to decision in hand, p99"].value == pytest.approx(9.0)


def test_what_a_window_says_of_itself_is_held_against_its_bars():
    rows = named(window_rows(beside("usual", Span(0.0, 1.0), Span(1.0, 2.0)), "on no screen"))
    missed = {name for name, row in rows.items() if row.met is False}
    assert missed == {"usual: frames per second", "usual: frame, p99", "usual: messages rejected"}
    assert rows["usual: message to pixels, p95"].met is True
    assert "on no screen" in rows["usual: frames per second"].note
    assert math.isnan(rows["usual: decision known to pixels, p95"].value)
    assert rows["usual: decision known to pixels, p95"].plain()["value"] is None
    assert rows["usual: of a core"].value == 42.0


def test_growth_is_that_of_the_last_quarter_against_the_second():
    seconds = 7200.0
    at = np.arange(15.0, seconds + 1.0, 15.0)
    # it fills for 15 minutes, then leaks 10 MB an hour
    memory = 200.0 + 100.0 * np.clip(at / 900.0, 0.0, 1.0) + 10.0 * at / 3600.0
    samples = list(zip(at.tolist(), memory.tolist(), strict=True))
    second, last = quarters(samples, seconds)
    assert (second, last) == pytest.approx((307.5, 317.5), abs=0.1)
    rows = named(soak_rows(samples, seconds, 360.0, 50.0, SAID, 0))
    grown = rows["2 hours: memory grown from the second quarter to the last"]
    assert grown.value == pytest.approx(100.0 * (317.5 / 307.5 - 1.0), abs=0.05)
    assert grown.met is True
    assert rows["2 hours: sent at"].value == pytest.approx(20.0)
    assert rows["2 hours: messages rejected"].met is False
    assert rows["2 hours: message to pixels, p95"].met is True


def test_a_window_that_falls_behind_is_told_from_one_that_grows():
    behind = {**SAID, "arrival_to_pixels": {"p50_ms": 9e3, "p95_ms": 4e4, "p99_ms": 5e4}}
    row = named(soak_rows([], 7200.0, 300.0, 50.0, behind, 0))["2 hours: message to pixels, p95"]
    assert row.met is False
    assert "--speed" in row.note


def test_no_bar_is_set_while_memory_still_fills():
    grown = named(soak_rows([(100.0, 200.0), (350.0, 300.0)], 360.0, 18.0, 50.0, SAID, 0))[
        "0.1 hours: memory grown from the second quarter to the last"
    ]
    assert grown.value == pytest.approx(50.0)
    assert grown.bar is None
    assert "fills" in grown.note
    assert all(map(math.isnan, quarters([], 360.0)))


class Sink(MessageStream):
    """A sink whose messages are taken at once, as a broker's client would have them."""

    depth = 0


def test_the_traffic_is_what_a_board_takes_from_a_session():
    clock = ReplayClock()
    sink = Sink("s", MqttSettings())
    sink.publish_about(session_about("s"))
    sink.publish_status("RUNNING")
    overs: list[float] = []
    asyncio.run(SessionTraffic(sink, clock).run(22.0, overs.append))
    sink.flush()
    board = Board("s")
    messages = [wire.decode(outgoing.payload) for outgoing in sink.drain()]
    for message in messages:
        board.take("s", message)
    view = board.view
    counts = Counter(type(message).__name__ for message in messages)
    assert sink.losses() == {"preview_volume": 10}, "only the newest volume waits, and nobody took the others"
    assert board.rejected == 0
    assert overs[-1] == pytest.approx(22.0)
    assert clock.now() == pytest.approx(1022.0)
    assert view.now == pytest.approx(1022.0, abs=0.02)
    assert view.eeg is not None
    assert view.raw is not None
    assert view.eeg.rows.width == view.raw.rows.width == 64
    assert view.eeg.rows.end == view.raw.rows.end == 22 * 250
    assert view.volumes is not None
    assert view.volumes.count == 11
    assert view.images.count == 1
    assert counts["PredictionMessage"] == counts["ScoreMessage"] == 220
    assert counts["HealthMessage"] == counts["QualityMessage"] == 22
    assert (counts["TriggerMessage"], counts["VetoMessage"], counts["MarkerMessage"]) == (3, 2, 1)
    assert set(view.features) == {"phase.occipital", "relevance", "connectivity"}


def test_without_a_screen_the_window_is_painted_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM", HOME):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("shutil.which", lambda _: None)
    with on_a_screen(tmp_path) as note:
        assert os.environ["QT_QPA_PLATFORM"] == "offscreen"
        assert os.environ[HOME] == str(tmp_path)
        assert "not on a screen" in note
    assert "QT_QPA_PLATFORM" not in os.environ
    assert HOME not in os.environ
    monkeypatch.setenv("DISPLAY", ":7")
    with on_a_screen(tmp_path) as note:
        assert "of this machine" in note
        assert os.environ["DISPLAY"] == ":7"


def test_a_run_that_is_too_short_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="2 or more"):
        bench_dashboard(tmp_path / "b", 1.0, 0.1, 20.0, lambda _: None)
    assert not (tmp_path / "b").exists()


def test_the_summary_of_a_window_leaves_out_its_opening():
    meter = FrameMeter()
    for i in range(50):
        meter.add(0.1 * i, 0.1 * i + 0.09)
    for i in range(600):
        meter.add(5.0 + i / 30.0, 5.0 + i / 30.0 + 0.01)
    said = meter.summary()
    assert said["frames"] == 650
    assert said["fps"] == pytest.approx(30.0)
    assert said["frame"] == {"p50_ms": 10.0, "p95_ms": 10.0, "p99_ms": 10.0}
    assert meter.fps == pytest.approx(30.0)


def beside(layout: str, opening: Span, seen: Span) -> Beside:
    return Beside(layout, opening, seen, cpu_share=42.0, memory_mb=300.0, said=SAID)


def named(figures: list[Figure]) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures}
