"""Real runs: eight kinds of pictures are told apart, regulation is told from rest."""

from __future__ import annotations

import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from streamer.bench.haxby import as_live, measure, read_haxby
from streamer.clean.bold.design_matrix import Condition, DesignMatrix, DesignSettings
from streamer.clean.bold.glm import GlmSettings, fit_run
from streamer.errors import RecordingError
from streamer.formats.dicom import read_dicom

TR_S = 1.97
FIRST_BLOCKS = range(11, 132, 20)


def test_decoding_through_our_model_is_not_below_the_plain_reference(shared_data: Path) -> None:
    rest, one, live = measure(shared_data)
    assert rest.met, rest.value
    assert one.met, one.value
    # 864 volumes: three standard errors above chance are 0.16
    assert live.value > 0.5


def test_live_features_know_nothing_of_later_volumes(shared_data: Path) -> None:
    data = read_haxby(shared_data)
    before = as_live(data)
    data.values[60] += 100.0
    after = as_live(data)
    np.testing.assert_array_equal(before[:60], after[:60])
    assert not np.allclose(before[60:121], after[60:121])
    np.testing.assert_array_equal(before[121:], after[121:])


def test_a_folder_without_the_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"no bold\.nii\.gz"):
        measure(tmp_path)


@pytest.fixture
def regions(shared_data: Path) -> np.ndarray:
    """Mean of two regions in each of 155 volumes of a real neurofeedback run, nothing corrected."""
    folder = shared_data / "fmri" / "siemens-mosaic-neurofeedback"
    masks = [np.asarray(nib.load(folder / "ROIs_D1" / name).dataobj) > 0 for name in ("lROI_1.nii", "rROI_2.nii")]
    volumes = [read_dicom(path.read_bytes(), path.name).data for path in sorted((folder / "dicom").glob("*.dcm"))]
    return np.array([[volume[mask].mean(dtype=float) for mask in masks] for volume in volumes])


def test_regulation_stands_out_as_the_data_say(regions: np.ndarray) -> None:
    n = len(regions) - 5
    box = np.zeros(n)
    for first in FIRST_BLOCKS:
        box[first - 1 : first + 9] = 1.0
    t = np.arange(0.0, 32.0, TR_S)
    response = t**5 * np.exp(-t) / math.factorial(5) - t**15 * np.exp(-t) / (6 * math.factorial(15))
    k = np.arange(n)
    rows = np.c_[np.ones(n), k, k**2, np.convolve(box, response)[:n]]
    glm = fit_run(regions[5:], rows, ("constant", "linear", "square", "task"), (0, 1, 1, 3), GlmSettings(rho=0.0))
    assert glm.freedom == 146
    np.testing.assert_allclose(glm.t_map({"task": 1.0}), [13.73, 5.58], atol=0.005)
    np.testing.assert_allclose(glm.mean(), [572.560, 568.243], atol=0.001)

    blocks = Condition(name="task", onsets_s=tuple((f + 4) * TR_S for f in FIRST_BLOCKS), durations_s=(10 * TR_S,))
    design = DesignMatrix(DesignSettings(motion=0, tissue=(), conditions=(blocks,)))
    rows = np.array([design.row((k + 0.5) * TR_S) for k in range(len(regions))])
    censored = np.arange(len(regions)) < 5
    white = fit_run(regions, rows, design.names, design.stages, GlmSettings(rho=0.0), censored)
    np.testing.assert_allclose(white.t_map({"task": 1.0}), [13.5, 5.6], atol=0.5)
    coloured = fit_run(regions, rows, design.names, design.stages, censored=censored)
    # the means of a region are strongly correlated in time: white noise flatters
    assert coloured.rho is not None
    assert coloured.rho > 0.4
    assert (coloured.t_map({"task": 1.0}) > 2.5).all()
    assert (coloured.t_map({"task": 1.0}) < white.t_map({"task": 1.0})).all()
