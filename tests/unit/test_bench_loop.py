"""The arithmetic of the way from the amplifier to the trigger, on a session whose delays are known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from streamer import wire
from streamer.bench.loop import STAGES, Chunks, _stages, _transport, _truth
from streamer.bench.loop_listener import _triggers
from streamer.bench.loop_session import STEPS_HZ, loop_config
from streamer.config import commented_toml, load_config
from streamer.messages import Flag, Prediction, SessionTime, Trigger

SFREQ = 5000.0
CHUNK = 100
LATE_S, DECIDE_S, WAY_S, DECLARED_S = 0.002, 0.003, 0.001, 0.0145
T0 = 700.0


def chunks(n: int = 3000) -> Chunks:
    first = CHUNK * np.arange(n, dtype=float)
    last_at = T0 + (first + CHUNK - 1) / SFREQ
    return Chunks(first, last_at, last_at + LATE_S, SFREQ)


def prediction(about: float, ready: float) -> wire.PredictionMessage:
    said = Prediction(0, "m", ("rest", "task"), (0.5, 0.5), 1.0, {}, SessionTime(about), 0.0, 1.0)
    message = wire.from_prediction(said, SessionTime(about + 1.0))
    return type(message)(**{f: getattr(message, f) for f in message.__struct_fields__ if f != "ready"}, ready=ready)


def trigger(about: float) -> Trigger:
    at = SessionTime(about)
    return Trigger(0, 0, "feedback", 1.0, at, at, SessionTime(about + 1.0), "", Flag.NONE)


@dataclass
class Heard:
    """What a listener would have."""

    whole: Chunks
    at: list[int]
    """Places of the chunks that complete a trigger's window."""

    def _about(self, place: int) -> float:
        return float(self.whole.last_at[place]) - DECLARED_S

    def predictions(self) -> list[tuple[float, wire.PredictionMessage]]:
        ready = self.whole.taken[::5] + DECIDE_S
        places = range(0, len(self.whole.first), 5)
        return [(at + WAY_S, prediction(self._about(k), at)) for k, at in zip(places, ready.tolist(), strict=True)]

    def pulses(self) -> list[tuple[float, wire.TriggerMessage]]:
        known = [(float(self.whole.taken[k]) + DECIDE_S + 2 * WAY_S, self._about(k)) for k in self.at]
        return [(at, wire.from_trigger("s", trigger(about))) for at, about in known]


def test_a_sample_has_the_time_that_its_chunk_says() -> None:
    samples = np.array([0.0, 99.0, 100.0, 12_345.0])
    np.testing.assert_allclose(chunks().time_of(samples), T0 + samples / SFREQ, atol=1e-9)


def test_the_way_is_taken_apart_into_its_stages() -> None:
    whole = chunks()
    ready = whole.taken[[10, 500]] + DECIDE_S
    found = _stages(whole, whole.last_at[[10, 500]] - DECLARED_S, ready, ready + WAY_S)
    np.testing.assert_allclose(found, [[DECLARED_S, LATE_S, DECIDE_S, WAY_S]] * 2, atol=1e-9)


def test_decisions_and_triggers_are_summed_from_the_last_sample_on() -> None:
    table = {f.name: f for f in _transport(Heard(chunks(), [1500, 2000]), chunks())}
    assert table["sample to decision in hand, p50"].value == pytest.approx(6.0)
    assert table["sample to decision in hand, p99"].met is True
    assert table["decision: declared, p99"].value == pytest.approx(14.5)
    assert table["triggers on the LSL outlet"].value == 2
    assert table["sample to trigger on LSL, p99"].value == pytest.approx(7.0)


def test_a_step_has_its_own_trigger_or_none() -> None:
    whole = chunks()
    # 0.2 s before the chunks that complete the triggers' windows, and one that nobody answers
    onsets = whole.first[[1500, 2000]] + CHUNK - 1 - 0.2 * SFREQ
    heard = Heard(whole, [1500, 2000, 700])
    table = {f.name: f for f in _truth(heard, whole, np.append(onsets, whole.first[2700]))}
    assert table["planted steps"].value == 3
    assert table["steps with a trigger"].value == pytest.approx(200 / 3)
    assert table["steps with a trigger"].met is False
    assert table["triggers without a step"].value == 1
    assert table["step in the raw EEG to trigger in hand, p95"].value == pytest.approx(207.0, abs=0.01)
    parts = [table[f"of it, {name}, p50"].value for name in STAGES]
    assert parts == pytest.approx([200 - 14.5, 14.5, 2.0, 3.0, 2.0], abs=0.01)
    assert sum(parts) == pytest.approx(table["step in the raw EEG to trigger in hand, p50"].value)


def test_what_is_no_trigger_is_passed_over() -> None:
    payloads = [(1.0, wire.encode(wire.from_trigger("s", trigger(5.0)))), (2.0, wire.encode(prediction(5.0, 5.1)))]
    assert [at for at, _ in _triggers(payloads)] == [1.0]


def test_its_settings_are_a_session_that_can_be_read(tmp_path: Path) -> None:
    config = loop_config(tmp_path)
    (tmp_path / "SESSION.toml").write_text(commented_toml(config), encoding="utf-8")
    assert load_config(tmp_path / "SESSION.toml") == config
    # TR 2 s: what lies on a multiple of 0.5 Hz is taken for gradient artefact
    assert all((hz / 0.5) % 1.0 == 0.5 for hz in STEPS_HZ)
