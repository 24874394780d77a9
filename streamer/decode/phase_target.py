"""Ask for triggers at a phase of a rhythm, a little ahead of it, and measure how well that goes.

The phase of the newest sample, as a state-space model knows it, is turned on to the moment at which an output could
act at the earliest; where the wanted phase comes before the next block does, that moment is asked for. A cycle or two
later the same band is looked at from both sides of that moment (zero phase), and the difference is the error that is
published. The aim slowly leans against the mean of that error, since the rhythm's own frequency is known to a fraction
of a Hz only. No trigger is asked for while the error is unknown or its circular standard deviation is above the limit.

At 10 Hz one millisecond is 3.6°: holds and long filters use up all that can be known. So the lane's delay is bounded,
and artefact removal that mixes later samples in, or turns the phase as it adapts, is refused (Shirinpour 2020,
doi:10.1088/1741-2552/ab9dba; Wodeyar 2021, doi:10.7554/eLife.68803).
"""

from __future__ import annotations

import cmath
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from pydantic import Field
from scipy import linalg

from streamer.decode.analytic import VirtualChannels
from streamer.decode.band_settings import BandSettings
from streamer.decode.blocks import Block
from streamer.decode.candidate import Candidate
from streamer.decode.envelope_phase import BandPhase, BandPhaseSettings, SignalName
from streamer.decode.oscillator import RhythmModel, components, phase_sd
from streamer.errors import ConfigError
from streamer.messages import Array, Feature, SessionTime

HARD_MAX_SD_DEG = 60.0
"""No configuration asks for triggers at a phase that is known worse than this."""
MAX_LANE_S = 0.1
"""Most that filters and holds may delay the EEG, s."""
MAX_AHEAD_S = 0.5
"""Most that a trigger may be asked for ahead of the newest sample, s."""
LABELS = ("circular_sd_rad", "bias_rad", "checks")

_FLOOR_V2 = 1e-20
_LEAN_SHARE = 0.01
_LEAN_MAX = math.radians(30.0)
_ENVELOPE_EVERY = 5
_LEAST_ENVELOPES_S = 10.0
_FEATURE_S = 1.0


class PhaseTargetSettings(BandSettings):
    """Triggers at a phase of a rhythm."""

    name: SignalName = "target"
    """Of the measured error: ``phase_error.<name>``."""
    channels: dict[str, float] = Field(default_factory=dict[str, float])
    """Weight per channel, for instance { O1 = 0.5, O2 = 0.5 }."""
    phase_deg: float = Field(default=0.0, ge=-180, le=180)
    """The wanted phase, degrees: 0 is the positive peak, 180 the trough, -90 the rise through zero."""
    top_share: float = Field(default=0.3, gt=0, le=1)
    """Only while the envelope is within this top share of its recent values."""
    envelope_s: float = Field(default=60.0, ge=10, le=600)
    """Recent, s."""
    output_delay_s: float = Field(default=0.03, ge=0, le=0.2)
    """From the arrival of a sample to the earliest moment at which an output acts on it, s: chunk, computing, output.
    """
    tolerance_deg: float = Field(default=45.0, gt=0, le=90)
    """A trigger that is later than this is dropped, degrees."""
    sd_max_deg: float = Field(default=HARD_MAX_SD_DEG, gt=0, le=HARD_MAX_SD_DEG)
    """Measured circular standard deviation above which no trigger is asked for, degrees."""
    checks: int = Field(default=50, ge=30, le=500)
    """Checked predictions of the last ``checked_s`` without which the error is not known."""
    checked_s: float = Field(default=120.0, ge=30, le=600)
    """How far back the measured error goes, s."""
    action: str = Field(default="stimulus", min_length=1)
    """What the trigger asks for."""


@dataclass(frozen=True, slots=True)
class Lane:
    """What the cleaning does to the time of a sample."""

    delay_s: float
    """Delay of its filters, which its times are corrected for, s."""
    hold_s: float
    """By how much it holds samples back on purpose, s."""
    adapts: bool = False
    """Whether components that it learns as it goes are taken out (OBS, ANC)."""
    phase: Callable[[float], float] | None = None
    """Phase in rad that it leaves at a frequency in Hz once its delay is taken off the times."""

    @property
    def age_s(self) -> float:
        """How old the newest sample is when it comes, s."""
        return self.delay_s + self.hold_s


class PhaseTarget:
    """Ask for triggers at a phase.

    The error is measured on all predictions of strong enough cycles, whether a trigger was asked for or given. A
    stimulus that evokes a response in the band changes what is measured.

    Parameters
    ----------
    settings : PhaseTargetSettings
    rate_hz : float
        Blocks per second.
    sfreq : float
        Rate of the cleaned EEG, Hz.
    channels : sequence of str
        Names of its channels, in order.
    lane : Lane
    learn_s : float
        Clean EEG that the rhythm's model is fitted to, s.
    learned : mapping or None
        What ``learned()`` gave after a calibration run.

    Raises
    ------
    ConfigError
        A channel is not there, the band does not fit, or the lane is too slow for a phase to be known.
    """

    def __init__(
        self,
        settings: PhaseTargetSettings,
        rate_hz: float,
        sfreq: float,
        channels: Sequence[str],
        lane: Lane,
        learn_s: float = 30.0,
        learned: Mapping[str, Any] | None = None,
    ) -> None:
        self._s, self._sfreq = settings, sfreq
        self._block_s = math.ceil(sfreq / rate_hz) / sfreq
        self._lead_s = lane.age_s + settings.output_delay_s
        _check_lane(lane, self._lead_s + self._block_s)
        signals = {settings.name: settings.channels}
        phase = BandPhaseSettings(enabled=True, band_hz=settings.band_hz, signals=signals)
        self._phase = BandPhase(phase, sfreq, channels, learn_s, learned, lane.phase)
        self._virtual = VirtualChannels(signals, channels)
        self._target = math.radians(settings.phase_deg)
        self._envelopes: deque[float] = deque(maxlen=round(settings.envelope_s * rate_hz / _ENVELOPE_EVERY))
        self._least = round(_LEAST_ENVELOPES_S * rate_hz / _ENVELOPE_EVERY)
        self._feature_every = max(1, round(_FEATURE_S * rate_hz))
        self._check = _Check(settings, sfreq, self._lead_s + self._block_s, lane.phase)
        self._checked: deque[_Checked] = deque()
        self._model: RhythmModel | None = None
        self._lean = 0.0
        self._last = -math.inf
        self._known = False

    @property
    def error(self) -> tuple[float, float]:
        """Circular sd and mean of the measured error, rad; late is positive. NaN while it is not known.

        What is not known of the phase in hindsight either is counted into the sd.
        """
        if len(self._checked) < self._s.checks:
            return math.nan, math.nan
        mean = complex(np.exp(1j * np.array([each.error for each in self._checked])).mean())
        doubt = float(np.mean([each.sure for each in self._checked]))
        return math.sqrt(-2.0 * math.log(min(1.0, max(abs(mean) * doubt, 1e-12)))), cmath.phase(mean)

    @property
    def refusal(self) -> str:
        """Why no triggers are asked for; empty where they are."""
        if not self._known:
            return f"phase target {self._s.name}: the rhythm is not known now"
        sd, _ = self.error
        if math.isnan(sd):
            return f"phase target {self._s.name}: {len(self._checked)} of {self._s.checks} predictions are checked"
        if sd <= math.radians(self._s.sd_max_deg):
            return ""
        limit = f"above {self._s.sd_max_deg:g}°"
        return f"phase target {self._s.name}: the measured circular sd is {math.degrees(sd):.0f}°, {limit}"

    def __call__(self, block: Block) -> list[Candidate | Feature]:
        """Take the next block; give the trigger to ask for within the time until the next one, and the error."""
        feature = self._phase(block)[0]
        self._known = feature.valid
        data, _ = self._virtual(block)
        self._forget(float(block.end_time))
        for each in self._check(block, data[:, 0], self._target, usable=feature.valid):
            self._checked.append(each)
            lean = self._lean + _LEAN_SHARE * math.sin(each.error)
            self._lean = min(_LEAN_MAX, max(-_LEAN_MAX, lean))
        out: list[Candidate | Feature] = []
        if feature.valid:
            found = self._predict(block, feature)
            out.extend([] if found is None else [found])
        if block.index % self._feature_every == 0:
            out.append(self._measured(block))
        return out

    def learned(self) -> dict[str, Any]:
        """Give the rhythm's model, as plain values; empty while there is none."""
        return self._phase.learned()

    def _forget(self, now: float) -> None:
        s = self._s.checked_s
        # a clock that was set back must not keep them for ever
        while self._checked and not 0 <= now - self._checked[0].time <= s:
            self._checked.popleft()

    def _predict(self, block: Block, feature: Feature) -> Candidate | None:
        envelope, phase, _ = feature.values
        model = self._model
        if model is None:
            model = self._model = msgspec.convert(self._phase.learned()[self._s.name], RhythmModel)
            self._check.use(model)
        hz = model.centre_hz
        if block.index % _ENVELOPE_EVERY == 0:
            self._envelopes.append(envelope)
        turn = 2 * math.pi * hz
        wait = ((self._target - self._lean - phase - turn * self._lead_s) % (2 * math.pi)) / turn
        if wait >= self._block_s or len(self._envelopes) < self._least:
            return None
        ahead = self._lead_s + wait
        at = block.end_sample - 1 + ahead * self._sfreq
        if at - self._last < 0.5 * self._sfreq / hz:
            return None
        if envelope < np.quantile(self._envelopes, 1.0 - self._s.top_share):
            return None
        self._last = at
        self._check.expect(at, block.end_time + ahead)
        if self.refusal:
            return None
        sd, _ = self.error
        fire_at = block.end_time + ahead
        return Candidate(
            source="phase",
            action=self._s.action,
            level=_sureness(model, envelope, feature.uncertainty[0], ahead),
            about=block.end_time,
            fire_at=SessionTime(fire_at),
            expires=SessionTime(fire_at + self._s.tolerance_deg / 360.0 / hz),
            reason=f"{self._s.phase_deg:g}° of {hz:.1f} Hz, measured circular sd {math.degrees(sd):.0f}°",
            flags=block.flags,
        )

    def _measured(self, block: Block) -> Feature:
        sd, bias = self.error
        return Feature(
            name=f"phase_error.{self._s.name}",
            sample=block.end_sample,
            about=SessionTime(block.end_time - self._check.after_s),
            delay_s=self._check.after_s,
            labels=LABELS,
            values=(sd, bias, float(len(self._checked))),
            uncertainty=(),
            valid=not math.isnan(sd),
            flags=block.flags,
        )


@dataclass(frozen=True, slots=True)
class _Checked:
    time: float
    error: float
    """rad; late is positive."""
    sure: float
    """Mean resultant length of the phase as hindsight knows it, 0..1."""


class _Check:
    """Phase of the band at past moments, seen from both sides."""

    def __init__(
        self, band: BandSettings, sfreq: float, ahead_s: float, lane_phase: Callable[[float], float] | None
    ) -> None:
        self._band, self._sfreq = band.band_hz, sfreq
        low, high = self._band
        # a Hann window of this length lets the band through, -6 dB at its edges
        self._half = math.ceil(sfreq / (high - low))
        self.after_s = self._half / sfreq
        """How much later than a moment its phase is known, s."""
        lags = np.arange(-self._half, self._half + 1)
        window = np.hanning(len(lags) + 2)[1:-1]
        self._turn = math.pi * (low + high) / sfreq
        self._kernel: Array = 2.0 / window.sum() * window * np.exp(-1j * self._turn * lags)
        self._offset = 0.0 if lane_phase is None else lane_phase((low + high) / 2)
        self._keep = 2 * self._half + 2 + math.ceil(ahead_s * sfreq)
        self._noise = math.nan
        self._data = np.empty(0)
        self._expected: deque[tuple[float, float]] = deque()

    def use(self, model: RhythmModel) -> None:
        """Learn from the model how much of what is not the rhythm comes through."""
        lags = np.arange(len(self._kernel))
        covariance = np.zeros(len(lags))
        for (centre, width), variance in zip(
            components(model.centre_hz, model.width_hz, *self._band)[1:], model.variances[1:-1], strict=True
        ):
            turned = np.cos(2 * np.pi * centre / self._sfreq * lags)
            covariance += variance * np.exp(-np.pi * width / self._sfreq * lags) * turned
        covariance[0] += model.variances[-1]
        power = complex(self._kernel @ linalg.toeplitz(covariance) @ self._kernel.conj())
        self._noise = max(power.real / 2, _FLOOR_V2)

    def expect(self, at: float, time: float) -> None:
        """Check the phase at a sample with fraction, at a time in s, once it is known."""
        self._expected.append((at, time))

    def __call__(self, block: Block, data: Array, target: float, *, usable: bool) -> list[_Checked]:
        """Take the next samples; give the errors that are known now."""
        if block.fresh or not usable:
            self._data = np.empty(0)
        if not usable:
            self._expected.clear()
            return []
        self._data = np.concatenate([self._data, data])[-self._keep - len(data) :]
        first = block.end_sample - len(self._data)
        found: list[_Checked] = []
        while self._expected and round(self._expected[0][0]) + self._half < block.end_sample:
            at, time = self._expected.popleft()
            start = round(at) - self._half - first
            if start < 0:
                continue
            seen = complex(self._kernel @ self._data[start : start + len(self._kernel)])
            phase = cmath.phase(seen) + self._turn * (at - round(at)) - self._offset
            sure = math.exp(-(phase_sd(abs(seen), self._noise) ** 2) / 2)
            found.append(_Checked(time, math.remainder(phase - target, 2 * math.pi), sure))
        return found


def _sureness(model: RhythmModel, envelope: float, sd: float, ahead_s: float) -> float:
    """Mean resultant length of the phase so far ahead: a rhythm loses itself as fast as its width says."""
    keep = math.exp(-math.pi * model.width_hz * ahead_s)
    variance = (keep * sd) ** 2 + (1.0 - keep**2) * model.variances[0]
    return math.exp(-(phase_sd(keep * envelope, variance) ** 2) / 2)


def _check_lane(lane: Lane, ahead_s: float) -> None:
    problems: list[str] = []
    if lane.age_s > MAX_LANE_S:
        problems.append(
            f"the cleaned EEG comes {lane.age_s:g} s late (filters {lane.delay_s:g} s, holds {lane.hold_s:g} s):"
            f' expected at most {MAX_LANE_S:g} s; clean.eeg.pulse.mode = "fast" holds nothing back'
        )
    if lane.adapts:
        problems.append('clean.eeg.residual takes adapting components out: expected obs = "off" and anc = false')
    if ahead_s > MAX_AHEAD_S:
        problems.append(f"a trigger would be asked for {ahead_s:g} s ahead: expected at most {MAX_AHEAD_S:g} s")
    if problems:
        raise ConfigError("events.phase", problems)
