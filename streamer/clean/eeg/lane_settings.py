"""Settings of the EEG lane: one part per stage, in the order of the signal."""

from __future__ import annotations

from pydantic import Field

from streamer.clean.eeg.channels.channels import ChannelSettings
from streamer.clean.eeg.channels.reference import ReferenceSettings
from streamer.clean.eeg.gradient.corrected import GradientSettings
from streamer.clean.eeg.gradient.residual import ResidualSettings
from streamer.clean.eeg.heart.pulse import PulseSettings
from streamer.clean.eeg.heart.rpeaks import RPeakSettings
from streamer.clean.eeg.line import LineSettings
from streamer.clean.eeg.ocular import OcularSettings
from streamer.clean.eeg.quality.quality import QualitySettings
from streamer.contracts import Settings

DELAY_HZ = 10.0
"""Delays are declared and corrected at this frequency, Hz."""


class EegLaneSettings(Settings):
    """How the EEG is cleaned."""

    hop_s: float = Field(default=0.004, gt=0)
    """Length of a hop, s; rounded to a whole number of output samples."""
    rate_hz: float = Field(default=250.0, gt=0)
    """The output rate is the input rate over the whole number that comes nearest to this, Hz."""
    gradient: GradientSettings = GradientSettings()
    """The gradient artefact."""
    residual: ResidualSettings = ResidualSettings()
    """What the gradient's template leaves."""
    r_peaks: RPeakSettings = RPeakSettings()
    """The heart beats."""
    pulse: PulseSettings = PulseSettings()
    """The pulse artefact."""
    band_hz: tuple[float, float] = (1.0, 40.0)
    """Edges of the band-pass, Hz."""
    line: LineSettings = LineSettings()
    """Mains and the helium pump."""
    ocular: OcularSettings = OcularSettings()
    """The eyes."""
    channels: ChannelSettings = ChannelSettings()
    """Bad channels."""
    reference: ReferenceSettings = ReferenceSettings()
    """Reference of the output."""
    quality: QualitySettings = QualitySettings()
    """What is watched of all this."""
    settle_s: float = Field(default=1.0, ge=0)
    """Output is flagged ``WARMING`` for this long after a start, a gap or uncorrected samples, s."""
    bridge_s: float = Field(default=10.0, ge=0)
    """The high-pass keeps its baseline over gaps up to this, s: a new one would be taken from the artefact's midst."""
