"""``streamer train OUT``: a model and its card, from simulated or given sessions."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from models.pipeline import Made

NEEDED = ("torch", "onnx", "onnxscript")


def train(
    out: Annotated[Path, typer.Argument(help="Folder for the graph (.onnx) and its card (.toml).")],
    subjects: Annotated[
        int | None, typer.Option(min=0, help="Subjects to simulate; 10 when no dataset is given, else none.")
    ] = None,
    dataset: Annotated[
        list[Path] | None,
        typer.Option(help="A session's folder, or windows (.npz) that --work kept; may be given several times."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the subjects, the weights and the order of training.")] = 1,
    epochs: Annotated[int, typer.Option(min=1, help="At most; training stops when validation gets no better.")] = 60,
    config: Annotated[Path | None, typer.Option(help="SESSION.toml with the settings that the model is for.")] = None,
    name: Annotated[str, typer.Option(help="Name of the files.")] = "default",
    work: Annotated[Path | None, typer.Option(help="Keep the windows and the best checkpoint in this folder.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that simulate and replay.")] = min(4, os.cpu_count() or 1),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model of that name.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="What was made, as JSON.")] = False,
) -> None:
    """Simulate subjects, replay them through the loop, train the fusion network, score and export it."""
    from rich.console import Console

    from streamer.config import Config, load_config
    from streamer.errors import UsageError

    missing = [package for package in NEEDED if find_spec(package) is None]
    if missing:
        raise UsageError(f"training needs {', '.join(missing)}: pip install 'eeg-fmri-streamer[train]'")
    if (out / f"{name}.toml").exists() and not overwrite:
        raise UsageError(f"{out / name}.toml exists: --overwrite replaces it, --name chooses another name")

    from models.pipeline import Plan, make_model
    from models.training import Epoch, TrainSettings
    from streamer.commands.progress import bar

    console = Console(stderr=True, highlight=False, soft_wrap=True, quiet=as_json)
    given = tuple(dataset or ())
    plan = Plan(
        out=out,
        name=name,
        subjects=subjects if subjects is not None else (0 if given else 10),
        datasets=given,
        training=TrainSettings(seed=seed, epochs=epochs),
        work=work,
        jobs=jobs,
    )

    def each(epoch: Epoch) -> None:
        mark = " *" if epoch.best else ""
        console.print(
            f"epoch {epoch.number:3d}  training loss {epoch.train_loss:.4f}  validation loss "
            f"{epoch.validation_loss:.4f}  accuracy {epoch.validation_accuracy:.3f}{mark}",
            markup=False,
        )

    with bar("subjects", quiet=as_json) as advance:

        def tell(what: str, fraction: float) -> None:
            console.print(f"{what}: {100 * fraction:.0f} %", markup=False)
            advance(fraction)

        made = make_model(plan, load_config(config) if config is not None else Config(), tell, each)
    if as_json:
        typer.echo(json.dumps(_plain(made)))
    else:
        Console(highlight=False).print(_table(made))


def _plain(made: Made) -> dict[str, object]:
    card = made.loaded.card
    return {
        "graph": str(made.loaded.graph_path),
        "graph_sha256": card.graph.sha256,
        "card_sha256": made.loaded.sha256,
        "train": card.training.train,
        "validation": card.training.validation,
        "test": card.training.test,
        "epochs": len(made.trained.history),
        "windows": made.trained.n_windows,
        "temperature": card.temperature.model_dump(),
        "scores": {kind: score.model_dump() for kind, score in card.scores.items()},
    }


def _table(made: Made) -> object:
    from rich.console import Group
    from rich.table import Table

    card = made.loaded.card
    scores = Table("judged by", "windows", "blocks", "95 %", "chance", title="Test subjects", title_justify="left")
    for kind, score in card.scores.items():
        low, high = score.block_ci95
        scores.add_row(
            kind,
            f"{score.window_accuracy:.3f}",
            f"{score.block_accuracy:.3f} of {score.n_blocks}",
            f"{low:.3f} to {high:.3f}",
            f"{score.chance:.3f}",
        )
    return Group(f"{card.description}\nwritten to {made.loaded.graph_path} with its card beside it", scores)
