from __future__ import annotations

import numpy as np
import pytest

from streamer.clean.eeg.gradient.gradient import Corrected, Gradient, GradientSettings, Span
from streamer.messages import Flag

SFREQ = 1000.0
TR = 1000
N_CHANNELS = 4
SD = 10e-6


def eeg(n: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((n, N_CHANNELS)) * SD).astype(np.float32)


def artefact(t: np.ndarray, period: float = TR, seed: int = 3) -> np.ndarray:
    """The artefact at times ``t`` (samples) after its volume began: about 3 mV peak to peak, 16 even shots."""
    rng = np.random.default_rng(seed)
    out = np.zeros((len(t), N_CHANNELS))
    for k in range(1, 10):
        phase, size = rng.uniform(0, 6), rng.uniform(0.5, 1.5, N_CHANNELS)
        out += np.cos(2 * np.pi * 16 * k * t / period + phase)[:, None] * size
    return 3e-3 * out / 20


def scan(anchors: list[float] | list[int], n: int, period: float = TR) -> np.ndarray:
    """Volumes that begin at ``anchors``, the last one period long."""
    out = np.zeros((n, N_CHANNELS))
    for a, b in zip(anchors, [*anchors[1:], anchors[-1] + period], strict=True):
        at = np.arange(int(np.ceil(a)), min(n, int(np.ceil(b))))
        out[at] = artefact(at - a, period)
    return out.astype(np.float32)


def run(
    data: np.ndarray,
    triggers: dict[int, int],
    settings: GradientSettings | None = None,
    lost: slice | None = None,
    size: int = 20,
) -> tuple[Gradient, np.ndarray, np.ndarray]:
    """Feed ``data`` in chunks; ``triggers`` maps the sample from which on a trigger is known to its anchor."""
    gradient = Gradient(settings or GradientSettings(), SFREQ, data.shape[1])
    out = np.full_like(data, np.nan)
    flags = np.full(len(data), -1)
    waiting = sorted((known, anchor) for known, anchor in triggers.items())
    edges = list(range(0, len(data), size))
    for a in edges:
        while waiting and waiting[0][0] <= a:
            gradient.trigger(waiting.pop(0)[1])
        if lost is not None and lost.start <= a < lost.stop:
            continue
        put(gradient(a, data[a : a + size]), out, flags)
    put(gradient.flush(), out, flags)
    return gradient, out, flags


def put(pieces: list[Corrected], out: np.ndarray, flags: np.ndarray) -> None:
    for first, data, spans, *_ in pieces:
        out[first : first + len(data)] = data
        assert [spans[0].start, spans[-1].stop] == [first, first + len(data)]
        for start, stop, flag in spans:
            flags[start:stop] = int(flag)


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def on_time(anchors: list[int]) -> dict[int, int]:
    return {a: a for a in anchors}


@pytest.mark.parametrize("n_max", [7, 25])
def test_the_error_is_the_floor_of_average_subtraction(n_max: int) -> None:
    n = 35 * TR
    anchors = list(range(0, n, TR))
    truth = eeg(n)
    gradient, out, flags = run(truth + scan(anchors, n), on_time(anchors), GradientSettings(n_max=n_max))
    late = slice(28 * TR, n)
    assert rms(out[late] - truth[late]) <= 1.15 * SD / np.sqrt(n_max)
    assert gradient.epochs == n_max
    assert gradient.synced
    assert not flags[late].any()


def test_warming_ends_when_the_smallest_template_is_there() -> None:
    n = 8 * TR
    anchors = list(range(100, n, TR))
    _, out, flags = run(eeg(n) + scan(anchors, n), on_time(anchors))
    assert not flags[:100].any()
    assert (flags[100 : 100 + 4 * TR] == int(Flag.WARMING)).all()
    assert not flags[100 + 4 * TR :].any()
    assert rms(out[100 + 4 * TR :]) < 1.2 * SD * np.sqrt(1 + 1 / 4)
    # shots are known after two of 62.5 samples, and equal here; then the first volume corrects the second
    assert rms(out[100 : 100 + 120]) > 30 * SD
    assert rms(out[100 + 250 : 100 + TR]) < 2 * SD
    assert rms(out[100 + TR : 100 + 2 * TR]) < 1.2 * SD * np.sqrt(1 + 1 / 1)
    assert rms(out[100 + 2 * TR : 100 + 4 * TR]) < 1.2 * SD * np.sqrt(1 + 1 / 2)


def test_without_triggers_everything_passes_unflagged() -> None:
    data = eeg(3 * TR)
    gradient, out, flags = run(data, {})
    np.testing.assert_array_equal(out, data)
    assert not flags.any()
    assert not gradient.synced


@pytest.mark.parametrize("late", [-200, -20, 20, 200])
def test_a_late_or_early_trigger_makes_no_difference(late: int) -> None:
    n = 12 * TR
    anchors = list(range(0, n, TR))
    data = eeg(n) + scan(anchors, n)
    _, out, flags = run(data, {max(0, a + late): a for a in anchors})
    _, same, same_flags = run(data, on_time(anchors))
    np.testing.assert_array_equal(out[6 * TR :], same[6 * TR :])
    np.testing.assert_array_equal(flags[6 * TR :], same_flags[6 * TR :])


def test_one_lost_trigger_does_not_hurt_the_volumes_after_it() -> None:
    n = 20 * TR
    anchors = list(range(0, n, TR))
    truth = eeg(n)
    data = truth + scan(anchors, n)
    _, whole, _ = run(data, on_time(anchors))
    _, out, flags = run(data, on_time([a for a in anchors if a != 12 * TR]))
    for k in (12, 13, 14, 15):
        part = slice(k * TR, (k + 1) * TR)
        assert rms(out[part] - truth[part]) <= 1.05 * rms(whole[part] - truth[part])
    assert not flags[12 * TR :].any()


def test_one_gap_does_not_hurt_the_volume_after_the_next() -> None:
    n = 20 * TR
    anchors = list(range(0, n, TR))
    truth = eeg(n)
    data = truth + scan(anchors, n)
    _, whole, _ = run(data, on_time(anchors))
    gap = slice(12 * TR + 400, 12 * TR + 420)
    _, out, flags = run(data, on_time(anchors), lost=gap)
    assert np.isnan(out[gap]).all()
    for k in (13, 14, 15):
        part = slice(k * TR, (k + 1) * TR)
        assert rms(out[part] - truth[part]) <= 1.05 * rms(whole[part] - truth[part])
    assert not flags[gap.stop :].any()


def test_a_gap_over_the_trigger_itself_is_survived() -> None:
    n = 16 * TR
    anchors = list(range(0, n, TR))
    truth = eeg(n)
    gap = slice(12 * TR - 20, 12 * TR + 20)
    _, out, _ = run(truth + scan(anchors, n), on_time(anchors), lost=gap)
    after = slice(gap.stop, n)
    assert rms(out[after] - truth[after]) <= 1.15 * SD / np.sqrt(10)


def test_repetition_times_that_are_no_whole_number_of_samples() -> None:
    n = 30 * TR
    places = [k * 1000.5 for k in range(29)]
    anchors = [round(p) for p in places]
    truth = eeg(n)
    _, out, flags = run(truth + scan(places, n, 1000.5), {max(0, a - 20): a for a in anchors})
    late = slice(anchors[20], anchors[28])
    assert not flags[late].any()
    assert rms(out[late] - truth[late]) <= 1.15 * SD / np.sqrt(19)


def test_late_triggers_of_volumes_between_samples_still_fill_the_template() -> None:
    n = 30 * TR
    places = [k * 1000.5 for k in range(29)]
    truth = eeg(n)
    gradient, out, _ = run(truth + scan(places, n, 1000.5), {round(p) + 100: round(p) for p in places})
    assert gradient.epochs == 25
    late = slice(round(places[20]), round(places[27]))
    assert rms(out[late] - truth[late]) <= 1.15 * SD / np.sqrt(19)


def test_spoiled_samples_do_not_enter() -> None:
    n = 12 * TR
    anchors = list(range(0, n, TR))
    data = eeg(n) + scan(anchors, n)
    data[9 * TR + 300 : 9 * TR + 310] = 16e-3
    gradient = Gradient(GradientSettings(), SFREQ, N_CHANNELS)
    for a in anchors:
        gradient.trigger(a)
    gradient.spoil(9 * TR + 300, 9 * TR + 310)
    ((_, out, *_),) = gradient(0, data)
    assert rms(out[10 * TR :]) < 1.3 * SD


def test_when_the_scanner_stops_the_correction_stops_too() -> None:
    n = 16 * TR
    anchors = list(range(0, 8 * TR, TR))
    truth = eeg(n)
    gradient, out, flags = run(truth + scan(anchors, n), on_time(anchors))
    wrong = np.flatnonzero((out[8 * TR :] != truth[8 * TR :]).any(axis=1))
    assert len(wrong) <= 20
    # what follows a wrong subtraction is flagged, so that filters are given time; then quiet EEG is what it is
    assert flags[8 * TR + len(wrong) + 50] == int(Flag.UNSYNCED)
    assert not flags[8 * TR + 200 :].any()
    assert not gradient.synced


def test_with_a_hold_the_correction_stops_in_time() -> None:
    n = 16 * TR
    anchors = list(range(0, 8 * TR, TR))
    truth = eeg(n)
    _, out, _ = run(truth + scan(anchors, n), on_time(anchors), GradientSettings(hold_s=0.064))
    np.testing.assert_array_equal(out[8 * TR :], truth[8 * TR :])


def test_when_only_the_triggers_stop_it_coasts_and_then_says_so() -> None:
    n = 16 * TR
    anchors = list(range(0, n, TR))
    truth = eeg(n)
    _, out, flags = run(truth + scan(anchors, n), on_time(anchors[:8]))
    assert not flags[5 * TR : 11 * TR].any()
    assert rms(out[8 * TR : 11 * TR] - truth[8 * TR : 11 * TR]) < 1.15 * SD / np.sqrt(7)
    # the template is three samples longer than the volume
    assert (flags[11 * TR + 3 :] == int(Flag.UNSYNCED)).all()


def test_another_sequence_is_learned_anew() -> None:
    first = list(range(0, 8 * TR, TR))
    second = list(range(8 * TR + 300, 20 * TR, 700))
    n = 20 * TR
    truth = eeg(n)
    artefact = scan(first, n)
    artefact[8 * TR + 300 :] = scan([a - second[0] for a in second], n, 700)[: n - second[0]]
    _, out, flags = run(truth + artefact, on_time([*first, *second]))
    assert (flags[second[0] : second[4]] == int(Flag.WARMING)).all()
    assert not flags[second[4] : second[-1]].any()
    assert rms(out[second[6] : second[-1]] - truth[second[6] : second[-1]]) < 1.15 * SD / np.sqrt(6)


def test_one_stray_trigger_does_not_pass_for_a_scan_for_ever() -> None:
    n = 10 * TR
    _, _, flags = run(eeg(n), {0: 0})
    assert flags[0] == int(Flag.WARMING)
    assert flags[-1] == int(Flag.NONE)


@pytest.mark.parametrize("size", [1, 20, 333])
def test_gradients_without_triggers_are_heard(size: int) -> None:
    n = 9 * TR
    truth = eeg(n)
    noise = scan([float(k) for k in range(2 * TR, 5 * TR, TR)], n)
    _, out, flags = run(truth + noise, {}, size=size)
    assert not flags[: 2 * TR].any()
    assert (flags[2 * TR + 20 : 5 * TR] == int(Flag.UNSYNCED)).all()
    assert not flags[5 * TR + 200 :].any()
    np.testing.assert_array_equal(out, truth + noise)


def test_a_trigger_that_comes_twice_is_ignored() -> None:
    n = 10 * TR
    anchors = list(range(0, n, TR))
    data = eeg(n) + scan(anchors, n)
    gradient, out, _ = run(data, {**on_time(anchors), 7 * TR + 60: 7 * TR + 30})
    _, same, _ = run(data, on_time(anchors))
    assert gradient.ignored == 1
    np.testing.assert_array_equal(out, same)


def test_the_template_does_not_drift() -> None:
    n = 60 * TR
    anchors = list(range(0, n, TR))
    data = eeg(n) + scan(anchors, n)
    gradient, out, _ = run(data, on_time(anchors), GradientSettings(follow_gain=False), size=1000)
    template = gradient._learning._template
    assert template is not None
    epochs, weights = [data[e.base : e.base + TR] for e in template.epochs], [e.weight for e in template.epochs]
    direct = sum(w.astype(np.float64) * e for w, e in zip(weights, epochs, strict=True)) / np.sum(weights, axis=0)
    np.testing.assert_allclose(data[-TR:] - out[-TR:], direct, atol=5e-9)


def test_a_planted_rhythm_off_the_volume_rate_is_kept() -> None:
    n = 40 * TR
    anchors = list(range(0, n, TR))
    t = np.arange(n) / SFREQ
    alpha = (8e-6 * np.sin(2 * np.pi * 10.37 * t)[:, None] * np.ones(N_CHANNELS)).astype(np.float32)
    _, out, _ = run(eeg(n) * 0.3 + alpha + scan(anchors, n), on_time(anchors))
    late = slice(30 * TR, n)
    turn = np.exp(-2j * np.pi * 10.37 * t[late])
    gain = np.abs((out[late] * turn[:, None]).sum(axis=0)) / np.abs((alpha[late] * turn[:, None]).sum(axis=0))
    assert np.abs(20 * np.log10(gain)).max() < 0.5


def test_spans_cover_every_sample_once() -> None:
    gradient = Gradient(GradientSettings(), SFREQ, 1)
    gradient.trigger(30)
    ((_, _, spans, *_),) = gradient(0, np.zeros((100, 1), np.float32))
    assert spans == [Span(0, 30, Flag.NONE), Span(30, 100, Flag.WARMING)]


def test_samples_lost_between_the_first_two_triggers_tell_no_period() -> None:
    gradient = Gradient(GradientSettings(), 1000.0, 2)
    rng = np.random.default_rng(0)
    for first in range(0, 8000, 100):
        if first in {300, 400}:
            continue
        if first % 1000 == 100:
            gradient.trigger(first)
        gradient(first, (1e-5 * rng.standard_normal((100, 2))).astype(np.float32))
    assert gradient.rhythm.tr_s == pytest.approx(1.0, rel=0.01)
