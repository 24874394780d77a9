"""Until there is a template of volumes: a moving template of the shots within one."""

from __future__ import annotations

from collections import deque

import numpy as np

from streamer.clean.eeg.gradient.activity import Activity
from streamer.clean.eeg.gradient.interpolate import REACH, taps
from streamer.clean.eeg.gradient.shots import shot_period
from streamer.clean.eeg.gradient.template import History
from streamer.compiled import compiled
from streamer.messages import F32, F64, Array

_SHOTS = 8
_WINDOW_S = 0.5
_SEARCH = 4
_WORTH = 0.5
_STOPPED = 0.25


class ShotBridge:
    """Subtract from every sample the mean of those one, two ... shots before it [1]_.

    The artefact repeats with every excitation, but for what differs from slice to slice: that is left over. How long a
    shot lasts is found from the artefact itself, again over ever more shots; a channel is corrected while that at least
    halved its power over the last shot, none where gradients are not heard. Nothing is kept of the artefact but the
    samples that came in, and what is decided at the end of a block holds from there on.

    Parameters
    ----------
    history : History
        The samples that came in.
    activity : Activity
        Hears gradients.
    sfreq : float
        Hz.
    n_channels : int
    block : int
        Samples per block.
    hold : int
        Samples by which what is corrected comes later than what is looked at.

    References
    ----------
    .. [1] Niazy, R. K., Beckmann, C. F., Iannetti, G. D., Brady, J. M., Smith, S. M. (2005). Removal of FMRI
       environment artifacts from EEG data using optimal basis sets. NeuroImage 28, 720-737.
       doi:10.1016/j.neuroimage.2005.06.067
    """

    def __init__(
        self, history: History, activity: Activity, sfreq: float, n_channels: int, block: int, hold: int
    ) -> None:
        self._history = history
        self._activity = activity
        self._sfreq = sfreq
        self._n_channels = n_channels
        self._block = block
        self._hold = hold
        self._begin(0)
        none = np.zeros((1, n_channels), np.float32)
        _subtract_taps(np.zeros((2 * REACH, n_channels), np.float32), np.zeros(2 * REACH, np.float32), none)

    def _begin(self, sample: int) -> None:
        self._origin = self._looked = sample
        self._n_looks = 0
        self._heard_at: int | None = None
        self._forget()

    def _forget(self) -> None:
        self.period: float | None = None
        """Samples from shot to shot; None while that is not known."""
        self._over = 0
        self._lags: list[tuple[int, F32]] = []
        self._energies: deque[F64] = deque()
        self._idle = 0
        self._serves: Array = np.zeros(self._n_channels, np.bool_)

    @property
    def serving(self) -> bool:
        """Whether any channel is being corrected."""
        return bool(self._serves.any())

    def heard_since(self, sample: int) -> bool:
        """Whether gradients were heard after ``sample``."""
        return self._heard_at is not None and self._heard_at > sample

    def look(self, stop: int) -> None:
        """Look at the block that ends at ``stop``; after a longer pause everything begins anew with it."""
        if not 0 < stop - self._looked <= 2 * self._block:
            self._begin(stop - self._block)
        self._looked = stop
        self._n_looks += 1
        if self._activity.heard(self._history.read(stop - self._block, stop)):
            self._heard_at = stop
        if self.period is None:
            if self._n_looks % _SEARCH or self._heard_at is None or stop - self._heard_at > _SEARCH * self._block:
                return
            self._search(stop)
        if self.period is None:
            return
        self._refine(stop)
        if not self._lags:
            return
        if not self._energies:
            back = range(round(self.period / self._block) - 1, 0, -1)
            for at in (stop - k * self._block for k in back):
                if at - self._block - self._lags[-1][0] - REACH >= self._origin:
                    self._energies.append(self._measured(at))
        self._energies.append(self._measured(stop))
        while len(self._energies) > max(1, round(self.period / self._block)):
            self._energies.popleft()
        self._judge(stop)

    def _search(self, stop: int) -> None:
        window = min(stop - self._origin, round(_WINDOW_S * self._sfreq))
        self.period = shot_period(self._history.read(stop - window, stop), self._sfreq)

    def _refine(self, stop: int) -> None:
        """Count the shots that are there, and see over all of them how long one is."""
        assert self.period is not None
        there = int((stop - self._hold - self._origin - 2 * REACH) / self.period)
        # at first one shot less, so that the last one can be judged as a whole
        count = min(_SHOTS, there if self._lags else max(min(1, there), there - 1))
        if count <= len(self._lags):
            return
        over = min(_SHOTS, int((stop - self._origin - 2 * REACH) / self.period) - 1)
        if over > self._over:
            self._over = over
            length = round(self.period)
            lag = round(over * self.period)
            now = self._history.read(stop - length, stop)
            before = self._history.read(stop - length - lag - 2, stop - lag + 2)
            self.period = (lag + _offset(now, before)) / over
        self._lags = []
        for k in range(1, count + 1):
            whole = int(np.ceil(k * self.period))
            weights = taps(whole - k * self.period) / count
            self._lags.append((whole, weights.astype(np.float32)))

    def _measured(self, stop: int) -> F64:
        """Give the energies of a block as it is and corrected, and those of their slopes, shape (2, 2, n_channels)."""
        first = stop - self._block
        data = self._history.read(first, stop)
        both = np.stack([data, self._corrected(first, data)]).astype(np.float64)
        # EEG that repeats by chance is slow: it has less of a slope than of a size
        slopes = np.diff(both, axis=1)
        return np.stack([np.add.reduce(np.square(each), axis=1) for each in (both, slopes)], axis=1)

    def _judge(self, stop: int) -> None:
        assert self.period is not None
        assert self._heard_at is not None
        raw, rest = np.add.reduce(np.array(self._energies), axis=0)
        (raw_now, _), (rest_now, _) = self._energies[-1]
        loud = raw[0] / len(self._energies)
        stopped: Array = (rest_now > 2.0 * raw_now) & (rest_now > _STOPPED * loud)
        runs = stop - self._heard_at <= self.period and 2 * np.count_nonzero(stopped) < self._n_channels
        self._serves = np.logical_and.reduce(rest < _WORTH * raw) & ~stopped & runs
        self._idle = 0 if self.serving else self._idle + self._block
        if self._idle > 2 * self.period:
            # another sequence, perhaps: its shots are looked for among its own samples
            self._origin = stop
            self._forget()

    def _corrected(self, first: int, data: F32) -> F32:
        out = data.copy()
        for whole, weights in self._lags:
            start = first - whole - REACH + 1
            _subtract_taps(self._history.read(start, start + len(data) + 2 * REACH - 1), weights, out)
        return out

    def subtract(self, first: int, data: F32, out: F32) -> None:
        """Correct samples, none later than one block after those that were looked at last."""
        if self.serving and first < self._looked + self._block:
            np.copyto(out, np.where(self._serves, self._corrected(first, data), data))
        else:
            out[:] = data


def _offset(now: F32, before: F32) -> float:
    """Say by how many samples more than thought ``now`` comes after what is in the middle of ``before``."""
    strongest = np.argsort(-np.ptp(now, axis=0), kind="stable")[:4]
    x = now[:, strongest].astype(np.float64)
    y = before[:, strongest].astype(np.float64)
    # row 0 is two samples earlier, a lag longer by two
    apart = np.array([float(np.square(x - y[k : k + len(x)]).sum()) for k in range(5)])
    at = int(np.argmin(apart[1:4])) + 1
    left, middle, right = apart[at - 1 : at + 2].tolist()
    bend = left - 2.0 * middle + right
    part = 0.5 * (left - right) / bend if bend > 0.0 else 0.0
    return 2.0 - at - min(1.0, max(-1.0, part))


@compiled
def _subtract_taps(rows: F32, weights: F32, out: F32) -> None:
    """Take from row i of ``out`` the weighted sum of rows i, i + 1 ... of ``rows``."""
    n_times, n_channels = out.shape
    for i in range(n_times):
        row = out[i]
        for k in range(len(weights)):
            weight, source = weights[k], rows[i + k]
            for c in range(n_channels):
                row[c] -= weight * source[c]
