"""The course of a run: when the scanner begins, which blocks there are, where the volumes lie."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from streamer.messages import F64
from streamer.simulate.faults import FaultSettings
from streamer.simulate.settings import SimulationSettings

REST, TASK = "rest", "task"


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch with one state."""

    onset_s: float
    """s after the first EEG sample."""
    duration_s: float
    label: str


@dataclass(frozen=True)
class RunPlan:
    """One run. Times are s of the scanner's clock after the first EEG sample."""

    name: str
    blocks: tuple[Block, ...]
    n_volumes: int
    start_s: float
    """First volume."""
    duration_s: float
    """Of the EEG."""
    faults: FaultSettings
    """What goes wrong in it."""

    def state(self, times: F64) -> F64:
        """State at ``times``: 1 in task, 0 in rest and outside of blocks."""
        out = np.zeros_like(times)
        for block in self.blocks:
            if block.label == TASK:
                out[(times >= block.onset_s) & (times < block.onset_s + block.duration_s)] = 1.0
        return out


def plan_runs(
    settings: SimulationSettings, rng: np.random.Generator, start_s: float | None = None
) -> tuple[RunPlan, RunPlan]:
    """Lay out the calibration run and the task run.

    The calibration run alternates. The order of the task run's blocks is drawn, never more than two alike in a row: a
    model that only knows the time cannot do better than chance by much.

    Parameters
    ----------
    settings : SimulationSettings
    rng : Generator
    start_s : float or None
        First volume, where a table of triggers says it; s after the first EEG sample.
    """
    start = settings.start_s if start_s is None else start_s
    n_calibration = int(settings.calibration_s // settings.block_s)
    rest_of_it = settings.calibration_s - n_calibration * settings.block_s
    alternating = [TASK if k % 2 else REST for k in range(n_calibration)]
    return (
        _plan(settings, "calibration", alternating, start, settings.lead_s + rest_of_it, settings.faults.of_the_clock),
        _plan(settings, "task", _drawn(settings.n_blocks, rng), start, settings.lead_s, settings.faults),
    )


def _plan(
    settings: SimulationSettings, name: str, labels: list[str], start_s: float, lead_s: float, faults: FaultSettings
) -> RunPlan:
    first = start_s + lead_s
    blocks = tuple(Block(first + k * settings.block_s, settings.block_s, label) for k, label in enumerate(labels))
    # the scanner ends with the last block; a part of a volume is not acquired
    n_volumes = max(1, math.floor((lead_s + len(labels) * settings.block_s) / settings.tr_s + 1e-9))
    duration = max(start_s + n_volumes * settings.tr_s, blocks[-1].onset_s + settings.block_s)
    return RunPlan(name, blocks, n_volumes, start_s, duration + settings.stop_s, faults)


def _drawn(n_blocks: int, rng: np.random.Generator) -> list[str]:
    # pairs of one rest and one task in drawn order: balanced at every point, and at most two alike in a row
    labels: list[str] = []
    for _ in range((n_blocks + 1) // 2):
        pair = [REST, TASK]
        labels += pair if rng.random() < 0.5 else pair[::-1]
    return labels[:n_blocks]
