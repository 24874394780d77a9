"""What the settings of features of one band have in common."""

from __future__ import annotations

from pydantic import Field, field_validator

from streamer.contracts import Settings
from streamer.errors import ConfigError


class BandSettings(Settings):
    """A feature of one band."""

    enabled: bool = False
    """Whether it is made."""
    band_hz: tuple[float, float] = (8.0, 13.0)
    """Edges of the band, Hz."""

    @field_validator("band_hz")
    @classmethod
    def _rising(cls, band: tuple[float, float]) -> tuple[float, float]:
        if not 0 < band[0] < band[1]:
            raise ValueError(f"band is {band[0]} to {band[1]} Hz: expected rising edges above 0")
        return band

    def check(self, what: str, sfreq: float) -> None:
        """Check that the band lies below half the rate, Hz.

        Raises
        ------
        ConfigError
            It does not.
        """
        high = self.band_hz[1]
        if high >= sfreq / 2:
            expected = f"expected less than {sfreq / 2:g} Hz, half the rate of the EEG"
            raise ConfigError(what, [f"band_hz ends at {high:g} Hz: {expected}"])


class WindowedBandSettings(BandSettings):
    """A feature of one band over a window that goes on step by step."""

    window_s: float = Field(default=4.0, gt=0)
    """Length of the window, s: a whole number of steps."""
    step_s: float = Field(default=0.5, gt=0)
    """From one record to the next, s: a whole number of blocks, ``1 / rate_hz``."""
    settle_s: float = Field(default=0.5, ge=0)
    """Left out after a start, a gap or dirty samples, s, while the filter settles."""
