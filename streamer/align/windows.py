"""Windows: at every decision tick, what is known of EEG and BOLD, with their ages.

EEG and BOLD are paired by *display time*: the newest of each. The model sees enough of both (4 s of EEG, 16 s of BOLD)
to learn the haemodynamic lag. BOLD frames lie on a regular grid in seconds, whatever the TR, held from the newest frame
that was acquired at or before each grid point. A modality with a hole in its history is masked whole: the model never
sees a silent imputation.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from streamer.contracts import Settings
from streamer.messages import F32, BoldFrame, Flag, SessionTime, Window
from streamer.ring import Ring


class WindowSettings(Settings):
    """How a window is cut."""

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
    """

    def __init__(self, settings: WindowSettings, n_features: int, n_regions: int, fine_per_step: int) -> None:
        self.settings = settings
        self._fine = fine_per_step
        self._n_fine = settings.eeg_steps * fine_per_step
        self._power = Ring(self._n_fine, n_features)
        self._flags: deque[Flag] = deque(maxlen=self._n_fine)
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
            self._power = Ring(self._n_fine, power.shape[0])
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

    def power_steps(self) -> F32 | None:
        """Mean power of each window step, V², shape (eeg_steps, n_features); None when a step is missing."""
        fine = self._power.read(self._power.end - self._n_fine, self._power.end)
        if not np.isfinite(fine).all():
            return None
        return fine.reshape(self.settings.eeg_steps, self._fine, -1).mean(axis=1, dtype=np.float64).astype(np.float32)

    def cut(self, end: SessionTime, eeg: F32 | None, extra: Flag = Flag.NONE) -> Window:
        """Cut the window that ends at ``end``.

        Parameters
        ----------
        end : SessionTime
        eeg : ndarray or None
            Normalised EEG steps, shape (eeg_steps, n_features); None masks the EEG.
        extra : Flag
            Flags to add.
        """
        s = self.settings
        flags = extra
        age_eeg = float("inf") if self._eeg_end is None else max(0.0, end - self._eeg_end)
        recent = self._flags if len(self._flags) == self._flags.maxlen else (*self._flags, Flag.WARMING)
        for flag in recent:
            flags |= flag
        if eeg is not None and age_eeg > s.age_eeg_max_s:
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
        )
        self._seq += 1
        return window

    def _bold_history(self, end: SessionTime) -> tuple[F32 | None, float, Flag]:
        if not self._frames:
            return None, float("inf"), Flag.NONE
        s = self.settings
        newest, _, _, newest_flags = self._frames[-1]
        age = end - newest
        flags = newest_flags & (Flag.MOTION | Flag.WARMING | Flag.UNCALIBRATED | Flag.UNSYNCED)
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
