"""Several volumes, echoes and parts of complex images in one enhanced file."""

from __future__ import annotations

import io
import warnings

import nibabel as nib
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset

from streamer.errors import FormatError, IncompleteFile
from streamer.formats.dicom import NotAnImageVolume, read_content, read_image
from streamer.formats.dicom_folder import scan_dicom
from tests.unit.dicom_files import ENHANCED, GRID, affine, data, enhanced_file, saved, series_file

N_FRAMES = 3 * GRID[2]


def check(content, n_volumes=3, offset=0):
    assert [volume.index for volume in content.images] == list(range(n_volumes))
    for k, volume in enumerate(content.images):
        np.testing.assert_array_equal(volume.data, data(k) + offset)
        np.testing.assert_allclose(volume.affine, affine(), atol=1e-6)
        assert (volume.tr, volume.slice_times) == (2.0, ())
        assert volume.onset == 36000.25 + 2 * k


@given(st.permutations(range(N_FRAMES)), st.booleans())
@settings(deadline=None, max_examples=15)
def test_volumes_are_told_apart_in_any_order_of_frames(order, shared_plane):
    content = read_content(series_file(order=order, shared_plane=shared_plane), "x.dcm")
    check(content)
    assert content.notes == ()


@pytest.mark.parametrize("maker", ["Philips Medical Systems", "GE MEDICAL SYSTEMS", "UIH", "Canon"])
def test_every_vendors_enhanced_objects_are_read(maker):
    check(read_content(series_file(maker=maker), "x.dcm"))


def test_nibabel_reads_the_same():
    with warnings.catch_warnings():
        # nibabel calls its DICOM readers experimental
        warnings.simplefilter("ignore", UserWarning)
        from nibabel.nicom import dicomwrappers
    raw = series_file(maker="Canon")
    wrapper = dicomwrappers.wrapper_from_data(pydicom.dcmread(io.BytesIO(raw)))
    assert isinstance(wrapper, dicomwrappers.MultiframeWrapper)
    theirs = nib.Nifti1Image(wrapper.get_data(), np.diag([-1.0, -1, 1, 1]) @ wrapper.affine)
    ours = read_content(raw, "x.dcm").images
    ours = nib.Nifti1Image(np.stack([volume.data for volume in ours], axis=-1), ours[0].affine)
    theirs, ours = nib.as_closest_canonical(theirs), nib.as_closest_canonical(ours)
    np.testing.assert_array_equal(np.asarray(ours.dataobj), np.asarray(theirs.dataobj))
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-5)


def test_a_real_scan_put_into_one_file_equals_its_nifti(shared_data):
    root = shared_data / "fmri/philips-classic-golden"
    slices = [pydicom.dcmread(path) for path in sorted((root / "In").iterdir())]
    header = pydicom.dcmread(io.BytesIO(series_file()))
    groups = []
    for image in slices:
        group, position, plane, content = Dataset(), Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient, plane.ImageOrientationPatient = (
            image.ImagePositionPatient,
            image.ImageOrientationPatient,
        )
        content.TemporalPositionIndex = image.TemporalPositionIdentifier
        group.PlanePositionSequence, group.PlaneOrientationSequence = [position], [plane]
        group.FrameContentSequence = [content]
        groups.append(group)
    measures = header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.PixelSpacing, measures.SpacingBetweenSlices = slices[0].PixelSpacing, slices[0].SpacingBetweenSlices
    header.PerFrameFunctionalGroupsSequence, header.NumberOfFrames = groups, len(groups)
    header.Rows, header.Columns, header.PixelRepresentation = 64, 64, slices[0].PixelRepresentation
    header.PixelData = b"".join(image.PixelData for image in slices)
    found = read_content(saved(header), "x.dcm").images
    reference = nib.load(root / "Ref/EPI_asc_CLEAR_201.nii")
    voxels = np.stack([volume.data for volume in found], axis=-1)
    np.testing.assert_array_equal(voxels, reference.dataobj.get_unscaled())
    np.testing.assert_allclose(found[0].affine, reference.affine, atol=1e-3)


def test_a_scale_of_each_frame_is_applied_and_the_private_one_is_not():
    for volume in read_content(series_file(slopes=True), "x.dcm").images:
        z = np.arange(GRID[2])
        assert volume.data.dtype == np.float32
        np.testing.assert_allclose(volume.data, data(volume.index) * (1.5 + volume.index + z / 4) - z, rtol=1e-6)


@given(st.permutations(range(4 * N_FRAMES)))
@settings(deadline=None, max_examples=5)
def test_echoes_and_phases_among_the_volumes(order):
    raw = series_file(n_echoes=2, phase=True, order=order)
    first = read_content(raw, "x.dcm")
    check(first)
    assert first.notes == (f"{2 * N_FRAMES} phase images in the file are left out", "echoes 1, 2: echo 1 is taken")
    check(read_content(raw, "x.dcm", echo=2), offset=5000)
    with pytest.raises(NotAnImageVolume, match="echo 1, 2, expected echo 3"):
        read_content(raw, "x.dcm", echo=3)


def test_a_file_of_another_echo_is_left_out():
    header = pydicom.dcmread(io.BytesIO(enhanced_file(0)))
    for group in header.PerFrameFunctionalGroupsSequence:
        echo = Dataset()
        echo.EchoNumbers, echo.EffectiveEchoTime = 2, 30.0
        group.MREchoSequence = [echo]
    with pytest.raises(NotAnImageVolume, match="echo 2, expected echo 1"):
        read_image(saved(header), "x.dcm")
    assert read_image(saved(header), "x.dcm", echo=2).index == 0


def test_frames_that_are_all_phases_are_no_volume():
    header = pydicom.dcmread(io.BytesIO(series_file(1)))
    for group in header.PerFrameFunctionalGroupsSequence:
        group.MRImageFrameTypeSequence[0].ComplexImageComponent = "PHASE"
    with pytest.raises(NotAnImageVolume, match="phase image"):
        read_content(saved(header), "x.dcm")


@pytest.mark.parametrize("key", ["TemporalPositionTimeOffset", "FrameAcquisitionNumber", "FrameAcquisitionDateTime"])
def test_volumes_without_temporal_positions_are_told_by_what_there_is(key):
    order = np.random.default_rng(2).permutation(N_FRAMES)
    header = pydicom.dcmread(io.BytesIO(series_file(order=order.tolist(), temporal=False)))
    for k, group in zip(order, header.PerFrameFunctionalGroupsSequence, strict=True):
        content = group.FrameContentSequence[0]
        if key != "FrameAcquisitionDateTime":
            setattr(content, key, int(k) // GRID[2] + 1)
    check(read_content(saved(header), "x.dcm"))


def test_frames_without_any_mark_are_taken_as_they_come():
    header = pydicom.dcmread(io.BytesIO(series_file(temporal=False)))
    for group in header.PerFrameFunctionalGroupsSequence:
        del group.FrameContentSequence[0].FrameAcquisitionDateTime
    content = read_content(saved(header), "x.dcm")
    for k, volume in enumerate(content.images):
        np.testing.assert_array_equal(volume.data, data(k))
        assert (volume.index, volume.onset) == (k, None)


def test_a_volume_that_lacks_slices_is_left_out_and_said():
    content = read_content(series_file(drop=(7, 8)), "x.dcm")
    assert [volume.index for volume in content.images] == [0, 2]
    assert content.notes == ("volume 2 has 3 of 5 slices: left out",)


def test_one_volume_is_asked_for_and_three_are_there():
    with pytest.raises(FormatError, match="3 volumes, expected one a file"):
        read_image(series_file(), "x.dcm")


def test_a_folder_gives_the_volumes_of_the_file(tmp_path):
    (tmp_path / "IM_0001").write_bytes(series_file(n_echoes=2, slopes=True))
    ((series,), problems) = scan_dicom(tmp_path)
    assert (series.format, series.indices, series.tr, problems) == ("DICOM (enhanced)", (0, 1, 2), 2.0, ())
    assert series.problems == ("IM_0001: echoes 1, 2: echo 1 is taken",)
    assert series.file(1) is None
    z = np.arange(GRID[2])
    for k in (2, 0, 1):
        np.testing.assert_allclose(series.volume(k).data, data(k) * (1.5 + k + z / 4) - z, rtol=1e-6)
    ((second,), _) = scan_dicom(tmp_path, echo=2)
    np.testing.assert_allclose(second.volume(1).data, (data(1) + 5000) * (2.5 + z / 4) - z, rtol=1e-6)


def test_slices_in_an_enhanced_object_that_is_still_called_a_mosaic():
    found = read_image(enhanced_file(3, ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]), "x.dcm")
    np.testing.assert_array_equal(found.data, data(3))


def test_a_navigators_mosaic_in_an_enhanced_object_is_no_volume():
    header = pydicom.dcmread(io.BytesIO(enhanced_file(0)))
    group = header.PerFrameFunctionalGroupsSequence[0]
    siemens = Dataset()
    siemens.private_block(0x0021, "SIEMENS MR SDI 02", create=True).add_new(0x75, "CS", ["ORIGINAL", "M", "MOSAIC"])
    group.private_block(0x0021, "SIEMENS MR SDI 02", create=True).add_new(0xFE, "SQ", [siemens])
    header.PerFrameFunctionalGroupsSequence, header.NumberOfFrames = [group], 1
    header.PixelData = header.PixelData[: GRID[0] * GRID[1] * 2]
    with pytest.raises(NotAnImageVolume, match="mosaic"):
        read_image(saved(header), "x.dcm")


@pytest.mark.parametrize("mark", ["MOCO", "P"])
def test_siemens_own_type_of_a_frame_tells_what_the_standards_does_not(mark):
    header = pydicom.dcmread(io.BytesIO(enhanced_file(0)))
    for group in header.PerFrameFunctionalGroupsSequence:
        siemens = Dataset()
        siemens.private_block(0x0021, "SIEMENS MR SDI 02", create=True).add_new(0x75, "CS", ["ORIGINAL", "M", mark])
        group.private_block(0x0021, "SIEMENS MR SDI 02", create=True).add_new(0xFE, "SQ", [siemens])
    with pytest.raises(NotAnImageVolume, match=r"motion-corrected|phase"):
        read_image(saved(header), "x.dcm")


@given(st.integers(0, len(series_file()) - 1))
@settings(deadline=None, max_examples=25)
def test_every_truncation_is_incomplete(length):
    with pytest.raises(IncompleteFile, match=r"^cut\.dcm: "):
        read_content(series_file()[:length], "cut.dcm")


def test_what_is_missing_is_named():
    header = pydicom.dcmread(io.BytesIO(series_file()))
    del header.SharedFunctionalGroupsSequence[0].MRTimingAndRelatedParametersSequence
    with pytest.raises(FormatError, match=r"x\.dcm: no MRTimingAndRelatedParametersSequence"):
        read_content(saved(header), "x.dcm")
    assert pydicom.dcmread(io.BytesIO(series_file())).SOPClassUID == ENHANCED
