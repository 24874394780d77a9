"""The whole way to a report: data, the card, rivals, judgement."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from models.baselines import rivals
from models.dataset import WindowSet, joined
from models.evaluation.blocks import blocks_of
from models.evaluation.card_model import CardModel
from models.evaluation.judge import Judgement, judge, rows_of
from models.evaluation.learning import Curve, learning_curves
from models.evaluation.predict import Predicted, fit_predict, predict, predict_folds
from models.evaluation.report import Origin
from models.evaluation.resample import Unit
from models.evaluation.splits import HRF_S, MIN_GAP_S, Fold, people, refuse_copies, split
from models.evaluation.within_run import within_run
from models.replayed import Reading
from models.subject_files import Tell, load_windows, sources, window_files
from models.subjects import simulated_seeds
from models.workers import workers
from streamer.config import Config
from streamer.decode.card_file import LoadedCard, dump_card
from streamer.errors import ModelError, UsageError
from streamer.session_score import session_score

_WORDS = {
    "subject": "Rivals: each subject in turn held out",
    "session": "Rivals: each session in turn held out",
    "run": "Rivals: each run in turn held out",
    "blocked": "Rivals: stretches of a run held out in turn, behind a gap",
}


@dataclass(frozen=True)
class Request:
    """What to evaluate, on what."""

    datasets: tuple[str, ...] = ()
    """Sessions or windows (.npz), each with a name before ``=`` where the file's own does not do."""
    training: tuple[str, ...] = ()
    """The same, to fit the rivals on; without any they are cross-validated on ``datasets``."""
    simulated: int = 0
    """Subjects to simulate besides."""
    hold: str = "subject"
    """What the cross-validation holds out."""
    gap_s: float | None = None
    """For blocked, s; by default what the haemodynamic response and the longest window reach over."""
    unit: Unit | None = None
    """What the intervals draw anew."""
    seed: int = 2
    score: bool = False
    """Judge the model-free score of the settings, instead of a card."""
    within_run: bool = False
    """Standardise the features within each run."""
    learning_curve: bool = False
    """Fit the rivals to parts of their training windows, too."""
    work: Path | None = None
    """Keeps the windows."""
    jobs: int = 1
    """Processes that simulate and replay."""
    scheduler: str | None = None
    """Address of a Dask scheduler whose workers do that instead."""
    reading: Reading = field(default_factory=Reading)
    """How recordings become labelled windows."""


def evaluate_models(
    request: Request, loaded: LoadedCard | None, config: Config, tell: Tell
) -> tuple[Judgement, Origin]:
    """Judge a card and the rivals.

    Parameters
    ----------
    request : Request
    loaded : LoadedCard, optional
        Without one only rivals are judged, and the first is compared with the others.
    config : Config
        Settings that the sessions are replayed with.
    tell : callable

    Raises
    ------
    StreamerError
        Data cannot be read, does not fit the card or was trained on, or there is too little of it.
    """
    if request.training and set(request.training) & set(request.datasets):
        raise UsageError("a dataset is given to fit on and to judge on: expected different ones")
    if request.within_run and (loaded is not None or request.score):
        raise UsageError("a card takes windows as the loop has them: --within-run is for rivals only, with --card none")
    model = CardModel(loaded) if loaded is not None else None
    if loaded is not None and config.model_digest() != loaded.card.preprocessing:
        raise ModelError(
            f"model {loaded.card.name} was trained with other settings (digest {loaded.card.preprocessing[:12]}, these "
            f"have {config.model_digest()[:12]}): --config gives others"
        )
    prepared = within_run if request.within_run else _as_they_are
    windows = prepared(gather(request, request.datasets, request.simulated, config, tell))
    if request.score:
        loaded = score_of(config, windows)
        model = CardModel(loaded)
    made: list[Predicted] = []
    told: list[str] = []
    if model is not None:
        model.check(windows)
        made.append(predict(model, windows, request.seed, partial(tell, "asking the model")))
        n_seen = len(model.card.training.train)
        told.append(f"{n_seen} other subjects, as its card says" if n_seen else "no training, as its card says")
    if request.training:
        training = prepared(gather(request, request.training, 0, config, tell))
        shared = sorted(set(people(training).tolist()) & set(people(windows).tolist()))
        if shared:
            raise ModelError(f"subjects {', '.join(shared)} are fitted on and judged on")
        whole = joined([training, windows])
        n = len(training)
        folds: tuple[Fold, ...] = (Fold("the data", np.arange(n), np.arange(n, len(whole))),)
        refuse_copies(whole, folds)
        tell("fitting the rivals", 0.0)
        of_rivals = fit_predict(rivals(windows), training, windows)
        parts = people(windows)
        same = model is None or set(training.subjects) == set(model.card.training.train)
        words = f"Rivals: fitted on {', '.join(training.subjects)}"
        told += [f"{len(training.subjects)} other subjects"] * len(of_rivals)
    else:
        whole = windows
        folds = split(windows, request.hold, _gap(request, config))
        refuse_copies(windows, folds)
        same = model is None
        of_rivals = predict_folds(lambda: rivals(windows), windows, folds, partial(tell, "fitting the rivals"))
        parts = _names(folds, len(windows))
        words = _WORDS[request.hold]
        told += [f"{len(folds)} folds by {request.hold}"] * len(of_rivals)
    tell("judging", 0.5)
    judgement = judge(windows, [*made, *of_rivals], parts, told, request.unit, request.seed, same_training=same)
    if request.learning_curve:
        judgement = replace(judgement, curves=_curves(whole, folds, judgement.unit, request.seed, tell))
    sha256 = loaded.sha256 if loaded is not None else ""
    return judgement, Origin(words, windows.subjects, sha256, request.seed, request.within_run)


def score_of(config: Config, windows: WindowSet) -> LoadedCard:
    """Make the card of the model-free score, as a session with these channels and regions would have it."""
    card = session_score(config, windows.inputs.channels, windows.inputs.regions, windows.inputs.sfreq)
    return LoadedCard(card, hashlib.sha256(dump_card(card).encode()).hexdigest(), Path())


def _as_they_are(windows: WindowSet) -> WindowSet:
    return windows


def _names(folds: Sequence[Fold], n: int) -> NDArray[np.str_]:
    found = np.full(n, "", dtype=object)
    for fold in folds:
        found[fold.test] = fold.name
    return found.astype(np.str_)


def _curves(whole: WindowSet, folds: Sequence[Fold], unit: Unit, seed: int, tell: Tell) -> tuple[Curve, ...]:
    block = blocks_of(whole)
    return learning_curves(
        lambda: rivals(whole),
        whole,
        folds,
        lambda index: rows_of(whole, index, block, unit),
        seed,
        partial(tell, "fitting the rivals to less"),
    )


def gather(request: Request, datasets: Sequence[str], simulated: int, config: Config, tell: Tell) -> WindowSet:
    """Read windows, replay sessions and simulate subjects.

    Raises
    ------
    StreamerError
        There is nothing, a name stands twice, or something cannot be read.
    """
    wanted = sources(datasets, simulated_seeds(request.seed, simulated))
    if not wanted:
        raise UsageError("nothing to judge on: expected a dataset, or --subjects to simulate")
    with TemporaryDirectory(prefix="streamer-evaluate-") as scratch:
        work, pool = request.work or Path(scratch), partial(workers, request.jobs, request.scheduler)
        files = window_files(wanted, config, work, pool, tell, request.reading)
        return joined(load_windows(wanted, files))


def _gap(request: Request, config: Config) -> float:
    if request.gap_s is not None:
        return request.gap_s
    cut = config.windows
    return max(MIN_GAP_S, HRF_S + max(cut.eeg_steps * cut.eeg_step_s, cut.bold_steps * cut.bold_grid_s))
