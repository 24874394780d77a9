"""EEG and markers over real LSL, on loopback."""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

import numpy as np
import pytest
from pylsl import StreamInfo, StreamOutlet, cf_float32, cf_string, local_clock

from streamer.acquire.lsl import LslMarkerSource, MarkerStreamSettings
from streamer.clock import LiveClock
from streamer.errors import SourceError, StreamNotFound, StreamRefused
from streamer.messages import ClockOffset, EegChunk, Marker, SourceState
from tests.system.lsl_streams import SFREQ, eeg_outlet, eventually, n_samples, push, samples, source_for, take

pytestmark = pytest.mark.system


async def test_every_sample_comes_once_in_order_and_in_volts():
    name = uuid4().hex
    outlet = eeg_outlet(name)
    source = source_for(name)
    description = await source.open(wait=False)
    try:
        assert description.sfreq == SFREQ
        assert [(c.name, c.kind, c.unit) for c in description.channels] == [
            ("E0", "eeg", "V"),
            ("E1", "eeg", "V"),
            ("E2", "ecg", "V"),
        ]
        push(outlet, 0, 3000)
        events = await take(source, lambda events: n_samples(events) >= 3000)
    finally:
        await source.close()
    assert isinstance(events[0], SourceState)
    assert events[0].state == "found"
    assert isinstance(events[1], ClockOffset)
    chunks = [event for event in events if isinstance(event, EegChunk)]
    data = np.concatenate([chunk.data for chunk in chunks])
    np.testing.assert_array_equal(data, (samples(0, 3000).astype(np.float64) * 1e-6).astype(np.float32))
    ends = np.cumsum([0, *(len(chunk.data) for chunk in chunks)])
    assert [chunk.first_sample for chunk in chunks] == list(ends[:-1])
    assert max(len(chunk.data) for chunk in chunks) <= 100
    raw, at = (np.concatenate([getattr(chunk, key) for chunk in chunks]) for key in ("times_raw", "times"))
    assert np.ptp(at - raw) < 1e-3
    assert abs((at - raw).mean() - events[1].offset) < 1e-3
    np.testing.assert_allclose(np.diff(raw), 1 / SFREQ, atol=1e-3)
    assert source.losses() == {"eeg_samples": 0}


async def test_samples_sent_between_opening_and_reading_are_kept():
    name = uuid4().hex
    outlet = eeg_outlet(name)
    source = source_for(name)
    await source.open(wait=False)
    try:
        push(outlet, 0, 200)
        await asyncio.sleep(0.5)
        push(outlet, 200, 400)
        events = await take(source, lambda events: n_samples(events) >= 400)
    finally:
        await source.close()
    data = np.concatenate([event.data for event in events if isinstance(event, EegChunk)])
    np.testing.assert_allclose(data[:, 0] * 1e6, np.arange(400), rtol=1e-6)


async def test_what_the_loop_does_not_fetch_is_dropped_and_counted():
    name = uuid4().hex
    outlet = eeg_outlet(name)
    source = source_for(name)
    await source.open(wait=False)
    try:
        push(outlet, 0, 6000)
        await eventually(lambda: source.losses()["eeg_samples"] >= 1000)
        events = await take(source, lambda events: n_samples(events) >= 6000 - source.losses()["eeg_samples"])
    finally:
        await source.close()
    lost = source.losses()["eeg_samples"]
    chunks = [event for event in events if isinstance(event, EegChunk)]
    assert chunks[0].first_sample == lost
    assert chunks[-1].first_sample + len(chunks[-1].data) == 6000
    assert lost + n_samples(events) == 6000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"units": ("", "", "")}, r"unit of E0 \(none\), E1 \(none\), E2 \(none\)"),
        ({"units": ("uV", "furlong", "uV")}, r"unit of E1 \('furlong'\)"),
        ({"sfreq": 0.0}, "regular rate"),
        ({"fmt": cf_string}, "expected numbers"),
        ({"kinds": ("ECG", "MISC", "ECG")}, "at least one of type EEG"),
    ],
)
async def test_a_stream_that_cannot_be_trusted_is_refused(arguments, message):
    name = uuid4().hex
    outlet = eeg_outlet(name, **arguments)
    source = source_for(name)
    with pytest.raises(StreamRefused, match=message):
        await source.open(wait=False)
    await source.close()
    del outlet


async def test_the_unit_of_the_settings_takes_the_place_of_a_missing_one():
    name = uuid4().hex
    outlet = eeg_outlet(name, units=("", "", ""))
    source = source_for(name, unit="mV")
    await source.open(wait=False)
    try:
        outlet.push_chunk(np.full((10, 3), 0.5, np.float32))
        events = await take(source, lambda events: n_samples(events) >= 10)
    finally:
        await source.close()
    np.testing.assert_allclose(events[-1].data, 5e-4)


async def test_a_channel_without_a_voltage_keeps_its_own_unit():
    name = uuid4().hex
    outlet = eeg_outlet(name, units=("uV", "V", "percent"), kinds=("EEG", "EEG", "MISC"))
    source = source_for(name)
    description = await source.open(wait=False)
    try:
        outlet.push_chunk(np.full((4, 3), 2.0, np.float32))
        events = await take(source, lambda events: n_samples(events) >= 4)
    finally:
        await source.close()
    assert [channel.unit for channel in description.channels] == ["V", "V", "percent"]
    np.testing.assert_allclose(events[-1].data[0], [2e-6, 2.0, 2.0])


@pytest.mark.parametrize(("unit", "size", "message"), [("uV", 20e-6, "in V already"), ("V", 20.0, "probably in µV")])
async def test_an_amplitude_that_no_eeg_has_is_refused(unit, size, message):
    name = uuid4().hex
    outlet = eeg_outlet(name, units=(unit,) * 3)
    source = source_for(name)
    await source.open(wait=False)
    try:
        noise = np.random.default_rng(0).normal(0, size, (600, 3)).astype(np.float32)
        outlet.push_chunk(noise)
        with pytest.raises(StreamRefused, match=message):
            await take(source, lambda events: n_samples(events) >= 600)
    finally:
        await source.close()


async def test_two_streams_that_fit_are_listed_and_refused():
    name = uuid4().hex
    outlets = [eeg_outlet(name), eeg_outlet(name, sfreq=250.0)]
    source = source_for(name)
    with pytest.raises(StreamRefused, match=r"2 streams fit.*500 Hz.*250 Hz|2 streams fit.*250 Hz.*500 Hz"):
        await source.open(wait=False)
    await source.close()
    del outlets


async def test_an_absent_stream_is_told_with_those_that_are_there():
    other = uuid4().hex
    outlet = eeg_outlet(other)
    source = source_for(uuid4().hex)
    with pytest.raises(StreamNotFound, match=f"'{other}' \\(type 'EEG', 3 channels, 500 Hz\\)"):
        await source.open(wait=False)
    await source.close()
    del outlet


async def test_waiting_says_what_is_there_once_and_goes_on_until_the_stream_comes():
    name, other = uuid4().hex, uuid4().hex
    messages = []
    source = source_for(name)
    opening = asyncio.create_task(source.open(wait=True, on_wait=messages.append))
    await eventually(lambda: bool(messages))
    bystander = eeg_outlet(other)
    await eventually(lambda: any(other in message for message in messages))
    outlet = eeg_outlet(name)
    async with asyncio.timeout(10):
        description = await opening
    await source.close()
    assert description.name == name
    assert len(messages) == len(set(messages))
    del bystander, outlet


async def test_waiting_can_be_cancelled():
    source = source_for(uuid4().hex)
    told = asyncio.Event()
    opening = asyncio.create_task(source.open(wait=True, on_wait=lambda _: told.set()))
    async with asyncio.timeout(10):
        await told.wait()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await source.close()


@pytest.mark.parametrize("identified", [True, False])
async def test_a_silent_stream_is_lost_and_its_restarted_sender_is_taken_back(identified):
    # a sender with an identity is recovered by liblsl, one without has to be found again
    name = uuid4().hex
    source_id = uuid4().hex if identified else ""
    outlet = eeg_outlet(name, source_id=source_id)
    source = source_for(name, silence_s=0.5)
    await source.open(wait=False)
    try:
        push(outlet, 0, 300)
        events = await take(source, lambda events: n_samples(events) >= 300)
        del outlet
        states = await take(source, lambda events: isinstance(events[-1], SourceState))
        assert states[-1].state == "lost"
        outlet = eeg_outlet(name, source_id=source_id)

        async def send():
            start = 300
            while True:
                push(outlet, start, start + 50)
                start += 50
                await asyncio.sleep(0.1)

        sending = asyncio.create_task(send())
        events += await take(source, lambda events: n_samples(events) >= 200, seconds=20)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    finally:
        await source.close()
    assert [event.state for event in events if isinstance(event, SourceState)] == ["found", "back"]
    chunks = [event for event in events if isinstance(event, EegChunk)]
    first = [chunk.first_sample for chunk in chunks]
    assert first == list(np.cumsum([0, *(len(chunk.data) for chunk in chunks)])[:-1])


async def test_a_lost_stream_ends_the_session_when_it_is_not_to_be_waited_for():
    name = uuid4().hex
    outlet = eeg_outlet(name)
    source = source_for(name, recover=False)
    await source.open(wait=False)
    try:
        push(outlet, 0, 300)
        await take(source, lambda events: n_samples(events) >= 300)
        del outlet
        with pytest.raises(SourceError, match="stream 'eeg' was lost"):
            await take(source, lambda events: n_samples(events) >= 1, seconds=30)
    finally:
        await source.close()


async def test_markers_come_with_their_own_stamps_and_the_offset_once():
    name = uuid4().hex
    outlet = StreamOutlet(StreamInfo(name, "Markers", 1, 0.0, cf_string, uuid4().hex))
    source = LslMarkerSource(MarkerStreamSettings(name=name, resolve_s=0.6), LiveClock())
    await source.open(wait=False)
    stamps = local_clock() + np.arange(50) * 0.01
    try:
        for number, stamp in enumerate(stamps):
            outlet.push_sample([f"R{number}é"], stamp)
        events = await take(source, lambda events: sum(isinstance(e, Marker) for e in events) >= 50)
    finally:
        await source.close()
    markers = [event for event in events if isinstance(event, Marker)]
    assert [marker.label for marker in markers] == [f"R{number}é" for number in range(50)]
    np.testing.assert_allclose([marker.at_raw for marker in markers], stamps, atol=1e-9)
    (offset, *_) = [event.offset for event in events if isinstance(event, ClockOffset)]
    np.testing.assert_allclose([marker.at - marker.at_raw for marker in markers], offset, atol=1e-3)
    assert all(marker.sample is None for marker in markers)


async def test_a_marker_stream_of_numbers_is_refused():
    name = uuid4().hex
    outlet = StreamOutlet(StreamInfo(name, "Markers", 1, 0.0, cf_float32, uuid4().hex))
    source = LslMarkerSource(MarkerStreamSettings(name=name, resolve_s=0.6), LiveClock())
    with pytest.raises(StreamRefused, match="holding numbers: expected one string"):
        await source.open(wait=False)
    await source.close()
    del outlet


async def test_closing_is_quick_and_may_be_done_twice():
    name = uuid4().hex
    outlet = eeg_outlet(name)
    source = source_for(name)
    await source.open(wait=False)
    started = time.perf_counter()
    await source.close()
    await source.close()
    assert time.perf_counter() - started < 2.0
    assert [event.state for event in [e async for e in source] if isinstance(event, SourceState)] == ["found"]
    del outlet
