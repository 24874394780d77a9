"""References that follow slow drift: never in a blinded session."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.clean.eeg.gradient.gradient import GradientSettings
from streamer.clean.eeg.lane_settings import EegLaneSettings
from streamer.decode.feature_set import FeatureSetSettings
from streamer.decode.recentre import RecentreSettings
from streamer.decode.tangent import TangentSettings
from streamer.engine import EegCore
from streamer.engine_settings import EngineSettings
from streamer.messages import ChannelInfo, EegChunk, Feature, SessionTime

SFREQ = 500.0
CHANNELS = tuple(ChannelInfo(name, "eeg") for name in ("F3", "F4", "O1", "O2"))
SETTINGS = EngineSettings(
    eeg=EegLaneSettings(settle_s=0.2, gradient=GradientSettings(enabled=False)),
    extra=FeatureSetSettings(learn_s=8.0, tangent=TangentSettings(enabled=True, window_s=1.0)),
    recentre=RecentreSettings(enabled=True, block_s=2.0, tau_s=30.0),
)


class Shown:
    """Stands in a blinded session: shows the participant's own level."""

    def feature(self, feature: Feature) -> None:
        del feature

    def level(self, actual: float, at: SessionTime, *, clean: bool) -> float | None:
        del at, clean
        return actual


def learned(given: dict[str, object] | None, louder: float, sham: Shown | None) -> dict[str, object]:
    core = EegCore(SETTINGS, SFREQ, CHANNELS, (), learned=given, sham=sham)
    noise = 1e-5 * louder * np.random.default_rng(3).standard_normal((round(20 * SFREQ), len(CHANNELS)))
    for first in range(0, len(noise), 50):
        data = noise[first : first + 50].astype(np.float32)
        times = (first + np.arange(len(data))) / SFREQ
        core.feed(EegChunk("eeg", data, times, times, first, SessionTime(times[-1])))
    return core.learned()


@pytest.mark.parametrize("blinded", [False, True])
def test_the_reference_of_the_tangent_vectors_stays_where_it_is_under_sham(blinded: bool) -> None:
    calibrated = learned(None, 1.0, None)
    assert "tangent" in calibrated
    after = learned(calibrated, 2.0, Shown() if blinded else None)
    assert (after == calibrated) is blinded
