"""Windows as tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.dataset import WindowSet


@dataclass(frozen=True)
class Batch:
    """Windows side by side, the first axis is theirs."""

    eeg: Tensor
    bold: Tensor
    age: Tensor
    valid: Tensor
    label: Tensor

    def __len__(self) -> int:
        return len(self.label)

    def rows(self, index: Tensor) -> Batch:
        """Take some windows."""
        return Batch(self.eeg[index], self.bold[index], self.age[index], self.valid[index], self.label[index])

    def to(self, device: torch.device) -> Batch:
        """Move all of it."""
        moved = (part.to(device) for part in (self.eeg, self.bold, self.age, self.valid, self.label))
        return Batch(*moved)


def tensors(windows: WindowSet) -> Batch:
    """Give a window set as tensors, without copying."""
    arrays = (windows.eeg, windows.bold, windows.age, windows.valid, windows.label)
    return Batch(*(torch.from_numpy(array) for array in arrays))


def reductions(valid: Tensor) -> dict[str, Tensor]:
    """Give masks of every set of modalities that windows can be reduced to, shape (n, 2) each."""
    columns = {"both": [1.0, 1.0], "eeg": [1.0, 0.0], "bold": [0.0, 1.0]}
    return {name: valid * valid.new_tensor(column) for name, column in columns.items()}
