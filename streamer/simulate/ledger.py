"""The faults of one run as they are drawn: each from a generator of its own, each entered into the ledger."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from streamer.messages import F64
from streamer.simulate.faults import FaultSettings

# what a reader who makes no mistake finds out from the recording alone
_READER = {
    "clock_drift": "the spacing of the triggers is no whole number of samples: the clocks are not synchronised",
    "gradient_jitter": "the artefact's place against its trigger varies by parts of a sample",
    "missing_trigger": "a pulse is missing on the line of the others: the volume began where the line says",
    "double_trigger": "two pulses closer than a volume is long: the one on the line counts",
    "extra_trigger": "a pulse off the line of the others: no volume began there",
    "dummy_volumes": "the first triggers have no files: volume 0 belongs to the first trigger after them",
    "untriggered_volumes": "the first files have no triggers: they lie before the first one, a TR apart",
    "restart": "the pulses pause for no whole number of TR and a new series begins: a second line, counted anew",
    "missing_volume": "a number is left out: the volumes behind it keep their triggers",
    "double_volume": "a number that was there already, with the same voxels: counted, not used twice",
    "out_of_order_volume": "a number comes after a higher one: it still belongs to its own trigger",
    "late_export": "known late: until then the newest volume is an older one",
    "export_batch": "volumes come in groups: the first of a group is known late",
    "bold_spike": "some slices stand out against the volumes around: no signal of the brain",
    "gap": "samples are missing: time goes on, the sample count does not",
    "electrode_pop": "a step on one channel alone: an electrode, no brain",
    "flat_channel": "a channel without any noise: not connected",
    "noisy_channel": "white noise on one channel alone: a loose lead",
    "clipping": "a channel at the rail: what it says is not the voltage",
    "ecg_dropout": "no R peaks can be found here: the heart went on",
    "ectopic_beat": "an early, broad beat and a pause: its pulse artefact is smaller than the others'",
    "movement": "a fast movement in the EEG, the gradients' size and the volumes at once",
}
KINDS = tuple(_READER)
"""What an entry can be called."""


class RunFaults:
    """The faults of one run.

    Parameters
    ----------
    settings : FaultSettings
    seed, run : int
        Of the session, and the run's number in it.
    """

    def __init__(self, settings: FaultSettings, seed: int, run: int) -> None:
        self.settings = settings
        self._seed = (seed, run)
        self._entries: list[dict[str, Any]] = []

    def rng(self, name: str) -> np.random.Generator:
        """Give a fault its own generator: whether another is on does not matter to it."""
        return np.random.default_rng((*self._seed, zlib.crc32(name.encode())))

    def chosen(self, name: str, fraction: float, count: int) -> list[int]:
        """Draw which of ``count`` things a fault befalls."""
        return np.flatnonzero(self.rng(name).random(count) < fraction).tolist()

    def moments(self, rng: np.random.Generator, per_min: float, from_s: float, to_s: float) -> F64:
        """Draw when something happens that happens ``per_min`` times a minute, s, in order."""
        count = int(rng.poisson(per_min * max(0.0, to_s - from_s) / 60.0))
        return np.sort(rng.uniform(from_s, to_s, count))

    def enter(self, kind: str, from_s: float, to_s: float, **size: float | str | Sequence[float]) -> None:
        """Enter a fault: s after the first EEG sample, lost samples counted, and how large it was."""
        reader = _READER[kind]
        times = {"from_s": round(float(from_s), 6), "to_s": round(float(to_s), 6)}
        self._entries.append({"kind": kind, **times, **size, "reader": reader})

    @property
    def entries(self) -> tuple[dict[str, Any], ...]:
        """What was entered, in the order of time."""
        return tuple(sorted(self._entries, key=lambda entry: (entry["from_s"], entry["kind"])))

    def write(self, path: Path, run: str, effect: str) -> None:
        """Write ``ledger.json``."""
        about = {"schema": 1, "run": run, "null": effect == "none", "effect_in": effect, "faults": self.entries}
        path.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
