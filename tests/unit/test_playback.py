from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import replay_data
from streamer import wire
from streamer.compose import make_header
from streamer.config import BoldSection, Config
from streamer.emit.recorder import Recorder
from streamer.errors import ModelError, RecordingError
from streamer.messages import BoldFrame, CleanEeg, Command, Output, Prediction, SessionTime
from streamer.playback import RECORDED, play
from streamer.replay import config_for, open_origin, prepare, replay_recording
from streamer.wire.records import PROGRESS, Record, decode_progress

SHIPPED = Path(replay_data.__file__).parent / "short" / "task" / "recording.toml"
SHORT = SHIPPED.parent.parent
SETTINGS = Config(bold=BoldSection(regions=SHORT / "regions.nii.gz", region_names=SHORT / "regions.tsv"))
TELEMETRY = {PROGRESS, "health"}


def played(path: Path, config: Config = SETTINGS) -> list[Record]:
    records: list[Record] = []
    play(path, config, records.append, without_model=True)
    return records


def name(record: Record) -> str:
    return record.topic if record.topic == PROGRESS else record.topic.split("/", 2)[2]


def messages(records: list[Record], kind: type) -> list:
    said = [wire.decode(record.payload) for record in records if record.topic != PROGRESS]
    return [message for message in said if isinstance(message, kind)]


@pytest.fixture(scope="module")
def shipped() -> list[Record]:
    """What is said of the recording that ships, which has no model that fits."""
    return played(SHIPPED)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session's own log of the recording that ships, with a note of the operator."""
    folder = tmp_path_factory.mktemp("own") / "session"
    replay = prepare(open_origin(SHIPPED), SETTINGS, without_model=True)
    origin = replay.origin
    recorder = Recorder(folder, make_header(replay.parts, "session", origin.sfreq, origin.channels))
    for number, event in enumerate(replay.events):
        recorder.record(number, event)
    recorder.record(number + 1, Command("annotate", "the end", SessionTime(event.received + 0.01)))
    recorder.close(xdf=False)
    assert not recorder.losses()
    return folder


def test_it_says_first_what_the_session_is_and_last_that_it_is_over(shipped: list[Record]):
    names = [name(record) for record in shipped]
    assert names[:2] == ["status", "about"]
    assert set(names[2:4]) <= {"config", "card"}
    assert names[-2:] == ["status", PROGRESS]
    states = [(m.state, m.online) for m in messages(shipped, wire.Status)]
    assert states[0] == ("STARTING", True)
    assert states[-2:] == [("STOPPED", True), ("STOPPED", False)]
    assert {m.session for m in messages(shipped, wire.Status)} == {"task"}


def test_it_tells_when_each_would_have_been_sent(shipped: list[Record]):
    times = [record.at for record in shipped]
    assert times == sorted(times)
    start, end = open_origin(SHIPPED).span
    assert times[0] == start
    assert end - 1.0 < times[-1] <= end


def test_progress_grows_to_the_end(shipped: list[Record]):
    told = [decode_progress(record.payload) for record in shipped if record.topic == PROGRESS]
    fractions = [progress.fraction for progress in told]
    assert fractions == sorted(fractions)
    assert 0.0 <= fractions[0] < 0.5
    assert [progress.ended for progress in told] == [False] * (len(told) - 1) + [True]
    assert fractions[-1] == 1.0


def test_it_says_what_a_replay_gives(shipped: list[Record]):
    outputs: list[Output] = []
    replay_recording(SHIPPED, SETTINGS, None, without_model=True, take=outputs.extend)
    predictions = [o for o in outputs if isinstance(o, Prediction)]
    said = messages(shipped, wire.PredictionMessage)
    assert len(said) == len(predictions) > 200
    assert [(m.seq, tuple(m.probabilities.values())) for m in said] == [(p.seq, p.probabilities) for p in predictions]
    frames = [o for o in outputs if isinstance(o, BoldFrame)]
    assert [(m.index, m.fd_mm) for m in messages(shipped, wire.BoldMessage)] == [(f.index, f.fd) for f in frames]
    hops = np.concatenate([o.data for o in outputs if isinstance(o, CleanEeg)])
    previews = [m for m in messages(shipped, wire.EegPreview) if not m.raw]
    shown = np.concatenate([np.array(m.data_uv, np.float32).T for m in previews])
    good = sorted(set(range(hops.shape[1])) - {k for m in previews for k in m.interpolated})
    assert len(shown) == len(hops)
    np.testing.assert_allclose(shown[:, good], hops[:, good] * 1e6, rtol=1e-5, atol=1e-4)


def test_nothing_that_a_dashboard_shows_is_missing(shipped: list[Record]):
    counts = Counter(map(name, shipped))
    about = messages(shipped, wire.About)[0]
    assert about.commands == []
    assert counts["preview/raw.bin"] > 100
    assert counts["preview/volume"] == counts["bold"] == 24
    # what the amplifier says of its clock is no event
    assert not messages(shipped, wire.MarkerMessage)
    assert 28 <= counts["health"] == counts["quality"] <= 30


def test_every_volume_is_shown_right_after_its_frame(shipped: list[Record]):
    seen: list[int] = []
    for record in shipped:
        if name(record) == "bold":
            seen.append(messages([record], wire.BoldMessage)[0].index)
        elif name(record) == "preview/volume":
            assert messages([record], wire.VolumeMessage)[0].index == seen[-1]


def test_latencies_that_nobody_measured_are_not_told(shipped: list[Record]):
    assert all(m.latency_ms == {} for m in messages(shipped, wire.HealthMessage))


def test_a_session_of_its_own_says_the_same_as_the_recording_it_is_of(own: Path, shipped: list[Record]):
    records = played(own, config_for(own, None))
    kinds = (wire.PredictionMessage, wire.ScoreMessage, wire.BoldMessage, wire.EegPreview)
    for kind in kinds:
        assert messages(records, kind) == messages(shipped, kind)
    assert len(messages(records, wire.VolumeMessage)) == 24
    assert {m.session for m in messages(records, wire.Status)} == {"session"}
    assert messages(records, wire.MarkerMessage)[-1].label == "the end"
    assert set(messages(records, wire.HealthMessage)[-1].latency_ms) <= RECORDED
    assert "eeg_transport" in messages(records, wire.HealthMessage)[-1].latency_ms


def test_played_twice_it_says_the_same_bytes(own: Path):
    config = config_for(own, None)
    once, again = ([r for r in played(own, config) if name(r) not in TELEMETRY] for _ in range(2))
    assert once == again


def test_a_recording_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(RecordingError, match="no such file"):
        played(tmp_path / "none")


def test_a_model_that_is_not_there_is_refused(own: Path, tmp_path: Path):
    config = config_for(own, None)
    gone = config.model_copy(update={"model": config.model.model_copy(update={"card": str(tmp_path / "gone.toml")})})
    with pytest.raises(ModelError, match=r"gone\.toml"):
        played(own, gone)
