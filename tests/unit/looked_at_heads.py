"""Heads to look at: an ellipsoid in noise with one blob of activation and one of deactivation, at known places."""

from __future__ import annotations

import numpy as np

from dashboard.board import Board
from streamer.wire import About, Status, VolumeMessage
from streamer.wire.volume_bytes import VolumeImage

CENTRE = np.array([2.0, -18.0, 12.0])
RADII = np.array([68.0, 85.0, 60.0])
ACTIVE = np.array([38.0, -22.0, 40.0])
QUIET = np.array([-30.0, 25.0, 5.0])

LAS = np.array([[-3.0, 0, 0, 98], [0, 3, 0, -112], [0, 0, 3.5, -60], [0, 0, 0, 1]])
"""Voxel x runs to the left, as scanners store it."""
SHAPE = (64, 64, 40)


def oblique(degrees: float = 20.0) -> np.ndarray:
    """LAS, tilted about the axis from left to right around the head's centre."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.eye(4)
    turn[1:3, 1:3] = [[c, -s], [s, c]]
    there = np.eye(4)
    there[:3, 3] = CENTRE
    return there @ turn @ np.linalg.inv(there) @ LAS


def places(shape=SHAPE, affine=LAS):
    """RAS mm of every voxel, shape (*shape, 3)."""
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    return grid @ affine[:3, :3].T + affine[:3, 3]


def head(index=0, received=100.0, *, shape=SHAPE, affine=LAS, maps=("change", "t task"), gain=1.0) -> VolumeMessage:
    """Give a volume: the mean, and maps of which the first peaks at +2.5 %, the second at t = 9."""
    mm = places(shape, affine)
    far = np.linalg.norm((mm - CENTRE) / RADII, axis=-1)
    rng = np.random.default_rng(4)
    inside = far < 1
    tissue = 0.55 + 0.2 * np.cos(5 * far) + 0.03 * rng.standard_normal(shape)
    tissue[np.linalg.norm((mm - CENTRE - [0, 5, 5]) / [14, 28, 12], axis=-1) < 1] = 0.9
    mean = np.where(inside, tissue, np.abs(0.02 * rng.standard_normal(shape)))

    def ball(at, sigma):
        return np.exp(-0.5 * (np.linalg.norm(mm - at, axis=-1) / sigma) ** 2)

    shown = gain * (ball(ACTIVE, 9.0) - 0.8 * ball(QUIET, 7.0))
    images = {"mean": VolumeImage.of(mean.clip(0, 1).astype(np.float32), "", 1.0)}
    peaks = {"change": (2.5, "%", 5.0)}
    for name in maps:
        peak, unit, largest = peaks.get(name, (9.0, "t", 20.0))
        noise = 0.05 * peak * rng.standard_normal(shape)
        values = np.where(inside, peak * shown + noise, np.nan).astype(np.float32)
        images[name] = VolumeImage.of(values, unit, largest)
    return VolumeMessage(index, "1", received, np.asarray(affine, float), images)


REGIONS = {"regions": ["motor", "insula"], "regions_mm": [ACTIVE.tolist(), QUIET.tolist()]}


def board(*messages, **about) -> Board:
    """Give a board that follows a session with two regions and took ``messages``."""
    made = Board()
    made.take("s", Status(session="s", online=True, state="RUNNING", detail=""))
    entries = {
        "session": "s",
        "eeg_sfreq": 250.0,
        "channels": [],
        "classes": ["rest", "task"],
        "model": "m",
        "tick_hz": 10.0,
        "thresholds": {},
        "versions": {},
        "tr_s": 2.0,
    }
    made.take("s", About(**(entries | REGIONS | about)))
    for message in messages:
        made.take("s", message)
    return made
