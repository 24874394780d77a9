"""What the EEG lane costs, and how well it cleans, on 64 channels at 5 kHz."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from streamer.align.eeg_time import EegTimeline, EegTimelineSettings
from streamer.align.triggers import TriggerSettings, TriggerTrain
from streamer.bench.figures import Figure
from streamer.clean.eeg.decimate import design
from streamer.clean.eeg.gradient import Gradient, GradientSettings
from streamer.clean.eeg.lane import EegLane, EegLaneSettings
from streamer.clock import stopwatch
from streamer.decode.features import BandPower, BandPowerSettings
from streamer.messages import F32, ChannelInfo, CleanEeg, EegChunk, Marker, SessionTime

SFREQ = 5000.0
N_EEG = 64
TR = 10_000
SLICES = 32


def channels() -> tuple[ChannelInfo, ...]:
    """Name 64 EEG channels and an ECG."""
    return (*(ChannelInfo(f"E{i}", "eeg") for i in range(N_EEG)), ChannelInfo("ECG", "ecg"))


def background(n: int, rng: np.random.Generator) -> F32:
    """Noise with a 1/f amplitude above 0.1 Hz, 10 µV, shape (n, 65), V."""
    freqs = np.fft.rfftfreq(n, 1 / SFREQ)
    out = np.empty((n, N_EEG + 1), np.float32)
    for c in range(out.shape[1]):
        spectrum = np.fft.rfft(rng.standard_normal(n)) / np.sqrt(np.maximum(freqs, 0.1))
        spectrum[freqs > 250] = 0
        wave = np.fft.irfft(spectrum, n)
        out[:, c] = 10e-6 * wave / wave.std()
    return out


def artefact(n: int, rng: np.random.Generator) -> F32:
    """Harmonics of slice and volume rate, about 3 mV peak to peak, shape (n, 65), V."""
    t = np.arange(TR) / SFREQ
    one = np.zeros((TR, N_EEG + 1))
    for m in [*(SLICES * np.arange(1, 16)), *rng.integers(1, 400, 20)]:
        f = m * SFREQ / TR
        size = (1.0 if m % SLICES == 0 else 0.03) / (1 + f / 80)
        one += size * np.cos(2 * np.pi * f * t[:, None] + rng.uniform(0, 6.28)) * rng.uniform(0.5, 1.5, N_EEG + 1)
    one *= 3e-3 / np.ptp(one)
    return np.tile(one, (-(-n // TR), 1))[:n].astype(np.float32)


def chunks(data: F32, size: int) -> list[EegChunk]:
    """Cut into chunks with steady stamps."""
    stamps = 100.0 + np.arange(len(data)) / SFREQ
    return [
        EegChunk(
            "bench", data[a : a + size], stamps[a : a + size], stamps[a : a + size], a, SessionTime(stamps[a] + 0.02)
        )
        for a in range(0, len(data), size)
    ]


def cost(data: F32, size: int) -> list[Figure]:
    """Feed everything in chunks of ``size`` samples; time each stage apart."""
    timeline, train = EegTimeline(EegTimelineSettings(), SFREQ), TriggerTrain(TriggerSettings(), SFREQ)
    lane = EegLane(EegLaneSettings(), SFREQ, channels())
    power = BandPower(BandPowerSettings(), lane.sfreq_out, N_EEG)
    spent: dict[str, list[float]] = {"alignment": [], "lane": [], "band power": []}
    for chunk in chunks(data, size):
        a = stopwatch()
        grid = timeline(chunk)
        released: list[Marker] = []
        for piece in grid:
            first = piece.first_sample
            at = -(-first // TR) * TR
            if at < first + len(piece.data):
                stamp = 100.0 + at / SFREQ
                released += train.marker(Marker("R128", SessionTime(stamp), stamp, None, chunk.received))
            released += train.chunk(piece)
        b = stopwatch()
        clean: list[CleanEeg] = []
        for marker in released:
            start = train.volume_start(marker)
            if start is not None:
                lane.trigger(start)
        for piece in grid:
            clean += lane.chunk(piece)
        c = stopwatch()
        for item in clean:
            power(item)
        d = stopwatch()
        for name, took in (("alignment", b - a), ("lane", c - b), ("band power", d - c)):
            spent[name].append(took)
    seconds = len(data) / SFREQ
    chunk_ms = 1e3 * size / SFREQ
    figures = [Figure(f"{chunk_ms:g} ms chunks, all together", seconds / sum(map(sum, spent.values())), "× real time")]
    for name, each in spent.items():
        # on a shared machine the median says more than the sum
        share = 100 * float(np.median(each)) * len(each) / seconds
        figures.append(Figure(f"{chunk_ms:g} ms chunks, {name}", share, "% of a core"))
        figures.append(Figure(f"{chunk_ms:g} ms chunks, {name}, p99", float(np.percentile(each, 99)) * 1e6, "µs"))
    return figures


def gradient_cost(data: F32, hop: int) -> list[Figure]:
    """Gradient stage alone, one hop at a time, once the template is there."""
    gradient = Gradient(GradientSettings(), SFREQ, data.shape[1])
    times: list[float] = []
    for first in range(0, len(data), hop):
        if first % TR == 0:
            gradient.trigger(first)
        a = stopwatch()
        gradient(first, data[first : first + hop])
        if first > 6 * TR:
            times.append(stopwatch() - a)
    p50, p99 = np.percentile(times, (50, 99)) * 1e6
    return [
        Figure(f"gradient stage, hop of {hop} samples, p50", float(p50), "µs", 15.0),
        Figure(f"gradient stage, hop of {hop} samples, p99", float(p99), "µs"),
    ]


def cleaned(data: F32, *, triggers: bool) -> F32:
    """Run the lane over everything."""
    lane = EegLane(EegLaneSettings(), SFREQ, channels())
    out: list[F32] = []
    for chunk in chunks(data, 1000):
        if triggers and chunk.first_sample % TR == 0:
            lane.trigger(chunk.first_sample)
        out += [c.data for c in lane.chunk(chunk)]
    return np.concatenate(out)


def quality(eeg: F32, gradient: F32) -> list[Figure]:
    """Error against the same lane on the EEG alone, over the last five volumes."""
    truth = cleaned(eeg, triggers=False)
    error = cleaned(eeg + gradient, triggers=True) - truth
    raw = cleaned(eeg + gradient, triggers=False) - truth
    last = slice(len(truth) - 5 * TR // 20, None)
    sd = float(truth[last].std())
    rms = float(np.sqrt(np.mean(error[last] ** 2)))
    n = min(GradientSettings().n_max, len(eeg) // TR - 3)
    freqs = np.fft.rfftfreq(5 * TR // 20, 1 / 250.0)
    harmonics = [int(np.argmin(abs(freqs - k * SLICES * SFREQ / TR))) for k in (1, 2)]

    def power(x: F32) -> float:
        return float(np.mean(np.abs(np.fft.rfft(x[last], axis=0)[harmonics]) ** 2))

    attenuation = 10 * np.log10(power(raw) / power(error))
    return [
        Figure("gradient residual against sd/√N", rms / (sd / np.sqrt(n)), "", 1.15),
        Figure("attenuation at slice harmonics", float(attenuation), "dB", 50.0, "more"),
    ]


def decimator(lane: EegLane) -> list[Figure]:
    """Frequency response of the decimator."""
    taps = design(SFREQ, lane.factor)
    response = 20 * np.log10(np.abs(np.fft.rfft(taps, 50_000)) + 1e-12)
    freqs = np.fft.rfftfreq(50_000, 1 / SFREQ)
    return [
        Figure("decimator, ripple to 70 Hz", float(np.abs(response[freqs <= 70]).max()), "dB"),
        Figure("decimator, from 180 Hz on", float(response[freqs >= 180].max()), "dB"),
        Figure("delay of the lane at 10 Hz", lane.delay_s * 1e3, "ms"),
    ]


def bench_eeg_lane(progress: Callable[[float], None], volumes: int = 32) -> list[Figure]:
    """Measure the lane on ``volumes`` volumes of simulated EEG and gradient artefact."""
    rng = np.random.default_rng(1)
    n = volumes * TR
    eeg, gradient = background(n, rng), artefact(n, rng)
    progress(0.2)
    figures = cost(eeg + gradient, 20)
    progress(0.4)
    figures += cost(eeg + gradient, 100)
    progress(0.6)
    figures += gradient_cost(eeg + gradient, 20)
    progress(0.8)
    figures += quality(eeg, gradient)
    return figures + decimator(EegLane(EegLaneSettings(), SFREQ, channels()))
