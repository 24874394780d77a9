from __future__ import annotations

import math

import numpy as np
import pytest

from streamer import wire
from streamer.emit.message_stream import MessageStream
from streamer.emit.mqtt_queue import Outgoing
from streamer.emit.mqtt_settings import MqttSettings
from streamer.messages import (
    BoldFrame,
    CleanEeg,
    Command,
    Feature,
    Health,
    Marker,
    Prediction,
    Score,
    SessionTime,
    State,
    Trigger,
    Veto,
    Window,
)

T = SessionTime(1000.0)
ABOUT = wire.About(
    session="s", eeg_sfreq=100.0, channels=[wire.ChannelEntry("Cz", "eeg")], regions=["a"], classes=["x", "y"],
    model="m", tick_hz=10.0, thresholds={}, versions={},
)  # fmt: skip
PREDICTION = Prediction(0, "m", ("x", "y"), (0.5, 0.5), 1.0, {}, T, 0.0, 0.0, ready=T)
SCORE = Score(0, 0.5, {}, 0.7, False, 0.4, T, T)
TRIGGER = Trigger(0, 0, "reward", 0.5, T, T, T, "r")
FEATURE = Feature("phase.a", 1, T, 0.0, ("rad",), (0.1,), (), valid=True)
HEALTH = Health(State.RUNNING, T, {}, {}, {}, {})
ONE = np.array([0.5], np.float32)
FRAME = BoldFrame(3, "s", ONE, ONE, np.zeros(6), 0.2, 2.0, T, T)


def stream(**settings: object) -> MessageStream:
    blinded = bool(settings.pop("blinded", False))
    made = MessageStream("s", MqttSettings.model_validate(settings), blinded=blinded, volume_label="R128")
    list(made.drain())
    return made


def hop(first: int, n: int = 5) -> CleanEeg:
    return CleanEeg(np.ones((n, 1), np.float32), (first + np.arange(n)) / 100, first, 0)


def names(messages: list[Outgoing]) -> list[str]:
    return [message.name for message in messages]


def test_it_begins_with_a_session_that_starts():
    (first,) = MessageStream("s", MqttSettings()).drain()
    assert first.name == "status"
    assert wire.decode(first.payload) == wire.Status(session="s", online=True, state="STARTING")


def test_what_is_kept_leaves_first_then_triggers_then_the_rest_in_order():
    said = stream()
    for item in (SCORE, PREDICTION, FEATURE, TRIGGER, Veto(0, "r", T), FRAME):
        said.put(item)
    said.publish_about(ABOUT)
    said.publish_status("RUNNING")
    sent = list(said.drain())
    assert names(sent) == ["about", "status", "trigger", "score", "prediction", "feature/phase.a", "veto", "bold"]
    assert [message.qos for message in sent if message.name == "trigger"] == [1]
    assert list(said.drain()) == []


def test_nothing_is_too_old_when_all_is_drained():
    said = stream()
    late = Trigger(0, 0, "reward", 0.5, T, T, SessionTime(-1e12), "r")
    said.put(late)
    assert names(list(said.drain())) == ["trigger"]
    assert said.losses() == {}


def test_what_has_expired_is_not_made_and_counted():
    said = stream()
    assert said.make(TRIGGER, SessionTime(T + 1)) is None
    assert said.losses() == {"trigger_expired": 1}


def test_windows_and_triggers_of_a_phase_are_left_out():
    said = stream()
    said.put(Trigger(0, 0, "reward", 0.5, T, T, T, "r", source="phase"))
    nothing = np.zeros((1, 1), np.float32)
    said.put(Window(0, T, T, nothing, nothing, 0.0, math.inf, True, False))
    assert list(said.drain()) == []


def test_a_blinded_session_does_not_tell_the_true_score():
    said = stream(blinded=True)
    said.publish_about(ABOUT)
    for item in (PREDICTION, FEATURE, FRAME, SCORE, HEALTH):
        said.put(item)
    sent = {message.name: wire.decode(message.payload) for message in said.drain()}
    assert set(sent) == {"about", "bold", "score", "health", "quality"}
    assert isinstance(sent["about"], wire.About)
    assert sent["about"].blinded
    assert isinstance(sent["bold"], wire.BoldMessage)
    assert sent["bold"].regions == [None]


@pytest.mark.parametrize(("preview", "topic"), [("json", "preview/eeg"), ("binary", "preview/eeg.bin")])
def test_hops_are_gathered_and_what_is_left_is_flushed(preview: str, topic: str):
    said = stream(preview=preview, preview_s=0.1)
    for first in (0, 5, 10, 15):
        said.put(hop(first))
    sent = list(said.drain())
    assert names(sent) == [topic]
    said.flush()
    sent += said.drain()
    previews = [wire.decode(message.payload) for message in sent]
    assert [(p.first_sample, len(p.data_uv[0])) for p in previews if isinstance(p, wire.EegPreview)] == [
        (0, 15),
        (15, 5),
    ]


def test_health_brings_quality_with_the_names_of_the_bad_channels():
    said = stream(preview="none")
    said.publish_about(ABOUT)
    said.put(CleanEeg(np.ones((5, 1), np.float32), np.arange(5) / 100, 0, 0, bad=(0,)))
    said.put(HEALTH)
    sent = list(said.drain())
    assert names(sent) == ["about", "health", "quality"]
    quality = wire.decode(sent[-1].payload)
    assert isinstance(quality, wire.QualityMessage)
    assert quality.bad_channels == ["Cz"]


def test_markers_and_notes_are_told_but_no_volume_triggers():
    said = stream()
    said.see(Marker("R128", T, 0.0, None, T))
    said.see(Marker("task", T, 0.0, None, T))
    said.see(Command("annotate", "he coughed", T))
    said.see(Command("stop", "", T))
    sent = [wire.decode(message.payload) for message in said.drain()]
    assert [m.label for m in sent if isinstance(m, wire.MarkerMessage)] == ["task", "he coughed"]
    assert len(sent) == 2


def test_what_is_kept_can_be_said_again():
    said = stream()
    said.publish_about(ABOUT)
    said.publish_status("RUNNING")
    before = {message.name: message.payload for message in said.drain()}
    said.repeat()
    again = {message.name: message.payload for message in said.drain()}
    assert again == before
    assert list(again) == ["status", "about"]


def test_whatever_waits_wakes_the_sender():
    calls: list[int] = []
    said = MessageStream("s", MqttSettings(), wake=lambda: calls.append(1))
    said.put(SCORE)
    said.publish_status("RUNNING")
    assert len(calls) == 3


def test_a_full_queue_drops_and_counts():
    said = MessageStream("s", MqttSettings(), size=1)
    said.put(SCORE)
    said.put(SCORE)
    assert said.losses() == {"score": 1}
