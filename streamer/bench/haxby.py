"""Which of eight kinds of pictures a person saw, told from fMRI volumes that our general linear model cleaned.

The set is subject 1 of Haxby et al. 2001 (doi:10.1126/science.1063736), one slice of 530 voxels, as PyMVPA gives it:
twelve runs of 121 volumes. Every run is decoded by what was learned on the eleven others, volume by volume.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streamer.bench.figures import Figure
from streamer.clean.bold.design_matrix import DesignMatrix, DesignSettings, ModelStage
from streamer.clean.bold.glm import GlmSettings, RecursiveGlm, fit_run
from streamer.errors import RecordingError, UsageError
from streamer.messages import F64, Array

TR_S = 2.5
SLICE = "bold/haxby/slice"
"""The set, below the folder of recordings."""
ONE_VS_REST, ONE_VS_ONE = 0.6586, 0.5833
"""What linear detrending and z-scores within whole runs give, with the same classifiers."""
_N_VOLUMES = 1452


@dataclass(frozen=True, slots=True)
class Haxby:
    """Volumes of all runs, one after another."""

    values: F64
    """Shape (n_volumes, n_voxels)."""
    labels: Array
    """0 at rest, 1 to 8 for what was shown, shape (n_volumes,)."""
    runs: Array
    """Run, from 0, shape (n_volumes,)."""


def read_haxby(folder: Path) -> Haxby:
    """Read the set; ``folder`` holds ``bold/haxby``.

    Raises
    ------
    RecordingError
        It is not there, or of another size.
    """
    import nibabel as nib

    place = folder / SLICE
    if not (place / "bold.nii.gz").exists():
        raise RecordingError(f"{place}: no bold.nii.gz; expected the folder of real recordings, with {SLICE} in it")
    inside = np.asarray(nib.Nifti1Image.from_filename(place / "mask.nii.gz").dataobj) > 0
    values = np.asarray(nib.Nifti1Image.from_filename(place / "bold.nii.gz").dataobj)[inside].T.astype(np.float64)
    # what stands before the volumes' own lines is of a longer table
    table = np.loadtxt(place / "attributes.txt", dtype=np.int64)[-_N_VOLUMES:]
    if len(values) != len(table):
        raise RecordingError(f"{place}: {len(values)} volumes with {len(table)} labels: expected one each")
    return Haxby(values, table[:, 0], table[:, 1])


def whole_runs(data: Haxby) -> F64:
    """Clean each run by the model over all of it, constant and trend; in standard deviations."""
    design = DesignMatrix(DesignSettings(drift_cutoff_s=0.0, motion=0, tissue=()))
    features = np.empty_like(data.values)
    for run in np.unique(data.runs):
        here = np.flatnonzero(data.runs == run)
        design.reset()
        rows = np.array([design.row((k + 0.5) * TR_S) for k in range(len(here))])
        glm = fit_run(data.values[here], rows, design.names, design.stages, GlmSettings(rho=0.0))
        spread = glm.residual_sd()
        for at, row in zip(here, rows, strict=True):
            features[at] = glm.cleaned(data.values[at], row) / spread
    return features


def as_live(data: Haxby) -> F64:
    """Clean each volume by the model over those of its run up to it; in standard deviations.

    The model is the constant alone: a trend that is known from its past alone turns with every block.
    """
    features = np.empty_like(data.values)
    row = np.ones(1)
    for run in np.unique(data.runs):
        glm = RecursiveGlm(data.values.shape[1], ("constant",), (ModelStage.CONSTANT,), GlmSettings(rho=0.0))
        for at in np.flatnonzero(data.runs == run):
            glm(data.values[at], row)
            features[at] = glm.cleaned(data.values[at], row) / glm.residual_sd()
    return features


def decode(data: Haxby, learned: F64, *tested: F64, one_vs_one: bool = False) -> list[float]:
    """Tell what was shown in each run by a linear support vector machine that learned on the others.

    Parameters
    ----------
    data : Haxby
    learned : array, shape (n_volumes, n_voxels)
        Features of the runs that are learned on.
    *tested : array, shape (n_volumes, n_voxels)
        Features of the run that is told.
    one_vs_one : bool
        One machine for each pair of classes, not one for each class.

    Returns
    -------
    accuracies : list of float
        Over all volumes with a picture, for each of ``tested``; chance is 0.125.

    Raises
    ------
    UsageError
        scikit-learn is not installed.
    """
    try:
        from sklearn.svm import SVC, LinearSVC
    except ImportError as error:
        raise UsageError("the Haxby set needs scikit-learn: pip install 'eeg-fmri-streamer[train]'") from error
    shown = data.labels > 0
    right = np.zeros(len(tested))
    for run in np.unique(data.runs):
        others, this = shown & (data.runs != run), shown & (data.runs == run)
        machine: Any = SVC(kernel="linear", C=0.01) if one_vs_one else LinearSVC(C=0.01, dual="auto", random_state=0)
        machine.fit(learned[others], data.labels[others])
        right += [np.count_nonzero(machine.predict(features[this]) == data.labels[this]) for features in tested]
    return (right / np.count_nonzero(shown)).tolist()


def measure(folder: Path) -> list[Figure]:
    """Measure decoding through the recursive model, over whole runs and as it would be live.

    Parameters
    ----------
    folder : Path
        Holds ``bold/haxby``.

    Raises
    ------
    RecordingError
        The set is not there.
    UsageError
        scikit-learn is not installed.
    """
    data = read_haxby(folder)
    whole, live = whole_runs(data), as_live(data)
    rest, told = decode(data, whole, whole, live)
    (one,) = decode(data, whole, whole, one_vs_one=True)
    on = "Haxby subject 1, 8 classes, 12 runs, each left out once; chance 0.125"
    return [
        Figure(
            "decoding, whole runs, one against the rest",
            rest,
            "share",
            ONE_VS_REST,
            "more",
            f"plain detrending and z-scores {ONE_VS_REST}",
            on,
        ),
        Figure(
            "decoding, whole runs, one against one",
            one,
            "share",
            ONE_VS_ONE,
            "more",
            f"plain detrending and z-scores {ONE_VS_ONE}",
            on,
        ),
        Figure(
            "decoding, learned on whole runs, told live",
            told,
            "share",
            note=f"each volume cleaned by those before it alone; {on}",
        ),
    ]
