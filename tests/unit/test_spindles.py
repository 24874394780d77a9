from __future__ import annotations

import numpy as np
import pytest

from streamer.bench.events import compare, plant_spindles, run_sources
from streamer.decode.candidate import Candidate
from streamer.decode.event_sources import EventSourcesSettings
from streamer.decode.spindles import Spindles, SpindleSettings
from streamer.errors import ConfigError
from streamer.messages import Feature, Flag
from tests.unit.feature_eeg import SFREQ, blocks

SETTINGS = SpindleSettings(enabled=True, signals={"one": {"0": 1.0}})
N = 250 * 40


def asked(found: list) -> list[Candidate]:
    return [c for c in found if isinstance(c, Candidate)]


def detect(data: np.ndarray, stage: Spindles | None = None, first: int = 0, **others: object) -> list:
    stage = stage or Spindles(SETTINGS, 50.0, SFREQ, [str(c) for c in range(data.shape[1])])
    return [f for block in blocks(data, 50.0, first, **others) for f in stage(block)]  # type: ignore[arg-type]


def noise(seed: int = 0, n_channels: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((N, n_channels)) * 5e-6


def burst(hz: float, seconds: float, size: float = 2e-5) -> np.ndarray:
    t = np.arange(round(seconds * SFREQ)) / SFREQ
    return size * np.sin(np.pi * t / seconds) ** 0.5 * np.sin(2 * np.pi * hz * t)


def planted(*parts: tuple[float, np.ndarray]) -> np.ndarray:
    data = noise()
    for at, part in parts:
        data[round(at * SFREQ) : round(at * SFREQ) + len(part), 0] += part
    return data


@pytest.mark.parametrize("seed", [2, 3])
def test_planted_spindles_are_found(seed: int) -> None:
    settings = EventSourcesSettings(spindle=SETTINGS)
    scene = plant_spindles(13.0, 4.0, seed)
    found = compare(scene, run_sources(settings, scene.eeg)[1], 0.1)
    assert found.f1 >= 0.8
    assert found.false_per_minute <= 1.0
    assert 0.2 < found.delay_s < 0.9


def test_a_spindle_is_told_once_while_it_lasts() -> None:
    data = planted((20.0, burst(13.5, 1.2)))
    found = detect(data)
    feature, candidate = found
    assert isinstance(feature, Feature)
    assert isinstance(candidate, Candidate)
    assert feature.name == "spindle.one"
    assert feature.valid
    # while it goes on
    assert 20.3 < feature.sample / SFREQ < 21.0
    assert feature.values[2] == pytest.approx(0.3, abs=0.021)
    assert candidate.source == "spindle"
    assert candidate.fire_at == candidate.about == feature.about
    assert candidate.expires > candidate.about + feature.delay_s
    assert 0.5 <= candidate.level < 1
    assert "spindle at one" in candidate.reason


@pytest.mark.parametrize(
    "part",
    [burst(9.5, 1.2), burst(21.0, 1.2), burst(13.5, 0.15), np.random.default_rng(5).standard_normal(300) * 5e-5],
    ids=["alpha", "beta", "too short", "broad band"],
)
def test_what_is_no_spindle_is_not_told(part: np.ndarray) -> None:
    assert detect(planted((20.0, part))) == []


def test_it_needs_a_background() -> None:
    assert detect(planted((5.0, burst(13.5, 1.2)))) == []
    assert detect(np.zeros((N, 1))) == []


def test_dirty_samples_end_it_and_flags_go_along() -> None:
    data = planted((20.0, burst(13.5, 1.2)), (30.0, burst(13.5, 1.2)))
    stage = Spindles(SETTINGS, 50.0, SFREQ, ["0"])
    assert detect(data[:5050], stage) == []
    assert detect(data[5050:5400], stage, 5050, flags=Flag.GAP) == []
    # a gap in the samples themselves
    assert detect(data[5900:7500], stage, 5900) == []
    assert {c.flags for c in asked(detect(data[7500:], stage, 7500, flags=Flag.CLIPPED))} == {Flag.CLIPPED}


def test_a_masked_signal_does_not_disturb_another() -> None:
    data = np.repeat(planted((20.0, burst(13.5, 1.2))), 2, axis=1)
    settings = SpindleSettings(enabled=True, signals={"one": {"0": 1.0}, "two": {"1": 1.0}})
    stage = Spindles(settings, 50.0, SFREQ, ["0", "1"])
    found = detect(data[:5000], stage) + detect(data[5000:5500], stage, 5000, bad=(0,))
    assert [f.name for f in found if isinstance(f, Feature)] == ["spindle.two"]


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="takes channel 0"):
        Spindles(SETTINGS, 50.0, SFREQ, ["A"])
    with pytest.raises(ConfigError, match="expected less than 25 Hz"):
        Spindles(SETTINGS, 50.0, 50.0, ["0"])
