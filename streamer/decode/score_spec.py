"""What a model-free score is made of: bands of channels and signals of regions, weighted."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from streamer.contracts import Settings

Finite = Annotated[float, Field(allow_inf_nan=False)]


class EegTerm(Settings):
    """Log band power of some channels, z-scored against the participant's baseline."""

    band: str = "alpha"
    """Name of the band, as ``[features.bands]`` has it."""
    channels: tuple[str, ...] = ()
    """Names of the channels; empty: those over which a rhythm of this frequency is strongest, as far as the montage has
    them by name (about 10 Hz: occipital; 14 to 35 Hz: central), else all."""
    weight: Finite = -1.0
    """Log-odds of the target per standard deviation; below 0 where less power speaks for it (desynchronisation)."""
    centre: Finite = 0.0
    """Where the term speaks for neither class, in standard deviations."""


class BoldTerm(Settings):
    """Signal change of some regions, in standard deviations of the participant's baseline."""

    regions: tuple[str, ...] = ()
    """Names of the regions; empty: all but those whose name says that they are a control, white matter or fluid."""
    weight: Finite = 1.0
    """Log-odds of the target per standard deviation."""
    centre: Finite = 0.0
    """Where the term speaks for neither class, in standard deviations."""


class ScoreSpec(Settings):
    """A score without a trained model: weighted log-odds of what EEG and BOLD say."""

    eeg: tuple[EegTerm, ...] = (EegTerm(band="alpha"), EegTerm(band="beta"))
    """Terms of the EEG; none for BOLD alone."""
    bold: tuple[BoldTerm, ...] = (BoldTerm(),)
    """Terms of the BOLD; none for EEG alone."""
    other: str = Field(default="rest", min_length=1)
    """Name of the class that is not the target."""
    intercept: Finite = 0.0
    """Log-odds of the target where every term is at its centre."""
    eeg_s: float = Field(default=2.0, gt=0, le=60)
    """The newest part of the window that the EEG is averaged over, s."""
    bold_s: float = Field(default=4.0, gt=0, le=60)
    """The newest part of the window that the BOLD is averaged over, s."""
    limit_sd: float = Field(default=4.0, gt=0, le=20)
    """A term counts as at most so many standard deviations from its centre: no artefact outweighs all else."""
    region_sd: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(default_factory=dict[str, float])
    """Standard deviation of each region's signal change in the participant's calibration run, %; empty: mean and
    standard deviation of the run's own past, and no BOLD counts until that is known."""
