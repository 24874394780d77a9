"""Real sets of one modality each, read by the loop's own lanes, against the plain references of the data's README."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score
from sklearn.svm import SVC, LinearSVC

from models.dataset import WindowSet
from models.epochs import EpochSettings, read_epochs
from models.evaluation.splits import split
from models.evaluation.within_run import within_run
from models.labels import Labels
from models.replayed import Reading
from models.subjects import read_subject
from streamer.config import parse_config
from streamer.formats.nifti import LabelImage, write_labels, write_nifti

# a minute of one core
pytestmark = [pytest.mark.system, pytest.mark.beside]

MUSE_AUC = 0.7800
"""Zero-phase filters over each file, then epochs; left-out file."""
HAXBY_ONE_VS_REST, HAXBY_SVC = 0.6586, 0.5833
"""A line and the scale taken out of every run; left-out run, chance 0.125."""
TR_S = 2.5
N_VOLUMES = 1452
PICTURES = ("bottle", "cat", "chair", "face", "house", "scissors", "scrambledpix", "shoe")


def test_targets_of_a_muse_are_told_no_worse_than_by_the_plain_reference(shared_data: Path, tmp_path: Path) -> None:
    for file in (shared_data / "eeg/muse-p300/subject1/session1").glob("*.csv"):
        shutil.copyfile(file, tmp_path / file.name)
    # no scanner; four electrodes have no average; the lane's first high-pass, at 0.5 Hz, bends a P300 enough, and bins
    # are low-pass enough
    eeg = {"gradient": {"enabled": False}, "reference": "none", "band_hz": [0.1, 60]}
    config = parse_config({"schema": 1, "clean": {"eeg": eeg}}, "muse", tmp_path)
    windows = read_epochs(tmp_path, config, "muse", Labels(("1", "2")), EpochSettings())
    assert len(windows) == 976 + 185
    assert windows.eeg.shape[1:] == (23, 4)
    used = windows.rows(windows.valid[:, 0] > 0)
    assert len(used) > 1100
    score = np.empty(len(used))
    folds = split(used, "run")
    assert len(folds) == 6
    flat = used.eeg.reshape(len(used), -1).astype(np.float64)
    for fold in folds:
        lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(flat[fold.train], used.label[fold.train])
        score[fold.test] = lda.decision_function(flat[fold.test])
    assert roc_auc_score(used.label, score) >= MUSE_AUC


def write_haxby(place: Path, out: Path) -> Path:
    """Write the twelve runs of the slice as recordings, every voxel of its mask a region."""
    image = nib.Nifti1Image.from_filename(place / "bold.nii.gz")
    inside: NDArray[np.bool_] = np.asarray(nib.Nifti1Image.from_filename(place / "mask.nii.gz").dataobj) > 0
    volumes, affine = np.asarray(image.dataobj), np.asarray(image.affine)
    # what stands before the volumes' own lines is of a longer table
    rows = [line.split() for line in (place / "attributes_literal.txt").read_text().splitlines()][-N_VOLUMES:]
    labels = np.zeros(inside.shape, np.int16)
    labels[inside] = np.arange(1, np.count_nonzero(inside) + 1)
    regions = LabelImage(labels, affine, tuple(f"v{k}" for k in range(int(labels.max()))))
    for run in range(12):
        folder = out / f"run-{run + 1:02d}"
        folder.mkdir(parents=True)
        own = np.array([int(row[1]) == run for row in rows])
        write_nifti(folder / "bold.nii.gz", volumes[..., own], affine, TR_S)
        write_labels(regions, folder / "regions.nii.gz", folder / "regions.tsv")
        shown = [row[0] for row in rows if int(row[1]) == run]
        starts = [k for k in range(len(shown)) if k == 0 or shown[k] != shown[k - 1]]
        ends = [*starts[1:], len(shown)]
        lines = [f"{a * TR_S}\t{(b - a) * TR_S}\t{shown[a]}\n" for a, b in zip(starts, ends, strict=True)]
        (folder / "events.tsv").write_text("onset\tduration\ttrial_type\n" + "".join(lines), encoding="utf-8")
        (folder / "recording.toml").write_text(
            'schema = 1\nkind = "recording"\n[bold]\nfile = "bold.nii.gz"\n[regions]\nlabels = "regions.nii.gz"\n'
            'names = "regions.tsv"\n[events]\nfile = "events.tsv"\n',
            encoding="utf-8",
        )
    return out


def told(windows: WindowSet, one_vs_one: bool) -> float:
    """Share of volumes with a picture that are told by what was learned on the other runs."""
    flat = windows.bold[:, 0].astype(np.float64)
    shown = windows.label > 0
    right = 0
    for fold in split(windows, "run"):
        train, test = fold.train[shown[fold.train]], fold.test[shown[fold.test]]
        machine = SVC(kernel="linear", C=0.01) if one_vs_one else LinearSVC(C=0.01, dual="auto", random_state=0)
        machine.fit(flat[train], windows.label[train])
        right += np.count_nonzero(machine.predict(flat[test]) == windows.label[test])
    return right / int(shown.sum())


def test_pictures_are_told_no_worse_than_by_the_plain_reference(shared_data: Path, tmp_path: Path) -> None:
    folder = write_haxby(shared_data / "bold/haxby/slice", tmp_path / "haxby")
    values = {
        "schema": 1,
        # one slice cannot be registered
        "clean": {"bold": {"correct_motion": False}},
        "windows": {"pairing": "display", "bold_steps": 1, "age_bold_max_s": 8.0},
    }
    reading = Reading(Labels(("rest", *PICTURES)), baseline="within", windows="volumes")
    windows = read_subject(folder, parse_config(values, "haxby", tmp_path), "haxby", reading)
    assert windows.bold.shape == (N_VOLUMES, 1, 530)
    assert windows.eeg.shape[2] == 0
    assert np.bincount(windows.label).tolist() == [588, *[108] * 8]
    assert len(split(windows, "run")) == 12
    whole = within_run(windows)
    assert told(whole, one_vs_one=False) >= HAXBY_ONE_VS_REST - 5e-5
    assert told(whole, one_vs_one=True) >= HAXBY_SVC - 5e-5
    # as the lane gives it, each run against its own rest: 864 volumes, three standard errors above chance are 0.16
    assert told(windows, one_vs_one=False) > 0.4
