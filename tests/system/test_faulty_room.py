"""The whole loop on BrainVision Recorder in place of LSL, with lost blocks."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from streamer.acquire.rda import RdaSettings
from streamer.child import child
from streamer.clock import pause
from streamer.config import Config, EegSection
from streamer.replay import config_for, replay_to
from tests.system.conftest import config_of, write_config

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

STOP_S = 20.0


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
