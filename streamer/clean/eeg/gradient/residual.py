"""What the gradient's template leaves: optional corrections after it, at the amplifier's rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from streamer.clean.eeg.gradient.anc import Anc
from streamer.clean.eeg.gradient.obs import Obs
from streamer.contracts import Settings
from streamer.messages import F32, Array


class ResidualSettings(Settings):
    """How the residual of the gradient artefact is taken out; off by default."""

    obs: Literal["off", "auto"] | Annotated[int, Field(ge=1, le=8)] = "off"
    """Principal components of past residuals that are fitted and subtracted: for an artefact whose shape changes."""
    obs_most: int = Field(default=4, ge=1, le=8)
    """Components that ``auto`` chooses at most."""
    obs_memory_s: float = Field(default=60.0, ge=5, le=200)
    """Span of past volumes that components are found in, s; at 64 channels and 5 kHz each second takes 1.5 MB."""
    obs_refresh_s: float = Field(default=30.0, ge=1)
    """Time after which components are found anew, s."""
    obs_lowest_hz: float = Field(default=12.0, ge=0)
    """Components leave what lies below this alone, Hz: three quarters of the slice frequency, as a rule."""
    anc: bool = False
    """Adaptive cancellation: follow size and timing of each channel's artefact."""
    anc_mu: float = Field(default=0.05, gt=0, le=0.5)
    """Step of the cancellation's weights every 4 ms, of the inverse power of the reference."""
    anc_highpass_hz: float = Field(default=12.0, gt=0)
    """The cancellation learns above this, Hz: three quarters of the slice frequency, as a rule."""


class Residual:
    """Correct what is left of the gradient artefact; ECG channels pass untouched.

    Parameters
    ----------
    settings : ResidualSettings
    sfreq : float
        Hz.
    n_channels : int
    is_ecg : ndarray of bool, shape (n_channels,)

    Raises
    ------
    ValueError
        If ``is_ecg`` is of another length.
    """

    def __init__(self, settings: ResidualSettings, sfreq: float, n_channels: int, is_ecg: Array) -> None:
        self.settings = settings
        if len(is_ecg) != n_channels:
            raise ValueError(f"is_ecg of {len(is_ecg)} channels: expected {n_channels}")
        self._channels = np.flatnonzero(~np.asarray(is_ecg, bool))
        n = len(self._channels)
        order = settings.obs
        self._obs = (
            None
            if order == "off"
            else Obs(
                None if order == "auto" else order,
                settings.obs_most,
                settings.obs_memory_s,
                settings.obs_refresh_s,
                settings.obs_lowest_hz,
                sfreq,
                n,
            )
        )
        self._anc = Anc(settings.anc_mu, settings.anc_highpass_hz, sfreq, n) if settings.anc else None
        self._next: int | None = None

    @property
    def enabled(self) -> bool:
        """Whether it does anything."""
        return self._obs is not None or self._anc is not None

    @property
    def components(self) -> int:
        """Principal components in use."""
        return 0 if self._obs is None else self._obs.components

    def reset(self) -> None:
        """Forget the residuals of the past: the gradient's template began anew."""
        if self._obs is not None:
            self._obs.reset()

    def __call__(self, first: int, corrected: F32, subtracted: F32, starts: Sequence[int], dirty: Array) -> F32:
        """Correct the next samples; nothing is held back.

        Parameters
        ----------
        first : int
            Grid index of the first; samples that were left out since the last call are taken as lost.
        corrected : ndarray, float32, shape (n_times, n_channels)
            V, after the template.
        subtracted : ndarray, float32, shape (n_times, n_channels)
            V, what the template took off; 0 where nothing was.
        starts : sequence of int
            Grid indices among these samples at which a volume begins, rising.
        dirty : ndarray of bool, shape (n_times,)
            Samples that the template did not correct, or that were filled or clipped: they pass as they are but for
            the cancellation, and nothing is learnt from them.

        Returns
        -------
        ndarray, float32, shape (n_times, n_channels)
        """
        if not self.enabled or not len(corrected):
            return corrected
        stages = [stage for stage in (self._obs, self._anc) if stage is not None]
        if self._next is not None and first != self._next:
            for stage in stages:
                stage.restart()
        self._next = first + len(corrected)
        data = np.take(corrected, self._channels, axis=1)
        if self._anc is not None:
            data = self._anc(first, data, np.take(subtracted, self._channels, axis=1), dirty)
        if self._obs is not None:
            data = self._obs(first, data, list(starts), dirty)
        out = corrected.copy()
        out[:, self._channels] = data
        return out
