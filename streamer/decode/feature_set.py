"""The features beside band power that are switched on, run side by side on common blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import Field

from streamer.contracts import Settings
from streamer.decode.blocks import Block, Blocks
from streamer.decode.connectivity import Connectivity, ConnectivitySettings
from streamer.decode.envelope_phase import BandPhase, BandPhaseSettings
from streamer.decode.recentre import RecentreSettings
from streamer.decode.tangent import TangentSettings, TangentVector
from streamer.messages import Array, CleanEeg, Feature


class FeatureSetSettings(Settings):
    """Features beside band power: outputs for others, not inputs of the model."""

    rate_hz: float = Field(default=10.0, ge=2, le=50)
    """Blocks per second: phases are given at this rate, the others at their own step. A value comes with the sample
    that ends its block."""
    learn_s: float = Field(default=30.0, ge=8)
    """Clean EEG of the run itself that models and references are made from where the calibration has none, s."""
    phase: BandPhaseSettings = BandPhaseSettings()
    """Envelope, phase and frequency of a band."""
    tangent: TangentSettings = TangentSettings()
    """The covariance as a tangent vector."""
    connectivity: ConnectivitySettings = ConnectivitySettings()
    """Connectivity between groups of channels."""

    @property
    def enabled(self) -> bool:
        """Whether anything is switched on."""
        return self.phase.enabled or self.tangent.enabled or self.connectivity.enabled


class FeatureSet:
    """Make the features that are switched on.

    Parameters
    ----------
    settings : FeatureSetSettings
    sfreq : float
        Rate of the cleaned EEG, Hz.
    channels : sequence of str
        Names of its channels, in order.
    learned : mapping or None
        What ``learned()`` gave after a calibration run; None learns from the run itself.
    lane_phase : callable or None
        Phase in rad that the lane adds at a frequency in Hz, beyond the delay that its times are corrected for: taken
        off the phases.
    drift : RecentreSettings or None
        Lets the tangent vectors' reference follow slow drift.

    Raises
    ------
    ConfigError
        A channel is not there, or a band or a length does not fit.
    """

    def __init__(
        self,
        settings: FeatureSetSettings,
        sfreq: float,
        channels: Sequence[str],
        learned: Mapping[str, Any] | None = None,
        lane_phase: Callable[[float], float] | None = None,
        drift: RecentreSettings | None = None,
    ) -> None:
        known = learned or {}
        rate, learn = settings.rate_hz, settings.learn_s
        self._blocks = Blocks(rate, sfreq, len(channels))
        self._phase: BandPhase | None = None
        self._tangent: TangentVector | None = None
        self._stages: list[Callable[[Block], list[Feature]]] = []
        if settings.phase.enabled:
            self._phase = BandPhase(settings.phase, sfreq, channels, learn, known.get("phase"), lane_phase)
            self._stages.append(self._phase)
        if settings.tangent.enabled:
            self._tangent = TangentVector(settings.tangent, rate, sfreq, channels, learn, known.get("tangent"), drift)
            self._stages.append(self._tangent)
        if settings.connectivity.enabled:
            self._stages.append(Connectivity(settings.connectivity, rate, sfreq, channels))

    def __call__(self, clean: CleanEeg, bad: Array) -> list[Feature]:
        """Take cleaned EEG and the channels that are bad in it; give the features that it completes.

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
        return [feature for block in self._blocks(clean, bad) for stage in self._stages for feature in stage(block)]

    def recentre(self, text: str) -> None:
        """Take the operator's ``on``, ``freeze`` or ``rollback`` (which also freezes)."""
        if self._tangent is not None:
            self._tangent.frozen = text != "on"
            if text == "rollback":
                self._tangent.roll_back()

    def learned(self) -> dict[str, Any]:
        """Give what was learned so far as plain values, for the calibration; empty while there is nothing."""
        phase = self._phase.learned() if self._phase is not None else None
        tangent = self._tangent.learned() if self._tangent is not None else None
        return {name: values for name, values in (("phase", phase), ("tangent", tangent)) if values}
