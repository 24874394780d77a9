from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamer.errors import FormatError, RecordingError, UsageError
from streamer.messages import (
    BoldFrame,
    ChannelInfo,
    ClockOffset,
    Command,
    EegChunk,
    Event,
    Flag,
    Marker,
    ScannerTime,
    SessionHeader,
    SessionTime,
    SourceState,
    Tick,
    Volume,
)
from streamer.runlog import EEG, HEADER, LOG, STAMPS, VOLUMES, RunLogWriter, kind_of
from streamer.runlog_read import read_session, read_span

HEAD = SessionHeader(
    session="s1",
    config={"bands": {"alpha": [8.0, 12.5]}, "limit": float("inf"), "on": True, "name": "µV"},
    config_sha256="ab",
    card_sha256="",
    versions={"numpy": "2"},
    processor="x86",
    eeg_sfreq=5000.0,
    channels=(ChannelInfo("Fp1", "eeg"), ChannelInfo("ECG", "ecg"), ChannelInfo("Pz", "eeg")),
    regions=("left", "right"),
    calibration={"threshold": 0.1 + 0.2},
)


def chunk(first: int, n: int, seed: int = 0) -> EegChunk:
    rng = np.random.default_rng(seed)
    times = 1e5 + (first + np.arange(n)) / 5000
    data = rng.normal(scale=1e-5, size=(n, 3)).astype(np.float32)
    return EegChunk("EEG", data, times - 3.3, times, first, SessionTime(1e5 + 1 / 3), Flag.GAP)


def volume(index: int, dtype: str = "int16") -> Volume:
    rng = np.random.default_rng(index)
    return Volume(
        data=np.asfortranarray(rng.integers(0, 900, (4, 5, 3))).astype(dtype),
        affine=rng.normal(size=(4, 4)),
        series="series-1",
        index=index,
        onset=None if index == 2 else ScannerTime(36000.0 + 1 / 3),
        tr=1.97,
        slice_times=(0.0, 0.1, 1 / 3),
        received=SessionTime(1e5 + 1 / 7),
        flags=Flag.MOTION | Flag.LATE,
    )


def every_kind() -> list[Event]:
    t = SessionTime(100000.1234567891)
    return [
        SourceState("eeg", "found", 'a "stream" of\n33 channels', t),
        chunk(0, 25),
        Marker("R128", t, 99996.7, 12, t),
        Marker("R128", t, float("nan"), None, t),
        ClockOffset("EEG", 3.3000000000000003, t),
        chunk(25, 0),
        volume(0),
        chunk(25, 13, seed=1),
        BoldFrame(
            index=0,
            series="series-1",
            regions=np.array([0.1, np.nan], np.float32),
            means=np.array([1e3 / 3, np.inf], np.float32),
            motion=np.array([1 / 3, -0.0, 1e-300, 0, 5e-324, -np.pi]),
            fd=float("nan"),
            tr=1.97,
            acquired=None,
            received=t,
            flags=Flag.WARMING,
        ),
        volume(1, "float32"),
        volume(2, ">u2"),
        Tick(t, 1e-17, t),
        Command("annotate", "sham Ω", t),
    ]


def same(a: object, b: object) -> bool:
    """Compare records bit for bit, arrays with dtype and NaN included."""
    if type(a) is not type(b):
        return False
    for f in fields(a):  # type: ignore[arg-type]
        x, y = getattr(a, f.name), getattr(b, f.name)
        if isinstance(x, np.ndarray):
            if x.dtype != y.dtype or x.shape != y.shape or x.tobytes() != y.tobytes():
                return False
        elif repr(x) != repr(y) or type(x) is not type(y):
            return False
    return True


def write(directory: Path, events: list[Event]) -> None:
    writer = RunLogWriter(directory, HEAD)
    for number, event in enumerate(events):
        writer.append(number, event)
    writer.sync()
    writer.close()


def test_every_event_comes_back_bit_for_bit_and_in_feed_order(tmp_path: Path) -> None:
    events = every_kind()
    write(tmp_path / "s", events)
    log = read_session(tmp_path / "s")
    found = list(log.events)
    assert [n for n, _ in found] == list(range(len(events)))
    for (_, got), sent in zip(found, events, strict=True):
        assert same(got, sent), (got, sent)
    assert log.problems == []
    assert {kind_of(e) for e in events} == {
        "eeg",
        "marker",
        "volume",
        "frame",
        "offset",
        "source",
        "tick",
        "command",
    }


def test_header_comes_back(tmp_path: Path) -> None:
    write(tmp_path, [])
    log = read_session(tmp_path)
    assert log.header == HEAD
    assert list(log.events) == []


def test_read_arrays_can_be_changed_without_touching_the_files(tmp_path: Path) -> None:
    write(tmp_path, [chunk(0, 5)])
    (_, first), *_ = read_session(tmp_path).events
    assert isinstance(first, EegChunk)
    first.data[:] = 0
    (_, again), *_ = read_session(tmp_path).events
    assert same(again, chunk(0, 5))


any_float = st.floats(allow_nan=True, allow_infinity=True)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(a=any_float, b=any_float, single=st.floats(width=32), text=st.text(), flags=st.integers(0, 8191))
def test_all_numbers_and_texts_survive(
    tmp_path_factory: pytest.TempPathFactory, a: float, b: float, single: float, text: str, flags: int
) -> None:
    text = text.encode("utf-8", "replace").decode()
    directory = tmp_path_factory.mktemp("log")
    frame = BoldFrame(
        7,
        text,
        np.array([single], np.float32),
        np.zeros(0, np.float32),
        np.full(6, a),
        b,
        a,
        SessionTime(b),
        SessionTime(a),
        Flag(flags),
    )
    events: list[Event] = [frame, Command(text, text, SessionTime(a)), Tick(SessionTime(a), b, SessionTime(b))]
    write(directory, events)
    found = [e for _, e in read_session(directory).events]
    assert [repr(e) for e in found] == [repr(e) for e in events]


@pytest.mark.parametrize("cut", [1, 7, 60])
def test_a_log_cut_in_the_middle_of_a_line_loses_that_line_only(tmp_path: Path, cut: int) -> None:
    events = every_kind()
    write(tmp_path, events)
    path = tmp_path / LOG
    path.write_bytes(path.read_bytes()[:-cut])
    log = read_session(tmp_path)
    found = [e for _, e in log.events]
    assert len(found) == len(events) - 1
    assert all(same(a, b) for a, b in zip(found, events, strict=False))
    assert len(log.problems) == 1
    assert "middle of line 13" in log.problems[0]


def test_raw_data_that_is_missing_is_said_and_left_out(tmp_path: Path) -> None:
    events = every_kind()
    write(tmp_path, events)
    for name, cut in ((EEG, 4), (VOLUMES, 1)):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:-cut])
    log = read_session(tmp_path)
    kept = [n for n, _ in log.events]
    assert kept == [n for n in range(len(events)) if n not in {7, 10}]
    assert log.problems == ["2 events, the first of them 7, lack their raw data and are left out"]


def test_a_damaged_line_and_lost_numbers_are_said(tmp_path: Path) -> None:
    writer = RunLogWriter(tmp_path, HEAD)
    tick = Tick(SessionTime(1.0), 0.0, SessionTime(1.0))
    for number in (0, 1, 4, 5):
        writer.append(number, tick)
    writer.close()
    path = tmp_path / LOG
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = b'{"n":1,"kind":"unheard of"}\n'
    path.write_bytes(b"".join(lines))
    log = read_session(tmp_path)
    assert [n for n, _ in log.events] == [0, 4, 5]
    assert "line 2 cannot be read" in log.problems[0]
    assert "event 4, expected 1" in log.problems[1]
    assert len(log.problems) == 2


def test_an_event_that_cannot_be_stored_leaves_no_trace(tmp_path: Path) -> None:
    writer = RunLogWriter(tmp_path, HEAD)
    writer.append(0, chunk(0, 5))
    narrow = EegChunk("EEG", np.zeros((5, 2), np.float32), np.zeros(5), np.zeros(5), 5, SessionTime(0.0))
    with pytest.raises(FormatError, match="expected 3 channels"):
        writer.append(1, narrow)
    short_stamps = EegChunk("EEG", np.zeros((5, 3), np.float32), np.zeros(4), np.zeros(5), 5, SessionTime(0.0))
    with pytest.raises(ValueError):
        writer.append(1, short_stamps)
    writer.append(1, chunk(5, 6, seed=2))
    writer.close()
    log = read_session(tmp_path)
    assert [same(e, s) for (_, e), s in zip(log.events, [chunk(0, 5), chunk(5, 6, seed=2)], strict=True)] == [True] * 2
    assert log.problems == []


def test_a_session_is_never_overwritten(tmp_path: Path) -> None:
    write(tmp_path, every_kind())
    before = (tmp_path / LOG).read_bytes()
    with pytest.raises(UsageError, match="holds a session already"):
        RunLogWriter(tmp_path, HEAD)
    assert (tmp_path / LOG).read_bytes() == before


def test_what_is_no_session_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no session log"):
        read_session(tmp_path)
    (tmp_path / HEADER).write_text("[]")
    with pytest.raises(FormatError, match="not the header"):
        read_session(tmp_path)
    (tmp_path / HEADER).write_text('{"schema": 99}')
    with pytest.raises(FormatError, match="schema 99"):
        read_session(tmp_path)


def test_the_span_of_a_log_is_told_from_its_ends_also_of_one_that_was_cut(tmp_path: Path) -> None:
    events: list[Event] = [
        Tick(at=SessionTime(t), lag=0.0, received=SessionTime(t)) for t in np.arange(5.0, 905.0, 0.5).tolist()
    ]
    write(tmp_path / "log", events)
    log = tmp_path / "log" / LOG
    assert log.stat().st_size > 65536
    assert read_span(tmp_path / "log") == (5.0, 904.5)
    log.write_bytes(log.read_bytes()[:-7])
    assert read_span(tmp_path / "log") == (5.0, 904.0)
    log.write_bytes(b"")
    assert read_span(tmp_path / "log") == (0.0, 0.0)


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_log_cut_at_any_byte_is_read_as_far_as_it_goes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("cut")
    events = every_kind()
    write(directory, events)
    name = data.draw(st.sampled_from([LOG, EEG, STAMPS, VOLUMES]))
    path = directory / name
    whole = path.read_bytes()
    kept = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:kept])
    log = read_session(directory)
    found = dict(log.events)
    # what comes back is what was recorded
    assert all(same(event, events[number]) for number, event in found.items())
    missing = set(range(len(events))) - set(found)
    if name == LOG:
        n_lines = whole[:kept].count(b"\n")
        assert sorted(found) == list(range(n_lines))
        # a cut between two lines cannot be seen
        assert bool(log.problems) == (not whole[:kept].endswith(b"\n") and kept > 0)
    else:
        kind = Volume if name == VOLUMES else EegChunk
        assert all(isinstance(events[number], kind) for number in missing)
        assert bool(missing) == bool(log.problems)
        assert bool(missing) or kept == len(whole)
    read_span(directory)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_damaged_byte_in_the_log_never_ends_the_reading(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("damaged")
    events = every_kind()
    write(directory, events)
    path = directory / LOG
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content))
    log = read_session(directory)
    line = bytes(path.read_bytes()[:at]).count(b"\n")
    # one byte can spoil its line, and the next one when it was the end of the line
    intact = [n for n in range(len(events)) if n not in {line, line + 1}]
    found = dict(log.events)
    assert all(n in found and same(found[n], events[n]) for n in intact)
