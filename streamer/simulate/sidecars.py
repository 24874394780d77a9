"""The small files of a session: what there is, the blocks, when each volume was known."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from streamer.messages import F64, Array
from streamer.simulate.plan import RunPlan
from streamer.simulate.settings import SimulationSettings
from streamer.simulate.subject import REGIONS, Subject

_RECORDING = """\
schema = 1
kind = "recording"

[eeg]
file = "eeg.vhdr"

[bold]
directory = "dicom"
trigger = "R128"
first_volume = 0
known_at = "export.tsv"

[regions]
labels = "../regions.nii.gz"
names = "../regions.tsv"

[events]
file = "events.tsv"
"""


@dataclass(frozen=True)
class RunTiming:
    """When the volumes of a run were; s after the first EEG sample on the amplifier's clock."""

    onsets: F64
    """s, shape (n_volumes,)."""
    triggers: Array
    """Samples, shape (n_volumes,)."""
    artefact: F64
    """Where the gradient artefact of each volume begins, samples, shape (n_volumes + 1,)."""
    known: F64
    """Last byte on disk, s, shape (n_volumes,)."""


def write_session_toml(path: Path, settings: SimulationSettings, subject: Subject, runs: list[str]) -> None:
    """Write what the session is and how it was made."""
    lines = ["schema = 1", 'kind = "session"', f"runs = {json.dumps(runs)}", "", "[subject]"]
    alpha = subject.rhythms[0]
    lines += [
        f"alpha_hz = {alpha.centre_hz:.4f}",
        f"alpha_power_lost_in_task = {alpha.loss:.4f}",
        f"heart_rate_per_min = {subject.heart_rate:.2f}",
        "",
        "[subject.response_percent]",
        *(f"{name} = {value:.4f}" for name, value in zip(REGIONS, subject.response, strict=True)),
        "",
        "[subject.alpha_coupling_percent]",
        *(f"{name} = {value:.4f}" for name, value in zip(REGIONS, subject.coupling, strict=True)),
        "",
        "[simulation]",
        *(f"{key} = {json.dumps(value)}" for key, value in settings.model_dump(mode="json").items()),
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")


def write_sidecars(folder: Path, settings: SimulationSettings, plan: RunPlan, timing: RunTiming) -> None:
    """Write ``recording.toml``, ``events.tsv``, ``export.tsv`` and ``ledger.json``."""
    (folder / "recording.toml").write_text(_RECORDING, encoding="utf-8")
    rows = [f"{block.onset_s:.4f}\t{block.duration_s:.4f}\t{block.label}\n" for block in plan.blocks]
    (folder / "events.tsv").write_text("onset\tduration\ttrial_type\n" + "".join(rows), encoding="utf-8")
    rows = [f"{k}\t{known:.6f}\n" for k, known in enumerate(timing.known)]
    (folder / "export.tsv").write_text("index\tknown_at_s\n" + "".join(rows), encoding="utf-8")
    faults: list[dict[str, object]] = []
    if settings.clock_ppm:
        faults.append({"kind": "clock_drift", "ppm": settings.clock_ppm, "from_s": 0.0, "to_s": plan.duration_s})
    if settings.jitter_us:
        faults.append({"kind": "gradient_jitter", "sd_us": settings.jitter_us, "volumes": plan.n_volumes})
    text = json.dumps({"schema": 1, "run": plan.name, "null": settings.null, "faults": faults}, indent=1)
    (folder / "ledger.json").write_text(text + "\n", encoding="utf-8")
