"""What is compiled is compiled before the first chunk: a compiler at work in a run would hold the loop up."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from streamer.clean.eeg.lane import EegLane
from streamer.clean.eeg.lane_settings import EegLaneSettings
from streamer.filters import SosFilter, bandpass
from streamer.messages import ChannelInfo, EegChunk, Flag, SessionTime

SFREQ = 1000.0
CHANNELS = (
    *(ChannelInfo(f"E{i}", "eeg") for i in range(9)), ChannelInfo("EOG", "eog"), ChannelInfo("ECG", "ecg"),
    ChannelInfo("CWL", "ref"),
)  # fmt: skip


def compiled() -> dict[str, int]:
    """How many versions of each function there are."""
    modules = [m for name, m in sys.modules.items() if name.startswith(("streamer.clean.eeg.", "streamer.filters"))]
    return {
        f"{value.__module__}.{value.__name__}": len(value.signatures)
        for module in modules
        for value in vars(module).values()
        if hasattr(value, "signatures")
    }


def beating(seconds: float) -> np.ndarray:
    """Noise with a heart in it, V."""
    rng = np.random.default_rng(5)
    t = np.arange(round(seconds * SFREQ)) / SFREQ
    data = 10e-6 * rng.standard_normal((len(t), len(CHANNELS)))
    data[:, 10] += 1e-3 * np.exp(-0.5 * ((t % 0.9 - 0.45) / 0.012) ** 2)
    data[:, :9] += 40e-6 * np.exp(-0.5 * ((t % 0.9 - 0.7) / 0.06) ** 2)[:, None]
    shot = 2e-3 * np.sin(2 * np.pi * 80 * (t % 1.0)) * (t % 1.0 < 0.9)
    return (data + shot[:, None]).astype(np.float32)


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"pulse": {"mode": "best"}, "gradient": {"hold_s": 0.064}, "line": {"mains_hz": 50, "mode": "notch"}},
        {"pulse": {"mode": "reference"}, "residual": {"obs": "auto", "anc": True}, "reference": "none"},
        {"gradient": {"enabled": False}, "channels": {"rail_v": None}},
    ],
    ids=["default", "held", "residual", "no gradient"],
)
def test_nothing_is_compiled_once_the_lane_is_there(wanted: dict[str, Any]) -> None:
    lane = EegLane(EegLaneSettings.model_validate(wanted), SFREQ, CHANNELS)
    before = compiled()
    assert len(before) > 10
    data = beating(26.0)
    data[19_000:19_004, 2] = np.nan
    data[19_200:19_300, 3] = 0.02
    n = 0
    for size in (100, 37):
        for first in range(0, 13_000, size):
            at = n + first
            part = data[at : min(at + size, n + 13_000)]
            if size == 37:
                # as it comes out of a message: not to be written to
                part.setflags(write=False)
            for trigger in range(-(-at // 1000) * 1000, at + len(part), 1000):
                lane.trigger(trigger)
            times = 100.0 + np.arange(at, at + len(part)) / SFREQ
            lane.chunk(EegChunk("test", part, times, times, at, SessionTime(float(times[-1])), Flag.NONE))
        n += 13_000
    assert lane.quality.figures is not None
    if wanted.get("pulse", {}).get("mode") != "reference":
        assert not lane._back.pulse.warming
    assert compiled() == before


def test_a_filter_takes_any_layout() -> None:
    x = np.random.default_rng(0).standard_normal((50, 4))
    expected = SosFilter(bandpass(1.0, 40.0, 250.0))(x)
    before = compiled()
    fixed = x.copy()
    fixed.setflags(write=False)
    for like in (fixed, np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2]):
        np.testing.assert_array_equal(SosFilter(bandpass(1.0, 40.0, 250.0))(like), expected)
    assert compiled() == before
