"""Windows with planted truth about what the weaker modality is worth: K states, EEG and BOLD that know them or not."""

from __future__ import annotations

from typing import Literal

import numpy as np

from models.dataset import Block, Inputs, WindowSet

Worth = Literal["complementary", "redundant", "useless"]
CHANNELS, REGIONS = ("C3", "Cz", "C4"), ("left", "right", "control")
PER_BLOCK, BLOCK_S = 8, 16.0


def planted(worth: Worth, n_classes: int, names: str, seed: int, n_blocks: int = 48) -> WindowSet:
    """Draw one subject per letter; states come in blocks, in random order.

    complementary : each modality has noise of its own.
    redundant : the BOLD holds what the EEG says, its noise included, and noise of its own besides.
    useless : the BOLD is noise.
    """
    rng = np.random.default_rng(seed)
    classes = tuple(f"state {k}" for k in range(n_classes))
    # as far apart as one another, in the first columns
    where = np.random.default_rng(7).standard_normal((n_classes, 3))
    where = 1.6 * (where - where.mean(axis=0)) / where.std(axis=0)
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    blocks: list[Block] = []
    for name in names:
        label = rng.permutation(np.arange(n_blocks) % n_classes)
        blocks += [Block(k * BLOCK_S, BLOCK_S, classes[c], name) for k, c in enumerate(label)]
        each = np.repeat(label, PER_BLOCK)
        view, second = where[each] + _noise(rng, n_blocks, 2.0), _noise(rng, n_blocks, 2.0)
        if worth == "complementary":
            bold = where[each] + second
        else:
            bold = view + second / 2 if worth == "redundant" else second
        parts.append((view, bold, each))
    eeg, bold, label = (np.concatenate([part[k] for part in parts]) for k in range(3))
    n = len(label)
    return WindowSet(
        eeg=np.repeat(eeg[:, None], 4, axis=1).astype(np.float32),
        bold=bold[:, None].astype(np.float32),
        age=np.zeros((n, 2), np.float32),
        valid=np.ones((n, 2), np.float32),
        label=label.astype(np.int64),
        settled=np.ones(n, np.bool_),
        subject=np.repeat(list(names), n // len(names)),
        time=np.tile(np.arange(n // len(names)) * BLOCK_S / PER_BLOCK + 0.5, len(names)),
        classes=classes,
        blocks=tuple(blocks),
        inputs=Inputs(CHANNELS, REGIONS, 250.0),
    )


def _noise(rng: np.random.Generator, n_blocks: int, size: float) -> np.ndarray:
    # half of it is the block's, as drifts are
    own = rng.standard_normal((n_blocks * PER_BLOCK, 3))
    return size * (own + np.repeat(rng.standard_normal((n_blocks, 3)), PER_BLOCK, axis=0)) / np.sqrt(2)
