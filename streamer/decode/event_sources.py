"""What asks for triggers beside the score: the phase of a rhythm, sleep spindles, epileptic spikes.

Those that are switched on run side by side on common blocks. What they ask for goes through the same vetoes, caps and
refractory time as the score's triggers; what they saw is recorded whether a trigger came of it or not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import Field

from streamer.contracts import Settings
from streamer.decode.blocks import Block, Blocks
from streamer.decode.candidate import Candidate
from streamer.decode.phase_target import Lane, PhaseTarget, PhaseTargetSettings
from streamer.decode.spikes import Spikes, SpikeSettings
from streamer.decode.spindles import Spindles, SpindleSettings
from streamer.messages import Array, CleanEeg, Feature

RATE_HZ = 50.0
"""Blocks per second: nothing is asked for sooner than the block's end."""


class EventSourcesSettings(Settings):
    """What asks for triggers beside the score."""

    learn_s: float = Field(default=30.0, ge=8, le=600)
    """Clean EEG of the run itself that the rhythm's model is made from where the calibration has none, s."""
    phase: PhaseTargetSettings = PhaseTargetSettings()
    """The phase of a rhythm."""
    spindle: SpindleSettings = SpindleSettings()
    """Sleep spindles."""
    spike: SpikeSettings = SpikeSettings()
    """Epileptic spikes."""

    @property
    def enabled(self) -> bool:
        """Whether anything is switched on."""
        return self.phase.enabled or self.spindle.enabled or self.spike.enabled


class EventSources:
    """Look for what asks for a trigger.

    Parameters
    ----------
    settings : EventSourcesSettings
    sfreq : float
        Rate of the cleaned EEG, Hz.
    channels : sequence of str
        Names of its channels, in order.
    lane : Lane
        What the cleaning does to the time of a sample.
    learned : mapping or None
        What ``learned()`` gave after a calibration run.

    Raises
    ------
    ConfigError
        A channel is not there, a band does not fit, or the lane is too slow for a phase to be known.
    """

    def __init__(
        self,
        settings: EventSourcesSettings,
        sfreq: float,
        channels: Sequence[str],
        lane: Lane,
        learned: Mapping[str, Any] | None = None,
    ) -> None:
        self._blocks = Blocks(RATE_HZ, sfreq, len(channels))
        self._phase: PhaseTarget | None = None
        self._stages: list[Callable[[Block], list[Candidate | Feature]]] = []
        if settings.phase.enabled:
            self._phase = PhaseTarget(settings.phase, RATE_HZ, sfreq, channels, lane, settings.learn_s, learned)
            self._stages.append(self._phase)
        if settings.spindle.enabled:
            self._stages.append(Spindles(settings.spindle, RATE_HZ, sfreq, channels, lane.age_s))
        if settings.spike.enabled:
            self._stages.append(Spikes(settings.spike, RATE_HZ, sfreq, channels, lane.age_s))

    def __call__(self, clean: CleanEeg, bad: Array) -> list[Candidate | Feature]:
        """Take cleaned EEG and the channels that are bad in it; give what it completes.

        Parameters
        ----------
        clean : CleanEeg
        bad : ndarray, bool, shape (n_channels,)

        Raises
        ------
        ValueError
            If samples come that lie before those that came already, or of another width.
        """
        if not self._stages:
            return []
        return [found for block in self._blocks(clean, bad) for stage in self._stages for found in stage(block)]

    @property
    def notes(self) -> tuple[str, ...]:
        """What is switched on and asks for nothing, and why."""
        refusal = "" if self._phase is None else self._phase.refusal
        return (refusal,) if refusal else ()

    def learned(self) -> dict[str, Any]:
        """Give what was learned so far as plain values, for the calibration; empty while there is nothing."""
        return {} if self._phase is None else self._phase.learned()
