from __future__ import annotations

import numpy as np
import pytest

from streamer.clean.eeg.gradient import Gradient, GradientSettings, Span
from streamer.messages import Flag

SFREQ = 1000.0
TR = 1000
N_CHANNELS = 4
SD = 10e-6


def eeg(n: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((n, N_CHANNELS)) * SD).astype(np.float32)


def volume(length: int, seed: int = 3) -> np.ndarray:
    """One volume of artefact, about 3 mV peak to peak: slice harmonics, weighted per channel."""
    rng = np.random.default_rng(seed)
    t = np.arange(length)
    out = np.zeros((length, N_CHANNELS))
    for k in range(1, 10):
        out += np.cos(2 * np.pi * 16 * k * t / length + rng.uniform(0, 6))[:, None] * rng.uniform(0.5, 1.5, N_CHANNELS)
    return 3e-3 * out / np.ptp(out)


def scan(anchors: list[int], n: int, length: int = TR) -> np.ndarray:
    out = np.zeros((n + length, N_CHANNELS))
    one = volume(length)
    for a, b in zip(anchors, [*anchors[1:], anchors[-1] + length], strict=True):
        out[a:b] = one[: b - a] if b - a <= length else np.concatenate([one, one[: b - a - length]])
    return out[:n].astype(np.float32)


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
        got, spans = gradient(a, data[a : a + size])
        out[a : a + size] = got
        for start, stop, flag in spans:
            flags[start:stop] = int(flag)
    return gradient, out, flags


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
    assert rms(out[100 : 100 + 4 * TR]) > 30 * SD


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
    anchors = [round(k * 1000.5) for k in range(29)]
    truth = eeg(n)
    _, out, flags = run(truth + scan(anchors, n, 1001), {max(0, a - 20): a for a in anchors})
    late = slice(anchors[20], anchors[28])
    assert not flags[late].any()
    assert rms(out[late] - truth[late]) <= 1.15 * SD / np.sqrt(19)


def test_late_triggers_off_their_prediction_by_a_sample_still_fill_the_template() -> None:
    n = 30 * TR
    anchors = [round(k * 1000.5) for k in range(29)]
    truth = eeg(n)
    gradient, out, _ = run(truth + scan(anchors, n, 1001), {a + 100: a for a in anchors})
    assert gradient.epochs == 25
    # from where the trigger has come, the correction is exact again
    for k in (24, 25, 26):
        part = slice(anchors[k] + 140, anchors[k + 1] - 1)
        assert rms(out[part] - truth[part]) <= 1.3 * SD / np.sqrt(22)


def test_spoiled_samples_do_not_enter() -> None:
    n = 12 * TR
    anchors = list(range(0, n, TR))
    data = eeg(n) + scan(anchors, n)
    data[9 * TR + 300 : 9 * TR + 310] = 16e-3
    gradient = Gradient(GradientSettings(), SFREQ, N_CHANNELS)
    for a in anchors:
        gradient.trigger(a)
    gradient.spoil(9 * TR + 300, 9 * TR + 310)
    out, _ = gradient(0, data)
    assert rms(out[10 * TR :]) < 1.3 * SD


def test_when_the_scanner_stops_the_correction_stops_too() -> None:
    n = 16 * TR
    anchors = list(range(0, 8 * TR, TR))
    truth = eeg(n)
    gradient, out, flags = run(truth + scan(anchors, n), on_time(anchors))
    assert (flags[8 * TR + 40 :] == int(Flag.UNSYNCED)).all()
    np.testing.assert_array_equal(out[8 * TR + 40 :], truth[8 * TR + 40 :])
    assert not gradient.synced


def test_when_only_the_triggers_stop_it_coasts_and_then_says_so() -> None:
    n = 16 * TR
    anchors = list(range(0, n, TR))
    truth = eeg(n)
    _, out, flags = run(truth + scan(anchors, n), on_time(anchors[:8]))
    assert not flags[5 * TR : 11 * TR].any()
    assert rms(out[8 * TR : 11 * TR] - truth[8 * TR : 11 * TR]) < 1.15 * SD / np.sqrt(7)
    # the template is two samples longer than the volume
    assert (flags[11 * TR + 2 :] == int(Flag.UNSYNCED)).all()


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
    assert flags[-1] == int(Flag.UNSYNCED)


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
    gradient, _, _ = run(data, on_time(anchors), size=1000)
    template = gradient._template
    assert template is not None
    direct = np.mean([data[e.first : e.first + e.length] for e in template.epochs], axis=0, dtype=np.float64)
    done = data[-TR:] - run(data, on_time(anchors), size=1000)[1][-TR:]
    np.testing.assert_allclose(done, direct, atol=1e-9)


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
    _, spans = gradient(0, np.zeros((100, 1), np.float32))
    assert spans == [Span(0, 30, Flag.NONE), Span(30, 100, Flag.WARMING)]
