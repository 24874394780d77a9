"""The features of the region signals that are switched on, side by side, and the feedback signals."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streamer.clean.bold.dynamics.alff import Alff, AlffSettings
from streamer.clean.bold.dynamics.connectivity import RegionConnectivity, RegionConnectivitySettings
from streamer.clean.bold.dynamics.feedback import Feedback, FeedbackSettings
from streamer.contracts import Settings
from streamer.messages import BoldFrame, Feature


class BoldDynamicsSettings(Settings):
    """Features of the region signals: outputs for others, not inputs of the model."""

    connectivity: RegionConnectivitySettings = RegionConnectivitySettings()
    """How regions go together."""
    alff: AlffSettings = AlffSettings()
    """Slow fluctuations."""
    feedback: FeedbackSettings = FeedbackSettings()
    """Signals scaled for feedback, and differences between regions."""

    @property
    def enabled(self) -> bool:
        """Whether anything is switched on."""
        return self.connectivity.enabled or self.alff.enabled or self.feedback.enabled


class BoldDynamics:
    """Make the features that are switched on.

    Parameters
    ----------
    settings : BoldDynamicsSettings
    regions : sequence of str
        Names of the regions, in order.

    Raises
    ------
    ConfigError
        A region is not there, or there are too few or too many.
    """

    def __init__(self, settings: BoldDynamicsSettings, regions: Sequence[str]) -> None:
        self._stages: list[Callable[[BoldFrame], list[Feature]]] = []
        if settings.feedback.enabled:
            self._stages.append(Feedback(settings.feedback, regions))
        if settings.connectivity.enabled:
            self._stages.append(RegionConnectivity(settings.connectivity, regions))
        if settings.alff.enabled:
            self._stages.append(Alff(settings.alff, regions))

    def __call__(self, frame: BoldFrame) -> list[Feature]:
        """Take the next cleaned volume, its ``acquired`` known; give what follows from it."""
        return [feature for stage in self._stages for feature in stage(frame)]
