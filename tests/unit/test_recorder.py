from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from threading import Event as Gate

import numpy as np
import pytest
import pyxdf

from streamer.clock import stopwatch
from streamer.emit.recorder import Recorder, write_xdf
from streamer.errors import RecordingError, UsageError
from streamer.messages import (
    ChannelInfo,
    ClockOffset,
    Command,
    EegChunk,
    Marker,
    SessionHeader,
    SessionTime,
    Tick,
    Volume,
)
from streamer.runlog import EEG, LOG
from streamer.runlog_read import read_session

HEAD = SessionHeader(
    session="s1",
    config={},
    config_sha256="",
    card_sha256="",
    versions={},
    processor="",
    eeg_sfreq=5000.0,
    channels=(ChannelInfo("Fp1", "eeg"), ChannelInfo("ECG", "ecg")),
    regions=(),
)
SHIFT = 1234.5


def chunk(first: int, n: int = 25) -> EegChunk:
    index = first + np.arange(n)
    data = np.stack([index, -index], axis=1).astype(np.float32) * np.float32(1e-6)
    raw = 10.0 + index / 5000
    return EegChunk("Amp", data, raw, raw + SHIFT, first, SessionTime(float(raw[-1]) + SHIFT))


def tick(at: float) -> Tick:
    return Tick(SessionTime(at), 0.0, SessionTime(at))


def volume(index: int) -> Volume:
    data = np.full((32, 32, 20), index, np.int16)
    return Volume(data, np.eye(4), "s", index, None, 2.0, (), SessionTime(0.0))


@contextmanager
def files_no_larger_than(n_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_xdf_has_the_raw_stamps_and_every_sample(tmp_path: Path) -> None:
    chunks = [chunk(first) for first in range(0, 10_000, 25)]
    recorder = Recorder(tmp_path / "s", HEAD)
    number = 0
    for k, item in enumerate(chunks):
        if k % 40 == 0:
            at = float(item.times[0])
            recorder.record(number, ClockOffset("Amp", SHIFT, SessionTime(at)))
            recorder.record(number + 1, ClockOffset("Trig", 7.0, SessionTime(at)))
            recorder.record(number + 2, Marker("R128", SessionTime(at), at - 7.0, k * 25, SessionTime(at)))
            number += 3
        recorder.record(number, item)
        number += 1
    recorder.record(number, Command("annotate", "eyes open", SessionTime(1300.0)))
    for k in range(3):
        at = SessionTime(1250.25 + 2 * k)
        recorder.record(number + 1 + k, replace(volume(k), received=at))
    recorder.close()
    recorder.close()
    assert recorder.losses() == {}
    assert recorder.failed is None

    path = str(tmp_path / "s" / "recording.xdf")
    raw, _ = pyxdf.load_xdf(path, synchronize_clocks=False, dejitter_timestamps=False)
    by_name = {s["info"]["name"][0]: s for s in raw}
    assert set(by_name) == {"Amp", "Markers", "Commands", "Volumes"}
    np.testing.assert_array_equal(by_name["Amp"]["time_series"], np.concatenate([c.data for c in chunks]))
    np.testing.assert_array_equal(by_name["Amp"]["time_stamps"], np.concatenate([c.times_raw for c in chunks]))
    listed = by_name["Amp"]["info"]["desc"][0]["channels"][0]["channel"]
    assert [(c["label"][0], c["unit"][0], c["type"][0]) for c in listed] == [
        ("Fp1", "volts", "EEG"),
        ("ECG", "volts", "ECG"),
    ]
    assert by_name["Markers"]["time_series"] == [["R128"]] * 10
    assert by_name["Commands"]["time_series"] == [["annotate: eyes open"]]
    assert by_name["Volumes"]["time_series"] == [["0"], ["1"], ["2"]]
    assert by_name["Volumes"]["time_stamps"].tolist() == [1250.25, 1252.25, 1254.25]
    assert {s["info"]["type"][0] for s in raw} == {"EEG", "Markers"}

    synced, _ = pyxdf.load_xdf(path, dejitter_timestamps=False)
    by_name = {s["info"]["name"][0]: s for s in synced}
    np.testing.assert_allclose(
        by_name["Amp"]["time_stamps"], np.concatenate([c.times for c in chunks]), atol=1e-6, rtol=0
    )
    np.testing.assert_allclose(by_name["Markers"]["time_stamps"], [c.times[0] for c in chunks[::40]], atol=1e-6, rtol=0)


def test_without_measurements_the_applied_offset_is_written(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, HEAD)
    for number, first in enumerate(range(0, 1000, 25)):
        recorder.record(number, chunk(first))
    recorder.record(40, Marker("R128", SessionTime(2000.0), 5.0, None, SessionTime(2000.0)))
    recorder.close()
    streams, _ = pyxdf.load_xdf(str(tmp_path / "recording.xdf"), dejitter_timestamps=False)
    eeg, markers = streams
    np.testing.assert_allclose(eeg["time_stamps"], 10.0 + np.arange(1000) / 5000 + SHIFT, atol=1e-6, rtol=0)
    np.testing.assert_allclose(markers["time_stamps"], [2000.0], atol=1e-6, rtol=0)


def test_a_full_queue_drops_and_counts_and_never_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk_answers, disk_asked = Gate(), Gate()
    real_fsync = os.fsync

    def hanging_fsync(fd: int) -> None:
        disk_asked.set()
        disk_answers.wait()
        real_fsync(fd)

    recorder = Recorder(tmp_path, HEAD, capacity=10)
    monkeypatch.setattr("streamer.runlog.os.fsync", hanging_fsync)
    recorder.record(0, tick(0.0))
    # the first sync is due within a second, and hangs
    assert disk_asked.wait(10.0)
    for number in range(1, 31):
        recorder.record(number, tick(float(number)) if number % 2 else chunk(0))
    assert recorder.depth == 10
    assert recorder.losses() == {"tick": 10, "eeg": 10}
    assert recorder.failed is not None
    assert "too slow" in recorder.failed
    disk_answers.set()
    recorder.close(xdf=False)
    log = read_session(tmp_path)
    assert [n for n, _ in log.events] == list(range(11))
    assert sum(recorder.losses().values()) == 20


def test_a_full_disk_loses_what_does_not_fit_and_goes_on_after(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, HEAD)
    fits = 32 * 32 * 20 * 2
    with files_no_larger_than(2 * fits + 1000):
        for number in range(4):
            recorder.record(number, volume(number))
        recorder.record(4, tick(4.0))
        while recorder.depth:
            os.sched_yield()
        # the tick is written after the last volume failed
        while (tmp_path / "runlog.jsonl").read_bytes().count(b"\n") < 3:
            os.sched_yield()
    recorder.record(5, volume(5))
    recorder.close(xdf=False)
    assert recorder.losses() == {"volume": 2}
    assert recorder.failed is not None
    assert recorder.failed.startswith("the disk refuses")
    log = read_session(tmp_path)
    events = dict(log.events)
    assert sorted(events) == [0, 1, 4, 5]
    for number in (0, 1, 5):
        np.testing.assert_array_equal(events[number].data, volume(number).data)  # type: ignore[union-attr]
    assert log.problems == ["runlog.jsonl line 3 is event 4, expected 2: events were lost"]


def test_a_broken_event_is_counted_and_the_rest_is_written(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, HEAD)
    narrow = EegChunk("Amp", np.zeros((5, 1), np.float32), np.zeros(5), np.zeros(5), 0, SessionTime(0.0))
    recorder.record(0, narrow)
    recorder.record(1, chunk(0))
    recorder.close(xdf=False)
    recorder.record(2, tick(1.0))
    assert recorder.losses() == {"eeg": 1, "tick": 1}
    assert [n for n, _ in read_session(tmp_path).events] == [1]


def test_an_existing_session_is_refused(tmp_path: Path) -> None:
    Recorder(tmp_path, HEAD).close()
    with pytest.raises(UsageError):
        Recorder(tmp_path, HEAD)
    with pytest.raises(RecordingError):
        write_xdf(tmp_path / "elsewhere")


def test_what_is_recorded_is_on_disk_before_it_is_closed_and_synced_every_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[float] = []
    real_fsync = os.fsync

    def counting_fsync(fd: int) -> None:
        real_fsync(fd)
        synced.append(stopwatch())

    recorder = Recorder(tmp_path, HEAD)
    monkeypatch.setattr("streamer.runlog.os.fsync", counting_fsync)
    began, number = stopwatch(), 0
    while stopwatch() - began < 2.6:
        recorder.record(number, chunk(25 * number))
        number += 1
        while recorder.depth:
            os.sched_yield()
    # the last one may just be on its way from the queue to the disk: nothing else waits in this process
    assert (tmp_path / EEG).stat().st_size >= (number - 1) * 25 * 2 * 4
    assert (tmp_path / LOG).read_bytes().count(b"\n") >= number - 1
    # four files each time, at most a second (and what a busy machine adds) apart
    rounds = synced[::4]
    assert len(rounds) in {2, 3}
    assert rounds[0] - began < 1.5
    assert all(b - a < 1.5 for a, b in pairwise(rounds))
    before_close = len(synced)
    recorder.close(xdf=False)
    assert len(synced) == before_close + 4
    assert recorder.losses() == {}
