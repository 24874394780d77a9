"""Small labelled recordings: EEG whose alpha follows the state, volumes whose region does, responses after markers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.signal import butter, sosfilt

from streamer.formats.brainvision import FileMarker, write_brainvision
from streamer.formats.nifti import LabelImage, write_labels, write_nifti
from streamer.messages import ChannelInfo

SFREQ = 250.0
NAMES = ("O1", "O2", "C3", "C4")
CHANNELS = tuple(ChannelInfo(name, "eeg") for name in NAMES)
AFFINE = np.array([[-4.0, 0, 0, 30], [0, 4, 0, -30], [0, 0, 5, -20], [0, 0, 0, 1]])
TR_S = 2.0
REGIONS = ("left", "right")

Event = tuple[float, float, str]


def write_table(path: Path, events: list[Event]) -> Path:
    rows = "".join(f"{onset}\t{duration}\t{label}\n" for onset, duration, label in events)
    path.write_text("onset\tduration\ttrial_type\n" + rows, encoding="utf-8")
    return path


def noise(seconds: float, seed: int) -> np.ndarray:
    """Noise of 10 µV and an alpha rhythm of 20 µV on the first two channels, V."""
    rng = np.random.default_rng(seed)
    n = round(seconds * SFREQ)
    eeg = 10e-6 * rng.standard_normal((n, len(NAMES)))
    alpha: np.ndarray = np.asarray(
        sosfilt(butter(2, (9, 12), "bandpass", fs=SFREQ, output="sos"), rng.standard_normal((n, 2)), axis=0)
    )
    eeg[:, :2] += 20e-6 * alpha / alpha.std()
    return eeg


def write_eeg(vhdr: Path, eeg: np.ndarray, markers: list[tuple[float, str]] = []) -> Path:  # noqa: B006 - not changed
    marks = [FileMarker("Stimulus", label, round(at * SFREQ)) for at, label in markers]
    vhdr.parent.mkdir(parents=True, exist_ok=True)
    write_brainvision(vhdr, SFREQ, CHANNELS, [eeg], marks)
    return vhdr


def write_states(vhdr: Path, events: list[Event], seconds: float = 38.0, seed: int = 0) -> Path:
    """EEG whose alpha is gone in blocks ``task``, beside no table."""
    eeg = noise(seconds, seed)
    rest = 10e-6 * np.random.default_rng(seed + 1).standard_normal(eeg.shape)
    for onset, duration, label in events:
        if label == "task":
            span = slice(round(onset * SFREQ), round((onset + duration) * SFREQ))
            eeg[span] = rest[span]
    return write_eeg(vhdr, eeg)


def write_volumes(folder: Path, events: list[Event], n_volumes: int = 24) -> Path:
    """A still head whose left region is 5 % brighter in blocks ``left``; gives its recording.toml."""
    folder.mkdir(parents=True, exist_ok=True)
    i, j, k = np.indices((16, 16, 9)).astype(float)
    distance = np.sqrt((4 * (i - 7.5)) ** 2 + (4 * (j - 7.5)) ** 2 + (5 * (k - 4)) ** 2)
    texture = np.sin(i) + np.cos(1.3 * j) + np.sin(0.9 * k)
    still = 1000.0 / (1 + np.exp((distance - 22) / 3)) * (1 + 0.2 * texture)
    labels = np.zeros(still.shape, np.int16)
    labels[9:12, 6:10, 3:6], labels[4:7, 6:10, 3:6] = 1, 2
    series = np.repeat(still[..., None], n_volumes, axis=3)
    series += np.random.default_rng(3).normal(0, 2, series.shape)
    for onset, duration, label in events:
        if label == "left":
            first, last = round(onset / TR_S), round((onset + duration) / TR_S)
            series[..., first:last][labels == 1] *= 1.05
    write_nifti(folder / "bold.nii.gz", np.rint(np.clip(series, 0, None)).astype(np.int16), AFFINE, TR_S)
    write_labels(LabelImage(labels, AFFINE, REGIONS), folder / "regions.nii.gz", folder / "regions.tsv")
    write_table(folder / "events.tsv", events)
    path = folder / "recording.toml"
    path.write_text(
        'schema = 1\nkind = "recording"\n[bold]\nfile = "bold.nii.gz"\n[regions]\nlabels = "regions.nii.gz"\n'
        'names = "regions.tsv"\n[events]\nfile = "events.tsv"\n',
        encoding="utf-8",
    )
    return path
