"""``streamer simulate`` as people call it."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = [pytest.mark.system, pytest.mark.beside]

SHORT = (
    "--channels", "12", "--sfreq", "1000", "--block-s", "8", "--calibration-s", "16", "--set", "voxel_mm=[6, 6, 6]",
    "--set", "grid=[24, 24, 8]",
)  # fmt: skip


def simulate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "streamer", "simulate", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_faults_are_counted_in_the_answer(tmp_path: Path):
    done = simulate(tmp_path / "s", *SHORT, "--minutes", "1", "--faults", "all,gap_ms=100@12", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    counts = answer["faults"]["task"]
    entries = json.loads((tmp_path / "s" / "task" / "ledger.json").read_text())["faults"]
    assert sum(counts.values()) == len(entries)
    assert (counts["gap"], counts["restart"], counts["dummy_volumes"]) == (1, 1, 2)
    assert answer["faults"]["calibration"] == {"clock_drift": 1, "gradient_jitter": 1}
    about = tomllib.loads((tmp_path / "s" / "session.toml").read_text())["simulation"]
    assert about["faults"]["gap_ms"] == [[100.0, 12.0]]
    # as many blocks of 8 s as fit into a minute with what lies around them
    assert about["n_blocks"] == 5
    assert about["grid"] == [24, 24, 8]


def test_a_table_decides_the_repetition_time(tmp_path: Path):
    rows = "".join(f"{1.5 + 1.25 * k}\t0\tR128\n" for k in range(60))
    (tmp_path / "events.tsv").write_text("onset\tduration\ttrial_type\n" + rows)
    given = ("--triggers", tmp_path / "events.tsv", "--minutes", "0.8", "--effect-in", "eeg")
    done = simulate(tmp_path / "s", *SHORT, *given)
    assert done.returncode == 0, done.stderr
    about = tomllib.loads((tmp_path / "s" / "session.toml").read_text())["simulation"]
    assert (about["tr_s"], about["effect_in"]) == (1.25, "eeg")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--faults", "flat=1"), "flat: unknown fault; there are missing_trigger"),
        (("--set", "pulse=1"), "'pulse': unknown setting; there are seed"),
        (("--channels", "3"), "n_channels: Input should be greater than or equal to 11; given: 3"),
        (("--null", "--effect-in", "bold"), "a null session has no effect at all"),
        (("--triggers", "absent.tsv"), "absent.tsv: cannot be read"),
    ],
)
def test_what_cannot_be_made_is_refused_in_a_sentence(tmp_path: Path, arguments: tuple[str, ...], sentence: str):
    done = simulate(tmp_path / "s", *arguments)
    assert done.returncode in {1, 2}
    assert sentence in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "s").exists()
