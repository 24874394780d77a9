"""Cleaned EEG for the tests of features: planted rhythms, in chunks of any size."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from itertools import cycle

import numpy as np

from streamer.bench.eeg_truth import plant
from streamer.decode.blocks import Block, Blocks
from streamer.messages import CleanEeg, Feature, Flag
from streamer.simulate.settings import SimulationSettings

SFREQ = 250.0
START = 100.0


def clean(data: np.ndarray, first: int, flags: Flag = Flag.NONE, sfreq: float = SFREQ) -> CleanEeg:
    times = START + np.arange(first, first + len(data)) / sfreq
    return CleanEeg(data.astype(np.float32), times, first, (first + len(data)) * 20, flags)


def feed(
    features: Callable[[CleanEeg, np.ndarray], list[Feature]],
    data: np.ndarray,
    first: int = 0,
    sizes: Iterable[int] = (5,),
    flags: Flag = Flag.NONE,
    bad: Iterable[int] = (),
) -> list[Feature]:
    mask = np.isin(np.arange(data.shape[1]), list(bad))
    out: list[Feature] = []
    at = 0
    for size in cycle(sizes):
        if at >= len(data):
            return out
        out += features(clean(data[at : at + size], first + at, flags), mask)
        at += size
    return out


def blocks(data: np.ndarray, rate_hz: float = 10.0, first: int = 0, **fed: object) -> list[Block]:
    cut = Blocks(rate_hz, SFREQ, data.shape[1])
    found: list[Block] = []

    def take(eeg: CleanEeg, bad: np.ndarray) -> list[Feature]:
        found.extend(cut(eeg, bad))
        return []

    feed(take, data, first, **fed)  # type: ignore[arg-type]
    return found


def same(one: list[Feature], other: list[Feature]) -> bool:
    def plain(f: Feature) -> tuple[object, ...]:
        numbers = np.array([*f.values, *f.uncertainty]).tobytes()
        return f.name, f.sample, f.about, f.delay_s, f.labels, f.valid, f.flags, numbers

    return [plain(f) for f in one] == [plain(f) for f in other]


def white(n: int, n_channels: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, n_channels)) * 1e-5


@cache
def planted_alpha(alpha_v: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """EEG at the channel with most alpha and the analytic signal of the alpha that was planted there, V, at 250 Hz."""
    settings = SimulationSettings(
        seed=seed, n_channels=32, alpha_v=alpha_v, n_blocks=6, sfreq=500.0, null=True, blinks_per_min=0.0, tr_s=2.0,
        gradient_v=0.0, pulse_v=0.0,
    )  # fmt: skip
    planted = plant(settings)
    brain, rhythms = planted.body.brain, planted.subject.rhythms
    alpha = sum(
        (brain.envelope[:, k] * np.exp(1j * brain.phase[:, k]))[:, None] * rhythm.topography
        for k, rhythm in enumerate(rhythms)
        if rhythm.centre_hz < 13
    )
    channel = int(np.argmax(np.abs(alpha).mean(axis=0)))
    eeg = planted.eeg[:: settings.factor, channel].astype(np.float64)
    n = min(len(eeg), len(alpha))
    return eeg[:n, None], alpha[:n, channel]


def circular(error: np.ndarray) -> tuple[float, float]:
    """Circular sd and mean, degrees."""
    mean = np.mean(np.exp(1j * error))
    return float(np.degrees(np.sqrt(-2 * np.log(abs(mean))))), float(np.degrees(np.angle(mean)))
