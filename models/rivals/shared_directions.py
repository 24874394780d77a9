"""Directions in which EEG and BOLD vary together, and a linear discriminant of what lies along them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from sklearn.cross_decomposition import PLSSVD

from models.rivals.affine import Affine, Learn
from models.rivals.learners import discriminant, rescaled, shrunk, standardised
from streamer.decode.model_card import Pattern
from streamer.messages import F64, Array

CANONICAL_PAIRS = 6
"""Pairs that the canonical correlation keeps."""
_SHARE = 0.01
"""Shrinkage of the discriminant: of a dozen scores little is needed."""

Find = Callable[[Array, Array, Sequence[float]], Iterator[tuple[F64, F64]]]
"""Takes standardised EEG and BOLD of shape (b, n) and (b, m) and values of its setting; gives directions for each
value, of shape (n, n_pairs) and (m, n_pairs)."""


def partial_least_squares(eeg: Array, bold: Array, pairs: Sequence[float]) -> Iterator[tuple[F64, F64]]:
    """Find directions of greatest covariance; ``pairs`` are how many to keep.

    References
    ----------
    Krishnan 2011, doi:10.1016/j.neuroimage.2010.07.034
    """
    # what never changes leaves fewer pairs than there are features
    most = min(int(max(pairs)), eeg.shape[1], bold.shape[1], len(eeg) - 1)
    found = PLSSVD(n_components=most, scale=False).fit(eeg, bold)
    first, second = np.asarray(found.x_weights_, np.float64), np.asarray(found.y_weights_, np.float64)
    for n in pairs:
        yield first[:, : int(n)], second[:, : int(n)]


def canonical_correlation(eeg: Array, bold: Array, shares: Sequence[float]) -> Iterator[tuple[F64, F64]]:
    """Find directions of greatest correlation; ``shares`` of either covariance are replaced by its mean variance.

    References
    ----------
    Vinod 1976, doi:10.1016/0304-4076(76)90010-5
    """
    n = len(eeg)
    within_eeg, within_bold, between = (
        (left.T @ right / n).astype(np.float64) for left, right in ((eeg, eeg), (bold, bold), (eeg, bold))
    )
    for share in shares:
        root_eeg = linalg.cholesky(shrunk(within_eeg, share), lower=True)
        root_bold = linalg.cholesky(shrunk(within_bold, share), lower=True)
        half = linalg.solve_triangular(root_eeg, between, lower=True)
        whitened = linalg.solve_triangular(root_bold, half.T, lower=True).T
        left, _, right = linalg.svd(whitened, full_matrices=False)
        yield (
            linalg.solve_triangular(root_eeg.T, left[:, :CANONICAL_PAIRS]),
            linalg.solve_triangular(root_bold.T, right[:CANONICAL_PAIRS].T),
        )


def along(find: Find, side: Pattern) -> Learn:
    """Make a learner that finds directions in both modalities and judges by the scores of one, or of both.

    Parameters
    ----------
    find : callable
    side : str
        Whose scores; the maps that are learned are of these features alone.
    """

    def learn(
        blocks: Sequence[Array], label: NDArray[np.int64], n_classes: int, settings: Sequence[float]
    ) -> list[Affine]:
        z, scaler = standardised(np.hstack(blocks))
        n = blocks[0].shape[1]
        rows = {"both": slice(None), "eeg": slice(n), "bold": slice(n, None)}[side]
        found: list[Affine] = []
        for first, second in find(z[:, :n], z[:, n:], settings):
            directions: F64 = (
                np.asarray(linalg.block_diag(first, second)) if side == "both" else first if side == "eeg" else second
            )
            scores = discriminant([z[:, rows] @ directions], label, n_classes, [_SHARE])[0]
            whole = Affine(np.zeros((z.shape[1], n_classes)), scores.offset)
            whole.weights[rows] = directions @ scores.weights
            of_features = rescaled(whole, scaler)
            found.append(Affine(of_features.weights[rows], of_features.offset))
        return found

    return learn
