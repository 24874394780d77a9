"""Score a network on subjects that it has not seen: per window and per block, jointly and by either modality alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from models.dataset import UNLABELLED, Block, WindowSet
from models.fusion import FusionNetwork
from models.training import logits_of, patterns, tensors
from streamer.decode.card import CardScore, Temperatures
from streamer.decode.scores import BlockScore, BlockScores, score_blocks, summarise
from streamer.messages import F64


@dataclass(frozen=True)
class Evaluation:
    """Scores for one set of modalities."""

    window_accuracy: float
    """Share of labelled windows, settled or not; NaN without any."""
    blocks: BlockScores

    def card_score(self) -> CardScore | None:
        """As the card holds it; None when no block was scored."""
        if not self.blocks.n_blocks:
            return None
        low, high = self.blocks.ci95
        return CardScore(
            window_accuracy=round(self.window_accuracy, 4),
            block_accuracy=round(self.blocks.accuracy, 4),
            block_ci95=(round(low, 4), round(high, 4)),
            n_blocks=self.blocks.n_blocks,
            chance=round(self.blocks.chance, 4),
        )


def evaluate(network: FusionNetwork, windows: WindowSet, temperature: Temperatures) -> dict[str, Evaluation]:
    """Score ``both``, ``eeg`` alone and ``bold`` alone.

    Parameters
    ----------
    network : FusionNetwork
    windows : WindowSet
        Of subjects that neither training nor validation has seen.
    temperature : Temperatures
    """
    data = tensors(windows)
    found: dict[str, Evaluation] = {}
    for name, valid in patterns(data.valid).items():
        logits = logits_of(network, data, valid) / float(getattr(temperature, name))
        p = torch.softmax(logits.double(), dim=1)[:, 1].numpy().copy()
        # without a modality there is nothing to judge by
        p[(valid.max(dim=1).values <= 0).numpy()] = np.nan
        found[name] = _evaluation(p, windows)
    return found


def _evaluation(p: F64, windows: WindowSet) -> Evaluation:
    judged = np.isfinite(p) & (windows.label != UNLABELLED)
    right = (p[judged] > 0.5) == (windows.label[judged] == 1)
    scored: list[BlockScore] = []
    excluded: list[BlockScore] = []
    for subject in windows.subjects:
        own = windows.subject == subject
        blocks: list[Block] = [block for block in windows.blocks if block.subject == subject]
        result = score_blocks(windows.time[own], p[own], blocks, windows.classes)
        scored.extend(result.blocks)
        excluded.extend(result.excluded)
    return Evaluation(float(right.mean()) if len(right) else float("nan"), summarise(scored, excluded))
