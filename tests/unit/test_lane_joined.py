"""The stages of the EEG lane together: the loop back to the gradient, holds, labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from streamer.bench.eeg_run import chunks
from streamer.bench.eeg_truth import Planted, plant
from streamer.clean.eeg.front import Front
from streamer.clean.eeg.labels import LabelQueue, Labels
from streamer.clean.eeg.lane import EegLane
from streamer.clean.eeg.lane_settings import EegLaneSettings
from streamer.clean.eeg.upsample import Upsampler
from streamer.errors import ConfigError
from streamer.messages import ChannelInfo, CleanEeg, Flag
from streamer.simulate.settings import SimulationSettings

QUIET: dict[str, Any] = {"reference": {"kind": "none"}, "band_hz": (0.5, 70.0)}


@pytest.fixture(scope="module")
def planted() -> Planted:
    return plant(
        SimulationSettings(
            seed=21, n_channels=12, tr_s=1.5, grid=(16, 16, 18), n_blocks=3, block_s=20.0, pulse_v=150e-6, motion_mm=0.0
        )
    )


def clean(
    planted: Planted, parts: list[np.ndarray], wanted: dict[str, Any], size: int = 500
) -> tuple[EegLane, list[CleanEeg]]:
    lane = EegLane(EegLaneSettings.model_validate(QUIET | wanted), planted.sfreq, planted.channels)
    triggers = planted.triggers.tolist()
    out: list[CleanEeg] = []
    for chunk in chunks(parts, size, planted.sfreq):
        while triggers and triggers[0] < chunk.first_sample + len(chunk.data):
            lane.trigger(triggers.pop(0))
        out += lane.chunk(chunk)
    return lane, out


def joined(out: list[CleanEeg]) -> np.ndarray:
    return np.concatenate([c.data for c in out]).astype(np.float64)


def test_templates_are_better_without_the_pulse_artefact(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop back: the gradient's own error, seen as the difference to the same lane without any gradient."""
    errors: list[float] = []
    for closed in (True, False):
        if not closed:
            monkeypatch.setattr(Front, "without_pulse", lambda *_: None)
        _, whole = clean(planted, [planted.eeg, planted.pulse, planted.gradient], {})
        _, truth = clean(planted, [planted.eeg, planted.pulse], {"gradient": {"enabled": False}})
        late = slice(45 * 250, 60 * 250)
        errors.append(float((joined(whole)[late] - joined(truth)[late]).std()))
    assert errors[0] < 0.85 * errors[1]


def test_the_lane_says_what_it_did_and_how_clean_it_is(planted: Planted) -> None:
    lane, out = clean(planted, [planted.eeg, planted.pulse, planted.gradient], {})
    last = out[-1]
    assert (last.pulse, last.hold, last.bad) == ("fast", 0.0, ())
    assert last.flags == Flag.NONE
    figures = lane.quality.overall()
    beats = planted.body.heart.r_times
    rate = 60 / float(np.median(np.diff(beats[(beats > 50) & (beats < 60)])))
    assert figures["heart_rate_bpm"] == pytest.approx(rate, rel=0.06)
    assert figures["r_confidence"] > 0.9
    assert abs(figures["slice_residual_db"]) < 3.0
    assert lane.quality.figures is not None
    assert lane.quality.reasons == {}


@pytest.mark.parametrize(("mode", "hold_s"), [("balanced", 0.3), ("best", 1.2)])
def test_what_is_held_back_comes_out_whole_and_with_its_own_times(planted: Planted, mode: str, hold_s: float) -> None:
    n = round(20 * planted.sfreq)
    parts = [planted.eeg[:n], planted.pulse[:n], planted.gradient[:n]]
    wanted = {"pulse": {"mode": mode}, "gradient": {"hold_s": 0.064}}
    lane, out = clean(planted, parts, wanted)
    assert lane.hold_s == pytest.approx(hold_s + 0.064)
    assert {c.hold for c in out} == {lane.hold_s}
    first = np.concatenate([c.first_sample + np.arange(len(c.data)) for c in out])
    assert first.tolist() == list(range(len(first)))
    assert len(first) == n // lane.factor - round(lane.hold_s * lane.sfreq_out)
    times = np.concatenate([c.times for c in out])
    np.testing.assert_allclose(times, 100.0 + (first * lane.factor + lane.factor - 1) / planted.sfreq - lane.delay_s)


@pytest.mark.parametrize("mode", ["fast", "balanced", "best"])
def test_a_gap_loses_nothing_of_what_is_held_back(planted: Planted, mode: str) -> None:
    n, lost = round(16 * planted.sfreq), (40_000, 40_500)
    parts = [planted.eeg[:n], planted.pulse[:n], planted.gradient[:n]]
    lane = EegLane(EegLaneSettings.model_validate({"pulse": {"mode": mode}}), planted.sfreq, planted.channels)
    out = [c for chunk in chunks(parts, 300, planted.sfreq, lost) for c in lane.chunk(chunk)]
    index = np.concatenate([c.first_sample + np.arange(len(c.data)) for c in out])
    missing = sorted(set(range(index[-1] + 1)) - set(index.tolist()))
    assert missing == list(range(lost[0] // lane.factor, lost[1] // lane.factor))
    flags = {int(i): c.flags for c in out for i in c.first_sample + np.arange(len(c.data))}
    assert flags[lost[1] // lane.factor] & Flag.GAP


@pytest.mark.parametrize("mode", ["fast", "balanced", "best"])
def test_holds_do_not_make_the_chunking_matter(planted: Planted, mode: str) -> None:
    n = round(14 * planted.sfreq)
    parts = [planted.eeg[:n], planted.pulse[:n], planted.gradient[:n]]
    wanted = {"pulse": {"mode": mode}, "gradient": {"hold_s": 0.064}, "residual": {"obs": "auto", "anc": True}}
    _, one = clean(planted, parts, wanted, size=10_000)

    @hypothesis_settings(max_examples=2, deadline=None)
    @given(size=st.integers(61, 4000))
    def at_any_size(size: int) -> None:
        _, other = clean(planted, parts, wanted, size=size)
        assert np.array_equal(joined(one), joined(other))

    at_any_size()


def test_reference_mode_without_reference_channels_is_refused() -> None:
    channels = tuple(ChannelInfo(f"E{i}", "eeg") for i in range(4))
    with pytest.raises(ConfigError, match="reference"):
        EegLane(EegLaneSettings.model_validate({"pulse": {"mode": "reference"}}), 5000.0, channels)


def test_carbon_wire_loops_take_the_pulse_out(planted: Planted) -> None:
    n = round(30 * planted.sfreq)
    rng = np.random.default_rng(1)
    loops = (planted.pulse[:n, :-1] @ rng.standard_normal((planted.pulse.shape[1] - 1, 3))).astype(np.float32)
    channels = (*planted.channels, *(ChannelInfo(f"CWL{i}", "ref") for i in range(3)))
    wanted = QUIET | {"pulse": {"mode": "reference"}, "gradient": {"enabled": False}}
    left: list[np.ndarray] = []
    for parts in ([planted.eeg[:n] + planted.pulse[:n]], [planted.eeg[:n]]):
        lane = EegLane(EegLaneSettings.model_validate(wanted), planted.sfreq, channels)
        data = np.concatenate([parts[0], loops if not left else np.zeros_like(loops)], axis=1)
        left.append(joined([c for chunk in chunks([data], 500, planted.sfreq) for c in lane.chunk(chunk)])[3000:])
    pulse = planted.pulse[:n, :-1].std()
    assert (left[0] - left[1]).std() < 0.3 * pulse


def test_raised_samples_lie_where_they_belong() -> None:
    factor, delay = 20, 28
    raw = np.arange(20 * 300)
    wave = np.sin(2 * np.pi * 3.0 * raw / 5000.0)
    # what a decimator of that delay would give
    slow = wave[np.maximum(0, np.arange(300) * factor + factor - 1 - delay)]
    upsample = Upsampler(factor, delay)
    pieces = [upsample(first, slow[first : first + 7, None].astype(np.float32)) for first in range(0, 300, 7)]
    at = np.concatenate([first + np.arange(len(data)) for first, data in pieces if data is not None])
    fine = np.concatenate([data[:, 0] for _, data in pieces if data is not None])
    assert np.all(np.diff(at) == 1)
    inside = at > factor
    np.testing.assert_allclose(fine[inside], wave[at[inside]], atol=5e-3)


def test_labels_come_out_in_the_order_in_which_they_went_in() -> None:
    queue = LabelQueue(2)
    mark = np.array([[True, False]] * 3)
    queue.put(0, Labels(np.arange(3.0), np.zeros(3, int), None, None))
    queue.put(3, Labels(np.arange(3.0, 6.0), np.ones(3, int), mark, None))
    first = queue.take(0, 4)
    assert first.times.tolist() == [0, 1, 2, 3]
    assert first.clipped is not None
    assert first.clipped[:, 0].tolist() == [False, False, False, True]
    assert first.still is None
    assert queue.take(4, 2).flags.tolist() == [1, 1]
    with pytest.raises(ValueError, match="not there"):
        queue.take(6, 1)


@pytest.fixture(scope="module")
def multiband() -> Planted:
    return plant(
        SimulationSettings(seed=4, n_channels=11, tr_s=0.8, grid=(16, 16, 16), multiband=2, n_blocks=2, block_s=8.0)
    )


@pytest.mark.parametrize("mode", ["fast", "best"])
def test_chunks_longer_than_a_volume_change_nothing(multiband: Planted, mode: str) -> None:
    n = round(20 * multiband.sfreq)
    parts = [multiband.eeg[:n], multiband.pulse[:n], multiband.gradient[:n]]
    triggers = [t for t in multiband.triggers.tolist() if t < n]

    def cleaned(size: int) -> np.ndarray:
        lane = EegLane(EegLaneSettings.model_validate({"pulse": {"mode": mode}}), multiband.sfreq, multiband.channels)
        for trigger in triggers:
            lane.trigger(trigger)
        return joined([c for chunk in chunks(parts, size, multiband.sfreq) for c in lane.chunk(chunk)])

    usual = cleaned(500)
    for size in (20, 77, 20_000) if mode == "fast" else (1000, 10_000):
        assert np.array_equal(cleaned(size), usual), size
