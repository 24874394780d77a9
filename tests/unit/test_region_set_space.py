"""The way from MNI and T1 to the EPI: estimated, given, refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from streamer.errors import FormatError, RecordingError, UsageError
from streamer.formats.nifti import write_nifti
from streamer.region_set.affine_fit import Picture
from streamer.region_set.space import SpaceOptions, find_chain
from streamer.region_set.target import read_t1, read_target, single_target
from streamer.region_set.transforms import check_given, estimate, implausible, read_matrix
from tests.unit.region_set_heads import CENTRES, SHAPE, epi_affine, move, planted, seen


def test_a_planted_affine_is_found(template):
    rng = np.random.default_rng(0)
    to_mni = planted(rng)
    target = single_target("epi", *seen(template, to_mni, rng))
    matrix, (step,) = find_chain(SpaceOptions("mni"), target)
    wrong = np.linalg.norm(move(matrix, CENTRES) - move(np.linalg.inv(to_mni), CENTRES), axis=1)
    assert wrong.max() < 1.5
    assert step.how == "estimated"
    assert step.facts["spread_mm"] < 1.0
    assert step.facts["overlap"] > 0.9
    assert step.facts["swapped"] < 0.7


@pytest.mark.parametrize(("axis", "words"), [(1, "front and back"), (2, "up and down")])
def test_a_header_that_turns_the_head_is_refused(template, scanned, axis, words):
    target, _ = scanned
    flip = np.diag([-1.0 if k == axis else 1.0 for k in range(3)] + [1.0])
    turned = single_target("epi", target.volume, flip @ target.affine)
    with pytest.raises(RecordingError, match=words):
        find_chain(SpaceOptions("mni"), turned)


def test_left_for_right_is_told_by_the_t1(template, tmp_path):
    rng = np.random.default_rng(5)
    # one head, seen twice: a T1 image that lies elsewhere by a turn and a shift, and the EPI
    rigid = np.eye(4)
    rigid[:3, :3] = np.array([[np.cos(0.1), -np.sin(0.1), 0], [np.sin(0.1), np.cos(0.1), 0], [0, 0, 1]])
    rigid[:3, 3] = (5, -6, 8)
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = (-96, -130, -72)
    shape = (64, 76, 62)
    voxels = np.linalg.inv(template.affine) @ affine
    index = np.indices(shape).reshape(3, -1)
    places = voxels[:3, :3] @ index + voxels[:3, 3:]
    lesion = np.exp(-((affine[:3, :3] @ index + affine[:3, 3:] - [[-40], [-50], [20]]) ** 2).sum(axis=0) / 600)
    t1 = map_coordinates(template.data, places, order=1) * (1 - 0.6 * lesion)
    write_nifti(tmp_path / "t1.nii.gz", (1000 * t1.reshape(shape)).astype(np.int16), affine)
    epi, grid = seen(template, rigid, rng, lesion=0.6)
    target = single_target("epi", epi, grid)
    matrix, steps = find_chain(SpaceOptions("t1", tmp_path / "t1.nii.gz"), target)
    assert [step.name for step in steps] == ["t1-to-epi"]
    assert np.linalg.norm(move(matrix, CENTRES) - move(np.linalg.inv(rigid), CENTRES), axis=1).max() < 1.5
    whole, steps = find_chain(SpaceOptions("mni", tmp_path / "t1.nii.gz"), target)
    assert [step.name for step in steps] == ["mni-to-t1", "t1-to-epi"]
    assert np.linalg.norm(move(whole, CENTRES) - move(np.linalg.inv(rigid), CENTRES), axis=1).max() < 3.0
    flipped = single_target("epi", epi, np.diag([-1.0, 1, 1, 1]) @ grid)
    with pytest.raises(RecordingError, match="left and right swapped"):
        find_chain(SpaceOptions("t1", tmp_path / "t1.nii.gz"), flipped)


def test_what_is_no_head_is_not_registered(template):
    rng = np.random.default_rng(0)
    noise = Picture(rng.random(SHAPE).astype(np.float32), epi_affine(), np.ones(SHAPE, bool))
    with pytest.raises(RecordingError, match=r"cannot be trusted|fit better with"):
        estimate("mni-to-epi", noise, template, rigid=False, symmetric=True)
    with pytest.raises(FormatError, match="no signal"):
        single_target("epi", np.zeros(SHAPE), np.eye(4))
    few = Picture(noise.data, noise.affine, np.zeros(SHAPE, bool))
    with pytest.raises(FormatError, match="0 voxels"):
        estimate("mni-to-epi", few, template, rigid=False, symmetric=True)


def test_a_given_transform_is_held_against_the_images(template, scanned, tmp_path):
    target, to_mni = scanned
    right, inverse = tmp_path / "right.txt", tmp_path / "inverse.txt"
    # a shift that is large enough for the direction to matter
    np.savetxt(right, np.linalg.inv(to_mni))
    matrix, (step,) = find_chain(SpaceOptions("mni", mni_to_epi=right), target)
    np.testing.assert_allclose(matrix, np.linalg.inv(to_mni), atol=1e-9)
    assert step.how == "given"
    assert step.facts["overlap"] > 0.9
    np.savetxt(inverse, to_mni)
    with pytest.raises(UsageError, match="inverse of what was given"):
        find_chain(SpaceOptions("mni", mni_to_epi=inverse), target)
    far = np.eye(4)
    far[0, 3] = 80
    np.savetxt(tmp_path / "far.txt", far)
    with pytest.raises(UsageError, match="of the brain lies in"):
        check_given(step.__class__("mni-to-epi", far, "given", {}), target.picture, template)


def test_matrices_are_read_by_their_convention(tmp_path):
    matrix = np.eye(4)
    matrix[:3, :3] = [[0.98, -0.17, 0.05], [0.17, 0.98, 0.02], [-0.05, -0.01, 1.02]]
    matrix[:3, 3] = (4, -7, 11)
    np.savetxt(tmp_path / "plain.txt", matrix)
    np.testing.assert_allclose(read_matrix(tmp_path / "plain.txt"), matrix)
    # ITK: LPS, about a centre
    lps = np.diag([-1.0, -1, 1, 1]) @ matrix @ np.diag([-1.0, -1, 1, 1])
    centre = np.array([3.0, -20, 8])
    shift = lps[:3, 3] - centre + lps[:3, :3] @ centre
    numbers = " ".join(repr(float(v)) for v in [*lps[:3, :3].ravel(), *shift])
    fixed = " ".join(repr(float(v)) for v in centre)
    lines = ("#Insight Transform File V1.0", "#Transform 0", "Transform: AffineTransform_double_3_3")
    text = "\n".join([*lines, f"Parameters: {numbers}", f"FixedParameters: {fixed}", ""])
    (tmp_path / "itk.txt").write_text(text)
    np.testing.assert_allclose(read_matrix(tmp_path / "itk.txt"), matrix, atol=1e-12)
    # a point of LPS, through ITK's own definition
    point = np.array([10.0, 20, 30])
    lps_point = point * [-1, -1, 1]
    there = lps[:3, :3] @ (lps_point - centre) + centre + shift
    np.testing.assert_allclose(matrix[:3, :3] @ point + matrix[:3, 3], there * [-1, -1, 1], atol=1e-9)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("flirt.mat", b"1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n", "FSL"),
        ("ants.mat", b"\x00\xff\x80MATLAB", "binary"),
        ("short.txt", b"1 0 0 0\n0 1 0 0\n", "2 lines"),
        ("words.txt", b"hello\n", "four lines"),
        ("last.txt", b"1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 1 1\n", "last line"),
        (
            "itk.txt",
            b"#Insight Transform File V1.0\nTransform: DisplacementFieldTransform_double_3_3\n",
            "Displacement",
        ),
        ("itk2.txt", b"#Insight Transform File V1.0\nTransform: AffineTransform_double_3_3\nParameters: 1 2\n", "12"),
    ],
)
def test_other_matrices_are_refused(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=words):
        read_matrix(tmp_path / name)


def test_no_two_heads_have_this_between_them():
    assert not implausible(np.diag([1.1, 0.9, 1.0, 1.0]), rigid=False)
    assert "mirrors" in implausible(np.diag([-1.0, 1, 1, 1]), rigid=False)
    assert "180°" in implausible(np.diag([-1.0, -1, 1, 1]), rigid=False)
    assert "scales" in implausible(np.diag([3.0, 3, 3, 1]), rigid=False)
    assert "out of shape" in implausible(np.diag([0.7, 1.4, 1, 1]), rigid=False)
    assert "scales" in implausible(np.diag([1.1, 1.1, 1.1, 1]), rigid=True)


def test_only_a_head_is_an_epi(tmp_path):
    with pytest.raises(RecordingError, match="no such file"):
        read_target(tmp_path / "absent")
    write_nifti(tmp_path / "t1.nii.gz", np.zeros((8, 8, 8), np.int16), np.eye(4))
    with pytest.raises(FormatError, match="nothing in it"):
        read_t1(tmp_path / "t1.nii.gz")
