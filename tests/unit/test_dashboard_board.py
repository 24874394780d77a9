"""The dashboard without a window: board, feed, display."""

from __future__ import annotations

import numpy as np
import pytest

from dashboard.board import LAST_WILL, Board
from dashboard.display import DisplayError, load_graphics, use_platform
from dashboard.link.feed import BrokerAddress, Feed, parse_broker
from streamer.errors import UsageError
from streamer.wire import (
    About,
    BoldMessage,
    ChannelEntry,
    EegPreview,
    HealthMessage,
    Payload,
    PredictionMessage,
    Status,
    TriggerMessage,
    VetoMessage,
    encode,
)

CHANNELS = [ChannelEntry("Fz", "eeg"), ChannelEntry("Cz", "eeg"), ChannelEntry("ECG", "ecg")]


def about(session: str, **change: object) -> About:
    fields: dict[str, object] = {
        "session": session,
        "eeg_sfreq": 250.0,
        "channels": CHANNELS,
        "regions": ["a", "b"],
        "classes": ["rest", "task"],
        "model": "m@0",
        "tick_hz": 10.0,
        "thresholds": {"on": 0.7},
        "versions": {},
    }
    return About(**(fields | change))


def online(session: str, state: str = "RUNNING") -> Status:
    return Status(session=session, online=True, state=state)


def offline(session: str, detail: str = "") -> Status:
    return Status(session=session, online=False, state="STOPPED", detail=detail)


def prediction(seq: int) -> PredictionMessage:
    return PredictionMessage(
        seq=seq,
        model="m@0",
        probabilities={"rest": 0.2, "task": 0.8},
        uncertainty=0.5,
        attention={"eeg": 0.6, "bold": 0.4},
        about=100 + seq / 10,
        ready=None,
        expires=200.0,
        age_eeg_s=0.01,
        age_bold_s=None,
        flags=[],
    )


def preview(first: int, n: int = 25, sfreq: float = 250.0, channels: int = 2) -> EegPreview:
    data = [[float(c)] * n for c in range(channels)]
    return EegPreview(first_sample=first, t0=100 + first / 250, sfreq=sfreq, data_uv=data, flags=[])


def bold(index: int) -> BoldMessage:
    return BoldMessage(
        index=index,
        acquired=None,
        received=100.0 + index,
        regions=[0.5, None],
        motion_mm=[0.0] * 3,
        motion_rad=[0.0] * 3,
        fd_mm=0.1,
        flags=[],
    )


def health(at: float = 100.0) -> HealthMessage:
    return HealthMessage(
        state="RUNNING", at=at, counts={}, losses={}, latency_ms={}, queues={}, flags=[], notes=[]
    )  # fmt: skip


def board_with(session: str = "one") -> Board:
    board = Board()
    board.take(session, about(session))
    board.take(session, online(session))
    return board


def test_board_fills_its_stores() -> None:
    board = board_with()
    messages = [preview(0), preview(25), bold(0), prediction(0), health(105.0)]
    for message in messages:
        board.take("one", message)
    view = board.view
    assert view.eeg is not None
    assert view.volumes is not None
    assert view.predictions is not None
    assert view.eeg.rows.end == 50
    assert view.volumes.count == 1
    assert view.predictions.classes == ("rest", "task")
    assert view.now == 105.0
    assert board.rejected == 0


def test_board_counts_triggers_once_by_their_id() -> None:
    board = board_with()
    trigger = TriggerMessage(
        id="one/0", seq=0, action="reward", level=0.8, about=101.0, fire_at=101.0, expires=102.0, reason="", flags=[]
    )  # fmt: skip
    for message in (trigger, trigger, VetoMessage(window=3, reason="MOTION", about=101.5)):
        board.take("one", message)
    assert board.view.predictions is not None
    assert (board.view.predictions.triggers, board.view.predictions.vetoes) == (1, 1)


def test_a_rate_that_wavers_in_its_last_digits_empties_nothing() -> None:
    board = Board("one")
    board.take("one", about("one"))
    for k, sfreq in enumerate((250.0, 249.999, 250.001, 250.0)):
        board.take("one", preview(25 * k, sfreq=sfreq))
    assert board.view.eeg is not None
    assert int(np.isfinite(board.view.eeg.rows.read()).all(axis=1).sum()) == 100


def test_a_preview_of_every_second_sample_is_numbered_on_its_own_grid() -> None:
    board = board_with()
    board.take("one", preview(0, n=10, sfreq=125.0))
    board.take("one", preview(20, n=10, sfreq=125.0))
    assert board.view.eeg is not None
    assert board.view.eeg.rows.missing == 0
    assert board.view.eeg.rows.end == 20


@pytest.mark.parametrize(
    "message",
    [
        EegPreview(first_sample=0, t0=0.0, sfreq=250.0, data_uv=[[1.0], [1.0, 2.0]], flags=[]),
        EegPreview(first_sample=0, t0=0.0, sfreq=0.0, data_uv=[[1.0], [1.0]], flags=[]),
        EegPreview(first_sample=2**80, t0=0.0, sfreq=250.0, data_uv=[[1.0], [1.0]], flags=[]),
        BoldMessage(
            index=0, acquired=None, received=1.0, regions=[1.0], motion_mm=[0.0], motion_rad=[], fd_mm=0.0, flags=[]
        ),
    ],
)
def test_board_counts_what_makes_no_sense_and_goes_on(message: EegPreview | BoldMessage) -> None:
    board = board_with()
    board.take("one", message)
    assert board.rejected == 1
    board.take("one", preview(0))
    assert board.view.eeg is not None
    assert board.view.eeg.rows.end == 25


def test_board_goes_over_to_the_next_session_when_one_ends() -> None:
    board = board_with("one")
    board.take("one", prediction(0))
    board.take("two", online("two"))
    board.take("two", prediction(0))
    assert board.session == "one"
    board.take("one", offline("one"))
    assert board.session == "two"
    assert board.view.prediction.newest is None
    board.take("two", prediction(1))
    assert board.view.prediction.newest == prediction(1)


def test_an_ended_session_stays_in_view_until_another_comes() -> None:
    board = board_with("one")
    board.take("one", prediction(0))
    board.take("one", offline("one", "All written."))
    assert board.session == "one"
    assert board.ended
    assert board.view.prediction.newest == prediction(0)


def test_the_last_will_is_no_goodbye() -> None:
    board = board_with("one")
    board.take("one", offline("one", LAST_WILL))
    assert not board.ended


def test_a_session_that_only_left_its_status_gives_way_to_one_that_sends() -> None:
    board = board_with("dead")
    board.at = 1.0
    board.take("alive", online("alive"))
    assert board.session == "dead"
    board.take("alive", health())
    assert board.session == "alive"


def test_a_silent_session_keeps_its_place_against_silent_ones() -> None:
    board = board_with("one")
    board.take("one", health())
    board.at = 60.0
    board.take("two", online("two"))
    assert board.session == "one"


def test_a_wanted_session_is_the_only_one() -> None:
    board = Board("two")
    board.take("one", online("one"))
    board.take("one", preview(0))
    assert board.session == "two"
    assert board.peer is None
    assert board.view.eeg is None


def test_a_loop_started_again_under_the_same_name_starts_with_an_empty_view() -> None:
    board = board_with("one")
    for i in range(5):
        board.take("one", prediction(i))
    board.take("one", offline("one", LAST_WILL))
    board.take("one", online("one"))
    board.take("one", prediction(0))
    assert board.view.predictions is not None
    assert board.view.predictions.rows.end == 1


def test_a_loop_that_only_lost_its_broker_keeps_its_view() -> None:
    board = board_with("one")
    board.take("one", prediction(4))
    board.take("one", offline("one", LAST_WILL))
    board.take("one", online("one"))
    board.take("one", prediction(6))
    assert board.view.predictions is not None
    assert board.view.predictions.rows.missing == 1


def test_another_montage_clears_the_view() -> None:
    board = board_with("one")
    board.take("one", preview(0))
    board.take("one", about("one"))
    assert board.view.eeg is not None
    board.take("one", about("one", channels=CHANNELS[:1]))
    assert board.view.eeg is None


def feed(capacity: int = 4) -> Feed:
    return Feed(BrokerAddress("127.0.0.1", 1, tls=False), capacity=capacity)


class Alien(Payload, frozen=True, kw_only=True, tag="alien"):
    pass


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("eegfmri/s/health", b"not json"),
        ("eegfmri/s/health", b""),
        ("eegfmri/s/health", b"[1, 2]"),
        ("eegfmri/s/health", encode(Alien())),  # type: ignore[arg-type]
        ("eegfmri/s/status", encode(online("s")).replace(b'"schema":1', b'"schema":99')),
        ("eegfmri/status", encode(online("s"))),
    ],
)
def test_feed_counts_what_it_cannot_read(topic: str, payload: bytes) -> None:
    one = feed()
    one.take(topic, payload)
    assert (one.received, one.malformed) == (1, 1)
    assert one.drain() == []


def test_feed_drops_the_oldest_data_but_never_who_is_there() -> None:
    one = feed(capacity=4)
    one.take("eegfmri/s/status", encode(online("s")))
    for i in range(10):
        one.take("eegfmri/s/prediction", encode(prediction(i)))
    messages = [arrival.message for arrival in one.drain()]
    assert isinstance(messages[0], Status)
    assert [m.seq for m in messages if isinstance(m, PredictionMessage)] == [6, 7, 8, 9]
    assert one.dropped == 6
    assert one.drain() == []


def test_broker_addresses() -> None:
    assert parse_broker("mqtt://10.0.0.1:28831") == BrokerAddress("10.0.0.1", 28831, tls=False)
    assert parse_broker("mqtts://broker") == BrokerAddress("broker", 8883, tls=True)
    assert parse_broker("mqtt://[::1]:5").text == "mqtt://[::1]:5"


@pytest.mark.parametrize(
    "url", ["http://x", "localhost:1883", "mqtt://", "mqtt://h:port", "mqtt://h:1/x", "mqtt://[::"]
)
def test_bad_broker_addresses_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="expected mqtt://HOST:PORT"):
        parse_broker(url)


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match="--password-env") as caught:
        parse_broker("mqtt://me:secret@h")
    assert "secret" not in str(caught.value)


def test_without_a_display_only_pictures_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    assert use_platform(offscreen=False, picture=False, environ={"DISPLAY": ":0"}) == ""
    assert use_platform(offscreen=True, picture=False, environ={"DISPLAY": ":0"}) == "offscreen"
    assert use_platform(offscreen=False, picture=True, environ={}) == "offscreen"
    with pytest.raises(DisplayError, match="no display"):
        use_platform(offscreen=False, picture=False, environ={})


def test_missing_graphics_libraries_name_the_line_that_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError("libEGL.so.1: cannot open shared object file: No such file or directory")

    monkeypatch.setattr("dashboard.display.import_module", absent)
    with pytest.raises(DisplayError, match=r"graphics libraries are missing \(libEGL.*apt-get install -y libegl1"):
        load_graphics()
