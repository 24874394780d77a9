from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.align.robust_line import line_of_rounded, robust_line
from streamer.align.volume_train import VolumeTrain
from streamer.align.volume_trains import Pulse, Verdict, VolumeTrains

TR = 2.0


def trains() -> VolumeTrains:
    return VolumeTrains(tolerance=0.02, restart_tr=3.0, tr_min=0.2, alarm_s=0.005)


def add(found: VolumeTrains, times: list[float] | np.ndarray) -> list[int | None]:
    return [found.add(Pulse(float(t), float(t) * 5000, exact=True)) for t in times]


def counts(found: VolumeTrains) -> tuple[int, int, int, int, int]:
    return (found.trains, found.n_triggers, found.missing, found.doubled, found.extra)


def present(found: VolumeTrains) -> VolumeTrain:
    assert found.train is not None
    return found.train


def test_tr_is_known_with_the_second_trigger() -> None:
    found = trains()
    assert found.train is None
    assert add(found, [10.0]) == [0]
    assert present(found).tr is None
    assert add(found, [12.0]) == [1]
    assert present(found).tr == pytest.approx(TR)
    assert present(found).onset(2, newest=20.0) == pytest.approx(14.0)
    assert present(found).onset(2, newest=13.0) is None


def test_an_extra_pulse_before_the_first_trigger_is_found_out() -> None:
    found = trains()
    add(found, [9.3, 10.0, 12.0, 14.0])
    assert counts(found) == (1, 3, 0, 0, 1)
    assert present(found).tr == pytest.approx(TR)
    assert present(found).onset(0, 20.0) == 10.0
    assert add(found, [16.0]) == [3]


def test_triggers_missing_at_the_start_are_counted_once_the_interval_is_known() -> None:
    found = trains()
    add(found, [10.0, 14.0, 18.0 - 2.0, 18.0])
    assert counts(found) == (1, 4, 1, 0, 0)
    assert present(found).onset(3, 20.0) == 16.0
    assert present(found).onset(1, 20.0) == pytest.approx(12.0)


def test_two_runs_with_another_tr_are_two_trains() -> None:
    found = trains()
    first, second = 10.0 + TR * np.arange(12), 47.3 + 1.5 * np.arange(12)
    add(found, first)
    numbers = add(found, second)
    assert numbers[3:] == list(range(3, 12))
    assert counts(found) == (2, 24, 0, 0, 0)
    old, new = found.kept
    assert (old.tr, new.tr) == (pytest.approx(TR), pytest.approx(1.5))
    assert old.onset(5, 100.0) == pytest.approx(first[5])
    assert new.onset(5, 100.0) == pytest.approx(second[5])


def test_another_tr_that_begins_on_the_old_beat_is_found() -> None:
    found = trains()
    add(found, 10.0 + TR * np.arange(12))
    # eight seconds after the last trigger: on the beat, so at first it is taken for volume 15
    numbers = add(found, 40.0 + 1.3 * np.arange(10))
    assert numbers[0] == 15
    assert numbers[4:] == list(range(4, 10))
    assert counts(found) == (2, 22, 0, 0, 0)
    assert present(found).onset(0, 100.0) == pytest.approx(40.0)
    assert found.kept[0].last[0] == 11


def test_a_scan_that_starts_again_within_half_a_tr_keeps_its_first_volume() -> None:
    found = trains()
    add(found, 10.0 + TR * np.arange(6))
    numbers = add(found, 20.7 + TR * np.arange(6))
    assert numbers == [None, 1, 2, 3, 4, 5]
    assert counts(found) == (2, 12, 0, 0, 0)
    assert present(found).onset(0, 100.0) == pytest.approx(20.7)


def test_an_aborted_scan_is_a_train_of_its_own() -> None:
    found = trains()
    add(found, [10.0, 12.0])
    add(found, 63.1 + TR * np.arange(6))
    assert counts(found) == (2, 8, 0, 0, 0)
    assert found.kept[0].onset(1, 100.0) == 12.0
    assert present(found).onset(5, 100.0) == pytest.approx(73.1)


def test_a_trigger_off_the_beat_is_numbered_and_raises_the_alarm() -> None:
    found = trains()
    times = 10.0 + TR * np.arange(20)
    times[15] += 0.012
    assert add(found, times) == list(range(20))
    assert found.residual_alarms == 1
    # the line tells better than the trigger
    assert present(found).onset(15, 100.0) == pytest.approx(40.0, abs=1e-6)
    assert present(found).residual_s < 1e-6


def test_long_trains_are_kept_in_bounded_memory_and_volumes_of_long_ago_by_their_own_trigger() -> None:
    found = trains()
    times = 10.0 + TR * np.arange(3000)
    add(found, times)
    train = present(found)
    assert train.onset(2500, 1e9) == times[2500]
    assert train.onset(0, 1e9) == pytest.approx(times[0], abs=1e-6)
    assert sum(len(part) for part in (train._onsets, train._recent, train._positions)) < 1300


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0.4, 3.0),
    st.lists(
        st.sampled_from(["fine", "fine", "fine", "fine", "missing", "doubled", "extra", "jitter"]),
        min_size=20,
        max_size=80,
    ),
    st.floats(-20e-6, 20e-6),
)
def test_numbers_stay_right_whatever_happens_to_single_triggers(tr: float, what: list[str], drift: float) -> None:
    found = trains()
    add(found, 5.0 + tr * np.arange(4))
    missing = doubled = extra = 0
    holes = 0
    step = tr * (1 + drift)
    at = 5.0 + 3 * tr
    numbers: dict[int, int | None] = {}
    # never three missing in a row: a longer hole is no single trigger's fault
    for k, kind in enumerate(what, start=4):
        at += step
        holes = holes + 1 if kind == "missing" and holes < 2 and k < len(what) else 0
        if holes:
            missing += 1
            continue
        numbers[k] = add(found, [at + (0.004 if kind == "jitter" else 0.0)])[0]
        if kind == "doubled":
            doubled += 1
            assert add(found, [at + 0.003]) == [None]
        if kind == "extra":
            extra += 1
            assert add(found, [at + 0.61 * step]) == [None]
    assert all(number == k for k, number in numbers.items())
    pulses = 4 + len(numbers)
    if extra < 2:
        assert counts(found) == (1, pulses, missing, doubled, extra)
    assert present(found).onset(3 + len(what), 1e9) == pytest.approx(at, abs=0.0045)


def test_extra_pulses_one_tr_apart_with_no_trigger_between_are_a_new_scan() -> None:
    found = trains()
    add(found, 10.0 + TR * np.arange(6))
    pulses = [Pulse(21.2), Pulse(23.2)]
    assert [found.add(pulse) for pulse in pulses] == [None, 1]
    assert [pulse.verdict for pulse in pulses] == [Verdict.VOLUME, Verdict.VOLUME]
    assert counts(found) == (2, 8, 0, 0, 0)


def test_a_robust_line_does_not_follow_what_is_far_off() -> None:
    k = np.arange(40.0)
    y = 3.0 + 1.97 * k
    y[[5, 17, 30]] += [0.5, -1.0, 40.0]
    line = robust_line(k, y)
    assert line(39) == pytest.approx(3.0 + 1.97 * 39, abs=1e-9)
    assert line.slope == pytest.approx(1.97, abs=1e-12)
    assert line.scatter == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_rounded_numbers_give_a_line_finer_than_their_rounding(seed: int) -> None:
    rng = np.random.default_rng(seed)
    k = np.arange(100.0)
    step = 10_000 * (1 + 1e-6 * rng.uniform(15.5, 19.5))
    truth = rng.uniform(0, 1) + step * k
    samples = np.rint(truth)
    samples[[20, 61]] += [3.0, -2.0]
    line = line_of_rounded(np.delete(k, 33), np.delete(samples, 33))
    assert abs(line(99) - truth[99]) < 0.1
    assert abs(line(33) - truth[33]) < 0.1


@pytest.mark.parametrize("wrong", [41, 58, 59])
def test_whole_intervals_give_whole_samples_even_beside_a_wrong_one(wrong: int) -> None:
    k = np.arange(60.0)
    samples = 117.0 + 8000.0 * k
    samples[wrong] += 1.0
    assert line_of_rounded(k, samples)(59) == pytest.approx(117.0 + 8000.0 * 59, abs=1e-9)


def test_numbers_that_are_no_rounded_line_get_the_robust_one() -> None:
    rng = np.random.default_rng(1)
    k = np.arange(80.0)
    y = 100.0 * k + rng.normal(0, 3.0, 80)
    assert line_of_rounded(k, y) == robust_line(k, y)


def test_positions_start_anew_when_the_grid_has_lost_its_count() -> None:
    train = VolumeTrain(0)
    for k in range(12):
        train.add(k, k * TR, 10_000.0 * k, exact=True)
    for k in range(12, 14):
        train.add(k, k * TR, 10_000.0 * k - 37, exact=True)
    # two may be bad triggers
    assert train.sample(13) == pytest.approx(130_000.0)
    train.add(14, 14 * TR, 10_000.0 * 14 - 37, exact=True)
    assert train.sample(15) == pytest.approx(150_000.0 - 37)
    train.forget_samples()
    assert train.sample(15) is None


def test_estimated_positions_serve_until_there_are_exact_ones() -> None:
    rng = np.random.default_rng(0)
    train = VolumeTrain(0)
    for k in range(40):
        train.add(k, k * TR, 10_000.0 * k + rng.normal(0, 5.0))
    assert train.sample(39) == pytest.approx(390_000.0, abs=5.0)
    for k in range(40, 48):
        train.add(k, k * TR, 10_000.0 * k, exact=True)
    assert train.sample(48) == pytest.approx(480_000.0, abs=1e-6)


def test_the_markers_of_a_real_scanner_lie_on_one_line(shared_data: Path) -> None:
    table = shared_data / "eeg" / "facetpy-triggers" / "sub-xp101_task-eegfmriNF_events.tsv"
    rows = [line.split("\t") for line in table.read_text(encoding="utf-8-sig").splitlines()[1:]]
    samples = [int(row[4]) for row in rows if row[2] == "Response/R128"]
    found = trains()
    numbers = [found.add(Pulse(s / 5000.0, s, exact=True)) for s in samples]
    assert counts(found)[1:] == (210, 0, 0, 0)
    train = present(found)
    last = numbers[-1]
    assert last is not None
    assert train.sample(last) == pytest.approx(samples[-1], abs=1e-6)
    # missing rows change no number
    sparse = trains()
    kept = [s for i, s in enumerate(samples) if i % 16 != 5]
    for s in kept:
        sparse.add(Pulse(s / 5000.0, s, exact=True))
    assert present(sparse).last == train.last


def test_a_trigger_that_the_next_one_overtook_is_its_own_volumes() -> None:
    found = trains()
    add(found, [10.0, 12.0, 14.0, 16.0])
    assert add(found, [20.0, 18.01, 22.0]) == [5, None, 6]
    assert (*counts(found), found.late) == (1, 7, 0, 0, 0, 1)
    assert present(found).onset(4, 30.0) == 18.01
    # a second time it is doubled
    assert add(found, [18.01]) == [None]
    assert counts(found) == (1, 7, 0, 1, 0)
