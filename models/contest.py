"""The network and its rivals, fitted on the same windows; the best rival is chosen on the validation windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from models.baselines import Rival, rivals
from models.choice import best_of
from models.dataset import WindowSet
from models.doubt import fit_doubt
from models.fitting.fitted import FittedNetwork, disagreement
from models.fitting.loop import Epoch
from models.fitting.members import Trained, train
from models.fitting.settings import TrainSettings
from models.network.settings import FusionSettings
from models.parts import Parts
from streamer.errors import ModelError
from streamer.messages import F64

NETWORK = "network"
Tell = Callable[[str, float], None]


@dataclass(frozen=True)
class Contest:
    """What was fitted."""

    trained: Trained
    """The network, calibrated, with its doubt."""
    rivals: tuple[Rival, ...]
    best: Rival
    """Of the rivals, on the validation windows."""

    @property
    def network(self) -> FittedNetwork:
        """The network as a model."""
        return self.trained.model


@dataclass(frozen=True)
class FoldResult:
    """What one fold's models say of its test windows."""

    network: F64
    """Probabilities, shape (n_test, n_classes)."""
    rival: F64
    """Of the fold's best rival."""
    best: str


def hold(
    training: WindowSet,
    validation: WindowSet,
    sizes: FusionSettings,
    settings: TrainSettings,
    tell: Tell,
    each: Callable[[Epoch], None],
    work: Path | None = None,
) -> Contest:
    """Fit all on the training windows.

    Parameters
    ----------
    training, validation : WindowSet
    sizes : FusionSettings
    settings : TrainSettings
    tell : callable
        Takes what is being done and the fraction done.
    each : callable
        Takes every epoch of every member.
    work : Path, optional
        Folder that keeps where every member stands.

    Raises
    ------
    ModelError
        Windows of a class are missing, or no rival can be fitted.
    """
    entered = rivals(training)
    fitted: list[Rival] = []
    for k, rival in enumerate(entered):
        tell("fitting the rivals", k / len(entered))
        rival.fit(training)
        fitted.append(rival)
    if not fitted:
        raise ModelError("the windows allow no rival: expected EEG or BOLD in them")
    trained = train(training, validation, sizes, settings, each, work, NETWORK)
    model = trained.model
    apart = (lambda given: disagreement(model.members_proba(given))) if len(model.ensemble) > 1 else None
    doubt = fit_doubt(model.predict_proba, validation, apart)
    name = best_of(fitted, validation)
    best = next(rival for rival in fitted if rival.name == name)
    return Contest(replace(trained, model=replace(model, doubt=doubt)), tuple(fitted), best)


def run_fold(
    windows: WindowSet, parts: Parts, sizes: FusionSettings, settings: TrainSettings, work: Path | None
) -> FoldResult:
    """Fit one fold of a cross-validation and ask its models of the windows held out, wherever this runs."""
    training, validation, test = (windows.rows(rows) for rows in (parts.train, parts.validation, parts.test))
    contest = hold(training, validation, sizes, settings, lambda *_: None, lambda _: None, work)
    return FoldResult(contest.network.predict_proba(test), contest.best.predict_proba(test), contest.best.name)
