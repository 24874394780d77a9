"""Which regions go together, judged against signals that repeat themselves from volume to volume.

Two slow signals correlate by chance far more often than two white ones. Under the hypothesis of no connection, the
variance of their correlation is

    1 / n_eff = 1/n + 2/n sum_k w(k) rho_x(k) rho_y(k),

with both autocorrelations at lag k (Bartlett 1935, doi:10.2307/2342284; Pyper and Peterman 1998, doi:10.1139/f98-104;
Afyouni et al. 2019, doi:10.1016/j.neuroimage.2019.05.011, whose variance this is where nothing is connected). ``w`` is
the share of pairs of volumes at that lag that are there, so censored volumes count for what they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from scipy.stats import false_discovery_control, norm

from streamer.messages import F64, Array

LEAST_VOLUMES = 20
"""Fewer tell neither a correlation nor an autocorrelation."""
FALSE_SHARE = 0.05
"""Of the edges that are shown, so many may be false."""
_LEAST_EFFECTIVE = 8.0
_LEAST_KNOWN = 0.8
_ONE = 1.0 - 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """Nodes and what connects them."""

    names: tuple[str, ...]
    strength: F64
    """Of each pair, with its sign, shape (n, n), symmetric; NaN where unknown."""
    shown: NDArray[np.bool_]
    """Pairs above the null, shape (n, n), symmetric."""
    tested: int
    """Pairs that could be judged."""
    n_volumes: int = 0
    """That were used."""
    n_effective: float = np.nan
    """Independent ones among them: median of the pairs."""
    measure: str = "correlation"
    judged: bool = True
    """False where the measure has no null that is known: then every pair is shown."""

    @property
    def connected(self) -> list[bool]:
        """Whether each node has a pair above the null."""
        return [bool(row.any()) for row in self.shown]

    @property
    def edges(self) -> list[tuple[int, int, float]]:
        """Pairs above the null with their strength, the weakest first."""
        first, second = np.nonzero(np.triu(self.shown, 1))
        strength = self.strength[first, second]
        order = np.argsort(np.abs(strength), kind="stable")
        return [(int(first[k]), int(second[k]), float(strength[k])) for k in order]


def correlate(values: F64, names: Sequence[str], false_share: float = FALSE_SHARE) -> Network:
    """Find the pairs of regions that go together.

    Mean and linear trend are taken out of each region first: drift is no connection.

    Parameters
    ----------
    values : array, shape (n_volumes, n_regions)
        One row per volume, also for those that are missing or censored: NaN.
    names : sequence of str
        Of the regions.
    false_share : float
        Expected share of false pairs among those shown (Benjamini and Hochberg 1995,
        doi:10.1111/j.2517-6161.1995.tb02031.x).

    Returns
    -------
    Network
        Nothing is shown while there are fewer than ``LEAST_VOLUMES``. A region that is unknown in more than a fifth of
        the volumes, or that does not change, has no pairs.
    """
    n_regions = values.shape[1]
    there: Array = np.logical_or.reduce(np.isfinite(values), axis=1)
    n = int(there.sum())
    unknown = np.full((n_regions, n_regions), np.nan)
    if n < LEAST_VOLUMES:
        return Network(tuple(names), unknown, np.zeros(unknown.shape, bool), 0, n)
    x, known = _detrended(values)
    share = known.sum(axis=0) / n
    alive = (share >= _LEAST_KNOWN) & (np.square(x).sum(axis=0) > 1e-18)
    x, known = x[:, alive], known[:, alive]
    r, pairs = _correlations(x, known)
    effective = pairs / _repetition(x, known, there)
    z = np.arctanh(np.clip(r, -_ONE, _ONE))
    # three are taken by Fisher's z, one more by the trend
    room = np.where(effective >= _LEAST_EFFECTIVE, effective - 4.0, np.nan)
    p = 2.0 * norm.sf(np.abs(z) * np.sqrt(room))
    first, second = np.triu_indices(len(r), 1)
    found = np.zeros(r.shape, bool)
    found[first, second] = discoveries(p[first, second], false_share)
    shown = np.zeros(unknown.shape, bool)
    shown[np.ix_(alive, alive)] = found | found.T
    strength = unknown
    strength[np.ix_(alive, alive)] = r
    np.fill_diagonal(strength, np.nan)
    used = effective[first, second]
    return Network(
        tuple(names),
        strength,
        shown,
        int(np.isfinite(p[first, second]).sum()),
        n,
        float(np.median(used)) if len(used) else np.nan,
    )


def discoveries(p: Array, false_share: float) -> NDArray[np.bool_]:
    """Choose by Benjamini and Hochberg's rule; NaN is never chosen and not counted. Shape as given, (n,)."""
    chosen = np.zeros(p.shape, bool)
    known = np.isfinite(p)
    if known.any():
        chosen[known] = false_discovery_control(p[known]) <= false_share
    return chosen


def from_feature(
    labels: Sequence[str],
    values: Sequence[float | None],
    uncertainty: Sequence[float | None],
    false_share: float = FALSE_SHARE,
) -> Network | None:
    """Read a feature whose labels are ``measure first~second``; None where it holds no such pair.

    Where a standard deviation is known (that of no connection), pairs are judged by it; else all are shown.
    """
    pairs: list[tuple[str, str]] = []
    rows: list[tuple[float, float]] = []
    measure = ""
    sds = [*uncertainty, *[None] * (len(values) - len(uncertainty))]
    for label, value, sd in zip(labels, values, sds, strict=False):
        # a group's name may hold blanks: the measure is the first word
        start, _, both = label.partition(" ")
        one, _, other = both.partition("~")
        if one and other and "~" not in other:
            measure = start
            pairs.append((one, other))
            rows.append((np.nan if value is None else value, np.nan if sd is None else sd))
    if not pairs:
        return None
    names = tuple(dict.fromkeys(name for pair in pairs for name in pair))
    at = {name: i for i, name in enumerate(names)}
    first, second = np.array([[at[a], at[b]] for a, b in pairs]).T
    strength, sd = np.array(rows, np.float64).T
    judged = bool(np.isfinite(sd).any())
    if judged:
        p = np.full(len(sd), np.nan)
        np.divide(np.abs(strength), sd, out=p, where=sd > 0)
        found = discoveries(2.0 * norm.sf(p), false_share)
    else:
        found = np.isfinite(strength)
    matrix = np.full((len(names), len(names)), np.nan)
    shown = np.zeros(matrix.shape, bool)
    matrix[first, second] = matrix[second, first] = strength
    shown[first, second] = shown[second, first] = found
    return Network(names, matrix, shown, int(np.isfinite(strength).sum()), measure=measure, judged=judged)


def places_from_above(centres: Sequence[Sequence[float] | None], n: int) -> F64 | None:
    """Put places into a square as seen from above, the front at the top; None where not all are known.

    Parameters
    ----------
    centres : sequence of (x, y, z) or None
        x to the right, y to the front.
    n : int
        How many there must be.

    Returns
    -------
    places : array, shape (n, 2), or None
        Right and front, -1 to 1, the same scale for both.
    """
    told = [each[:2] for each in centres if each is not None and len(each) == 3]
    if n < 1 or len(told) != n or len(centres) != n:
        return None
    places = np.array(told, np.float64)
    if not np.isfinite(places).all():
        return None
    low, high = places.min(axis=0), places.max(axis=0)
    half = float((high - low).max()) / 2
    return (places - (low + high) / 2) / half if half > 0 else np.zeros_like(places)


def centre_of_groups(
    names: Sequence[str], groups: object, positions: Mapping[str, Sequence[float] | None]
) -> list[list[float] | None]:
    """Give the middle of each group's electrodes, in the order of ``names``; None where one is not known.

    Parameters
    ----------
    names : sequence of str
        Of the groups.
    groups : object
        Mapping of group to channels, as the settings have it; whatever does not fit is not known.
    positions : mapping
        Channel to (x, y, z).
    """
    made: list[list[float] | None] = []
    for name in names:
        found = cast("Mapping[str, object]", groups).get(name) if isinstance(groups, Mapping) else None
        members = cast("Sequence[object]", found) if isinstance(found, list | tuple) else ()
        places = [positions.get(str(member)) for member in members]
        known = [place for place in places if place is not None]
        made.append(np.mean(known, axis=0).tolist() if known and len(known) == len(places) else None)
    return made


def _detrended(values: F64) -> tuple[F64, NDArray[np.bool_]]:
    """Take mean and trend out, zero where unknown; and what is known."""
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=0), 1)
    x = np.where(known, values, 0.0)
    # per region over its own volumes, so that the trend is straight for each
    t = np.arange(len(values), dtype=np.float64)[:, None]
    t = np.where(known, t - (t * known).sum(axis=0) / count, 0.0)
    x = np.where(known, x - x.sum(axis=0) / count, 0.0)
    slope = (x * t).sum(axis=0) / np.maximum(np.square(t).sum(axis=0), 1e-12)
    return x - slope * t, known


def _correlations(x: F64, known: NDArray[np.bool_]) -> tuple[F64, F64]:
    """Correlate over what each pair has in common; and how many volumes that is."""
    there = known.astype(np.float64)
    square = np.square(x)
    power = square.T @ there
    spread = np.sqrt(power * power.T)
    return (x.T @ x) / np.maximum(spread, 1e-18), there.T @ there


def _repetition(x: F64, known: NDArray[np.bool_], there: Array) -> F64:
    """Give by how much repetition swells the variance of each pair's correlation, 1 or more, shape (n, n)."""
    n = int(there.sum())
    n_lags = n // 4
    power = np.square(x).sum(axis=0) / known.sum(axis=0)
    together = np.maximum(_lagged(known.astype(np.float64), n_lags), 1.0)
    rho = _lagged(x, n_lags) / together / power
    apart = _lagged(there.astype(np.float64)[:, None], n_lags)
    return np.maximum(1.0 + 2.0 / n * (rho * apart).T @ rho, 1.0)


def _lagged(x: F64, n_lags: int) -> F64:
    """Give sums of products with what came 1 to ``n_lags`` rows before, shape (n_lags, n)."""
    size = next_fast_len(len(x) + n_lags, real=True)
    spectrum = np.square(np.abs(np.fft.rfft(x, size, axis=0)))
    sums: F64 = np.fft.irfft(spectrum, size, axis=0)[1 : n_lags + 1]
    return sums
