"""The whole way to a report: data, the card, rivals, judgement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from models.baselines import rivals
from models.dataset import WindowSet, joined
from models.evaluation.card_model import CardModel
from models.evaluation.judge import Judgement, judge
from models.evaluation.predict import Predicted, fit_predict, predict, predict_folds
from models.evaluation.report import Origin
from models.evaluation.resample import Unit
from models.evaluation.splits import HRF_S, MIN_GAP_S, people, split
from models.subjects import read_subject, simulate_subject, simulated_seeds
from streamer.config import Config
from streamer.decode.card import LoadedCard
from streamer.errors import ModelError, UsageError

Tell = Callable[[str, float], None]
"""Takes what is being done and the fraction done."""
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
    work: Path | None = None
    """Keeps the windows."""


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
    model = CardModel(loaded) if loaded is not None else None
    if loaded is not None and config.model_digest() != loaded.card.preprocessing:
        raise ModelError(
            f"model {loaded.card.name} was trained with other settings (digest {loaded.card.preprocessing[:12]}, these "
            f"have {config.model_digest()[:12]}): --config gives others"
        )
    windows = gather(request.datasets, request.simulated, request.seed, config, request.work, tell)
    training = gather(request.training, 0, request.seed, config, request.work, tell) if request.training else None
    made: list[Predicted] = []
    told: list[str] = []
    if model is not None:
        model.check(windows)
        tell("asking the model", 0.0)
        made.append(predict(model, windows, request.seed))
        told.append(f"{len(model.card.training.train)} other subjects, as its card says")
    if training is not None:
        joined([training, windows])
        shared = sorted(set(people(training).tolist()) & set(people(windows).tolist()))
        if shared:
            raise ModelError(f"subjects {', '.join(shared)} are fitted on and judged on")
        tell("fitting the rivals", 0.0)
        of_rivals = fit_predict(rivals(), training, windows)
        parts = people(windows)
        same = model is None or set(training.subjects) == set(model.card.training.train)
        words = f"Rivals: fitted on {', '.join(training.subjects)}"
        told += [f"{len(training.subjects)} other subjects"] * len(of_rivals)
    else:
        folds = split(windows, request.hold, _gap(request, config))
        same = model is None
        of_rivals = predict_folds(rivals, windows, folds, lambda part: tell("fitting the rivals", part))
        parts = np.full(len(windows), "", dtype=object)
        for fold in folds:
            parts[fold.test] = fold.name
        parts, words = parts.astype(np.str_), _WORDS[request.hold]
        told += [f"{len(folds)} folds by {request.hold}"] * len(of_rivals)
    tell("judging", 0.5)
    judgement = judge(windows, [*made, *of_rivals], parts, told, request.unit, request.seed, same_training=same)
    sha256 = loaded.sha256 if loaded is not None else ""
    return judgement, Origin(words, windows.subjects, sha256, request.seed)


def gather(
    datasets: Sequence[str], simulated: int, seed: int, config: Config, work: Path | None, tell: Tell
) -> WindowSet:
    """Read windows, replay sessions and simulate subjects.

    Raises
    ------
    UsageError
        There is nothing, or a name stands twice.
    """
    named = [_named(each) for each in datasets]
    seeds = simulated_seeds(seed, simulated)
    names = [name for name, _ in named if name] + [f"simulated-{each}" for each in seeds]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise UsageError(f"a dataset named {', '.join(doubled)} stands twice: NAME=PATH gives it another name")
    if not named and not seeds:
        raise UsageError("nothing to judge on: expected a dataset, or --subjects to simulate")
    if work is not None:
        work.mkdir(parents=True, exist_ok=True)
    parts: list[WindowSet] = []
    total = len(named) + len(seeds)
    for name, path in named:
        tell(f"reading {path.name}", len(parts) / total)
        if path.suffix == ".npz":
            parts.append(_renamed(WindowSet.load(path), name))
        else:
            parts.append(_kept(read_subject(path, config, name or path.absolute().name), work))
    for each in seeds:
        tell(f"simulating and replaying simulated-{each}", len(parts) / total)
        with TemporaryDirectory(prefix="streamer-evaluate-") as scratch:
            folder = Path(scratch) / "session"
            name = simulate_subject(folder, each)
            parts.append(_kept(read_subject(folder, config, name), work))
    whole = joined(parts)
    if len(whole.subjects) != sum(len(part.subjects) for part in parts):
        raise UsageError("two datasets hold the same subject: NAME=PATH gives one of them another name")
    return whole


def _named(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    return (name, Path(path)) if equals else ("", Path(text))


def _renamed(windows: WindowSet, name: str) -> WindowSet:
    if not name:
        return windows
    if len(windows.subjects) != 1:
        raise UsageError(f"{name}: the windows are of {len(windows.subjects)} subjects, expected one to give a name to")
    blocks = tuple(replace(block, subject=name) for block in windows.blocks)
    return replace(windows, subject=np.array([name] * len(windows)), blocks=blocks)


def _kept(windows: WindowSet, work: Path | None) -> WindowSet:
    if work is not None:
        windows.save(work / f"{windows.subjects[0].replace('/', '_')}.npz")
    return windows


def _gap(request: Request, config: Config) -> float:
    if request.gap_s is not None:
        return request.gap_s
    cut = config.windows
    return max(MIN_GAP_S, HRF_S + max(cut.eeg_steps * cut.eeg_step_s, cut.bold_steps * cut.bold_grid_s))
