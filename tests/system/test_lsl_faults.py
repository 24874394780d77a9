"""What an LSL sender may do wrong, and channels that number samples and volumes, over real LSL on loopback."""

from __future__ import annotations

from itertools import pairwise
from uuid import uuid4

import numpy as np
import pytest
from pylsl import local_clock

from streamer.align.eeg_time import EegTimeline, EegTimelineSettings
from streamer.errors import StreamRefused
from streamer.messages import ClockOffset, EegChunk, Marker, SourceState
from tests.system.lsl_streams import SFREQ, eeg_outlet, n_samples, push, received, samples, source_for, stamped, take

pytestmark = pytest.mark.system


async def test_stamps_that_jump_and_chunks_that_come_twice_are_passed_on_unchanged():
    name = uuid4().hex
    outlet = eeg_outlet(name)
    source = source_for(name, silence_s=30.0)
    await source.open(wait=False)
    n, t0 = 250, local_clock()
    steady = np.arange(n) / SFREQ
    # on time; 3 h ahead; 40 s back; the same chunk twice; all at one moment; backwards within the chunk
    sent = [t0 + steady, t0 + 10_800 + steady, t0 - 40 + steady, t0 + 1 + steady, t0 + 1 + steady]
    sent += [np.full(n, t0 + 2.0), t0 + 3 - steady]
    numbers = [0, 1, 2, 3, 3, 4, 5]
    try:
        for number, stamps in zip(numbers, sent, strict=True):
            stamped(outlet, number * n, (number + 1) * n, stamps)
        events, data, raw, times = await received(source, n * len(sent))
    finally:
        await source.close()
    np.testing.assert_array_equal(raw, np.concatenate(sent))
    expected = np.concatenate([samples(number * n, (number + 1) * n) for number in numbers])
    np.testing.assert_array_equal(data, (expected.astype(np.float64) * 1e-6).astype(np.float32))
    (offset, *_) = [event.offset for event in events if isinstance(event, ClockOffset)]
    np.testing.assert_allclose(times - raw, offset, atol=1e-3)
    chunks = [event for event in events if isinstance(event, EegChunk)]
    assert [c.first_sample for c in chunks] == list(np.cumsum([0, *(len(c.data) for c in chunks)])[:-1])


async def test_the_timeline_flags_what_the_source_passed_on():
    name = uuid4().hex
    outlet = eeg_outlet(name)
    source = source_for(name, silence_s=30.0)
    await source.open(wait=False)
    t0 = local_clock() - 12
    at = t0 + np.arange(4000) / SFREQ
    at[3000:] += 7200.0
    try:
        for start in (*range(0, 1000, 100), *range(900, 2000, 100), *range(2050, 4000, 50)):
            stop = min(start + 100, 4000) if start < 2000 else start + 50
            stamped(outlet, start, stop, at[start:stop])
        events, *_ = await received(source, 4050)
    finally:
        await source.close()
    timeline = EegTimeline(EegTimelineSettings(), SFREQ)
    out = [chunk for event in events if isinstance(event, EegChunk) for chunk in timeline(event)]
    assert (timeline.duplicates, timeline.gaps, timeline.clock_steps) == (100, 1, 1)
    assert timeline.lost_samples == 50
    number = np.concatenate([np.rint(chunk.data[:, 0] * 1e6).astype(int) for chunk in out])
    place = np.concatenate([chunk.first_sample + np.arange(len(chunk.data)) for chunk in out])
    np.testing.assert_array_equal(number, place)


async def test_a_sender_that_is_alive_and_silent_is_lost_and_back_when_it_sends_again():
    name = uuid4().hex
    outlet = eeg_outlet(name)
    source = source_for(name, silence_s=0.3)
    await source.open(wait=False)
    try:
        push(outlet, 0, 100)
        await take(source, lambda events: n_samples(events) >= 100)
        started = local_clock()
        events = await take(source, lambda events: isinstance(events[-1], SourceState))
        assert (events[-1].state, events[-1].detail) == ("lost", "no data for 0.3 s")
        assert local_clock() - started < 5.0
        assert outlet.have_consumers()
        push(outlet, 100, 200)
        events = await take(source, lambda events: n_samples(events) >= 100)
    finally:
        await source.close()
    # the offset is measured anew before the first sample: the sender's clock may be another
    assert [type(event) for event in events[:3]] == [ClockOffset, SourceState, EegChunk]
    assert events[1].state == "back"
    assert events[2].first_sample == 100


async def test_the_series_of_clock_offsets_goes_on_while_data_comes():
    name = uuid4().hex
    outlet = eeg_outlet(name)
    source = source_for(name, silence_s=30.0)
    await source.open(wait=False)
    try:
        push(outlet, 0, 100)
        events = await take(source, lambda events: sum(isinstance(e, ClockOffset) for e in events) >= 3)
    finally:
        await source.close()
    offsets = [event for event in events if isinstance(event, ClockOffset)]
    assert 1.5 < offsets[-1].received - offsets[-2].received < 4.0
    assert all(abs(event.offset) < 1e-3 for event in offsets)


async def test_a_trigger_channel_and_a_sample_counter_make_exact_markers_and_gaps():
    name = uuid4().hex
    outlet = eeg_outlet(name, units=("uV", "uV", "", ""), kinds=("EEG", "EEG", "TRIG", "COUNTER"))
    source = source_for(name, trigger_code=5)
    description = await source.open(wait=False)
    assert (description.triggers, description.counter) == ("E2", "E3")
    assert [(c.kind, c.unit) for c in description.channels[2:]] == [("trig", "n/a"), ("counter", "n/a")]
    n = 3000
    number = np.arange(n)
    pulse = np.where(number % 400 < 20, 5, np.where(number % 400 < 200, 0, 4))
    block = np.stack([number % 1000, number % 1000 + 20, pulse, (number + 200) % 256], axis=1).astype(np.float32)
    at = local_clock() + number / SFREQ
    lost = {*range(500, 510), *range(1201, 1600)}
    keep = np.array([i not in lost for i in number])
    rows = np.flatnonzero(keep)
    try:
        for some in np.array_split(rows, 40):
            outlet.push_chunk(block[some], at[some].tolist())
        events, _, raw, _ = await received(source, len(rows))
    finally:
        await source.close()
    chunks = [event for event in events if isinstance(event, EegChunk)]
    np.testing.assert_array_equal(raw, at[rows])
    np.testing.assert_array_equal(np.concatenate([c.first_sample + np.arange(len(c.data)) for c in chunks]), rows)
    np.testing.assert_array_equal(chunks[0].data[0, 2:], block[0, 2:])
    markers = [event for event in events if isinstance(event, Marker)]
    # the one of sample 1200 is there, that of 1600 came up while nothing was received
    assert [(m.label, m.sample) for m in markers] == [("R128", s) for s in (400, 800, 1200, 2000, 2400, 2800)]
    assert [m.at_raw for m in markers] == [at[m.sample] for m in markers]
    for event, after in pairwise(events):
        if isinstance(event, Marker) and isinstance(after, EegChunk):
            assert 0 <= event.sample - after.first_sample < len(after.data)


async def test_channels_are_taken_by_name_or_left_alone_as_the_settings_say():
    name = uuid4().hex
    outlet = eeg_outlet(name, units=("uV", "uV", "uV"), kinds=("EEG", "EEG", "EEG"))
    source = source_for(name, trigger_channel="E2", counter_channel="E1")
    description = await source.open(wait=False)
    await source.close()
    assert [(c.name, c.kind, c.unit) for c in description.channels] == [
        ("E0", "eeg", "V"),
        ("E1", "counter", "n/a"),
        ("E2", "trig", "n/a"),
    ]
    source = source_for(name, trigger_channel="Status")
    with pytest.raises(StreamRefused, match=r"eeg\.stream\.trigger_channel is 'Status', .* E0, E1, E2"):
        await source.open(wait=False)
    await source.close()
    del outlet
    other = eeg_outlet(uuid4().hex, units=("uV", "", ""), kinds=("EEG", "TTL", "Counter"))
    source = source_for(other.get_info().name(), trigger_channel="none", counter_channel="none")
    description = await source.open(wait=False)
    await source.close()
    assert (description.triggers, description.counter) == ("", "")
