from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from streamer import wire
from streamer.align.eeg_time import EegTimeline, EegTimelineSettings
from streamer.clock import ReplayClock
from streamer.commands.wire import app
from streamer.config import BoldSection, Config, ModelSection, SessionSection
from streamer.decode.decision_settings import DecisionSettings
from streamer.emit.mqtt import MqttSink
from streamer.emit.mqtt_messages import BYTES, JSON, NEVER, Making, shown, volume_preview
from streamer.emit.mqtt_quality import QualityNow
from streamer.emit.mqtt_queue import RAW, VOLUME, Gathering, Outbox, Outgoing
from streamer.emit.mqtt_settings import MqttSettings
from streamer.emit.public_config import HELD_BACK, public_config
from streamer.emit.raw_preview import RawPreview
from streamer.messages import (
    BoldFrame,
    ChannelInfo,
    CleanEeg,
    Command,
    EegChunk,
    Event,
    Feature,
    Flag,
    Health,
    Marker,
    Prediction,
    Score,
    SessionTime,
    State,
    Tick,
    Trigger,
    Veto,
    VolumeView,
)
from streamer.wire.schema import schema_text
from streamer.wire.volume_bytes import decode_volume

T = SessionTime(1000.0)


def trigger(seq: int, expires: float = 1001.0) -> Trigger:
    return Trigger(seq, seq, "a", 0.5, T, T, SessionTime(expires), "r")


def score(expires: float) -> Score:
    return Score(0, 0.5, {}, 0.7, False, 0.4, T, SessionTime(expires))


def prediction(ready: float | None = None) -> Prediction:
    known = None if ready is None else SessionTime(ready)
    return Prediction(0, "m", ("a", "b"), (0.5, 0.5), 1.0, {}, T, 0.0, 0.0, ready=known)


def frame(fd: float, flags: Flag = Flag.NONE) -> BoldFrame:
    one = np.array([0.5], np.float32)
    return BoldFrame(0, "s", one, one, np.zeros(6), fd, 2.0, T, T, flags)


def hop(first: int, n: int = 5, bad: tuple[int, ...] = ()) -> CleanEeg:
    return CleanEeg(np.ones((n, 2), np.float32), (first + np.arange(n)) / 100, first, 0, bad=bad)


def view(index: int, brightest: float = 800.0) -> VolumeView:
    mean = np.linspace(0, brightest, 24, dtype=np.float32).reshape(2, 3, 4)
    change = np.full((2, 3, 4), np.nan, np.float32)
    change[0, 0] = (-9, -2.5, 0, 5)
    maps = {"change": (change, "%"), "t task": (change, "t"), "other": (change, "Hz"), "none": (change * np.nan, "")}
    return VolumeView(index, "s", T, np.diag([2.0, 2, 2, 1]), mean, maps)


def making(*, binary: bool = False, blinded: bool = False) -> tuple[Making, Counter[str]]:
    lost: Counter[str] = Counter()
    return Making("s", 1.0, lost, binary=binary, blinded=blinded), lost


@given(st.lists(st.sampled_from("tvT"), max_size=40), st.integers(1, 6))
def test_the_queue_is_bounded_and_triggers_are_the_last_to_go(kinds: str, size: int) -> None:
    box = Outbox(size)
    put = [trigger(k) if kind in "tT" else Veto(k, "r", T) for k, kind in enumerate(kinds)]
    for item in put:
        box.add(item)
        assert len(box) <= size
    taken = []
    while (item := box.take()) is not None:
        taken.append(item)
    assert len(taken) + box.lost.total() == len(put)
    triggers = [item for item in put if isinstance(item, Trigger)]
    others = [item for item in put if isinstance(item, Veto)]
    kept_triggers = [item for item in taken if isinstance(item, Trigger)]
    kept_others = taken[len(kept_triggers) :]
    assert taken[: len(kept_triggers)] == kept_triggers
    assert kept_triggers == triggers[len(triggers) - len(kept_triggers) :]
    assert kept_others == others[len(others) - len(kept_others) :]
    if box.lost["trigger"]:
        assert len(triggers) > size


def test_previews_go_first_and_of_volumes_the_newest_alone_waits() -> None:
    box = Outbox(5)
    first, second, third = (Outgoing(VOLUME, bytes([k])) for k in range(3))
    raw = Outgoing(RAW, b"r")
    for item in (first, Veto(0, "r", T), raw, second, [hop(0)], trigger(0)):
        box.add(item)
    assert (len(box), dict(box.lost)) == (5, {"preview_volume": 1})
    for item in (Veto(1, "r", T), trigger(1), Veto(2, "r", T), Veto(3, "r", T), trigger(2)):
        box.add(item)
    assert box.lost == {"preview_raw": 1, "preview_volume": 2, "preview": 1, "veto": 2}
    assert [box.take() for _ in range(5)] == [*map(trigger, range(3)), Veto(2, "r", T), Veto(3, "r", T)]
    assert box.take() is None
    # one that could not be sent gives way to a newer one, and else stays the next
    box.add(third)
    box.put_back(second)
    assert box.take() is third
    assert box.lost["preview_volume"] == 3
    box.add(raw)
    box.put_back(third)
    assert [box.take(), box.take()] == [third, raw]


def test_what_is_put_back_is_next_and_what_is_given_up_is_counted() -> None:
    box = Outbox(10)
    for item in (Veto(0, "r", T), Veto(1, "r", T), trigger(0), [hop(0)]):
        box.add(item)
    first = box.take()
    assert isinstance(first, Trigger)
    box.put_back(first)
    assert box.take() is first
    veto = box.take()
    box.put_back(Veto(7, "r", T))
    assert box.take() == Veto(7, "r", T)
    assert veto == Veto(0, "r", T)
    box.drop_all()
    assert box.lost == {"veto": 1, "preview": 1}
    assert len(box) == 0


def test_previews_have_neither_holes_nor_two_sets_of_bad_channels() -> None:
    given_: list[list[CleanEeg]] = []
    gathering = Gathering(0.1, given_.append)
    for each in (hop(0), hop(5), hop(10), hop(20), hop(25, bad=(1,)), hop(30, 0, bad=(1,)), hop(30, bad=(1,))):
        gathering.add(each)
    gathering.flush()
    gathering.flush()
    assert [[h.first_sample for h in hops] for hops in given_] == [[0, 5, 10], [20], [25, 30]]


@pytest.mark.parametrize(
    ("item", "name"),
    [
        (trigger(0, 999.0), "trigger"),
        (score(999.0), "score"),
        (score(math.nan), "score"),
        (prediction(998.9), "prediction"),
        (Feature("f", 0, SessionTime(998.0), 0.5, (), (), (), True), "feature"),
    ],
)
def test_what_has_expired_is_not_made_but_counted(item: Trigger | Score | Prediction | Feature, name: str) -> None:
    make, lost = making()
    assert make.make(item, T) is None
    assert lost == {f"{name}_expired": 1}


def test_topics_deadlines_and_qualities_of_service() -> None:
    make, lost = making()
    made = {
        found.name: (found.qos, found.expires, found.content, json.loads(found.payload)["kind"])
        for item in (
            trigger(0),
            score(1002.0),
            prediction(1000.0),
            Feature("f", 0, T, 0.5, (), (), (), True),
            Veto(0, "r", T),
            frame(0.1),
            Health(State.RUNNING, T, {}, {}, {}, {}),
            [hop(0)],
            wire.MarkerMessage(label="block", at=1.0),
        )
        if (found := make.make(item, T)) is not None
    }
    assert made == {
        "trigger": (1, 1001.0, JSON, "trigger"),
        "score": (0, 1002.0, JSON, "score"),
        "prediction": (0, 1001.0, JSON, "prediction"),
        "feature/f": (0, 1001.5, JSON, "feature"),
        "veto": (0, NEVER, JSON, "veto"),
        "bold": (0, NEVER, JSON, "bold"),
        "health": (0, NEVER, JSON, "health"),
        "preview/eeg": (0, NEVER, JSON, "preview"),
        "marker": (1, NEVER, JSON, "marker"),
    }
    assert not lost
    as_bytes = making(binary=True)[0].make([hop(0)], T)
    assert as_bytes is not None
    assert (as_bytes.name, as_bytes.content) == ("preview/eeg.bin", BYTES)
    blind = making(blinded=True)[0].make(frame(0.1), T)
    assert blind is not None
    assert json.loads(blind.payload)["regions"] == [None]


def test_what_is_ready_is_sent_as_it_is() -> None:
    ready = Outgoing(RAW, b"EFSP", content=BYTES)
    assert making()[0].make(ready, T) is ready


def marker(label: str) -> Marker:
    return Marker(label, SessionTime(2.5), 2.0, None, T)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (marker("block"), [wire.MarkerMessage(label="block", at=2.5)]),
        (marker("R128"), []),
        (Command("annotate", "coughs", T), [wire.MarkerMessage(label="coughs", at=T, note=True)]),
        (Command("end", "", T), []),
        (Tick(T, 0.0, T), []),
    ],
)
def test_markers_and_notes_are_shown_and_volume_triggers_are_not(event: Event, expected: list[object]) -> None:
    assert shown(event, None, "R128") == expected


def test_a_volume_is_shown_as_a_share_of_its_brightest_voxel_and_its_maps_on_scales_that_stay() -> None:
    sent = volume_preview(view(7), blinded=False)
    assert (sent.name, sent.content, sent.qos) == ("preview/volume", BYTES, 0)
    found = decode_volume(sent.payload)
    assert (found.index, found.series, found.received, found.shape) == (7, "s", T, (2, 3, 4))
    np.testing.assert_array_equal(found.affine, view(7).affine)
    np.testing.assert_allclose(found.images["mean"].values(), view(7).mean / 800, atol=0.5 / 127)
    scales = {name: (image.unit, image.scale * 127) for name, image in found.images.items()}
    assert scales == {
        "mean": ("", 1.0), "change": ("%", 5.0), "t task": ("t", 20.0), "other": ("Hz", 9.0), "none": ("", 1.0),
    }  # fmt: skip
    np.testing.assert_allclose(found.images["change"].values()[0, 0], (-5, -2.5, 0, 5), atol=2.5 / 127)
    assert np.isnan(found.images["change"].values()[1]).all()
    assert np.isnan(found.images["none"].values()).all()


def test_a_dark_volume_is_shown_and_a_blinded_one_has_no_maps() -> None:
    dark = decode_volume(volume_preview(view(0, brightest=0.0), blinded=False).payload)
    assert not dark.images["mean"].values().any()
    assert list(decode_volume(volume_preview(view(0), blinded=True).payload).images) == ["mean"]


async def test_a_newer_volume_takes_the_place_of_one_that_waits_to_be_encoded_or_sent() -> None:
    sink = MqttSink(MqttSettings(), "mqtt://127.0.0.1:9", "s", ReplayClock())
    for index in range(4):
        sink.put_view(view(index))
    await sink.close()
    # the last that was put; what never left is counted when the session ends
    assert sink.losses() == {"preview_volume": 4}
    sink.put_view(view(9))
    assert sink.depth == 0


async def test_volumes_can_be_switched_off() -> None:
    sink = MqttSink(MqttSettings(preview_volumes=False), "mqtt://127.0.0.1:9", "s", ReplayClock())
    sink.put_view(view(0))
    sink.see(marker("block"))
    assert sink.depth == 1
    await sink.close()
    assert sink.losses() == {"marker": 1}


@pytest.mark.parametrize(
    ("settings", "shown_raw"), [({}, True), ({"preview_raw": False}, False), ({"preview": "none"}, False)]
)
def test_raw_eeg_can_be_switched_off(settings: dict[str, Any], shown_raw: bool) -> None:
    sink = MqttSink(MqttSettings(**settings), "mqtt://127.0.0.1:9", "s", ReplayClock())
    timeline = EegTimeline(EegTimelineSettings(), 100.0)
    raw = RawPreview(timeline.samples, 100.0, 1, [ChannelInfo("Fz", "eeg")], 0.0, 0.1)
    about = wire.About(
        session="s", eeg_sfreq=100.0, channels=[], regions=[], classes=[], model="m", tick_hz=10.0,
        thresholds={}, versions={},
    )  # fmt: skip
    sink.publish_about(about, None, raw)
    times = np.arange(10) / 100
    chunk = EegChunk("eeg", np.ones((10, 1), np.float32), times, times, 0, T)
    timeline(chunk)
    sink.see(chunk)
    assert sink.depth == shown_raw


def test_quality_sums_up_what_passed() -> None:
    quality = QualityNow()
    health = Health(State.RUNNING, T, {}, {}, {}, {}, Flag.MOTION, eeg={"spread": math.nan, "clean": 0.5})
    empty = quality.message(health, None)
    assert (empty.fd_mm, empty.fd_mean_mm, empty.fd_max_mm, empty.volumes) == (None, None, None, 0)
    for each in (frame(math.nan), frame(0.75, Flag.MOTION), frame(0.25), hop(0, bad=(1, 7))):
        quality.take(each)
    entries = [wire.ChannelEntry("Fp1", "eeg"), wire.ChannelEntry("ECG", "ecg"), wire.ChannelEntry("Pz", "eeg")]
    about = wire.About(
        session="s", eeg_sfreq=250.0, channels=entries, regions=[], classes=[], model="m", tick_hz=10.0,
        thresholds={}, versions={},
    )  # fmt: skip
    message = quality.message(health, about)
    assert message.bad_channels == ["Pz", "#7"]
    assert (message.fd_mm, message.fd_mean_mm, message.fd_max_mm) == (0.25, 0.5, 0.75)
    assert (message.volumes, message.volumes_motion, message.n_channels) == (3, 1, 2)
    assert message.eeg == {"spread": None, "clean": 0.5}
    assert message.flags == ["MOTION"]


def test_settings_as_everybody_may_see_them_hold_no_path_name_or_secret() -> None:
    sentinel = "SENTINEL"
    config = Config(
        session=SessionSection(name=sentinel, directory=Path(f"/home/{sentinel}")),
        bold=BoldSection(directory=Path(sentinel), regions=Path(f"{sentinel}.nii"), events=Path(f"/{sentinel}")),
        model=ModelSection(card=f"{sentinel}.toml"),
        mqtt=MqttSettings(
            broker=f"mqtts://{sentinel}.example", username=sentinel, password_env=sentinel, ca_file=Path(sentinel)
        ),
        decision=DecisionSettings(target="left hand", action=f"/dev/{sentinel}"),
    )
    found = public_config(config)
    assert sentinel.lower() not in json.dumps(found).lower()
    assert found["decision"]["target"] == "left hand"
    assert found["decision"]["threshold_on"] == 0.7
    assert found["eeg"]["source"] == "lsl"
    assert found["features"]["bands"]["alpha"] == [8.0, 13.0]
    assert found["bold"]["directory"] == HELD_BACK
    assert set(found) <= set(config.plain())


def test_the_verb_prints_the_schema() -> None:
    result = CliRunner().invoke(app, ["schema"])
    assert result.exit_code == 0
    assert result.stdout == schema_text()
