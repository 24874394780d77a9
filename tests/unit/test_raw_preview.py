from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer import wire
from streamer.align.eeg_time import EegTimeline, EegTimelineSettings
from streamer.clean.eeg.lane import EegLane
from streamer.clean.eeg.lane_settings import EegLaneSettings
from streamer.emit.raw_preview import RawPreview
from streamer.messages import ChannelInfo, CleanEeg, EegChunk, Flag, SessionTime
from streamer.wire.preview_bytes import decode_preview

SFREQ = 1000.0
FACTOR = 4
RATE = SFREQ / FACTOR
CHANNELS = (ChannelInfo("ECG", "ecg"), ChannelInfo("Fz", "eeg"), ChannelInfo("EOG", "eog"), ChannelInfo("Pz", "eeg"))
EEG = [1, 3]
DELAY_S = 0.0305
ORIGIN = 500.0


def noise(n: int, seed: int = 0) -> np.ndarray:
    return (1e-5 * np.random.default_rng(seed).standard_normal((n, len(CHANNELS)))).astype(np.float32)


def chunk(data: np.ndarray, first: int, start_s: float | None = None, jitter: np.ndarray | float = 0.0) -> EegChunk:
    raw = ORIGIN + (first / SFREQ if start_s is None else start_s) + np.arange(len(data)) / SFREQ + jitter
    return EegChunk("eeg", data, raw, raw, first, SessionTime(float(raw[-1]) + 0.01))


def cut(data: np.ndarray, sizes: Iterable[int]) -> Iterator[EegChunk]:
    first = 0
    for size in sizes:
        yield chunk(data[first : first + size], first)
        first += size


def thinned(chunks: Iterable[EegChunk], channels: tuple[ChannelInfo, ...] = CHANNELS) -> list[wire.EegPreview]:
    timeline = EegTimeline(EegTimelineSettings(), SFREQ)
    raw = RawPreview(timeline.samples, SFREQ, FACTOR, channels, DELAY_S, 0.1)
    out: list[wire.EegPreview] = []
    for each in chunks:
        timeline(each)
        out += map(decode_preview, raw.take(each))
    return out


def samples(previews: list[wire.EegPreview]) -> dict[int, list[float]]:
    """µV per number on the cleaned grid."""
    found: dict[int, list[float]] = {}
    for each in previews:
        for k, values in enumerate(zip(*each.data_uv, strict=True)):
            assert each.first_sample + k not in found
            found[each.first_sample + k] = [np.nan if v is None else v for v in values]
    return found


def expected(data: np.ndarray, first: int = 0) -> dict[int, list[float]]:
    """The same, sample by sample; ``first`` is the grid's index of the first of ``data``."""
    shift, pair, found = round(DELAY_S * SFREQ), 2 * FACTOR, {}
    for number in range(-(-(first + shift) // pair), (first + len(data) + shift) // pair):
        start = number * pair - shift - first
        piece = data[start : start + pair, EEG].astype(np.float32) * np.float32(1e6)
        low, high = piece.argmin(axis=0), piece.argmax(axis=0)
        for k, rows in enumerate((np.minimum(low, high), np.maximum(low, high))):
            found[2 * number + k] = [float(piece[row, c]) for c, row in enumerate(rows)]
    return found


@settings(max_examples=30)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=30))
def test_however_it_is_cut_every_pair_holds_the_extremes_in_the_order_in_which_they_came(sizes: list[int]) -> None:
    data = noise(sum(sizes))
    previews = thinned(cut(data, sizes))
    found, wanted = samples(previews), expected(data)
    assert list(found) == list(wanted)[: len(found)]
    assert len(wanted) - len(found) <= round(0.1 * RATE)
    for number, values in found.items():
        np.testing.assert_allclose(values, wanted[number], rtol=1e-6)
    assert all(each.raw and each.sfreq == RATE and not each.flags for each in previews)


def test_a_single_wrong_sample_is_never_lost() -> None:
    data = noise(5000)
    places = np.random.default_rng(1).choice(np.arange(100, 4800), 20, replace=False)
    data[places, 3] = np.where(np.arange(20) % 2, 1e-3, -1e-3)
    found = np.array(list(samples(thinned(cut(data, [100] * 50))).values()))
    assert (np.abs(found[:, 1]) > 900).sum() >= len(set((places + round(DELAY_S * SFREQ)) // (2 * FACTOR)))
    assert (np.abs(found[:, 0]) < 100).all()


def test_a_number_and_a_time_mean_the_same_as_in_the_cleaned_eeg_before_and_after_gaps() -> None:
    timeline = EegTimeline(EegTimelineSettings(), SFREQ)
    lane = EegLane(EegLaneSettings(), SFREQ, CHANNELS)
    assert lane.factor == FACTOR
    raw = RawPreview(timeline.samples, SFREQ, FACTOR, CHANNELS, lane.delay_s, 0.1)
    n = 12_000
    t = np.arange(n) / SFREQ
    # a wave that swells differs from itself a period later
    wave = 5e-5 * np.sin(2 * np.pi * 10 * t) * (1.5 + np.sin(2 * np.pi * 0.7 * t))
    # as large on both sides, so that the average reference leaves it
    data = (noise(n) / 20 + wave[:, None] * [0, 1, 0, -1]).astype(np.float32)
    cleaned: list[CleanEeg] = []
    previews: list[wire.EegPreview] = []
    for first in range(0, n, 50):
        # the source counts the first loss and does not know of the second
        if 4000 <= first < 4150 or 8000 <= first < 8250:
            continue
        counted = first if first < 8000 else first - 250
        each = chunk(data[first : first + 50], counted, first / SFREQ)
        for placed in timeline(each):
            cleaned += lane.chunk(placed)
        previews += map(decode_preview, raw.take(each))
    assert timeline.lost_samples == 400
    times = {h.first_sample + k: at for h in cleaned for k, at in enumerate(h.times.tolist())}
    for each in previews:
        if each.first_sample in times:
            assert each.t0 == pytest.approx(times[each.first_sample], abs=0.5 / SFREQ + 1e-4)
    shown = samples(previews)
    values = {h.first_sample + k: v for h in cleaned for k, v in enumerate((1e6 * h.data[:, 0]).tolist())}
    jumps = np.array(sorted(shown))
    assert (np.diff(jumps) > 1).sum() == 2
    for part in (slice(2.0, 3.9), slice(5.5, 7.9), slice(9.5, 11.8)):
        numbers = [k for k in jumps.tolist() if k in values and part.start <= (times[k] - ORIGIN) < part.stop]
        assert len(numbers) > 300
        # the middle of a pair against the mean of the two samples of its time
        middle = np.array([np.mean([shown[k][0], shown[k + 1][0]]) for k in numbers if not k % 2 and k + 1 in shown])
        fits = []
        for lag in range(-12, 13):
            other = [
                np.mean([values.get(k + lag, np.nan), values.get(k + 1 + lag, np.nan)])
                for k in numbers
                if not k % 2 and k + 1 in shown
            ]
            known = np.isfinite(other)
            fits.append(np.corrcoef(middle[known], np.array(other)[known])[0, 1])
        # the filters lead at 10 Hz by what their phase says, and the middle of a pair lies before its last sample
        lag = -RATE * lane.phase_rad(10.0) / (2 * np.pi * 10.0) - 0.5 * (1 - 1 / FACTOR)
        assert int(np.argmax(fits)) - 12 == pytest.approx(lag, abs=0.75)
        assert max(fits) > 0.97


def test_a_gap_is_a_jump_whether_the_source_counts_it_or_the_stamps_tell() -> None:
    data = noise(3000)
    for counted in (True, False):
        chunks = [chunk(data[k : k + 100], k) for k in range(0, 1000, 100)]
        chunks += [chunk(data[k : k + 100], k if counted else k - 200, k / SFREQ) for k in range(1200, 3000, 100)]
        previews = thinned(chunks)
        found = samples(previews)
        wanted = expected(data[:1000]) | expected(data[1200:], 1200)
        for number, values in found.items():
            np.testing.assert_allclose(values, wanted[number], rtol=1e-6)
        assert len(wanted) - len(found) <= round(0.1 * RATE)
        (jump,) = np.flatnonzero(np.diff(list(found)) > 1)
        # what a gap leaves of a pair goes with it, on both sides
        assert 0 <= list(found)[jump + 1] - list(found)[jump] - 1 - 200 / FACTOR < 4
        assert [each.flags for each in previews if each.flags] == [["GAP"]]


def test_what_comes_twice_is_shown_once() -> None:
    data = noise(2000)
    single = [chunk(data[k : k + 100], k) for k in range(0, 2000, 100)]
    # sent again under new numbers, with the stamps of the first time
    doubled = single[:11] + [replace(each, first_sample=each.first_sample + 100) for each in single[10:]]
    assert samples(thinned(doubled)) == samples(thinned(single))


def test_a_source_that_begins_to_count_anew_is_shown_on() -> None:
    data = noise(4000)
    chunks = [chunk(data[k : k + 100], k) for k in range(0, 2000, 100)]
    chunks += [chunk(data[k : k + 100], k - 2000, k / SFREQ) for k in range(2000, 4000, 100)]
    found = samples(thinned(chunks))
    wanted = expected(data)
    assert set(wanted) - set(found) <= set(list(wanted)[-round(0.1 * RATE) :])
    for number, values in found.items():
        np.testing.assert_allclose(values, wanted[number], rtol=1e-6)


def test_jitter_of_the_stamps_does_not_move_the_picture() -> None:
    data = noise(5000)
    rng = np.random.default_rng(3)
    chunks = [chunk(data[k : k + 20], k, jitter=rng.normal(0, 3e-4, 20)) for k in range(0, 5000, 20)]
    for each in thinned(chunks):
        last = (each.first_sample + 1) * FACTOR - 1 - round(DELAY_S * SFREQ)
        assert each.t0 == pytest.approx(ORIGIN + last / SFREQ, abs=2e-4)


def test_values_that_are_no_numbers_are_left_out_and_what_has_none_is_unknown() -> None:
    data = noise(400)
    shift = round(DELAY_S * SFREQ)
    start = 2 * FACTOR * 10 - shift
    whole = samples(thinned([chunk(data, 0)]))
    data[start : start + 2 * FACTOR, 1] = np.nan
    data[start + 2 * FACTOR, 3] = np.inf
    data[start + 2 * FACTOR + 1, 3] = np.nan
    data[start + 2 * FACTOR + 3, 3] = 2e-3
    found = samples(thinned([chunk(data, 0)]))
    assert np.isnan(found[20][0])
    assert np.isnan(found[21][0])
    assert found[20][1] == whole[20][1]
    assert max(found[22][1], found[23][1]) == pytest.approx(2000)
    rest = data[start + 2 * FACTOR : start + 4 * FACTOR, 3]
    assert min(found[22][1], found[23][1]) == pytest.approx(1e6 * np.nanmin(rest))
    assert {k: v for k, v in found.items() if k not in range(20, 24)} == {
        k: v for k, v in whole.items() if k not in range(20, 24)
    }


def test_where_nothing_is_decimated_pairs_are_the_samples_themselves() -> None:
    timeline = EegTimeline(EegTimelineSettings(), SFREQ)
    raw = RawPreview(timeline.samples, SFREQ, 1, CHANNELS[1:2], 0.0, 0.05)
    data = noise(200)[:, :1]
    found: list[float] = []
    for first in range(0, 200, 25):
        each = chunk(data[first : first + 25], first)
        timeline(each)
        found += [v for made in raw.take(each) for v in decode_preview(made).data_uv[0] if v is not None]
    np.testing.assert_allclose(found, 1e6 * data[: len(found), 0], rtol=1e-6)
    assert len(found) >= 150


def test_a_chunk_without_samples_gives_nothing() -> None:
    empty = EegChunk("eeg", noise(0), np.empty(0), np.empty(0), 0, SessionTime(ORIGIN), Flag.NONE)
    assert thinned([empty]) == []
