"""What is said of a recording, a file, a folder: it agrees with what is known of them."""

from __future__ import annotations

import gzip
import json
import random
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import replay_data
from streamer.errors import RecordingError, StreamerError
from streamer.inspection import inspect_path
from tests.unit.recording_files import (
    RECOVERED,
    REFUSED,
    pair,
    write_bold,
    write_eeg,
    write_physio,
    write_session,
    write_xdf,
)

SHIPPED = Path(replay_data.__file__).parent / "short" / "task"
MOSAIC, XA, GE = "DICOM (Siemens mosaic)", "DICOM (Siemens XA enhanced)", "DICOM (GE)"


def eeg(
    path: str, form: str, n_channels: int, sfreq: float, n_samples: int | None, problem: str = ""
) -> dict[str, Any]:
    told = {} if n_samples is None else {"n_samples": n_samples}
    return {
        "kind": "eeg", "format": form, "path": path, "n_channels": n_channels, "sfreq": sfreq, "problem": problem,
        **told,
    }  # fmt: skip


def markers(path: str, form: str, labels: dict[str, int], n: int | None = None, problem: str = "") -> dict[str, Any]:
    n = sum(labels.values()) if n is None else n
    return {"kind": "markers", "format": form, "path": path, "n_markers": n, "labels": labels, "problem": problem}


def bold(
    path: str, form: str, grid: tuple[int, ...], tr: float, n: int, times: tuple[float, ...] = (), problem: str = ""
) -> dict[str, Any]:
    return {
        "kind": "bold", "format": form, "path": path, "grid": grid, "tr": tr, "n_volumes": n, "times": times,
        "problem": problem,
    }  # fmt: skip


def haxby() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    labels = dict.fromkeys(("bottle", "cat", "chair", "face", "house", "scissors", "scrambledpix", "shoe"), 1)
    for run in range(1, 13):
        folder = f"haxby2001/sub001/BOLD/task001_run{run:03d}"
        found.append(bold(f"{folder}/bold_25mm.nii.gz", "NIfTI", (6, 10, 10), 2.5, 121))
        found.append(markers(f"{folder}/bold_events.tsv", "table", labels))
    return [*found, bold("slice/bold.nii.gz", "NIfTI", (40, 20, 1), 2.5, 1452)]


def muse() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    names = ("15_45_13", "15_47_49", "15_51_07", "15_55_07", "15_58_30", "16_03_08")
    counts = ((165, 32), (163, 28), (155, 38), (161, 33), (161, 30), (171, 24))
    assert tuple(map(sum, zip(*counts, strict=True))) == (976, 185)
    for name, (standard, target) in zip(names, counts, strict=True):
        path = f"subject1/session1/data_2017-02-04-{name}.csv"
        found.append(eeg(path, "CSV", 5, 256.0, 30732))
        found.append(markers(path, "CSV", {"1": standard, "2": target}))
    return found


SWITCH = {
    "switch,3,2,2": 20, "switch,3,1,2": 15, "switch,3,0,2": 15, "Trial Started": 10, "Trial Ends": 10,
    "Training Complete": 1,
}  # fmt: skip
UNFINISHED = "no footer"

SETS: dict[str, list[dict[str, Any]]] = {
    "fmri/siemens-mosaic-neurofeedback": [bold("dicom", MOSAIC, (74, 74, 36), 1.97, 155, (1.9225, 1.8675, 1.8125))],
    "fmri/siemens-mosaic-export": [
        bold(".", MOSAIC, (64, 64, 27), 1.5, 10, (0, 0.765, 0.0525), r"volume 10 is there twice"),
        bold("truncated", MOSAIC, (64, 64, 27), 1.5, 0, (0, 0.765, 0.0525), r"145082 of 294912 bytes of pixels"),
    ],
    "fmri/vendor-layouts": [
        bold("GE_env/funcData/s1925", GE, (64, 64, 18), 1.0, 3, (0, 0.5), r"announces 60.*times are blank"),
        bold("Philips_env/funcData/0001", "PAR/REC", (80, 80, 15), 1.0, 4, (), r"type 17 beside.*repetition time 1 ms"),
        bold("Siemens_env/funcData", MOSAIC, (64, 64, 18), 1.0, 3, (0.49, 0), r"times are blank in 3 of 3"),
    ],
    "fmri/siemens-mosaic-golden": [
        bold("In/cmrr_Int_HF_9", MOSAIC, (64, 64, 40), 3.2, 6, (1.34, 0, 1.4075)),
        bold("In/ep2d_Asc_2", MOSAIC, (64, 64, 36), 3.2, 6, (0, 0.075, 0.15)),
        bold("Ref/2_ep2d_Asc.nii", "NIfTI", (64, 64, 36), 3.2, 6),
        bold("Ref/9_cmrr_Int_HF.nii", "NIfTI", (64, 64, 40), 3.2, 6),
    ],
    "fmri/siemens-xa-enhanced-golden": [
        bold("In", XA, (100, 100, 10), 1.23, 7, (), r"2 files left out \(88972158, 88972169\)"),
        bold("In", XA, (100, 100, 10), 1.23, 7, (0, 0.725, 0.2425, 0.9675, 0.4825) * 2),
        bold(
            "Ref/phantom_check_MBfactor_CimaX_XA61_10_C2P_cmrr_mbep2d_bold_p2_mb2.nii", "NIfTI", (100, 100, 10), 1.23, 7
        ),
        bold(
            "Ref/phantom_check_MBfactor_CimaX_XA61_2_PRODUCT_ep2d_bold_p2_sms1.nii", "NIfTI", (100, 100, 10), 1.23, 7
        ),
    ],
    "fmri/ge-golden": [
        bold("In/mr_0004", GE, (64, 64, 15), 5.0, 10, (0, 2.667, 0.333), "those of the series"),
        bold("In/mr_0007", GE, (64, 64, 15), 5.0, 10, (4.667, 4.333), "those of the series"),
        bold("Ref/DCM2NIIX_regression_test_4.nii", "NIfTI", (64, 64, 15), 5.0, 10),
        bold("Ref/DCM2NIIX_regression_test_7.nii", "NIfTI", (64, 64, 15), 5.0, 10),
    ],
    "fmri/philips-classic-golden": [
        bold("In", "DICOM (Philips)", (64, 64, 9), 2.0, 3),
        bold("Ref/EPI_asc_CLEAR_201.nii", "NIfTI", (64, 64, 9), 2.0, 3),
        bold("parrec/phantom_EPI_asc_CLEAR_2_1.PAR", "PAR/REC", (64, 64, 9), 2.0, 3),
    ],
    # neither the masks nor the 19 rows of bold_mc.par are recordings
    "bold/haxby": haxby(),
    "eeg/bci-essentials": [
        eeg("P300Checkboard_run-001.xdf", "XDF", 16, 256.0, 19072),
        markers("P300Checkboard_run-001.xdf", "XDF", {"Trial Started": 1}, 40, UNFINISHED),
        markers("P300Checkboard_run-001.xdf", "XDF", {"ping": 32}, 34),
        markers("switch_example.xdf", "XDF", {"ping": 510}, 581),
        eeg("switch_example.xdf", "XDF", 16, 256.0, 34320),
        markers("switch_example.xdf", "XDF", SWITCH, 71, UNFINISHED),
    ],
    "eeg/muse-p300": muse(),
    "eeg/eeglab-sample": [
        eeg("eeglab_data.set", "EEGLAB", 32, 128.0, 30504),
        markers("eeglab_data.set", "EEGLAB", {"square": 80, "rt": 74}),
    ],
    "eeg/brainvision": [
        eeg("test.vhdr", "BrainVision", 32, 1000.0, 7900),
        markers("test.vhdr", "BrainVision", {"S255": 5, "254": 3, "S253": 2, "R255": 1, "Sync On": 1, "O  1": 1}),
    ],
    "eeg/eeg-rest-fmri": [
        eeg(
            "derivatives/sub-32/eeg/sub-32_task-rest_eeg.vhdr", "BrainVision", 64, 250.0, None,
            r"no signal; by the header it has 162023 samples",
        ),
        markers(
            "derivatives/sub-32/eeg/sub-32_task-rest_eeg.vhdr", "BrainVision",
            {"Scan Start": 300, "s": 9000, "R": 745, "Sync On": 324, "Scanner Start": 1},
        ),
        eeg("sub-32/eeg/sub-32_task-rest_eeg.vhdr", "BrainVision", 64, 5000.0, None, r"\.eeg is absent: .* no signal"),
        markers("sub-32/eeg/sub-32_task-rest_eeg.vhdr", "BrainVision", {"Sync On": 398}),
    ],
    "eeg/facetpy-triggers": [
        markers(
            "sub-xp101_task-eegfmriNF_events.tsv", "table",
            {
                "trigger": 6799, "missing_trigger": 6589, "Response/R128": 210, "Stimulus/S 99": 10,
                "Stimulus/S  2": 10, "New Segment/": 1,
            }, 13619,
        ),
    ],
    "ecg/mit-bih": [
        {
            "kind": "physio", "format": "WFDB", "path": "100.hea", "n_channels": 2, "sfreq": 360.0, "n_samples": 650000,
            "n_markers": 2274, "labels": {"N": 2239, "A": 33, "V": 1, "(N": 1}, "problem": "",
        },
    ],
}  # fmt: skip
"""Every set of the shared data, with what its README says of it."""


def test_no_set_is_left_out(shared_data: Path):
    there = {f"{kind.name}/{each.name}" for kind in shared_data.iterdir() if kind.is_dir() for each in kind.iterdir()}
    assert there == set(SETS)
    text = (shared_data / "README.md").read_text(encoding="utf-8")
    assert all(f"| {name} |" in text for name in SETS)


@pytest.mark.parametrize("name", SETS)
def test_every_real_set_is_described_as_its_readme_says(shared_data: Path, name: str):
    found = inspect_path(shared_data / name)
    assert [(part.kind, part.path) for part in found] == [(want["kind"], want["path"]) for want in SETS[name]]
    for part, expected in zip(found, SETS[name], strict=True):
        plain, want = json.loads(json.dumps(part.plain())), dict(expected)
        problem, times, labels = want.pop("problem"), want.pop("times", ()), want.pop("labels", {})
        assert {key: plain.get(key) for key in want} == {
            **want,
            **({"grid": [*want["grid"]]} if "grid" in want else {}),
        }
        assert ("n_samples" in plain) == ("n_samples" in want)
        assert {label: plain["labels"].get(label) for label in labels} == labels
        assert plain.get("slice_times", [])[: len(times)] == pytest.approx(times, abs=1e-3)
        said = "; ".join(plain["problems"])
        assert bool(said) == bool(problem), said
        assert re.search(problem, said), said


def test_responses_of_the_switch_task_are_a_stream_of_their_own(shared_data: Path):
    parts = inspect_path(shared_data / "eeg" / "bci-essentials" / "switch_example.xdf")
    assert {part.name: part.n_samples or part.n_markers for part in parts} == {
        "g.USBamp-1": 34320, "UnityMarkerStream": 71, "PythonResponse": 581,
    }  # fmt: skip


def test_both_xa_series_are_told_apart(shared_data: Path):
    parts = inspect_path(shared_data / "fmri" / "siemens-xa-enhanced-golden" / "In")
    assert [part.name for part in parts] == ["series 2", "series 10"]


def test_the_whole_of_the_shared_data_is_one_folder(shared_data: Path):
    kinds = Counter(part.kind for part in inspect_path(shared_data / "eeg"))
    expected = Counter(part["kind"] for name, parts in SETS.items() for part in parts if name.startswith("eeg/"))
    assert kinds == expected


def test_nothing_of_a_header_that_names_somebody_is_said(shared_data: Path, tmp_path: Path):
    shutil.copytree(shared_data / "fmri" / "ge-golden" / "In" / "mr_0004", tmp_path / "s")
    # the identity that is in these headers
    said = json.dumps([part.plain() for part in inspect_path(tmp_path)])
    assert "Regression" not in said
    assert "DEV" not in said


def test_the_recording_that_ships_is_described_without_problems():
    signal, marks, volumes, blocks = (part.plain() for part in inspect_path(SHIPPED / "recording.toml"))
    assert signal == {
        "kind": "eeg", "format": "BrainVision", "n_channels": 32, "sfreq": 500.0, "n_samples": 14500, "problems": [],
    }  # fmt: skip
    assert marks["labels"] == {"R128": 24, "Sync On": 15}
    assert (volumes["grid"], volumes["tr"], volumes["n_volumes"]) == ((24, 24, 16), 1.0, 24)
    assert len(volumes["slice_times"]) == 16
    assert volumes["problems"] == []
    assert (blocks["kind"], blocks["name"]) == ("markers", "events")


def test_too_few_triggers_and_volumes_beyond_the_eeg_are_said(tmp_path: Path):
    pair(tmp_path, triggers=(0.1, 3.6), n_volumes=24)
    *_, volumes = inspect_path(tmp_path)
    said = "; ".join(volumes.problems)
    assert "8 triggers R128 for 24 volumes" in said
    assert "6 triggers are missing" in said
    assert "the volumes reach beyond the EEG" in said


def test_a_session_is_described_with_what_the_log_lacks(tmp_path: Path):
    signal, marks, volumes = (part.plain() for part in inspect_path(write_session(tmp_path / "s")))
    assert (signal["format"], signal["n_channels"], signal["sfreq"], signal["n_samples"]) == ("run log", 2, 250.0, 1000)
    assert marks["labels"] == {"R128": 3}
    assert (volumes["grid"], volumes["tr"], volumes["n_volumes"], volumes["slice_times"]) == (
        (4, 5, 3), 0.5, 3, (0.0, 0.1, 0.2),
    )  # fmt: skip
    assert signal["problems"] == volumes["problems"] == []


@pytest.mark.parametrize("name", RECOVERED)
def test_bad_input_that_is_read_all_the_same_is_flagged(tmp_path: Path, name: str):
    make, said = RECOVERED[name]
    parts = inspect_path(make(tmp_path))
    assert any(re.search(said, problem) for part in parts for problem in part.problems)


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_an_error_or_a_part_with_problems(tmp_path: Path, name: str):
    make, kind, said, exit_code = REFUSED[name]
    path = make(tmp_path)
    if exit_code == 0:
        assert re.search(said, "; ".join(problem for part in inspect_path(path) for problem in part.problems))
        return
    with pytest.raises(StreamerError) as caught:
        inspect_path(path)
    assert caught.value.exit_code == exit_code
    assert isinstance(caught.value, kind)


def test_a_folder_of_good_and_bad_lists_all(tmp_path: Path):
    for name in "abj":
        (tmp_path / name).mkdir()
    write_eeg(tmp_path / "a" / "eeg.vhdr")
    write_bold(tmp_path / "a" / "run.nii.gz")
    pair(tmp_path / "b")
    write_session(tmp_path / "c")
    write_xdf(tmp_path / "d.xdf")
    write_physio(tmp_path / "e_physio.tsv.gz")
    (tmp_path / "f.edf").write_bytes(b"0       nothing")
    (tmp_path / "g.nii").write_bytes(b"short")
    (tmp_path / "h.dcm").write_bytes(b"no DICOM")
    (tmp_path / "i.toml").write_text("a = 1")
    (tmp_path / "j" / "recording.toml").write_text("schema = 1")
    parts = inspect_path(tmp_path)
    by_place: dict[str, list[str]] = {}
    for part in parts:
        assert part.path is not None
        by_place.setdefault(part.path.split("/")[0], []).append(part.kind)
    bad = [part for part in parts if part.problems]
    assert {part.path for part in bad} == {".", "f.edf", "j"}
    assert [len(part.problems) for part in bad if part.path == "."] == [2]
    assert by_place == {
        ".": ["bold"], **{key: ["eeg", "markers", "bold"] for key in "abc"},
        "d.xdf": ["eeg", "markers"], "e_physio.tsv.gz": ["physio"], "f.edf": ["eeg"], "j": ["eeg"],
    }  # fmt: skip


def test_volumes_are_found_however_deep_they_lie_and_once(tmp_path: Path):
    folder = tmp_path
    for level in range(8):
        folder /= f"level{level}"
        folder.mkdir()
        write_bold(folder / "run.nii")
    found = [part.path for part in inspect_path(tmp_path)]
    assert len(found) == len(set(found)) == 8


def test_a_bids_subject_is_one_recording_and_a_pair_that_does_not_fit_is_listed(tmp_path: Path):
    for kind in ("eeg", "func"):
        (tmp_path / "sub-01" / kind).mkdir(parents=True)
    write_eeg(tmp_path / "sub-01" / "eeg" / "sub-01_task-x_eeg.vhdr")
    write_bold(tmp_path / "sub-01" / "func" / "sub-01_task-x_bold.nii.gz")
    assert [(part.kind, part.path) for part in inspect_path(tmp_path)] == [
        ("eeg", None), ("markers", None), ("bold", None),
    ]  # fmt: skip
    write_eeg(tmp_path / "sub-01" / "eeg" / "sub-01_task-x_eeg.vhdr", triggers=())
    first, second = inspect_path(tmp_path)
    assert (first.kind, second.kind) == ("eeg", "bold")
    assert "do not make a recording" in first.problems[0]
    assert "no marker 'R128'" in first.problems[0]


def test_a_single_file_of_each_kind(tmp_path: Path, shared_data: Path):
    write_eeg(tmp_path / "eeg.vhdr")
    assert [part.kind for part in inspect_path(tmp_path / "eeg.vmrk")] == ["markers"]
    write_bold(tmp_path / "b.nii")
    assert inspect_path(tmp_path / "b.nii")[0].n_volumes == 3
    one = shared_data / "fmri" / "siemens-mosaic-export" / "001_000013_000003.dcm"
    (volume,) = inspect_path(one)
    assert (volume.grid, volume.tr, volume.n_volumes) == ((64, 64, 27), 1.5, 1)
    shutil.copy(shared_data / "fmri/ge-golden/In/mr_0004" / _first(shared_data), tmp_path / "slice.dcm")
    (piece,) = inspect_path(tmp_path / "slice.dcm")
    assert "is one slice of a volume" in piece.problems[0]
    with pytest.raises(RecordingError, match="no such file"):
        inspect_path(tmp_path / "none.vhdr")


def _first(shared_data: Path) -> str:
    folder = shared_data / "fmri" / "ge-golden" / "In" / "mr_0004"
    return min(path.name for path in folder.iterdir() if "README" not in path.name)


def parts_or_words(path: Path) -> list[Any] | str:
    try:
        return inspect_path(path)
    except StreamerError as error:
        return str(error)


ENDINGS = (".xdf", ".vhdr", ".vmrk", ".edf", ".bdf", ".csv", ".tsv", ".nii", ".nii.gz", ".PAR", ".hea", ".dcm", ".toml")


@pytest.mark.parametrize("ending", [*ENDINGS, "_physio.tsv.gz"])
def test_whatever_a_file_holds_there_is_an_answer_in_words(tmp_path: Path, ending: str):
    rng = random.Random(1)
    path = tmp_path / f"sub-1_task-x{ending if ending.startswith('_') else '_eeg' + ending}"
    for content in (
        b"",
        b"\n",
        rng.randbytes(3),
        rng.randbytes(4000),
        b"XDF:" + rng.randbytes(500),
        gzip.compress(b"a\tb"),
    ):
        path.write_bytes(content)
        for place in (path, tmp_path):
            assert parts_or_words(place)


def test_a_real_file_cut_anywhere_or_with_bytes_turned_over_is_no_traceback(tmp_path: Path, shared_data: Path):
    rng = np.random.default_rng(2)
    for name in (
        "eeg/brainvision/test.vhdr", "eeg/brainvision/test.vmrk", "eeg/bci-essentials/P300Checkboard_run-001.xdf",
        "fmri/philips-classic-golden/Ref/EPI_asc_CLEAR_201.nii", "fmri/siemens-mosaic-export/001_000013_000001.dcm",
        "bold/haxby/haxby2001/sub001/BOLD/task001_run001/bold_events.tsv",
    ):  # fmt: skip
        raw = np.frombuffer((shared_data / name).read_bytes(), np.uint8)
        for k in range(6):
            damaged = raw[: rng.integers(len(raw))].copy() if k % 2 else raw.copy()
            at = rng.integers(min(len(damaged), 4000), size=8) if len(damaged) else np.zeros(0, np.int64)
            damaged[at] = rng.integers(256, size=len(at))
            path = tmp_path / Path(name).name
            path.write_bytes(damaged.tobytes())
            assert parts_or_words(path)
