"""Where electrodes are, by the 10-10 system on a unit sphere, and how sources look from there."""

from __future__ import annotations

import re

import numpy as np

from streamer.messages import F64, ChannelInfo

EEG_NAMES = (
    *("Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2", "F7", "F8", "T7", "T8", "P7", "P8"),
    *("Fz", "Cz", "Pz", "Oz", "FC1", "FC2", "CP1", "CP2", "FC5", "FC6", "CP5", "CP6", "TP9", "TP10", "POz"),
    *("F1", "F2", "C1", "C2", "P1", "P2", "AF3", "AF4", "FC3", "FC4", "CP3", "CP4", "PO3", "PO4", "F5", "F6"),
    *("C5", "C6", "P5", "P6", "AF7", "AF8", "FT7", "FT8", "TP7", "TP8", "PO7", "PO8", "Fpz", "CPz", "FT9", "FT10"),
    "AFz",
)
"""In the order of a usual 32- and 64-channel cap."""
MIN_CHANNELS = 11
"""Up to O2, and the ECG: fewer have no occipital channel."""
MAX_CHANNELS = len(EEG_NAMES) + 1

# angle on the midline arc from the vertex (front positive) and angle of the row's end on the ring, degrees
_ROWS = {
    "Fp": (72, 18), "AF": (54, 36), "F": (36, 54), "FC": (18, 72), "FT": (18, 72), "C": (0, 90), "T": (0, 90),
    "CP": (-18, 108), "TP": (-18, 108), "P": (-36, 126), "PO": (-54, 144), "O": (-72, 162),
}  # fmt: skip
_RING = np.deg2rad(72.0)


def channel_infos(n_channels: int) -> tuple[ChannelInfo, ...]:
    """Name the channels of a cap: EEG first, the ECG last."""
    return (*(ChannelInfo(name, "eeg") for name in EEG_NAMES[: n_channels - 1]), ChannelInfo("ECG", "ecg"))


def position(name: str) -> F64:
    """Place an electrode on the unit sphere: x to the right, y to the front, z up; shape (3,)."""
    match = re.fullmatch(r"([A-Za-z]+?)(z|\d+)", name)
    if match is None or match[1] not in _ROWS:
        raise ValueError(f"electrode {name!r}: expected a name of the 10-10 system")
    midline, ring = np.deg2rad(_ROWS[match[1]])
    middle = np.array([0.0, np.sin(midline), np.cos(midline)])
    if match[2] == "z":
        return middle
    number = int(match[2])
    side = -1.0 if number % 2 else 1.0
    end = np.array([side * np.sin(ring) * np.sin(_RING), np.cos(ring) * np.sin(_RING), np.cos(_RING)])
    if match[1] in {"Fp", "O"}:
        return end
    # along the great circle from the midline through the ring; 9 and 10 lie beyond it
    along = ((number + 1) // 2) / 4.0
    angle = np.arccos(np.clip(middle @ end, -1.0, 1.0))
    across = end - middle * np.cos(angle)
    across /= np.linalg.norm(across)
    return middle * np.cos(along * angle) + across * np.sin(along * angle)


def positions(n_channels: int) -> F64:
    """Place the EEG electrodes of a cap, shape (n_channels - 1, 3)."""
    return np.array([position(name) for name in EEG_NAMES[: n_channels - 1]])


def topography(electrodes: F64, source: F64, moment: F64) -> F64:
    """Potential of a current dipole in a homogeneous conductor, scaled to a greatest absolute value of 1.

    Parameters
    ----------
    electrodes : array, shape (n, 3)
        On the unit sphere.
    source : array, shape (3,)
        Within the sphere.
    moment : array, shape (3,)
        Direction of the dipole.
    """
    away = electrodes - source
    distance = np.linalg.norm(away, axis=1)
    potential = (away @ moment) / distance**3
    return potential / np.abs(potential).max()
