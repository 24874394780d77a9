"""Envelope, phase and frequency of a band, now or a declared delay ago.

Two ways, and what each is worth:

=========  ========  =======================================================================================
method     delay     what it is
=========  ========  =======================================================================================
kalman     0         the rhythm at the newest sample, estimated by a state-space model of the rhythm in its
                     noise that is fitted once; it tells how well it knows the phase
filter     declared  complex demodulation: the signal itself as it was ``delay_s`` ago (90 ms for 8 to 13 Hz)
=========  ========  =======================================================================================

At 10 Hz one millisecond is 3.6°. Phase is that of a cosine: 0 at a positive peak of the virtual channel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from pydantic import Field

from streamer.decode.analytic import Demodulator, Frequency, VirtualChannels
from streamer.decode.band_settings import BandSettings
from streamer.decode.blocks import Block
from streamer.decode.oscillator import RhythmFilter, RhythmModel, SpectrumFit, phase_sd
from streamer.messages import F64, Array, Feature, Flag, SessionTime

LABELS = ("envelope_v", "phase_rad", "frequency_hz")
_FREQUENCY_TAU_S = 0.1
_ROUNDS_HZ = 10.0


SignalName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
"""Letters, digits, dot, dash, underscore: it becomes a part of an MQTT topic."""


class BandPhaseSettings(BandSettings):
    """Envelope, phase and frequency of a band."""

    signals: dict[SignalName, dict[str, float]] = Field(default_factory=dict, max_length=8)
    """Virtual channels: name to weight per channel, for instance { occipital = { O1 = 0.5, O2 = 0.5 } }."""
    method: Literal["kalman", "filter"] = "kalman"
    """``kalman`` speaks of the newest sample and says how sure it is, ``filter`` of its declared delay before it."""
    settle_s: float = Field(default=1.0, ge=0)
    """With ``filter``: values are not valid for this long after a start, a gap or dirty samples, s."""


class BandPhase:
    """Envelope (V), phase (rad) and frequency (Hz) of a band of some virtual channels.

    With ``kalman`` the model of each virtual channel is fitted to ``learn_s`` of clean EEG, once: until then values are
    masked, after it they are flagged ``UNCALIBRATED``. The model of a calibration run is taken as it is. Dirty samples
    are not used: the rhythm turns on at its own frequency and its uncertainty grows.

    Parameters
    ----------
    settings : BandPhaseSettings
    sfreq : float
        Rate of the cleaned EEG, Hz.
    channels : sequence of str
        Names of its channels, in order.
    learn_s : float
        Clean EEG that a model is fitted to, s.
    learned : mapping or None
        What ``learned()`` gave after a calibration run.
    lane_phase : callable or None
        Phase in rad that the lane adds at a frequency in Hz, beyond the delay that its times are corrected for.

    Raises
    ------
    ConfigError
        The band does not fit, or a channel is not there.
    """

    def __init__(
        self,
        settings: BandPhaseSettings,
        sfreq: float,
        channels: Sequence[str],
        learn_s: float = 30.0,
        learned: Mapping[str, Any] | None = None,
        lane_phase: Callable[[float], float] | None = None,
    ) -> None:
        settings.check("phase", sfreq)
        self._virtual = VirtualChannels(settings.signals, channels)
        known = learned or {}
        make = _Demodulated if settings.method == "filter" else _Rhythm
        self._bands = [
            make(settings, sfreq, learn_s, known.get(name), lane_phase or _none) for name in self._virtual.names
        ]

    def __call__(self, block: Block) -> list[Feature]:
        """Take the next block; give one record per virtual channel."""
        data, used = self._virtual(block)
        out: list[Feature] = []
        for k, (name, band) in enumerate(zip(self._virtual.names, self._bands, strict=True)):
            # one fit at a time: each takes its share of a block's time
            turn = block.index % len(self._bands) == k
            usable = bool(used[k]) and not block.dirty
            values, uncertainty = band(block, data[:, k] if usable else None, turn)
            flags = block.flags | band.flags | (Flag.NONE if used[k] else Flag.BAD_CHANNELS)
            valid = values is not None and usable and not flags & Flag.WARMING
            nan = (math.nan,) * len(LABELS)
            about = SessionTime(block.end_time - band.delay_s)
            out.append(
                Feature(
                    name=f"phase.{name}",
                    sample=block.end_sample,
                    about=about,
                    delay_s=band.delay_s,
                    labels=LABELS,
                    values=values or nan,
                    uncertainty=uncertainty or nan,
                    valid=valid,
                    flags=flags,
                )
            )
        return out

    def learned(self) -> dict[str, Any]:
        """Give the models so far, as plain values by virtual channel."""
        return {
            name: asdict(band.model)
            for name, band in zip(self._virtual.names, self._bands, strict=True)
            if isinstance(band, _Rhythm) and band.model is not None
        }


Found = tuple[tuple[float, float, float] | None, tuple[float, float, float] | None]


class _Demodulated:
    def __init__(
        self, settings: BandPhaseSettings, sfreq: float, _: float, __: Any, lane_phase: Callable[[float], float]
    ) -> None:
        self._demodulate = Demodulator(*settings.band_hz, sfreq)
        self._frequency = Frequency(_FREQUENCY_TAU_S, sfreq)
        self._offset = lane_phase(self._demodulate.centre_hz)
        self._settle = round(settings.settle_s * sfreq)
        self._since = 0
        self.delay_s = self._demodulate.delay_s
        self.flags = Flag.WARMING

    def __call__(self, block: Block, data: F64 | None, _: bool) -> Found:
        if block.fresh or data is None:
            self._demodulate.reset()
            self._frequency.reset()
            self._since = 0
        if data is None:
            self.flags = Flag.WARMING
            return None, None
        analytic = self._demodulate(block.end_sample - len(data), data[:, None])[:, 0]
        self.flags = Flag.WARMING if self._since < self._settle else Flag.NONE
        self._since += len(data)
        return _values(analytic, self._frequency(analytic), self._offset), None


class _Rhythm:
    delay_s = 0.0

    def __init__(
        self,
        settings: BandPhaseSettings,
        sfreq: float,
        learn_s: float,
        learned: Any,
        lane_phase: Callable[[float], float],
    ) -> None:
        self._band, self._sfreq, self._lane_phase = settings.band_hz, sfreq, lane_phase
        self._frequency = Frequency(_FREQUENCY_TAU_S, sfreq)
        self.model: RhythmModel | None = None
        self._filter: RhythmFilter | None = None
        self._offset = 0.0
        self._own = Flag.NONE
        if learned is not None:
            self._use(msgspec.convert(learned, RhythmModel))
            return
        self._fit = SpectrumFit(*settings.band_hz, sfreq)
        self._needed = max(1, round(2 * learn_s * sfreq / self._fit.length) - 1)
        self._buffer = np.empty(self._fit.length)
        self._held = 0

    @property
    def flags(self) -> Flag:
        warming = self._filter is None or not self._filter.settled
        return self._own | (Flag.WARMING if warming else Flag.NONE)

    def __call__(self, block: Block, data: F64 | None, turn: bool) -> Found:
        if self._filter is None:
            self._learn(block, data, turn)
            return None, None
        if block.fresh:
            self._filter.reset()
            self._frequency.reset()
        analytic = self._filter(data, len(block.data))
        values = _values(analytic, self._frequency(analytic), self._offset)
        if not self._filter.settled:
            return None, None
        variance = self._filter.variance
        return values, (math.sqrt(variance), phase_sd(values[0], variance), math.nan)

    def _learn(self, block: Block, data: F64 | None, turn: bool) -> None:
        if self._fit.segments >= self._needed:
            for _ in range(round(_ROUNDS_HZ * len(block.data) / self._sfreq) or 1 if turn else 0):
                model = self._fit.update()
                if model is not None:
                    self._own = Flag.UNCALIBRATED
                    self._use(model)
                    return
            return
        if block.fresh or data is None:
            self._held = 0
        if data is None:
            return
        length = len(self._buffer)
        while len(data):
            taken = data[: length - self._held]
            self._buffer[self._held : self._held + len(taken)] = taken
            self._held += len(taken)
            data = data[len(taken) :]
            if self._held == length:
                self._fit.add(self._buffer)
                self._held = length // 2
                self._buffer[: self._held] = self._buffer[-self._held :].copy()

    def _use(self, model: RhythmModel) -> None:
        self.model = model
        self._filter = RhythmFilter(model, *self._band, self._sfreq)
        self._offset = self._lane_phase(model.centre_hz)


def _values(analytic: Array, frequency: float, offset: float) -> tuple[float, float, float]:
    newest = complex(analytic[-1])
    phase = math.remainder(math.atan2(newest.imag, newest.real) - offset, 2 * math.pi)
    return abs(newest), phase, frequency


def _none(_: float) -> float:
    return 0.0
