"""A session with every fault at once: what the loop says went wrong is what was planted."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from streamer.config import Config, ModelSection
from streamer.replay import replay_recording
from streamer.simulate.faults import parse_faults
from streamer.simulate.session import SimulationSettings, simulate_session

MORE = "all,missing_trigger=0.05,double_trigger=0.05,extra_trigger_per_min=2,missing_volume=0.05"


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_what_is_found_is_what_was_planted(tmp_path: Path, seed: int):
    settings = SimulationSettings(
        seed=seed,
        sfreq=1000.0,
        n_channels=12,
        grid=(24, 24, 8),
        calibration_s=8.0,
        block_s=8.0,
        n_blocks=12,
        faults=parse_faults(MORE),
    )
    simulate_session(tmp_path / "s", settings, workers=1)
    task = tmp_path / "s" / "task"
    planted: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in json.loads((task / "ledger.json").read_text())["faults"]:
        planted[entry["kind"]].append(entry)
    assert planted["gap"]
    assert planted["restart"]
    assert planted["missing_trigger"]
    summary = replay_recording(task, Config(model=ModelSection(card="none")), tmp_path / "out")
    quality = json.loads((tmp_path / "out" / "quality.json").read_text())
    timing = quality["timing"]
    assert timing["gaps"] == len(planted["gap"])
    assert timing["lost_samples"] == sum(b - a for a, b in (entry["samples"] for entry in planted["gap"]))
    assert timing["trains"] == len(planted["restart"]) + 1
    lost = {volume for entry in planted["gap"] for volume in entry["triggers_lost"]}
    assert timing["triggers_missing"] == len(lost | {entry["volume"] for entry in planted["missing_trigger"]})

    def heard(kind: str) -> int:
        gaps = [entry["samples"] for entry in planted["gap"]]
        return sum(not any(a <= entry["sample"] < b for a, b in gaps) for entry in planted[kind])

    # a stray pulse in the first half of a volume cannot be told from a doubled one
    assert timing["triggers_doubled"] >= heard("double_trigger")
    assert timing["triggers_doubled"] + timing["triggers_extra"] == heard("double_trigger") + heard("extra_trigger")
    assert timing["clock_steps"] == timing["markers_unresolved"] == timing["volumes_misaligned"] == 0
    files = len({path.stem[:17] for path in (task / "dicom").iterdir()})
    assert timing["volumes_matched"] == summary.counts["volumes"] == files
    assert timing["volumes_unmatched"] == 0
    assert summary.losses["volumes"] == len(planted["missing_volume"])
