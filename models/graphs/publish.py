"""A model on disk: graphs, checkpoint and card, written together, read back as the loop will, held against torch."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import ValidationError

from models.checkpoint import load_ensemble, save_ensemble
from models.fusion import FusionSettings
from models.graphs.check import Difference, check_graphs
from models.graphs.modules import GraphName, graph_names
from models.graphs.write import write_graphs
from models.network.ensemble import Ensemble
from streamer.decode.card_file import LoadedCard, dump_card, load_card, read_graph
from streamer.decode.model_card import NETWORK_GRAPHS, GraphFile, ModelCard
from streamer.errors import ModelError


@dataclass(frozen=True)
class Verified:
    """A model whose files are those that its card names."""

    loaded: LoadedCard
    difference: Difference | None
    """Between graphs and checkpoint; None for a model that has no network."""


def pending_graphs(ensemble: Ensemble, file: str = "default") -> dict[GraphName, GraphFile]:
    """Name the graphs of a draft, before they are written; their digests are zeros."""
    return {name: GraphFile(file=f"{file}.{name}.onnx", sha256="0" * 64) for name in graph_names(ensemble)}


def read_draft(path: Path, ensemble: Ensemble) -> ModelCard:
    """Read a card that may lack what ``write_model`` fills in: kind, graphs, members, checkpoint.

    Raises
    ------
    ModelError
        It cannot be read, is not TOML or breaks the rules.
    """
    return _card({"kind": "network", **_values(path), "graphs": pending_graphs(ensemble)}, str(path))


def checkpoint_of(path: Path) -> Path:
    """Name the weights that a card was made of: those that it names, else those of its own name."""
    named = str(_values(path).get("checkpoint") or f"{path.stem}.pt")
    return path.parent / Path(named).name


def write_model(ensemble: Ensemble, draft: ModelCard, folder: Path, file: str = "default") -> LoadedCard:
    """Write graphs, checkpoint and card into a folder and read them back as the loop will.

    Everything is written and checked aside first; files of that name are then replaced together, the card last, so
    that a card never stands beside graphs that it was not written for without its digests telling.

    Parameters
    ----------
    ensemble : Ensemble
    draft : ModelCard
        Its ``graphs``, ``members`` and ``checkpoint`` are replaced. ``precision`` is that of the graphs' weights and
        arithmetic; the checkpoint keeps single precision.
    folder : Path
        Made where it is absent.
    file : str
        Stem of all names.

    Raises
    ------
    ModelError
        The draft is not one of this network, or a graph does not give what torch gives.
    """
    problems = _differences(ensemble.settings, draft)
    if problems:
        raise ModelError("the card is not one of this network:\n" + "\n".join(f"  - {each}" for each in problems))
    pending = {name: {"file": f"{file}.{name}.onnx", "sha256": "0" * 64} for name in graph_names(ensemble)}
    found = {"graphs": pending, "members": len(ensemble), "checkpoint": f"{file}.pt", "explained": {}}
    # what the card cannot hold is found before the long part
    card = _card(draft.model_dump(by_alias=True) | found, str(folder / f"{file}.toml"))
    folder.mkdir(parents=True, exist_ok=True)
    # in the same file system, so that a file is moved as a whole
    with TemporaryDirectory(prefix=f".{file}-", dir=folder) as scratch:
        aside = Path(scratch)
        written = write_graphs(ensemble, aside, file, draft.precision)
        graphs: dict[GraphName, bytes] = {name: path.read_bytes() for name, path in written.items()}
        check_graphs(ensemble, graphs, draft.precision)
        checkpoint, card_file = aside / card.checkpoint, aside / f"{file}.toml"
        save_ensemble(ensemble, checkpoint)
        files = {
            name: GraphFile(file=written[name].name, sha256=hashlib.sha256(graph).hexdigest())
            for name, graph in graphs.items()
        }
        card_file.write_text(dump_card(card.model_copy(update={"graphs": files})), encoding="utf-8")
        load_card(card_file)
        for path in (*written.values(), checkpoint, card_file):
            path.replace(folder / path.name)
    for name in NETWORK_GRAPHS.difference(written):
        # of a model of that name that had this modality
        (folder / f"{file}.{name}.onnx").unlink(missing_ok=True)
    return load_card(folder / f"{file}.toml")


def verify_model(path: Path) -> Verified:
    """Check that a model's files are those that its card names, and that its graphs give what its checkpoint gives.

    Parameters
    ----------
    path : Path
        Of the card.

    Raises
    ------
    ModelError
        A file is missing or altered, the card names no checkpoint, or the graphs differ from it.
    """
    loaded = load_card(path)
    card = loaded.card
    if card.kind != "network":
        return Verified(loaded, None)
    if not card.checkpoint:
        raise ModelError(f"model card {path} names no checkpoint: nothing to hold its graphs against")
    ensemble = load_ensemble(path.parent / card.checkpoint)
    problems = _differences(ensemble.settings, card)
    if len(ensemble) != card.members:
        problems.append(f"members are {card.members}, the checkpoint has {len(ensemble)}")
    if problems:
        raise ModelError(f"model card {path} and its checkpoint disagree: {'; '.join(problems)}")
    graphs: dict[GraphName, bytes] = {
        name: read_graph(path.parent / graph.file, graph.sha256) for name, graph in card.graphs.items()
    }
    return Verified(loaded, check_graphs(ensemble, graphs, card.precision))


def _values(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"model card {path}: cannot be read: {error}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ModelError(f"model card {path}: not TOML: {error}") from error


def _card(values: Mapping[str, Any], origin: str) -> ModelCard:
    try:
        return ModelCard.model_validate(dict(values))
    except ValidationError as error:
        lines = [
            f"  - {'.'.join(str(part) for part in item['loc']) or '(top)'}: {item['msg']}" for item in error.errors()
        ]
        raise ModelError(f"model card {origin}: {error.error_count()} problem(s)\n" + "\n".join(lines)) from error


def _differences(s: FusionSettings, card: ModelCard) -> list[str]:
    eeg, bold = card.eeg, card.bold
    compared: list[tuple[str, object, object]] = [
        ("kind", card.kind, "network"),
        ("number of classes", len(card.classes), s.n_classes),
        ("channels times bands", card.n_eeg_features, s.n_eeg_features),
        ("regions", card.n_regions, s.n_regions),
    ]
    if eeg is not None and s.n_channels:
        compared += [
            ("EEG channels", len(eeg.channels), s.n_channels),
            ("EEG steps", eeg.n_steps, s.eeg_steps),
            ("EEG step in s", eeg.step_s, s.eeg_step_s),
        ]
    if bold is not None and s.n_regions:
        compared += [
            ("BOLD steps", bold.n_steps, s.bold_steps),
            ("BOLD step in s", bold.grid_s, s.bold_grid_s),
            ("cells", bold.cells, s.cells),
        ]
    return [
        f"{what}: the card has {given}, the network {expected}"
        for what, given, expected in compared
        if given != expected
    ]
