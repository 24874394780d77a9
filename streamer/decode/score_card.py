"""The card of a model-free score: made from settings when a stream opens, for any montage."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from streamer.decode.model_card import AgeLimits, BoldInput, EegInput, ModelCard, TrainingData
from streamer.decode.score_spec import BoldTerm, EegTerm, ScoreSpec
from streamer.decode.score_terms import ScoreTerms
from streamer.errors import ModelError

NAME = "score"
_ROWS = (
    # occipital alpha, and what is nearest to it where a small montage has none
    ((7.0, 13.5), (r"(O|PO)(z|\d+)", r"P(z|\d+)")),
    # beta of the sensorimotor cortex
    ((13.5, 35.0), (r"C(z|\d+)", r"(CP|FC)(z|\d+)")),
)
"""Range of a band's centre in Hz, and the rows of the 10-10 system that serve for it, the best first."""
_CONTROL = re.compile(r"control|nuisance|csf|fluid|ventric|white|^wm$", re.IGNORECASE)


def make_score_card(
    spec: ScoreSpec,
    eeg: EegInput | None,
    bold: BoldInput | None,
    target: str,
    preprocessing: str,
    *,
    limits: AgeLimits | None = None,
    pairing: str = "model",
    region_sd: Mapping[str, float] | None = None,
) -> ModelCard:
    """Make the card of a score that needs no training.

    Parameters
    ----------
    spec : ScoreSpec
        Empty lists of channels and regions are filled in: see :func:`default_channels`, :func:`default_regions`.
    eeg, bold : EegInput, BoldInput or None
        What the session's windows hold; None for a modality that it has not, whose terms are left out.
    target : str
        The class that the weights speak for.
    preprocessing : str
        Digest of the settings that shape the windows.
    limits : AgeLimits, optional
    pairing : str
        How EEG and BOLD are put together.
    region_sd : mapping, optional
        Standard deviation of each region in the calibration run, %; the settings' own come first.

    Raises
    ------
    ModelError
        A band, channel or region is not there, or no term is left; every problem is listed.
    """
    sd = {**(region_sd or {}), **spec.region_sd}
    if bold is None:
        sd = {}
    filled = spec.model_copy(
        update={
            "eeg": () if eeg is None else tuple(_with_channels(term, eeg) for term in spec.eeg),
            "bold": () if bold is None else tuple(_with_regions(term, bold) for term in spec.bold),
            "region_sd": sd,
        }
    )
    if not filled.eeg and not filled.bold:
        raise ModelError("a score without a term: expected at least one of the EEG or of the BOLD that the session has")
    if target == spec.other:
        raise ModelError(f"a score's target and its other class are both {target}: expected two names")
    card = ModelCard.model_validate(
        {
            "schema": 2,
            "kind": "score",
            "name": NAME,
            "description": "Band power of channels and signal change of regions, joined as log-odds; not trained.",
            "licence": "BSD-3-Clause",
            "classes": (spec.other, target),
            "preprocessing": preprocessing,
            "pairing": pairing,
            "verdict": "not fitted to anyone: its weights are the settings'",
            "eeg": eeg,
            "bold": bold,
            "limits": limits or AgeLimits(),
            "score": filled,
            "training": TrainingData(data="none"),
        }
    )
    # names that are not there are refused here, not at the first window
    ScoreTerms(card)
    return card


def default_channels(band_hz: tuple[float, float], channels: Sequence[str]) -> tuple[str, ...]:
    """Choose channels for a band by their names in the 10-20 system.

    Around 10 Hz the occipital ones (O, PO; else P), from 13.5 to 35 Hz the central ones (C; else CP, FC); all where the
    montage names none of these, and for other bands.
    """
    centre = sum(band_hz) / 2
    for (low, high), rows in _ROWS:
        if low <= centre < high:
            for row in rows:
                found = tuple(name for name in channels if re.fullmatch(row, name, re.IGNORECASE))
                if found:
                    return found
    return tuple(channels)


def default_regions(regions: Sequence[str]) -> tuple[str, ...]:
    """Choose regions: all but those whose name says that they are a control, white matter or fluid."""
    return tuple(name for name in regions if not _CONTROL.search(name)) or tuple(regions)


def _with_channels(term: EegTerm, eeg: EegInput) -> EegTerm:
    if term.channels or term.band not in eeg.bands:
        return term
    return term.model_copy(update={"channels": default_channels(eeg.bands[term.band], eeg.channels)})


def _with_regions(term: BoldTerm, bold: BoldInput) -> BoldTerm:
    return term if term.regions else term.model_copy(update={"regions": default_regions(bold.regions)})
