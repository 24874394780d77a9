"""``streamer train OUT``: the network and its rivals, from recordings; the better one is the default."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from models.card_draft import Cells
    from models.fitting.loop import Epoch
    from models.pipeline import Made, Plan
    from streamer.config import Config

NEEDED = ("torch", "onnx", "onnxscript", "sklearn", "skl2onnx")
DATASET_HELP = (
    "A recording, a session's folder, or windows (.npz) that --work kept; perhaps as NAME=PATH, or "
    "SUBJECT/SESSION=PATH for one of several; repeatable."
)


def train(
    out: Annotated[Path, typer.Argument(help="Folder for the graphs (.onnx), cards (.toml) and the report.")],
    subjects: Annotated[
        int | None, typer.Option(min=0, help="Subjects to simulate; 10 when no dataset is given, else none.")
    ] = None,
    dataset: Annotated[list[str] | None, typer.Option(help=DATASET_HELP)] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="A trial type or marker to tell apart; repeatable; by default all there are."),
    ] = None,
    events: Annotated[
        Path | None, typer.Option(help="Table of the labels (onset, duration, trial_type); by default the recording's.")
    ] = None,
    windows: Annotated[
        Literal["ticks", "volumes"], typer.Option(help="A window per decision, or one per volume of BOLD.")
    ] = "ticks",
    baseline: Annotated[
        Literal["start", "within"],
        typer.Option(help="Of recordings without a calibration run: their first part, or all their rest."),
    ] = "start",
    seed: Annotated[int, typer.Option(min=0, help="Of the subjects, the weights and the order of training.")] = 1,
    members: Annotated[
        int, typer.Option(min=1, max=16, help="Networks trained from different seeds and asked together.")
    ] = 3,
    epochs: Annotated[int, typer.Option(min=1, help="At most; training stops when validation gets no better.")] = 60,
    head: Annotated[
        Literal["attention", "concatenation", "pyramid"], typer.Option(help="How the network joins EEG and BOLD.")
    ] = "attention",
    bold: Annotated[
        Literal["regions", "volume"], typer.Option(help="volume: the regions are the --cells of a box.")
    ] = "regions",
    cells: Annotated[str | None, typer.Option(help="Shape of that box, such as 8x8x6, x slowest.")] = None,
    hold: Annotated[
        Literal["subject", "session", "run", "blocked"] | None,
        typer.Option(help="What is held out; by default the first of these that there are three of."),
    ] = None,
    folds: Annotated[
        int, typer.Option(min=0, help="Judge the network against its rivals by cross-validation; 0: on the test alone.")
    ] = 0,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="auto: a GPU where there is one.")] = "auto",
    config: Annotated[Path | None, typer.Option(help="SESSION.toml with the settings that the model is for.")] = None,
    name: Annotated[str, typer.Option(help="Name of the files.")] = "default",
    work: Annotated[
        Path | None,
        typer.Option(
            help="Keep windows and progress in this folder: the same command goes on where it was broken off."
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that simulate, replay and cross-validate.")] = min(
        4, os.cpu_count() or 1
    ),
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="A Dask scheduler whose workers do that instead.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model of that name.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="What was made, as JSON.")] = False,
) -> None:
    """Replay recordings through the loop, train the fusion network and simple rivals, and keep the better one."""
    from rich.console import Console

    from streamer.config import Config, load_config
    from streamer.errors import UsageError

    missing = [package for package in NEEDED if find_spec(package) is None]
    if missing:
        raise UsageError(f"training needs {', '.join(missing)}: pip install 'eeg-fmri-streamer[train]'")
    for ending in ("toml", "html", "json"):
        if (out / f"{name}.{ending}").exists() and not overwrite:
            raise UsageError(f"{out / name}.{ending} exists: --overwrite replaces it, --name chooses another name")
    box = _cells(bold, cells)

    from models.fitting.settings import TrainSettings
    from models.labels import Labels
    from models.pipeline import Plan
    from models.replayed import Reading

    given = tuple(dataset or ())
    plan = Plan(
        out=out,
        name=name,
        subjects=subjects if subjects is not None else (0 if given else 10),
        datasets=given,
        training=TrainSettings(seed=seed, members=members, epochs=epochs, device=device),
        head=head,
        cells=box,
        hold=hold,
        folds=folds,
        reading=Reading(Labels(tuple(label or ()), events), baseline, windows=windows),
        work=work,
        jobs=jobs,
        scheduler=scheduler,
    )
    made = _made(plan, load_config(config) if config is not None else Config(), quiet=as_json)
    if as_json:
        typer.echo(json.dumps(_plain(made)))
    else:
        Console(highlight=False).print(_table(made))


def _made(plan: Plan, config: Config, *, quiet: bool) -> Made:
    from models.commands.phases import Phases
    from models.pipeline import make_model

    total = plan.training.members * plan.training.epochs
    with Phases(quiet=quiet) as phases:

        def each(epoch: Epoch) -> None:
            # a member that stops early leaves the rest of its share to the next
            done = epoch.member * plan.training.epochs + epoch.number + 1
            phases.tell("training the network", done / total)

        return make_model(plan, config, phases.tell, each)


def _cells(bold: str, cells: str | None) -> Cells | None:
    from streamer.errors import UsageError

    if (bold == "volume") != (cells is not None):
        raise UsageError("--bold volume and --cells go together: expected both or neither")
    if cells is None:
        return None
    sides = [int(side) for side in cells.split("x") if side.isdecimal() and int(side)]
    if len(sides) != 3 or cells.count("x") != 2:
        raise UsageError(f"--cells {cells}: expected three whole numbers, such as 8x8x6")
    return sides[0], sides[1], sides[2]


def _plain(made: Made) -> dict[str, object]:
    from models.model_files import path_of

    default, card = made.written.default, made.written.default.card
    return {
        "card": str(path_of(default)),
        "card_sha256": default.sha256,
        "kind": card.kind,
        "beside": str(path_of(made.written.other)),
        "report": str(made.report),
        "verdict": made.verdict,
        "hold": made.parts.hold,
        "train": card.training.train,
        "validation": card.training.validation,
        "test": card.training.test,
        "members": len(made.contest.network.ensemble),
        "epochs": len(made.contest.trained.history),
        "device": made.contest.trained.device,
        "windows": made.contest.trained.n_windows,
        "rival": made.contest.best.name,
        "temperature": made.contest.network.temperature.model_dump(),
        "scores": {
            each.card.name: {kind: score.model_dump() for kind, score in each.card.scores.items()}
            for each in (default, made.written.other)
        },
    }


def _table(made: Made) -> object:
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    from models.model_files import path_of

    title = f"Test {made.parts.hold}s: {', '.join(made.parts.names[2])}"
    scores = Table("model", "judged by", "windows", "blocks", "95 %", "chance", "covered", title=title)
    for each in (made.written.default, made.written.other):
        for kind, score in each.card.scores.items():
            low, high = score.block_ci95
            covered = each.card.doubt.coverage.get(kind)
            scores.add_row(
                escape(each.card.name),
                kind,
                f"{score.window_accuracy:.3f}",
                f"{score.block_accuracy:.3f} of {score.n_blocks}",
                f"{low:.3f} to {high:.3f}",
                f"{score.chance:.3f}",
                f"{covered:.3f} of {1 - each.card.doubt.alpha:.2f}" if covered is not None else "-",
            )
    lines = (made.verdict, *(f"written: {path_of(each)}" for each in (made.written.default, made.written.other)))
    return Group(scores, *map(escape, lines), escape(f"report: {made.report}"))
