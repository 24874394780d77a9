from __future__ import annotations

import hashlib
import io
import json
from functools import cache

import nibabel as nib
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import FormatError, IncompleteFile
from streamer.formats.dicom import NotAnImageVolume, read_dicom
from tests.unit.dicom_files import GRID, affine, data, enhanced_file

TIMES = (0.0, 0.4, 0.8, 0.2, 0.6)


@cache
def whole():
    return enhanced_file(3)


@pytest.mark.parametrize(
    ("series", "stored", "ras"),
    [
        (
            2,
            "c62b5d0020d39233fab9aa5703eff431f8ae49ddeaa59eb342fd67aec6f414cf",
            "fe7745a98906b1600780e6c6a9f39089ee7c9c81b17bf82564b410de1e421c1a",
        ),
        (
            10,
            "0519dad8ec16a35c9965c19e70d7f9a2f3eaefb2ea9c926b2ebda9cec4da7f8f",
            "9cfe05f01a0d6eecbe8aee55a029225b91e0677833ba5a03ee24f488ccd323d3",
        ),
    ],
)
def test_golden_files_equal_their_nifti(shared_data, series, stored, ras):
    root = shared_data / "fmri/siemens-xa-enhanced-golden"
    volumes = []
    for path in sorted((root / "In").iterdir(), reverse=True):
        try:
            volumes.append(read_dicom(path.read_bytes(), path.name))
        except NotAnImageVolume:
            continue
    volumes = sorted((v for v in volumes if v.series.startswith(f"s{series}-")), key=lambda v: v.index)
    reference = nib.load(next((root / "Ref").glob(f"*_XA61_{series}_*.nii")))
    facts = json.loads(next((root / "Ref").glob(f"*_XA61_{series}_*.json")).read_text())
    voxels = np.stack([v.data for v in volumes], axis=-1)
    np.testing.assert_array_equal(voxels, np.asarray(reference.dataobj))
    assert digest(voxels) == stored
    assert digest(nib.as_closest_canonical(nib.Nifti1Image(voxels, volumes[0].affine)).dataobj) == ras
    np.testing.assert_allclose(volumes[0].affine, reference.affine, atol=1e-4)
    assert [v.index for v in volumes] == list(range(7))
    for volume in volumes:
        np.testing.assert_allclose(volume.slice_times, facts["SliceTiming"], atol=1e-6)
        assert volume.tr == facts["RepetitionTime"] == 1.23
    np.testing.assert_allclose(np.diff([v.onset for v in volumes]), 1.23, atol=1e-6)
    text = facts["AcquisitionTime"].split(":")
    assert volumes[0].onset == pytest.approx(int(text[0]) * 3600 + int(text[1]) * 60 + float(text[2]), abs=1e-6)


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(np.asarray(array)).astype("<i2").tobytes()).hexdigest()


@given(st.permutations(range(GRID[2])))
@settings(deadline=None, max_examples=25)
def test_frames_are_put_in_order_by_where_they_lie(order):
    found = read_dicom(enhanced_file(3, order=tuple(order)), "x.dcm")
    np.testing.assert_array_equal(found.data, data(3))
    np.testing.assert_allclose(found.affine, affine(), atol=1e-6)
    assert found.slice_times == TIMES
    assert (found.index, found.tr) == (3, 2.0)


def test_a_volume_at_midnight_begins_before_it():
    found = read_dicom(enhanced_file(0), "x.dcm")
    assert found.onset == pytest.approx(86399.5, abs=1e-6)
    assert found.slice_times == TIMES
    assert read_dicom(enhanced_file(1), "x.dcm").onset == pytest.approx(1.5, abs=1e-6)


def test_instances_count_where_temporal_positions_do_not():
    assert read_dicom(enhanced_file(0, NumberOfTemporalPositions=1, InstanceNumber=8), "x.dcm").index == 7


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"ImageType": ["DERIVED", "PRIMARY", "FMRI", "NONE"]}, "derived"),
        ({"ComplexImageComponent": "PHASE"}, "phase"),
        ({"SeriesDescription": "bold_MoCo"}, "motion-corrected"),
        ({"SeriesDescription": "bold_SBRef"}, "single-band"),
        ({"EchoPlanarPulseSequence": "NO", "NumberOfTemporalPositions": 1}, "anatomical"),
    ],
)
def test_other_kinds_of_image_are_told_apart(changes, kind):
    with pytest.raises(NotAnImageVolume, match=kind):
        read_dicom(enhanced_file(0, **changes), "other.dcm")


def test_frames_of_several_orientations_are_a_localiser():
    header = pydicom.dcmread(io.BytesIO(whole()))
    orientation = pydicom.Dataset()
    orientation.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    header.PerFrameFunctionalGroupsSequence[2].PlaneOrientationSequence = [orientation]
    with pytest.raises(NotAnImageVolume, match="orientations"):
        read_dicom(saved(header), "localiser.dcm")


def test_several_volumes_in_a_file_are_refused():
    header = pydicom.dcmread(io.BytesIO(whole()))
    groups = header.PerFrameFunctionalGroupsSequence
    groups[4].PlanePositionSequence = groups[0].PlanePositionSequence
    with pytest.raises(FormatError, match="several frames lie in one place"):
        read_dicom(saved(header), "series.dcm")
    header = pydicom.dcmread(io.BytesIO(whole()))
    header.PerFrameFunctionalGroupsSequence[4].FrameContentSequence[0].TemporalPositionIndex = 9
    with pytest.raises(FormatError, match="frames of 2 volumes"):
        read_dicom(saved(header), "series.dcm")


def test_unevenly_spaced_frames_are_refused():
    header = pydicom.dcmread(io.BytesIO(whole()))
    position = header.PerFrameFunctionalGroupsSequence[4].PlanePositionSequence[0]
    position.ImagePositionPatient = [float(value) + 3.0 for value in position.ImagePositionPatient]
    with pytest.raises(FormatError, match="evenly spaced"):
        read_dicom(saved(header), "gap.dcm")


def test_a_scale_of_each_frame_is_applied():
    header = pydicom.dcmread(io.BytesIO(whole()))
    for z, group in enumerate(header.PerFrameFunctionalGroupsSequence):
        scale = pydicom.Dataset()
        scale.RescaleSlope, scale.RescaleIntercept = 1 + z, -z
        group.PixelValueTransformationSequence = [scale]
    found = read_dicom(saved(header), "scaled.dcm").data
    assert found.dtype == np.float32
    z = np.arange(GRID[2])
    np.testing.assert_allclose(found, data(3) * (1 + z) - z)


@given(st.integers(0, len(whole()) - 1))
@settings(deadline=None)
def test_every_truncation_is_incomplete(length):
    with pytest.raises(IncompleteFile, match=r"^cut\.dcm: "):
        read_dicom(whole()[:length], "cut.dcm")


@given(st.lists(st.tuples(st.integers(132, len(whole()) - 1), st.integers(0, 255)), min_size=1, max_size=8))
@settings(deadline=None)
def test_damaged_bytes_raise_nothing_but_format_errors(changes):
    damaged = bytearray(whole())
    for at, value in changes:
        damaged[at] = value
    try:
        outcome = read_dicom(bytes(damaged), "damaged.dcm").data.size > 0
    except FormatError as error:
        outcome = str(error).startswith("damaged.dcm: ")
    assert outcome


def test_no_name_leaves_the_reader():
    assert "Sentinel" not in repr(read_dicom(whole(), "x.dcm"))


def saved(header):
    stream = io.BytesIO()
    header.save_as(stream)
    return stream.getvalue()
