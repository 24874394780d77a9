"""The whole way to a model: windows, the network and its rivals, the rule, graphs, cards and report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from models.card_draft import Cells, draft_card, sizes_of, training_data
from models.card_scores import card_scores
from models.choice import Gain, gain_over, verdict
from models.contest import NETWORK, Contest, FoldResult, hold, run_fold
from models.dataset import WindowSet, joined
from models.doubt import fit_doubt, measured
from models.evaluation.judge import judge
from models.evaluation.learning import Curve, epoch_curves
from models.evaluation.predict import predict
from models.evaluation.report import Origin, as_html, as_json
from models.evaluation.splits import Fold, Hold, refuse_copies
from models.fitting.device import device_of
from models.fitting.loop import Epoch
from models.fitting.settings import TrainSettings
from models.model_files import Written, write_models
from models.network.settings import FusionSettings
from models.parts import Parts, part, rotations, split_names
from models.replayed import Reading
from models.subject_files import Source, Tell, load_windows, sources, window_files
from models.subjects import simulated_seeds
from models.workers import Workers, workers
from streamer.config import Config
from streamer.decode.model_card import ModelCard


@dataclass(frozen=True)
class Plan:
    """What to train, on what."""

    out: Path
    """Folder for graphs, cards and report."""
    name: str = "default"
    """Stem of the files' names."""
    subjects: int = 10
    """Subjects to simulate."""
    datasets: tuple[str, ...] = ()
    """Recordings, sessions, or windows (.npz), each perhaps with ``NAME=`` before it."""
    training: TrainSettings = field(default_factory=TrainSettings)
    head: str = "attention"
    """How the network joins the modalities."""
    cells: Cells | None = None
    """The regions are the cells of a box of this shape: the network takes them as a volume."""
    hold: Hold | None = None
    """What is held out; by default the most credible that there is enough of."""
    folds: int = 0
    """Cross-validation that the rule is judged on; 0: the test windows alone."""
    reading: Reading = field(default_factory=Reading)
    """How recordings become labelled windows."""
    work: Path | None = None
    """Keeps the windows and where the training stands."""
    jobs: int = 1
    """Processes that simulate, replay and cross-validate."""
    scheduler: str | None = None
    """Address of a Dask scheduler whose workers do that instead."""


@dataclass(frozen=True)
class Made:
    """A model that was made."""

    written: Written
    """The default and what stands beside it."""
    gain: Gain
    """Of the network over the best rival."""
    verdict: str
    parts: Parts
    contest: Contest
    report: Path
    """HTML; JSON lies beside it."""


def make_model(plan: Plan, config: Config, tell: Tell, each: Callable[[Epoch], None]) -> Made:
    """Make a model.

    Parameters
    ----------
    plan : Plan
    config : Config
        The settings that the model is for.
    tell : callable
        Takes what is being done and the fraction done.
    each : callable
        Takes every epoch of every member of the network.

    Raises
    ------
    StreamerError
        A recording cannot be read or made, there is too little to train on, or the workers are not there.
    """
    # before the long part: what would end it
    device_of(plan.training)
    wanted = sources(plan.datasets, simulated_seeds(plan.training.seed, plan.subjects))
    if all(source.path is None for source in wanted):
        split_names([source.name for source in wanted])
    with TemporaryDirectory(prefix="streamer-train-") as scratch:
        work = plan.work if plan.work is not None else Path(scratch)
        opened = partial(workers, plan.jobs, plan.scheduler)
        files = window_files(wanted, config, work, opened, tell, plan.reading)
        windows = joined(load_windows(wanted, files))
        parts = part(windows, plan.hold)
        whole = np.concatenate([parts.train, parts.validation])
        refuse_copies(windows, [Fold("the test", whole, parts.test), Fold("validation", parts.train, parts.validation)])
        sizes = sizes_of(config, windows, plan.head, plan.cells)
        folds: list[tuple[Parts, FoldResult]] = []
        if plan.folds:
            with opened() as pool:
                folds = _cross_validate(windows, plan, sizes, work, pool, tell)
        training, validation, test = (windows.rows(rows) for rows in (parts.train, parts.validation, parts.test))
        contest = hold(training, validation, sizes, plan.training, tell, each, work)
        return _finish(plan, config, windows, test, validation, parts, contest, folds, _origin(plan, wanted), tell)


def _finish(
    plan: Plan,
    config: Config,
    windows: WindowSet,
    test: WindowSet,
    validation: WindowSet,
    parts: Parts,
    contest: Contest,
    folds: list[tuple[Parts, FoldResult]],
    origin: str,
    tell: Tell,
) -> Made:
    seed = plan.training.seed
    models = [contest.network, *contest.rivals]
    predictions = []
    for k, model in enumerate(models):
        tell("judging on the test", k / len(models))
        predictions.append(predict(model, test, seed))
    of = {prediction.name: prediction.as_is for prediction in predictions}
    if folds:
        gain, chosen = _gain_of_folds(windows, folds, seed), [result.best for _, result in folds]
        judged_on = f"{len(folds)} folds by {parts.hold}, each held out of its own training"
    else:
        gain, chosen = gain_over(test, of[NETWORK], of[contest.best.name], seed), [contest.best.name]
        judged_on = f"what was held out for the test ({', '.join(parts.names[2])})"
    words = verdict(gain, chosen, judged_on)
    tell("writing graphs and cards", 0.0)
    network = contest.network
    network = replace(network, doubt=measured(network.doubt, network.predict_proba, test))
    trained = replace(contest.trained, model=network)
    facts = training_data(origin, parts, trained.n_windows, seed)
    draft = draft_card(plan.name, config, windows, trained, facts, card_scores(network, test), words)
    written = write_models(
        plan.out,
        plan.name,
        network.ensemble,
        draft,
        contest.best,
        _of_rival(draft, contest, validation, test),
        gain.earned,
    )
    told = [f"{', '.join(parts.names[0])}"] * len(models)
    judgement = replace(judge(test, predictions, trained_on=told, seed=seed), curves=_curves(contest))
    where = Origin(f"Held out by {parts.hold}. {words[:-1]}", test.subjects, written.default.sha256, seed)
    report = plan.out / f"{plan.name}.html"
    report.write_text(as_html(judgement, where), encoding="utf-8")
    report.with_suffix(".json").write_text(as_json(judgement, where), encoding="utf-8")
    return Made(written, gain, words, parts, replace(contest, trained=trained), report)


def _of_rival(draft: ModelCard, contest: Contest, validation: WindowSet, test: WindowSet) -> ModelCard:
    best = contest.best
    doubt = measured(fit_doubt(best.predict_proba, validation), best.predict_proba, test)
    description = f"{' or '.join(draft.classes)} by a simple rival of the network: {best.name}"
    scores = card_scores(best, test)
    return draft.model_copy(update={"description": description, "scores": scores, "doubt": doubt})


def _cross_validate(
    windows: WindowSet, plan: Plan, sizes: FusionSettings, work: Path, pool: Workers, tell: Tell
) -> list[tuple[Parts, FoldResult]]:
    rotated = rotations(windows, plan.folds, plan.hold)
    title = f"cross-validating in {len(rotated)} folds"
    tell(title, 0.0)
    shared = pool.share(windows)
    ready: list[int] = []

    def done(place: int, _: FoldResult) -> None:
        ready.append(place)
        tell(title, len(ready) / len(rotated))

    arguments = [
        (shared, parts, sizes, plan.training, work / f"fold-{k + 1}" if pool.local else None)
        for k, parts in enumerate(rotated)
    ]
    return list(zip(rotated, pool.map(run_fold, arguments, done), strict=True))


def _gain_of_folds(windows: WindowSet, folds: list[tuple[Parts, FoldResult]], seed: int) -> Gain:
    network, rival = (np.full((len(windows), len(windows.classes)), np.nan) for _ in range(2))
    for parts, result in folds:
        network[parts.test], rival[parts.test] = result.network, result.rival
    return gain_over(windows, network, rival, seed)


def _curves(contest: Contest) -> tuple[Curve, ...]:
    found: list[Curve] = []
    for member in range(len(contest.network.ensemble)):
        own = [epoch for epoch in contest.trained.history if epoch.member == member]
        points = [(e.number + 1, e.train_loss, e.validation_loss, e.validation_accuracy) for e in own]
        found += epoch_curves(f"{NETWORK}, member {member + 1}", points)
    return tuple(found)


def _origin(plan: Plan, wanted: tuple[Source, ...]) -> str:
    given = [source.name for source in wanted if source.path is not None]
    simulated = "sessions with planted truth from streamer simulate, one seed per subject"
    said = [simulated] * bool(plan.subjects) + [f"given data: {', '.join(given)}"] * bool(given)
    return " and ".join(said)
