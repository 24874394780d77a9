"""The whole way to a model: subjects, windows, training, scores, graph and card."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from models.dataset import WindowSet, joined
from models.evaluate import evaluate
from models.export import write_model
from models.fusion import FusionSettings
from models.subjects import read_subject, simulate_subject, simulated_seeds
from models.training import Epoch, Trained, TrainSettings, train
from streamer.config import Config
from streamer.decode.card import (
    AgeLimits,
    BoldInput,
    CardScore,
    EegInput,
    GraphFile,
    LoadedCard,
    ModelCard,
    TrainingData,
)
from streamer.errors import ModelError, UsageError

HELD_OUT = 0.2
"""Share of the subjects for validation, and again for the test; at least one each."""


@dataclass(frozen=True)
class Plan:
    """What to train, on what."""

    out: Path
    """Folder for graph and card."""
    name: str = "default"
    """Stem of both files' names."""
    subjects: int = 10
    """Subjects to simulate."""
    datasets: tuple[Path, ...] = ()
    """Sessions, or windows (.npz) that an earlier run kept."""
    training: TrainSettings = field(default_factory=TrainSettings)
    work: Path | None = None
    """Keeps the windows and the best checkpoint."""
    jobs: int = 1
    """Processes that simulate and replay."""


@dataclass(frozen=True)
class Split:
    """Who is in which part."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True)
class Made:
    """A model that was made."""

    loaded: LoadedCard
    split: Split
    trained: Trained


Tell = Callable[[str, float], None]
"""Takes what is being done and the fraction done."""


def split_subjects(names: Sequence[str]) -> Split:
    """Hold whole subjects out: the last for the test, those before for validation.

    Raises
    ------
    UsageError
        There are fewer than three.
    """
    if len(names) < 3:
        raise UsageError(f"{len(names)} subject(s) to train on: expected at least 3 (training, validation, test)")
    if len(set(names)) != len(names):
        raise UsageError(f"a subject stands twice among {', '.join(names)}")
    held = max(1, round(HELD_OUT * len(names)))
    if len(names) - 2 * held < 1:
        held = 1
    return Split(tuple(names[: -2 * held]), tuple(names[-2 * held : -held]), tuple(names[-held:]))


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
        Takes every epoch of the training.

    Raises
    ------
    StreamerError
        A session cannot be read or made, or there is too little to train on.
    """
    with TemporaryDirectory(prefix="streamer-train-") as scratch:
        work = plan.work if plan.work is not None else Path(scratch) / "windows"
        work.mkdir(parents=True, exist_ok=True)
        files = _windows(plan, config, work, Path(scratch), tell)
        split = split_subjects(list(files))
        training = _load(files, split.train)
        trained = train(
            training, _load(files, split.validation), sizes(training), plan.training, each, work / "best.pt"
        )
        tell("scoring on the test subjects", 0.0)
        scores: dict[str, CardScore] = {}
        for kind, evaluation in evaluate(trained.network, _load(files, split.test), trained.temperature).items():
            score = evaluation.card_score()
            if score is not None:
                scores[kind] = score
        tell("exporting", 0.5)
        draft = draft_card(config, training, trained, split, plan, scores)
        return Made(write_model(trained.network, draft, plan.out, plan.name), split, trained)


def sizes(windows: WindowSet) -> FusionSettings:
    """Size a network for a set of windows."""
    n_channels = len(windows.inputs.channels)
    return FusionSettings(
        n_channels=n_channels,
        n_bands=windows.eeg.shape[2] // n_channels,
        eeg_steps=windows.eeg.shape[1],
        n_regions=windows.bold.shape[2],
        bold_steps=windows.bold.shape[1],
        n_classes=len(windows.classes),
    )


def draft_card(
    config: Config, training: WindowSet, trained: Trained, split: Split, plan: Plan, scores: dict[str, CardScore]
) -> ModelCard:
    """Write down all that the card holds but the graph's digest."""
    windows = config.windows
    parameters = sum(p.numel() for p in trained.network.parameters())
    return ModelCard(
        name=f"fusion-{plan.name}",
        description=(
            f"{' or '.join(training.classes)} from EEG and BOLD: LSTM over band power, lag-wise network over regions, "
            f"attention over the modalities; {parameters} parameters"
        ),
        licence="BSD-3-Clause",
        classes=training.classes,
        preprocessing=config.model_digest(),
        pairing=windows.pairing,
        # the digest is put in when the graph is written
        graph=GraphFile(file=f"{plan.name}.onnx", sha256="0" * 64),
        eeg=EegInput(
            channels=training.inputs.channels,
            bands=dict(config.features.bands),
            step_s=windows.eeg_step_s,
            n_steps=windows.eeg_steps,
            sfreq_hz=training.inputs.sfreq,
        ),
        bold=BoldInput(regions=training.inputs.regions, grid_s=windows.bold_grid_s, n_steps=windows.bold_steps),
        limits=AgeLimits(age_eeg_max_s=windows.age_eeg_max_s, age_bold_max_s=windows.age_bold_max_s),
        temperature=trained.temperature,
        training=TrainingData(
            data=_origin(plan),
            train=split.train,
            validation=split.validation,
            test=split.test,
            n_windows=trained.n_windows,
            seed=plan.training.seed,
        ),
        scores=scores,
    )


def _origin(plan: Plan) -> str:
    simulated = "sessions with planted truth from streamer simulate, one seed per subject"
    given = f"{len(plan.datasets)} given session(s)"
    parts = [simulated] * bool(plan.subjects) + [given] * bool(plan.datasets)
    return " and ".join(parts)


def _windows(plan: Plan, config: Config, work: Path, scratch: Path, tell: Tell) -> dict[str, Path]:
    kept = {path.stem: path for path in plan.datasets if path.suffix == ".npz"}
    sessions = [path for path in plan.datasets if path.suffix != ".npz"]
    seeds = simulated_seeds(plan.training.seed, plan.subjects)
    tasks = [(f"simulated-{seed}", None, seed) for seed in seeds]
    tasks += [(path.absolute().name, path, 0) for path in sessions]
    # before the long part: too few or doubled subjects
    split_subjects([*(name for name, _, _ in tasks), *kept])
    made: dict[str, Path] = {}
    title = f"simulating and replaying {len(tasks)} subject(s)"
    # spawned, as all processes of ours: torch and BLAS threads do not survive a fork
    pool = ProcessPoolExecutor(max(1, plan.jobs), mp_context=multiprocessing.get_context("spawn"))
    try:
        if tasks:
            tell(title, 0.0)
        pending = {
            pool.submit(_one_subject, name, session, seed, config, scratch / name, work / f"{name}.npz"): name
            for name, session, seed in tasks
        }
        for finished in as_completed(pending):
            made[pending[finished]] = finished.result()
            tell(title, len(made) / len(tasks))
    except BrokenProcessPool as error:
        message = "a process that simulates or replays was killed: memory may be short, --jobs 1 needs less"
        raise ModelError(message) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    # in the order of the tasks, whoever was done first: the split depends on it
    return {name: made[name] for name, _, _ in tasks} | kept


def _one_subject(name: str, session: Path | None, seed: int, config: Config, scratch: Path, out: Path) -> Path:
    try:
        if session is None:
            simulate_subject(scratch, seed)
        read_subject(session if session is not None else scratch, config, name).save(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return out


def _load(files: dict[str, Path], names: Sequence[str]) -> WindowSet:
    parts = [WindowSet.load(files[name]) for name in names]
    for name, part in zip(names, parts, strict=True):
        if part.subjects != (name,):
            raise ModelError(f"{files[name]} holds the subjects {', '.join(part.subjects)}: expected {name} alone")
    return joined(parts)
