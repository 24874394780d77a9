"""A client that knows nothing of us: mosquitto's own."""

from __future__ import annotations

TEXT_TOPICS = ("-t", "eegfmri/#", "-T", "eegfmri/+/preview/raw.bin", "-T", "eegfmri/+/preview/volume")
"""What `mosquitto_sub` subscribes to where it prints what it hears: all that is text."""
