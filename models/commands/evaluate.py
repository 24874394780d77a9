"""``streamer evaluate DATASET...``: a model and its rivals judged on subjects that they have not seen."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from models.evaluation.judge import Judgement

DATASET_HELP = (
    "A recording, a session's folder, or windows (.npz) that --work kept; perhaps as NAME=PATH, or "
    "SUBJECT/SESSION=PATH for one of several."
)


def evaluate(
    dataset: Annotated[list[str] | None, typer.Argument(help=DATASET_HELP)] = None,
    out: Annotated[Path, typer.Option(help="Folder for report.html and report.json.")] = Path("evaluation"),
    card: Annotated[
        str,
        typer.Option(
            help="A model card; `simulated` is the one that ships, `score` the model-free score of the settings, "
            "`none` for rivals only."
        ),
    ] = "simulated",
    train: Annotated[
        list[str] | None,
        typer.Option(help="Fit the rivals on this dataset; repeatable. Without it they are cross-validated."),
    ] = None,
    subjects: Annotated[int, typer.Option(min=0, help="Subjects to simulate besides.")] = 0,
    label: Annotated[
        list[str] | None,
        typer.Option(help="A trial type or marker to tell apart; repeatable; by default all there are."),
    ] = None,
    events: Annotated[
        Path | None, typer.Option(help="Table of the labels (onset, duration, trial_type); by default the recording's.")
    ] = None,
    windows: Annotated[
        Literal["ticks", "volumes", "events"],
        typer.Option(help="A window per decision, one per volume of BOLD, or the EEG around each marker (--label)."),
    ] = "ticks",
    baseline: Annotated[
        Literal["start", "within"],
        typer.Option(help="Of recordings without a calibration run: their first part, or all their rest."),
    ] = "start",
    split: Annotated[
        str,
        typer.Option(help="What cross-validation holds out: subject, session, run, or blocked within a run."),
    ] = "subject",
    gap: Annotated[
        float | None, typer.Option(help="blocked: from training to test windows, s; by default response and window.")
    ] = None,
    unit: Annotated[
        Literal["block", "run", "subject"] | None,
        typer.Option(help="What the intervals draw anew; by default subjects if there are 6, else blocks."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulated subjects and of all that is drawn.")] = 2,
    config: Annotated[
        Path | None, typer.Option(help="SESSION.toml with the settings that sessions replay with.")
    ] = None,
    work: Annotated[Path | None, typer.Option(help="Keep the windows in this folder.")] = None,
    within_run: Annotated[
        bool,
        typer.Option("--within-run", help="Standardise features within each run, as no loop can; for --card none."),
    ] = False,
    learning_curve: Annotated[
        bool, typer.Option("--learning-curve", help="Fit the rivals to parts of their training data, too.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that simulate and replay.")] = min(4, os.cpu_count() or 1),
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="A Dask scheduler whose workers do that instead.")
    ] = None,
    gate: Annotated[bool, typer.Option("--gate", help="End with 1 when the first model fails a gate.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a report.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The whole report, as JSON.")] = False,
) -> None:
    """Judge a model beside simple rivals: scores with intervals, chance, gates, what each modality contributes."""
    from rich.console import Console

    from streamer.errors import UsageError

    if find_spec("sklearn") is None:
        raise UsageError("evaluation needs scikit-learn: pip install 'eeg-fmri-streamer[train]'")
    html, facts = out / "report.html", out / "report.json"
    if (html.exists() or facts.exists()) and not overwrite:
        raise UsageError(f"{out} holds a report: --overwrite replaces it, --out chooses another folder")

    from models.commands.phases import Phases
    from models.evaluation.report import as_html
    from models.evaluation.report import as_json as written
    from models.evaluation.run import Request, evaluate_models
    from models.labels import Labels
    from models.replayed import Reading
    from streamer.compose import default_card
    from streamer.config import Config, load_config
    from streamer.decode.card_file import load_card

    request = Request(
        datasets=tuple(dataset or ()),
        training=tuple(train or ()),
        simulated=subjects,
        hold=split,
        gap_s=gap,
        unit=unit,
        seed=seed,
        score=card == "score",
        within_run=within_run,
        learning_curve=learning_curve,
        work=work,
        jobs=jobs,
        scheduler=scheduler,
        reading=Reading(Labels(tuple(label or ()), events), baseline, windows=windows),
    )
    loaded = None if card in {"none", "score"} else load_card(default_card() if card == "simulated" else Path(card))
    settings = load_config(config) if config is not None else Config()
    with Phases(quiet=as_json) as phases:
        judgement, origin = evaluate_models(request, loaded, settings, phases.tell)
    out.mkdir(parents=True, exist_ok=True)
    report = written(judgement, origin)
    facts.write_text(report, encoding="utf-8")
    html.write_text(as_html(judgement, origin), encoding="utf-8")
    if as_json:
        typer.echo(report, nl=False)
    else:
        Console(highlight=False).print(_table(judgement, html))
    if gate and not judgement.models[0].passed:
        raise typer.Exit(1)


def _table(judgement: Judgement, html: Path) -> object:
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    title = f"{judgement.n_windows} windows, {judgement.n_blocks} blocks, {len(judgement.people)} subject(s)"
    f1 = "F1" if judgement.averaging == "target" else "F1 (macro)"
    table = Table("model", "accuracy", "95 %", f1, "ROC-AUC", "ECE", "blocks", "gates", title=title)
    for model in judgement.models:
        accuracy = model.windows["accuracy"]
        table.add_row(
            escape(model.name),
            f"{accuracy.value:.3f}",
            f"{accuracy.low:.3f}–{accuracy.high:.3f}",
            *(f"{model.windows[name].value:.3f}" for name in ("f1", "roc_auc", "ece")),
            f"{model.block_accuracy.value:.3f}",
            "PASS" if model.passed else "FAIL",
        )
    sentences = [f"{m.name}: {m.contribution.sentence}" for m in judgement.models if m.contribution is not None]
    lines = [f"chance {judgement.chance:.3f}; intervals drawn over {judgement.unit}s", *sentences]
    return Group(table, *map(escape, lines), escape(judgement.verdict), f"written to {escape(str(html))}")
