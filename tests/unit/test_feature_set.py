from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.clock import stopwatch
from streamer.decode.blocks import Blocks
from streamer.decode.connectivity import ConnectivitySettings
from streamer.decode.envelope_phase import BandPhaseSettings
from streamer.decode.feature_set import FeatureSet, FeatureSetSettings
from streamer.decode.tangent import TangentSettings
from streamer.errors import ConfigError
from streamer.messages import Feature, Flag
from tests.unit.feature_eeg import SFREQ, START, clean, feed, planted_alpha, same, white

NAMES = ["F3", "F4", "O1", "O2"]


def all_on(rate_hz: float = 10.0, method: str = "kalman", measure: str = "imcoh", learn_s: float = 8.0):
    return FeatureSetSettings(
        rate_hz=rate_hz,
        learn_s=learn_s,
        phase=BandPhaseSettings(enabled=True, method=method, signals={"o": {"O1": 0.5, "O2": 0.5}, "f": {"F3": 1.0}}),  # type: ignore[arg-type]
        tangent=TangentSettings(enabled=True, window_s=1.0),
        connectivity=ConnectivitySettings(
            enabled=True,
            measure=measure,  # type: ignore[arg-type]
            groups={"f": ("F3", "F4"), "o": ("O1", "O2")},
            window_s=2.0,
        ),
    )


def eeg(seconds: float, seed: int = 0) -> np.ndarray:
    n = round(seconds * SFREQ)
    alpha, _ = planted_alpha(13e-6, 1)
    return np.tile(alpha[:n], (1, 4)) * [0.5, 0.4, 1.0, 0.9] + 0.3 * white(n, 4, seed)


def test_nothing_is_on_by_default() -> None:
    assert not FeatureSetSettings().enabled
    assert feed(FeatureSet(FeatureSetSettings(), SFREQ, NAMES), eeg(5)) == []
    assert all_on().enabled


@settings(deadline=None, max_examples=5)
@given(
    sizes=st.lists(st.integers(1, 700), min_size=1, max_size=6),
    sfreq=st.sampled_from([250.0, 256.0]),
    kinds=st.sampled_from([(10.0, "kalman", "imcoh"), (50.0, "kalman", "wpli"), (10.0, "filter", "aec")]),
)
def test_chunks_do_not_matter(sizes: list[int], sfreq: float, kinds: tuple[float, str, str]) -> None:
    x = eeg(28)
    # clean, dirty, a channel goes bad, a gap, clean
    parts = [(0, 3500, 0, ()), (3500, 3777, Flag.UNSYNCED, ()), (3777, 5003, 0, (1,)), (5091, 7000, Flag.CLIPPED, ())]

    def run(chunks: list[int]) -> list[Feature]:
        features = FeatureSet(all_on(*kinds), sfreq, NAMES)
        return [
            f
            for start, stop, flags, bad in parts
            for f in feed(features, x[start:stop], start, chunks, Flag(flags), bad)
        ]

    expected = run([5])
    found = run(sizes)
    assert same(found, expected)
    assert {f.name for f in expected if f.valid} == {"phase.o", "phase.f", "tangent", "connectivity"}


def test_each_feature_comes_at_its_rate_and_speaks_of_its_time() -> None:
    found = feed(FeatureSet(all_on(), SFREQ, NAMES), eeg(30))
    counts = {name: sum(f.name == name for f in found) for name in ("phase.o", "phase.f", "tangent", "connectivity")}
    assert counts == {"phase.o": 300, "phase.f": 300, "tangent": 60, "connectivity": 60}
    for f in found:
        assert f.about == pytest.approx(START + (f.sample - 1) / SFREQ - f.delay_s, abs=1e-9)
        assert len(f.values) == len(f.labels)
        assert len(f.uncertainty) in {0, len(f.values)}
        assert all(isinstance(v, float) for v in (*f.values, *f.uncertainty))
        assert f.valid == bool(np.isfinite(f.values).any()) or not f.valid


@pytest.mark.parametrize("flag", [Flag.WARMING, Flag.UNSYNCED, Flag.GAP, Flag.CLOCK_STEP])
def test_dirty_samples_give_no_valid_value_and_show_in_the_flags(flag: Flag) -> None:
    features = FeatureSet(all_on(), SFREQ, NAMES)
    feed(features, eeg(30))
    found = feed(features, eeg(30)[:500], 7500, flags=flag)
    assert found
    assert not any(f.valid for f in found)
    assert all(f.flags & flag for f in found)
    clipped = feed(features, eeg(30)[:2500], 8000, flags=Flag.CLIPPED)
    assert all(f.flags & Flag.CLIPPED for f in clipped)
    assert all(any(f.valid for f in clipped if f.name == name) for name in ("phase.o", "tangent", "connectivity"))


def test_what_was_learned_goes_through_json() -> None:
    calibration = FeatureSet(all_on(), SFREQ, NAMES)
    assert calibration.learned() == {}
    feed(calibration, eeg(30))
    learned = json.loads(json.dumps(calibration.learned(), allow_nan=False))
    assert set(learned) == {"phase", "tangent"}
    features = FeatureSet(all_on(), SFREQ, NAMES, learned)
    found = feed(features, eeg(30, seed=1))
    assert not any(f.flags & Flag.UNCALIBRATED for f in found)
    for name in ("phase.o", "phase.f", "tangent"):
        assert next(f for f in found if f.name == name and f.valid).about - START < 5
    assert features.learned() == calibration.learned()


def test_blocks_lie_on_the_absolute_grid_and_are_whole() -> None:
    cut = Blocks(10.0, 256.0, 2)
    none = np.zeros(2, dtype=bool)
    first = cut(clean(white(200, 2), 1, sfreq=256.0), none)
    # 25.6 samples a block: the first begins before the data
    assert [b.end_sample for b in first[:4]] == [52, 77, 103, 128]
    assert [b.fresh for b in first[:3]] == [True, False, False]
    assert [len(b.data) for b in first[:3]] == [26, 25, 26]
    after = cut(clean(white(100, 2), 300, sfreq=256.0), none)
    assert (after[0].fresh, after[0].end_sample) == (True, 333)
    assert all(b.index - a.index == 1 for a, b in pairwise(after))
    with pytest.raises(ValueError, match="from sample 10 given, expected 400 or later"):
        cut(clean(white(5, 2), 10), none)
    with pytest.raises(ValueError, match=r"shape \(5, 3\)"):
        cut(clean(white(5, 3), 500), none)
    with pytest.raises(ConfigError, match="expected at most 5 Hz"):
        Blocks(10.0, 5.0, 1)


def test_what_is_no_number_counts_as_a_gap() -> None:
    x = white(100, 2)
    x[30, 1] = np.nan
    x[70, 0] = np.inf
    found = Blocks(10.0, SFREQ, 2)(clean(x, 0), np.zeros(2, dtype=bool))
    assert [b.flags for b in found] == [Flag.NONE, Flag.GAP, Flag.GAP, Flag.NONE]
    assert [b.dirty for b in found] == [False, True, True, False]
    assert all(np.isfinite(b.data).all() for b in found)


def test_all_of_it_costs_little_at_64_channels() -> None:
    names = [f"E{i}" for i in range(64)]
    on = FeatureSetSettings(
        phase=BandPhaseSettings(enabled=True, signals={"o": {"E1": 0.5, "E2": 0.5}}),
        tangent=TangentSettings(enabled=True),
        connectivity=ConnectivitySettings(enabled=True, groups={"f": ("E3", "E4"), "o": ("E1", "E2")}),
        learn_s=8.0,
    )
    features = FeatureSet(on, SFREQ, names)
    x = white(250 * 30, 64)
    none = np.zeros(64, dtype=bool)
    before = stopwatch()
    for at in range(0, len(x), 5):
        features(clean(x[at : at + 5], at), none)
    # measured 0.7 % of a core; a loaded machine is slower
    assert stopwatch() - before < 0.05 * 30
