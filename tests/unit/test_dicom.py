from __future__ import annotations

import hashlib
import io
import json
import warnings

import nibabel as nib
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import FormatError, IncompleteFile
from streamer.formats.dicom import NotAnImageVolume, read_dicom, write_mosaic
from streamer.formats.dicom_siemens import join_mosaic, read_csa, split_mosaic, write_csa

SERIES = "1.2.826.0.1.3680043.8.498.777777.8888888"
LAS = np.array([[-3.0, 0, 0, 96], [0, 3, 0, -90], [0, 0, 4, -30], [0, 0, 0, 1]])
TIMES = tuple(np.round(np.arange(13) * 0.11, 3))


def oblique():
    angle = np.deg2rad(17)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turn @ LAS


def volume(shape=(20, 24, 13), seed=0):
    return np.random.default_rng(seed).integers(0, 4000, shape).astype(np.uint16)


def mosaic(data=None, affine=None, **changes):
    parameters = {
        "tr": 1.5,
        "slice_times": TIMES,
        "instance": 5,
        "series_number": 3,
        "series_uid": SERIES,
        "onset": 45296.25,
    }
    return write_mosaic(
        volume() if data is None else data, oblique() if affine is None else affine, **parameters | changes
    )


def edited(raw, **changes):
    dataset = pydicom.dcmread(io.BytesIO(raw))
    for key, value in changes.items():
        setattr(dataset, key, value)
    stream = io.BytesIO()
    dataset.save_as(stream)
    return stream.getvalue()


def read_all(files):
    return sorted((read_dicom(path.read_bytes(), path.name) for path in files), key=lambda v: v.index)


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).astype("<i2").tobytes()).hexdigest()


def stored_and_ras(volumes):
    data = np.stack([v.data for v in volumes], axis=-1).astype(np.int16)
    ras = nib.as_closest_canonical(nib.Nifti1Image(data, volumes[0].affine))
    return digest(data), digest(np.asarray(ras.dataobj))


def test_neurofeedback_run_has_the_known_voxels(shared_data):
    volumes = read_all((shared_data / "fmri/siemens-mosaic-neurofeedback/dicom").glob("*.dcm"))
    assert stored_and_ras(volumes) == (
        "c3d78841ba164ade2c6feaa5b2444af604a847f648377192a9b4695e3425ceaf",
        "4564a4334e3b44f658ce38412d6495da0de2bf5f569168506da83b3364471357",
    )
    assert [v.index for v in volumes] == list(range(155))
    assert {v.series for v in volumes} == {volumes[0].series}
    assert volumes[0].series.startswith("s7-")
    assert volumes[0].tr == 1.97
    steps = np.round(np.diff([v.onset for v in volumes]), 4)
    assert {value: int((steps == value).sum()) for value in set(steps)} == {1.9775: 128, 1.98: 26}
    assert len(volumes[0].slice_times) == 36
    mask = nib.load(shared_data / "fmri/siemens-mosaic-neurofeedback/ROIs_D1/lROI_1.nii")
    np.testing.assert_allclose(volumes[0].affine, mask.affine, atol=1e-4)


def test_realtime_export_has_the_known_voxels(shared_data):
    folder = shared_data / "fmri/siemens-mosaic-export"
    volumes = read_all(path for path in folder.glob("*.dcm") if path.name != "001_000013_000000.dcm")
    assert stored_and_ras(volumes) == (
        "bcadac3e332b29c7bb03e6d458f8171dfd677f64c71e7647fd592d9db027dbf2",
        "936acd3dda5af19c6206137c999f108903299f073b65f7124b36e675c375ba38",
    )
    again = read_dicom((folder / "001_000013_000000.dcm").read_bytes(), "again")
    assert (again.series, again.index) == (volumes[9].series, 9)


def test_prisma_layout_without_acquisition_times(shared_data):
    volumes = read_all((shared_data / "fmri/vendor-layouts/Siemens_env/funcData").iterdir())
    assert stored_and_ras(volumes) == (
        "084d9a39914283a8feeaf3388016fd8309b718d141f842806a6411e5ffab548c",
        "1158298574d3bc88442d94ea2010380ae4ee5004ed1436949c56f6f961b244d7",
    )
    assert volumes[0].onset is None


@pytest.mark.parametrize(
    ("folder", "reference", "ras"),
    [
        ("ep2d_Asc_2", "2_ep2d_Asc", "47e4f29dd214819d28853c6f1eafa1d3a76c0fa6fb4223fa8bb0690647285a63"),
        ("cmrr_Int_HF_9", "9_cmrr_Int_HF", "c8f24e83733aa514979c8d6b5163d218f4baea09ae029c70199897357c89eef8"),
    ],
)
def test_golden_mosaics_equal_their_nifti(shared_data, folder, reference, ras):
    root = shared_data / "fmri/siemens-mosaic-golden"
    volumes = read_all((root / "In" / folder).glob("*.dcm"))
    image = nib.load(root / "Ref" / f"{reference}.nii")
    facts = json.loads((root / "Ref" / f"{reference}.json").read_text())
    np.testing.assert_array_equal(np.stack([v.data for v in volumes], axis=-1), np.asarray(image.dataobj))
    np.testing.assert_allclose(volumes[0].affine, image.affine, atol=1e-3)
    np.testing.assert_allclose(volumes[0].slice_times, facts["SliceTiming"], atol=1e-4)
    assert volumes[0].tr == facts["RepetitionTime"]
    assert stored_and_ras(volumes)[1] == ras


def test_a_cut_file_is_incomplete(shared_data):
    raw = (shared_data / "fmri/siemens-mosaic-export/truncated/trunc_001_000013_000005.dcm").read_bytes()
    with pytest.raises(IncompleteFile, match="145082 of 294912 bytes"):
        read_dicom(raw, "cut.dcm")


def test_every_stage_of_growing_is_incomplete_until_the_last_byte():
    raw = mosaic()
    for length in [*range(0, 3200, 37), *range(3200, len(raw), 997), len(raw) - 1]:
        with pytest.raises(IncompleteFile):
            read_dicom(raw[:length], "growing.dcm")
    assert read_dicom(raw, "whole.dcm").index == 4


def test_a_report_is_no_volume(shared_data):
    for name in ("88972158", "88972169"):
        path = shared_data / "fmri/siemens-xa-enhanced-golden/In" / name
        with pytest.raises(NotAnImageVolume, match="not an MR image"):
            read_dicom(path.read_bytes(), path.name)


def test_one_slice_is_no_volume(shared_data):
    path = next((shared_data / "fmri/ge-golden").rglob("*.dcm"))
    with pytest.raises(NotAnImageVolume, match="one slice of a volume"):
        read_dicom(path.read_bytes(), path.name)


@given(st.integers(0, len(mosaic()) - 1))
@settings(deadline=None)
def test_every_truncation_is_incomplete(length):
    with pytest.raises(IncompleteFile):
        read_dicom(mosaic()[:length], "cut.dcm")


def test_what_is_written_is_read_back():
    found = read_dicom(mosaic(), "mosaic.dcm")
    np.testing.assert_array_equal(found.data, volume())
    assert found.data.dtype == np.uint16
    np.testing.assert_allclose(found.affine, oblique(), atol=1e-6)
    assert (found.index, found.tr, found.onset) == (4, 1.5, 45296.25)
    np.testing.assert_allclose(found.slice_times, TIMES, atol=1e-9)
    assert found.series == f"s3-{hashlib.sha256(SERIES.encode()).hexdigest()[:8]}"
    assert np.isnan(found.received)


def test_a_right_handed_volume_keeps_its_place_in_the_world():
    affine = np.diag([3.0, 3.0, 4.0, 1.0])
    found = read_dicom(mosaic(affine=affine), "mosaic.dcm")
    written = nib.as_closest_canonical(nib.Nifti1Image(volume(), affine))
    back = nib.as_closest_canonical(nib.Nifti1Image(found.data, found.affine))
    np.testing.assert_array_equal(np.asarray(back.dataobj), np.asarray(written.dataobj))
    np.testing.assert_allclose(back.affine, written.affine, atol=1e-6)
    np.testing.assert_allclose(found.slice_times, TIMES[::-1], atol=1e-9)


def test_nibabel_reads_what_is_written():
    with warnings.catch_warnings():
        # nibabel calls its DICOM readers experimental
        warnings.simplefilter("ignore", UserWarning)
        from nibabel.nicom import csareader, dicomwrappers
    dataset = pydicom.dcmread(io.BytesIO(mosaic()))
    wrapper = dicomwrappers.wrapper_from_data(dataset)
    assert isinstance(wrapper, dicomwrappers.MosaicWrapper)
    theirs = nib.Nifti1Image(wrapper.get_data(), np.diag([-1.0, -1, 1, 1]) @ wrapper.affine)
    theirs, ours = (nib.as_closest_canonical(i) for i in (theirs, nib.Nifti1Image(volume(), oblique())))
    np.testing.assert_array_equal(np.asarray(theirs.dataobj), np.asarray(ours.dataobj))
    np.testing.assert_allclose(theirs.affine, ours.affine, atol=1e-5)
    tags = csareader.read(dataset[0x0029, 0x1010].value)["tags"]
    assert tags["NumberOfImagesInMosaic"]["items"] == [13]
    np.testing.assert_allclose(tags["MosaicRefAcqTimes"]["items"], np.array(TIMES) * 1000)
    assert dataset[0x0019, 0x100A].value == 13
    np.testing.assert_allclose(dataset[0x0019, 0x1029].value, np.array(TIMES) * 1000)


def test_the_private_tags_do_when_the_csa_header_was_removed():
    dataset = pydicom.dcmread(io.BytesIO(mosaic()))
    del dataset[0x0029, 0x1010]
    stream = io.BytesIO()
    dataset.save_as(stream)
    found = read_dicom(stream.getvalue(), "anonymised.dcm")
    np.testing.assert_array_equal(found.data, volume())
    np.testing.assert_allclose(found.slice_times, TIMES, atol=1e-9)


def test_every_volume_has_its_own_number_time_and_uid():
    first, second = (pydicom.dcmread(io.BytesIO(mosaic(instance=k, onset=86399.9999996 + k))) for k in (1, 999_999))
    assert (first.InstanceNumber, second.InstanceNumber) == (1, 999_999)
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.SOPInstanceUID == first.file_meta.MediaStorageSOPInstanceUID
    assert first.SeriesInstanceUID == second.SeriesInstanceUID == SERIES
    assert first.AcquisitionTime == "000001.000000"
    assert first.PatientName == ""
    assert first.PatientID == ""


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"ImageType": ["DERIVED", "PRIMARY", "M", "MOSAIC"]}, "derived"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOCO", "MOSAIC"]}, "motion-corrected"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND", "MOSAIC"]}, "phase"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"]}, "localiser"),
        ({"SeriesDescription": "MoCoSeries"}, "motion-corrected"),
        ({"SeriesDescription": "bold_SBRef"}, "single-band"),
    ],
)
def test_other_kinds_of_image_are_told_apart(changes, kind):
    with pytest.raises(NotAnImageVolume, match=kind):
        read_dicom(edited(mosaic(), **changes), "other.dcm")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Rows": 65535, "Columns": 65535}, "expected 1 to"),
        ({"Rows": 97}, "announced"),
        ({"BitsAllocated": 8}, "8 bits"),
        ({"RepetitionTime": "0"}, "repetition time"),
        ({"InstanceNumber": "-3"}, "instance number"),
        ({"PixelSpacing": ["0", "3"]}, "sizes above 0"),
        ({"ImageOrientationPatient": ["1", "0", "0", "1", "0", "0"]}, "right angles"),
        ({"RescaleSlope": "0.5", "RescaleIntercept": "1e400"}, "damaged|finite"),
    ],
)
def test_impossible_headers_are_refused(changes, message):
    with pytest.raises(FormatError, match=message) as caught:
        read_dicom(edited(mosaic(), **changes), "bad.dcm")
    assert str(caught.value).startswith("bad.dcm: ")
    assert not isinstance(caught.value, IncompleteFile)


def test_a_scale_is_applied():
    found = read_dicom(edited(mosaic(), RescaleSlope="0.5", RescaleIntercept="-3"), "scaled.dcm")
    assert found.data.dtype == np.float32
    np.testing.assert_allclose(found.data, volume() * 0.5 - 3)


def test_times_that_do_not_fit_the_volume_are_no_slice_times():
    found = read_dicom(mosaic(slice_times=tuple(40000.0 + t for t in TIMES)), "clock.dcm")
    assert found.slice_times == ()


def test_no_name_or_identifier_leaves_the_reader():
    sentinel = "Sentinel^Person"
    raw = edited(mosaic(), PatientName=sentinel, PatientID=sentinel, SeriesDescription=sentinel)
    assert "Sentinel" not in repr(read_dicom(raw, "x.dcm"))
    assert SERIES not in repr(read_dicom(raw, "x.dcm"))
    with pytest.raises(FormatError) as caught:
        read_dicom(edited(raw, BitsAllocated=8), "x.dcm")
    assert "Sentinel" not in str(caught.value)


def test_damaged_bytes_raise_nothing_but_format_errors():
    rng = np.random.default_rng(3)
    raw = mosaic()
    header = len(raw) - 20 * 24 * 16 * 2
    for _ in range(400):
        damaged = bytearray(raw)
        for at in rng.integers(132, header, rng.integers(1, 8)):
            damaged[at] = rng.integers(256)
        try:
            found = read_dicom(bytes(damaged), "damaged.dcm")
        except FormatError as error:
            outcome = str(error).startswith("damaged.dcm: ")
        else:
            outcome = found.data.size > 0
        assert outcome


def test_noise_is_not_dicom():
    with pytest.raises(FormatError, match="no DICOM preamble"):
        read_dicom(np.random.default_rng(0).bytes(5000), "noise.dcm")


@pytest.mark.parametrize("n_slices", [1, 4, 5, 16, 17])
def test_tiles_are_cut_as_they_were_laid(n_slices):
    data = volume((6, 7, n_slices))
    np.testing.assert_array_equal(split_mosaic(join_mosaic(data), n_slices, reverse=False), data)


def test_csa_lengths_beyond_the_header_are_refused():
    raw = bytearray(write_csa({"NumberOfImagesInMosaic": ("US", ["13"])}))
    assert read_csa(bytes(raw), frozenset({"NumberOfImagesInMosaic"})) == {"NumberOfImagesInMosaic": ["13"]}
    for at, value in ((8, 2**31 - 1), (16 + 64 + 12, 2**30), (16 + 84 + 4, 2**30)):
        broken = raw.copy()
        broken[at : at + 4] = value.to_bytes(4, "little")
        with pytest.raises(FormatError):
            read_csa(bytes(broken), frozenset())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": volume().astype(np.int32)}, "expected uint16"),
        ({"instance": 0}, "expected 1"),
        ({"slice_times": (0.0,)}, "1 slice times for 13"),
        ({"series_uid": "1." * 31 + "1"}, "at most"),
        ({"affine": np.array([[3.0, 1, 0, 0], [0, 3, 0, 0], [0, 0, 4, 0], [0, 0, 0, 1]])}, "right angles"),
    ],
)
def test_writing_refuses_what_the_format_cannot_hold(changes, message):
    with pytest.raises(ValueError, match=message):
        mosaic(**changes)
