"""Fit one network: the epoch that is best on the validation people is kept.

The loss is the joint head's cross-entropy plus that of either modality alone, so that neither branch starves while the
other is easier to learn. Same data, settings, seed and device give the same weights, interrupted or not.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.fitting.batches import Batch, reductions
from models.fitting.device import Device
from models.fitting.resume import Standing
from models.fitting.settings import TrainSettings
from models.fusion import FusionNetwork
from models.network.dropping import drop_at_random
from models.network.settings import FusionSettings

_PIECE = 4096


@dataclass(frozen=True)
class Epoch:
    """What one epoch of a member came to."""

    member: int
    """Counted from 0, as epochs are."""
    number: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float
    best: bool
    """Better than all before it."""


@dataclass
class _Best:
    loss: float
    number: int
    weights: dict[str, Tensor]


class Member:
    """The training of one network.

    Parameters
    ----------
    number : int
        Counted from 0: the seed follows from it.
    sizes : FusionSettings
    settings : TrainSettings
    n_windows : int
        Windows to train on.
    device : Device
    """

    def __init__(
        self, number: int, sizes: FusionSettings, settings: TrainSettings, n_windows: int, device: Device
    ) -> None:
        self.number = number
        self.history: list[Epoch] = []
        self._settings, self._device, self._n = settings, device, n_windows
        seed = settings.seed_of(number)
        torch.manual_seed(seed)
        self.network = FusionNetwork(sizes).to(device.torch)
        # drawn on the CPU on every device
        self._generator = torch.Generator().manual_seed(seed)
        self._optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=False
        )
        steps = max(1, -(-n_windows // (settings.stride * settings.batch)))
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimiser, settings.learning_rate, total_steps=settings.epochs * steps, pct_start=0.1
        )
        self._best = _Best(float("inf"), 0, copy.deepcopy(self.network.state_dict()))

    @property
    def done(self) -> bool:
        """Whether no epoch is left, or none got better for long."""
        n = len(self.history)
        return n >= self._settings.epochs or n - 1 - self._best.number >= self._settings.patience

    def epoch(self, fit: Batch, held: Batch) -> Epoch:
        """Train for one epoch and judge it."""
        number, settings = len(self.history), self._settings
        self.network.train()
        index = torch.arange(number % settings.stride, self._n, settings.stride)
        index = index[torch.randperm(len(index), generator=self._generator)]
        total = 0.0
        for rows in index.split(settings.batch):
            batch = self._harder(fit.rows(rows)).to(self._device.torch)
            with self._device.autocast():
                loss = self._loss(batch)
            self._optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            self._optimiser.step()
            self._schedule.step()
            total += float(loss.detach()) * len(rows)
        loss_held, accuracy = self._judge(held)
        better = loss_held < self._best.loss
        if better:
            self._best = _Best(loss_held, number, copy.deepcopy(self.network.state_dict()))
        self.history.append(Epoch(self.number, number, total / max(1, len(index)), loss_held, accuracy, better))
        return self.history[-1]

    def take_best(self) -> FusionNetwork:
        """Give the network as it was at its best, on the CPU."""
        self.network.load_state_dict(self._best.weights)
        return self.network.cpu().eval()

    def state(self) -> dict[str, Any]:
        """Give all that going on depends on, as tensors and plain values."""
        return {
            "weights": self.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "schedule": self._schedule.state_dict(),
            "generator": self._generator.get_state(),
            "generators": self._device.generators(),
            "best": {"loss": self._best.loss, "number": self._best.number, "weights": self._best.weights},
            "history": [asdict(epoch) for epoch in self.history],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take what ``state`` gave."""
        self.network.load_state_dict(state["weights"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._schedule.load_state_dict(state["schedule"])
        self._generator.set_state(state["generator"])
        self._device.restore(state["generators"])
        self._best = _Best(**state["best"])
        self.history = [Epoch(**epoch) for epoch in state["history"]]

    def _harder(self, batch: Batch) -> Batch:
        noise = torch.randn(batch.eeg.shape, generator=self._generator)
        eeg = batch.eeg + self._settings.noise * noise
        eeg, age, valid = drop_at_random(self.network.settings, eeg, batch.age, batch.valid, self._generator)
        return Batch(eeg, batch.bold, age, valid, batch.label)

    def _loss(self, batch: Batch) -> Tensor:
        joint, by_eeg, by_bold = self.network.with_heads(batch.eeg, batch.bold, batch.age, batch.valid)
        loss = F.cross_entropy(joint.float(), batch.label)
        for column, logits in enumerate((by_eeg, by_bold)):
            each = F.cross_entropy(logits.float(), batch.label, reduction="none")
            there = batch.valid[:, column]
            loss = loss + self._settings.auxiliary * (each * there).sum() / there.sum().clamp(min=1.0)
        return loss

    def _judge(self, data: Batch) -> tuple[float, float]:
        # the epoch that is kept must be good with either modality alone, too
        loss = accuracy = 0.0
        for name, valid in reductions(data.valid).items():
            some = valid.max(dim=1).values > 0
            if not bool(some.any()):
                continue
            logits, label = self._logits(data, valid)[some], data.label[some]
            each = float(F.cross_entropy(logits, label))
            loss += each if name == "both" else self._settings.auxiliary * each
            if name == "both":
                accuracy = float((logits.argmax(dim=1) == label).float().mean())
        return loss, accuracy

    def _logits(self, data: Batch, valid: Tensor) -> Tensor:
        self.network.eval()
        parts: list[Tensor] = []
        with torch.inference_mode():
            for rows in torch.arange(len(data)).split(_PIECE):
                piece = Batch(data.eeg[rows], data.bold[rows], data.age[rows], valid[rows], data.label[rows])
                piece = piece.to(self._device.torch)
                logits, _ = self.network(piece.eeg, piece.bold, piece.age, piece.valid)
                parts.append(logits.cpu())
        return torch.cat(parts)


def fit_member(
    member: Member, fit: Batch, held: Batch, standing: Standing, each: Callable[[Epoch], None] | None = None
) -> FusionNetwork:
    """Train a member to its end, from where it stands; ``each`` takes every epoch as it ends."""
    stored = standing.read()
    if stored is not None:
        member.restore(stored)
    while not member.done:
        epoch = member.epoch(fit, held)
        # before it is told: whoever interrupts then loses nothing
        standing.write(member.state())
        if each is not None:
            each(epoch)
    return member.take_best()
