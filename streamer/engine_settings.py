"""What the EEG core is made with."""

from __future__ import annotations

from streamer.align.eeg_time import EegTimelineSettings
from streamer.align.triggers import TriggerSettings
from streamer.align.windows import WindowSettings
from streamer.clean.bold.dynamics.dynamics_set import BoldDynamicsSettings
from streamer.clean.bold.signal.region_signal import RegionSignalSettings
from streamer.clean.bold.signal.retroicor import RetroicorSettings
from streamer.clean.eeg.lane_settings import EegLaneSettings
from streamer.contracts import Settings
from streamer.decode.bold_estimate import BoldEstimateSettings
from streamer.decode.decision_settings import DecisionSettings
from streamer.decode.event_sources import EventSourcesSettings
from streamer.decode.feature_set import FeatureSetSettings
from streamer.decode.features import BandPowerSettings
from streamer.decode.recentre import RecentreSettings
from streamer.decode.relevance import RelevanceSettings


class EngineSettings(Settings):
    """What the EEG core is made with."""

    timeline: EegTimelineSettings = EegTimelineSettings()
    """Gaps and time stamps."""
    triggers: TriggerSettings = TriggerSettings()
    """Volume triggers."""
    eeg: EegLaneSettings = EegLaneSettings()
    """The EEG lane."""
    features: BandPowerSettings = BandPowerSettings()
    """Band power."""
    windows: WindowSettings = WindowSettings()
    """Windows."""
    decision: DecisionSettings = DecisionSettings()
    """From probability to trigger."""
    extra: FeatureSetSettings = FeatureSetSettings()
    """Features of the EEG that are given out beside the model's."""
    regions: RegionSignalSettings = RegionSignalSettings()
    """Region means to region signals."""
    retroicor: RetroicorSettings = RetroicorSettings()
    """Phases of heart beat and breath."""
    dynamics: BoldDynamicsSettings = BoldDynamicsSettings()
    """Features of the region signals that are given out beside the model's."""
    recentre: RecentreSettings = RecentreSettings()
    """Following slow drift of the EEG's baseline."""
    events: EventSourcesSettings = EventSourcesSettings()
    """What asks for triggers beside the score."""
    relevance: RelevanceSettings = RelevanceSettings()
    """What the decision rests on."""
    estimate: BoldEstimateSettings = BoldEstimateSettings()
    """A guess of the BOLD from the EEG."""
    tick_hz: float = 10.0
    """Decisions per second: a whole number of feature steps each."""
    uncalibrated_s: float = 30.0
    """Without a calibration: length of the run's own past before the EEG counts, s."""
    bold_first_volume: int = 0
    """Acquisition number of the volume that belongs to the first trigger; below 0 when triggers of preparation scans
    come before the first volume that is exported."""
    bold_alarm_tr: float = 0.25
    """A volume whose scanner time and trigger disagree by more than this is flagged ``MISALIGNED``, in TR."""
    bold_latency_s: float = 0.6
    """From the end of a volume to its arrival, s; only used while its trigger is unknown."""
