"""Fit the fusion network: whole subjects are held out, the best epoch on them is kept, temperatures are fitted.

The loss is the joint head's cross-entropy plus that of either modality alone, so that neither branch starves while the
other is easier to learn. Same data and same seed give the same weights on one machine.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from models.dataset import WindowSet
from models.fusion import FusionNetwork, FusionSettings, drop_at_random
from streamer.contracts import Settings
from streamer.decode.card import Temperatures
from streamer.errors import ModelError

MAX_THREADS = 2
TEMPERATURE_RANGE = (0.2, 10.0)
"""Beyond this a temperature says that the logits are no scores at all."""


class TrainSettings(Settings):
    """How the network is fitted."""

    seed: int = 1
    """Of initialisation, batch order and dropout."""
    epochs: int = Field(default=60, ge=1)
    """At most."""
    patience: int = Field(default=10, ge=1)
    """Epochs without a better validation loss after which training stops."""
    batch: int = Field(default=256, ge=1)
    """Windows per step."""
    stride: int = Field(default=2, ge=1)
    """Every epoch sees one in this many windows, in turn: neighbours are nearly the same."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Of AdamW, at its peak."""
    weight_decay: float = Field(default=1e-2, ge=0)
    """Of AdamW."""
    auxiliary: float = Field(default=0.3, ge=0)
    """Weight of either single-modality loss."""
    noise: float = Field(default=0.6, ge=0)
    """Standard deviation of noise added to the EEG's z-scores in training."""


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to."""

    number: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float
    best: bool


@dataclass(frozen=True)
class Trained:
    """A fitted network."""

    network: FusionNetwork
    temperature: Temperatures
    history: tuple[Epoch, ...]
    n_windows: int
    """Windows that were there to train on."""


@dataclass(frozen=True)
class _Batch:
    eeg: Tensor
    bold: Tensor
    age: Tensor
    valid: Tensor
    label: Tensor

    def rows(self, index: Tensor) -> _Batch:
        return _Batch(self.eeg[index], self.bold[index], self.age[index], self.valid[index], self.label[index])


def train(
    training: WindowSet,
    validation: WindowSet,
    network: FusionSettings,
    settings: TrainSettings | None = None,
    progress: Callable[[Epoch], None] | None = None,
    checkpoint: Path | None = None,
) -> Trained:
    """Fit a network.

    Parameters
    ----------
    training, validation : WindowSet
        Of different subjects.
    network : FusionSettings
    settings : TrainSettings, optional
    progress : callable, optional
        Takes every epoch as it ends.
    checkpoint : Path, optional
        Keeps the best weights so far, so that a broken run can be looked at.

    Raises
    ------
    ModelError
        The sets share a subject, or one of them lacks windows of a class.
    """
    settings = settings if settings is not None else TrainSettings()
    shared = set(training.subjects) & set(validation.subjects)
    if shared:
        raise ModelError(f"subjects {', '.join(sorted(shared))} are in training and in validation")
    fit, held = training.trainable(), validation.trainable()
    for what, windows in (("training", fit), ("validation", held)):
        absent = [name for index, name in enumerate(windows.classes) if not (windows.label == index).any()]
        if absent:
            raise ModelError(f"{what} has no window of {', '.join(absent)}: expected both classes")
    torch.set_num_threads(min(MAX_THREADS, torch.get_num_threads()))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return _fit(fit, held, network, settings, progress, checkpoint)


def _fit(
    fit: WindowSet,
    held: WindowSet,
    sizes: FusionSettings,
    settings: TrainSettings,
    progress: Callable[[Epoch], None] | None,
    checkpoint: Path | None,
) -> Trained:
    network = FusionNetwork(sizes)
    generator = torch.Generator().manual_seed(settings.seed)
    data, judge = tensors(fit), tensors(held)
    steps = max(1, -(-len(fit) // (settings.stride * settings.batch)))
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=False
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=settings.epochs * steps, pct_start=0.1
    )
    best_loss, best_epoch, best_state = float("inf"), 0, copy.deepcopy(network.state_dict())
    history: list[Epoch] = []
    for number in range(settings.epochs):
        network.train()
        index = torch.arange(number % settings.stride, len(fit), settings.stride)
        index = index[torch.randperm(len(index), generator=generator)]
        total = 0.0
        for batch in index.split(settings.batch):
            loss = _loss(network, data.rows(batch), settings, generator)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) * len(batch)
        loss, accuracy = _judge(network, judge, settings)
        better = loss < best_loss
        if better:
            best_loss, best_epoch, best_state = loss, number, copy.deepcopy(network.state_dict())
            if checkpoint is not None:
                save_checkpoint(network, checkpoint)
        history.append(Epoch(number, total / max(1, len(index)), loss, accuracy, better))
        if progress is not None:
            progress(history[-1])
        if number - best_epoch >= settings.patience:
            break
    network.load_state_dict(best_state)
    network.eval()
    return Trained(network, _temperatures(network, judge), tuple(history), len(fit))


def tensors(windows: WindowSet) -> _Batch:
    """Give a window set as tensors, without copying."""
    return _Batch(
        torch.from_numpy(windows.eeg),
        torch.from_numpy(windows.bold),
        torch.from_numpy(windows.age),
        torch.from_numpy(windows.valid),
        torch.from_numpy(windows.label),
    )


def _loss(network: FusionNetwork, batch: _Batch, settings: TrainSettings, generator: torch.Generator) -> Tensor:
    eeg = batch.eeg + settings.noise * torch.randn(batch.eeg.shape, generator=generator)
    eeg, age, valid = drop_at_random(network.settings, eeg, batch.age, batch.valid, generator)
    joint, by_eeg, by_bold = network.with_heads(eeg, batch.bold, age, valid)
    loss = F.cross_entropy(joint, batch.label)
    for column, logits in enumerate((by_eeg, by_bold)):
        each = F.cross_entropy(logits, batch.label, reduction="none")
        there = valid[:, column]
        loss = loss + settings.auxiliary * (each * there).sum() / there.sum().clamp(min=1.0)
    return loss


def patterns(valid: Tensor) -> dict[str, Tensor]:
    """Give masks of every set of modalities that windows can be reduced to, shape (n, 2) each."""
    only_eeg = valid * torch.tensor([1.0, 0.0])
    only_bold = valid * torch.tensor([0.0, 1.0])
    return {"both": valid, "eeg": only_eeg, "bold": only_bold}


def logits_of(network: FusionNetwork, data: _Batch, valid: Tensor) -> Tensor:
    """Score a whole set in pieces, without gradients; shape (n, n_classes)."""
    network.eval()
    parts: list[Tensor] = []
    with torch.inference_mode():
        for rows in torch.arange(len(valid)).split(4096):
            logits, _ = network(data.eeg[rows], data.bold[rows], data.age[rows], valid[rows])
            parts.append(logits)
    return torch.cat(parts)


def _judge(network: FusionNetwork, data: _Batch, settings: TrainSettings) -> tuple[float, float]:
    # the epoch that is kept must be good with either modality alone, too
    loss = 0.0
    accuracy = 0.0
    for name, valid in patterns(data.valid).items():
        some = valid.max(dim=1).values > 0
        if not bool(some.any()):
            continue
        logits = logits_of(network, data, valid)[some]
        each = float(F.cross_entropy(logits, data.label[some]))
        loss += each if name == "both" else settings.auxiliary * each
        if name == "both":
            accuracy = float((logits.argmax(dim=1) == data.label[some]).float().mean())
    return loss, accuracy


def _temperatures(network: FusionNetwork, data: _Batch) -> Temperatures:
    found: dict[str, float] = {}
    for name, valid in patterns(data.valid).items():
        complete = valid.min(dim=1).values if name == "both" else valid.max(dim=1).values
        some = complete > 0
        if bool(some.any()):
            found[name] = fit_temperature(logits_of(network, data, valid)[some], data.label[some])
    return Temperatures(**found)


def fit_temperature(logits: Tensor, label: Tensor) -> float:
    """Find the temperature of least cross-entropy (Guo 2017, arXiv:1706.04599), by golden-section search of its log."""
    low, high = (torch.tensor(edge).log().item() for edge in TEMPERATURE_RANGE)
    golden = (5**0.5 - 1) / 2

    def cost(log_t: float) -> float:
        return float(F.cross_entropy(logits.double() / torch.tensor(log_t, dtype=torch.float64).exp(), label))

    for _ in range(40):
        step = golden * (high - low)
        if cost(high - step) < cost(low + step):
            high = low + step
        else:
            low = high - step
    return round(float(torch.tensor((low + high) / 2).exp()), 4)


def save_checkpoint(network: FusionNetwork, path: Path) -> None:
    """Write sizes and weights; ``load_checkpoint`` reads them back."""
    torch.save({"schema": 1, "settings": network.settings.model_dump(), "weights": network.state_dict()}, path)


def load_checkpoint(path: Path) -> FusionNetwork:
    """Read a checkpoint; nothing but tensors and plain values is ever unpickled.

    Raises
    ------
    ModelError
        The file is missing or is not a checkpoint of ours.
    """
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        network = FusionNetwork(FusionSettings(**stored["settings"]))
        network.load_state_dict(stored["weights"])
    except Exception as error:
        raise ModelError(f"{path} is not a checkpoint of a fusion network: {error}") from error
    return network.eval()
