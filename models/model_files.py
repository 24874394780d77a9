"""The files of a training: the default's under the name asked for, the other model's beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from models.graphs.publish import write_model
from models.network.ensemble import Ensemble
from models.rivals.rival import Rival
from models.rivals.write import write_rival
from streamer.decode.card_file import LoadedCard
from streamer.decode.model_card import ModelCard

_SUFFIXES = ("", "-network", "-rival")


@dataclass(frozen=True)
class Written:
    """Two models on disk."""

    default: LoadedCard
    """Under the name asked for."""
    other: LoadedCard
    """Beside it."""
    network: LoadedCard
    """Whichever of both is the network."""


def write_models(
    folder: Path, name: str, ensemble: Ensemble, draft: ModelCard, rival: Rival, rival_draft: ModelCard, earned: bool
) -> Written:
    """Write the network and the best rival.

    Parameters
    ----------
    folder : Path
    name : str
        Of the default's files; the other one's end in ``-network`` or ``-rival``.
    ensemble, rival : Ensemble, Rival
        Fitted.
    draft, rival_draft : ModelCard
        Their cards, without graphs.
    earned : bool
        Whether the network is the default.

    Raises
    ------
    ModelError
        A graph does not give what the model gives.
    """
    of_network, of_rival = (name, f"{name}-rival") if earned else (f"{name}-network", name)
    network = write_model(ensemble, draft.model_copy(update={"name": of_network}), folder, of_network)
    simple = write_rival(rival, rival_draft.model_copy(update={"name": of_rival}), folder, of_rival)
    _remove_leftovers(folder, name, (network, simple))
    return Written(*((network, simple) if earned else (simple, network)), network=network)


def path_of(loaded: LoadedCard) -> Path:
    """Name the file of a card that ``write_models`` wrote."""
    return loaded.folder / f"{loaded.card.name}.toml"


def _remove_leftovers(folder: Path, name: str, written: tuple[LoadedCard, ...]) -> None:
    """Remove what an earlier model of that name left: its files would look like parts of this one."""
    kept = {f"{each.card.name}.toml" for each in written} | {each.card.checkpoint for each in written}
    kept |= {graph.file for each in written for graph in each.card.files()}
    for stem in (f"{name}{suffix}" for suffix in _SUFFIXES):
        for ending in ("toml", "pt", *(f"{part}.onnx" for part in ("eeg", "bold", "head", "both"))):
            if f"{stem}.{ending}" not in kept:
                (folder / f"{stem}.{ending}").unlink(missing_ok=True)
