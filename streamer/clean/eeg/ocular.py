"""Blinks and eye movements, taken out by one matrix that a calibration run left behind.

The matrix is fitted by :mod:`streamer.ocular_fit` and never changes during a session.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from streamer.contracts import Settings
from streamer.messages import F64, Array


class OcularSettings(Settings):
    """How eye artefacts are found in the calibration run."""

    method: Literal["none", "eog", "ica"] = "none"
    """``eog`` regresses channels of kind ``eog`` out; ``ica`` removes the independent components that go with them or,
    where there are none, with the frontal electrodes."""
    min_s: float = Field(default=60.0, ge=10)
    """Clean EEG that a fit needs at least, s."""
    n_components: int = Field(default=20, ge=3)
    """Independent components; there must be some 30 samples for each of their weights, of which there are the square of
    this. What lies outside of them is left as it is."""
    correlation_min: float = Field(default=0.6, gt=0, lt=1)
    """A component goes with an eye channel from this absolute correlation on, at 1 to 10 Hz."""
    removed_max: int = Field(default=4, ge=1)
    """Components that are removed at most: those that correlate most."""


class OcularFit(Settings):
    """A fitted matrix and what it was made from: ``model_dump_json`` and ``model_validate_json`` keep it exactly."""

    method: Literal["eog", "ica"]
    inputs: tuple[str, ...]
    """Names of the channels that the matrix takes: the EEG's, then the EOG's that it needs."""
    outputs: tuple[str, ...]
    """Names of the channels that it gives: the EEG's."""
    rows: tuple[tuple[float, ...], ...]
    """The matrix, one row per output; see `matrix`."""
    left_out: tuple[str, ...] = ()
    """Bad channels of the calibration, which pass through as they are."""
    n_components: int = Field(ge=0)
    """Components that were fitted; with ``eog`` the number of EOG channels."""
    removed: tuple[int, ...]
    """Indices of those that are removed."""
    correlations: tuple[float, ...]
    """Absolute correlation of each of these with an eye channel; with ``eog``, of each EOG channel with the EEG channel
    that it shows most in."""
    explained: float
    """Share of the calibration's EEG variance that the matrix takes out, 0 to 1."""
    seconds: float
    """Clean EEG that it was fitted on, s."""

    @model_validator(mode="after")
    def _check(self) -> OcularFit:
        shape = (len(self.outputs), len(self.inputs))
        if len(self.rows) != shape[0] or any(len(row) != shape[1] for row in self.rows):
            raise ValueError(f"an ocular matrix that is not {shape[0]} by {shape[1]}, outputs by inputs")
        if not np.isfinite(self.matrix).all():
            raise ValueError("an ocular matrix with values that are no numbers")
        if self.inputs[: shape[0]] != self.outputs:
            raise ValueError("an ocular matrix whose inputs do not begin with its outputs")
        return self

    @property
    def matrix(self) -> F64:
        """The matrix, shape (n_outputs, n_inputs)."""
        return np.array(self.rows).reshape(len(self.outputs), len(self.inputs))

    @property
    def summary(self) -> str:
        """What was done, in plain words."""
        on = f"fitted on {self.seconds:.0f} s of clean EEG"
        left_out = f"; left out: {', '.join(self.left_out)}" if self.left_out else ""
        strength = ", ".join(f"{r:.2f}" for r in self.correlations)
        taken = f"{100 * self.explained:.0f} % of the variance taken out"
        if self.method == "eog":
            noun = "channel" if self.n_components == 1 else "channels"
            return f"{self.n_components} EOG {noun} (correlation {strength}), {on}: {taken}{left_out}"
        if not self.removed:
            return f"none of {self.n_components} components goes with the eyes, {on}: nothing is taken out{left_out}"
        count = f"{len(self.removed)} of {self.n_components} components"
        return f"{count} (correlation {strength}), {on}: {taken}{left_out}"


class SpatialFilter:
    """Multiply every sample with a matrix.

    Parameters
    ----------
    matrix : ndarray, float64, shape (n_outputs, n_inputs)
        Its first ``n_outputs`` inputs are the outputs' own channels.
    """

    def __init__(self, matrix: F64) -> None:
        self._matrix = matrix
        self._weights = np.ascontiguousarray(matrix.T, dtype=np.float64)

    def leave_out(self, bad: Array) -> None:
        """Keep these outputs' channels (indices) from spreading over the others; they pass through as they are.

        The weights of the others stay: nothing is fitted anew.
        """
        weights = self._matrix.T.astype(np.float64)
        weights[bad] = 0.0
        weights[:, bad] = 0.0
        weights[bad, bad] = 1.0
        self._weights = np.ascontiguousarray(weights)

    def __call__(self, data: F64) -> F64:
        """Take samples, shape (n_times, n_inputs); give shape (n_times, n_outputs)."""
        # one product of fixed shape a sample: how many come along cannot matter
        return np.matmul(np.ascontiguousarray(data)[:, None], self._weights)[:, 0]
