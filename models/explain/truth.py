"""Where the effect lies: planted into drawn windows, or written down beside a simulated recording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import signal

from models.dataset import Inputs, WindowSet
from models.explain.network import Modality
from streamer.errors import ModelError
from streamer.filters import bandpass
from streamer.messages import F64, Array

EFFECT_IN = 0.5
"""Difference of the states' means, in standard deviations, from which on a channel and band count as informative."""
EFFECT_OUT = 0.25
"""Below it they count as not informative; what lies between is left out."""
_PIECE_S = 1.0


@dataclass(frozen=True)
class Truth:
    """1 where the effect was planted, 0 where not, NaN where it is neither.

    Per modality of shape (n_features,), for all time alike, or (n_steps, n_features).
    """

    where: dict[Modality, F64]
    origin: str


@dataclass(frozen=True)
class Shape:
    """Sizes of a window."""

    eeg_steps: int
    channels: tuple[str, ...]
    n_bands: int
    bold_steps: int
    regions: tuple[str, ...]
    n_classes: int


def shape_of(windows: WindowSet) -> Shape:
    """Give the sizes of a set of windows."""
    inputs, width = windows.inputs, windows.eeg.shape[2]
    return Shape(
        windows.eeg.shape[1],
        inputs.channels if width else (),
        width // len(inputs.channels) if width else 0,
        windows.bold.shape[1],
        inputs.regions if windows.bold.shape[2] else (),
        len(windows.classes),
    )


def plant(shape: Shape, count: int, seed: int, effect: float = 0.7) -> tuple[WindowSet, Truth]:
    """Draw windows of noise with an effect in a part of the channels, bands, regions and time.

    It lies in a quarter of the channels, one band and the middle half of the time, and in a quarter of the regions and
    a third of the lags: the newest steps hold nothing, as there a recurrent network looks even when it knows nothing.

    Parameters
    ----------
    shape : Shape
    count : int
        Windows.
    seed : int
    effect : float
        Distance of the outermost classes, in standard deviations of the noise.
    """
    rng = np.random.default_rng(seed)
    label = rng.integers(0, shape.n_classes, count)
    level = (label / (shape.n_classes - 1) - 0.5) * effect
    n_channels, n_regions = len(shape.channels), len(shape.regions)
    eeg = rng.standard_normal((count, shape.eeg_steps, n_channels, shape.n_bands))
    bold = rng.standard_normal((count, shape.bold_steps, n_regions))
    where: dict[Modality, F64] = {}
    if n_channels:
        chosen = rng.permutation(n_channels)[: max(1, n_channels // 4)]
        mask = np.zeros(eeg.shape[1:])
        mask[shape.eeg_steps // 4 : max(1, 3 * shape.eeg_steps // 4), chosen, rng.integers(shape.n_bands)] = 1
        eeg -= level[:, None, None, None] * mask
        where["eeg"] = mask.reshape(shape.eeg_steps, -1)
    if n_regions:
        mask = np.zeros(bold.shape[1:])
        # neighbours in their order: of a volume's cells these are a slab
        mask[shape.bold_steps // 2 : max(1, shape.bold_steps - 2), : max(1, n_regions // 4)] = 1
        bold += level[:, None, None] * mask
        where["bold"] = mask
    valid = np.tile(np.array([n_channels > 0, n_regions > 0], np.float32), (count, 1))
    windows = WindowSet(
        eeg=eeg.reshape(count, shape.eeg_steps, -1).astype(np.float32),
        bold=bold.astype(np.float32),
        age=valid * np.float32(0.5),
        valid=valid,
        label=label.astype(np.int64),
        settled=np.ones(count, np.bool_),
        subject=np.array(["planted"] * count),
        time=np.arange(count, dtype=np.float64),
        classes=tuple(f"class {k}" for k in range(shape.n_classes)),
        blocks=(),
        inputs=Inputs(shape.channels, shape.regions, 250.0),
    )
    return windows, Truth(where, "an effect planted into noise")


def truth_of_run(
    run: Path, windows: WindowSet, bands: Mapping[str, tuple[float, float]], bold_step_s: float
) -> Truth | None:
    """Read where a simulated run has its effect.

    Parameters
    ----------
    run : Path
        Its folder; ``truth.npz`` in it holds the brain's own EEG and the regions' own signals.
    windows : WindowSet
        Whose channels and regions are meant.
    bands : mapping of str to (low, high)
        Hz, in the order of the windows' features.
    bold_step_s : float
        Distance of the windows' BOLD steps, s.

    Returns
    -------
    Truth or None
        None when the run has no truth, as a recording of a person has none.

    Raises
    ------
    ModelError
        The truth cannot be read, or is of other channels or regions.
    """
    path = run / "truth.npz"
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            names = (*("eeg", "state", "rate_hz"), *("region_names", "region_neural", "region_total", "volume_onsets"))
            truth: dict[str, Array] = {name: stored[name] for name in names}
    except (OSError, KeyError, ValueError) as error:
        raise ModelError(f"{path} is not the truth of a simulated run: {error}") from error
    where: dict[Modality, F64] = {}
    if windows.eeg.shape[2]:
        if truth["eeg"].shape[1] != len(windows.inputs.channels):
            given, expected = truth["eeg"].shape[1], len(windows.inputs.channels)
            raise ModelError(f"{path} has {given} EEG channels: expected {expected}, as the windows")
        where["eeg"] = _sorted_out(_eeg_effect(truth, bands))
    if windows.bold.shape[2]:
        where["bold"] = _sorted_out(_bold_effect(truth, windows, bold_step_s, path))
    return Truth(where, f"simulated run {run.parent.name}/{run.name}")


def _eeg_effect(truth: Mapping[str, Array], bands: Mapping[str, tuple[float, float]]) -> F64:
    """Difference of the states in log power of the brain's own EEG, in sd, shape (n_channels * n_bands,)."""
    rate = float(truth["rate_hz"])
    length = round(_PIECE_S * rate)
    count = len(truth["eeg"]) // length
    state = truth["state"][: count * length].reshape(count, length).mean(axis=1)
    found: list[F64] = []
    for low, high in bands.values():
        wave: Array = signal.sosfiltfilt(bandpass(low, high, rate), truth["eeg"].astype(np.float64), axis=0)
        power = np.log(np.square(wave[: count * length]).reshape(count, length, -1).mean(axis=1) + 1e-24)
        task, rest = power[state == 1], power[state == 0]
        if len(task) < 2 or len(rest) < 2:
            raise ModelError("a simulated run has too few seconds of one state: expected two of each")
        spread = np.sqrt((task.var(axis=0) + rest.var(axis=0)) / 2)
        found.append(np.abs(task.mean(axis=0) - rest.mean(axis=0)) / spread)
    return np.stack(found, axis=1).reshape(-1)


def _bold_effect(truth: Mapping[str, Array], windows: WindowSet, step_s: float, path: Path) -> F64:
    """Difference of the states of now in each region's neural signal before now, in sd of the region's whole signal.

    Shape (n_steps, n_regions).
    """
    names: list[str] = truth["region_names"].tolist()
    missing = [name for name in windows.inputs.regions if name not in names]
    if missing:
        raise ModelError(f"{path} has no region {', '.join(missing)}: it has {', '.join(names)}")
    columns = [names.index(name) for name in windows.inputs.regions]
    neural, total = truth["region_neural"][:, columns], truth["region_total"][:, columns]
    onsets, rate = truth["volume_onsets"], float(truth["rate_hz"])
    middle = onsets + float(np.median(np.diff(onsets))) / 2
    age = float(windows.age[windows.valid[:, 1] > 0, 1].mean())
    found: list[F64] = []
    for lag in age + step_s * np.arange(windows.bold.shape[1] - 1, -1, -1):
        now = np.round((middle + lag) * rate).astype(int)
        inside = now < len(truth["state"])
        state = truth["state"][now[inside]]
        task, rest = neural[inside][state == 1], neural[inside][state == 0]
        found.append(np.abs(task.mean(axis=0) - rest.mean(axis=0)) / total.std(axis=0))
    return np.stack(found)


def _sorted_out(effect: F64) -> F64:
    return np.where(effect >= EFFECT_IN, 1.0, np.where(effect <= EFFECT_OUT, 0.0, np.nan))
