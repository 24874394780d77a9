"""Scores and triggers as foreign LSL clients see them, and the example that acts on them."""

from __future__ import annotations

import asyncio
import math
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from uuid import uuid4

import numpy as np
import pylsl
import pytest

from streamer.clock import LiveClock
from streamer.contracts import Sink
from streamer.emit.gate import Gate, GateSettings
from streamer.emit.lsl_outlet import NOTHING, SCORES, SHOWN, SILENT, TRIGGERS, ScoreOutlet, TriggerOutlet
from streamer.emit.osc import OscSettings, OscSink
from streamer.emit.ttl import TRY_OUT, TtlSettings, TtlSink
from streamer.emit.watchdog import Watchdog
from streamer.examples.psychopy_feedback import Feedback, Frame
from streamer.messages import Score, SessionTime, Trigger, Veto

pytestmark = [pytest.mark.system, pytest.mark.beside]

CLOCK = LiveClock()
NEUTRAL = 0.5
LABELS = ["level", "threshold", "eeg", "bold", "neutral", "valid_s"]


def wait_until(holds: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def score(level: float, about: float | None = None, lasts: float = 5.0, **axes: float) -> Score:
    at = CLOCK.now() - 0.1 if about is None else about
    return Score(1, level, axes, 0.625, False, 0.125, SessionTime(at), SessionTime(at + lasts))


def trigger(seq: int, ahead: float = 0.0, lasts: float = 5.0) -> Trigger:
    at = CLOCK.now() + ahead
    return Trigger(seq, 1, "reward", 0.75, SessionTime(at - 0.1), SessionTime(at), SessionTime(at + lasts), "p > 0.7")


class Room:
    """A session's outlets."""

    def __init__(self) -> None:
        self.session = uuid4().hex
        self.gate = Gate(GateSettings())
        self.gate.arm()
        self.beat()
        self.scores = ScoreOutlet(self.session, ("eeg", "bold"), NEUTRAL, self.gate, CLOCK)
        self.triggers = TriggerOutlet(self.session)

    def beat(self) -> None:
        self.gate.beat(CLOCK.now())

    def show(self, item: Score) -> None:
        self.beat()
        self.scores.put(item)


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    made = Room()
    yield made
    await made.scores.close()
    await made.scores.close()
    await made.triggers.close()


@pytest.fixture
def inlet(room: Room) -> Iterator[pylsl.StreamInlet]:
    (info,) = pylsl.resolve_byprop("source_id", f"{room.session}-score", timeout=10)
    found = pylsl.StreamInlet(info)
    found.open_stream(timeout=10)
    yield found
    found.close_stream()


@pytest.fixture
def feedback(room: Room) -> Iterator[Feedback]:
    found = Feedback(room.session)
    yield found
    found.close()


async def test_scores_arrive_with_their_names_values_and_the_session_s_own_time(
    room: Room, inlet: pylsl.StreamInlet
) -> None:
    assert isinstance(room.scores, Sink)
    info = inlet.info()
    assert (info.name(), info.type(), info.nominal_srate()) == (SCORES, "Score", 0.0)
    assert info.get_channel_labels() == LABELS
    assert info.desc().child_value("neutral_level") == "0.5"
    sent = [score(0.25, CLOCK.now() - 0.3, eeg=0.75, bold=0.5), score(0.875, CLOCK.now() - 0.2, eeg=1.0)]
    room.scores.put(Veto(1, "motion", CLOCK.now()))
    for item in sent:
        room.show(item)
    for item, axes in zip(sent, ([0.75, 0.5], [1.0, math.nan]), strict=True):
        sample, stamp = inlet.pull_sample(timeout=10)
        assert stamp == item.about
        np.testing.assert_array_equal(sample, [item.level, 0.625, *axes, SHOWN, 5.0])
    assert inlet.pull_sample(timeout=0.0) == (None, None)


@pytest.mark.parametrize(
    ("case", "state"), [("neutral", NOTHING), ("expired", NOTHING), ("stopped", SILENT), ("no heartbeat", SILENT)]
)
async def test_what_must_not_be_shown_is_marked_and_has_the_neutral_level(
    room: Room, inlet: pylsl.StreamInlet, case: str, state: float
) -> None:
    item = score(0.875, eeg=0.75, bold=0.25)
    room.beat()
    match case:
        case "neutral":
            item = replace(item, neutral=True, axes={})
        case "expired":
            item = score(0.875, CLOCK.now() - 6.0)
        case "stopped":
            room.gate.disarm("stopped by the operator")
        case _:
            room.gate.beat(SessionTime(CLOCK.now() - 1.5))
    room.scores.put(item)
    sample, stamp = inlet.pull_sample(timeout=10)
    assert stamp == item.about
    assert sample == [NEUTRAL, 0.625, NEUTRAL, NEUTRAL, state, 5.0]


async def test_neutral_is_pushed_from_another_thread_and_stamps_never_go_back(
    room: Room, inlet: pylsl.StreamInlet
) -> None:
    # nothing was shown: there is nothing to take back
    room.scores.neutral("the loop missed its heartbeat")
    first = score(0.75)
    room.show(first)
    await asyncio.to_thread(room.scores.neutral, "the loop missed its heartbeat")
    second = score(0.25, first.about + 0.01)
    room.show(second)
    found = [inlet.pull_sample(timeout=10) for _ in range(3)]
    await room.scores.close()
    assert [(sample[0], sample[4]) for sample, _ in found if sample is not None] == [
        (0.75, SHOWN),
        (NEUTRAL, SILENT),
        (0.25, SHOWN),
    ]
    assert [stamp for _, stamp in found] == [first.about, first.about, second.about]
    room.show(second)
    assert room.scores.losses() == {}


async def test_mne_lsl_takes_the_score_stream(room: Room) -> None:
    # its C library reads the configuration once: imported after the tests' own is set
    from mne_lsl.stream import StreamLSL

    # of a stream without a rate it keeps a number of samples
    stream = StreamLSL(bufsize=50, source_id=f"{room.session}-score")
    stream.connect(acquisition_delay=0.01, timeout=10)
    try:
        assert stream.ch_names == LABELS
        assert stream.info["sfreq"] == 0.0
        sent = 0
        origin = CLOCK.now() - 1.0
        # its first samples may be lost while the connection settles
        end = time.monotonic() + 15
        while stream.n_new_samples < 20:
            assert time.monotonic() < end, "MNE-LSL received nothing"
            room.show(score(sent / 1024 % 1, origin + sent / 1024, eeg=0.5, bold=0.25))
            sent += 1
            await asyncio.sleep(0.005)
        data, stamps = stream.get_data(winsize=20)
    finally:
        stream.disconnect()
    number = np.rint((stamps - origin) * 1024)
    np.testing.assert_array_equal(np.diff(number), 1)
    np.testing.assert_array_equal(data[0], number / 1024 % 1)
    np.testing.assert_array_equal(data[1:], np.repeat([[0.625], [0.5], [0.25], [SHOWN], [5.0]], len(stamps), axis=1))


async def test_outputs_are_neutral_though_the_loop_hangs(room: Room, inlet: pylsl.StreamInlet) -> None:
    gate = Gate(GateSettings(heartbeat_s=0.2))
    gate.arm()
    told: list[str] = []
    ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ear.bind(("127.0.0.1", 0))
    ear.settimeout(10.0)
    osc = OscSink(OscSettings(port=ear.getsockname()[1]), NEUTRAL, gate, CLOCK, time.time, told.append)
    ttl = TtlSink(TtlSettings(port=TRY_OUT, way="rts", pulse_s=1.0), gate, CLOCK, told.append)
    dog = Watchdog(gate, CLOCK, [osc, ttl, room.scores], told.append)
    shown = b"/nf/neutral\0,i\0\0\0\0\0"
    try:
        wait_until(lambda: ttl._port)
        port = ttl._port
        assert port is not None
        room.show(score(0.75))
        gate.beat(CLOCK.now())
        osc.put(score(0.75))
        ttl.put(trigger(0))
        wait_until(lambda: port.cts)
        up = CLOCK.now()
        dog.start()
        # here the loop hangs: nobody beats
        wait_until(lambda: not port.cts)
        assert CLOCK.now() - up < 0.8
        while shown + b"\0" not in ear.recv(2000):
            pass
        wait_until(lambda: shown + b"\1" in ear.recv(2000))
        assert inlet.pull_sample(timeout=10)[0][0] == 0.75
        assert inlet.pull_sample(timeout=10)[0] == [NEUTRAL, 0.625, NEUTRAL, NEUTRAL, SILENT, 5.0]
        assert told == ["outputs are neutral: the loop missed its heartbeat"]
    finally:
        dog.close()
        await osc.close()
        await ttl.close()
        ear.close()


def take(feedback: Feedback, holds: Callable[[Frame], object]) -> Frame:
    """Draw frames until one holds."""
    found: list[Frame] = []

    def drawn() -> object:
        found.append(feedback.frame(CLOCK.now()))
        return holds(found[-1])

    wait_until(drawn)
    return found[-1]


async def test_the_example_shows_scores_until_their_deadline(room: Room, feedback: Feedback) -> None:
    assert feedback.frame(CLOCK.now()) == Frame(NEUTRAL, neutral=True, rewards=())
    item = score(0.875, lasts=0.6)
    room.show(item)
    shown = take(feedback, lambda frame: not frame.neutral)
    assert shown == Frame(0.875, neutral=False, rewards=())
    # time stamps of one host are put on its own clock within the error of that measurement
    assert not feedback.frame(item.expires - 0.01).neutral
    assert feedback.frame(item.expires + 0.01) == Frame(NEUTRAL, neutral=True, rewards=())
    room.show(score(0.25))
    take(feedback, lambda frame: not frame.neutral)
    room.gate.disarm("stopped by the operator")
    room.scores.neutral("stopped")
    take(feedback, lambda frame: frame.neutral)


async def test_the_example_acts_on_each_trigger_once_at_its_time(room: Room, feedback: Feedback) -> None:
    late = trigger(4, ahead=0.3)
    for item in (trigger(2), trigger(2), trigger(1), trigger(3, ahead=-3.0, lasts=1.0), late):
        room.triggers.put(item)
    rewards = list(take(feedback, lambda frame: frame.rewards).rewards)
    seen = late.fire_at
    while len(rewards) < 2:
        frame = take(feedback, lambda frame: frame.rewards)
        seen = CLOCK.now()
        rewards += frame.rewards
    assert [(each.seq, each.action, each.level) for each in rewards] == [(2, "reward", 0.75), (4, "reward", 0.75)]
    assert rewards[1].fire_at == pytest.approx(late.fire_at, abs=0.005)
    assert rewards[1].expires == pytest.approx(late.expires, abs=0.005)
    assert seen >= late.fire_at - 0.005
    assert feedback.frame(CLOCK.now()).rewards == ()


async def test_the_example_forgets_what_waits_when_the_session_is_stopped(room: Room, feedback: Feedback) -> None:
    room.show(score(0.75))
    take(feedback, lambda frame: not frame.neutral)
    room.triggers.put(trigger(0, ahead=0.4))
    wait_until(lambda: (feedback.frame(CLOCK.now()), feedback._waiting)[1])
    room.gate.disarm("stopped by the operator")
    room.scores.neutral("stopped")
    take(feedback, lambda frame: frame.neutral)
    assert feedback.frame(CLOCK.now() + 0.5).rewards == ()
    # one that overtook the news on another stream
    room.triggers.put(trigger(1, ahead=0.01))
    later = CLOCK.now() + 0.2
    wait_until(lambda: feedback._newest == 1 or feedback.frame(CLOCK.now()).rewards)
    assert feedback.frame(later).rewards == ()
    room.gate.arm()
    room.show(score(0.5))
    take(feedback, lambda frame: not frame.neutral)
    room.triggers.put(trigger(2))
    assert [each.seq for each in take(feedback, lambda frame: frame.rewards).rewards] == [2]


def a_stream(name: str, source_id: str, kind: int) -> pylsl.StreamOutlet:
    return pylsl.StreamOutlet(pylsl.StreamInfo(name, "Markers", 1, 0.0, kind, source_id))


async def test_the_example_passes_over_what_is_no_trigger() -> None:
    session = uuid4().hex
    gate = Gate(GateSettings())
    scores = ScoreOutlet(session, (), NEUTRAL, gate, CLOCK)
    odd = a_stream(TRIGGERS, f"{session}-triggers", pylsl.cf_string)
    feedback = Feedback(session)
    try:
        fields = '"action": "reward", "level": 0.5, "fire_at": 1.0, "expires": 2.0'
        for text in ("", "reward", "[1]", "7", "{}", '{"seq": "x", ' + fields + "}", '{"seq": 8, ' + fields + "}"):
            odd.push_sample([text])
        assert [each.seq for each in take(feedback, lambda frame: frame.rewards).rewards] == [8]
    finally:
        feedback.close()
        await scores.close()


def test_the_example_says_what_is_wrong_with_the_streams() -> None:
    session = uuid4().hex
    with pytest.raises(LookupError, match="0 streams NeurofeedbackScore"):
        Feedback(session, timeout=0.3)
    kept = [
        a_stream(SCORES, f"{session}-score", pylsl.cf_float32),
        a_stream(TRIGGERS, f"{session}-triggers", pylsl.cf_string),
    ]
    with pytest.raises(LookupError, match="expected level, neutral, valid_s"):
        Feedback(session)
    assert kept
