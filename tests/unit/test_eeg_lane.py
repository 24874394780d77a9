from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from streamer.clean.eeg.channels.channels import BadChannels, ChannelSettings
from streamer.clean.eeg.hops import HopBlocks
from streamer.clean.eeg.lane import EegLane
from streamer.clean.eeg.lane_settings import EegLaneSettings
from streamer.errors import ConfigError
from streamer.messages import ChannelInfo, CleanEeg, EegChunk, Flag, SessionTime

SFREQ = 2500.0
TR = 2000
N = 8
CHANNELS = (ChannelInfo("ECG", "ecg"), *(ChannelInfo(f"E{i}", "eeg") for i in range(N)), ChannelInfo("EOG", "eog"))
SETTINGS = EegLaneSettings(channels=ChannelSettings(block_s=2.0, good_s=4.0))


def pink(n: int, seed: int = 0) -> np.ndarray:
    """1/f noise of 10 µV, low-passed at 100 Hz, V."""
    rng = np.random.default_rng(seed)
    freqs = np.fft.rfftfreq(n, 1 / SFREQ)
    spectrum = np.fft.rfft(rng.standard_normal((len(CHANNELS), n))) / np.sqrt(np.maximum(freqs, 0.2))
    spectrum[:, freqs > 100] = 0
    wave = np.fft.irfft(spectrum, n).T
    return 10e-6 * wave / wave.std(axis=0)


def artefact(n: int) -> np.ndarray:
    t = np.arange(n)
    rng = np.random.default_rng(9)
    out = np.zeros((n, len(CHANNELS)))
    for k in range(1, 14):
        wave = np.cos(2 * np.pi * 13 * k * t / TR + rng.uniform(0, 6)) / (1 + 13 * k * SFREQ / TR / 80)
        out += wave[:, None] * rng.uniform(0.5, 1.5, len(CHANNELS))
    return 3e-3 * out / np.ptp(out)


def chunk(data: np.ndarray, first: int, flags: Flag = Flag.NONE) -> EegChunk:
    times = 10.0 + np.arange(first, first + len(data)) / SFREQ
    return EegChunk("eeg", data.astype(np.float32), times, times, first, SessionTime(float(times[-1])), flags)


def run(
    data: np.ndarray, triggers: list[int], settings: EegLaneSettings = SETTINGS, lost: slice | None = None
) -> tuple[EegLane, list[CleanEeg]]:
    lane = EegLane(settings, SFREQ, CHANNELS)
    out: list[CleanEeg] = []
    for a in range(0, len(data), 50):
        for t in triggers:
            if a <= t < a + 50:
                lane.trigger(t)
        if lost is not None and lost.start <= a < lost.stop:
            continue
        out += lane.chunk(chunk(data[a : a + 50], a))
    return lane, out


def joined(out: list[CleanEeg]) -> np.ndarray:
    return np.concatenate([c.data for c in out]).astype(np.float64)


def indices(out: list[CleanEeg]) -> np.ndarray:
    return np.concatenate([c.first_sample + np.arange(len(c.data)) for c in out])


def flags(out: list[CleanEeg]) -> np.ndarray:
    return np.concatenate([np.full(len(c.data), int(c.flags)) for c in out])


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x))))


def test_the_lane_brings_the_gradient_down_to_the_floor() -> None:
    n = 32 * TR
    eeg = pink(n)
    _, truth = run(eeg, [])
    lane, out = run(eeg + artefact(n), list(range(0, n, TR)))
    late = indices(out) >= 27 * TR // 10
    error = joined(out)[late] - joined(truth)[late]
    assert rms(error) <= 1.15 * rms(joined(truth)[late]) / np.sqrt(25)
    assert lane.quality.template_epochs == 25
    assert lane.quality.synced
    assert lane.quality.bad_channels == ()
    assert not flags(out)[late].any()


def test_a_lost_trigger_and_a_lost_packet_do_not_hurt_the_volume_after_the_next() -> None:
    n = 22 * TR
    eeg = pink(n)
    data = eeg + artefact(n)
    triggers = list(range(0, n, TR))
    _, truth = run(eeg, [])
    _, whole = run(data, triggers)
    lost = slice(12 * TR + 500, 12 * TR + 550)
    lane, hurt = run(data, [t for t in triggers if t != 12 * TR], lost=lost)
    assert lane.quality.gaps == 1
    first, last = 14 * TR // 10, 15 * TR // 10
    reference = joined(truth)[first:last]
    at = indices(hurt)
    part = (at >= first) & (at < last)
    assert rms(joined(hurt)[part] - reference) <= 1.1 * rms(joined(whole)[first:last] - reference)
    assert not flags(hurt)[part].any()


def test_planted_alpha_keeps_its_power() -> None:
    n = 32 * TR
    t = np.arange(n) / SFREQ
    rng = np.random.default_rng(4)
    envelope = np.convolve(rng.standard_normal(n), np.hanning(2500), "same")
    alpha = 8e-6 * envelope / envelope.std() * np.cos(2 * np.pi * 10.1 * t)
    pattern = np.linspace(-1, 1, len(CHANNELS))
    planted = alpha[:, None] * pattern
    settings = EegLaneSettings(reference="none")
    _, out = run(0.3 * pink(n) + planted + artefact(n), list(range(0, n, TR)), settings)
    late = indices(out) >= 27 * TR // 10

    def power(x: np.ndarray) -> np.ndarray:
        freqs = np.fft.rfftfreq(len(x), 1 / 250)
        band = (freqs > 9.1) & (freqs < 11.1)
        return np.sum(np.abs(np.fft.rfft(x * np.hanning(len(x))[:, None], axis=0)[band]) ** 2, axis=0)

    # the same stretch of what was planted, at the rate of the output; the outermost channels carry most
    expected = power(planted[9::10][indices(out)[late]][:, [1, 8]])
    assert np.abs(10 * np.log10(power(joined(out)[late][:, [0, 7]]) / expected)).max() < 0.5


def test_times_are_corrected_for_the_declared_delay() -> None:
    n = 20_000
    t = 10.0 + np.arange(n) / SFREQ
    wave = 1e-5 * np.cos(2 * np.pi * 10 * t)
    lane, out = run(wave[:, None] * np.ones(len(CHANNELS)), [], EegLaneSettings(reference="none"))
    times = np.concatenate([c.times for c in out])[1000:]
    got = joined(out)[1000:, 0]
    # around its band's middle the cascade's group and phase delay differ: compare an envelope
    assert 0.010 < lane.delay_s < 0.025
    assert lane.sfreq_out == 250.0
    burst = np.exp(-0.5 * ((t - 14) / 0.7) ** 2) * wave
    _, out = run(burst[:, None] * np.ones(len(CHANNELS)), [], EegLaneSettings(reference="none"))
    times = np.concatenate([c.times for c in out])
    power = joined(out)[:, 0] ** 2
    assert (times * power).sum() / power.sum() == pytest.approx(14.0, abs=0.002)
    assert np.abs(got).max() == pytest.approx(1e-5, rel=0.05)


def test_only_eeg_channels_come_out_and_enter_the_reference() -> None:
    data = pink(20_000)
    loud = data.copy()
    loud[:, [0, 9]] *= 1000
    lane, out = run(data, [])
    assert [c.name for c in lane.channels] == [f"E{i}" for i in range(N)]
    assert joined(out).shape[1] == N
    np.testing.assert_array_equal(joined(out), joined(run(loud, [], SETTINGS)[1]))
    np.testing.assert_allclose(joined(out).mean(axis=1), 0, atol=1e-11)


def test_a_loud_channel_is_found_leaves_the_reference_and_comes_back() -> None:
    data = pink(60_000)
    data[15_000:30_000, 3] *= 30
    lane = EegLane(SETTINGS, SFREQ, CHANNELS)
    bad: list[tuple[str, ...]] = []
    out: list[CleanEeg] = []
    for a in range(0, len(data), 500):
        out += lane.chunk(chunk(data[a : a + 500], a))
        bad.append(lane.quality.bad_channels)
    # blocks of 2 s end at multiples of 10 chunks; good again after 4 s of good blocks
    assert bad[29] == ()
    assert set(bad[40:79]) == {("E2",)}
    assert bad[-1] == ()
    during = (indices(out) >= 2_000) & (indices(out) < 3_000)
    others = np.delete(joined(out)[during], 2, axis=1)
    np.testing.assert_allclose(others.mean(axis=1), 0, atol=1e-11)


def test_flat_and_railed_channels_are_bad_even_without_a_template() -> None:
    data = pink(30_000) + artefact(30_000)
    data[:, 1] = 1e-3
    data[:, 4] = 0.0164
    lane, out = run(data, [0])
    assert lane.quality.bad_channels == ("E0", "E3")
    assert lane.quality.clipped_hops > 0
    assert flags(out)[0] & int(Flag.CLIPPED)
    # a channel that is known to be bad no longer flags the data; two of eight are too many
    assert not flags(out)[-1] & int(Flag.CLIPPED)
    assert flags(out)[-1] & int(Flag.BAD_CHANNELS)


def test_a_gap_restarts_the_filters_on_the_same_grid() -> None:
    data = pink(20_000) + 5e-3
    lost = slice(10_000, 10_050)
    lane, out = run(data, [], lost=lost)
    np.testing.assert_array_equal(indices(out), np.delete(np.arange(2000), slice(1000, 1005)))
    seen = dict(zip(indices(out).tolist(), flags(out).tolist(), strict=True))
    assert seen[1005] == int(Flag.GAP | Flag.WARMING)
    assert seen[1006] == int(Flag.WARMING)
    assert seen[1254] == int(Flag.WARMING)
    assert seen[1256] == 0
    assert lane.quality.gaps == 1
    assert np.abs(joined(out)).max() < 1e-4


def test_values_that_are_no_numbers_are_held_and_flagged() -> None:
    data = pink(20_000)
    one = data.copy()
    one[10_003:10_017, 2] = np.nan
    _, out = run(one, [])
    assert np.isfinite(joined(out)).all()
    assert not flags(out)[500:].any()
    most = data.copy()
    most[10_003:10_017] = np.inf
    _, out = run(most, [])
    assert np.isfinite(joined(out)).all()
    assert np.flatnonzero(flags(out) & int(Flag.GAP)).tolist() == [1000, 1001]
    assert flags(out)[1002] == int(Flag.WARMING)
    assert flags(out)[-1] == 0


def test_a_new_clock_stops_the_subtraction_until_the_next_trigger() -> None:
    n = 12 * TR
    data = pink(n) + artefact(n)
    lane, _ = run(data, list(range(0, n, TR)))
    (first, *_) = lane.chunk(chunk(data[:50], n, Flag.GAP | Flag.CLOCK_STEP))
    assert first.flags & Flag.GAP
    assert first.flags & Flag.CLOCK_STEP
    assert first.flags & Flag.UNSYNCED
    assert not lane.quality.synced


def test_what_the_lane_is_given_is_checked() -> None:
    with pytest.raises(ConfigError, match=r"none of 1 channels is of kind eeg[\s\S]*band_hz is 1.0 to 130.0 Hz"):
        EegLane(EegLaneSettings(band_hz=(1.0, 130.0)), SFREQ, (ChannelInfo("ECG", "ecg"),))
    lane = EegLane(SETTINGS, SFREQ, CHANNELS)
    data = pink(100)
    lane.chunk(chunk(data, 100))
    with pytest.raises(ValueError, match="samples from 150 given, expected 200 or later"):
        lane.chunk(chunk(data, 150))
    with pytest.raises(ValueError, match=r"shape \(100, 3\): expected \(n_times, 10\)"):
        lane.chunk(chunk(data[:, :3], 200))


def test_hops_begin_at_multiples_whatever_comes_first() -> None:
    blocks = HopBlocks(10, 1)
    number = np.arange(100, dtype=np.float32)[:, None]
    assert blocks(chunk(number[3:9], 3)) is None
    assert blocks(chunk(number[9:19], 9)) is None
    hops = blocks(chunk(number[19:45], 19))
    assert hops is not None
    assert (hops.first, len(hops.data), hops.after) == (10, 30, Flag.NONE)
    np.testing.assert_array_equal(hops.data[:, 0], np.arange(10, 40))
    hops = blocks(chunk(number[52:75], 52))
    assert hops is not None
    assert (hops.first, len(hops.data), hops.after) == (60, 10, Flag.GAP)


def test_a_block_with_a_hole_is_not_judged() -> None:
    judge = BadChannels(ChannelSettings(block_s=1.0), 10.0, 3)
    quiet = np.zeros((5, 3))
    judge(0, quiet, None, dirty=False)
    judge(7, quiet[:3], None, dirty=False)
    assert not judge.bad.any()
    judge(10, quiet, None, dirty=False)
    judge(15, quiet, None, dirty=False)
    assert judge.bad.all()


def test_a_flag_of_the_chunk_goes_through() -> None:
    lane = EegLane(SETTINGS, SFREQ, CHANNELS)
    out = lane.chunk(replace(chunk(pink(100), 0), flags=Flag.LATE))
    assert all(c.flags & Flag.LATE for c in out)
