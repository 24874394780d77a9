"""The connection to BrainVision Recorder over real TCP, on loopback: made, refused, lost and made again."""

from __future__ import annotations

import asyncio
import struct

import pytest

from streamer.acquire.rda import RdaSettings, RdaSource
from streamer.clock import LiveClock
from streamer.errors import SourceError, StreamNotFound, StreamRefused
from streamer.formats.rda import GUID, RdaStart, encode
from streamer.messages import Flag
from streamer.rig.rda_server import RdaServer
from tests.system.rda_room import BLOCK, Numbered, RdaServerOf, Room, answering, eventually, free_port

pytestmark = pytest.mark.system


async def test_a_connection_that_is_cut_is_made_again():
    async with Room(silence_s=5.0) as room:
        room.server.send(0, 100)
        await room.samples(99)
        room.server.cut()
        assert await room.state("lost")
        await eventually(room.server.heard)
        room.server.send(100, 200)
        await room.samples(199)
    assert room.states == ["found", "lost", "back"]
    place = [c.first_sample for c in room.chunks]
    assert place == list(range(0, 200, BLOCK))


async def test_a_silence_that_lasts_makes_the_connection_anew():
    async with Room(silence_s=0.2, reconnect_s=0.5) as room:
        room.server.send(0, 100)
        await room.samples(99)
        await room.state("lost")
        (first,) = room.server._clients
        await eventually(lambda: room.server._clients - {first})
        room.server.send(100, 200)
        await room.samples(199)


async def test_a_recorder_that_was_started_anew_with_other_channels_is_refused():
    async with Room() as room:
        room.server.send(0, 100)
        await room.samples(99)
        port = room.server.port
        await asyncio.to_thread(room.server.close)
        room.server = RdaServer(Numbered(names=("Fz", "Pz", "ECG")), port=port)
        with pytest.raises(StreamRefused, match=r"3 channels at 1000 Hz \(not in both: Cz, EOG1, Pz\), expected 4"):
            await room.take(lambda _: False)


async def test_a_recorder_that_was_started_anew_as_it_was_is_taken_back():
    async with Room() as room:
        room.server.send(0, 100)
        await room.samples(99)
        port = room.server.port
        await asyncio.to_thread(room.server.close)
        await room.state("lost")
        await asyncio.sleep(0.3)
        room.server = RdaServer(room.eeg, port=port)
        await eventually(room.server.heard)
        room.server.send(500, 700)
        await room.samples(699)
    assert room.states == ["found", "lost", "back"]
    again = room.chunks[5]
    assert again.flags == Flag.GAP | Flag.CLOCK_STEP
    assert again.first_sample > 300


async def test_a_lost_connection_ends_the_session_when_it_is_not_to_be_waited_for():
    async with Room(recover=False) as room:
        room.server.send(0, 100)
        await room.samples(99)
        room.server.cut()
        with pytest.raises(SourceError, match=r"Recorder at 127\.0\.0\.1:\d+ was lost: "):
            await room.take(lambda _: False)


async def test_damage_makes_the_connection_anew():
    async with Room() as room:
        room.server.send(0, 100)
        await room.samples(99)
        server = room.server
        (damaged,) = server._clients
        server._loop.call_soon_threadsafe(damaged.write, b"damage")
        assert "64616d616765" in await room.state("lost")
        await eventually(lambda: server._clients - {damaged})
        server.send(100, 200)
        await room.samples(199)


@pytest.mark.parametrize(("size_uv", "message"), [(1e6, "probably in µV"), (1e-7, "in V already")])
async def test_an_amplitude_that_no_eeg_has_is_refused(size_uv, message):
    async with Room(Numbered(size_uv=size_uv)) as room:
        room.server.send(0, 1100)
        with pytest.raises(StreamRefused, match=f"resolutions that it sends .*{message}; correct them in Recorder"):
            await room.take(lambda _: False)


@pytest.mark.parametrize(
    ("names", "message"),
    [(("Fz", "Fz"), "more than one channel is called Fz"), (("ECG", "EOG"), "expected at least one of type EEG")],
)
async def test_channels_that_cannot_be_used_are_refused(names, message):
    with RdaServerOf(Numbered(names=names)) as server:
        source = RdaSource(RdaSettings(port=server.port), LiveClock())
        with pytest.raises(StreamRefused, match=message):
            await source.open(wait=False)
        await source.close()


@pytest.mark.parametrize(
    ("raw", "error", "message"),
    [
        (b"", StreamNotFound, "sends nothing: start monitoring"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", StreamRefused, "is no BrainVision Recorder: a message begins with"),
        (GUID + struct.pack("<II", 2**31, 1), StreamRefused, "message of 2147483648 bytes"),
        (encode(RdaStart(200.0, (0.5,), ("Cz",)))[:30], StreamNotFound, "sends nothing"),
    ],
)
async def test_who_does_not_answer_as_a_recorder_is_told_apart(raw, error, message):
    server, port = await answering(raw)
    source = RdaSource(RdaSettings(port=port, connect_s=0.2), LiveClock())
    with pytest.raises(error, match=message):
        await source.open(wait=False)
    await source.close()
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0.05)


async def test_nobody_there_is_told_and_waiting_goes_on_until_somebody_monitors():
    port = free_port()
    told = []
    source = RdaSource(RdaSettings(port=port, connect_s=0.2), LiveClock())
    with pytest.raises(StreamNotFound, match=f"no BrainVision Recorder at 127.0.0.1:{port} "):
        await source.open(wait=False)
    opening = asyncio.create_task(source.open(wait=True, on_wait=told.append))
    await eventually(lambda: told)
    server = RdaServer(Numbered(), port=port)
    server.stop_monitoring()
    await eventually(lambda: len(told) > 1)
    server.start_monitoring()
    async with asyncio.timeout(5):
        description = await opening
    await source.close()
    server.close()
    assert description.name == f"BrainVision Recorder at 127.0.0.1:{port}"
    assert "no BrainVision Recorder" in told[0]
    assert "start monitoring or recording in it; waiting" in told[1]
    assert len(told) == 2


async def test_waiting_can_be_cancelled_and_closing_may_be_done_twice():
    source = RdaSource(RdaSettings(port=free_port()), LiveClock())
    told = asyncio.Event()
    opening = asyncio.create_task(source.open(wait=True, on_wait=lambda _: told.set()))
    async with asyncio.timeout(5):
        await told.wait()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await source.close()
    await source.close()


def test_a_port_that_is_taken_is_told():
    with (
        RdaServerOf(Numbered()) as server,
        pytest.raises(SourceError, match=f"cannot listen at 127.0.0.1:{server.port}"),
    ):
        RdaServer(Numbered(), port=server.port)
