"""How near the network comes to an observer that knows how the windows were drawn.

Run from the project's root, with the training extra: ``python -m benchmarks.ideal_observer``. Two states with Gaussian
noise of known size in both modalities: the best that a single window allows is a matter of arithmetic.
"""

from __future__ import annotations

import numpy as np
import torch

from models.dataset import WindowSet
from models.fitting.members import train
from models.fitting.settings import TrainSettings
from models.network.settings import FusionSettings
from models.patterns import reduced
from streamer.decode.model_card import PATTERNS
from streamer.messages import F64
from tests.unit.planted_modalities import CHANNELS, REGIONS, planted

NOISE_VARIANCE = 4.0
N_SEEDS = 3


def ideal(windows: WindowSet) -> F64:
    """Log-odds of the second state, from the means and the noise that the windows were drawn with, shape (n,)."""
    where = np.random.default_rng(7).standard_normal((2, 3))
    where = 1.6 * (where - where.mean(axis=0)) / where.std(axis=0)
    apart, middle = where[1] - where[0], where.mean(axis=0)
    has_eeg, has_bold = windows.valid.T > 0
    eeg = (windows.eeg[:, 0] - middle) @ apart / NOISE_VARIANCE
    bold = (windows.bold[:, 0] - middle) @ apart / NOISE_VARIANCE
    return np.where(has_eeg, eeg, 0.0) + np.where(has_bold, bold, 0.0)


def main() -> None:
    """Print a line per seed, model and pattern."""
    torch.set_num_threads(1)
    sizes = FusionSettings(n_channels=len(CHANNELS), n_bands=1, eeg_steps=4, n_regions=len(REGIONS), bold_steps=1)
    for seed in range(N_SEEDS):
        fit, held, test = (
            planted("complementary", 2, names, 100 * seed + k)
            for k, names in enumerate(("abcdefgh", "ijk", "lmnopqrs"))
        )
        network = train(fit, held, sizes, TrainSettings(seed=seed, members=1, device="cpu")).model
        for pattern in PATTERNS:
            shown = reduced(test, pattern)
            best = float(((ideal(shown) > 0) == (test.label == 1)).mean())
            right = float((network.predict_proba(shown).argmax(axis=1) == test.label).mean())
            print(
                f"seed {seed}, {pattern}: ideal {best:.4f}, network {right:.4f}, ratio {right / best:.3f}", flush=True
            )


if __name__ == "__main__":
    main()
