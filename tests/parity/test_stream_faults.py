"""Whatever goes wrong with a stream, in any order and any chunks: found, counted, and nothing else lost."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.align.eeg_time import EegTimeline, EegTimelineSettings
from streamer.messages import EegChunk, Flag, SessionTime

SFREQ = 250.0


@dataclass
class Stream:
    """What a sender gives, sample by sample, and what should be found."""

    data: list[int] = field(default_factory=list)
    raw: list[float] = field(default_factory=list)
    offset: list[float] = field(default_factory=list)
    source: list[int] = field(default_factory=list)
    heard: list[float] = field(default_factory=list)
    grid: list[int | None] = field(default_factory=list)
    """None for a duplicate."""
    marks: dict[int, Flag] = field(default_factory=dict)
    """By grid index."""
    lost: int = 0
    gaps: int = 0
    steps: int = 0
    duplicates: int = 0
    # where the next sample lies; stamps are counted from an origin, so that steady ones differ by less than a rounding
    origin: float = 5000.0
    since: int = 0
    shift: float = 3.0
    now: float = 0.0
    count: int = 0
    number: int = 0
    place: int = 0

    def run(self, n: int) -> None:
        for _ in range(n):
            self.data.append(self.number)
            self.raw.append(self.origin + self.since / SFREQ)
            self.offset.append(self.shift)
            self.source.append(self.count)
            self.heard.append(self.now)
            self.grid.append(self.place)
            self.number += 1
            self.since += 1
            self.count += 1
            self.place += 1
            self.now += 1 / SFREQ

    def gap(self, n: int) -> None:
        self.lost += n
        self.gaps += 1
        self.place += n
        self.marks[self.place] = self.marks.get(self.place, Flag.NONE) | Flag.GAP

    def step(self, flags: Flag = Flag.NONE) -> None:
        self.steps += 1
        self.marks[self.place] = self.marks.get(self.place, Flag.NONE) | Flag.CLOCK_STEP | flags

    def fault(self, kind: str, size: float) -> None:
        """Make something go wrong; ``size`` is between 0 and 1."""
        n = 6 + int(size * 150)
        match kind:
            case "lost":
                self.since += n
                self.now += n / SFREQ
                self.gap(n)
            case "counted":
                self.since += n
                self.now += n / SFREQ
                self.count += n
                self.gap(n)
            case "twice":
                for i in range(len(self.data) - n, len(self.data)):
                    for column in (self.data, self.raw, self.offset):
                        column.append(column[i])
                    self.source.append(self.count)
                    self.heard.append(self.now)
                    self.grid.append(None)
                    self.count += 1
                self.duplicates += n
            case "forward":
                self.origin += 15.0 + 9000.0 * size
                self.step(Flag.GAP)
            case "back":
                self.origin -= 0.0703 + 8.0 * size
                self.step()
            case "hours back":
                self.origin -= 3600.0 * (1 + size)
                self.step(Flag.GAP)
            case "silence":
                gone = int((12 + 60 * size) * SFREQ)
                self.since += gone
                self.now += gone / SFREQ
                self.gap(gone)
            case "another sender":
                # its clock is another, and known; some samples were lost on the way
                self.origin += 2000.0 + 1000.0 * size
                self.shift -= 2000.0 + 1000.0 * size
                self.since += 2 * n
                self.now += 2 * n / SFREQ
                self.gap(2 * n)
                self.step()
            case "offset":
                self.shift += 0.06 + 5.0 * size
                self.step()
            case "small offset":
                self.shift += 0.002 * (size - 0.5)
            case _:
                raise AssertionError(kind)


KINDS = (
    "lost",
    "counted",
    "twice",
    "forward",
    "back",
    "hours back",
    "silence",
    "another sender",
    "offset",
    "small offset",
)


def feed(stream: Stream, sizes: list[int]) -> tuple[np.ndarray, EegTimeline]:
    """Rows of data, grid index, time, flags; the flags of a break on its first row alone."""
    timeline = EegTimeline(EegTimelineSettings(), SFREQ, 4)
    raw, offset = np.array(stream.raw), np.array(stream.offset)
    source, heard = np.array(stream.source), np.array(stream.heard)
    data = np.array(stream.data, dtype=np.float32)[:, None]
    # neither a jump of the count nor a silence lies within a chunk
    must = {*(np.flatnonzero((np.diff(source) != 1) | (np.diff(heard) > 1.0)) + 1).tolist(), len(raw)}
    rows: list[np.ndarray] = []
    at = i = 0
    while at < len(raw):
        stop = min(at + sizes[min(i, len(sizes) - 1)], *(m for m in must if m > at), len(raw))
        part = slice(at, stop)
        received = SessionTime(float(heard[stop - 1]))
        times = raw[part] + offset[part]
        for piece in timeline(EegChunk("s", data[part], raw[part], times, int(source[at]), received)):
            flags = np.full(len(piece.data), int(piece.flags & Flag.WARMING))
            flags[0] = int(piece.flags)
            index = piece.first_sample + np.arange(len(piece.data))
            rows.append(np.column_stack([piece.data[:, 0].astype(np.float64), index, piece.times, flags]))
        at, i = stop, i + 1
    return np.concatenate(rows), timeline


faults = st.lists(st.tuples(st.sampled_from(KINDS), st.floats(0, 1), st.integers(640, 800)), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(faults, st.lists(st.integers(1, 100), min_size=1, max_size=40))
def test_every_fault_is_found_and_costs_no_more_than_it_must(
    happened: list[tuple[str, float, int]], sizes: list[int]
) -> None:
    stream = Stream()
    stream.run(700)
    for kind, size, after in happened:
        stream.fault(kind, size)
        stream.run(after)
    rows, timeline = feed(stream, sizes)
    np.testing.assert_array_equal(rows[:, 0], np.arange(stream.number))
    expected = [g for g in stream.grid if g is not None]
    np.testing.assert_array_equal(rows[:, 1], expected)
    assert np.all(np.diff(rows[:, 1]) >= 1)
    assert (timeline.lost_samples, timeline.gaps) == (stream.lost, stream.gaps)
    assert (timeline.clock_steps, timeline.duplicates) == (stream.steps, stream.duplicates)
    flags = rows[:, 3].astype(int) & ~int(Flag.WARMING)
    found = {int(g): Flag(int(f)) for g, f in zip(rows[:, 1], flags, strict=True) if f}
    assert found == stream.marks
    for i in range(0, len(stream.source), 97):
        at = stream.raw[i] + stream.offset[i]
        grid = stream.grid[i]
        if stream.steps == 0 and grid is not None:
            assert timeline.samples.grid(stream.source[i], at) == grid
    np.testing.assert_array_equal(feed(stream, [50])[0], rows)


@settings(max_examples=25, deadline=None)
@given(faults, st.lists(st.integers(1, 100), min_size=1, max_size=40), st.integers(0, 9))
def test_within_jitter_nothing_is_dropped_and_chunking_does_not_matter(
    happened: list[tuple[str, float, int]], sizes: list[int], seed: int
) -> None:
    stream = Stream()
    stream.run(700)
    for kind, size, after in happened:
        stream.fault(kind, size)
        stream.run(after)
    rng = np.random.default_rng(seed)
    late = np.repeat(rng.exponential(0.003, len(stream.raw) // 5 + 1), 5)
    # what came twice has the stamps that it had
    stream.raw = [r + float(late[d]) for r, d in zip(stream.raw, stream.data, strict=True)]
    rows, timeline = feed(stream, sizes)
    again, _ = feed(stream, [50])
    n = min(len(rows), len(again))
    np.testing.assert_array_equal(rows[:n], again[:n])
    assert len(rows) > stream.number - 15
    np.testing.assert_array_equal(rows[:, 0], np.arange(len(rows)))
    assert np.all(np.diff(rows[:, 1]) >= 1)
    assert timeline.duplicates == stream.duplicates


def test_what_leaves_while_the_fit_settles_is_flagged_and_that_takes_a_second() -> None:
    stream = Stream()
    stream.run(1500)
    stream.fault("forward", 0.5)
    stream.run(1000)
    stream.fault("lost", 0.5)
    stream.run(700)
    rows, _ = feed(stream, [33])
    warming = rows[:, 3].astype(int) & int(Flag.WARMING) != 0
    np.testing.assert_array_equal(np.flatnonzero(warming), [*range(252), *range(1500, 1752)])


def test_a_chunk_with_one_stamp_for_all_its_samples_is_kept_whole() -> None:
    stream = Stream()
    stream.run(10_000)
    stream.raw = [5000.0 + (i // 5) * 5 / SFREQ for i in range(10_000)]
    rows, timeline = feed(stream, [5])
    assert (timeline.duplicates, timeline.lost_samples, timeline.clock_steps) == (0, 0, 0)
    np.testing.assert_array_equal(rows[:, 1], np.arange(len(rows)))
    error = rows[2500:, 2] - (5003.0 + rows[2500:, 1] / SFREQ)
    # a stamp is late by what lies before it in the chunk: between 0 and 4 samples
    assert np.ptp(error) < 0.001
