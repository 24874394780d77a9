from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer import wire
from streamer.emit.mqtt_quality import QualityNow
from streamer.emit.preview import preview_bytes_of, preview_of
from streamer.errors import FormatError
from streamer.messages import (
    BoldFrame,
    CleanEeg,
    Feature,
    Flag,
    Health,
    Prediction,
    Score,
    SessionTime,
    State,
    Trigger,
    Veto,
)
from streamer.wire.schema import json_schema, schema_text

T = SessionTime(1e5 + 1 / 3)
FEATURE = Feature(
    "phase.oz", 2500, SessionTime(T - 0.5), 0.25, ("envelope_v", "phase_rad"), (1e-5, math.nan), (1e-6, math.inf),
    False, Flag.WARMING, T,
)  # fmt: skip
SCORE = Score(3, 0.5, {"eeg": 0.25}, 0.7, False, 0.987654321, T, SessionTime(T + 1), Flag.MOTION, T)
CARD = {
    "name": "m", "kind": "score", "description": "d", "licence": "MIT", "classes": ["rest", "task"], "verdict": "",
    "eeg": {"channels": ["Fp1"], "bands": {}}, "bold": None, "scores": {}, "training": {"test": ["sub-secret"]},
}  # fmt: skip


def hop(first: int, data: np.ndarray, flags: Flag = Flag.NONE) -> CleanEeg:
    return CleanEeg(data.astype(np.float32), 50.0 + (first + np.arange(len(data))) / 250, first, 0, flags)


def messages() -> list[wire.Message]:
    prediction = Prediction(
        3, "m@1", ("rest", "task"), (0.25, 0.75), 0.8, {"eeg": 1.0}, T, 0.01, math.inf, Flag.GAP | Flag.NO_BOLD, T
    )
    frame = BoldFrame(
        2, "s", np.array([0.5, np.nan], np.float32), np.ones(2, np.float32), np.arange(6.0), 0.2, 2.0, None, T
    )
    health = Health(State.RUNNING, T, {"chunks": 1}, {}, {"eeg": (0.1, 0.2)}, {"events": 0}, Flag.MOTION, ("note",))
    return [
        wire.Status(session="s", online=True, state="RUNNING"),
        wire.About(
            session="s",
            eeg_sfreq=250.0,
            channels=[wire.ChannelEntry("Fp1", "eeg", [-0.3, 0.9, 0.3]), wire.ChannelEntry("X1", "eeg")],
            regions=["a", "b"],
            classes=["rest", "task"],
            model="m",
            tick_hz=10.0,
            thresholds={"on": 0.7},
            versions={"streamer": "0"},
            regions_mm=[[-40.0, 20.5, 3.0], None],
            tr_s=2.0,
            commands=["stop", "end"],
        ),
        wire.from_prediction(prediction, T),
        wire.from_trigger("s", Trigger(9, 3, "reward", 0.5, T, T, T, "why", Flag.LATE)),
        wire.from_veto(Veto(3, "motion", T)),
        wire.from_bold(frame),
        preview_of([hop(10, np.array([[1e-6, np.nan]]), Flag.GAP), hop(11, np.array([[2e-6, -3.14159e-6]]))]),
        wire.from_health(health),
        wire.from_feature(FEATURE, T),
        wire.from_score(SCORE),
        wire.from_card("s", CARD, "0" * 64),
        wire.ConfigMessage(session="s", sha256="1" * 64, settings={"tick_hz": 10.0, "eeg": {"enabled": True}}),
        QualityNow().message(health, None),
        wire.MarkerMessage(label="block", at=T),
    ]


def test_every_message_comes_back_and_is_plain_json() -> None:
    for message in messages():
        payload = wire.encode(message)
        assert wire.decode(payload) == message
        plain = json.loads(payload, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
        assert plain["schema"] == wire.SCHEMA
        assert isinstance(plain["kind"], str)
    assert len({type(m) for m in messages()}) == len(messages())


def test_what_is_not_known_is_null() -> None:
    _, _, prediction, trigger, _, bold, preview, _, feature, *_ = messages()
    assert isinstance(prediction, wire.PredictionMessage)
    assert prediction.age_bold_s is None
    assert prediction.probabilities == {"rest": 0.25, "task": 0.75}
    assert prediction.flags == ["GAP", "NO_BOLD"]
    assert isinstance(trigger, wire.TriggerMessage)
    assert trigger.id == "s/9"
    assert isinstance(bold, wire.BoldMessage)
    assert bold.regions == [0.5, None]
    assert (bold.motion_mm, bold.motion_rad) == ([0.0, 1.0, 2.0], [3.0, 4.0, 5.0])
    assert isinstance(feature, wire.FeatureMessage)
    assert (feature.values, feature.uncertainty) == ([1e-5, None], [1e-6, None])
    assert (feature.age_s, feature.flags, feature.valid) == (pytest.approx(0.5), ["WARMING"], False)
    assert wire.from_feature(replace(FEATURE, ready=None), T).age_s is None
    assert isinstance(preview, wire.EegPreview)
    assert wire.decode(wire.encode(preview)).data_uv == [[1.0, 2.0], [None, -3.14]]  # type: ignore[union-attr]


def test_a_preview_joins_its_hops() -> None:
    data = np.arange(24.0).reshape(12, 2) * 1e-6
    preview = preview_of([hop(100, data[:5]), hop(105, data[5:], Flag.MOTION)])
    assert preview.first_sample == 100
    assert preview.sfreq == pytest.approx(250.0)
    assert preview.t0 == pytest.approx(50.4)
    assert preview.data_uv == [list(np.arange(0.0, 24.0, 2.0)), list(np.arange(1.0, 24.0, 2.0))]
    assert preview.flags == ["MOTION"]
    assert preview_of([hop(0, data[:1])]).sfreq == 0.0


@given(st.integers(0, sum(Flag)))
def test_flags_are_named(value: int) -> None:
    names = wire.flag_names(Flag(value))
    assert sum(Flag[name] for name in names) == value


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"not json",
        b"[]",
        b'{"kind": "trigger", "schema": 1}',
        b'{"kind": "unheard of", "schema": 1}',
        b'{"schema": 1, "session": "s", "online": true, "state": "x"}',
        b'{"kind": "status", "schema": 1, "session": "s", "online": "yes", "state": "x"}',
    ],
)
def test_what_is_not_ours_is_refused(payload: bytes) -> None:
    with pytest.raises(FormatError, match="not a message of ours"):
        wire.decode(payload)


def test_schema_before_ours_is_read_and_a_newer_one_refused() -> None:
    text = '{"kind": "veto", "schema": %d, "window": 1, "reason": "r", "about": 1.0, "added_later": 5}'
    assert wire.decode((text % (wire.SCHEMA - 1)).encode()).schema == wire.SCHEMA - 1
    with pytest.raises(FormatError, match=f"schema {wire.SCHEMA + 1}"):
        wire.decode((text % (wire.SCHEMA + 1)).encode())


def test_topics() -> None:
    assert wire.topic("s1", "preview/eeg") == "eegfmri/s1/preview/eeg"


def test_the_published_schema_is_the_one_of_the_structs() -> None:
    published = Path(wire.__file__).with_name("schema.json").read_text(encoding="utf-8")
    assert published == schema_text(), "run: streamer wire schema > streamer/wire/schema.json"
    described = jsonschema.Draft202012Validator(json_schema())
    described.check_schema(json_schema())
    for message in messages():
        described.validate(json.loads(wire.encode(message)))
    for wrong in ({}, {"kind": "unheard of"}, {"kind": "veto", "window": "1", "reason": "r", "about": 1.0}):
        assert not described.is_valid(wrong)
    assert not described.is_valid({"kind": "command", "action": "stop", "more": 1})
    assert not described.is_valid({"kind": "command", "action": "explode"})


def test_the_true_score_and_the_subjects_are_never_sent() -> None:
    everything = b"".join(wire.encode(message) for message in messages())
    assert b"0.987654321" not in everything
    assert b"actual" not in everything
    assert b"sub-secret" not in everything


def test_region_signals_of_a_blinded_session_are_null() -> None:
    one = np.array([0.5, -0.5], np.float32)
    frame = BoldFrame(2, "s", one, one, np.zeros(6), 0.2, 2.0, None, T, z=one)
    message = wire.from_bold(frame, blinded=True)
    assert (message.regions, message.z, message.fd_mm) == ([None, None], [None, None], 0.2)


def test_previews_as_bytes_say_the_same_as_json() -> None:
    data = np.array([[1e-6, np.nan, -3.14159e-6]] * 4 + [[2e-6, 5e-6, 0.0]])
    hops = [replace(hop(2**40, data, Flag.MOTION), bad=(1,), hold=0.3), replace(hop(2**40 + 5, data), bad=(1,))]
    plain, read = preview_of(hops, 250.0), wire.decode(preview_bytes_of(hops, 250.0))
    assert isinstance(read, wire.EegPreview)
    for name in ("first_sample", "t0", "sfreq", "flags", "bad", "interpolated", "hold_s", "schema"):
        assert getattr(read, name) == getattr(plain, name)
    for one, other in zip(read.data_uv, plain.data_uv, strict=True):
        assert [v is None for v in one] == [v is None for v in other]
        assert [v for v in one if v is not None] == pytest.approx([v for v in other if v is not None], abs=0.005)


@given(st.binary(max_size=200), st.integers(0, 150))
def test_bytes_that_are_no_preview_are_refused(noise: bytes, cut: int) -> None:
    whole = preview_bytes_of([hop(0, np.ones((3, 5)) * 1e-6)], 250.0)
    for payload in (b"EFSP" + noise, whole[: len(whole) - 1 - cut % len(whole)], whole + noise[:1] + b"x"):
        with pytest.raises(FormatError):
            wire.decode(payload)


@given(st.binary(max_size=300) | st.text().map(str.encode))
def test_no_payload_makes_a_reader_fail_in_another_way(payload: bytes) -> None:
    with pytest.raises(FormatError):
        wire.decode(payload)
