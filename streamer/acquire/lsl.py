"""LSL streams as sources: EEG and markers."""

from __future__ import annotations

from streamer.acquire.eeg_stream import EegDescription
from streamer.acquire.lsl_eeg import EegStreamSettings, LslEegSource
from streamer.acquire.lsl_markers import LslMarkerSource, MarkerStreamSettings

__all__ = ["EegDescription", "EegStreamSettings", "LslEegSource", "LslMarkerSource", "MarkerStreamSettings"]
