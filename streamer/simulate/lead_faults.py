"""What goes wrong between skin and amplifier: pops, loose leads, channels that are flat or at the rail."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamer.messages import F64, Array
from streamer.simulate.ledger import RunFaults
from streamer.simulate.montage import channel_infos
from streamer.simulate.settings import SimulationSettings

RAIL = 32767
_RISE_S = 0.02


@dataclass(frozen=True)
class LeadFaults:
    """The faulty channels of a run."""

    channels: Array
    """Channels with a voltage of their own, shape (k,)."""
    course: F64
    """That voltage at the model's rate, V, shape (n_times, k)."""
    held: Array
    """What the amplifier stored instead of a voltage: channel, first sample, sample after the last, stored value; shape
    (m, 4), lost samples counted."""

    def hold(self, block: Array, first_sample: int) -> None:
        """Put the held values into stored samples, in place."""
        end = first_sample + len(block)
        for channel, first, stop, value in self.held.tolist():
            if first < end and stop > first_sample:
                block[max(0, first - first_sample) : stop - first_sample, channel] = value


def draw_lead_faults(settings: SimulationSettings, n_times: int, rate_hz: float, faults: RunFaults) -> LeadFaults:
    """Draw the faulty channels of a run."""
    draw = _Draw(settings, n_times, rate_hz, faults)
    draw.pops()
    draw.noise()
    draw.flat()
    draw.clipping()
    draw.ecg_dropouts()
    channels = sorted(draw.courses)
    course = np.stack([draw.courses[c] for c in channels], axis=1) if channels else np.zeros((n_times, 0))
    return LeadFaults(np.array(channels, np.int64), course, np.array(draw.held, np.int64).reshape(-1, 4))


class _Draw:
    def __init__(self, settings: SimulationSettings, n_times: int, rate_hz: float, faults: RunFaults) -> None:
        self.courses: dict[int, F64] = {}
        self.held: list[tuple[int, int, int, int]] = []
        self._sfreq = settings.sfreq
        self._names = [info.name for info in channel_infos(settings.n_channels)]
        self._n_eeg = settings.n_channels - 1
        self._times = np.arange(n_times) / rate_hz
        self._duration = n_times / rate_hz
        self._faults = faults

    def pops(self) -> None:
        rng = self._faults.rng("pop")
        for at in self._faults.moments(rng, self._faults.settings.pop_per_min, 0.0, self._duration - 1.0):
            channel = int(rng.integers(self._n_eeg))
            size, tau = float(rng.choice([-1, 1]) * rng.uniform(0.2e-3, 1e-3)), float(rng.uniform(0.1, 0.3))
            after = np.clip(self._times - at, 0.0, None)
            self._add(channel, size * np.clip(after / _RISE_S, 0.0, 1.0) * np.exp(-after / tau))
            self._enter("electrode_pop", at, min(at + 5 * tau, self._duration), channel, size_v=round(size, 9))

    def noise(self) -> None:
        rng = self._faults.rng("noisy")
        for channel in rng.choice(self._n_eeg, self._faults.settings.noisy_channels, replace=False).tolist():
            at, length = float(rng.uniform(0.1, 0.7)) * self._duration, float(rng.uniform(5.0, 20.0))
            stop = min(at + length, self._duration)
            sd = float(rng.uniform(30e-6, 90e-6))
            edge = np.clip(np.minimum(self._times - at, stop - self._times) / 0.5, 0.0, 1.0)
            self._add(channel, sd * edge * rng.standard_normal(len(self._times)))
            self._enter("noisy_channel", at, stop, channel, sd_v=round(sd, 9))

    def flat(self) -> None:
        rng = self._faults.rng("flat")
        for channel in rng.choice(self._n_eeg, self._faults.settings.flat_channels, replace=False).tolist():
            at = float(rng.uniform(0.1, 0.5)) * self._duration
            self._hold("flat_channel", channel, at, float(rng.uniform(30.0, 120.0)), 0)

    def clipping(self) -> None:
        rng = self._faults.rng("clipping")
        for at in self._faults.moments(rng, self._faults.settings.clipping_per_min, 0.0, self._duration - 1.0):
            value = RAIL if rng.random() < 0.5 else -RAIL - 1
            self._hold("clipping", int(rng.integers(self._n_eeg)), at, float(rng.uniform(0.3, 2.0)), value)

    def ecg_dropouts(self) -> None:
        rng = self._faults.rng("ecg_dropout")
        for at in self._faults.moments(rng, self._faults.settings.ecg_dropout_per_min, 0.0, self._duration - 1.0):
            self._hold("ecg_dropout", self._n_eeg, at, float(rng.uniform(3.0, 8.0)), 0)

    def _add(self, channel: int, course: F64) -> None:
        self.courses[channel] = self.courses.get(channel, 0.0) + course

    def _hold(self, kind: str, channel: int, at: float, length: float, value: int) -> None:
        first, stop = round(at * self._sfreq), round(min(at + length, self._duration) * self._sfreq)
        self.held.append((channel, first, stop, value))
        self._enter(kind, first / self._sfreq, stop / self._sfreq, channel, stored=value)

    def _enter(self, kind: str, from_s: float, to_s: float, channel: int, **size: float) -> None:
        self._faults.enter(kind, from_s, to_s, channel=self._names[channel], **size)
