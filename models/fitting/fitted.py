"""A trained ensemble as a model that can be asked: its members' calibrated probabilities, and their mean."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.special import softmax

from models.dataset import WindowSet
from models.doubt import doubted
from models.evaluation.predict import Asked
from models.fitting.batches import tensors
from models.network.ensemble import Ensemble
from streamer.decode.model_card import Doubt, Pattern, Temperatures
from streamer.messages import F64

_PIECE = 2048


@dataclass(frozen=True)
class FittedNetwork:
    """An ensemble with its temperatures."""

    name: str
    ensemble: Ensemble
    temperature: Temperatures
    doubt: Doubt = field(default_factory=Doubt)

    @property
    def modalities(self) -> Pattern:
        """What it was made for."""
        sizes = self.ensemble.settings
        return "both" if sizes.n_channels and sizes.n_regions else "eeg" if sizes.n_channels else "bold"

    def predict_proba(self, windows: WindowSet) -> F64:
        """Give probabilities, shape (n, n_classes); equal ones where a window holds nothing."""
        return self.members_proba(windows).mean(axis=1)

    def members_proba(self, windows: WindowSet) -> F64:
        """Give the probabilities of every member, shape (n, members, n_classes)."""
        has_eeg, has_bold = windows.valid.T > 0
        t = self.temperature
        divisor = np.where(has_eeg & has_bold, t.both, np.where(has_eeg, t.eeg, t.bold))
        p = softmax(logits_of(self.ensemble, windows) / divisor[:, None, None], axis=2)
        p[~(has_eeg | has_bold)] = 1 / len(windows.classes)
        return p

    def ask(self, windows: WindowSet) -> Asked:
        """Give probabilities, candidates and which windows are not decided."""
        each = self.members_proba(windows)
        return doubted(self.doubt, each.mean(axis=1), windows, disagreement(each))


def logits_of(ensemble: Ensemble, windows: WindowSet) -> F64:
    """Score windows in pieces; shape (n, members, n_classes)."""
    data = tensors(windows)
    ensemble.eval()
    parts: list[F64] = []
    with torch.inference_mode():
        for rows in torch.arange(len(data)).split(_PIECE):
            logits, _ = ensemble(data.eeg[rows], data.bold[rows], data.age[rows], data.valid[rows])
            parts.append(logits.double().numpy())
    return np.concatenate(parts) if parts else np.empty((0, len(ensemble), len(windows.classes)))


def disagreement(each: F64) -> F64:
    """Give the mutual information of the members, nats: what they do not agree on.

    Parameters
    ----------
    each : ndarray, shape (n, members, n_classes)
        Their probabilities.

    Returns
    -------
    disagreement : ndarray, shape (n,)
    """
    return np.maximum(0.0, _entropy(each.mean(axis=1)) - _entropy(each).mean(axis=1))


def _entropy(p: F64) -> F64:
    return -np.sum(p * np.log(np.maximum(p, 1e-300)), axis=-1)
