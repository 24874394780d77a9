"""A real EEG with artefacts planted on real trigger and R-peak times comes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamer.bench.eeg_real import TRIGGERS, RealSession, correlations, real_session
from streamer.errors import RecordingError

pytestmark = [pytest.mark.system, pytest.mark.beside, pytest.mark.timeout(180)]


@pytest.fixture(params=TRIGGERS)
def session(request: pytest.FixtureRequest, shared_data: Path) -> RealSession:
    return real_session(shared_data, request.param)


def test_it_comes_back(session: RealSession):
    start, period = session.line
    n = len(session.triggers)
    np.testing.assert_array_equal(session.triggers, np.rint(start + period * np.arange(n)))
    assert np.median(np.ptp(session.gradient[:, :-1], axis=0)) > 50 * session.eeg[:, :-1].std()
    gradient_alone = correlations(session, None)
    assert gradient_alone.min() >= 0.97
    uncorrected = correlations(session, "off")
    with_pulse = correlations(session, "fast")
    assert uncorrected.min() < 0.7
    assert with_pulse.min() >= 0.85


def test_a_folder_without_them_is_named(tmp_path: Path):
    with pytest.raises(RecordingError, match="expected the folder of real recordings"):
        real_session(tmp_path, next(iter(TRIGGERS)))
