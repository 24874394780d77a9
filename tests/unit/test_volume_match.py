from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from streamer.align.volume_match import DAY_S, Match, VolumeMatcher
from streamer.align.volume_train import VolumeTrain
from streamer.formats.dicom import read_dicom
from streamer.messages import BoldFrame, Flag, ScannerTime, SessionTime

TR = 2.0
CLOCK = 50_000.0
"""Scanner time at session time 0."""


class Matcher(VolumeMatcher):
    """The newest EEG is never newer than now, as in a live session."""

    def __call__(self, frame: BoldFrame, trains: Sequence[VolumeTrain], newest: float) -> Match:
        return super().__call__(frame, trains, min(newest, frame.received))


def train(number: int, start: float, n: int, tr: float = TR) -> VolumeTrain:
    made = VolumeTrain(number)
    for k in range(n):
        made.add(k, start + k * tr)
    return made


def frame(index: int, received: float, series: str = "s3", scanner: float | None = None, tr: float = TR) -> BoldFrame:
    nothing = np.zeros(1, np.float32)
    onset = None if scanner is None else ScannerTime(scanner % DAY_S)
    return BoldFrame(index, series, nothing, nothing, np.zeros(6), 0.0, tr, None, SessionTime(received), onset=onset)


def run(
    matcher: VolumeMatcher,
    trains: list[VolumeTrain],
    indices: range,
    series: str = "s3",
    off: float = 0.0,
    which: int = 0,
) -> list[tuple[float | None, Flag]]:
    """Feed volumes that the scanner stamped ``off`` s beside their trigger."""
    out: list[tuple[float | None, Flag]] = []
    for k in indices:
        begin = trains[which].first[1] + k * TR
        found = matcher(frame(k, begin + TR + 0.6, series, CLOCK + begin + off), trains, 1e9)
        out.append((found.onset, found.flags))
    return out


def test_volumes_go_by_their_number_in_any_order() -> None:
    trains = [train(0, 100.0, 20)]
    matcher = Matcher(0)
    for k in (3, 1, 2, 7, 0):
        assert matcher(frame(k, 100.0 + k * TR + 2.6), trains, 200.0).onset == pytest.approx(100.0 + k * TR)
    assert (matcher.matched, matcher.unmatched, matcher.misaligned) == (5, 0, 0)


@pytest.mark.parametrize(("first", "index", "trigger"), [(2, 5, 3), (-3, 0, 3)])
def test_dummy_volumes_and_preparation_triggers_are_counted_off(first: int, index: int, trigger: int) -> None:
    matcher = Matcher(first)
    found = matcher(frame(index, 100.0 + trigger * TR + 2.6), [train(0, 100.0, 20)], 200.0)
    assert found.onset == pytest.approx(100.0 + trigger * TR)


def test_a_volume_without_any_trigger_has_no_onset() -> None:
    matcher = Matcher(0)
    assert matcher(frame(0, 10.0), [], 20.0).onset is None
    # the only train ended long ago
    assert matcher(frame(1, 900.0), [train(0, 100.0, 20)], 900.0).onset is None
    assert (matcher.matched, matcher.unmatched) == (0, 2)


def test_a_restarted_scan_gets_its_own_train_and_stragglers_keep_theirs() -> None:
    first, second = train(0, 100.0, 10), train(1, 131.3, 4)
    matcher = Matcher(0)
    for k in range(8):
        matcher(frame(k, 100.0 + k * TR + 2.6), [first], 1e9)
    assert matcher(frame(0, 134.0, "s4"), [first, second], 1e9).onset == pytest.approx(131.3)
    # the first scan's last volumes come late
    assert matcher(frame(9, 134.1), [first, second], 1e9).onset == pytest.approx(118.0)
    assert matcher(frame(1, 136.0, "s4"), [first, second], 1e9).onset == pytest.approx(133.3)


def test_the_first_volume_of_a_short_scan_that_comes_after_the_next_began_is_not_given_to_that() -> None:
    first, second = train(0, 100.0, 3), train(1, 107.0, 2)
    matcher = Matcher(0)
    # received when the second scan's first volume cannot have ended yet
    assert matcher(frame(0, 107.4), [first, second], 1e9).onset == pytest.approx(100.0)
    assert matcher(frame(0, 109.6, "s4"), [first, second], 1e9).onset == pytest.approx(107.0)


def test_scanner_time_tells_the_train_of_a_new_series() -> None:
    trains = [train(0, 100.0, 10), train(1, 140.0, 3), train(2, 171.0, 10)]
    matcher = Matcher(0)
    run(matcher, trains[:1], range(8))
    # the aborted scan's volume comes when the third scan runs already
    late = matcher(frame(1, 180.0, "s4", CLOCK + 142.0), trains, 1e9)
    assert late.onset == pytest.approx(142.0)
    assert run(matcher, trains, range(3), "s5", which=2)[-1] == (pytest.approx(175.0), Flag.NONE)


def test_a_series_without_triggers_of_its_own_takes_none_of_another() -> None:
    trains = [train(0, 100.0, 10)]
    matcher = Matcher(0)
    run(matcher, trains, range(8))
    assert matcher(frame(0, 200.0, "s4", CLOCK + 190.0), trains, 1e9).onset is None


def test_numbers_that_are_off_by_a_volume_raise_the_alarm_and_say_so() -> None:
    trains = [train(0, 100.0, 30), train(1, 300.0, 30)]
    matcher = Matcher(0)
    assert all(flags is Flag.NONE for _, flags in run(matcher, trains, range(10)))
    # the second scan's first trigger was missed: volume k began at what is numbered k - 1
    found = run(matcher, trains, range(1, 6), "s4", off=-TR, which=1)
    assert all(flags is Flag.MISALIGNED for _, flags in found)
    assert [onset for onset, _ in found] == pytest.approx([300.0 + k * TR for k in range(1, 6)])
    assert matcher.misaligned == 5
    (said,) = matcher.alarms
    assert "volume 1 of series s4" in said
    assert "2.000 s earlier" in said
    assert "off by +1" in said


def test_a_volume_that_came_before_it_can_have_ended_raises_the_alarm() -> None:
    trains = [train(0, 100.0, 30)]
    matcher = Matcher(0)
    assert matcher(frame(0, 102.6), trains, 1e9).flags is Flag.NONE
    # three triggers were counted twice over, say: number 10 is said to begin after the volume came
    assert matcher(frame(10, 116.6), trains, 1e9).flags is Flag.MISALIGNED
    assert "before it can have ended" in matcher.alarms[0]


def test_small_disagreement_is_none() -> None:
    trains = [train(0, 100.0, 40)]
    matcher = Matcher(0)
    rng = np.random.default_rng(0)
    for k in range(40):
        scanner = CLOCK + 100.0 + k * TR + float(rng.uniform(-0.005, 0.005))
        assert matcher(frame(k, 103.0 + k * TR, scanner=scanner), trains, 1e9).flags is Flag.NONE
    assert matcher.residual_s == pytest.approx(0.003, abs=0.002)


def test_midnight_is_no_disagreement() -> None:
    trains = [train(0, 100.0, 40)]
    matcher = Matcher(0)
    for k in range(40):
        scanner = DAY_S - 31.0 + k * TR
        assert matcher(frame(k, 103.0 + k * TR, scanner=scanner), trains, 1e9).flags is Flag.NONE
    assert matcher.residual_s < 1e-6


def test_a_scanner_clock_that_drifts_is_followed_over_a_pause() -> None:
    trains = [train(0, 100.0, 100), train(1, 2500.0, 20)]
    matcher = Matcher(0)
    for which, n in ((0, 100), (1, 20)):
        for k in range(n):
            begin = trains[which].first[1] + k * TR
            scanner = CLOCK + begin * (1 + 3e-4)
            found = matcher(frame(k, begin + 2.6, f"s{which}", scanner), trains, 1e9)
            assert found.flags is Flag.NONE, (which, k)


def test_a_scanner_clock_that_was_set_is_said_for_a_few_volumes_and_then_followed() -> None:
    trains = [train(0, 100.0, 60)]
    matcher = Matcher(0)
    run(matcher, trains, range(20))
    flags = [flags for _, flags in run(matcher, trains, range(20, 40), off=0.9)]
    assert flags[:7] == [Flag.MISALIGNED] * 7
    assert flags[7:] == [Flag.NONE] * 13
    assert (matcher.clock_steps, matcher.misaligned, len(matcher.alarms)) == (1, 7, 1)


def test_blank_scanner_times_are_left_out() -> None:
    trains = [train(0, 100.0, 30)]
    matcher = Matcher(0)
    for k in range(20):
        scanner = float("nan") if k % 3 else CLOCK + 100.0 + k * TR
        found = matcher(frame(k, 103.0 + k * TR, scanner=scanner), trains, 1e9)
        assert (found.onset, found.flags) == (pytest.approx(100.0 + k * TR), Flag.NONE)


def test_a_scan_whose_triggers_were_torn_into_two_trains_goes_on_in_the_second() -> None:
    # the EEG's clock was set back by 0.3 s: the triggers go on, off the beat, as another train
    first, second = train(0, 100.0, 10), train(1, 120.0 - 0.3, 10)
    matcher = Matcher(0)
    for k in range(10):
        matcher(frame(k, 102.6 + k * TR), [first], 1e9)
    for k in range(10, 18):
        found = matcher(frame(k, 102.6 + k * TR), [first, second], 1e9)
        assert found.onset == pytest.approx(100.0 + k * TR - 0.3)


def test_a_real_scanners_times_agree_with_its_volumes(shared_data: Path) -> None:
    files = sorted((shared_data / "fmri/siemens-mosaic-neurofeedback/dicom").glob("*.dcm"))[:60]
    volumes = [read_dicom(path.read_bytes(), path.name) for path in files]
    first = volumes[0].onset
    assert first is not None
    # the true interval lies between the header's 1.97 and the steps of 1.9775 and 1.98 s
    trains = [train(0, 10.0, 60, 1.978)]
    matcher = Matcher(volumes[0].index)
    for v in volumes:
        received = 10.0 + (v.index - volumes[0].index) * 1.978 + 3.0
        found = matcher(frame(v.index, received, scanner=v.onset, tr=v.tr), trains, 1e9)
        assert found.flags is Flag.NONE
    assert matcher.matched == 60
    assert matcher.residual_s < 0.005


def test_stamps_that_run_ahead_of_the_clock_are_no_contradiction() -> None:
    matcher = VolumeMatcher(0)
    trains = [train(0, 100.0, 40)]
    for k in range(30):
        # eight times as fast as time: the volume of 160 s is received at 110 s, when the newest EEG is of 180 s
        found = matcher(frame(k, 100.0 + (k * TR + 2.6) / 8), trains, 100.0 + k * TR + 2.6)
        assert found == Match(SessionTime(100.0 + k * TR), Flag.NONE)
