"""Train the members of an ensemble one after another, from different seeds, and calibrate what they say together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from models.dataset import WindowSet
from models.fitting.batches import tensors
from models.fitting.device import device_of
from models.fitting.fitted import FittedNetwork
from models.fitting.loop import Epoch, Member, fit_member
from models.fitting.resume import Standing, digest_of
from models.fitting.settings import TrainSettings
from models.fitting.temperatures import temperatures
from models.network.ensemble import Ensemble
from models.network.settings import FusionSettings
from streamer.errors import ModelError


@dataclass(frozen=True)
class Trained:
    """A fitted ensemble."""

    model: FittedNetwork
    history: tuple[Epoch, ...]
    """Of all members, one after another."""
    n_windows: int
    """Windows that were there to train on."""
    device: str
    """What it was trained on, in words."""


def train(
    training: WindowSet,
    validation: WindowSet,
    sizes: FusionSettings,
    settings: TrainSettings | None = None,
    each: Callable[[Epoch], None] | None = None,
    work: Path | None = None,
    name: str = "network",
) -> Trained:
    """Train an ensemble.

    Parameters
    ----------
    training, validation : WindowSet
        Of different people, or different runs: see ``models/parts.py``.
    sizes : FusionSettings
    settings : TrainSettings, optional
    each : callable, optional
        Takes every epoch as it ends.
    work : Path, optional
        Folder that keeps where every member stands: the same call goes on from there.
    name : str
        Of the model.

    Raises
    ------
    ModelError
        One of them lacks windows of a class, or a checkpoint is damaged.
    UsageError
        The device is not there.
    """
    settings = settings if settings is not None else TrainSettings()
    fit, held = training.trainable(), validation.trainable()
    for what, windows in (("training", fit), ("validation", held)):
        absent = [label for index, label in enumerate(windows.classes) if not (windows.label == index).any()]
        if absent:
            raise ModelError(f"{what} has no window of {', '.join(absent)}: expected windows of every class")
    device = device_of(settings)
    # more members do not change those that are there
    kept = settings.model_dump_json(exclude={"members", "device", "mixed"})
    digest = digest_of((fit, held), sizes.model_dump_json(), kept, str(device))
    if work is not None:
        work.mkdir(parents=True, exist_ok=True)
    data, judge = tensors(fit), tensors(held)
    members, history = [], list[Epoch]()
    with device.forked():
        for number in range(settings.members):
            member = Member(number, sizes, settings, len(fit), device)
            members.append(fit_member(member, data, judge, Standing(work, number, digest), each))
            history += member.history
    ensemble = Ensemble(members).eval()
    model = FittedNetwork(name, ensemble, temperatures(ensemble, held))
    return Trained(model, tuple(history), len(fit), str(device))
