"""Regions from a localiser run whose activation is known, and from a real one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from streamer.errors import RecordingError, UsageError
from streamer.formats.nifti import read_labels, write_nifti
from streamer.formats.region_files import LABELS, TABLE
from streamer.region_set.localiser import LocaliserSettings, clusters, fit_localiser, parse_contrast
from streamer.region_set.request import Request, make_set
from streamer.region_set.space import SpaceOptions
from streamer.region_set.target import read_target
from tests.unit.region_set_heads import quiet

SHAPE = (24, 28, 14)
TR = 2.0
BLOCKS = ((20.0, 20.0), (60.0, 20.0), (100.0, 20.0))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A head whose left and right answer to two conditions; its first three volumes are brighter."""
    folder = tmp_path_factory.mktemp("localiser")
    rng = np.random.default_rng(0)
    affine = np.diag([-7.0, 7, 8, 1])
    affine[:3, 3] = (80.5, -94.5, -52)
    index = np.indices(SHAPE)
    world = np.tensordot(affine[:3, :3], index, axes=1) + affine[:3, 3][:, None, None, None]
    radius = np.sqrt((world[0] / 66) ** 2 + (world[1] / 84) ** 2 + (world[2] / 50) ** 2)
    head = 900.0 * (radius < 1) * (1 + 0.2 * gaussian_filter(rng.standard_normal(SHAPE), 1.0))
    n = 70
    times = np.arange(n) * TR
    task = np.zeros((2, n))
    for k, (onset, duration) in enumerate(BLOCKS):
        # a plateau some seconds after the beginning is what the response comes to
        task[k % 2] += (times >= onset + 5) & (times < onset + duration + 5)
    places = ((-35, 0, 10), (35, 0, 10))
    blobs = [((world - np.array(p)[:, None, None, None]) ** 2).sum(axis=0) < 16**2 for p in places]
    data = np.empty((*SHAPE, n), np.int16)
    for t in range(n):
        volume = head * (1.3 if t < 3 else 1.0)
        for blob, row in zip(blobs, task, strict=True):
            volume = volume * (1 + 0.03 * blob * row[t])
        data[..., t] = volume + rng.normal(0, 9, SHAPE)
    write_nifti(folder / "bold.nii.gz", data, affine, TR)
    rows = "".join(f"{onset}\t{duration}\t{('left', 'right')[k % 2]}\n" for k, (onset, duration) in enumerate(BLOCKS))
    (folder / "events.tsv").write_text(f"onset\tduration\ttrial_type\n{rows}")
    return folder, blobs


def test_the_target_is_the_first_steady_volume(run):
    folder, _ = run
    target = read_target(folder / "bold.nii.gz")
    assert target.first_steady == 3
    assert target.brain.sum() > 1000
    # noise of 9 in about 900
    assert np.nanmedian(target.tsnr[target.brain]) == pytest.approx(100, rel=0.15)


def test_a_planted_activation_becomes_a_region(run, tmp_path):
    folder, blobs = run
    search = LocaliserSettings("left - right", threshold=4.0, clusters=1, min_voxels=4, fwhm_mm=0.0)
    request = Request(
        localiser=folder / "bold.nii.gz", events=folder / "events.tsv", search=search, space=SpaceOptions("epi")
    )
    facts = make_set(request, tmp_path / "set", quiet)
    found = read_labels(tmp_path / "set" / LABELS, tmp_path / "set" / TABLE)
    assert found.names == ("cluster 1",)
    mine = found.data == 1
    assert 2 * (mine & blobs[0]).sum() / (mine.sum() + blobs[0].sum()) > 0.8
    assert not (mine & blobs[1]).any()
    assert any("largest t" in note for note in facts.notes)


def test_each_area_gets_its_own_region(run, tmp_path):
    folder, blobs = run
    image = read_target(folder / "bold.nii.gz")
    areas = np.zeros(SHAPE, np.int16)
    areas[:12], areas[12:] = 1, 2
    write_nifti(tmp_path / "areas.nii.gz", areas, image.affine)
    (tmp_path / "areas.tsv").write_text("index\tname\n1\tright half\n2\tleft half\n")
    search = LocaliserSettings("left + right", threshold=None, top=12, clusters=1, min_voxels=4, fwhm_mm=0.0)
    request = Request(
        localiser=folder / "bold.nii.gz", events=folder / "events.tsv", search=search, within=tmp_path / "areas.nii.gz",
        space=SpaceOptions("epi"), epi=folder / "bold.nii.gz",
    )  # fmt: skip
    make_set(request, tmp_path / "set", quiet)
    found = read_labels(tmp_path / "set" / LABELS, tmp_path / "set" / TABLE)
    assert found.names == ("right half", "left half")
    for number, blob in ((1, blobs[1]), (2, blobs[0])):
        mine = found.data == number
        assert 4 <= mine.sum() <= 12
        assert (mine & blob).sum() > 0.8 * mine.sum()


def test_what_a_localiser_cannot_give(run, tmp_path):
    folder, _ = run
    path, events = folder / "bold.nii.gz", folder / "events.tsv"
    with pytest.raises(UsageError, match=r"no events 'up'; there are left, right"):
        fit_localiser(path, events, LocaliserSettings("up"), quiet)
    with pytest.raises(UsageError, match="no events in it: give a table"):
        fit_localiser(path, None, LocaliserSettings("left"), quiet)
    with pytest.raises(RecordingError, match="no such file"):
        fit_localiser(tmp_path / "absent", events, LocaliserSettings("left"), quiet)
    (tmp_path / "late.tsv").write_text("onset\tduration\ttrial_type\n900\t10\tlate\n")
    with pytest.raises(UsageError, match="cannot be estimated"):
        fit_localiser(path, tmp_path / "late.tsv", LocaliserSettings("late"), quiet)
    request = Request(
        localiser=path, events=events, search=LocaliserSettings("left", threshold=90.0), space=SpaceOptions("epi")
    )
    with pytest.raises(UsageError, match=r"nothing is found with t of 90 or more.*largest t \d"):
        make_set(request, tmp_path / "set", quiet)
    assert not (tmp_path / "set").exists()


def test_contrasts_are_read():
    labels = ["face", "house", "left-hand", "two words"]
    assert parse_contrast("face", labels) == {"face": 1}
    assert parse_contrast("2*face - house - left-hand", labels) == {"face": 2, "house": -1, "left-hand": -1}
    assert parse_contrast("two words + 0.5 * face", labels) == {"two words": 1, "face": 0.5}
    with pytest.raises(UsageError, match=r"no events 'place'; there are face, house"):
        parse_contrast("face - place", labels)
    with pytest.raises(UsageError, match="weights are 0"):
        parse_contrast("face - face", labels)


def test_clusters_are_the_largest_in_each_area():
    t = np.random.default_rng(0).normal(0, 1, (20, 20, 10)).astype(np.float32)
    t[2:6, 2:6, 2:5] = 6
    t[12:15, 12:15, 2:5] = 8
    t[12, 2, 2] = 9
    settings = LocaliserSettings("a", threshold=5.0, clusters=2, min_voxels=5)
    everywhere = {"cluster": np.ones(t.shape, bool)}
    labels, names, notes = clusters(t, everywhere, settings)
    assert names == ("cluster 1", "cluster 2")
    assert [(labels == k).sum() for k in (1, 2)] == [48, 27]
    assert notes == ()
    halves = {"low": np.arange(20)[:, None, None] * np.ones(t.shape) < 10}
    halves["high"] = ~halves["low"]
    labels, names, _ = clusters(t, halves, settings)
    assert names == ("low", "high")
    assert labels[13, 13, 3] == 2
    # the best voxels, whatever their t
    best = LocaliserSettings("a", threshold=None, top=27, clusters=1, min_voxels=5)
    labels, _, _ = clusters(t, everywhere, best)
    assert labels[13, 13, 3] == 1
    assert (labels > 0).sum() == 26
    with pytest.raises(UsageError, match=r"t of 50 or more.*largest t 9\.00"):
        clusters(t, everywhere, LocaliserSettings("a", threshold=50.0))
    with pytest.raises(UsageError, match="no voxel of the brain"):
        clusters(np.full(t.shape, np.nan, np.float32), everywhere, settings)


def test_regulation_is_found_where_its_masks_lie(shared_data, tmp_path):
    real = shared_data / "fmri" / "siemens-mosaic-neurofeedback"
    starts = (16, 36, 56, 76, 96, 116, 136)
    rows = "".join(f"{(start - 1) * 1.97:.2f}\t{10 * 1.97:.2f}\tregulation\n" for start in starts)
    (tmp_path / "events.tsv").write_text(f"onset\tduration\ttrial_type\n{rows}")
    found = fit_localiser(real / "dicom", tmp_path / "events.tsv", LocaliserSettings("regulation"), quiet)
    masks = [read_labels(real / "ROIs_D1" / name) for name in ("lROI_1.nii", "rROI_2.nii")]
    means = [float(np.nanmean(found.t[mask.data > 0])) for mask in masks]
    assert means[0] > 5
    assert means[1] > 2
    # the strongest voxel of the posterior half lies in or at the left mask
    world = np.moveaxis(np.indices(found.t.shape), 0, -1) @ found.target.affine[:3, :3].T + found.target.affine[:3, 3]
    behind = np.where(world[..., 1] < -40, np.nan_to_num(found.t), 0)
    peak = world[np.unravel_index(behind.argmax(), behind.shape)]
    places = world[masks[0].data > 0]
    assert np.linalg.norm(places - peak, axis=1).min() < 8.0
