from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from uuid import uuid4

import numpy as np
import pylsl
import pytest

from streamer.contracts import Sink
from streamer.emit.lsl_outlet import CLEAN_EEG, TRIGGERS, CleanEegOutlet, TriggerOutlet
from streamer.messages import ChannelInfo, CleanEeg, Flag, SessionTime, Trigger, Veto

pytestmark = pytest.mark.system

SFREQ = 250.0
CHANNELS = (ChannelInfo("Fp1", "eeg"), ChannelInfo("Oz", "eeg"), ChannelInfo("Cz", "eeg"))


def hop(first: int, n: int, origin: float) -> CleanEeg:
    """Samples that carry their own number: channel c of sample k is (k + c / 10) µV."""
    index = first + np.arange(n)
    data = ((index[:, None] + np.arange(3) / 10) * 1e-6).astype(np.float32)
    return CleanEeg(data, origin + index / SFREQ, first, 20 * (first + n))


def wait_until(holds: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_they_are_sinks() -> None:
    for sink in (TriggerOutlet(uuid4().hex), CleanEegOutlet(uuid4().hex, CHANNELS, SFREQ)):
        assert isinstance(sink, Sink)


async def test_a_trigger_arrives_whole_with_its_own_stamp() -> None:
    session = uuid4().hex
    outlet = TriggerOutlet(session)
    (info,) = pylsl.resolve_byprop("source_id", f"{session}-triggers", timeout=10)
    assert (info.name(), info.type(), info.nominal_srate()) == (TRIGGERS, "Markers", 0.0)
    inlet = pylsl.StreamInlet(info)
    inlet.open_stream(timeout=10)
    at = pylsl.local_clock() + 0.25
    sent = [
        Trigger(
            seq, 40 + seq, "reward", 0.75, SessionTime(at - 0.5), SessionTime(at + seq), SessionTime(at + 1), "p > 0.7",
            Flag.MOTION,
        )
        for seq in range(3)
    ]  # fmt: skip
    outlet.put(Veto(1, "motion", SessionTime(at)))
    for item in sent:
        outlet.put(item)
    for item in sent:
        sample, stamp = inlet.pull_sample(timeout=10)
        assert stamp == item.fire_at
        payload = json.loads(sample[0])
        assert payload["kind"] == "trigger"
        assert payload["id"] == f"{session}/{item.seq}"
        assert payload["level"] == 0.75
        assert payload["flags"] == ["MOTION"]
    assert inlet.pull_sample(timeout=0.0) == (None, None)
    inlet.close_stream()
    await outlet.close()
    await outlet.close()
    outlet.put(sent[0])
    assert outlet.losses() == {}


async def test_cleaned_eeg_arrives_in_microvolts_with_its_stamps() -> None:
    session = uuid4().hex
    outlet = CleanEegOutlet(session, CHANNELS, SFREQ)
    (info,) = pylsl.resolve_byprop("source_id", f"{session}-clean-eeg", timeout=10)
    assert (info.name(), info.type(), info.nominal_srate(), info.channel_count()) == (CLEAN_EEG, "EEG", SFREQ, 3)
    inlet = pylsl.StreamInlet(info)
    inlet.open_stream(timeout=10)
    origin = pylsl.local_clock()
    first = 0
    for n in [1, 2] * 50:
        outlet.put(hop(first, n, origin))
        first += n
    outlet.put(hop(first, 0, origin))
    data: list[list[float]] = []
    stamps: list[float] = []

    def all_there() -> bool:
        samples, times = inlet.pull_chunk(timeout=0.0)
        data.extend(samples)
        stamps.extend(times)
        return len(data) >= first

    wait_until(all_there)
    np.testing.assert_allclose(data, np.arange(first)[:, None] + np.arange(3) / 10, rtol=1e-6)
    np.testing.assert_allclose(stamps, origin + np.arange(first) / SFREQ, atol=1e-6, rtol=0)
    inlet.close_stream()
    await outlet.close()


async def test_mne_lsl_takes_it_with_names_units_and_values() -> None:
    # its C library reads the configuration once: imported after the tests' own is set
    from mne_lsl.stream import StreamLSL

    session = uuid4().hex
    outlet = CleanEegOutlet(session, CHANNELS, SFREQ)
    stream = StreamLSL(bufsize=10.0, source_id=f"{session}-clean-eeg")
    stream.connect(acquisition_delay=0.01, timeout=10)
    try:
        assert stream.ch_names == [c.name for c in CHANNELS]
        assert stream.get_channel_types() == ["eeg"] * 3
        micro = -6
        assert [str(int(m)) for _, m in stream.get_channel_units()] == [str(micro)] * 3
        assert stream.info["sfreq"] == SFREQ
        origin = pylsl.local_clock()
        first = 0
        # its first chunks may be lost while the connection settles: go on until a second of them is there
        end = time.monotonic() + 15
        while stream.n_new_samples < SFREQ:
            assert time.monotonic() < end, "MNE-LSL received nothing"
            outlet.put(hop(first, 2, origin))
            first += 2
            await asyncio.sleep(2 / SFREQ)
        data, stamps = stream.get_data(winsize=1.0)
    finally:
        stream.disconnect()
        await outlet.close()
    number = np.rint(data[0]).astype(int)
    np.testing.assert_array_equal(np.diff(number), 1)
    np.testing.assert_allclose(data, number + np.arange(3)[:, None] / 10, rtol=1e-6)
    np.testing.assert_allclose(stamps, origin + number / SFREQ, atol=1e-6, rtol=0)
