"""Faults in a schedule: all of them in the ledger, and nothing else changed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamer.acquire.recording import Recording
from streamer.rig.actions import (
    CloseStreams,
    MakeDirectory,
    OpenStreams,
    RemoveDirectory,
    RenameVolume,
    RepeatVolume,
    SendChunk,
    SendMarker,
    StartSeries,
    Timed,
    WriteForeign,
    WriteVolume,
)
from streamer.rig.faults import ALL, NAMES, RigFaults
from streamer.rig.faulty import plan
from streamer.rig.ledger import Injected
from streamer.rig.schedule import RigSettings, schedule
from tests.unit.rig_recordings import memory_recording

RECORDINGS = (
    memory_recording(),
    memory_recording(gaps=((7.0, 0.5), (15.0, 4.0))),
    memory_recording(jitter_s=0.002, sampled=False),
    replace(memory_recording(), bold=None),
    replace(memory_recording(), eeg=None),
)

MANY = {
    **dict.fromkeys(NAMES, 0.2),
    "batch_volumes": 3,
    "directory_gone_s": 2.0,
    "restarted_scan_s": 3.0,
    "jitter_ms": 5.0,
    "stamp_jitter_ms": 2.0,
    "clock_offset_s": 100.0,
    "drift_ppm": 50.0,
    "clock_step_s": -3600.0,
    "silent_s": 1.5,
    "outlet_gone_s": 1.2,
}

some_faults = st.builds(
    lambda names, at: RigFaults(**{n: MANY[n] for n in names}, at={n: t for n, t in at.items() if n in names}),
    st.sets(st.sampled_from(NAMES), min_size=1),
    st.dictionaries(st.sampled_from(NAMES), st.floats(0, 40), max_size=4),
)
cases = st.tuples(st.sampled_from(RECORDINGS), some_faults, st.integers(0, 2**20))
slow = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def of(ledger: tuple[Injected, ...], *names: str) -> list[Injected]:
    return [entry for entry in ledger if entry.fault in names]


def planned(
    recording: Recording, faults: RigFaults, seed: int = 0
) -> tuple[list[Timed], list[Timed], tuple[Injected, ...]]:
    chosen = RigSettings(faults=faults, seed=seed)
    made = plan(recording, chosen)
    return list(schedule(recording, chosen)), list(made.actions), made.ledger


@pytest.mark.parametrize("number", range(len(RECORDINGS)))
def test_without_faults_the_plan_is_the_schedule(number: int):
    made = plan(RECORDINGS[number], RigSettings(seed=3))
    assert list(made.actions) == list(schedule(RECORDINGS[number], RigSettings(seed=3)))
    assert made.ledger == ()


@slow
@given(cases)
def test_the_same_seed_gives_the_same_plan(case):
    recording, faults, seed = case
    assert planned(recording, faults, seed) == planned(recording, faults, seed)


@slow
@given(cases)
def test_samples_are_sent_once_but_for_what_the_ledger_says(case):
    recording, faults, seed = case
    base, faulty, ledger = planned(recording, faults, seed)
    n = recording.eeg.n_samples if recording.eeg is not None else 0
    sent = np.zeros(n, int)
    for _, action in faulty:
        if isinstance(action, SendChunk):
            sent[action.start : action.stop] += 1
    expected = np.ones(n, int)
    for entry in of(ledger, "lost_chunk", "silent_s", "outlet_gone_s"):
        if entry.samples:
            expected[slice(*entry.samples)] -= 1
    for entry in of(ledger, "doubled_chunk"):
        expected[slice(*entry.samples)] += 1
    np.testing.assert_array_equal(sent, expected)
    starts = [action.start for _, action in faulty if isinstance(action, SendChunk)]
    assert starts == sorted(starts), "chunks changed places"
    if not {"jitter_ms", "spike"} & set(faults.names):
        when = {action.start: at for at, action in base if isinstance(action, SendChunk)}
        assert all(at == when[action.start] for at, action in faulty if isinstance(action, SendChunk))
    if not {"stamp_jitter_ms", "clock_offset_s", "drift_ppm", "clock_step_s"} & {entry.fault for entry in ledger}:
        stamped = [a for _, a in faulty if isinstance(a, SendChunk | SendMarker)]
        assert all((action.offset_s, action.ppm) == (0.0, 0.0) for action in stamped)


@slow
@given(cases)
def test_markers_are_sent_once_but_for_what_the_ledger_says(case):
    recording, faults, seed = case
    base, faulty, ledger = planned(recording, faults, seed)
    markers = recording.eeg.markers if recording.eeg is not None else ()
    sent = Counter(action.place for _, action in faulty if isinstance(action, SendMarker))
    expected = Counter(range(len(markers)))
    gone = of(ledger, "missing_marker", "outlet_gone_s", "restarted_scan_s")
    expected.subtract(entry.marker for entry in gone if entry.marker is not None)
    expected.update(entry.marker for entry in of(ledger, "doubled_marker"))
    extra = Counter((entry.at_s, entry.value, entry.detail) for entry in of(ledger, "extra_marker"))
    expected[None] = extra.total()
    assert +sent == +expected
    added = [(at, action) for at, action in faulty if isinstance(action, SendMarker) and action.place is None]
    assert Counter((at, action.at_s, action.label) for at, action in added) == extra
    when = {action.place: at for at, action in base if isinstance(action, SendMarker)}
    moved = {entry.marker: entry.value for entry in of(ledger, "late_marker", "early_marker")}
    for at, action in faulty:
        if isinstance(action, SendMarker) and action.place is not None:
            assert (action.label, action.at_s) == (markers[action.place].label, markers[action.place].at_s)
            assert at == pytest.approx(when[action.place] + moved.get(action.place, 0.0), abs=1e-9)


@slow
@given(cases)
def test_files_come_once_but_for_what_the_ledger_says(case):
    recording, faults, seed = case
    base, faulty, ledger = planned(recording, faults, seed)

    def whole(timed: list[Timed]) -> dict[int, float]:
        return {
            a.k: at
            for at, a in timed
            if isinstance(a, RenameVolume) or (isinstance(a, WriteVolume) and a.part + 1 == a.parts and not a.suffix)
        }

    before, after = whole(base), whole(faulty)
    never = {e.volume for e in of(ledger, "missing_volume", "truncated_volume")}
    never |= {e.volume for e in of(ledger, "restarted_scan_s") if e.volume is not None and e.value is None}
    assert before.keys() - after.keys() == never
    for kind, name in (
        (RepeatVolume, "doubled_volume"),
        (WriteForeign, "foreign_file"),
        (RenameVolume, "temporary_name"),
    ):
        assert sorted(a.k for _, a in faulty if isinstance(a, kind)) == sorted(e.volume for e in of(ledger, name))
    delay = {e.volume: e.value for e in of(ledger, "late_volume", "swapped_volume")}
    gone = of(ledger, "directory_gone_s")
    if not of(ledger, "batch_volumes"):
        for k, at in after.items():
            expected = before[k] + delay.get(k, 0.0)
            if gone and gone[0].at_s <= expected < gone[0].at_s + gone[0].value:
                expected = gone[0].at_s + gone[0].value
            assert at == pytest.approx(expected, abs=1e-9)
    # a file is begun before it is gone on with, each in its own directory
    written: dict[int, int] = {}
    there = True
    for _, action in faulty:
        match action:
            case RemoveDirectory():
                there, written = False, {}
            case MakeDirectory():
                there = True
            case WriteVolume(k, part, _, _):
                assert there
                assert written.get(k, 0) == part
                written[k] = part + 1
            case RenameVolume(k, _):
                assert there
                assert written.get(k)
            case RepeatVolume() | WriteForeign():
                assert there
            case _:
                pass


@slow
@given(cases)
def test_nothing_is_sent_while_the_streams_are_away(case):
    recording, faults, seed = case
    _, faulty, _ = planned(recording, faults, seed)
    there = True
    for at, action in faulty:
        match action:
            case CloseStreams():
                there = False
            case OpenStreams():
                there = True
            case SendChunk() | SendMarker():
                assert there, at
            case _:
                pass
    assert [at for at, _ in faulty] == sorted(at for at, _ in faulty)


@pytest.mark.parametrize("name", NAMES)
def test_every_fault_happens_alone(name: str):
    base, faulty, ledger = planned(RECORDINGS[0], RigFaults(**{name: MANY[name]}))
    assert {entry.fault for entry in ledger} == {name}
    assert faulty != base


def test_a_fault_takes_the_same_whatever_else_is_on():
    alone = planned(RECORDINGS[0], RigFaults(missing_marker=0.2))[2]
    beside = planned(RECORDINGS[0], RigFaults(missing_marker=0.2, lost_chunk=0.1, late_volume=0.5))[2]
    assert alone == tuple(of(beside, "missing_marker"))


def test_a_moment_is_kept():
    _, faulty, ledger = planned(RECORDINGS[0], RigFaults(outlet_gone_s="2@10", missing_marker="1@20"))
    assert [at for at, a in faulty if isinstance(a, CloseStreams | OpenStreams)] == [10.0, 12.0]
    lost = [e.samples for e in of(ledger, "outlet_gone_s") if e.samples]
    # a chunk is lost when it would have been sent in that time
    assert lost == [(1996, 2396)]
    assert all(e.at_s >= 20.0 for e in of(ledger, "missing_marker"))
    assert not any(isinstance(a, SendMarker) and at > 20.0 for at, a in faulty)


def test_a_moment_outside_what_is_played_does_nothing():
    base, faulty, ledger = planned(RECORDINGS[0], RigFaults(outlet_gone_s="2@1000", clock_step_s="5@1000"))
    assert faulty == base
    assert ledger == ()


def test_a_clock_step_takes_samples_and_markers_from_one_place_on():
    _, faulty, ledger = planned(RECORDINGS[0], RigFaults(clock_step_s="-3600@9.99", drift_ppm="100@5"))
    at = of(ledger, "clock_step_s")[0].at_s
    assert at == pytest.approx(9.98)
    for _, action in faulty:
        if isinstance(action, SendChunk | SendMarker):
            taken = action.start / 200.0 if isinstance(action, SendChunk) else action.at_s
            wrong = action.offset_s + action.ppm * 1e-6 * taken
            drift = 1e-4 * max(0.0, taken - 5.0)
            assert wrong == pytest.approx((-3600.0 if taken >= at - 1e-6 else 0.0) + drift, abs=1e-9)


def test_a_restarted_scan_drops_triggers_and_volumes_and_counts_anew():
    _, faulty, ledger = planned(RECORDINGS[0], RigFaults(restarted_scan_s="2@9.4"))
    onsets = RECORDINGS[0].bold.onsets
    starts = [(at, a.first) for at, a in faulty if isinstance(a, StartSeries)]
    assert starts == [(pytest.approx(11.4), next(k for k, t in enumerate(onsets) if t >= 11.4))]
    assert not [a for _, a in faulty if isinstance(a, SendMarker) and a.label == "R128" and 9.4 <= a.at_s < 11.4]
    assert any(isinstance(a, SendMarker) and a.label == "S  1" and 9.4 <= a.at_s < 11.4 for _, a in faulty)
    written = {a.k for _, a in faulty if isinstance(a, WriteVolume)}
    assert written == {k for k, t in enumerate(onsets) if t + 0.8 <= 9.4 or t >= 11.4}
    assert {e.volume for e in ledger if e.detail == "not acquired to its end"} == set(range(30)) - written


def test_swapped_volumes_change_places_with_their_successor():
    _, faulty, ledger = planned(RECORDINGS[0], RigFaults(swapped_volume=0.3))
    order = [a.k for _, a in faulty if isinstance(a, WriteVolume) and a.part + 1 == a.parts]
    swapped = {e.volume for e in ledger}
    assert swapped
    expected = list(range(30))
    for k in sorted(swapped):
        expected[k], expected[k + 1] = expected[k + 1], expected[k]
    assert order == expected


def test_all_turns_every_fault_on():
    assert set(ALL) == set(NAMES)
    recording = memory_recording(sfreq=100.0, seconds=400.0, n_volumes=480)
    assert {entry.fault for entry in planned(recording, RigFaults.parse("all"))[2]} == set(NAMES)


RDA_CANNOT = (
    "stamp_jitter_ms",
    "clock_offset_s",
    "drift_ppm",
    "clock_step_s",
    "doubled_chunk",
    "late_marker",
    "early_marker",
)


@slow
@given(cases)
def test_over_rda_markers_are_told_before_their_block_and_lost_with_it(case):
    recording, faults, seed = case
    markers = recording.eeg.markers if recording.eeg is not None else ()
    allowed = RigFaults(**{**faults.model_dump(), **dict.fromkeys(RDA_CANNOT, 0)})
    made = plan(recording, RigSettings(faults=allowed, seed=seed, rda_port=0))
    sent: list[int] = []
    told: Counter[int | None] = Counter()
    for _, action in made.actions:
        if isinstance(action, SendChunk):
            sent += range(action.start, action.stop)
        elif isinstance(action, SendMarker):
            told[action.place] += 1
            if action.sample is not None:
                assert not sent or action.sample > sent[-1], "the block of this marker was sent before it"
    assert sent == sorted(set(sent))
    assert {markers[k].sample for k in told if k is not None} - {None} <= set(sent)
    expected = Counter(range(len(markers)))
    gone = ("swallowed", "missing_marker", "outlet_gone_s", "restarted_scan_s")
    expected.subtract(e.marker for e in of(made.ledger, *gone) if e.marker is not None)
    expected.update(e.marker for e in of(made.ledger, "doubled_marker"))
    extra = len(of(made.ledger, "extra_marker")) - sum(bool(e.detail) for e in of(made.ledger, "swallowed"))
    assert told == +(expected + Counter({None: extra}))
