"""What was good and what was not in a session, summed up while it runs: the numbers of ``quality.json``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from streamer.messages import BoldFrame, CleanEeg, Flag, Output, Window
from streamer.wire import flag_names

QUALITY = "quality.json"


class QualityTally:
    """Counts flags, ages and head motion over a session; its size does not grow with it."""

    def __init__(self) -> None:
        self._samples: Counter[Flag] = Counter()
        self._frames: Counter[Flag] = Counter()
        self._windows: Counter[Flag] = Counter()
        self._bad: Counter[str] = Counter()
        self._valid: Counter[str] = Counter()
        self._age_eeg = _Spread()
        self._age_bold = _Spread()
        self._fd = _Spread()
        self._translation = _Spread()
        self._rotation = _Spread()
        self._dvars = _Spread()
        self._residual = _Spread()

    def take(self, outputs: Iterable[Output], bad_channels: Callable[[], Iterable[str]]) -> None:
        """Take what came of one event; ``bad_channels`` names those that are bad now, and is asked at each window."""
        for output in outputs:
            match output:
                case CleanEeg():
                    self._samples[output.flags] += len(output.data)
                case BoldFrame():
                    self._frames[output.flags] += 1
                    self._fd.add(output.fd)
                    self._translation.add(float(np.abs(output.motion[:3]).max()))
                    self._rotation.add(float(np.abs(output.motion[3:]).max()))
                    self._dvars.add(output.dvars)
                    self._residual.add(output.residual)
                case Window():
                    self._windows[output.flags] += 1
                    self._valid["eeg"] += output.eeg_valid
                    self._valid["bold"] += output.bold_valid
                    self._age_eeg.add(output.age_eeg)
                    self._age_bold.add(output.age_bold)
                    self._bad.update(bad_channels())
                case _:
                    pass

    def plain(self) -> dict[str, dict[str, Any]]:
        """Give ``eeg``, ``bold`` and ``windows`` as JSON values; what is not known is null."""
        n_windows = self._windows.total()
        return {
            "eeg": {
                "clean_samples": self._samples.total(),
                "flags_samples": _by_name(self._samples),
                "bad_channels": {name: round(n / n_windows, 4) for name, n in sorted(self._bad.items())},
            },
            "bold": {
                "frames": self._frames.total(),
                "flags_frames": _by_name(self._frames),
                "framewise_displacement_mm": self._fd.plain(),
                "translation_mm": self._translation.plain(),
                "rotation_rad": self._rotation.plain(),
                "dvars_percent": self._dvars.plain(),
                "registration_residual": self._residual.plain(),
            },
            "windows": {
                "windows": n_windows,
                "eeg_valid": self._valid["eeg"],
                "bold_valid": self._valid["bold"],
                "flags_windows": _by_name(self._windows),
                "age_eeg_s": self._age_eeg.plain(),
                "age_bold_s": self._age_bold.plain(),
            },
        }


class _Spread:
    def __init__(self) -> None:
        self._n = 0
        self._sum = 0.0
        self._max = -math.inf

    def add(self, value: float) -> None:
        if math.isfinite(value):
            self._n += 1
            self._sum += value
            self._max = max(self._max, value)

    def plain(self) -> dict[str, float | None]:
        if not self._n:
            return {"mean": None, "max": None}
        return {"mean": float(f"{self._sum / self._n:.9g}"), "max": float(f"{self._max:.9g}")}


def _by_name(counts: Counter[Flag]) -> dict[str, int]:
    # one count per single flag: a window with two flags counts for both
    found: Counter[str] = Counter()
    for flags, n in counts.items():
        found.update(dict.fromkeys(flag_names(flags), n))
    return {name: found[name] for name in sorted(found)}
