"""A network as one number per window, the log-odds of a class, and copies of it with weights that know nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from models.dataset import WindowSet
from streamer.messages import F64

Modality = Literal["eeg", "bold"]
MODALITIES: tuple[Modality, ...] = ("eeg", "bold")
_PIECE = 512


def present(windows: WindowSet) -> tuple[Modality, ...]:
    """Name the modalities that a set of windows has at all."""
    return tuple(name for name in MODALITIES if getattr(windows, name).shape[2])


def inputs(windows: WindowSet) -> tuple[tuple[Tensor, ...], tuple[Tensor, Tensor]]:
    """Give what ``LogOdds`` takes: the modalities that are there, then age and validity."""
    data = tuple(torch.from_numpy(getattr(windows, name)) for name in present(windows))
    return data, (torch.from_numpy(windows.age), torch.from_numpy(windows.valid))


class LogOdds(nn.Module):
    """The log-odds of a class: log p - log(1 - p), p the mean of the members' softmax.

    Parameters
    ----------
    network : nn.Module
        An ensemble, logits of shape (b, members, n_classes), or a single network, (b, n_classes).
    target : int
        Index of the class.
    modalities : tuple of str
        Those that ``forward`` is given, in order.
    """

    def __init__(self, network: nn.Module, target: int, modalities: tuple[Modality, ...] = MODALITIES) -> None:
        super().__init__()
        self.network = network
        self.target = target
        self.modalities = modalities
        self.eval()

    def forward(self, *data: Tensor) -> Tensor:
        """Take the modalities, age and validity, each with the batch first; give shape (b,)."""
        given = dict(zip(self.modalities, data[:-2], strict=True))
        age, valid = data[-2:]
        absent = age.new_zeros(len(age), 1, 0)
        logits = logits_of(self.network, given.get("eeg", absent), given.get("bold", absent), age, valid)
        each = torch.log_softmax(logits, dim=-1)
        others = [k for k in range(each.shape[-1]) if k != self.target]
        # the members' number falls out of the difference
        return torch.logsumexp(each[..., self.target], dim=1) - torch.logsumexp(each[..., others].flatten(1), dim=1)


def logits_of(network: nn.Module, eeg: Tensor, bold: Tensor, age: Tensor, valid: Tensor) -> Tensor:
    """Ask a network or an ensemble; shape (b, members, n_classes)."""
    logits, _ = network(eeg, bold, age, valid)
    return logits if logits.ndim == 3 else logits[:, None]


def attention_of(network: nn.Module, windows: WindowSet) -> dict[Modality, float]:
    """Mean weight of each modality over the windows."""
    with torch.inference_mode():
        tensors = [torch.from_numpy(getattr(windows, name)) for name in ("eeg", "bold", "age", "valid")]
        _, weights = network(*tensors)
    mean = weights.mean(dim=0).tolist()
    return {name: float(mean[MODALITIES.index(name)]) for name in present(windows)}


def asker(network: nn.Module, temperature: Callable[[WindowSet], F64] | None = None) -> Callable[[WindowSet], F64]:
    """Wrap a network as a function of windows to probabilities, shape (n, n_classes).

    Parameters
    ----------
    network : nn.Module
    temperature : callable, optional
        Gives what the logits of each window are divided by, shape (n,).
    """

    def ask(windows: WindowSet) -> F64:
        divide = np.ones(len(windows)) if temperature is None else temperature(windows)
        parts: list[F64] = []
        with torch.inference_mode():
            for start in range(0, len(windows), _PIECE):
                rows = slice(start, start + _PIECE)
                given = [torch.from_numpy(getattr(windows, name)[rows]) for name in ("eeg", "bold", "age", "valid")]
                logits = logits_of(network, *given).double() / torch.from_numpy(divide[rows])[:, None, None]
                parts.append(torch.softmax(logits, dim=-1).mean(dim=1).numpy())
        return np.concatenate(parts)

    return ask


def member_of(network: nn.Module) -> nn.Module:
    """Give one member of an ensemble, or the network itself."""
    members = getattr(network, "members", None)
    return members[0] if isinstance(members, nn.ModuleList) else network


def randomised(network: nn.Module, seed: int, share: float = 1.0) -> nn.Module:
    """Copy a network and draw weights anew, from the output towards the input.

    Parameters
    ----------
    network : nn.Module
        Left as it is.
    seed : int
    share : float
        Of the layers that have weights, the part that is drawn anew.
    """
    drawn = copy.deepcopy(network)
    layers = [layer for layer in drawn.modules() if next(layer.parameters(recurse=False), None) is not None]
    count = round(share * len(layers))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for layer in layers[len(layers) - count :]:
            reset = getattr(layer, "reset_parameters", None)
            if callable(reset):
                reset()
                continue
            for weight in layer.parameters(recurse=False):
                weight.normal_(0.0, 0.1)
    return drawn.eval()
