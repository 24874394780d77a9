"""What several unit tests share."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.acquire.scanner_export import ExportDirectory, ExportSettings
from streamer.region_set.target import mni_template, single_target
from tests.unit.export_room import Time
from tests.unit.region_set_heads import planted, seen


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def export(tmp_path, time):
    opened = []

    def make(path=tmp_path, **settings):
        opened.append(ExportDirectory(path, ExportSettings(**settings), time))
        return opened[-1]

    yield make
    for directory in opened:
        directory.close()


@pytest.fixture(scope="session")
def template():
    """The template that nilearn ships."""
    return mni_template()


@pytest.fixture(scope="session")
def scanned(template):
    """A head as an EPI, and where it lies in the template's space."""
    rng = np.random.default_rng(3)
    to_mni = planted(rng)
    return single_target("sbref.nii.gz", *seen(template, to_mni, rng)), to_mni


@pytest.fixture(params=["dark", "light"])
def colours(request):
    """Both themes of the window, one after the other; gives the look."""
    # Qt is for the tests of windows alone
    from dashboard.drawing import theme

    theme.choose(request.param)
    yield theme.look()
    theme.choose("dark")
