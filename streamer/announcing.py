"""What a session says once, when its parts are put together: what it consists of, its settings, its model."""

from __future__ import annotations

from typing import Protocol

from streamer import wire
from streamer.clean.eeg.channels.interpolate_channels import ChannelInterpolation
from streamer.compose import Parts, make_about, make_raw_preview
from streamer.emit.preview import Fill
from streamer.emit.public_config import public_config
from streamer.emit.raw_preview import RawPreview
from streamer.engine import EegCore
from streamer.formats.montage import electrode_positions
from streamer.messages import ChannelInfo


class Announcer(Protocol):
    """Takes what is said once."""

    def publish_about(self, about: wire.About, fill: Fill | None = None, raw: RawPreview | None = None) -> None: ...

    def publish_config(self, config: wire.ConfigMessage) -> None: ...

    def publish_card(self, card: wire.CardMessage) -> None: ...


def announce(to: Announcer, parts: Parts, session: str, core: EegCore, channels: tuple[ChannelInfo, ...]) -> None:
    """Say what a session consists of, what it is set to, and which model is asked.

    Parameters
    ----------
    to : Announcer
    parts : Parts
    session : str
    core : EegCore
    channels : tuple of ChannelInfo
        Of the incoming EEG; empty without EEG.
    """
    fill = ChannelInterpolation(electrode_positions([c.name for c in core.lane.channels]))
    to.publish_about(make_about(parts, session, core), fill, make_raw_preview(parts, core, channels))
    config = parts.config
    to.publish_config(wire.ConfigMessage(session=session, sha256=config.sha256(), settings=public_config(config)))
    if parts.card is not None:
        card = parts.card
        to.publish_card(wire.from_card(session, card.card.model_dump(mode="json"), card.sha256))
