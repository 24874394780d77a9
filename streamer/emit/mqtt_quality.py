"""How good the data are, summed up from what passes by: the message ``quality``."""

from __future__ import annotations

import math

from streamer import wire
from streamer.messages import BoldFrame, CleanEeg, Flag, Health


class QualityNow:
    """Keeps what is bad now and how much the head has moved; its size does not grow."""

    def __init__(self) -> None:
        self._bad: tuple[int, ...] = ()
        self._fd = math.nan
        self._fd_sum = 0.0
        self._fd_known = 0
        self._fd_max = math.nan
        self._volumes = 0
        self._moved = 0

    def take(self, item: CleanEeg | BoldFrame) -> None:
        """Take one output of the loop."""
        if isinstance(item, CleanEeg):
            self._bad = item.bad
            return
        self._volumes += 1
        self._moved += Flag.MOTION in item.flags
        self._fd = item.fd
        if math.isfinite(item.fd):
            self._fd_sum += item.fd
            self._fd_known += 1
            self._fd_max = max(item.fd, self._fd_max) if self._fd_known > 1 else item.fd

    def message(self, health: Health, about: wire.About | None) -> wire.QualityMessage:
        """Sum up; ``about`` tells what the channels are called."""
        names = [channel.name for channel in about.channels if channel.kind == "eeg"] if about is not None else []
        return wire.QualityMessage(
            at=health.at,
            bad_channels=[names[k] if k < len(names) else f"#{k}" for k in self._bad],
            n_channels=len(names),
            eeg={name: wire.finite(value) for name, value in health.eeg.items()},
            fd_mm=wire.finite(self._fd),
            fd_mean_mm=self._fd_sum / self._fd_known if self._fd_known else None,
            fd_max_mm=wire.finite(self._fd_max),
            volumes=self._volumes,
            volumes_motion=self._moved,
            flags=wire.flag_names(health.flags),
        )
