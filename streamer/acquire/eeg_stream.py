"""What every live EEG stream tells of itself, and the check that its unit is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamer.errors import StreamRefused
from streamer.messages import F32, ChannelInfo

# EEG lies between 1 µV and, with scanner artefacts, some 10 mV
_LEAST_V = 1e-9
_MOST_V = 0.1


@dataclass(frozen=True, slots=True)
class EegDescription:
    """What is known of an EEG stream once it is open."""

    name: str
    sfreq: float
    """Hz, nominal."""
    channels: tuple[ChannelInfo, ...]
    triggers: str = ""
    """Where volume triggers come from within the stream: the name of a channel, ``RDA`` for the stream's own markers,
    empty when they come in a marker stream of their own."""
    counter: str = ""
    """The channel that numbers the samples; ``RDA`` for block numbers, empty when there is none."""


def refuse_channels(title: str, channels: Sequence[ChannelInfo]) -> None:
    """Refuse channels that cannot be told apart or hold no EEG.

    Raises
    ------
    StreamRefused
        A name stands there twice, or no channel is of the kind ``eeg``.
    """
    names = [channel.name for channel in channels]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise StreamRefused(f"stream {title}: more than one channel is called {', '.join(doubled)}")
    if not any(channel.kind == "eeg" for channel in channels):
        kinds = ", ".join(sorted({channel.kind for channel in channels}))
        raise StreamRefused(f"stream {title}: channels of type {kinds}, expected at least one of type EEG")


class FirstSecond:
    """Looks at the size of a stream's first second, once.

    Parameters
    ----------
    description : EegDescription
    said_by : str
        Who tells the unit, for the message.
    advice : str
        What to do when it is wrong, for the message.
    """

    def __init__(self, description: EegDescription, said_by: str, advice: str) -> None:
        self._description, self._said_by, self._advice = description, said_by, advice
        self._blocks: list[F32] | None = []
        self._n = 0

    def add(self, data: F32) -> None:
        """Take samples, V, shape (n_times, n_channels).

        Raises
        ------
        StreamRefused
            The median standard deviation of the EEG channels is beyond what EEG or its artefacts reach.
        """
        if self._blocks is None:
            return
        self._blocks.append(data)
        self._n += len(data)
        if self._n >= self._description.sfreq:
            data, self._blocks = np.concatenate(self._blocks), None
            self._check(data)

    def _check(self, data: F32) -> None:
        eeg = [i for i, channel in enumerate(self._description.channels) if channel.kind == "eeg"]
        spread = float(np.median(data[:, eeg].std(axis=0, dtype=np.float64)))
        # a line that is exactly flat says nothing of the unit
        if spread == 0.0 or _LEAST_V <= spread <= _MOST_V:
            return
        likely = "it is probably in V already" if spread < _LEAST_V else "it is probably in µV"
        raise StreamRefused(
            f"stream {self._description.name!r}: by the {self._said_by} the EEG has an amplitude of {spread:.3g} V, "
            f"expected {_LEAST_V:g} to {_MOST_V:g} V: {likely}; {self._advice}"
        )
