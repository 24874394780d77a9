"""A scanner room in which much goes wrong, and BrainVision Recorder in place of LSL: the whole loop on both."""

from __future__ import annotations

import json
import signal
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from streamer.acquire.rda import RdaSettings
from streamer.acquire.recordings import open_recording
from streamer.child import child
from streamer.clock import pause
from streamer.config import Config, EegSection
from streamer.replay import config_for, replay_to
from tests.system.conftest import config_of, write_config

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

STOP_S = 20.0
FAULTS = {
    "jitter_ms": 3,
    "lost_chunk": 0.01,
    "missing_marker": 0.15,
    "doubled_marker": 0.2,
    "late_marker": 0.2,
    "swapped_volume": 0.2,
    "doubled_volume": 0.3,
    "temporary_name": 0.2,
    "foreign_file": 0.15,
}


def run_live(config: Config, out: Path, rig_arguments: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run loop and rig against each other; give what the rig did and the loop's summary."""
    with child("rig", *rig_arguments, "--stop", str(STOP_S), "--json") as rig:
        ready = rig.wait_for(lambda m: m.get("state") == "ready", 60)
        if config.eeg.source == "rda":
            rda = RdaSettings(port=ready["rda_port"])
            config = config.model_copy(update={"eeg": config.eeg.model_copy(update={"rda": rda})})
        with child("run", str(write_config(config, out / "SESSION.toml")), "--json") as run:
            done = rig.wait_for(lambda m: m.get("state") == "done", STOP_S + 100)
            pause(2.5)
            run.process.send_signal(signal.SIGTERM)
            summary = run.wait_for(lambda m: m.get("event") == "summary", 30)
            run.process.wait(60)
    return done, summary


def replays_to_the_same_bytes(folder: Path, again: Path) -> None:
    replay_to(folder, config_for(folder, None), again)
    results = (
        "decisions.jsonl",
        "triggers.jsonl",
        "vetoes.jsonl",
        "features.jsonl",
        "bold_regions.tsv",
        "confounds.tsv",
    )
    for name in results:
        assert (folder / name).read_bytes() == (again / name).read_bytes(), name


def test_what_went_wrong_is_what_was_done(simulated: Path, tmp_path: Path):
    stream = f"amplifier-{uuid.uuid4().hex[:8]}"
    (tmp_path / "export").mkdir()
    task = simulated / "recording" / "task" / "recording.toml"
    spec = ",".join(f"{name}={value}" for name, value in FAULTS.items())
    config = config_of(simulated, tmp_path, stream, name="live")
    done, summary = run_live(
        config,
        tmp_path,
        [str(task), "--export", str(tmp_path / "export"), "--stream-name", stream, "--faults", spec, "--seed", "5"],
    )
    done_by = Counter(fault["fault"] for fault in done["faults"])
    lost = [fault["samples"] for fault in done["faults"] if fault["fault"] == "lost_chunk"]
    assert lost
    assert min(done_by[name] for name in ("missing_marker", "doubled_marker", "doubled_volume")) > 0
    counts, losses = summary["counts"], summary["losses"]
    assert counts["samples"] == done["samples"]
    assert losses["samples"] == sum(b - a for a, b in lost)
    assert losses["volumes"] == 0
    recording = open_recording(task)
    assert recording.bold is not None
    played = sum(recording.bold.known_at_s(k) <= STOP_S for k in range(recording.bold.n_volumes))
    assert counts["volumes"] == counts["bold_frames"] == played

    timing = json.loads((tmp_path / "live" / "quality.json").read_text())["timing"]
    assert timing["gaps"] == len(lost)
    eeg = recording.eeg
    assert eeg is not None
    triggers = {place for place, marker in enumerate(eeg.markers) if marker.label == "R128"}
    of_triggers = Counter(f["fault"] for f in done["faults"] if f.get("marker") in triggers)
    assert timing["triggers_doubled"] == of_triggers["doubled_marker"]
    assert timing["triggers_extra"] == 0
    # what is missing at either end cannot be known
    assert of_triggers["missing_marker"] - 2 <= timing["triggers_missing"] <= of_triggers["missing_marker"]
    assert timing["markers_unresolved"] == 0
    assert timing["trains"] == 1
    assert timing["volumes_misaligned"] == 0
    replays_to_the_same_bytes(tmp_path / "live", tmp_path / "again")


def test_the_loop_runs_on_brainvision_recorder(simulated: Path, tmp_path: Path):
    (tmp_path / "export").mkdir()
    task = simulated / "recording" / "task" / "recording.toml"
    config = config_of(simulated, tmp_path, name="live").model_copy(update={"eeg": EegSection(source="rda")})
    done, summary = run_live(
        config,
        tmp_path,
        [str(task), "--export", str(tmp_path / "export"), "--rda", "0", "--faults", "lost_chunk=0.004"],
    )
    lost = sum(f["samples"][1] - f["samples"][0] for f in done["faults"] if f["fault"] == "lost_chunk")
    assert summary["counts"]["samples"] == done["samples"]
    assert summary["losses"]["samples"] == lost > 0
    timing = json.loads((tmp_path / "live" / "quality.json").read_text())["timing"]
    swallowed = sum(f["fault"] == "swallowed" for f in done["faults"])
    assert summary["counts"]["markers"] == done["markers"]
    assert timing["markers_unresolved"] == timing["markers_approximate"] == 0
    assert timing["triggers_missing"] <= swallowed
    assert summary["counts"]["decisions"] > 10 * (STOP_S - 2)
    replays_to_the_same_bytes(tmp_path / "live", tmp_path / "again")
