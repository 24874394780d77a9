"""An export directory that is looked at by hand, and what is put into it."""

from __future__ import annotations

import numpy as np

from streamer.acquire.scanner_export import FileProblem
from streamer.formats.dicom import write_mosaic
from streamer.messages import Volume

AFFINE = np.array([[-3.0, 0, 0, 24], [0, 3, 0, -24], [0, 0, 4, -16], [0, 0, 0, 1]])


class Time:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def mosaic(instance, series=3, onset=None, shape=(16, 16, 9), tr=1.0):
    rng = np.random.default_rng(instance)
    return write_mosaic(
        rng.integers(1, 2000, shape).astype(np.uint16),
        AFFINE,
        tr=tr,
        slice_times=(),
        instance=instance,
        series_number=series,
        series_uid=f"1.2.826.0.1.3680043.8.498.{series}",
        onset=36000.0 + instance if onset is None else onset,
    )


def later(directory, time, seconds):
    """Look once a second for so long; give all that is found."""
    found = []
    while seconds > 0:
        time.now += min(seconds, 1.0)
        seconds -= 1.0
        found += directory.poll()
    return found


def volumes(items):
    return [item for item in items if isinstance(item, Volume)]


def problems(items):
    return [item for item in items if isinstance(item, FileProblem)]
