"""What past heart beats teach of the pulse artefact: its mean course, and how beats differ from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np

from streamer.clean.eeg.heart.pulse_basis import BEFORE, FRACTIONS, Basis
from streamer.clean.eeg.heart.pulse_maps import locked_maps, mean_maps
from streamer.messages import F32, F64

PREDICT = 0.9
"""What a sample of EEG tells of the next one: the error of this prediction is nearly white."""
MIN_BEATS = 5
"""Beats that a template needs."""
# what is believed of beats before many were seen, and the number of beats that this counts as
_GAIN_SD = 0.2
_LAG_SD_S = 0.010
_PRIOR_BEATS = 4.0
# a beat that differs from the mean by more than this many times the usual counts less
_OUTLIER = 2.5
# energy of the mean over that of averaged white noise: EEG, which is not quite white, comes to 3
_BY_CHANCE = 4.0
_BLOCK = 8
# ridges: splines of which only an edge is seen are held down
_RIDGE_COARSE = 0.3
_RIDGE_FINE = 0.05
_TINY = 1e-30
# of the greatest variance: more than sums are off by
_ROUNDED = 1e-12


@dataclass(frozen=True)
class PulseShape:
    """The artefact of one beat: ``mean + sum_k theta_k * component_k``, with ``theta`` of mean 0 and sd 1 each."""

    mean: F64
    """Spline coefficients, V, shape (fine.rows, n_channels)."""
    components: F64
    """Spline coefficients, V, shape (coarse.rows, n_components * n_channels)."""
    whitened: F64
    """The same times ``whitener``."""
    whitener: F64
    """Makes the EEG's prediction error white and of sd 1 over channels, 1/V, shape (n_channels, n_channels)."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """A beat that is over."""

    start: int
    """First sample at or after phase 0."""
    fraction: int
    """Its phase, in parts of a sample (`Basis`)."""
    stop: int
    """Sample at which the next beat began."""


class PulseModel:
    """Learn the artefact from the newest beats.

    The components are principal components of past beats' differences from their mean, over time and channels at once
    (Niazy 2005 [1]_ has them per channel), in a space in which the EEG is white: there, the eigenvalues of mere noise
    are known, and what exceeds them may be the artefact's (spiked covariance [2]_). A guess at how gain and lag vary
    counts as a few beats.

    A rhythm of the brain exceeds them too, and what is taken for a component is missed in the noise, so that the next
    beats would make more of it. Where it lies on the head tells them apart: the artefact's differences lie where the
    artefact itself does, on maps whose course is the same from beat to beat (as in joint decorrelation [3]_). Only
    there is anything looked for; a rhythm shares little of that.

    Parameters
    ----------
    fine, coarse : Basis
        Of the mean, of the components.
    n_channels, n_beats, n_components : int
    sfreq : float
        Hz.

    References
    ----------
    .. [1] Niazy, R. K. et al. (2005). NeuroImage 28, 720-737. doi:10.1016/j.neuroimage.2005.06.067
    .. [2] Baik, J., Silverstein, J. W. (2006). J. Multivariate Analysis 97, 1382-1408. doi:10.1016/j.jmva.2005.08.003
    .. [3] de Cheveigné, A., Parra, L. C. (2014). NeuroImage 98, 487-505. doi:10.1016/j.neuroimage.2014.05.068
    """

    def __init__(
        self, fine: Basis, coarse: Basis, n_channels: int, n_beats: int, n_components: int, sfreq: float
    ) -> None:
        self.fine, self.coarse = fine, coarse
        self.count = 0
        """Beats learnt so far."""
        self.newest: int | None = None
        """Sample at which the newest beat that is in ended."""
        self.shape: PulseShape | None = None
        """What is known now; None before `MIN_BEATS`."""
        self._n_beats, self._n_components = n_beats, n_components
        self._means = np.zeros((n_beats, fine.n, n_channels))
        self._courses = np.zeros((n_beats, coarse.n, n_channels))
        self._known_fine = np.zeros((n_beats, fine.n))
        self._known = np.zeros((n_beats, coarse.n))
        self._energy = np.full(n_beats, np.nan)
        self._noise: F64 | None = None
        self._project: list[F64] = []
        self._fit: list[F64] = []
        rows: list[F64] = []
        for fraction in range(FRACTIONS + 1):
            errors = _unpredicted(coarse.matrix(fraction))
            ridge = _RIDGE_COARSE * np.abs(errors).max() * np.eye(coarse.n)
            q, r = np.linalg.qr(np.concatenate([errors, ridge]))
            rows.append(r)
            self._project.append(np.ascontiguousarray(np.linalg.solve(r, q[: len(errors)].T)))
            whole = fine.matrix(fraction)[BEFORE:]
            fit = np.linalg.solve(whole.T @ whole + _RIDGE_FINE * np.eye(fine.n), whole.T)
            self._fit.append(np.ascontiguousarray(fit, dtype=np.float64))
        half = FRACTIONS // 2
        # coefficients times this are white over time when the EEG's prediction errors are
        self._rows = rows[half]
        self._as_gain = _GAIN_SD * self._project[half] @ _unpredicted(fine.matrix(half))
        slopes = _unpredicted(fine.matrix(half, fine.slope))
        self._as_lag = _LAG_SD_S * sfreq * self._project[half] @ slopes

    def learn(self, epoch: Epoch, data: F64) -> Iterator[None]:
        """Take in a beat, in small steps; ``shape`` is renewed after the last.

        Parameters
        ----------
        epoch : Epoch
        data : ndarray, shape (length + BEFORE, n_channels)
            EEG from ``BEFORE`` samples before the beat's start on, V; what lies after the beat's end is ignored.
        """
        slot = self.count % self._n_beats
        self._enter(slot, epoch, data)
        self.count += 1
        self.newest = epoch.stop
        yield
        n = min(self.count, self._n_beats)
        if n < MIN_BEATS:
            return
        weight = self._weights(n)
        known = self._known[:n]
        mean = _mean(self._means[:n], self._known_fine[:n], weight)
        course = _mean(self._courses[:n], known, weight)
        yield
        n_channels = mean.shape[1]
        # single precision serves what only tells artefact from noise, and costs half
        deviations: F32 = np.empty((n + 2, self.coarse.n, n_channels), np.float32)
        blocks = [slice(a, min(a + _BLOCK, n)) for a in range(0, n, _BLOCK)]
        for part in blocks:
            deviations[part] = (self._courses[part] - course) * known[part, :, None]
            yield
        deviations[n] = self._as_gain @ mean
        deviations[n + 1] = self._as_lag @ mean
        rows = float(known.sum()) / n
        known_noise = self._noise
        if known_noise is None:
            timed = np.matmul(self._rows, deviations[:n], dtype=np.float64).reshape(-1, n_channels)
            known_noise = timed.T @ timed / (n * rows)
        whitener = _whitener(known_noise)
        back = np.linalg.inv(whitener)
        yield
        common = self._rows @ course @ whitener
        maps = mean_maps(common)
        yield
        to_white, to_maps, in_time = (m.astype(np.float32) for m in (whitener, maps, self._rows))
        white: F32 = np.empty((n + 2, self.coarse.n, n_channels), np.float32)
        for part in [*blocks, slice(n, n + 2)]:
            np.matmul(in_time, deviations[part] @ to_white, out=white[part])
            if part.start < n:
                self._energy[part] = np.square(white[part]).sum(axis=(1, 2), dtype=np.float64)
            yield
        chosen = locked_maps((white[:n] @ to_maps).astype(np.float64) + known[:, :, None] * (common @ maps))
        maps, to_maps = maps[:, chosen], to_maps[:, chosen]
        roots = np.sqrt(np.concatenate([weight, np.full(2, _PRIOR_BEATS)]))
        total, counted = float(roots @ roots), float(weight.sum())
        seen = (white @ to_maps).reshape(n + 2, -1).astype(np.float64) * roots[:, None]
        noise = float(weight @ self._energy[:n])
        if n_channels > len(chosen):
            beside = noise - float(np.square(seen[:n]).sum())
            noise = beside * n_channels / (n_channels - len(chosen))
        # a mean that is no more than the EEG's own is none
        by_chance = noise / counted**2
        ratio = float(np.square(white[n]).sum(dtype=np.float64)) / (_GAIN_SD**2 * max(by_chance, _TINY))
        present = min(1.0, max(0.0, ratio / _BY_CHANCE - 1.0))
        shares = present * (1.0 - 1.0 / max(ratio, 1.0))
        seen[n:] *= shares
        yield
        values, vectors = np.linalg.eigh(seen @ seen.T / total)
        k = min(self._n_components, n)
        values, vectors = np.maximum(values[::-1][:k], _TINY), vectors[:, ::-1][:, :k]
        spread = present * _artefact_part(values, len(chosen) * rows / total)
        yield
        # what the components leave of the past beats is the noise that the next ones are found in
        found = vectors.T @ seen
        taken = ((vectors[:n] * (spread / values)) @ found).reshape(n, -1, len(chosen)).astype(np.float32)
        size = roots[:n, None, None].astype(np.float32)
        now = np.zeros((n_channels, n_channels))
        yield
        for part in blocks:
            # in double precision, so that a channel far larger than the others leaves theirs positive
            timed = (white[part] * size[part] - taken[part] @ to_maps.T).reshape(-1, n_channels).astype(np.float64)
            now += timed.T @ timed
            yield
        self._noise = back.T @ (now / (counted * rows)) @ back
        whitened = np.zeros((self.coarse.rows, self._n_components, n_channels))
        inner = (found * np.sqrt(spread / (values * total))[:, None]).reshape(k, self.coarse.n, -1)
        whitened[self.coarse.inner, :k] = (np.linalg.solve(self._rows, inner) @ maps.T).transpose(1, 0, 2)
        padded = np.zeros((self.fine.rows, n_channels))
        padded[self.fine.inner] = shares * mean
        self.shape = PulseShape(
            mean=padded,
            components=(whitened @ back).reshape(self.coarse.rows, -1),
            whitened=whitened.reshape(self.coarse.rows, -1),
            whitener=np.ascontiguousarray(whitener),
        )

    def _enter(self, slot: int, epoch: Epoch, data: F64) -> None:
        fraction, own = epoch.fraction, epoch.stop - epoch.start
        if own < self.fine.length:
            # the rest is the next beat's: the mean stands in, and is not counted
            after = slice(BEFORE + own, None)
            data[after] = 0.0
            if self.shape is not None:
                data[after] = self.fine.matrix(fraction)[after] @ self.shape.mean[self.fine.inner]
        self._means[slot] = self._fit[fraction] @ data[BEFORE:]
        self._known_fine[slot] = self.fine.ends() <= own
        self._courses[slot] = self._project[fraction] @ _unpredicted(data)
        self._known[slot] = self.coarse.ends() <= own
        self._energy[slot] = np.nan

    def _weights(self, n: int) -> F64:
        """What each beat counts, from how much it differed from the mean when that was last looked at."""
        energy = self._energy[:n] / np.maximum(self._known[:n].sum(axis=1), 1.0)
        judged = np.isfinite(energy)
        if not judged.any():
            return np.ones(n)
        typical = float(np.median(energy[judged]))
        return np.where(judged, np.minimum(1.0, _OUTLIER * typical / np.maximum(energy, _TINY)) ** 2, 1.0)


def _unpredicted(course: F64) -> F64:
    """Error of predicting each sample from the one before, one row fewer."""
    return course[1:] - PREDICT * course[:-1]


def _mean(values: F64, known: F64, weight: F64) -> F64:
    """Mean over beats; 0 where fewer than two are known."""
    counted = known * weight[:, None]
    total = counted.sum(axis=0)
    mean = np.einsum("bi,bic->ic", counted, values) / np.maximum(total, _TINY)[:, None]
    return mean * (total >= 1.5)[:, None]


def _whitener(noise: F64) -> F64:
    """Give W with ``W.T @ noise @ W`` = 1; a channel that is silent or like others is not trusted the more for it."""
    sizes = np.diagonal(noise)
    least = 0.02 * float(np.median(sizes)) + _ROUNDED * float(sizes.max()) + _TINY
    root = np.linalg.cholesky(noise + least * np.eye(len(noise)))
    return cast("F64", np.linalg.inv(root).T)


def _artefact_part(values: F64, ratio: float) -> F64:
    """Part of sample eigenvalues that is no noise, both in units of the noise; 0 where it cannot be told from it.

    A true excess e over noise 1 shows up as the eigenvalue (1 + e)(1 + ratio / e), with ``ratio`` dimensions per
    beat.
    """
    x = values - 1.0 - ratio
    root = x**2 - 4.0 * ratio
    return np.where((x > 0) & (root > 0), 0.5 * (x + np.sqrt(np.maximum(root, 0.0))), 0.0)
