"""RDA messages in any chunking, block numbers to sample counts, and the sender's clock by arrivals."""

from __future__ import annotations

import struct
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.acquire.arrival_clock import ArrivalClock
from streamer.acquire.rda_count import BlockCount, Since
from streamer.errors import FormatError
from streamer.formats.rda import GUID, MAX_BYTES, RdaData, RdaDecoder, RdaMarker, RdaStart, RdaStop, encode
from streamer.messages import Flag

START = RdaStart(200.0, (0.5, 0.1, 10.0), ("Fz", "Öz", "ECG"))
R128 = RdaMarker(3, 1, -1, "Response", "R128")
SYNC = RdaMarker(4, 0, 2, "SyncStatus", "Sync On")


def block(number, n=5, dtype=np.float32, markers=()):
    return RdaData(number, np.arange(3 * n, dtype=dtype).reshape(n, 3) + number, tuple(markers))


SESSION = [START, block(1), block(2, dtype=np.int16, markers=(R128, SYNC)), block(4, 1), RdaStop(), START, block(1, 0)]


def same(got, expected):
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        assert type(a) is type(b)
        if isinstance(a, RdaData):
            assert (a.block, a.markers, a.samples.shape) == (b.block, b.markers, b.samples.shape)
            np.testing.assert_array_equal(a.samples, b.samples)
        else:
            assert a == b


def test_a_message_has_the_bytes_that_the_protocol_demands():
    raw = encode(RdaData(7, np.array([[1, -2]], np.int16), (RdaMarker(0, 1, -1, "Response", "R128"),)))
    assert raw == (
        bytes.fromhex("8E45584396C9864CAF4A98BBF6C91450")
        + struct.pack("<II", len(raw), 2)
        + struct.pack("<III", 7, 1, 1)
        + struct.pack("<hh", 1, -2)
        + struct.pack("<IIIi", 16 + 9 + 5, 0, 1, -1)
        + b"Response\0R128\0"
    )
    assert encode(RdaStart(200.0, (0.5,), ("Cz",))) == GUID + struct.pack("<IIIdd", 47, 1, 1, 200.0, 0.5) + b"Cz\0"
    assert encode(RdaStop()) == GUID + struct.pack("<II", 24, 3)


@settings(deadline=None)
@given(st.lists(st.integers(0, 700), max_size=12))
def test_messages_do_not_depend_on_how_the_bytes_were_cut(cuts):
    raw = b"".join(encode(message) for message in SESSION)
    edges = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
    decoder = RdaDecoder()
    got = [m for a, b in pairwise(edges) for m in decoder.feed(raw[a:b])]
    same(got, SESSION)


def test_a_message_is_given_as_soon_as_its_last_byte_is_there():
    decoder = RdaDecoder()
    raw = encode(START)
    assert [len(decoder.feed(raw[i : i + 1])) for i in range(len(raw))] == [0] * (len(raw) - 1) + [1]


def test_messages_of_other_types_are_skipped_and_counted():
    decoder = RdaDecoder()
    other = GUID + struct.pack("<II", 24 + 6, 10_000) + b"abcdef"
    same(decoder.feed(encode(START) + other + encode(block(1))), [START, block(1)])
    assert decoder.skipped == 1


def test_names_in_the_code_page_of_windows_are_read():
    raw = GUID + struct.pack("<IIIdd", 24 + 12 + 8 + 3, 1, 1, 200.0, 0.5) + "Öz".encode("cp1252") + b"\0"
    (start,) = RdaDecoder().feed(raw)
    assert isinstance(start, RdaStart)
    assert start.names == ("Öz",)
    assert start.sfreq == 5000.0


def start_bytes(n=1, interval=200.0, resolution=0.5, names=b"Cz\0"):
    body = struct.pack("<Idd", n, interval, resolution) + names
    return GUID + struct.pack("<II", 24 + len(body), 1) + body


def data_bytes(n_points=1, n_markers=0, rest=b"\0\0\x80\x3f"):
    body = struct.pack("<III", 1, n_points, n_markers) + rest
    return GUID + struct.pack("<II", 24 + len(body), 4) + body


def feed_all(decoder, *parts):
    return [message for part in parts for message in decoder.feed(part)]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"HTTP/1.1 200 OK\r\n", "begins with 485454502f312e31.* expected 8e455843"),
        (b"\x8e\x00", "begins with 8e00"),
        (GUID + struct.pack("<II", 23, 4), "message of 23 bytes, expected 24 to"),
        (GUID + struct.pack("<II", MAX_BYTES + 1, 4), f"message of {MAX_BYTES + 1} bytes"),
        (start_bytes(n=0), "0 channels, expected 1 to"),
        (start_bytes(n=10**9), "1000000000 channels"),
        (start_bytes(interval=float("nan")), "sampling interval nan"),
        (start_bytes(interval=-1.0), "sampling interval -1.0"),
        (start_bytes(resolution=0.0), "resolution 0.0 µV of channel 1"),
        (start_bytes(names=b"Cz"), "0 channel names, expected 1"),
        (start_bytes(n=40), "ends too early"),
        (data_bytes(), "before any start message"),
        (start_bytes() + data_bytes(n_points=2), "type 4 and 40 bytes ends too early"),
        (start_bytes() + data_bytes(n_points=2**31), "ends too early"),
        (start_bytes() + data_bytes(n_markers=1), "ends too early"),
        (start_bytes() + data_bytes(n_markers=1, rest=struct.pack("<fIIIi", 1, 15, 0, 1, -1)), "marker of 15 bytes"),
        (start_bytes() + data_bytes(n_markers=1, rest=struct.pack("<fIIIi", 1, 900, 0, 1, -1)), "marker of 900 bytes"),
    ],
)
def test_what_is_no_rda_is_refused_with_what_was_given(raw, message):
    decoder = RdaDecoder()
    with pytest.raises(FormatError, match=message):
        feed_all(decoder, raw, b"")
    with pytest.raises(FormatError, match=message):
        decoder.feed(encode(START))


def test_what_came_before_the_damage_is_given():
    decoder = RdaDecoder()
    same(decoder.feed(encode(START) + encode(block(1)) + b"damage"), [START, block(1)])
    with pytest.raises(FormatError, match="64616d616765"):
        decoder.feed(b"")


def test_only_samples_of_the_two_formats_are_encoded():
    with pytest.raises(ValueError, match=r"float64: expected .* int16 or float32"):
        encode(RdaData(1, np.zeros((2, 3))))
    with pytest.raises(ValueError, match="1 resolutions for 2 channels"):
        encode(RdaStart(200.0, (0.5,), ("A", "B")))


def arrivals(n_blocks, rng, *, block_s=0.02, ppm=20.0, jitter_s=0.003, stalls=()):
    """True ends of blocks and when each was there: one connection, so that none overtakes another."""
    true = 100.0 + (np.arange(n_blocks) + 1) * block_s * (1 + ppm * 1e-6)
    at = true + rng.exponential(jitter_s, n_blocks)
    for start, stop in stalls:
        held = (true >= start) & (true < stop)
        at[held] = np.maximum(at[held], stop)
    return true, np.maximum.accumulate(at)


@pytest.mark.parametrize("ppm", [20.0, -20.0, 100.0])
@pytest.mark.parametrize("stalls", [(), ((110.0, 110.8), (131.0, 131.3), (150.0, 154.0))], ids=["jitter", "bursts"])
def test_times_by_arrivals_are_good_to_a_tenth_of_a_millisecond_after_30_s(ppm, stalls):
    sfreq, per = 5000.0, 100
    for seed in range(3):
        true, at = arrivals(4500, np.random.default_rng(seed), ppm=ppm, stalls=stalls)
        clock = ArrivalClock(sfreq)
        errors = np.empty(len(at))
        for k, arrived in enumerate(at):
            clock.arrived((k + 1) * per, arrived)
            times = clock.times(k * per, (k + 1) * per)
            assert times[-1] < arrived
            errors[k] = abs(times[-1] + 1 / sfreq - true[k])
        assert errors[true > 130].max() < 1e-4
        assert errors[true > 102].max() < 1e-3


def test_a_sender_that_stood_still_is_followed_after_5_s_and_one_that_leapt_at_once():
    _, at = arrivals(3000, np.random.default_rng(1), ppm=0.0)
    clock = ArrivalClock(1000.0)
    errors = []
    for k in range(3000):
        # 0.3 s are lost that no number tells of, then 0.5 s too many are counted
        at_k = at[k] + (0.3 if k >= 1000 else 0.0)
        end = (k + 1) * 20 + (500 if k >= 2000 else 0)
        clock.arrived(end, at_k)
        errors.append(clock.offset(end) - (at_k - end / 1000.0))
    errors = np.abs(errors)
    assert errors[1001:1200].min() > 0.25
    assert errors[1260:2000].max() < 0.03
    assert errors[2000:].max() < 0.03


def fed(blocks, sfreq=1000.0, n=20, delay=0.004):
    """Blocks of (number, seconds) or of what happened before the next one; gives first samples and flags."""
    count = BlockCount(sfreq)
    out = []
    for item in blocks:
        if isinstance(item, Since):
            count.since = item
        else:
            out.append(count.add(item[0], n, item[1] + delay))
    return out


def test_lost_blocks_are_counted_exactly_however_late_the_next_one_is():
    got = fed([(17, 0.02), (18, 0.04), (23, 0.70), (24, 0.71)])
    assert got == [(0, Flag.NONE), (20, Flag.NONE), (120, Flag.GAP), (140, Flag.NONE)]


def test_block_numbers_may_turn_over():
    got = fed([(2**32 - 1, 0.02), (0, 0.04), (2, 0.08)])
    assert got == [(0, Flag.NONE), (20, Flag.NONE), (60, Flag.GAP)]


def test_a_new_start_goes_on_counting_by_the_arrivals():
    got = fed([(500, 0.02), (501, 0.04), Since.START, (1, 3.06), (2, 3.08)])
    assert got[2] == (40 + 3000, Flag.GAP | Flag.CLOCK_STEP)
    assert got[3] == (60 + 3000, Flag.NONE)


@pytest.mark.parametrize("number", [3, 501, 2_000_000])
def test_a_number_that_cannot_be_is_a_new_start(number):
    got = fed([(500, 0.02), (501, 0.04), (number, 0.06), (number + 1, 0.08)])
    assert got[2:] == [(40, Flag.CLOCK_STEP), (60, Flag.NONE)]


def test_after_a_new_connection_the_count_goes_on_where_recorder_went_on():
    got = fed([(500, 0.02), (501, 0.04), Since.CONNECTION, (602, 2.06)])
    assert got[2] == (40 + 2000, Flag.GAP)


def test_after_a_new_connection_a_count_that_began_anew_is_estimated():
    got = fed([(5, 0.02), (6, 0.04), Since.CONNECTION, (20, 5.06)])
    assert got[2] == (40 + 5000, Flag.GAP | Flag.CLOCK_STEP)


def test_sample_times_stay_within_a_block_of_the_truth_over_a_new_start():
    count = BlockCount(1000.0)
    rng = np.random.default_rng(2)
    true = np.concatenate([np.arange(1, 1000) * 0.02, 60 + np.arange(1, 1000) * 0.02])
    numbers = np.concatenate([np.arange(1, 1000), np.arange(1, 1000)])
    errors = []
    for k, (end, number) in enumerate(zip(true, numbers, strict=True)):
        if k == 999:
            count.since = Since.START
        first, _ = count.add(int(number), 20, end + rng.exponential(0.003))
        assert count.raw(first, 20)[-1] == (first + 19) / 1000.0
        errors.append(abs(count.times(first, 20)[-1] + 1e-3 - end))
    assert max(errors[1050:]) < 1e-3
