"""The gradient stage on volumes that begin between samples, jitter, change size, and on a head that moves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.clean.eeg.gradient.gradient import Corrected, Gradient, GradientSettings
from streamer.messages import Flag

SFREQ = 2500.0
TR = 2500
N_CHANNELS = 6
SD = 8e-6


def eeg(n: int, seed: int = 0) -> np.ndarray:
    """1/f noise below 100 Hz, V."""
    rng = np.random.default_rng(seed)
    freqs = np.fft.rfftfreq(n, 1 / SFREQ)
    spectrum = np.fft.rfft(rng.standard_normal((N_CHANNELS, n))) / np.sqrt(np.maximum(freqs, 1.0))
    spectrum[:, (freqs > 100) | (freqs < 0.5)] = 0
    wave = np.fft.irfft(spectrum, n).T
    return SD * wave / wave.std(axis=0)


def artefact(t: np.ndarray, seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    out = np.zeros((len(t), N_CHANNELS))
    for k in range(1, 12):
        phase, size = rng.uniform(0, 6, N_CHANNELS), rng.uniform(0.5, 1.5, N_CHANNELS)
        out += np.cos(2 * np.pi * 16 * k * t[:, None] / TR + phase) * size / (1 + k / 5)
    return 3e-4 * out


def scan(places: np.ndarray, n: int, gains: np.ndarray | None = None, seed: int = 3) -> np.ndarray:
    out = np.zeros((n, N_CHANNELS))
    for k, (a, b) in enumerate(zip(places, [*places[1:], places[-1] + TR], strict=True)):
        at = np.arange(max(0, int(np.ceil(a))), min(n, int(np.ceil(b))))
        out[at] = artefact(at - a, seed) * (1.0 if gains is None else gains[k])
    return out


def run(
    data: np.ndarray,
    triggers: list[int],
    chosen: GradientSettings | None = None,
    sizes: tuple[int, ...] = (50,),
    lost: slice | None = None,
) -> tuple[Gradient, np.ndarray, np.ndarray]:
    gradient = Gradient(chosen or GradientSettings(), SFREQ, N_CHANNELS)
    for trigger in triggers:
        gradient.trigger(trigger)
    data = data.astype(np.float32)
    out, flags = np.full_like(data, np.nan), np.full(len(data), -1)
    at = i = 0
    while at < len(data):
        stop = min(len(data), at + sizes[i % len(sizes)])
        for a, b in [(at, stop)] if lost is None else [(at, min(stop, lost.start)), (max(at, lost.stop), stop)]:
            if a < b:
                put(gradient(a, data[a:b]), out, flags)
        at, i = stop, i + 1
    put(gradient.flush(), out, flags)
    return gradient, out, flags


def put(pieces: list[Corrected], out: np.ndarray, flags: np.ndarray) -> None:
    for first, data, spans, *_ in pieces:
        assert np.isnan(out[first : first + len(data)]).all()
        out[first : first + len(data)] = data
        for start, stop, flag in spans:
            flags[start:stop] = int(flag)


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def error(data: np.ndarray, truth: np.ndarray, places: np.ndarray, first: int, **kwargs) -> tuple[float, Gradient]:
    gradient, out, flags = run(data, [round(p) for p in places], **kwargs)
    late = slice(round(places[first]), round(places[-1]))
    assert not flags[late].any()
    return rms(out[late] - truth[late]), gradient


@pytest.mark.parametrize("ppm", [0.0, 0.5, 10.0, -50.0, 200.0])
def test_a_clock_that_runs_off_costs_nothing(ppm: float) -> None:
    places = 100 + np.arange(24) * TR * (1 + ppm * 1e-6)
    truth = eeg(25 * TR)
    got, gradient = error(truth + scan(places, len(truth)), truth, places, 14, chosen=GradientSettings(n_max=12))
    assert got <= 1.1 * SD / np.sqrt(12)
    assert gradient.rhythm.drift_ppm == pytest.approx(ppm, abs=0.5)
    assert gradient.rhythm.slices == 16


def test_with_one_clock_nothing_is_interpolated() -> None:
    places = 100.0 + np.arange(10) * TR
    truth = eeg(11 * TR)
    _, gradient = error(truth + scan(places, len(truth)), truth, places, 5)
    template = gradient._learning._template
    assert template is not None
    assert [epoch.shift for epoch in template.epochs] == [0.0] * len(template.epochs)
    assert gradient._volume is not None
    assert gradient._volume.shift == 0.0


def test_jitter_is_taken_out_from_the_first_sample_on_with_a_hold_and_soon_without() -> None:
    rng = np.random.default_rng(8)
    places = 100 + np.arange(26) * TR + 0.25 * rng.standard_normal(26)
    regular = [100 + k * TR for k in range(26)]
    truth = eeg(27 * TR)
    data = truth + scan(places, len(truth))
    chosen = GradientSettings(n_max=12, hold_s=0.064)
    held, held_out, _ = run(data, regular, chosen)
    free, free_out, _ = run(data, regular, GradientSettings(n_max=12))
    late = slice(14 * TR, 25 * TR)
    floor = 1.15 * SD / np.sqrt(12)
    assert rms(held_out[late] - truth[late]) <= floor
    assert held.rhythm.jitter_us == pytest.approx(100.0, rel=0.6)
    assert (free.rhythm.jitter_us or 0) > 5
    starts = [slice(round(places[k]) + 300, round(places[k]) + TR - 20) for k in range(14, 25)]
    assert rms(np.concatenate([free_out[s] - truth[s] for s in starts])) <= floor


def test_what_is_held_comes_out_at_a_gap_and_the_output_is_as_late_as_declared() -> None:
    truth = eeg(4 * TR).astype(np.float32)
    gradient = Gradient(GradientSettings(hold_s=0.064), SFREQ, N_CHANNELS)
    assert gradient.hold == 160
    assert gradient(0, truth[:100]) == []
    ((first, data, spans, *_),) = gradient(100, truth[100:300])
    assert (first, len(data), gradient.held) == (0, 140, 160)
    assert spans == [(0, 140, Flag.NONE)]
    ((first, data, *_),) = gradient(400, truth[400:500])
    assert (first, len(data)) == (140, 160)
    np.testing.assert_array_equal(data, truth[140:300])
    ((first, data, *_),) = gradient.flush()
    assert (first, len(data)) == (400, 100)
    assert gradient.flush() == []


@settings(max_examples=6, deadline=None)
@given(
    st.lists(st.integers(1, 700), min_size=4, max_size=12),
    st.sampled_from([0.0, 0.064]),
    st.sampled_from([0.0, 0.3]),
    st.sampled_from(["sliding", "weighted"]),
)
def test_any_chunking_gives_the_same_bits(sizes: list[int], hold: float, jitter: float, window: str) -> None:
    n = 7 * TR
    rng = np.random.default_rng(5)
    places = 30 + np.arange(7) * (TR + 0.2) + jitter * rng.standard_normal(7)
    data = eeg(n) + scan(places, n, 1 + 0.01 * rng.standard_normal((7, N_CHANNELS)))
    triggers = [round(p) for i, p in enumerate(places) if i != 4]
    chosen = GradientSettings.model_validate({"hold_s": hold, "window": window, "n_max": 4})
    gap = slice(5 * TR + 700, 5 * TR + 750)
    _, out, flags = run(data, triggers, chosen, tuple(sizes), gap)
    _, same, same_flags = run(data, triggers, chosen, (n,), gap)
    np.testing.assert_array_equal(out, same)
    np.testing.assert_array_equal(flags, same_flags)


def test_amplitudes_that_walk_are_followed() -> None:
    rng = np.random.default_rng(9)
    places = 100.0 + np.arange(26) * TR
    walk = 1 + np.cumsum(0.004 * rng.standard_normal((26, N_CHANNELS)), axis=0)
    truth = eeg(27 * TR)
    data = truth + scan(places, len(truth), walk)
    followed, _ = error(data, truth, places, 10)
    left, _ = error(data, truth, places, 10, chosen=GradientSettings(follow_gain=False))
    assert followed < 0.5 * left


def test_pulse_taken_out_of_the_history_does_not_enter_the_template() -> None:
    n = 20 * TR
    places = 100.0 + np.arange(19) * TR
    truth = eeg(n)
    pulse = np.repeat(4 * eeg(n, seed=11)[:, :1], N_CHANNELS, axis=1)
    data = (truth + pulse + scan(places, n)).astype(np.float32)
    late = slice(14 * TR, 18 * TR)

    def left(told: bool) -> float:
        gradient = Gradient(GradientSettings(n_max=10), SFREQ, N_CHANNELS)
        out = np.empty_like(data)
        for at in range(0, n, 100):
            if (at - 100) % TR == 0:
                gradient.trigger(at)
            ((_, out[at : at + 100], *_),) = gradient(at, data[at : at + 100])
            if told and at >= 500:
                gradient.without_pulse(at - 500, pulse[at - 500 : at - 400].astype(np.float32))
        return rms(out[late] - (truth + pulse)[late])

    assert left(told=False) > 3 * SD / np.sqrt(10)
    assert left(told=True) < 1.15 * SD / np.sqrt(10)


def test_after_a_move_the_epochs_before_it_hardly_count() -> None:
    n = 22 * TR
    truth = eeg(n)
    anchors = [100 + k * TR for k in range(21)]
    change = 1 + 0.05 * np.random.default_rng(2).standard_normal((1, N_CHANNELS))
    gains = np.repeat([np.ones((1, N_CHANNELS)), change], [12, 9], axis=0)[:, 0]
    data = (truth + scan(np.array(anchors, float), n, gains)).astype(np.float32)

    def left(told: bool) -> float:
        gradient = Gradient(GradientSettings(follow_gain=False), SFREQ, N_CHANNELS)
        out = np.empty_like(data)
        for at in range(0, n, 100):
            k = (at - 100) // TR
            if (at - 100) % TR == 0:
                gradient.trigger(at)
                if told and k >= 2:
                    moved = 1.5 if k - 2 >= 12 else 0.0
                    gradient.pose(anchors[k - 2], np.array([moved, 0, 0, 0, 0, 0]))
            ((_, out[at : at + 100], *_),) = gradient(at, data[at : at + 100])
        return rms(out[16 * TR : 20 * TR] - truth[16 * TR : 20 * TR])

    assert left(told=True) < 0.6 * left(told=False)


def test_another_artefact_at_the_same_beat_is_learned_anew() -> None:
    n = 22 * TR
    truth = eeg(n)
    places = 100.0 + np.arange(21) * TR
    change = 100 + 10 * TR
    artefacts = scan(places, n)
    artefacts[change:] = scan(places, n, seed=12)[change:]
    _, out, flags = run(truth + artefacts, [round(p) for p in places])
    assert (flags[change + 600 : change + 4 * TR] == int(Flag.WARMING)).all()
    assert not flags[change + 6 * TR : 100 + 20 * TR].any()
    late = slice(change + 7 * TR, 100 + 20 * TR)
    assert rms(out[late] - truth[late]) < 1.15 * SD / np.sqrt(5)


def test_a_new_series_forgets_the_old_epochs() -> None:
    n = 12 * TR
    places = 100.0 + np.arange(11) * TR
    data = (eeg(n) + scan(places, n)).astype(np.float32)
    gradient = Gradient(GradientSettings(), SFREQ, N_CHANNELS)
    for p in places:
        gradient.trigger(round(p))
    gradient(0, data[: 8 * TR])
    assert gradient.epochs == 7
    gradient.forget(100 + 5 * TR)
    gradient(8 * TR, data[8 * TR : 9 * TR])
    assert gradient.epochs == 3
    gradient.forget(9 * TR)
    assert gradient.epochs == 0
    ((_, _, spans, *_),) = gradient(9 * TR, data[9 * TR : 9 * TR + 50])
    assert spans[0].flags == Flag.WARMING


def test_a_pulse_in_the_midst_of_a_volume_does_not_stop_the_sequence() -> None:
    n = 14 * TR
    truth = eeg(n)
    places = 100.0 + np.arange(13) * TR
    data = truth + scan(places, n)
    anchors = [round(p) for p in places]
    extra = 100 + 9 * TR + 1700
    gradient = Gradient(GradientSettings(), SFREQ, N_CHANNELS)
    same = Gradient(GradientSettings(), SFREQ, N_CHANNELS)
    for anchor in anchors:
        gradient.trigger(anchor)
        same.trigger(anchor)
    for at in range(0, n, 100):
        if at == extra // 100 * 100:
            gradient.trigger(extra)
        piece = data[at : at + 100].astype(np.float32)
        ((_, out, *_),) = gradient(at, piece)
        ((_, expected, *_),) = same(at, piece)
        np.testing.assert_array_equal(out, expected)
    assert gradient.ignored == 1


def test_samples_lost_and_miscounted_move_the_places_but_not_the_rate() -> None:
    n = 24 * TR
    truth = eeg(n)
    ppm = 20e-6
    places = 100 + np.arange(23) * TR * (1 + ppm)
    places[14:] += 37
    data = truth + scan(places, n)
    gap = slice(100 + 13 * TR + 900, 100 + 13 * TR + 950)
    gradient, out, flags = run(data, [round(p) for p in places], lost=gap)
    late = slice(round(places[15]), round(places[22]))
    assert rms(out[late] - truth[late]) < 1.15 * SD / np.sqrt(12)
    assert not flags[late].any()
    assert gradient.epochs > 15
    assert gradient.rhythm.drift_ppm == pytest.approx(20.0, abs=0.5)


def test_one_channel_with_a_burst_does_not_spoil_its_template() -> None:
    n = 14 * TR
    places = 100.0 + np.arange(13) * TR
    truth = eeg(n)
    truth[9 * TR + 500 : 9 * TR + 1500, 2] += 400e-6 * np.sin(np.arange(1000) * np.pi / 1000)
    got, _ = error(truth + scan(places, n), truth, places, 10)
    assert got < 1.5 * SD / np.sqrt(10)


def test_a_trigger_just_after_the_forecast_confirms_the_volume_and_begins_no_other() -> None:
    n = 26 * TR
    truth = eeg(n)
    # the volumes jitter; where the forecast is early, it lies in the chunk before the one that brings the trigger
    places = 100.0 + np.arange(25) * TR + np.random.default_rng(13).uniform(-0.5, 0.5, 25)
    data = (truth + scan(places, n)).astype(np.float32)
    gradient = Gradient(GradientSettings(hold_s=0.064, n_max=12), SFREQ, N_CHANNELS)
    out, flags = np.full_like(data, np.nan), np.full(n, -1)
    for at in range(0, n, 100):
        if (at - 100) % TR == 0 and 100 <= at < 100 + 25 * TR:
            gradient.trigger(at)
        put(gradient(at, data[at : at + 100]), out, flags)
    late = slice(14 * TR, 24 * TR)
    assert rms(out[late] - truth[late]) < 1.1 * SD / np.sqrt(12)
    assert not flags[late].any()
