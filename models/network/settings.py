"""Sizes of the fusion network, and what training drops."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from streamer.contracts import Settings

Cells = Annotated[int, Field(ge=1)]


class FusionSettings(Settings):
    """Size of the network, and what training drops."""

    n_channels: int = Field(ge=0)
    """EEG channels; 0 for a network of BOLD alone."""
    n_bands: int = Field(ge=0)
    """Bands per channel; 0 for a network of BOLD alone."""
    eeg_steps: int = Field(default=20, ge=1)
    """Steps of an EEG window."""
    eeg_step_s: float = Field(default=0.2, gt=0)
    """Length of an EEG step, s."""
    n_regions: int = Field(ge=0)
    """BOLD regions (or cells of the volume); 0 for a network of EEG alone."""
    bold_steps: int = Field(default=16, ge=1)
    """Steps of a BOLD window."""
    bold_grid_s: float = Field(default=1.0, gt=0)
    """Length of a BOLD step, s."""
    cells: tuple[Cells, Cells, Cells] | None = None
    """The regions are the cells of a box of this shape, x slowest, z fastest: a 3-D convolution reads them."""
    n_classes: int = Field(default=2, ge=2)
    """Outputs."""
    head: Literal["attention", "concatenation", "pyramid"] = "attention"
    """How the modalities are joined: weighted by attention, side by side, or side by side after pooling over spans."""
    spans_s: tuple[Annotated[float, Field(gt=0)], ...] = Field(default=(1.0, 2.0, 4.0, 8.0), min_length=1)
    """pyramid: the newest stretches of a window that are averaged, s; those that it does not reach are left out."""
    spatial_filters: int = Field(default=8, ge=1)
    """Mixtures of the channels per band."""
    conv_steps: int = Field(default=3, ge=2)
    """EEG steps that the temporal convolution sees."""
    eeg_width: int = Field(default=16, ge=1)
    """Width of the EEG embedding per step."""
    lstm_width: int = Field(default=32, ge=1)
    """State of the LSTM, and hidden width of the BOLD branch."""
    bold_width: int = Field(default=16, ge=1)
    """Width of the BOLD embedding per step."""
    volume_widths: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(8, 16, 32), min_length=1)
    """cells: outputs of the 3-D convolutions, each of which halves the box."""
    token_width: int = Field(default=32, ge=1)
    """Width of the tokens: a multiple of heads."""
    heads: int = Field(default=4, ge=1)
    """Attention heads."""
    dropout: float = Field(default=0.3, ge=0, lt=1)
    """Share of activations dropped in training."""
    drop_eeg: float = Field(default=0.2, ge=0, lt=1)
    """Share of training windows without EEG."""
    drop_bold: float = Field(default=0.3, ge=0, lt=1)
    """Share of training windows without BOLD; never without both."""
    drop_channel: float = Field(default=0.1, ge=0, lt=1)
    """Share of EEG channels silenced in training."""
    age_inflation_s: float = Field(default=2.0, ge=0)
    """Age added at most to the BOLD's in training, s; the EEG's gets a tenth."""

    @model_validator(mode="after")
    def _fits(self) -> FusionSettings:
        problems: list[str] = []
        if self.token_width % self.heads:
            problems.append(f"token_width {self.token_width} is not a multiple of heads {self.heads}")
        if not self.n_channels and not self.n_regions:
            problems.append("n_channels and n_regions are 0: expected at least one modality")
        if self.n_channels and not self.n_bands:
            problems.append(f"n_bands is 0 with {self.n_channels} channels: expected at least 1")
        if self.cells is not None and math.prod(self.cells) != self.n_regions:
            problems.append(
                f"cells {'x'.join(map(str, self.cells))} make {math.prod(self.cells)} cells: expected n_regions, "
                f"which is {self.n_regions}"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def n_eeg_features(self) -> int:
        """Width of an EEG step: channels times bands."""
        return self.n_channels * self.n_bands

    def eeg_spans(self) -> tuple[int, ...]:
        """Steps of every span that an EEG window reaches."""
        return _reached(self.spans_s, self.eeg_step_s, self.eeg_steps)

    def bold_spans(self) -> tuple[int, ...]:
        """Steps of every span that a BOLD window reaches."""
        return _reached(self.spans_s, self.bold_grid_s, self.bold_steps)


def _reached(spans_s: tuple[float, ...], step_s: float, n_steps: int) -> tuple[int, ...]:
    steps = sorted({max(1, round(span / step_s)) for span in spans_s})
    # a window shorter than every span is averaged as a whole
    return tuple(n for n in steps if n <= n_steps) or (n_steps,)
