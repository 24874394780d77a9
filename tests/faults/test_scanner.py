"""A scanner room in which much goes wrong at once: what is found is what was done."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from pathlib import Path

import pytest

from streamer.acquire.recordings import open_recording
from tests.faults.live import config_of, task, windows_of
from tests.faults.table import FaultTable
from tests.system.test_faulty_room import replays_to_the_same_bytes, run_live

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

FAULTS = {
    "jitter_ms": 3,
    "lost_chunk": 0.01,
    "missing_marker": 0.15,
    "doubled_marker": 0.2,
    "late_marker": 0.2,
    "truncated_volume": 0.15,
    "swapped_volume": 0.15,
    "doubled_volume": 0.2,
    "late_volume": 0.15,
    "late_volume_s": 2,
    "directory_gone_s": "2@12",
    "temporary_name": 0.2,
    "foreign_file": 0.15,
}
STOP_S = 20.0
SEED = 5


@pytest.mark.usefixtures("alone")
def test_what_went_wrong_is_what_was_done(small: Path, tmp_path: Path, table: FaultTable) -> None:
    stream = f"amplifier-{uuid.uuid4().hex[:8]}"
    (tmp_path / "export").mkdir()
    spec = ",".join(f"{name}={value}" for name, value in FAULTS.items())
    config = config_of(small, tmp_path, stream, "live")
    export = str(tmp_path / "export")
    done, summary = run_live(
        config,
        tmp_path,
        [task(small), "--export", export, "--stream-name", stream, "--faults", spec, "--seed", str(SEED)],
    )
    done_by = Counter(fault["fault"] for fault in done["faults"])
    for name in ("missing_marker", "doubled_marker", "doubled_volume", "truncated_volume", "late_volume"):
        assert done_by[name], f"seed {SEED} draws no {name}"
    lost = [fault["samples"] for fault in done["faults"] if fault["fault"] == "lost_chunk"]
    assert lost
    counts, losses = summary["counts"], summary["losses"]
    assert counts["samples"] == done["samples"]
    assert losses["samples"] == sum(b - a for a, b in lost)

    recording = open_recording(Path(task(small)))
    assert recording.bold is not None
    assert recording.eeg is not None
    played = sum(recording.bold.known_at_s(k) <= STOP_S for k in range(recording.bold.n_volumes))
    cut = done_by["truncated_volume"]
    assert counts["volumes"] == counts["bold_frames"] == played - cut
    given_up = [note for note in summary["notes"] if "given up" in note]
    assert given_up
    # a file that is given up may be counted beside the number that is missing
    assert cut <= losses["volumes"] <= cut + len(given_up)

    timing = json.loads((tmp_path / "live" / "quality.json").read_text())["timing"]
    assert timing["gaps"] == len(lost)
    triggers = {place for place, marker in enumerate(recording.eeg.markers) if marker.label == "R128"}
    of_triggers = Counter(f["fault"] for f in done["faults"] if f.get("marker") in triggers)
    assert timing["triggers_doubled"] == of_triggers["doubled_marker"]
    assert timing["triggers_extra"] == 0
    # what is missing at either end cannot be known
    assert of_triggers["missing_marker"] - 2 <= timing["triggers_missing"] <= of_triggers["missing_marker"]
    assert timing["markers_unresolved"] == 0
    assert timing["trains"] == 1
    assert timing["volumes_misaligned"] == 0
    replays_to_the_same_bytes(tmp_path / "live", tmp_path / "again")

    windows = windows_of(tmp_path / "live")
    stale = [w.end for w in windows if w.flags & 64]
    table.add(
        "volume triggers missing, doubled, late",
        "`quality.json` counts them; volumes are dated by the fitted line, templates coast",
        f"nothing: {timing['triggers_missing']} missing, {timing['triggers_doubled']} doubled of {len(triggers)}",
        0.0,
    )
    table.add(
        "volumes cut short",
        "“given up: …” for each; windows say STALE where the next is late too",
        f"{cut} volumes, those that were cut",
        "the next volume",
    )
    table.add(
        "volumes doubled, out of order, late",
        "“… duplicates, left out”; each volume once, dated by its trigger",
        f"nothing of {played}",
        "the volume itself",
    )
    table.add(
        "export directory removed for 2 s",
        "the problem is named once; the directory is looked for until it is there" if not stale else "STALE meanwhile",
        "nothing: what the scanner writes later is taken",
        "the next file",
    )
