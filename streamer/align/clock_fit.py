"""A running line through time stamps: what a sample's time is when the stamps jitter."""

from __future__ import annotations

import math

import numpy as np

from streamer.messages import F64


class ClockFit:
    """Recursive least-squares fit ``t = w0 + w1 u`` with forgetting, read out as a continuous line.

    The fit is updated at single samples, ``every`` apart, chosen by their index alone; between two updates the read-out
    is a straight line that starts where the one before ended. So times depend on the samples and not on how they were
    chunked, and never jump while the fit corrects itself.

    Parameters
    ----------
    sfreq : float
        Nominal rate, Hz.
    half_time_s : float
        After this time an update counts half.
    jitter_s : float
        Expected standard deviation of one stamp, s: the weight of a new stamp against the nominal rate.
    rate_sd : float
        Expected deviation of the sender's rate from nominal, relative.
    """

    def __init__(self, sfreq: float, half_time_s: float, jitter_s: float = 1e-3, rate_sd: float = 1e-4) -> None:
        self._sfreq = sfreq
        self.every = max(1, round(0.02 * sfreq))
        """Samples between two updates."""
        self._keep = 2.0 ** (-self.every / (sfreq * half_time_s))
        self._noise = jitter_s**2
        self._rate_var = rate_sd**2
        self._residual_share = min(1.0, self.every / sfreq)
        self.restart(0, 0.0)

    def restart(self, sample: int, time: float) -> None:
        """Forget everything; the line goes through ``time`` at ``sample`` with the nominal rate."""
        self._at = sample
        self._level = time
        self._rate = 1.0
        self._var_level, self._cov, self._var_rate = self._noise, 0.0, self._rate_var
        self._mean_square = 0.0
        self._updates = 0
        self._from, self._out, self._slope = sample, time, 1.0 / self._sfreq
        self._started = sample

    def loosen(self) -> None:
        """Trust the level less: the count of lost samples may be off by a fraction."""
        self._var_level += self._noise

    def update(self, sample: int, time: float) -> None:
        """Take the stamp ``time`` (s) of ``sample``; samples must not go backwards."""
        dt = (sample - self._at) / self._sfreq
        self._level += self._rate * dt
        self._var_level = (self._var_level + 2 * dt * self._cov + dt * dt * self._var_rate) / self._keep
        self._cov = (self._cov + dt * self._var_rate) / self._keep
        self._var_rate /= self._keep
        error = time - self._level
        total = self._var_level + self._noise
        gain_level, gain_rate = self._var_level / total, self._cov / total
        self._level += gain_level * error
        self._rate += gain_rate * error
        self._var_rate -= gain_rate * self._cov
        self._cov -= gain_rate * self._var_level
        self._var_level -= gain_level * self._var_level
        self._updates += 1
        share = max(self._residual_share, 1.0 / self._updates)
        self._mean_square += share * (error * error - self._mean_square)
        self._at = sample
        self._out += self._slope * (sample - self._from)
        self._from = sample
        nominal = 1.0 / self._sfreq
        slope = (self._level - self._out) / self.every + self._rate * nominal
        self._slope = min(max(slope, 0.5 * nominal), 1.5 * nominal)

    def times(self, start: int, stop: int) -> F64:
        """Read the times (s) of samples ``start`` to ``stop`` (excluded) off the line as it stands."""
        return self._out + self._slope * (np.arange(start, stop, dtype=np.float64) - self._from)

    def spread(self, first: int, stamps: F64) -> F64:
        """Fit consecutive samples from ``first`` on with the given stamps (s); give their times, same shape."""
        out = np.empty_like(stamps)
        done = 0
        at = -first % self.every
        while at < len(stamps):
            out[done:at] = self.times(first + done, first + at)
            self.update(first + at, float(stamps[at]))
            done = at
            at += self.every
        out[done:] = self.times(first + done, first + len(stamps))
        return out

    @property
    def jitter_s(self) -> float:
        """Root mean square of the newest stamps against the fit, s."""
        return math.sqrt(self._mean_square)

    @property
    def residual_s(self) -> float:
        """Expected error of a fitted time, s."""
        return math.sqrt(self._mean_square * self._var_level / self._noise)

    @property
    def age_s(self) -> float:
        """Time since the fit began, s."""
        return (self._at - self._started) / self._sfreq
