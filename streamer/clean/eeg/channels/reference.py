"""The reference of the output: the mean over good channels, or named electrodes."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from streamer.compiled import compiled
from streamer.contracts import Settings
from streamer.errors import ConfigError
from streamer.messages import F64, Array


class ReferenceSettings(Settings):
    """What the EEG is referred to. The kind alone may be given as plain text."""

    kind: Literal["average", "linked", "none"] = "average"
    """``average``: the mean of the good channels. ``linked``: the mean of ``linked``; where those are all bad, the
    average. ``none``: as recorded."""
    linked: tuple[str, ...] = Field(default=("TP9", "TP10"), min_length=1)
    """EEG channels whose mean is the reference under ``linked``: two, as linked mastoids, or a single one."""

    @model_validator(mode="before")
    @classmethod
    def _from_kind(cls, given: Any) -> Any:
        return {"kind": given} if isinstance(given, str) else given


class Reference:
    """Refer EEG to another reference.

    What is subtracted changes only with ``good``. Only EEG channels may be given: an ECG in the mean would be in every
    channel.

    Parameters
    ----------
    settings : ReferenceSettings
    channel_names : sequence of str
        Of the columns that will come.

    Raises
    ------
    ConfigError
        If a channel to link is none of them, or is named twice.
    """

    def __init__(self, settings: ReferenceSettings, channel_names: Sequence[str]) -> None:
        self.settings = settings
        self._names = tuple(channel_names)
        self._linked: tuple[int, ...] = ()
        if settings.kind == "linked":
            self._linked = _indices(settings.linked, self._names)
        self._good: Array | None = None
        self._seen: Array | None = None
        self._minus: Array = np.empty(0, np.int64)
        self.note = ""
        """How it differs from what is set, for the operator; empty when it does not."""
        self.fell_back = False
        """Whether the output has another reference than what is set: its amplitudes are not those that a model
        learnt."""
        _minus_mean(np.zeros((1, 1)), self._minus, np.zeros((1, 1)))

    def __call__(self, data: F64, good: Array) -> F64:
        """Refer samples.

        Parameters
        ----------
        data : ndarray, float64, shape (n_times, n_channels)
            V.
        good : ndarray of int
            Indices of the good channels.

        Returns
        -------
        ndarray, float64, shape (n_times, n_channels)
            With nothing to refer to (an average of fewer than two channels), the data as it is.
        """
        if good is not self._seen:
            self._seen = good
            if self._good is None or not np.array_equal(good, self._good):
                self._good = np.array(good, np.int64)
                self._choose(self._good)
        if not len(self._minus):
            return data
        out = np.empty(data.shape)
        _minus_mean(data if data.flags.carray else data.copy(), self._minus, out)
        return out

    def _choose(self, good: Array) -> None:
        self.note, self.fell_back = "", False
        if self.settings.kind == "none":
            return
        usable = set(good.tolist())
        kept = [i for i in self._linked if i in usable]
        if kept:
            self._minus = np.array(kept, np.int64)
            if len(kept) < len(self._linked):
                lost = _listed([self._names[i] for i in self._linked if i not in usable])
                self.note = f"reference: {lost} bad, {_listed([self._names[i] for i in kept])} alone"
            return
        self._minus = good if len(good) > 1 else np.empty(0, np.int64)
        instead = "the average of the good channels instead" if len(good) > 1 else "as recorded"
        if self._linked:
            self.note = f"reference: {_listed([self._names[i] for i in self._linked])} bad, {instead}"
            self.fell_back = True
        elif len(good) <= 1:
            self.note = f"reference: fewer than two good channels, {instead}"
            self.fell_back = True


@compiled
def _minus_mean(data: F64, which: Array, out: F64) -> None:
    n_times, n_channels = data.shape
    for i in range(n_times):
        total = 0.0
        for k in range(len(which)):
            total += data[i, which[k]]
        mean = total / len(which)
        for c in range(n_channels):
            out[i, c] = data[i, c] - mean


def _indices(wanted: Sequence[str], names: Sequence[str]) -> tuple[int, ...]:
    problems: list[str] = []
    by_lower = {name.lower(): name for name in names}
    for name in dict.fromkeys(wanted):
        if name not in names:
            close = [by_lower[m] for m in get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)]
            hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(names)}"
            problems.append(f"linked: {name!r} is no EEG channel of this stream; {hint}")
        if wanted.count(name) > 1:
            problems.append(f"linked: {name!r} is named {wanted.count(name)} times: expected once")
    if problems:
        raise ConfigError("EEG reference", problems)
    return tuple(names.index(name) for name in wanted)


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names)
