"""How well EEG, triggers and volumes are put on one clock, on streams whose truth is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from streamer.align.volume_trains import Pulse, VolumeTrains
from streamer.bench.alignment_streams import (
    OFFSET,
    ORIGIN,
    SFREQ,
    Aligner,
    Sender,
    merged,
    recursive_dejitter,
    timed,
)
from streamer.bench.figures import Figure
from streamer.messages import BoldFrame, EegChunk, Marker, SessionTime


def bench_alignment(progress: Callable[[float], None]) -> list[Figure]:
    """Measure triggers, clocks and volumes against the truth."""
    figures = wrong_samples()
    progress(0.1)
    figures += fitted_samples()
    progress(0.3)
    figures += after_a_gap()
    progress(0.6)
    return figures + alignment()


def after_a_gap(seeds: int = 20) -> list[Figure]:
    """Error of times after 100 ms were lost, with 3 ms of jitter, ms; ours at 5 kHz, the rival's at 250 Hz."""
    sender = Sender(45.0, jitter_s=0.003, gap=(30.0, 0.1))
    errors: dict[float, list[float]] = {1.0: [], 5.0: []}
    lost: list[int] = []
    for seed in range(seeds):
        truth, times, timeline = timed(sender, np.random.default_rng(seed))
        error = times - truth - sender.jitter_s
        lost.append(timeline.lost_samples)
        for after, found in errors.items():
            at = round((30.0 + after) * SFREQ)
            found.append(1e3 * abs(float(error[at])))
    rival = Sender(320.0, sfreq=250.0, chunk=5, jitter_s=0.003, gap=(300.0, 0.1))
    chunks, number = rival.chunks(np.random.default_rng(0))
    smooth = recursive_dejitter(np.concatenate([chunk.times_raw for chunk in chunks]), rival.sfreq)
    wrong = 1e3 * (smooth - rival.truth(number) - rival.jitter_s)
    begin = round(300.0 * rival.sfreq)
    rms = float(np.sqrt(np.mean(np.square(errors[1.0]))))
    return [
        Figure("1 s after a gap of 100 ms, 3 ms jitter, rms", rms, "ms", 1.0),
        Figure("1 s after a gap of 100 ms, 3 ms jitter, largest", max(errors[1.0]), "ms", 1.0),
        Figure("5 s after it, largest", max(errors[5.0]), "ms"),
        Figure("samples counted as lost too many or too few, of 500", float(max(abs(n - 500) for n in lost)), ""),
        Figure("recursive dejitter without gaps, 1 s after it", abs(float(wrong[begin + 250])), "ms"),
        Figure("recursive dejitter without gaps, 5 s after it", abs(float(wrong[begin + 1250])), "ms"),
    ]


def eeg_to_volume(
    sender: Sender, seed: int, *, tr: float = 2.0, drop: float = 0.0, exact: bool = False, after_s: float = 30.0
) -> dict[str, float]:
    """Distance between a volume's onset and the time given to the EEG that was taken then, ms."""
    aligner = Aligner(sender.sfreq)
    onsets: dict[int, float] = {}
    for event in merged(sender, np.random.default_rng(seed), tr, drop, exact=exact):
        assert isinstance(event, EegChunk | Marker | BoldFrame)
        found = aligner.feed(event)
        if isinstance(event, BoldFrame) and found is not None:
            onsets[event.index] = found
    late = [k for k in onsets if 0.5 + k * tr >= after_s]
    sample = np.array([(0.5 + k * tr) * sender.sfreq * (1 + 1e-6 * sender.ppm) for k in late])
    error = 1e3 * np.abs(np.array([onsets[k] for k in late]) - aligner.time_of(sample))
    return {
        "volumes": len(late),
        "unmatched": aligner.matcher.unmatched,
        "misaligned": aligner.matcher.misaligned,
        "ms_rms": float(np.sqrt(np.mean(error**2))),
        "ms_max": float(error.max()),
        "scanner_residual_ms": 1e3 * aligner.matcher.residual_s,
    }


def alignment(seeds: int = 2) -> list[Figure]:
    """Alignment of EEG and volumes after 30 s: the worst of some runs each."""
    drifting, noisy = (
        Sender(240.0, ppm=20.0, jitter_s=0.003),
        Sender(240.0, ppm=20.0, jitter_s=0.003, offset_noise_s=5e-4),
    )
    cases = {
        "one clock": (2.0, Sender(90.0), 0.0, True),
        "20 ppm, 3 ms jitter, 0.5 % of the triggers lost": (5.0, drifting, 0.005, False),
        "the same, markers with their sample's stamp": (5.0, drifting, 0.005, True),
        "the same, clock offsets off by 0.5 ms": (5.0, noisy, 0.005, False),
    }
    figures: list[Figure] = []
    for name, (bar, sender, drop, exact) in cases.items():
        runs = [eeg_to_volume(sender, seed, drop=drop, exact=exact) for seed in range(seeds)]
        figures.append(Figure(f"EEG to volume, {name}, rms", max(run["ms_rms"] for run in runs), "ms", bar))
        figures.append(Figure(f"EEG to volume, {name}, largest", max(run["ms_max"] for run in runs), "ms", bar))
        figures.append(
            Figure(f"EEG to volume, {name}, volumes unmatched", max(run["unmatched"] for run in runs), "", 0.0)
        )
    return figures


def wrong_samples(seed: int = 0) -> list[Figure]:
    """Count markers whose sample is wrong, over gaps of all kinds, before and after their chunks."""
    rng = np.random.default_rng(seed)
    gaps = np.sort(rng.choice(np.arange(20, 280), 40, replace=False)) * 1000
    number = np.arange(300_000)
    lost = np.zeros(300_000, dtype=bool)
    for at in gaps.tolist():
        lost[at : at + int(rng.integers(1, 700))] = True
    number = number[~lost]
    aligner = Aligner(SFREQ)
    events: list[tuple[float, int, EegChunk | Marker]] = []
    first = 0
    while first < len(number):
        part = number[first : first + int(rng.integers(20, 300))]
        raw = ORIGIN + part / SFREQ
        known = SessionTime(float(raw[-1]) + OFFSET + 0.01)
        data = part.astype(np.float32)[:, None]
        events.append((known, 1, EegChunk("eeg", data, raw, raw + OFFSET, first, known)))
        first += len(part)
    truth: dict[float, int] = {}
    for source in rng.choice(len(number) - 5000, 400, replace=False).tolist():
        raw = ORIGIN + int(number[source]) / SFREQ
        truth[raw] = int(number[source])
        known = SessionTime(raw + OFFSET + rng.uniform(-0.2, 1.0))
        counted = source if rng.random() < 0.5 else None
        stamp = raw + (0.0 if counted is None else rng.uniform(-0.02, 0.02))
        truth[stamp] = int(number[source])
        events.append((known, 0, Marker("S 1", SessionTime(stamp + OFFSET), stamp, counted, known)))
    events.sort(key=lambda item: item[:2])
    for _, _, event in events:
        aligner.feed(event)
    wrong = sum(marker.sample != truth[marker.at_raw] for marker in aligner.markers)
    return [
        Figure("markers over gaps, before and after their chunks", float(len(aligner.markers)), ""),
        Figure("markers at a wrong sample", float(wrong), "", 0.0),
    ]


def fitted_samples(runs: int = 300, volumes: int = 100) -> list[Figure]:
    """Error of the fitted position of the newest volume's beginning, µs.

    Triggers are rounded to samples; 0.5 % each are missing, doubled or extra, 1 % are off by up to 4 samples.
    """
    rng = np.random.default_rng(0)
    cases = {
        "TR 2 s, 15 to 25 ppm": lambda: (rng.uniform(15.0, 25.0), 2.0),
        "any TR, 15 to 25 ppm": lambda: (rng.uniform(15.0, 25.0), float(rng.integers(800, 2500)) / 1000),
        # 0.2 samples a volume: the same five fractions again and again tell nothing finer than a fifth of a sample
        "TR 2 s, exactly 20 ppm": lambda: (20.0, 2.0),
        "TR 2 s, synchronised": lambda: (0.0, 2.0),
    }
    figures: list[Figure] = []
    for name, draw in cases.items():
        errors: list[float] = []
        for _ in range(runs):
            ppm, tr = draw()
            start = 0.0 if ppm == 0.0 else rng.uniform(0.0, 1.0)
            errors.append(_fitted(rng, volumes, start, tr * SFREQ * (1 + 1e-6 * ppm)))
        microseconds = np.abs(errors) / SFREQ * 1e6
        rms, p95 = float(np.sqrt(np.mean(microseconds**2))), float(np.quantile(microseconds, 0.95))
        figures.append(Figure(f"fitted volume start, {name}, rms", rms, "µs", 10.0))
        figures.append(Figure(f"fitted volume start, {name}, p95", p95, "µs", 10.0))
    return figures


def _fitted(rng: np.random.Generator, volumes: int, start: float, step: float) -> float:
    trains = VolumeTrains(0.02, 3.0, 0.2, 0.005)
    k_last = 0
    for k in range(volumes):
        if 2 < k < volumes - 1 and rng.random() < 0.005:
            continue
        sample = round(start + k * step)
        if k > 2 and rng.random() < 0.01:
            sample += int(rng.integers(-4, 5))
        trains.add(Pulse(sample / SFREQ, sample, exact=True))
        k_last = k
        for late in (15, round(0.37 * step)):
            if k > 2 and rng.random() < 0.005:
                trains.add(Pulse((sample + late) / SFREQ, sample + late, exact=True))
    train = trains.train
    assert train is not None
    found = train.sample(k_last)
    assert found is not None
    return found - (start + k_last * step)
