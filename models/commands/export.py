"""``streamer export CHECKPOINT OUT``: trained weights and a card to the graphs that the loop serves."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from models.graphs.publish import Verified

NEEDED = ("torch", "onnx", "onnxscript")


def export(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT", help="Weights (.pt), or a model's card (.toml) with its weights beside it."
        ),
    ],
    out: Annotated[Path | None, typer.Argument(help="Folder for the graphs (.onnx), card and weights.")] = None,
    card: Annotated[
        Path | None,
        typer.Option(help="The card to write, without graphs or with others; by default the one of the weights' name."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the files; by default the source's.")] = None,
    precision: Annotated[
        Literal["fp32", "fp16"] | None,
        typer.Option(help="Of the graphs' weights and arithmetic, by default as in the card; fp16 is for GPUs."),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Write nothing: hold a model's graphs against its weights.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model of that name.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="What was found, as JSON.")] = False,
) -> None:
    """Export trained weights as ONNX graphs with a card, and check in ONNX Runtime that they give what torch gives."""
    from rich.console import Console

    from streamer.errors import UsageError

    missing = [package for package in NEEDED if find_spec(package) is None]
    if missing:
        raise UsageError(f"exporting needs {', '.join(missing)}: pip install 'eeg-fmri-streamer[train]'")
    if verify and (out or card):
        raise UsageError(f"--verify takes a model alone, but {out or card} was given besides")
    if out is None and not verify:
        raise UsageError("no folder to write into: give one, or --verify")

    from models.graphs.publish import verify_model

    if out is None:
        path = source.with_suffix(".toml")
    else:
        path = out / f"{name or source.stem}.toml"
        if path.exists() and not overwrite:
            raise UsageError(f"{path} exists: --overwrite replaces it, --name chooses another name")
        _write(source, path, card or source.with_suffix(".toml"), precision)
    verified = verify_model(path)
    if as_json:
        typer.echo(json.dumps(_plain(verified, path)))
    else:
        Console(highlight=False).print(_table(verified, path))


def _write(source: Path, path: Path, card: Path, precision: Literal["fp32", "fp16"] | None) -> None:
    from models.checkpoint import load_ensemble
    from models.graphs.publish import checkpoint_of, read_draft, write_model
    from streamer.errors import UsageError

    if not card.is_file():
        raise UsageError(f"no card {card}: --card names the one to write")
    ensemble = load_ensemble(checkpoint_of(source) if source.suffix == ".toml" else source)
    draft = read_draft(card, ensemble)
    if precision is not None:
        draft = draft.model_copy(update={"precision": precision})
    try:
        write_model(ensemble, draft, path.parent, path.stem)
    except OSError as error:
        raise UsageError(f"{path.parent}: cannot be written: {error}") from error


def _plain(verified: Verified, path: Path) -> dict[str, object]:
    from dataclasses import asdict

    card, difference = verified.loaded.card, verified.difference
    return {
        "card": str(path),
        "card_sha256": verified.loaded.sha256,
        "kind": card.kind,
        "members": card.members,
        "precision": card.precision,
        "graphs": {graph.file: graph.sha256 for graph in card.files()},
        "difference": None if difference is None else asdict(difference),
    }


def _table(verified: Verified, path: Path) -> object:
    from dataclasses import asdict

    from rich.console import Group
    from rich.table import Table

    from models.graphs.check import TOLERANCES

    card, difference = verified.loaded.card, verified.difference
    files = ", ".join(graph.file for graph in card.files()) or "no graph"
    what = f"{card.name}: {path} with {files}\n{card.members} member(s), {card.precision}"
    if difference is None:
        return Group(
            what, f"files are those of the card; kind {card.kind} has no weights in torch to hold them against"
        )
    table = Table("largest difference to torch", "found", title_justify="left")
    for key, value in asdict(difference).items():
        table.add_row(key, f"{value:.2g}")
    bound = f"accepted up to {TOLERANCES[card.precision]:g}"
    return Group(what, table, f"{bound}, for fp16 in probability and attention" if card.precision == "fp16" else bound)
