"""From a session's settings to the card of its model-free score, once the channels and regions are known."""

from __future__ import annotations

from streamer.calibration import Calibration
from streamer.config import Config
from streamer.decode.model_card import AgeLimits, BoldInput, EegInput, ModelCard, TangentInput
from streamer.decode.score_card import make_score_card


def session_score(
    config: Config,
    channels: tuple[str, ...],
    regions: tuple[str, ...],
    sfreq: float,
    calibration: Calibration | None = None,
) -> ModelCard:
    """Make the card of the score as the settings have it.

    Parameters
    ----------
    config : Config
    channels : tuple of str
        The session's cleaned EEG channels, in order; none for a session without EEG.
    regions : tuple of str
        Its regions, in order; none for a session without BOLD.
    sfreq : float
        Rate of the cleaned EEG, Hz.
    calibration : Calibration, optional
        Gives the standard deviation of each region.

    Raises
    ------
    ModelError
        The score's settings name a band, channel or region that is not there, or no term is left.
    """
    w = config.windows
    eeg = bold = None
    if channels:
        eeg = EegInput(
            channels=channels,
            bands=config.features.bands,
            step_s=w.eeg_step_s,
            n_steps=w.eeg_steps,
            sfreq_hz=sfreq,
        )
    if regions:
        bold = BoldInput(regions=regions, grid_s=w.bold_grid_s, n_steps=w.bold_steps)
    return make_score_card(
        config.model.score,
        eeg,
        bold,
        config.decision.target,
        config.model_digest(),
        limits=AgeLimits(age_eeg_max_s=w.age_eeg_max_s, age_bold_max_s=w.age_bold_max_s),
        pairing=w.pairing,
        region_sd=None if calibration is None else calibration.sd_by_region(),
    )


def session_tangent(config: Config, channels: tuple[str, ...]) -> TangentInput | None:
    """Say how a session makes tangent vectors; None where it makes none."""
    wanted = config.extra.tangent
    if not (channels and wanted.enabled):
        return None
    used = wanted.channels or channels
    n = len(used)
    return TangentInput(channels=used, band_hz=wanted.band_hz, window_s=wanted.window_s, width=n * (n + 1) // 2)
