"""The terms of a model-free score, of many windows at once or of one: training and the loop run the same code."""

from __future__ import annotations

import numpy as np

from streamer.decode.model_card import ModelCard, Pattern
from streamer.errors import ModelError
from streamer.messages import F32, F64


class ScoreTerms:
    """Turn windows into terms, those of the EEG first.

    A term is the mean over its channels (regions) and over the newest steps of the window, in standard deviations from
    its centre, held within ``limit_sd``.

    Parameters
    ----------
    card : ModelCard
        Of kind score; every term names its channels or regions.

    Raises
    ------
    ModelError
        The card is of another kind, or a term names what the card's inputs do not hold.
    """

    def __init__(self, card: ModelCard) -> None:
        spec = card.score
        if spec is None:
            raise ModelError(f"card {card.name} is of kind {card.kind}: expected kind score")
        self.spec = spec
        problems: list[str] = []
        eeg, bold = card.eeg, card.bold
        self._eeg: list[list[int]] = []
        self._eeg_steps = self._bold_steps = 1
        if eeg is not None:
            bands = list(eeg.bands)
            self._eeg_steps = _newest(spec.eeg_s, eeg.step_s, eeg.n_steps)
            for number, term in enumerate(spec.eeg, start=1):
                problems += _missing(f"EEG term {number}: band", [term.band], bands)
                problems += _missing(f"EEG term {number}: channels", term.channels, eeg.channels)
                if not problems:
                    at = [eeg.channels.index(name) for name in term.channels]
                    self._eeg.append([channel * len(bands) + bands.index(term.band) for channel in at])
        self._bold: list[list[int]] = []
        if bold is not None:
            self._bold_steps = _newest(spec.bold_s, bold.grid_s, bold.n_steps)
            for number, term in enumerate(spec.bold, start=1):
                problems += _missing(f"BOLD term {number}: regions", term.regions, bold.regions)
                self._bold.append([bold.regions.index(name) for name in term.regions if name in bold.regions])
            if spec.region_sd:
                problems += _missing("standard deviations: regions", bold.regions, list(spec.region_sd))
        if problems:
            raise ModelError(f"card {card.name}: {'; '.join(problems)}")
        self.n_eeg, self.n_bold = len(self._eeg), len(self._bold)
        self.sd: F64 | None = None
        """% per region, shape (n_regions,); None where the card has none."""
        if bold is not None and spec.region_sd:
            self.sd = np.array([spec.region_sd[name] for name in bold.regions])
        terms = (*spec.eeg[: self.n_eeg], *spec.bold[: self.n_bold])
        self.weights = np.array([term.weight for term in terms])
        """Log-odds per standard deviation, shape (n_terms,)."""
        self._centres = np.array([term.centre for term in terms])

    def eeg(self, eeg: F32) -> F64:
        """Terms of the EEG, shape (n_windows, n_eeg), of windows of shape (n_windows, n_steps, n_features)."""
        newest = eeg[:, -self._eeg_steps :].astype(np.float64)
        return self._limited([newest[:, :, at].mean(axis=(1, 2)) for at in self._eeg], len(eeg), 0)

    def bold(self, bold: F32, mean: F64 | None = None, sd: F64 | None = None) -> F64:
        """Terms of the BOLD, shape (n_windows, n_bold), of windows of shape (n_windows, n_steps, n_regions).

        Parameters
        ----------
        bold : ndarray
            % signal change.
        mean, sd : ndarray, shape (n_regions,), optional
            What they are measured against, %; by default 0 and the card's standard deviation.
        """
        if not self._bold:
            return np.empty((len(bold), 0))
        scale = self.sd if sd is None else sd
        if scale is None:
            raise ModelError("BOLD terms without a standard deviation: the card has none, and none was given")
        level = bold[:, -self._bold_steps :].mean(axis=1, dtype=np.float64)
        z = (level if mean is None else level - mean) / scale
        return self._limited([z[:, at].mean(axis=1) for at in self._bold], len(bold), self.n_eeg)

    def _limited(self, columns: list[F64], n: int, first: int) -> F64:
        values = np.stack(columns, axis=1) if columns else np.empty((n, 0))
        centres = self._centres[first : first + len(columns)]
        return np.clip(values - centres, -self.spec.limit_sd, self.spec.limit_sd)

    def log_odds(self, eeg: F64, bold: F64, pattern: Pattern) -> F64:
        """Log-odds of the target, shape (n_windows,), of terms as :meth:`eeg` and :meth:`bold` give them."""
        total = np.full(len(eeg), self.spec.intercept)
        if pattern != "bold":
            total += eeg @ self.weights[: self.n_eeg]
        if pattern != "eeg":
            total += bold @ self.weights[self.n_eeg :]
        return total


def _newest(long_s: float, step_s: float, n_steps: int) -> int:
    return min(n_steps, max(1, round(long_s / step_s)))


def _missing(what: str, wanted: tuple[str, ...] | list[str], given: tuple[str, ...] | list[str]) -> list[str]:
    lost = [name for name in wanted if name not in given]
    if lost:
        return [f"{what} {', '.join(lost)} not there, expected some of {', '.join(given)}"]
    return [] if wanted else [f"{what} not named"]
