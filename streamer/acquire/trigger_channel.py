"""Volume triggers and sample numbers that come as channels of the EEG stream: exact to the sample, at the source."""

from __future__ import annotations

import numpy as np

from streamer.errors import StreamRefused
from streamer.messages import F64, Array, Marker, SessionTime

EXACT_FLOAT32 = float(2**24)
"""From here on a float32 no longer holds every whole number."""

_JITTER_S = 0.5
"""What the stamps may be off by when they are asked whether a loss can be."""
_OUTAGE_S = 10.0
_NO_COUNTER = 0.1


class TriggerChannel:
    """Make markers of the rising edges of a channel.

    Without a code, an edge is where the value rises by more than ``rise`` from one sample to the next; with one, where
    it becomes the code after having been something else. An edge that comes less than ``debounce_s`` after the last
    marker is contact bounce. The first sample of a stream and of what follows a gap makes no marker: when its edge was
    is unknown. A value that is not a number counts as the one before.

    Parameters
    ----------
    label : str
        Of the markers.
    sfreq : float
        Hz.
    code : int or None
        The value that means a volume, for a channel of digital codes.
    rise : float
        In the channel's own numbers.
    debounce_s : float
        s.
    """

    def __init__(self, label: str, sfreq: float, code: int | None, rise: float, debounce_s: float) -> None:
        self._label, self._code, self._rise = label, code, rise
        self._debounce = round(debounce_s * sfreq)
        self._next: int | None = None
        self._last_value = np.nan
        self._last_edge: int | None = None
        self.bounced = 0
        """Edges that came too soon after a marker."""

    def __call__(
        self, values: Array, first_sample: int, times_raw: F64, times: F64, received: SessionTime
    ) -> list[Marker]:
        """Take consecutive samples of the channel, shape (n_times,), with their stamps; give the markers in order."""
        if not len(values):
            return []
        if first_sample != self._next:
            self._last_value = np.nan
        self._next = first_sample + len(values)
        both = _filled(np.concatenate([[self._last_value], values.astype(np.float64)]))
        self._last_value = both[-1]
        before, after = both[:-1], both[1:]
        if self._code is None:
            edges = after - before > self._rise
        else:
            is_code = np.rint(after) == self._code
            edges = is_code & (np.rint(before) != self._code) & np.isfinite(before)
        out: list[Marker] = []
        for at in np.flatnonzero(edges).tolist():
            sample = first_sample + at
            if self._last_edge is not None and sample - self._last_edge < self._debounce:
                self.bounced += 1
                continue
            self._last_edge = sample
            out.append(Marker(self._label, SessionTime(float(times[at])), float(times_raw[at]), sample, received))
        return out


class SampleCounter:
    """Number samples by a channel that counts them, lost ones included.

    The channel rises by 1 from sample to sample and begins again at 0 after its highest value. A step by more is a
    loss of exactly so many samples, plus whole turns of the counter where the stamps jump by as much. A step that the
    stamps contradict (more than half a second is claimed that did not pass, or stamps and counter went back together)
    is a counter that was set anew, or samples that came twice: nothing is lost then, and counting goes on from there.
    What is lost by exactly whole turns is not seen here.

    Parameters
    ----------
    name : str
        Of the channel, for messages.
    sfreq : float
        Hz.
    bits : int or None
        Size of the counter; None takes the least of 8, 16, 24 and 32 that holds the highest value seen.
    limit : float
        Values from here on cannot be told apart in the stream's number format; the counter is then left alone.
    """

    def __init__(self, name: str, sfreq: float, bits: int | None = None, limit: float = np.inf) -> None:
        self._name, self._sfreq, self._bits, self._limit = name, sfreq, bits, limit
        self._next = 0
        self._value: float | None = None
        self._stamp = 0.0
        self._highest = 0.0
        self._seen = self._odd = 0
        self.usable = True
        """Whether it still counts: False once its values went beyond the number format."""

    def __call__(self, values: Array, stamps: F64) -> Array:
        """Take the channel's values and the sender's stamps (s), shape (n_times,).

        Returns
        -------
        numbers : array of int64, shape (n_times,)
            Each sample's index since the stream was opened, lost samples counted.

        Raises
        ------
        StreamRefused
            The first second shows that the channel does not count samples.
        """
        n = len(values)
        if not n:
            return np.zeros(0, np.int64)
        first = self._value is None
        before = float(values[0]) - 1.0 if self._value is None else self._value
        both = _counted_on(np.concatenate([[before], values.astype(np.float64)]))
        at = np.concatenate([[stamps[0] if first else self._stamp], stamps])
        lost = np.zeros(n, np.int64)
        if self.usable:
            highest = np.maximum(np.maximum.accumulate(both), self._highest)
            for i in np.flatnonzero((np.diff(both) != 1) & (highest[1:] < self._limit)).tolist():
                lost[i] = self._lost(both[i], both[i + 1], float(at[i + 1] - at[i]), float(highest[i + 1]))
            self._highest = float(highest[-1])
            self.usable = self._highest < self._limit
            self._judge(both, n)
        self._value, self._stamp = float(both[-1]), float(at[-1])
        numbers = self._next + np.arange(n) + np.cumsum(lost)
        self._next = int(numbers[-1]) + 1
        return numbers

    def _lost(self, before: float, value: float, passed_s: float, highest: float) -> int:
        turn = self._turn(highest)
        lost = int((value - before - 1) % turn)
        back = round(1 - passed_s * self._sfreq)
        if lost == 0 or (passed_s <= 0 and (lost + back) % turn == 0):
            return 0
        gap = passed_s * self._sfreq - 1
        if passed_s < _OUTAGE_S and gap - lost > turn / 2:
            lost += turn * round((gap - lost) / turn)
        return lost if lost <= max(gap, 0.0) + _JITTER_S * self._sfreq else 0

    def _turn(self, highest: float) -> int:
        if self._bits is not None:
            return 2**self._bits
        return next((2**bits for bits in (8, 16, 24) if highest < 2**bits), 2**32)

    def _judge(self, both: F64, n: int) -> None:
        if self._seen >= self._sfreq:
            return
        self._odd += int((np.diff(both) != 1).sum())
        self._seen += n
        if self._seen >= self._sfreq and self._odd > _NO_COUNTER * self._seen:
            raise StreamRefused(
                f"channel {self._name!r} does not count samples: {self._odd} of the first {self._seen} values are not "
                "1 more than the one before; name another in eeg.stream.counter_channel, or none"
            )


def _filled(values: F64) -> F64:
    """Put the value before in the place of what is not a number."""
    known = np.where(np.isfinite(values), np.arange(len(values)), 0)
    return values[np.maximum.accumulate(known)]


def _counted_on(values: F64) -> F64:
    """Put one more than the value before in the place of what is not a number."""
    for i in np.flatnonzero(~np.isfinite(values)).tolist():
        values[i] = values[i - 1] + 1 if i else -1.0
    return values
