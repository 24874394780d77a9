"""From a card to the model that the loop asks."""

from __future__ import annotations

from collections.abc import Sequence

from streamer.decode.card_file import LoadedCard
from streamer.decode.linear_model import LinearModel
from streamer.decode.model import Model
from streamer.decode.network_model import NetworkModel
from streamer.decode.score_model import ScoreModel


def load_model(loaded: LoadedCard, providers: str | Sequence[str] | None = None) -> Model:
    """Make a model of any kind ready; ``warm_up`` is left to the caller.

    Parameters
    ----------
    loaded : LoadedCard
    providers : str or sequence of str, optional
        One or several, in order, of ``auto`` (also None), ``cpu``, ``cuda``, ``tensorrt``, and names of ONNX Runtime's
        providers. One that is not there or fails falls back to the next, which ``notes`` tells.

    Raises
    ------
    ModelError
        A graph was altered, cannot be loaded by any provider, or is not what the card says.
    """
    match loaded.card.kind:
        case "network":
            return NetworkModel(loaded, providers)
        case "linear":
            return LinearModel(loaded, providers)
        case "score":
            return ScoreModel(loaded)
