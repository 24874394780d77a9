"""A calibration run → calibration and session card, through the very loop that will use them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from streamer.acquire.recording import BlockEvent
from streamer.calibrate import UNSURE, calibrate_recording, part_of, with_thresholds, without_model
from streamer.calibration import Calibration
from streamer.compose import default_card
from streamer.config import Config
from streamer.decode.card_file import LoadedCard, fit_problems, load_card, read_graph
from streamer.decode.load_model import load_model
from streamer.decode.model_card import ModelCard, TangentInput
from streamer.decode.score_model import ScoreModel
from streamer.errors import ModelError, RecordingError
from streamer.messages import Window
from streamer.replay import open_origin, prepare
from streamer.session_card import Fit
from streamer.session_card.head_fit import Network
from streamer.session_card.labelled_run import label_windows
from streamer.session_card.session_card import SessionCard, fit_session_card
from streamer.session_score import session_score, session_tangent

EVERY = 2
"""Of the windows that a card is fitted on, each n-th is taken: neighbours overlap."""


@dataclass(frozen=True)
class Measured:
    """What a calibration run gave, before anything is fitted."""

    calibration: Calibration
    windows: tuple[Window, ...]
    events: tuple[BlockEvent, ...]
    """Labelled blocks, on the recording's axis."""
    base: ModelCard
    """The score as the settings have it."""
    tangent: TangentInput | None
    """How tangent vectors are made."""


def calibrate_session(
    path: Path, config: Config, fit: Fit = "auto", progress: Callable[[float], None] | None = None
) -> tuple[Calibration, SessionCard]:
    """Calibrate on a recording, and fit the card that the participant's session is run with.

    Parameters
    ----------
    path : Path
        A recording, with labelled blocks if anything is to be fitted.
    config : Config
        Its ``model.calibration`` is not used; a network that ``model.card`` names may have its head fitted.
    fit : str
        See :func:`~streamer.session_card.session_card.fit_session_card`.
    progress : callable, optional
        Takes the fraction done.

    Raises
    ------
    RecordingError
        The run holds too little clean data for a baseline.
    ModelError, UsageError
        The score's settings name what is not there, or ``head`` has no network that fits.
    """
    return fit_session(measure_session(path, config, progress), config, fit)


def measure_session(path: Path, config: Config, progress: Callable[[float], None] | None = None) -> Measured:
    """Measure baselines on a recording, then cut its windows with them; raises as :func:`calibrate_session` does."""
    bare = without_model(config)
    first = calibrate_recording(path, bare, part_of(progress, 0.0, 0.5))
    origin = open_origin(path)
    run = prepare(origin, bare, first)
    windows: list[Window] = []
    tell = part_of(progress, 0.5, 0.5)
    for event, outputs in run.steps():
        windows += [o for o in outputs if isinstance(o, Window) and o.seq % EVERY == 0]
        tell(origin.fraction(event.received))
    if not windows:
        raise RecordingError(f"{path}: no window in the calibration run")
    channels = () if origin.sfreq is None else first.channels
    regions = () if first.region_sd is None else first.regions
    base = session_score(config, channels, regions, run.loop.core.lane.sfreq_out, first)
    events = () if origin.recording is None else origin.recording.events
    return Measured(first, tuple(windows), events, base, session_tangent(config, channels))


def fit_session(measured: Measured, config: Config, fit: Fit = "auto") -> tuple[Calibration, SessionCard]:
    """Fit a card, and set the thresholds by its probabilities; raises as :func:`calibrate_session` does."""
    base, w = measured.base, config.windows
    reach_s = max(w.eeg_steps * w.eeg_step_s, w.bold_steps * w.bold_grid_s)
    classes = (base.classes[0], base.classes[1])
    labelled = label_windows(measured.windows, measured.events, classes, reach_s)
    network, why = (None, "") if fit in {"score", "linear"} else _network(config, base, measured.tangent)
    if fit == "head" and network is None:
        raise ModelError(f"no head to fit: {why or 'model.card names no network'}")
    source = measured.calibration.source
    found = fit_session_card(base, labelled, fit, tangent=measured.tangent, network=network, source=source)
    if why:
        found = replace(found, tried={**found.tried, "head": why})
    if found.fitted:
        seen = [float(p) for p in found.judged.probability if np.isfinite(p)]
    else:
        # nothing is fitted, so that every window may speak, labelled or not
        model = ScoreModel(LoadedCard(found.card, "", Path()))
        target = found.card.classes.index(config.decision.target)
        seen = [p.probabilities[target] for p in map(model, measured.windows) if not p.flags & UNSURE]
    return with_thresholds(measured.calibration, found.card.name, seen), found


def _network(config: Config, base: ModelCard, tangent: TangentInput | None) -> tuple[Network | None, str]:
    """Load the network that the settings name; None and the reason where there is none that fits."""
    name = config.model.card
    if name in {"none", "auto", "score"}:
        return None, ""
    try:
        loaded = load_card(default_card() if name == "simulated" else Path(name))
        card = loaded.card
        if card.kind != "network":
            return None, f"card {card.name} is of kind {card.kind}: expected a network"
        channels = () if base.eeg is None else base.eeg.channels
        regions = () if base.bold is None else base.bold.regions
        problems = fit_problems(card, channels, regions, base.preprocessing, tangent=tangent)
        if problems:
            return None, f"network {card.name} does not fit this session: {'; '.join(problems)}"
        model = load_model(loaded, config.model.provider)
        model.warm_up()
        files = {g.file: read_graph(loaded.folder / g.file, g.sha256) for g in card.files()}
    except ModelError as error:
        return None, str(error)
    return Network(card, model, files), ""
