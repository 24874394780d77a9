"""Event-locked windows: cleaned EEG around markers, for evoked responses such as the P300.

The EEG comes from the loop's own lane, whose filters are causal; its times are corrected for their delay. A window is
the mean amplitude in bins of every channel. Every event that is asked for gives a window; one that cannot be used, as
its EEG is missing, settling or beyond the limit, is masked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from models.dataset import Block, Inputs, WindowSet, joined
from models.labels import LISTED, Labels, events_of
from models.own_baseline import beginning
from models.replayed import part_of
from models.sources import find_runs
from models.subjects import APART_S
from streamer.config import Config
from streamer.contracts import Settings
from streamer.errors import ModelError
from streamer.messages import F32, F64, CleanEeg, Flag, Marker
from streamer.replay import Origin, open_origin, prepare

_DIRTY = int(Flag.WARMING | Flag.GAP | Flag.CLOCK_STEP | Flag.UNSYNCED)
_LEAST_V = 1e-9


class EpochSettings(Settings):
    """How event-locked windows are cut."""

    before_s: float = Field(default=0.1, ge=0, le=10)
    """Beginning of the window before the event, s."""
    after_s: float = Field(default=0.8, gt=0, le=10)
    """End of the window after the event, s."""
    bin_s: float = Field(default=0.04, gt=0)
    """Length of a bin, s; rounded to whole samples of the cleaned EEG. What is left at the end is not used."""
    unit: Literal["uV", "sd"] = "uV"
    """uV: microvolts. sd: standard deviations of each channel over the first ``scale_s`` of clean EEG, whose events are
    masked."""
    scale_s: float = Field(default=20.0, gt=0)
    """sd: length of that stretch, s."""
    baseline: bool = False
    """Whether the mean before the event is taken off."""
    reject_v: float | None = Field(default=100e-6, gt=0)
    """Windows with a larger absolute amplitude in any channel are masked, V; none takes all."""

    @model_validator(mode="after")
    def _fits(self) -> EpochSettings:
        if self.bin_s > self.before_s + self.after_s:
            raise ValueError(f"bins of {self.bin_s:g} s in a window of {self.before_s + self.after_s:g} s")
        if self.baseline and not self.before_s:
            raise ValueError("baseline with before_s = 0: expected a stretch before the event")
        return self


def read_epochs(
    path: Path,
    config: Config,
    subject: str,
    labels: Labels,
    settings: EpochSettings | None = None,
    progress: Callable[[float], None] | None = None,
) -> WindowSet:
    """Replay the runs of a subject and cut their EEG around events.

    Parameters
    ----------
    path : Path
        As for :func:`models.subjects.read_subject`.
    config : Config
        The EEG lane's settings count; 1 to 40 Hz and the average reference, its defaults, suit band power better than
        evoked responses.
    subject : str
        Name in the window set; the subjects of a dataset with several keep their own.
    labels : Labels
        Markers (or events) to cut around, two or more.
    settings : EpochSettings, optional
    progress : callable, optional
        Takes the fraction done.

    Returns
    -------
    windows : WindowSet
        ``eeg`` of shape (n, n_bins, n_channels); each event is a block of its own, which ends before the next.

    Raises
    ------
    ModelError
        There is no EEG, fewer than two classes, or no event that can be used.
    RecordingError
        A run cannot be read.
    """
    settings = settings if settings is not None else EpochSettings()
    if len(labels.classes) < 2:
        raise ModelError(f"events {', '.join(labels.classes) or '(none)'} to cut around: expected two or more")
    model = config.model.model_copy(update={"card": "none", "calibration": None})
    bare = config.model_copy(update={"model": model})
    found = find_runs(path)
    share = 1.0 / sum(len(runs.recordings) for runs in found)
    parts: list[WindowSet] = []
    for runs in found:
        at = 0.0
        for recording in runs.recordings:
            name = subject if len(found) == 1 else runs.subject
            tell = part_of(progress, len(parts) * share, share)
            cut = _read(recording, bare, name, labels, settings, tell).later(at)
            at = max(float(cut.time.max()), *(b.onset_s + b.duration_s for b in cut.blocks)) + APART_S
            parts.append(cut)
    return joined(parts)


def _read(
    path: Path, config: Config, subject: str, labels: Labels, settings: EpochSettings, progress: Callable[[float], None]
) -> WindowSet:
    origin = open_origin(path)
    if origin.sfreq is None:
        raise ModelError(f"{origin.name}: no EEG to cut around events")
    run = prepare(origin, config)
    lane = run.loop.core.lane
    clean: list[CleanEeg] = []
    markers: list[Marker] = []
    zero: float | None = None
    for event, outputs in run.steps():
        zero = beginning(origin, event) if zero is None else zero
        if isinstance(event, Marker):
            markers.append(event)
        clean.extend(o for o in outputs if isinstance(o, CleanEeg))
        progress(origin.fraction(event.received))
    start = zero or 0.0
    events = _chosen(origin, markers, start, labels)
    if not clean:
        raise ModelError(f"{origin.name}: no cleaned EEG")
    cutter = _Cutter(clean, settings, lane.sfreq_out)
    eeg, valid = cutter(np.array([at + start for at, _ in events]))
    if not valid.any():
        raise ModelError(
            f"{origin.name}: none of {len(events)} events can be used: EEG that is missing, settling or without its "
            f"volume triggers, or beyond {settings.reject_v} V"
        )
    ends = [at for at, _ in events[1:]] + [np.inf]
    n = len(events)
    return WindowSet(
        eeg=eeg,
        bold=np.empty((n, 1, 0), np.float32),
        age=np.zeros((n, 2), np.float32),
        valid=np.column_stack([valid, np.zeros(n)]).astype(np.float32),
        label=np.array([labels.classes.index(label) for _, label in events], np.int64),
        settled=np.ones(n, np.bool_),
        subject=np.array([subject] * n),
        time=np.array([at for at, _ in events]),
        classes=labels.classes,
        blocks=tuple(
            Block(at, min(settings.after_s, end - at), label, subject)
            for (at, label), end in zip(events, ends, strict=True)
        ),
        inputs=Inputs(tuple(c.name for c in lane.channels), (), lane.sfreq_out),
    )


def _chosen(origin: Origin, markers: Sequence[Marker], zero_s: float, labels: Labels) -> list[tuple[float, str]]:
    own = () if origin.recording is None else origin.recording.events
    # blocks and markers may stand side by side: what is asked for may be either
    told = [(float(m.at) - zero_s, 0.0, m.label) for m in markers]
    every = [*events_of(own, labels), *(told if labels.events is None else ())]
    chosen = sorted({(at, label) for at, _, label in every if label in labels.classes})
    absent = sorted(set(labels.classes) - {label for _, label in chosen})
    if absent:
        there = ", ".join(sorted({label for _, _, label in every})[:LISTED]) or "none"
        raise ModelError(f"{origin.name}: no event {', '.join(absent)}; there are {there}")
    return chosen


class _Cutter:
    def __init__(self, clean: Sequence[CleanEeg], settings: EpochSettings, sfreq: float) -> None:
        self._settings = settings
        self._sfreq = sfreq
        self._data: F32 = np.concatenate([c.data for c in clean]).astype(np.float32)
        self._times: F64 = np.concatenate([c.times for c in clean])
        self._index = np.concatenate([c.first_sample + np.arange(len(c.times)) for c in clean])
        self._dirty = np.repeat([bool(int(c.flags) & _DIRTY) for c in clean], [len(c.times) for c in clean])
        self._scale, self._from = np.float64(1e6), 0
        if settings.unit == "sd":
            first = np.flatnonzero(~self._dirty)[: round(settings.scale_s * sfreq)]
            spread = self._data[first].std(axis=0, dtype=np.float64) if len(first) else np.ones(self._data.shape[1])
            self._scale = 1.0 / np.maximum(spread, _LEAST_V)
            self._from = int(first[-1]) + 1 if len(first) else len(self._data)

    def __call__(self, at: F64) -> tuple[F32, NDArray[np.bool_]]:
        """Cut around session times, s; gives windows, shape (n, n_bins, n_channels), and which are there."""
        s = self._settings
        width = max(1, round(s.bin_s * self._sfreq))
        n_bins = max(1, round((s.before_s + s.after_s) * self._sfreq) // width)
        before = round(s.before_s * self._sfreq)
        n = max(n_bins * width, before)
        out = np.zeros((len(at), n_bins, self._data.shape[1]), np.float32)
        valid = np.zeros(len(at), np.bool_)
        first = np.searchsorted(self._times, at - s.before_s - 0.5 / self._sfreq)
        for row, k in enumerate(first.tolist()):
            if k < self._from or k + n > len(self._data) or self._dirty[k : k + n].any():
                continue
            late = self._times[k] - (at[row] - s.before_s)
            if late > 1.0 / self._sfreq or self._index[k + n - 1] - self._index[k] != n - 1:
                continue
            window = self._data[k : k + n].astype(np.float64)
            if s.reject_v is not None and np.abs(window).max() > s.reject_v:
                continue
            if s.baseline:
                window -= window[:before].mean(axis=0)
            out[row] = (window[: n_bins * width] * self._scale).reshape(n_bins, width, -1).mean(axis=1)
            valid[row] = True
        return out, valid
