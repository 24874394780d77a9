"""EEG and markers over real TCP from the rig's BrainVision Recorder, on loopback: what comes, and what is lost."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import numpy as np
import pytest

from streamer.align.eeg_time import EegTimeline, EegTimelineSettings
from streamer.align.triggers import TriggerSettings, TriggerTrain
from streamer.clock import LiveClock
from streamer.messages import ClockOffset, EegChunk, Flag, Marker, SourceState
from streamer.rig.rda_server import RdaServer
from tests.system.rda_room import BLOCK, KINDS, SFREQ, Numbered, RdaServerOf, Room, eventually, markers, number, play

pytestmark = pytest.mark.system


@pytest.mark.parametrize(("bits", "error_uv"), [(32, 2e-3), (16, 0.51)])
async def test_every_sample_comes_once_in_order_and_in_volts_with_its_markers_in_place(bits, error_uv):
    eeg = Numbered(
        n_samples=3010, markers=(*markers(7, 1234, 1999), *markers(1500, label="Sync On", kind="SyncStatus"))
    )
    server = RdaServer(eeg, port=0, bits=bits, resolution_uv=1.0 if bits == 16 else 0.1)
    async with Room(eeg, server=server) as room:
        d = room.description
        assert (d.sfreq, d.triggers, d.counter) == (SFREQ, "RDA", "RDA")
        assert [(c.name, c.kind, c.unit) for c in d.channels] == [(name, kind, "V") for name, kind in KINDS.items()]
        for start in range(0, 3010, 33):
            server.send(start, min(start + 33, 3010))
        await room.samples(3009)
    assert [type(event) for event in room.events[:3]] == [SourceState, ClockOffset, Marker]
    data = np.concatenate([chunk.data for chunk in room.chunks])
    np.testing.assert_allclose(data, eeg.read(0, 3010), atol=error_uv * 1e-6)
    assert [(c.first_sample, len(c.data)) for c in room.chunks[:2]] == [(0, BLOCK), (BLOCK, BLOCK)]
    assert room.chunks[-1].first_sample + len(room.chunks[-1].data) == 3010
    raw = np.concatenate([chunk.times_raw for chunk in room.chunks])
    np.testing.assert_array_equal(raw, np.arange(3010) / SFREQ)
    assert room.marked == [("R128", 7), ("R128", 1234), ("Sync On", 1500), ("R128", 1999)]
    for event, after in pairwise(room.events):
        if isinstance(event, Marker):
            assert event.at_raw == event.sample / SFREQ
            assert isinstance(after, EegChunk)
            assert event.at == after.times[event.sample - after.first_sample]
    assert not any(chunk.flags for chunk in room.chunks)
    assert room.source.losses() == {"eeg_samples": 0}


async def test_times_lie_on_the_arrivals_of_a_paced_stream():
    async with Room(delay_s=0.25) as room:
        playing = asyncio.create_task(play(room.server, 2000))
        await room.samples(1999)
        t0 = await playing
    times = np.concatenate([chunk.times for chunk in room.chunks])
    # the machine may be busy: what the tests of ArrivalClock measure is not measured again here
    np.testing.assert_allclose(times[1000:] + 0.25, t0 + np.arange(1000, 2000) / SFREQ, atol=0.02)
    assert all(chunk.times[-1] < chunk.received for chunk in room.chunks)


async def test_lost_blocks_leave_a_gap_of_exactly_their_samples_and_markers_stay_in_place():
    eeg = Numbered(markers=markers(500, 650, 1900))
    async with Room(eeg) as room:
        room.server.drop(10, 11, 33)
        for start in range(0, 1200, 100):
            room.server.send(start, start + 100)
        # the player lost samples of its own: the blocks that held them are lost whole
        for start in range(1350, 2000, 50):
            room.server.send(start, start + 50)
        await room.samples(1999)
    place = np.concatenate([c.first_sample + np.arange(len(c.data)) for c in room.chunks])
    np.testing.assert_array_equal(place, np.concatenate([number(c) for c in room.chunks]))
    lost = set(range(2000)) - set(place.tolist())
    assert lost == {*range(180, 220), *range(640, 660), *range(1200, 1360)}
    assert [c.first_sample for c in room.chunks if c.flags == Flag.GAP] == [220, 660, 1360]
    assert room.marked == [("R128", 500), ("R128", 1900)]


async def test_the_timeline_keeps_the_exact_sample_of_every_trigger_over_lost_blocks():
    eeg = Numbered(n_samples=2000, markers=markers(*range(70, 2000, 250)))
    timeline = EegTimeline(EegTimelineSettings(), SFREQ)
    train = TriggerTrain(TriggerSettings(), SFREQ, timeline.samples)
    resolved = []
    async with Room(eeg) as room:
        room.server.drop(30, 60, 61, 62)
        playing = asyncio.create_task(play(room.server, 2000))
        await room.samples(1999)
        await playing
    for event in room.events:
        if isinstance(event, EegChunk):
            for chunk in timeline(event):
                assert list(number(chunk)) == list(range(chunk.first_sample, chunk.first_sample + len(chunk.data)))
                resolved += train.chunk(chunk)
        elif isinstance(event, Marker):
            resolved += train.marker(event)
    assert [m.sample for m in resolved] == list(range(70, 2000, 250))
    assert timeline.lost_samples == 80
    assert timeline.gaps == 2
    assert timeline.clock_steps == 0


async def test_a_stop_and_a_new_start_are_a_gap_as_long_as_the_pause():
    clock = LiveClock()
    async with Room(silence_s=5.0) as room:
        room.server.send(0, 400)
        await room.samples(399)
        began = clock.now()
        room.server.stop_monitoring()
        assert "stopped in Recorder" in await room.state("lost")
        room.server.send(400, 500)
        await asyncio.sleep(0.5)
        room.server.start_monitoring()
        room.server.send(500, 900)
        await room.samples(899)
        passed = clock.now() - began
    assert room.states == ["found", "lost", "back"]
    after = room.chunks[20:]
    assert (number(after[0])[0], after[0].flags) == (500, Flag.GAP | Flag.CLOCK_STEP)
    # its samples were taken before the first block was there
    assert 0.5 * SFREQ - BLOCK <= after[0].first_sample - 400 <= passed * SFREQ
    assert [c.first_sample - after[0].first_sample for c in after] == list(range(0, 400, BLOCK))
    assert after[0].times_raw[0] == after[0].first_sample / SFREQ
    place = next(i for i, event in enumerate(room.events) if event is after[0])
    assert isinstance(room.events[place - 1], ClockOffset)


async def test_a_silent_stream_is_lost_and_comes_back_with_an_exact_count():
    async with Room() as room:
        room.server.send(0, 100)
        await room.samples(99)
        assert await room.state("lost") == "no data for 0.4 s"
        room.server.drop(*range(6, 31))
        room.server.send(100, 640)
        await room.samples(639)
    assert room.states == ["found", "lost", "back"]
    assert room.chunks[5].first_sample == 600
    assert room.chunks[5].flags == Flag.GAP


async def test_what_the_loop_does_not_fetch_is_dropped_and_counted():
    async with Room() as room:
        for start in range(0, 15_000, 1000):
            room.server.send(start, start + 1000)
        await eventually(lambda: room.source.losses()["eeg_samples"] >= 5000)
        await room.samples(14_999)
    assert room.source.losses() == {"eeg_samples": 5000}
    assert room.chunks[0].first_sample == number(room.chunks[0])[0] == 5000


async def test_several_clients_hear_the_same_and_markers_of_the_player_go_into_their_block():
    eeg = Numbered(markers=markers(70))
    with RdaServerOf(eeg, lookup=False) as server:
        assert server.listeners() == (False, False)
        a, b = Room(eeg, server=server), Room(eeg, server=server)
        async with a, b:
            server.begin(0.0)
            server.mark("R128", 0.07)
            server.mark("S  1", 0.1011)
            server.send(0, 120)
            server.mark("R128", 0.05)
            server.send(120, 200)
            for room in (a, b):
                await room.samples(199)
                assert room.marked == [("R128", 70), ("S  1", 101)]
            assert server.listeners() == (True, True)
        assert server.late_markers == 1


async def test_the_parts_own_markers_are_not_sent_twice_when_the_player_tells_them():
    eeg = Numbered(markers=markers(70))
    async with Room(eeg) as room:
        room.server.mark("R128", 0.07)
        room.server.send(0, 100)
        room.server.mark("R128", 0.07)
        room.server.send(100, 200)
        await room.samples(199)
    assert room.marked == [("R128", 70)]
    assert room.server.late_markers == 0
