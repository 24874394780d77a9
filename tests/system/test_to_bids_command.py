"""``streamer to-bids`` as a user meets it, judged by the BIDS validator."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import replay_data
from streamer.simulate.session import SimulationSettings, simulate_session
from tests.unit.recorded_feedback import recorded_session

pytestmark = [pytest.mark.system, pytest.mark.beside, pytest.mark.timeout(120)]

SHORT = Path(replay_data.__file__).parent / "short" / "task"
EXPECTED_WARNINGS = {
    # what nobody told the program: authors, licence, makes of scanner, amplifier and cap, sequence, institution
    "JSON_KEY_RECOMMENDED",
    "NO_AUTHORS",
    "TOO_FEW_AUTHORS",
    "SIDECAR_KEY_RECOMMENDED",
    # EEG and its events go on when the scanner has stopped
    "SUSPICIOUSLY_LONG_EVENT_DESIGN",
}


def to_bids(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "streamer", "to-bids", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def judged(dataset: Path) -> list[dict[str, Any]]:
    """What the validator says; it carries its own schema and needs no network."""
    validator = Path(sys.executable).with_name("bids-validator-deno")
    done = subprocess.run(
        [str(validator), str(dataset), "--format", "json", "--max-rows", "-1"],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    issues: list[dict[str, Any]] = json.loads(done.stdout)["issues"]["issues"]
    return issues


def assert_valid(dataset: Path, *also: str) -> None:
    issues = judged(dataset)
    assert [issue for issue in issues if issue["severity"] == "error"] == []
    assert {issue["code"] for issue in issues} <= EXPECTED_WARNINGS | set(also)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("to-bids")
    small = SimulationSettings(
        seed=11, sfreq=1000.0, grid=(20, 20, 10), voxel_mm=(10.0, 10.0, 6.0), tr_s=1.5, calibration_s=24.0,
        n_blocks=2, block_s=8.0,
    )  # fmt: skip
    simulate_session(folder / "session", small, workers=1)
    return folder / "session"


def test_the_validator_finds_errors_where_there_are_some(runs: Path, tmp_path: Path):
    assert to_bids(str(runs / "task"), str(tmp_path / "out")).returncode == 0
    (tmp_path / "out" / "sub-01" / "eeg" / "sub-01_task-task_eeg.json").unlink()
    assert [issue for issue in judged(tmp_path / "out") if issue["severity"] == "error"]


def test_two_simulated_runs_are_one_valid_dataset(runs: Path, tmp_path: Path):
    out = tmp_path / "out"
    for name in ("calibration", "task"):
        labels = ("--subject", "07", "--session", "pre", "--task", name, "--run", "1", "--line", "50")
        done = to_bids(str(runs / name / "recording.toml"), str(out), *labels, "--json")
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert all((out / file).is_file() for file in report["files"])
        assert f"sub-07/ses-pre/func/sub-07_ses-pre_task-{name}_run-1_bold.nii.gz" in report["files"]
    assert_valid(out)


def test_the_shipped_recording_is_valid_and_its_parts_alone_are(tmp_path: Path):
    for name, path in (("whole", SHORT / "recording.toml"), ("eeg", SHORT / "eeg.vhdr"), ("bold", SHORT / "dicom")):
        done = to_bids(str(path), str(tmp_path / name))
        assert done.returncode == 0, done.stderr
        assert_valid(tmp_path / name)
    assert not (tmp_path / "eeg" / "sub-01" / "func").exists()
    assert not (tmp_path / "bold" / "sub-01" / "eeg").exists()


def test_a_session_with_feedback_is_valid_sealed_and_opened(tmp_path: Path):
    recorded_session(tmp_path / "s")
    (tmp_path / "s" / "sham").mkdir()
    for number, more in (("1", ()), ("2", ("--condition", "yoked"))):
        done = to_bids(str(tmp_path / "s"), str(tmp_path / "out"), "--run", number, "--line", "50", *more)
        assert done.returncode == 0, done.stderr
    # two volumes, and the last event in the first
    assert_valid(tmp_path / "out", "SUSPICIOUSLY_SHORT_EVENT_DESIGN")
    folder = tmp_path / "out" / "sub-01"
    assert len(list(folder.rglob("*_stim.tsv.gz"))) == 4
    told = ["yoked" in path.read_text() for path in sorted(folder.rglob("*_events.tsv"))]
    assert told == [False, True, False, True]
    about = next(folder.glob("eeg/*_run-1_stim.json"))
    about.write_text(about.read_text().replace('"StartTime"', '"Begins"'))
    assert [issue for issue in judged(tmp_path / "out") if issue["severity"] == "error"]


def test_wrong_labels_and_a_second_time_end_with_2(runs: Path, tmp_path: Path):
    done = to_bids(str(runs / "task"), str(tmp_path / "out"), "--subject", "J. Doe")
    assert done.returncode == 2
    assert "letters and digits" in done.stderr
    assert to_bids(str(runs / "task"), str(tmp_path / "out")).returncode == 0
    done = to_bids(str(runs / "task"), str(tmp_path / "out"))
    assert done.returncode == 2
    assert "nothing is overwritten" in done.stderr
    done = to_bids(str(tmp_path / "absent.vhdr"), str(tmp_path / "other"))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "other").exists()


def test_no_identity_reaches_the_dataset(shared_data: Path, tmp_path: Path):
    series = shared_data / "fmri" / "ge-golden"
    (folder,) = [path for path in series.rglob("mr_0004") if path.is_dir()]
    assert any(b"Test^Regression" in file.read_bytes() for file in folder.iterdir() if file.is_file())
    done = to_bids(str(folder), str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert_valid(tmp_path / "out")
    for file in (tmp_path / "out").rglob("*"):
        assert not file.is_file() or b"Regression" not in file.read_bytes()
    assert "Regression" not in done.stdout + done.stderr
