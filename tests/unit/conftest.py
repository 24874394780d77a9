"""What several unit tests share."""

from __future__ import annotations

import pytest

from streamer.acquire.scanner_export import ExportDirectory, ExportSettings
from tests.unit.export_room import Time


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
