"""The card of the model that a session ran with, found by its digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from streamer.calibration import SESSION_CARD, load_calibration
from streamer.clean.eeg.lane import output_rate
from streamer.compose import CALIBRATION, default_card
from streamer.config import Config
from streamer.decode.card_file import dump_card, load_card
from streamer.decode.model_card import ModelCard
from streamer.errors import StreamerError
from streamer.messages import SessionHeader
from streamer.session_score import session_score


def find_card(folder: Path, header: SessionHeader | None, config: Config | None, model: str) -> ModelCard | None:
    """Find the card; None where none has the digest that the session names.

    Parameters
    ----------
    folder : Path
        The session's.
    header : SessionHeader or None
    config : Config or None
    model : str
        ``name@sha256`` (first 12 digits) of a decision; empty without any.
    """
    digest = model.partition("@")[2] or ("" if header is None else header.card_sha256)
    if not digest:
        return None
    for path in _places(folder, config):
        try:
            loaded = load_card(path)
        except StreamerError:
            # moved or altered since: it is not the one
            continue
        if loaded.sha256.startswith(digest):
            return loaded.card
    made = None if header is None or config is None else _score(folder, header, config)
    if made is None or not hashlib.sha256(dump_card(made).encode()).hexdigest().startswith(digest):
        return None
    return made


def _places(folder: Path, config: Config | None) -> Iterator[Path]:
    yield folder / CALIBRATION / SESSION_CARD
    yield default_card()
    if config is not None:
        if config.model.calibration is not None:
            yield config.model.calibration / SESSION_CARD
        yield Path(config.model.card)


def _score(folder: Path, header: SessionHeader, config: Config) -> ModelCard | None:
    """Make the card of a score again, as the session did."""
    kept = folder / CALIBRATION
    rate = output_rate(config.clean.eeg, header.eeg_sfreq) if header.eeg_sfreq else 0.0
    channels = tuple(channel.name for channel in header.channels if channel.kind == "eeg")
    try:
        calibration = load_calibration(kept) if kept.exists() else None
        return session_score(config, channels, header.regions if config.bold.enabled else (), rate, calibration)
    except StreamerError:
        return None
