"""``streamer regions`` as a user meets it: made, shown, approved, refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import replay_data
from streamer.formats.nifti import read_labels, write_nifti
from streamer.formats.region_files import approved

pytestmark = [pytest.mark.system, pytest.mark.beside, pytest.mark.timeout(180)]

SHORT = Path(replay_data.__file__).parent / "short" / "task"


def regions(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "streamer", "regions", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=170, check=False)


def test_spheres_in_the_runs_own_space(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    spheres = ("--sphere", "left=-30,0,0,8", "--sphere", "right=30,0,0,8")
    done = regions("make", folder, "--epi", SHORT, "--space", "epi", *spheres, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    facts = json.loads(done.stdout)
    assert [row["name"] for row in facts["regions"]] == ["left", "right"]
    assert facts["approved"] is False
    assert "streamer regions approve" in facts["problem"]
    assert approved(folder / "regions.nii.gz") is not None

    shown = regions("show", folder)
    assert shown.returncode == 0
    assert "left" in shown.stdout
    assert "not approved" in shown.stdout
    assert "regions.html" in shown.stdout

    done = regions("approve", folder, "--by", "operator")
    assert done.returncode == 0, done.stderr
    assert "approved by operator" in done.stdout
    assert "under [bold]: regions" in done.stdout
    assert approved(folder / "regions.nii.gz") is None

    again = regions("make", folder, "--epi", SHORT, "--space", "epi", *spheres)
    assert again.returncode == 2
    assert "operator approved" in again.stderr
    assert "--replace" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--sphere", "a=0,0"), 2, "expected NAME=X,Y,Z"),
        (("--coordinates", "dosenbach", "--network", "vision"), 2, "no network 'vision'"),
        (("--sphere", "far=300,0,0", "--space", "epi"), 2, "outside of the head"),
        (("--sphere", "a=0,0,0", "--sphere", "b=2,0,0"), 2, "spheres overlap"),
        (("--contrast", "face"), 2, "belong to a localiser"),
        (("--atlas", "absent.nii.gz"), 1, "no such file"),
        ((), 2, "nothing to make regions from"),
    ],
)
def test_wrong_use_ends_with_words(tmp_path: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    done = regions("make", tmp_path / "set", "--epi", SHORT, *arguments)
    assert done.returncode == code, done.stderr
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "set").exists()


def test_no_set_to_approve(tmp_path: Path) -> None:
    done = regions("approve", tmp_path, "--by", "operator")
    assert done.returncode == 1
    assert "streamer regions make" in done.stderr


def test_a_real_localiser_gives_the_regions_that_its_masks_mark(shared_data: Path, tmp_path: Path) -> None:
    real = shared_data / "fmri" / "siemens-mosaic-neurofeedback"
    starts = (16, 36, 56, 76, 96, 116, 136)
    rows = "".join(f"{(start - 1) * 1.97:.2f}\t{10 * 1.97:.2f}\tregulation\n" for start in starts)
    (tmp_path / "events.tsv").write_text(f"onset\tduration\ttrial_type\n{rows}")
    folder = tmp_path / "set"
    done = regions(
        "make", folder, "--localiser", real / "dicom", "--events", tmp_path / "events.tsv",
        "--contrast", "regulation", "--threshold", "6", "--clusters", "4", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = read_labels(folder / "regions.nii.gz", folder / "regions.tsv")
    left = read_labels(real / "ROIs_D1" / "lROI_1.nii").data > 0
    overlaps = [int(((found.data == k) & left).sum()) for k in range(1, len(found.names) + 1)]
    assert max(overlaps) > 0.25 * left.sum()
    # the header's identity goes nowhere
    text = "".join((folder / name).read_text() for name in ("regions.json", "regions.tsv", "regions.html"))
    assert "1.3.12" not in text
    assert np.isfinite([row["tsnr"] for row in json.loads(done.stdout)["regions"]]).all()


def test_cells_of_a_box_are_regions_like_others(tmp_path: Path) -> None:
    image = np.zeros((16, 16, 10), np.float32)
    image[2:14, 2:14, 1:9] = 100.0 + np.random.default_rng(1).random((12, 12, 8))
    write_nifti(tmp_path / "epi.nii.gz", image, np.diag([6.0, 6.0, 6.0, 1.0]))
    command = [sys.executable, "-m", "streamer", "regions", "cells"]
    given = [str(tmp_path / "cells"), "--epi", str(tmp_path / "epi.nii.gz"), "--shape", "4x4x3", "--size", "18"]
    done = subprocess.run([*command, *given], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    labels = read_labels(tmp_path / "cells" / "cells.nii.gz", tmp_path / "cells" / "cells.tsv")
    assert len(labels.names) == 48
    assert labels.names[:2] == ("cell_0_0_0", "cell_0_0_1")
    again = subprocess.run([*command, *given], capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "nothing is overwritten" in again.stderr
