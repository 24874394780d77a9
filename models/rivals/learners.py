"""Linear classifiers, each learned for several values of its setting at little more than the cost of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from models.rivals.affine import Affine, of_linear_model
from streamer.messages import F64, Array


def discriminant(
    blocks: Sequence[Array], label: NDArray[np.int64], n_classes: int, shares: Sequence[float]
) -> list[Affine]:
    """Learn a linear discriminant with a shrunk covariance of features scaled to a variance of 1 within classes.

    scikit-learn's own takes a covariance per class and its pseudo-inverse, for every share anew: with every step of the
    EEG as a feature that is many times slower.

    Parameters
    ----------
    blocks : sequence of ndarray, shape (b, n) each
        Features.
    label : ndarray, int64, shape (b,)
    n_classes : int
    shares : sequence of float
        Above 0, up to 1: of the covariance within classes that is replaced by its mean variance (Friedman 1989,
        doi:10.1080/01621459.1989.10478752).
    """
    features = np.hstack(blocks)
    means = np.stack([features[label == k].mean(axis=0, dtype=np.float64) for k in range(n_classes)])
    features -= means.astype(features.dtype)[label]
    scale = np.sqrt(np.einsum("ij,ij->j", features, features, dtype=np.float64) / len(features))
    scale[scale == 0] = 1.0
    features /= scale.astype(features.dtype)
    prior = np.log(np.bincount(label, minlength=n_classes) / len(label))
    found: list[Affine] = []
    for solved in _solutions(features, (means / scale).T, shares):
        weights = solved / scale[:, None]
        found.append(Affine(weights, prior - 0.5 * (means.T * weights).sum(axis=0)))
    return found


def _solutions(z: Array, means: F64, shares: Sequence[float]) -> Iterator[F64]:
    """Give the inverse of the shrunk covariance of ``z`` times ``means`` for every share."""
    n, p = z.shape
    if p <= n:
        within = (z.T @ z / n).astype(np.float64)
        for share in shares:
            yield linalg.solve(shrunk(within, share), means, assume_a="pos")
        return
    # fewer windows than features: the same by a matrix of windows (Woodbury's identity)
    z = z.astype(np.float64)
    between, projected = z @ z.T, z @ means
    variance = float(np.trace(between)) / (n * p) or 1.0
    for share in shares:
        ridge = share * variance
        among = (1.0 - share) / n * between
        among[np.diag_indices(n)] += ridge
        inner = linalg.solve(among, projected, assume_a="pos")
        yield (means - (1.0 - share) / n * (z.T @ inner)) / ridge


def logistic(
    blocks: Sequence[Array], label: NDArray[np.int64], n_classes: int, strengths: Sequence[float]
) -> list[Affine]:
    """Learn a (multinomial) logistic regression; ``strengths`` are scikit-learn's C, rising."""
    del n_classes
    z, scaler = standardised(np.hstack(blocks))
    estimator: Any = LogisticRegression(max_iter=2000, warm_start=True)
    return [rescaled(of_linear_model(estimator.set_params(C=c).fit(z, label)), scaler) for c in strengths]


def support_vectors(
    blocks: Sequence[Array], label: NDArray[np.int64], n_classes: int, strengths: Sequence[float]
) -> list[Affine]:
    """Learn linear support vector classifiers, one class against the rest; ``strengths`` are scikit-learn's C."""
    del n_classes
    z, scaler = standardised(np.hstack(blocks))
    # the primal problem is the quicker one where features are few beside the windows
    svm: Any = LinearSVC
    machine = svm(dual=len(z) < 4 * z.shape[1], random_state=0, max_iter=10000)
    return [rescaled(of_linear_model(machine.set_params(C=c).fit(z, label)), scaler) for c in strengths]


def standardised(features: Array) -> tuple[Array, Any]:
    """Bring every feature to mean 0 and variance 1; give scikit-learn's scaler too."""
    scaler = StandardScaler()
    return scaler.fit_transform(features), scaler


def rescaled(scores: Affine, scaler: Any) -> Affine:
    """Give the map of features that ``scores`` is of standardised ones."""
    weights = scores.weights / scaler.scale_[:, None]
    return Affine(weights, scores.offset - scaler.mean_ @ weights)


def shrunk(covariance: F64, share: float) -> F64:
    """Replace a share of a covariance by its mean variance."""
    mixed = (1.0 - share) * covariance
    variance = float(np.trace(covariance)) / len(covariance)
    # features that never change within a class leave nothing: any positive number serves
    mixed[np.diag_indices(len(mixed))] += share * (variance or 1.0)
    return mixed
