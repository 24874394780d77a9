from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest
from nibabel.nifti2 import Nifti2Image

from streamer.errors import FormatError, IncompleteFile
from streamer.formats.nifti import read_labels, read_nifti, write_nifti

AFFINE = np.array([[-3.0, 0, 0, 96], [0, 0.96 * 3, -0.28 * 4, -90], [0, 0.28 * 3, 0.96 * 4, -30], [0, 0, 0, 1]])


def series(dtype=np.int16):
    return np.random.default_rng(0).integers(0, 3000, (7, 8, 5, 4)).astype(dtype)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("dtype", "stored"), [(np.uint16, np.int16), (np.int64, np.int16), (np.float64, np.float32)])
def test_what_is_written_is_read_back(tmp_path, suffix, dtype, stored):
    path = tmp_path / f"run{suffix}"
    write_nifti(path, series(dtype), AFFINE, tr=1.97)
    found = read_nifti(path)
    assert len(found) == 4
    assert found.tr == 1.97
    assert found[0].data.dtype == stored
    for k in range(4):
        np.testing.assert_array_equal(found[k].data, series()[..., k])
        assert found[k].index == k
    np.testing.assert_array_equal(found[-1].data, series()[..., 3])
    np.testing.assert_allclose(found[0].affine, AFFINE, atol=1e-5)
    assert [v.index for v in found[1:3]] == [1, 2]
    with pytest.raises(IndexError):
        found[4]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    theirs = nib.load(path)
    assert theirs.header.get_xyzt_units() == ("mm", "sec")
    np.testing.assert_allclose(theirs.get_qform(), theirs.get_sform(), atol=1e-4)


def test_numbers_beyond_int16_are_written_as_float(tmp_path):
    write_nifti(tmp_path / "a.nii", np.full((3, 3, 3), 40000, np.uint16), AFFINE, tr=1.0)
    found = read_nifti(tmp_path / "a.nii")[0].data
    assert found.dtype == np.float32
    assert found[0, 0, 0] == 40000


def test_a_scaled_image_is_unscaled(tmp_path):
    image = nib.Nifti1Image(series().astype(np.float32) / 7, AFFINE)
    image.set_data_dtype(np.int16)
    image.header["pixdim"][4] = 2
    image.to_filename(tmp_path / "scaled.nii")
    found = read_nifti(tmp_path / "scaled.nii")[2].data
    np.testing.assert_allclose(found, series()[..., 2] / 7, atol=0.05)


def timed(path, value, unit):
    image = nib.Nifti1Image(series(), AFFINE)
    image.header["pixdim"][4] = value
    image.header.set_xyzt_units("mm", unit)
    image.to_filename(path)
    return path


@pytest.mark.parametrize(
    ("value", "unit", "problem"),
    [
        (1.97, "sec", None),
        (1970, "msec", None),
        (1970000, "usec", None),
        (1970, "sec", "repetition time 1970 with the unit sec: taken as 1.97 s"),
        (1970, "unknown", "repetition time 1970 with the unit unknown: taken as 1.97 s"),
        (1.97, "unknown", "repetition time 1.97 with the unit unknown: taken as 1.97 s"),
        (1.97, "msec", "repetition time 1.97 with the unit msec: taken as 1.97 s"),
        (1970000, "sec", "repetition time 1.97e+06 with the unit sec: taken as 1.97 s"),
    ],
)
def test_the_unit_of_time_is_put_right_and_said(tmp_path, value, unit, problem):
    found = read_nifti(timed(tmp_path / "x.nii.gz", value, unit))
    assert found.tr == 1.97
    assert found.problems == (() if problem is None else (problem,))


@pytest.mark.parametrize(("value", "given"), [(0, 2.0), (0.001, 2.0), (40, 2.0), (np.nan, 2.0), (-2, 2.0)])
def test_an_implausible_repetition_time_is_asked_for(tmp_path, value, given):
    path = timed(tmp_path / "x.nii", value, "sec")
    with pytest.raises(FormatError, match=r"x\.nii: repetition time .* expected 0\.05 to 30"):
        read_nifti(path)
    found = read_nifti(path, tr=given)
    assert found.tr == given
    assert "2 s as given" in found.problems[0]


def test_one_volume_is_a_series_of_one(tmp_path):
    write_nifti(tmp_path / "x.nii.gz", series()[..., 0], AFFINE, tr=2.0)
    found = read_nifti(tmp_path / "x.nii.gz")
    assert (len(found), found.shape, found[0].index) == (1, (7, 8, 5), 0)


def test_slice_times_that_are_all_zero_are_none(tmp_path):
    image = nib.Nifti1Image(series(), AFFINE)
    image.header["pixdim"][4] = 2.0
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_dim_info(slice=2)
    image.header["slice_end"], image.header["slice_code"] = 4, 1
    image.to_filename(tmp_path / "x.nii")
    assert read_nifti(tmp_path / "x.nii").slice_times == ()


def test_slice_times_of_the_header_are_taken(tmp_path):
    image = nib.Nifti1Image(series(), AFFINE)
    image.header["pixdim"][4] = 2.0
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_dim_info(slice=2)
    image.header["slice_end"] = 4
    image.header["slice_duration"] = 0.4
    image.header["slice_code"] = 3
    image.to_filename(tmp_path / "x.nii")
    np.testing.assert_allclose(read_nifti(tmp_path / "x.nii")[0].slice_times, [0, 1.2, 0.4, 1.6, 0.8], atol=1e-6)


@pytest.mark.parametrize("kind", ["nii", "nii.gz", "nifti2"])
def test_a_growing_file_is_incomplete_until_the_last_byte(tmp_path, kind):
    path = tmp_path / f"x.{kind if kind != 'nifti2' else 'nii'}"
    if kind == "nifti2":
        image = Nifti2Image(series(), AFFINE)
        image.header["pixdim"][4] = 2
        image.to_filename(path)
    else:
        write_nifti(path, series(), AFFINE, tr=2.0)
    raw = path.read_bytes()
    for length in (0, 1, 3, 347, 348, 400, len(raw) // 2, len(raw) - 1):
        with pytest.raises(IncompleteFile):
            read_nifti(raw[:length], "growing")
        path.write_bytes(raw[:length])
        with pytest.raises(IncompleteFile):
            read_nifti(path)
    assert len(read_nifti(raw)) == 4


def test_absurd_sizes_are_refused_before_they_are_allocated(tmp_path):
    write_nifti(tmp_path / "x.nii", series(), AFFINE, tr=2.0)
    raw = bytearray((tmp_path / "x.nii").read_bytes())
    raw[42:50] = np.array([32000] * 4, "<i2").tobytes()
    for content in (bytes(raw), gzip.compress(bytes(raw))):
        with pytest.raises(FormatError, match="bytes announced"):
            read_nifti(content, "absurd")


def test_noise_is_not_nifti(tmp_path):
    path = tmp_path / "noise.nii"
    path.write_bytes(np.random.default_rng(0).bytes(4000))
    with pytest.raises(FormatError, match=r"noise\.nii: not a NIfTI image"):
        read_nifti(path)
    with pytest.raises(FormatError, match="no such file"):
        read_nifti(tmp_path / "absent.nii")


def test_damaged_headers_raise_nothing_but_format_errors(tmp_path):
    write_nifti(tmp_path / "x.nii", series(), AFFINE, tr=2.0)
    raw = (tmp_path / "x.nii").read_bytes()
    rng = np.random.default_rng(5)
    for _ in range(300):
        damaged = bytearray(raw)
        for at in rng.integers(0, 348, rng.integers(1, 6)):
            damaged[at] = rng.integers(256)
        content = bytes(damaged)
        for given in (content, gzip.compress(content, 1)):
            try:
                found = read_nifti(given, "damaged", tr=1.0)[0]
            except (FormatError, IndexError):
                continue
            assert found.data.ndim == 3


def labels_file(tmp_path, values):
    write_nifti(tmp_path / "labels.nii.gz", values, AFFINE)
    return tmp_path / "labels.nii.gz"


def label_values():
    values = np.zeros((6, 6, 4), np.int16)
    values[1, 1, 1], values[2, 2, :2], values[3] = 7, 40, 3
    return values


def test_labels_get_the_names_and_the_order_of_the_table(tmp_path):
    path = labels_file(tmp_path, label_values())
    table = tmp_path / "labels.tsv"
    table.write_text("index\tname\n40\tamygdala\n7\tinsula\n", encoding="utf-8")
    found = read_labels(path, table)
    assert found.names == ("amygdala", "insula")
    assert found.data.dtype == np.int16
    np.testing.assert_array_equal(found.data == 1, label_values() == 40)
    np.testing.assert_array_equal(found.data == 2, label_values() == 7)
    np.testing.assert_allclose(found.affine, AFFINE, atol=1e-5)


def test_labels_without_a_table_are_all_taken(tmp_path):
    found = read_labels(labels_file(tmp_path, label_values()))
    assert found.names == ("region-3", "region-7", "region-40")
    assert sorted(np.unique(found.data)) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("index\tname\n9\tabsent\n", r"no voxel has the label of absent \(9\)"),
        ("index,name\n7,insula\n", "tab-separated"),
        ("index\tname\nseven\tinsula\n", "whole number"),
        ("index\tname\n7\ta\n7\tb\n", "twice"),
        ("index\tname\n", "no region"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path, table, message):
    path = labels_file(tmp_path, label_values())
    (tmp_path / "t.tsv").write_text(table, encoding="utf-8")
    with pytest.raises(FormatError, match=message):
        read_labels(path, tmp_path / "t.tsv")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((3, 3, 3), 0.5), "not whole"),
        (np.full((3, 3, 3), -1), "not whole numbers from 0"),
        (np.zeros((3, 3, 3)), "no voxel is labelled"),
        (np.ones((3, 3, 3, 2)), "4 axes"),
    ],
)
def test_images_that_hold_no_labels_are_refused(tmp_path, values, message):
    with pytest.raises(FormatError, match=message):
        read_labels(labels_file(tmp_path, values))


def test_the_name_must_be_that_of_a_nifti_file(tmp_path):
    with pytest.raises(ValueError, match=r"expected \.nii"):
        write_nifti(tmp_path / "x.img", series(), AFFINE)
