"""Windows: at every decision tick, what is known of EEG and BOLD, with their ages.

A BOLD value speaks of what the brain did about 5 s before it. ``WindowSettings.pairing`` says what is done about that;
by default both modalities reach up to the present and far enough back (16 s of BOLD) for a model to learn the lag. BOLD
frames lie on a regular grid in seconds, whatever the TR, held from the newest frame
that was acquired at or before each grid point. A modality with a hole in its history is masked whole: the model never
sees a silent imputation.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from streamer.align.lag import causal_mix, hrf_kernel
from streamer.contracts import Settings
from streamer.messages import F32, BoldFrame, Flag, SessionTime, Window
from streamer.ring import Ring

LAG_REACH_S = 12.0
"""History that covers the response to a short event and its return, s."""
_NO_TANGENT: F32 = np.empty(0, np.float32)


class WindowSettings(Settings):
    """How a window is cut."""

    pairing: Literal["model", "display", "hrf", "bank"] = "model"
    """What is done about the lag of the BOLD response behind the EEG.
    model: both end now, and 12 s of one of them at least let a model learn the lag.
    display: the newest of each, however little.
    hrf: the EEG's log power is convolved with the haemodynamic response and ends where the newest volume does.
    bank: EEG of all lags from 0 to 12 s and more behind the newest volume."""
    hrf_s: float = Field(default=24.0, ge=10, le=40)
    """hrf: how much of the haemodynamic response is kept, s; a hole in so much EEG masks it."""
    eeg_steps: int = 20
    """Steps of EEG band power in a window."""
    eeg_step_s: float = 0.2
    """Length of such a step, s: a whole number of the feature stage's steps."""
    bold_steps: int = 16
    """Points of BOLD history in a window."""
    bold_grid_s: float = 1.0
    """Distance of these points, s."""
    age_eeg_max_s: float = 0.5
    """Older EEG is masked, s."""
    age_bold_max_s: float = 6.0
    """Older BOLD is masked, s: half the acquisition + TR + the p99 of an export + 0.5 s, for TR up to 2 s."""
    hold_max_trs: float = 2.5
    """A frame is held for at most this many TRs; a longer hole masks the BOLD."""

    @model_validator(mode="after")
    def _reaches_over_the_lag(self) -> WindowSettings:
        eeg_s, bold_s = self.eeg_steps * self.eeg_step_s, self.bold_steps * self.bold_grid_s
        if self.pairing == "model" and max(eeg_s, bold_s) < LAG_REACH_S:
            raise ValueError(
                f"pairing by the model with {eeg_s:g} s of EEG and {bold_s:g} s of BOLD: expected {LAG_REACH_S:g} s or "
                "more of one of them, or pairing = display"
            )
        if self.pairing == "bank" and eeg_s < LAG_REACH_S:
            raise ValueError(f"a lag bank of {eeg_s:g} s of EEG: expected {LAG_REACH_S:g} s or more")
        return self

    @property
    def at_volume(self) -> bool:
        """Whether the EEG of a window ends where its newest volume does, not at the present."""
        return self.pairing in {"hrf", "bank"}


class WindowBuilder:
    """Keep the recent past of both modalities and cut windows from it.

    Parameters
    ----------
    settings : WindowSettings
    n_features : int
        Width of an EEG step: channels times bands.
    n_regions : int
        Width of a BOLD frame.
    fine_per_step : int
        Feature steps that make one window step.
    hold_s : float
        What the cleaning holds the EEG back, s: its limit of age is so much later.
    """

    def __init__(
        self, settings: WindowSettings, n_features: int, n_regions: int, fine_per_step: int, hold_s: float = 0.0
    ) -> None:
        self.settings = settings
        self._hold_s = hold_s
        self.age_eeg_max_s = settings.age_eeg_max_s + hold_s
        """Older EEG is masked, s."""
        self._fine = fine_per_step
        self._step_s = settings.eeg_step_s / fine_per_step
        self._mix: F32 | None = None
        n_steps = settings.eeg_steps
        if settings.pairing == "hrf":
            kernel = hrf_kernel(settings.eeg_step_s, settings.hrf_s)
            self._mix = causal_mix(kernel, n_steps).astype(np.float32)
            n_steps = self._mix.shape[1]
        self._n_fine = n_steps * fine_per_step
        behind = int(np.ceil(settings.age_bold_max_s / self._step_s)) if settings.at_volume else 0
        self._power = Ring(self._n_fine + behind, n_features)
        self._flags: deque[Flag] = deque(maxlen=self._n_fine + behind)
        self._n_regions = n_regions
        self._frames: deque[tuple[float, F32, float, Flag]] = deque(maxlen=256)
        self._eeg_end: SessionTime | None = None
        self._seq = 0

    @property
    def eeg_end(self) -> SessionTime | None:
        """Time of the newest EEG step's end; None before the first."""
        return self._eeg_end

    def eeg(self, index: int, power: F32, end: SessionTime, flags: Flag, *, valid: bool) -> None:
        """Take one feature step.

        Parameters
        ----------
        index : int
            Position on the absolute grid of steps: a jump is a hole.
        power : ndarray, float32, shape (n_features,)
            V².
        end : SessionTime
            Time of the step's last sample.
        flags : Flag
        valid : bool
            False keeps the step's place but masks windows that contain it.
        """
        if self._power.end > self._power.start and index < self._power.end:
            # a clock step threw the grid back: start anew rather than mix two times
            self._power = Ring(self._power.capacity, power.shape[0])
            self._flags.clear()
        row = power[None] if valid else np.full((1, power.shape[0]), np.nan, np.float32)
        self._power.append(row.astype(np.float32, copy=False), index)
        self._flags.append(flags)
        self._eeg_end = end

    def bold(self, frame: BoldFrame) -> None:
        """Take one BOLD frame whose ``acquired`` is known; frames may come late or out of order."""
        if frame.acquired is None:
            raise ValueError(f"BOLD frame {frame.index} has no acquisition time")
        entry = (float(frame.acquired), frame.regions, frame.tr, frame.flags)
        self._frames.append(entry)
        if len(self._frames) > 1 and entry[0] < self._frames[-2][0]:
            self._frames = deque(sorted(self._frames, key=lambda item: item[0]), maxlen=self._frames.maxlen)

    def power_steps(self, end: SessionTime | None = None) -> F32 | None:
        """Mean power of each step that the window which ends at ``end`` is made of; None when one is missing.

        Returns
        -------
        ndarray, float32, shape (n_steps, n_features), or None
            V², oldest first: ``eeg_steps`` of them, and with pairing hrf those before them that still act.
        """
        stop = self._power.end - (self._behind(end) if self.settings.at_volume else 0)
        fine = self._power.read(stop - self._n_fine, stop)
        if not np.isfinite(fine).all():
            return None
        steps = self._n_fine // self._fine
        return fine.reshape(steps, self._fine, -1).mean(axis=1, dtype=np.float64).astype(np.float32)

    def _behind(self, end: SessionTime | None) -> int:
        """How many fine steps the newest volume that counts lies behind the newest EEG."""
        if not self._frames or self._eeg_end is None:
            return 0
        newest = self._frames[-1][0]
        if (self._eeg_end if end is None else end) - newest > self.settings.age_bold_max_s:
            return 0
        return min(max(0, round((self._eeg_end - newest) / self._step_s)), self._power.capacity - self._n_fine)

    def paired(self, steps: F32) -> F32:
        """Turn normalised steps, as ``power_steps`` gave them, into a window's EEG, shape (eeg_steps, n_features)."""
        return steps if self._mix is None else self._mix @ steps

    def cut(self, end: SessionTime, eeg: F32 | None, extra: Flag = Flag.NONE, tangent: F32 = _NO_TANGENT) -> Window:
        """Cut the window that ends at ``end``.

        Parameters
        ----------
        end : SessionTime
        eeg : ndarray or None
            Normalised EEG steps, shape (eeg_steps, n_features); None masks the EEG.
        extra : Flag
            Flags to add.
        tangent : ndarray, float32, shape (n,)
            The newest covariance of the EEG as a tangent vector; left out where the EEG is masked.
        """
        s = self.settings
        flags = extra
        age_eeg = float("inf") if self._eeg_end is None else max(0.0, end - self._eeg_end)
        # without any EEG there is nothing that fills: its absence is said by NO_EEG
        filling = 0 < len(self._flags) < (self._flags.maxlen or 0)
        recent = (*self._flags, Flag.WARMING) if filling else self._flags
        for flag in recent:
            flags |= flag
        if eeg is not None and age_eeg > self.age_eeg_max_s:
            flags |= Flag.STALE
            eeg = None
        if eeg is None:
            flags |= Flag.NO_EEG
        bold, age_bold, bold_flags = self._bold_history(end)
        flags |= bold_flags
        if bold is None:
            flags |= Flag.NO_BOLD
        window = Window(
            seq=self._seq,
            start=SessionTime(end - s.eeg_steps * s.eeg_step_s),
            end=end,
            eeg=eeg if eeg is not None else np.zeros((s.eeg_steps, self._power.width), np.float32),
            bold=bold if bold is not None else np.zeros((s.bold_steps, self._n_regions), np.float32),
            age_eeg=age_eeg,
            age_bold=age_bold,
            eeg_valid=eeg is not None,
            bold_valid=bold is not None,
            flags=flags,
            hold_eeg=self._hold_s,
            tangent=tangent if eeg is not None else _NO_TANGENT,
        )
        self._seq += 1
        return window

    def _bold_history(self, end: SessionTime) -> tuple[F32 | None, float, Flag]:
        if not self._frames:
            return None, float("inf"), Flag.NONE
        s = self.settings
        newest, _, _, newest_flags = self._frames[-1]
        # EEG that is held back may speak of a time before the middle of the newest volume
        age = max(0.0, end - newest)
        flags = newest_flags & (Flag.MOTION | Flag.WARMING | Flag.UNCALIBRATED | Flag.UNSYNCED | Flag.MISALIGNED)
        if age > s.age_bold_max_s:
            return None, age, flags | Flag.STALE
        out = np.empty((s.bold_steps, self._n_regions), np.float32)
        frames = list(self._frames)
        position = len(frames) - 1
        for row in range(s.bold_steps - 1, -1, -1):
            # half a millisecond of tolerance: onsets on a fitted line must not fall off their own grid point
            at = newest - (s.bold_steps - 1 - row) * s.bold_grid_s + 5e-4
            while position >= 0 and frames[position][0] > at:
                position -= 1
            if position < 0:
                # the run is younger than the history that the model needs
                return None, age, flags | Flag.WARMING
            acquired, regions, tr, _ = frames[position]
            if at - acquired > s.hold_max_trs * tr or not np.isfinite(regions).all():
                return None, age, flags
            out[row] = regions
        return out, age, flags
