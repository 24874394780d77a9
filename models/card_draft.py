"""What a card says before its graphs are written."""

from __future__ import annotations

from collections.abc import Mapping

from models.dataset import WindowSet
from models.fitting.members import Trained
from models.graphs.publish import pending_graphs
from models.network.settings import FusionSettings
from models.parts import Parts
from streamer import __version__
from streamer.config import Config
from streamer.decode.model_card import (
    AgeLimits,
    BoldInput,
    CardScore,
    EegInput,
    ModelCard,
    Pattern,
    TangentInput,
    TrainingData,
)
from streamer.errors import ModelError

LICENCE = "BSD-3-Clause"
Cells = tuple[int, int, int]


def draft_card(
    name: str,
    config: Config,
    windows: WindowSet,
    trained: Trained,
    training: TrainingData,
    scores: Mapping[Pattern, CardScore],
    verdict: str,
) -> ModelCard:
    """Write down all that the card of a network holds but its graphs' digests.

    Parameters
    ----------
    name : str
        Of the model.
    config : Config
        Settings that the windows were cut with.
    windows : WindowSet
        Any of them.
    trained : Trained
    training : TrainingData
    scores : mapping
    verdict : str

    Raises
    ------
    ModelError
        The windows were cut with other settings.
    """
    model = trained.model
    return ModelCard(
        kind="network",
        name=name,
        description=_description(windows, trained),
        licence=LICENCE,
        classes=windows.classes,
        preprocessing=config.model_digest(),
        pairing=config.windows.pairing,
        verdict=verdict,
        graphs=dict(pending_graphs(model.ensemble)),
        members=len(model.ensemble),
        eeg=eeg_input(config, windows),
        tangent=tangent_input(config, windows),
        bold=bold_input(config, windows, model.ensemble.settings.cells),
        limits=AgeLimits(age_eeg_max_s=config.windows.age_eeg_max_s, age_bold_max_s=config.windows.age_bold_max_s),
        temperature=model.temperature,
        doubt=model.doubt,
        training=training,
        scores=dict(scores),
    )


def training_data(origin: str, parts: Parts, n_windows: int, seed: int) -> TrainingData:
    """Say what a model was trained on."""
    train, validation, test = parts.names
    held = {"subject": "subjects", "session": "sessions", "run": "runs", "blocked": "stretches of runs"}[parts.hold]
    return TrainingData(
        data=f"{origin}; {held} held out; streamer {__version__}",
        train=train,
        validation=validation,
        test=test,
        n_windows=n_windows,
        seed=seed,
    )


def sizes_of(config: Config, windows: WindowSet, head: str, cells: Cells | None) -> FusionSettings:
    """Size a network for windows.

    Raises
    ------
    ModelError
        The windows were cut with other settings, or the regions are not that many cells.
    """
    eeg, bold, cut = eeg_input(config, windows), bold_input(config, windows, cells), config.windows
    if eeg is None and bold is None:
        raise ModelError("the windows hold neither EEG nor BOLD: nothing to train a network on")
    return FusionSettings.model_validate(
        {
            "n_channels": len(eeg.channels) if eeg else 0,
            "n_bands": len(eeg.bands) if eeg else 0,
            "eeg_steps": cut.eeg_steps,
            "eeg_step_s": cut.eeg_step_s,
            "n_regions": len(bold.regions) if bold else 0,
            "bold_steps": cut.bold_steps,
            "bold_grid_s": cut.bold_grid_s,
            "cells": cells if bold else None,
            "n_classes": len(windows.classes),
            "head": head,
        }
    )


def eeg_input(config: Config, windows: WindowSet) -> EegInput | None:
    """Describe the EEG; None where there is none."""
    if not windows.eeg.shape[2]:
        return None
    found = EegInput(
        channels=windows.inputs.channels,
        bands=dict(config.features.bands),
        step_s=config.windows.eeg_step_s,
        n_steps=config.windows.eeg_steps,
        sfreq_hz=windows.inputs.sfreq,
    )
    _same("EEG", windows.eeg.shape[1:], (found.n_steps, len(found.channels) * len(found.bands)))
    return found


def bold_input(config: Config, windows: WindowSet, cells: Cells | None = None) -> BoldInput | None:
    """Describe the BOLD; None where there is none."""
    if not windows.bold.shape[2]:
        return None
    cut = config.windows
    found = BoldInput(regions=windows.inputs.regions, grid_s=cut.bold_grid_s, n_steps=cut.bold_steps, cells=cells)
    _same("BOLD", windows.bold.shape[1:], (found.n_steps, len(found.regions)))
    if cells is not None and cells[0] * cells[1] * cells[2] != len(found.regions):
        shape = " x ".join(map(str, cells))
        raise ModelError(f"cells {shape}: expected a box of as many cells as there are regions, {len(found.regions)}")
    return found


def tangent_input(config: Config, windows: WindowSet) -> TangentInput | None:
    """Describe the tangent vectors; None where there are none."""
    width = windows.tangent.shape[1]
    if not width:
        return None
    settings = config.extra.tangent
    channels = settings.channels or windows.inputs.channels
    _same("tangent vectors", (width,), (len(channels) * (len(channels) + 1) // 2,))
    return TangentInput(channels=channels, band_hz=settings.band_hz, window_s=settings.window_s, width=width)


def _same(what: str, given: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if given != expected:
        raise ModelError(
            f"windows hold {what} of shape {given}, the settings make {expected}: --config names the settings that the "
            "windows were cut with"
        )


def _description(windows: WindowSet, trained: Trained) -> str:
    sizes = trained.model.ensemble.settings
    reads = {
        "both": "EEG (convolution and LSTM over band power) and BOLD (lags of "
        f"{'a volume' if sizes.cells else 'regions'}), joined by {sizes.head}",
        "eeg": "EEG alone (convolution and LSTM over band power)",
        "bold": f"BOLD alone (lags of {'a volume' if sizes.cells else 'regions'})",
    }[trained.model.modalities]
    n = sum(p.numel() for p in trained.model.ensemble.parameters()) // len(trained.model.ensemble)
    members = len(trained.model.ensemble)
    return f"{' or '.join(windows.classes)} from {reads}; {members} network(s) of {n} parameters"
