"""The weights of an ensemble on disk: what training keeps, what gradients are taken from, what graphs are made of."""

from __future__ import annotations

from pathlib import Path

import torch

from models.fusion import FusionNetwork, FusionSettings
from models.network.ensemble import Ensemble
from streamer.errors import ModelError

SCHEMA = 2


def save_ensemble(ensemble: Ensemble, path: Path) -> None:
    """Write settings and weights; ``load_ensemble`` reads them back. A file of that name is replaced whole."""
    part = path.with_name(f"{path.name}.part")
    # read on any machine: the weights of a GPU are brought home
    weights = [{key: value.detach().cpu() for key, value in member.state_dict().items()} for member in ensemble]
    torch.save({"schema": SCHEMA, "settings": ensemble.settings.model_dump(mode="json"), "members": weights}, part)
    part.replace(path)


def load_ensemble(path: Path) -> Ensemble:
    """Read a checkpoint, on the processor; nothing but tensors and plain values is ever unpickled.

    Raises
    ------
    ModelError
        The file is missing, is not a checkpoint of ours, or holds weights that are not finite.
    """
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        schema, settings, members = stored["schema"], stored["settings"], stored["members"]
    except Exception as error:
        raise ModelError(f"{path} is not a checkpoint of fusion networks: {error}") from error
    if schema != SCHEMA:
        raise ModelError(f"{path}: schema {schema!r} of a checkpoint, expected {SCHEMA}")
    try:
        sizes = FusionSettings.model_validate(settings)
        # new networks draw weights: nobody else's draws may depend on that
        with torch.random.fork_rng(devices=[]):
            ensemble = Ensemble([_member(sizes, weights) for weights in members])
    except Exception as error:
        raise ModelError(f"{path}: the weights do not fit the network that it describes: {error}") from error
    odd = [name for name, value in ensemble.named_parameters() if not bool(torch.isfinite(value).all())]
    if odd:
        raise ModelError(f"{path}: weights that are not finite in {', '.join(odd)}")
    return ensemble.eval()


def _member(sizes: FusionSettings, weights: dict[str, torch.Tensor]) -> FusionNetwork:
    network = FusionNetwork(sizes)
    network.load_state_dict(weights)
    return network
