"""Which electrodes a simulated cap has, and how sources look from there."""

from __future__ import annotations

import numpy as np

from streamer.formats.montage import electrode_position
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


def channel_infos(n_channels: int) -> tuple[ChannelInfo, ...]:
    """Name the channels of a cap: EEG first, the ECG last."""
    return (*(ChannelInfo(name, "eeg") for name in EEG_NAMES[: n_channels - 1]), ChannelInfo("ECG", "ecg"))


def positions(n_channels: int) -> F64:
    """Place the EEG electrodes of a cap, shape (n_channels - 1, 3)."""
    return np.array([electrode_position(name) for name in EEG_NAMES[: n_channels - 1]])


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
