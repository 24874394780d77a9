"""The small files of a session: what there is, the blocks, when each volume was known."""

from __future__ import annotations

import json
from pathlib import Path

from streamer.contracts import Settings
from streamer.simulate.plan import RunPlan
from streamer.simulate.settings import SimulationSettings
from streamer.simulate.subject import REGIONS, Subject
from streamer.simulate.timing import RunTiming
from streamer.simulate.volumes import SERIES_NUMBER

_RECORDING = """\
schema = 1
kind = "recording"

[eeg]
file = "eeg.vhdr"

[bold]
directory = "dicom"
trigger = "R128"
first_volume = {first_volume}
known_at = "export.tsv"
{series}
[regions]
labels = "../regions.nii.gz"
names = "../regions.tsv"

[events]
file = "events.tsv"
"""


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
        *_plain(settings, exclude={"faults"}),
        "",
        "[simulation.faults]",
        *_plain(settings.faults),
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")


def _plain(settings: Settings, exclude: set[str] | None = None) -> list[str]:
    values = settings.model_dump(exclude=exclude, exclude_none=True)
    # the name of a table is enough, and its folder may name a person
    plain = {key: value.name if isinstance(value, Path) else value for key, value in values.items()}
    return [f"{key} = {json.dumps(value)}" for key, value in plain.items()]


def write_sidecars(folder: Path, plan: RunPlan, timing: RunTiming) -> None:
    """Write ``recording.toml``, ``events.tsv`` and ``export.tsv``.

    ``export.tsv`` has a row for each file in the order of the volumes, and a column ``series`` where the scanner began
    anew.
    """
    numbers = sorted({SERIES_NUMBER + int(series) for series in timing.series})
    series = f"series = {json.dumps(numbers)}\n" if len(numbers) > 1 else ""
    text = _RECORDING.format(first_volume=timing.first_volume, series=series)
    (folder / "recording.toml").write_text(text, encoding="utf-8")
    rows = [f"{block.onset_s:.4f}\t{block.duration_s:.4f}\t{block.label}\n" for block in plan.blocks]
    (folder / "events.tsv").write_text("onset\tduration\ttrial_type\n" + "".join(rows), encoding="utf-8")
    several = bool(timing.series[-1])
    rows = [
        f"{index}\t{known:.6f}" + (f"\t{SERIES_NUMBER + int(series)}" if several else "") + "\n"
        for index, known, series in zip(timing.index, timing.known, timing.series, strict=True)
        if index >= 0
    ]
    head = "index\tknown_at_s" + ("\tseries" if several else "") + "\n"
    (folder / "export.tsv").write_text(head + "".join(rows), encoding="utf-8")
