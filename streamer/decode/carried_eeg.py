"""The EEG branch with its state carried from window to window, so that only new steps are computed.

A window's token is what the step graph says after the window's steps have run through it from a zero state. The next
window is later by a step or a few, and starts as much later: so a run is kept for every step of the window that a later
window could start at, one behind the other in a batch, and every new step is run for all of them in one call.

::

    row of the batch           0     1     2   ...   n-1
    steps that it has run      0     1     2         n-1
    after one more             1     2     3         n      the last one's token is the window's

The state of row i is written one row further on, where the next call reads it: nothing is shifted. Row 0 starts from
zero. A window that does not go on from an earlier one (the first, after a gap, with another baseline) is run step by
step through the same rows: both ways lead to a token by the same operations in the same places of the batch, so they
agree to the last bit.

Windows may come more often than steps are long; each then goes on from one several windows ago, on a grid of its own
(``_Grid``). Which it goes on from is found by comparing steps.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamer.decode.onnx_session import Buffer, Sessions, Slot
from streamer.messages import F32

MAX_GRIDS = 16
"""Grids that are followed at a time; beyond, the one that was not used for longest is given up."""


class CarriedEeg:
    """Give the token of an EEG window.

    Parameters
    ----------
    sessions : Sessions
        With a graph ``eeg``: ``step`` (b, n_features) and ``state`` (b, n) to ``state_out`` and ``token``.
    n_steps, n_features : int
        Shape of a window.
    """

    def __init__(self, sessions: Sessions, n_steps: int, n_features: int) -> None:
        self._sessions = sessions
        self._n_steps = n_steps
        self._step = sessions.buffer(n_steps, n_features)
        self._token = sessions.buffer(n_steps, *sessions.shape("eeg", "token"))
        self._grids: list[_Grid] = []
        self.calls = 0
        """Times that the graph ran so far."""

    def __call__(self, eeg: F32) -> F32:
        """Give the token of a window.

        Parameters
        ----------
        eeg : ndarray, float32, shape (n_steps, n_features)
            Finite.

        Returns
        -------
        ndarray, float32, shape (n,)
            Good until the next call.
        """
        bits = np.ascontiguousarray(eeg, np.float32).view(np.uint32)
        grid, n_new = self._goes_on_from(bits)
        # a run that fails half-way must not be gone on from
        grid.seen = False
        for row in eeg[self._n_steps - n_new :]:
            self._step.host[...] = row
            self._step.upload()
            grid.run()
            self.calls += 1
        if n_new:
            self._token.download()
            np.copyto(grid.token, self._token.host[-1])
            np.copyto(grid.bits, bits)
        grid.seen = True
        # the one used last stands last
        self._grids.remove(grid)
        self._grids.append(grid)
        return grid.token

    def forget(self) -> None:
        """Go on from no window so far."""
        for grid in self._grids:
            grid.seen = False

    def _goes_on_from(self, bits: NDArray[np.uint32]) -> tuple[_Grid, int]:
        """Find the grid that a window lies on, and how many of its steps that grid has not seen."""
        best: tuple[_Grid, int] | None = None
        for grid in self._grids:
            shift = grid.shift_to(bits)
            if shift is not None and (best is None or shift < best[1]):
                best = grid, shift
        if best is not None:
            return best
        unused = next((grid for grid in self._grids if not grid.seen), None)
        if unused is not None:
            return unused, self._n_steps
        if len(self._grids) < MAX_GRIDS:
            self._grids.append(_Grid(self._sessions, self._step, self._token))
            return self._grids[-1], self._n_steps
        return self._grids[0], self._n_steps


class FreshEeg:
    """Give the token of an EEG window, nothing carried: as ``CarriedEeg`` but for the last bits.

    Parameters
    ----------
    sessions : Sessions
    n_steps, n_features : int
        Shape of a window.
    """

    def __init__(self, sessions: Sessions, n_steps: int, n_features: int) -> None:
        del n_steps
        self._step = sessions.buffer(1, n_features)
        self._token = sessions.buffer(1, *sessions.shape("eeg", "token"))
        states = [sessions.buffer(1, *sessions.shape("eeg", "state")) for _ in range(2)]
        self._state = states[0]
        self._turns = [
            sessions.bind(
                "eeg",
                {"step": Slot(self._step), "state": Slot(old)},
                {"state_out": Slot(new), "token": Slot(self._token)},
            )
            for old, new in (states, states[::-1])
        ]

    def __call__(self, eeg: F32) -> F32:
        """Give the token of a window, float32, shape (n,); good until the next call."""
        self._state.host[...] = 0
        self._state.upload()
        for number, row in enumerate(eeg):
            self._step.host[0] = row
            self._step.upload()
            self._turns[number % 2]()
        self._token.download()
        return self._token.host[0]

    def forget(self) -> None:
        """Nothing is kept."""


class _Grid:
    """Windows that each start a whole number of steps after the one before."""

    def __init__(self, sessions: Sessions, step: Buffer, token: Buffer) -> None:
        n, n_features = step.host.shape
        # two, so that no call reads what it writes
        states = [sessions.buffer(n + 1, *sessions.shape("eeg", "state")) for _ in range(2)]
        self._turns = [
            sessions.bind(
                "eeg",
                {"step": Slot(step, 0, n), "state": Slot(old, 0, n)},
                {"state_out": Slot(new, 1, n), "token": Slot(token, 0, n)},
            )
            for old, new in (states, states[::-1])
        ]
        self._turn = 0
        self.seen = False
        """Whether ``bits`` and ``token`` are of a window."""
        self.bits: NDArray[np.uint32] = np.zeros((n, n_features), np.uint32)
        """The newest window, as bits: 0 and -0 are not the same to a network."""
        self.token: F32 = np.zeros(token.host.shape[1], np.float32)
        """Its token."""

    def run(self) -> None:
        """Run one step through every row of the batch."""
        self._turns[self._turn]()
        self._turn = 1 - self._turn

    def shift_to(self, bits: NDArray[np.uint32]) -> int | None:
        """Count the steps that a window is later than the newest here; None where it does not go on from it."""
        if not self.seen:
            return None
        n = len(bits)
        for shift in np.flatnonzero((self.bits == bits[0]).all(axis=1)).tolist():
            if np.array_equal(self.bits[shift:], bits[: n - shift]):
                return int(shift)
        return None
