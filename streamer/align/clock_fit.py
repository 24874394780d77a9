"""A running line through time stamps: what a sample's time is when the stamps jitter."""

from __future__ import annotations

import math

import numpy as np

from streamer.messages import F64, Array

_LEAN_S = 2.0
_USUAL_S = 20.0
_CLIP = 4.0
_LEAST_S = 2.5e-4


class ClockFit:
    """Recursive least-squares fit ``t = w0 + w1 u`` with forgetting, read out as a continuous line.

    The fit is updated at single samples, ``every`` apart, chosen by their index alone; between two updates the read-out
    is a straight line that starts where the one before ended. So times depend on the samples and not on how they were
    chunked, and never jump while the fit corrects itself.

    A stamp further off than four times the jitter counts as one that far off (Huber 1964, doi:10.1214/aoms/1177703732).
    When the stamps of about two seconds lie to one side of the line (a loss too small to be seen, a new clock offset),
    the level is loosened, so that the line is back within a second.

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
    settled_s : float
        The fit has settled when it is a second old and its expected error is below this, s; it is unsettled when that
        doubles.
    block : int
        The fit counts as settled from a multiple of so many samples on.
    """

    def __init__(
        self,
        sfreq: float,
        half_time_s: float,
        jitter_s: float = 1e-3,
        rate_sd: float = 1e-4,
        settled_s: float = 1e-3,
        block: int = 1,
    ) -> None:
        self._sfreq = sfreq
        self.every = max(1, round(0.02 * sfreq))
        """Samples between two updates."""
        self._keep = 2.0 ** (-self.every / (sfreq * half_time_s))
        self._noise = jitter_s**2
        self._rate_var = rate_sd**2
        self._residual_share = min(1.0, self.every / sfreq)
        self._lean_share = min(1.0, self.every / (_LEAN_S * sfreq))
        self._usual_share = min(1.0, self.every / (_USUAL_S * sfreq))
        self._settled_s, self._block = settled_s, block
        self.restart(0, 0.0)

    def restart(self, sample: int, time: float) -> None:
        """Forget everything; the line goes through ``time`` at ``sample`` with the nominal rate."""
        self._at = sample
        self._level = time
        self._rate = 1.0
        self._var_level, self._cov, self._var_rate = self._noise, 0.0, self._rate_var
        self._mean_square = self._usual = self._lean = 0.0
        self._updates = 0
        self._from, self._out, self._slope = sample, time, 1.0 / self._sfreq
        self._started = sample
        self._settled_from: int | None = None

    def loosen(self) -> None:
        """Trust the level less: the count of lost samples may be off by a fraction."""
        self._var_level += self._noise
        self._lean = 0.0

    def update(self, sample: int, time: float) -> None:
        """Take the stamp ``time`` (s) of ``sample``; samples must not go backwards."""
        dt = (sample - self._at) / self._sfreq
        self._level += self._rate * dt
        self._var_level = (self._var_level + 2 * dt * self._cov + dt * dt * self._var_rate) / self._keep
        self._cov = (self._cov + dt * self._var_rate) / self._keep
        self._var_rate /= self._keep
        off = time - self._level
        error = self._plausible(off)
        total = self._var_level + self._noise
        gain_level, gain_rate = self._var_level / total, self._cov / total
        self._level += gain_level * error
        self._rate += gain_rate * error
        self._var_rate -= gain_rate * self._cov
        self._cov -= gain_rate * self._var_level
        self._var_level -= gain_level * self._var_level
        self._updates += 1
        share = max(self._residual_share, 1.0 / self._updates)
        self._mean_square += share * (off * off - self._mean_square)
        share = max(self._usual_share, 1.0 / self._updates)
        self._usual += share * (error * error - self._usual)
        self._at = sample
        self._out += self._slope * (sample - self._from)
        self._from = sample
        nominal = 1.0 / self._sfreq
        slope = (self._level - self._out) / self.every + self._rate * nominal
        self._slope = min(max(slope, 0.5 * nominal), 1.5 * nominal)
        self._settle(sample)

    def _plausible(self, error: float) -> float:
        if self._updates * self._residual_share < 0.5:
            return error
        usual = math.sqrt(self._usual)
        spread = max(usual, _LEAST_S)
        error = min(max(error, -_CLIP * spread), _CLIP * spread)
        self._lean += self._lean_share * (error - self._lean)
        if abs(self._lean) > max(0.75 * usual, 2 * _LEAST_S):
            self.loosen()
        return error

    def _settle(self, sample: int) -> None:
        if self._settled_from is None:
            if self.age_s >= 1.0 and self.residual_s < self._settled_s:
                self._settled_from = -(-sample // self._block) * self._block
        elif self.residual_s >= 2 * self._settled_s:
            self._settled_from = None

    def settled(self, sample: int) -> bool:
        """Whether the fit has settled by ``sample``."""
        return self._settled_from is not None and sample >= self._settled_from

    def times(self, start: int, stop: int) -> F64:
        """Read the times (s) of samples ``start`` to ``stop`` (excluded) off the line as it stands."""
        return self._out + self._slope * (np.arange(start, stop, dtype=np.float64) - self._from)

    def spread(self, first: int, stamps: F64) -> tuple[F64, Array]:
        """Fit consecutive samples from ``first`` on with the given stamps (s).

        Returns
        -------
        times : array, same shape as ``stamps``
            s.
        settled : array of bool, same shape
            Whether the fit had settled by then.
        """
        out = np.empty_like(stamps)
        settled = np.zeros(len(stamps), dtype=bool)
        done = 0
        at = -first % self.every
        while at < len(stamps):
            self._read(first, done, at, out, settled)
            self.update(first + at, float(stamps[at]))
            done = at
            at += self.every
        self._read(first, done, len(stamps), out, settled)
        return out, settled

    def _read(self, first: int, start: int, stop: int, out: F64, settled: Array) -> None:
        out[start:stop] = self.times(first + start, first + stop)
        if self._settled_from is not None:
            settled[max(start, self._settled_from - first) : stop] = True

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
