"""The first two volumes: corrected by the shots before, then by the one volume that there is."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.bench.eeg_truth import Planted, plant
from streamer.clean.eeg.gradient import shot_bridge
from streamer.clean.eeg.gradient.gradient import Gradient, GradientSettings
from streamer.clean.eeg.gradient.shot_bridge import ShotBridge
from streamer.clean.eeg.gradient.shots import shot_period
from streamer.clean.eeg.gradient.volume import Volume
from streamer.filters import SosFilter, highpass
from streamer.messages import F32, Array, Flag
from streamer.simulate.settings import SimulationSettings

SFREQ = 5000.0
N_CHANNELS = 12
SHORT: dict[str, Any] = {"seed": 21, "n_channels": N_CHANNELS, "n_blocks": 2, "block_s": 3.0, "lead_s": 1.0}
SEQUENCES: dict[str, dict[str, Any]] = {
    "TR 2 s": {"tr_s": 2.0, "grid": (16, 16, 30)},
    "TR 0.8 s MB 8": {"tr_s": 0.8, "grid": (16, 16, 64), "multiband": 8},
    "equal slices": {"tr_s": 2.0, "grid": (16, 16, 32), "gradient_off_slice": 0.0},
    "pauses": {"tr_s": 2.0, "grid": (16, 16, 30), "slice_dead": 0.3},
    "unlike slices": {"tr_s": 2.0, "grid": (16, 16, 30), "gradient_off_slice": 0.5},
    "50 ppm": {"tr_s": 2.0, "grid": (16, 16, 30), "faults": {"clock_ppm": 50.0}},
}


@cache
def planted(name: str) -> Planted:
    return plant(SimulationSettings.model_validate(SHORT | {"stop_s": 0.5} | SEQUENCES[name]))


def filtered(*parts: F32) -> F32:
    return SosFilter(highpass(0.5, SFREQ))(sum(parts[1:], parts[0]).astype(np.float64)).astype(np.float32)


@cache
def signals(name: str) -> tuple[F32, F32, list[int]]:
    """The recording and the truth in it, both high-passed, and the triggers."""
    p = planted(name)
    return filtered(p.eeg, p.pulse, p.gradient), filtered(p.eeg, p.pulse), p.triggers.tolist()


def run(
    data: F32,
    triggers: list[int],
    sizes: tuple[int, ...] = (100,),
    *,
    hold_s: float = 0.0,
    late: int | None = None,
    lost: range | None = None,
) -> tuple[F32, Array]:
    """Feed in chunks; triggers are known from the beginning, or ``late`` samples after they were."""
    gradient = Gradient(GradientSettings(hold_s=hold_s), SFREQ, data.shape[1], step=20)
    waiting = list(triggers)
    out, flags = np.full_like(data, np.nan), np.full(len(data), -1)
    at = i = 0
    while at < len(data):
        while waiting and (late is None or waiting[0] + late <= at):
            gradient.trigger(waiting.pop(0))
        stop = min(len(data), at + sizes[i % len(sizes)])
        if lost is None or at not in lost:
            for first, part, spans, *_ in gradient(at, data[at:stop]):
                out[first : first + len(part)] = part
                for a, b, flag in spans:
                    flags[a:b] = int(flag)
        at, i = stop, i + 1
    for first, part, spans, *_ in gradient.flush():
        out[first : first + len(part)] = part
        for a, b, flag in spans:
            flags[a:b] = int(flag)
    return out, flags


def rms(x: Array) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def attenuation(data: F32, truth: F32, out: F32, part: slice) -> float:
    return 20 * np.log10(rms((data - truth)[part, :-1]) / rms((out - truth)[part, :-1]))


@pytest.mark.parametrize(
    ("name", "within_s", "first_db", "second_db"),
    [
        ("TR 2 s", 0.16, 10.0, 30.0),
        ("TR 0.8 s MB 8", 0.22, 17.0, 30.0),
        ("equal slices", 0.16, 38.0, 33.0),
        ("pauses", 0.16, 10.0, 27.0),
        ("50 ppm", 0.16, 10.0, 27.0),
    ],
)
def test_the_first_volumes_are_corrected_and_flagged(
    name: str, within_s: float, first_db: float, second_db: float
) -> None:
    data, truth, triggers = signals(name)
    out, flags = run(data, triggers)
    first, second, third = triggers[:3]
    begin = int(np.flatnonzero((out != data).any(axis=1))[0])
    assert first < begin <= first + within_s * SFREQ
    assert attenuation(data, truth, out, slice(begin, second)) > first_db
    assert attenuation(data, truth, out, slice(second, third)) > second_db
    assert (flags[first:third] == int(Flag.WARMING)).all()


def test_it_knows_how_long_a_shot_is() -> None:
    for name, shots in (("TR 2 s", 30), ("equal slices", 32), ("TR 0.8 s MB 8", 8)):
        data, _, triggers = signals(name)
        period = shot_period(data[triggers[0] : triggers[0] + 2000], SFREQ)
        assert period == pytest.approx((triggers[1] - triggers[0]) / shots, abs=0.5)


@pytest.mark.parametrize("seconds", [0.01, 0.3])
def test_what_does_not_repeat_has_no_shots(seconds: float) -> None:
    noise = np.random.default_rng(5).standard_normal((round(seconds * SFREQ), 4)).astype(np.float32)
    assert shot_period(noise, SFREQ) is None
    assert shot_period(np.zeros_like(noise), SFREQ) is None


@pytest.mark.parametrize("name", list(SEQUENCES))
def test_no_volume_is_worse_in_any_channel(name: str) -> None:
    data, _, triggers = signals(name)
    out, _ = run(data, triggers)
    for a, b in pairwise(triggers[:3]):
        before, after = (np.square(x[a:b], dtype=np.float64).sum(axis=0) for x in (data, out))
        assert (after <= before).all()


def test_where_slices_have_little_in_common_it_stays_off() -> None:
    data, _, triggers = signals("unlike slices")
    out, _ = run(data, triggers)
    np.testing.assert_array_equal(out[: triggers[1]], data[: triggers[1]])


def test_triggers_without_gradients_change_nothing() -> None:
    p = planted("TR 2 s")
    # a rhythm that repeats better than any artefact, and is EEG
    t = np.arange(len(p.eeg)) / SFREQ
    data = filtered(p.eeg, p.pulse) + (60e-6 * np.sin(2 * np.pi * 10 * t)).astype(np.float32)[:, None]
    first, second, third = p.triggers[:3].tolist()
    out, _ = run(data, [first, second])
    np.testing.assert_array_equal(out[:third], data[:third])


def test_a_channel_without_artefact_is_left_alone() -> None:
    data, truth, triggers = signals("TR 2 s")
    data = data.copy()
    data[:, 2] = truth[:, 2]
    out, _ = run(data, triggers)
    np.testing.assert_array_equal(out[: triggers[1], 2], data[: triggers[1], 2])
    # the second volume takes one block to tell
    part = slice(triggers[1] + 64, triggers[2])
    assert rms(out[part, 2]) <= 1.05 * rms(data[part, 2])
    assert rms(out[part, 3]) < 0.1 * rms(data[part, 3])


def test_when_the_scanner_stops_in_its_first_volume_two_blocks_are_spoiled_at_most() -> None:
    p = planted("TR 2 s")
    first = int(p.triggers[0])
    stop = first + 4321
    gradient = p.gradient.copy()
    gradient[stop:] = 0
    data = filtered(p.eeg, p.pulse, gradient)
    out, _ = run(data, [first])
    np.testing.assert_array_equal(out[stop + 128 :], data[stop + 128 :])
    assert rms(out[first:stop]) < 0.5 * rms(data[first:stop])


def test_after_lost_samples_in_the_first_volume_it_goes_on() -> None:
    data, truth, triggers = signals("TR 2 s")
    lost = range(triggers[0] // 100 * 100 + 3000, triggers[0] // 100 * 100 + 3400)
    out, _ = run(data, triggers, lost=lost)
    assert np.isnan(out[lost.start : lost.stop]).all()
    for a in range(lost.stop, triggers[1] - 1000, 1000):
        assert rms(out[a : a + 1000]) <= 1.05 * rms(data[a : a + 1000])
    assert attenuation(data, truth, out, slice(lost.stop + 2000, triggers[1])) > 10.0


def test_shots_that_become_longer_are_found_anew() -> None:
    p, other = planted("TR 2 s"), planted("TR 0.8 s MB 8")
    first = int(p.triggers[0])
    change, end = first + 6000, first + 20000
    gradient = np.concatenate([p.gradient[:change], other.gradient[change:end]])
    data, truth = filtered(p.eeg[:end], gradient), filtered(p.eeg[:end])
    out, _ = run(data, [first])
    assert attenuation(data, truth, out, slice(first + 1000, change)) > 10.0
    assert attenuation(data, truth, out, slice(change + 4000, end)) > 10.0
    for a in range(change, end, 1000):
        assert rms(out[a : a + 1000]) <= 1.1 * rms(data[a : a + 1000])


@pytest.mark.parametrize("late", [100, 300])
def test_late_triggers_leave_the_shots_in_use(late: int) -> None:
    data, truth, triggers = signals("TR 2 s")
    out, _ = run(data, triggers, late=late)
    at = triggers[1]
    assert attenuation(data, truth, out, slice(at, at + late)) > 10.0
    assert attenuation(data, truth, out, slice(at + late + 100, triggers[2])) > 30.0


def test_nothing_is_compiled_in_a_run() -> None:
    Gradient(GradientSettings(), SFREQ, N_CHANNELS)
    compiled: Any = shot_bridge._subtract_taps  # pyright: ignore[reportPrivateUsage]
    known = list(compiled.signatures)
    data, _, triggers = signals("TR 2 s")
    # the history's ring is read across its end as well
    for begin in (0, 8 * 5000):
        gradient = Gradient(GradientSettings(), SFREQ, N_CHANNELS)
        gradient.trigger(begin + triggers[0])
        gradient(begin, data[: triggers[1]])
    assert list(compiled.signatures) == known


@pytest.mark.parametrize("hold_s", [0.0, 0.064])
@pytest.mark.parametrize("name", ["TR 2 s", "TR 0.8 s MB 8", "50 ppm"])
def test_later_volumes_are_the_same_bits_without_it(name: str, hold_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    data, _, triggers = signals(name)
    out, flags = run(data, triggers, hold_s=hold_s)
    whole = Volume.subtract

    def pass_through(self: ShotBridge, first: int, data: F32, out: F32) -> None:
        out[:] = data

    def from_the_third_on(self: Volume, history: Any, first: int, data: F32, out: F32) -> None:
        if self.epochs < 2:
            out[:] = data
        else:
            whole(self, history, first, data, out)

    monkeypatch.setattr(ShotBridge, "subtract", pass_through)
    monkeypatch.setattr(Volume, "subtract", from_the_third_on)
    before, flags_before = run(data, triggers, hold_s=hold_s)
    np.testing.assert_array_equal(before[: triggers[2] - 2], data[: triggers[2] - 2])
    np.testing.assert_array_equal(out[triggers[2] :], before[triggers[2] :])
    np.testing.assert_array_equal(flags, flags_before)


@settings(max_examples=12, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 6000), min_size=1, max_size=6).filter(lambda sizes: sum(sizes) > 200),
    hold_s=st.sampled_from([0.0, 0.064]),
    name=st.sampled_from(["TR 2 s", "TR 0.8 s MB 8", "pauses"]),
)
def test_any_chunking_gives_the_same_bits(sizes: list[int], hold_s: float, name: str) -> None:
    data, _, triggers = signals(name)
    until = triggers[2] + 500
    one, flags = run(data[:until], triggers, (until,), hold_s=hold_s)
    out, same = run(data[:until], triggers, tuple(sizes), hold_s=hold_s)
    np.testing.assert_array_equal(out, one)
    np.testing.assert_array_equal(flags, same)
