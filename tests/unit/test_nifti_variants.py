"""NIfTI as other programs write it: pairs, NIfTI-2, byte orders, types, scales and orientations."""

from __future__ import annotations

import re

import nibabel as nib
import numpy as np
import pytest

from streamer.errors import FormatError, IncompleteFile
from streamer.formats.nifti import read_labels, read_nifti

AFFINE = np.array([[-3.0, 0, 0, 96], [0, 0.96 * 3, -0.28 * 4, -90], [0, 0.28 * 3, 0.96 * 4, -30], [0, 0, 0, 1]])


def series(dtype=np.int16):
    return np.random.default_rng(0).integers(0, 3000, (7, 8, 5, 4)).astype(dtype)


def image(kind=nib.Nifti1Image, data=None, endianness=None, affine=AFFINE):
    header = None if endianness is None else kind.header_class(endianness=endianness)
    found = kind(series() if data is None else data, affine, header)
    found.header["pixdim"][4] = 2.0
    found.header.set_xyzt_units("mm", "sec")
    return found


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("endianness", ["<", ">"])
@pytest.mark.parametrize(
    "dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.float32, np.float64]
)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_every_kind_of_single_file(tmp_path, kind, endianness, dtype, suffix):
    values = (series() % 100).astype(dtype)
    written = image(kind, values, endianness)
    written.header.set_data_dtype(dtype)
    path = tmp_path / f"x{suffix}"
    written.to_filename(path)
    for source in (path, path.read_bytes()):
        found = read_nifti(source, "x")
        assert (len(found), found.shape, found.tr, found.problems) == (4, (7, 8, 5), 2.0, ())
        np.testing.assert_array_equal(found[2].data, values[..., 2])
        assert found[2].data.dtype == (dtype if dtype in {np.int16, np.uint16} else np.float32)
        assert found[2].data.dtype.isnative
        np.testing.assert_allclose(found.affine, AFFINE, atol=1e-5)


@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.Nifti2Pair])
@pytest.mark.parametrize("given", [".hdr", ".img"])
def test_a_pair_of_files_is_read_by_either_of_them(tmp_path, kind, given):
    image(kind).to_filename(tmp_path / "x.img")
    found = read_nifti(tmp_path / f"x{given}")
    np.testing.assert_array_equal(found[3].data, series()[..., 3])
    np.testing.assert_allclose(found.affine, AFFINE, atol=1e-5)
    content = (tmp_path / "x.img").read_bytes()
    (tmp_path / "x.img").write_bytes(content[:-1])
    with pytest.raises(IncompleteFile, match=f"{len(content) - 1} of {len(content)} bytes"):
        read_nifti(tmp_path / f"x{given}")
    (tmp_path / "x.img").unlink()
    with pytest.raises(IncompleteFile, match=r"no \.img beside it"):
        read_nifti(tmp_path / "x.hdr")


def test_an_analyze_image_does_not_say_which_side_is_left(tmp_path):
    nib.Spm2AnalyzeImage(series(), AFFINE).to_filename(tmp_path / "x.img")
    with pytest.raises(FormatError, match="does not say that it is one"):
        read_nifti(tmp_path / "x.img")


@pytest.mark.parametrize("slope", [np.nan, 0.0, np.inf])
def test_a_slope_that_is_none_scales_nothing(tmp_path, slope):
    raw = bytearray(image().to_bytes())
    raw[112:120] = np.array([slope, 5.0], "<f4").tobytes()
    found = read_nifti(bytes(raw), "x")[0]
    np.testing.assert_array_equal(found.data, series()[..., 0])
    assert found.data.dtype == np.int16


def test_a_slope_is_applied_and_an_intercept_that_is_none_refused():
    raw = bytearray(image().to_bytes())
    raw[112:120] = np.array([0.5, -3.0], "<f4").tobytes()
    found = read_nifti(bytes(raw), "x")[1].data
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, series()[..., 1] * 0.5 - 3)
    raw[112:120] = np.array([0.5, np.nan], "<f4").tobytes()
    with pytest.raises(FormatError, match="not a NIfTI image"):
        read_nifti(bytes(raw), "x")


@pytest.mark.parametrize(
    "dtype", [np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]), np.dtype(np.complex64), np.dtype(np.complex128)]
)
def test_colours_and_complex_numbers_are_refused(dtype):
    with pytest.raises(FormatError, match="expected real numbers"):
        read_nifti(image(data=np.zeros((7, 8, 5, 4), dtype)).to_bytes(), "x")


def placed(sform=None, s_code=0, qform=None, q_code=0, unit="mm"):
    found = image(affine=AFFINE if sform is None else sform)
    found.header.set_sform(AFFINE if sform is None else sform, s_code)
    found.header.set_qform(AFFINE if qform is None else qform, q_code)
    found.header.set_xyzt_units(unit, "sec")
    raw = bytearray(found.to_bytes())
    raw[252:256] = np.array([q_code, s_code], "<i2").tobytes()
    return read_nifti(bytes(raw), "x")


def moved(x=0.0, flip=1.0):
    other = AFFINE.copy()
    other[0] *= flip
    other[0, 3] += x
    return other


def test_where_an_image_lies_is_taken_from_what_is_set():
    for codes in ({"s_code": 1}, {"q_code": 1}, {"s_code": 1, "q_code": 1}, {"s_code": 4, "q_code": 1}):
        found = placed(**codes)
        np.testing.assert_allclose(found.affine, AFFINE, atol=1e-4)
        assert found.problems == ()
    assert placed(qform=moved(0.4), s_code=1, q_code=1).problems == ()


@pytest.mark.parametrize(
    ("case", "problem"),
    [
        ({}, "neither sform nor qform says where it lies: left and right are not known"),
        ({"s_code": 1, "q_code": 1, "qform": moved(12.0)}, "sform and qform lie 12.0 mm apart: the sform is taken"),
        (
            {"s_code": 1, "q_code": 1, "qform": moved(flip=-1.0)},
            "sform and qform differ in which side is left: the sform is taken",
        ),
    ],
)
def test_doubts_where_an_image_lies_are_told(case, problem):
    found = placed(**case)
    assert found.problems == (problem,)
    if case:
        np.testing.assert_allclose(found.affine, AFFINE, atol=1e-4)


@pytest.mark.parametrize(("unit", "scale"), [("meter", 1e-3), ("micron", 1e3), ("mm", 1.0)])
def test_units_of_space(unit, scale):
    metric = AFFINE.copy()
    metric[:3] *= scale
    found = placed(metric, 1, metric, 1, unit)
    np.testing.assert_allclose(found.affine, AFFINE, rtol=1e-4)
    assert found.problems == ()
    if unit != "mm":
        # the label is wrong, the numbers are mm
        found = placed(AFFINE, 1, AFFINE, 1, unit)
        np.testing.assert_allclose(found.affine, AFFINE, atol=1e-4)
        assert f"with the unit {unit}: taken in mm" in found.problems[0]


def sliced(axis, code=1, n_slices=5, duration=0.4):
    header = image().header
    header.set_dim_info(slice=axis)
    header["slice_start"], header["slice_end"], header["slice_code"] = 0, n_slices - 1, code
    header["slice_duration"] = duration
    return read_nifti(nib.Nifti1Image(series(), AFFINE, header).to_bytes(), "x").slice_times


def test_slice_times_are_those_of_slices_along_z():
    np.testing.assert_allclose(sliced(2), [0, 0.4, 0.8, 1.2, 1.6], atol=1e-6)
    np.testing.assert_allclose(sliced(2, code=3), [0, 1.2, 0.4, 1.6, 0.8], atol=1e-6)
    np.testing.assert_allclose(sliced(2, duration=400.0), [0, 0.4, 0.8, 1.2, 1.6], atol=1e-6)
    assert sliced(1) == ()
    assert sliced(0, n_slices=7) == ()
    assert sliced(2, duration=0.6) == ()


def test_labels_in_a_series_are_refused(tmp_path):
    image().to_filename(tmp_path / "x.nii")
    with pytest.raises(FormatError, match=re.escape("4 axes, expected a 3-D image of labels")):
        read_labels(tmp_path / "x.nii")


def test_the_reference_images_of_the_golden_sets_are_read(shared_data):
    paths = sorted((shared_data / "fmri").glob("*golden/Ref/*.nii"))
    assert len(paths) >= 7
    for path in paths:
        theirs = nib.load(path)
        ours = read_nifti(path)
        assert ours.problems == ()
        np.testing.assert_allclose(ours.affine, theirs.affine)
        np.testing.assert_allclose(ours[1].data, np.asarray(theirs.dataobj[..., 1]), rtol=1e-6)
        assert ours.tr == pytest.approx(float(theirs.header["pixdim"][4]), abs=1e-6)
