"""``streamer explain CARD DATASET...``: what a model's decisions rest on, shown where the map was validated."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from models.explain.run import Explanation

NEEDED = ("torch", "captum", "sklearn")
DATASET_HELP = "A recording, a session's folder or windows (.npz), perhaps as NAME=PATH."
METHOD_HELP = (
    "By default smoothgrad for networks and exact for linear models and scores; perturbation suits all; integrated: "
    "integrated gradients. gradcam and lrp failed validation in neuroimaging."
)


def explain(
    card: Annotated[str, typer.Argument(help="A model card; `simulated` is the one that ships.")],
    dataset: Annotated[list[str] | None, typer.Argument(help=DATASET_HELP)] = None,
    out: Annotated[Path, typer.Option(help="Folder for the report and its pictures.")] = Path("explanation"),
    method: Annotated[
        Literal["smoothgrad", "integrated", "perturbation", "exact", "gradcam", "lrp"] | None,
        typer.Option(help=METHOD_HELP),
    ] = None,
    target: Annotated[str | None, typer.Option(help="Class to explain; the last by default.")] = None,
    subjects: Annotated[int, typer.Option(min=0, help="Subjects to simulate besides: their truth is known.")] = 0,
    windows: Annotated[int, typer.Option(min=32, help="At most so many, evenly over classes and time.")] = 240,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulated subjects and of all that is drawn.")] = 2,
    config: Annotated[
        Path | None, typer.Option(help="SESSION.toml with the settings that sessions replay with.")
    ] = None,
    show_anyway: Annotated[bool, typer.Option("--show-anyway", help="Show maps that were not validated, too.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a report.")] = False,
    into_card: Annotated[
        bool,
        typer.Option("--write", help="Store in the card whether the live map holds; take it back where it does not."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The whole report, as JSON.")] = False,
) -> None:
    """Explain a model's decisions; a map is only shown when it finds what was planted.

    Ends with 1 when none does, and with --write when the live map does not hold.
    """
    from rich.console import Console

    from streamer.errors import UsageError

    missing = [package for package in NEEDED if find_spec(package) is None]
    if missing:
        raise UsageError(f"explaining needs {', '.join(missing)}: pip install 'eeg-fmri-streamer[train]'")
    if (out / "report.json").exists() and not overwrite:
        raise UsageError(f"{out} holds a report: --overwrite replaces it, --out chooses another folder")

    from models.explain.disputed import WARNING
    from models.explain.occlusion import LIVE_WAY
    from models.explain.report import write
    from models.explain.run import DISPUTED, Request, explain_card
    from models.explain.stamp import stamp
    from streamer.commands.progress import bar
    from streamer.compose import default_card
    from streamer.config import Config, load_config

    console = Console(stderr=True, highlight=False, soft_wrap=True, quiet=as_json)
    if method in DISPUTED:
        console.print(f"{method}: {WARNING}", markup=False)
    request = Request(
        default_card() if card == "simulated" else Path(card),
        tuple(dataset or ()),
        subjects,
        method,
        target,
        windows,
        seed,
    )
    with bar("explaining", quiet=as_json) as advance:

        def tell(what: str, fraction: float) -> None:
            console.print(f"{what}: {100 * fraction:.0f} %", markup=False)
            advance(fraction)

        explanation = explain_card(request, load_config(config) if config is not None else Config(), tell)
    text = write(explanation, out, show_anyway=show_anyway)
    if into_card:
        stamp(request.card, LIVE_WAY, explanation.live.sentence)
    if as_json:
        typer.echo(text, nl=False)
    else:
        Console(highlight=False).print(_told(explanation, out), markup=False, soft_wrap=True)
    unfounded = into_card and bool(explanation.live.problems)
    if unfounded or (not explanation.validated and not show_anyway):
        raise typer.Exit(1)


def _told(explanation: Explanation, out: Path) -> str:
    from models.explain.pictures import badge

    lines = [f"{explanation.method} on {explanation.n_windows} windows, class {explanation.target}"]
    lines += [f"{name} {value:.4g}" for name, value in explanation.facts.items()]
    for kind in explanation.maps:
        problems = explanation.problems(kind)
        lines.append(f"{kind}: {badge(explanation, kind) if not problems else 'not validated'}")
        lines += [f"  {problem}" for problem in problems]
    live = explanation.live
    lines.append(f"live map (occlusion): {live.sentence or 'not validated'}")
    lines += [f"  {problem}" for problem in live.problems]
    against = ((each.truth, ", ".join(each.against)) for each in live.rounds if each.against)
    lines += [f"  {truth}: planted, with a drop below 0: {names}" for truth, names in against]
    if explanation.attention:
        weights = ", ".join(f"{name} {weight:.2f}" for name, weight in explanation.attention.items())
        lines.append(f"attention (weights, not an explanation): {weights}")
    return "\n".join([*lines, f"written to {out / 'report.html'}"])
