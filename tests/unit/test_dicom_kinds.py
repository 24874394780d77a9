"""What is no volume of a run is told apart by its header, and says what it is; the layouts of Siemens XA; echoes."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest
from pydicom.uid import UID

from streamer.errors import FormatError
from streamer.formats.dicom import NotAnImageVolume, read_content, read_dicom, read_image, read_slice, write_mosaic
from streamer.formats.dicom_assemble import Assembler
from streamer.formats.dicom_header import siemens_protocol, time_of_day
from tests.unit.dicom_files import GRID, ROOT, affine, data, enhanced_file, saved, slice_file

GRID_MOSAIC = (20, 24, 13)
PROTOCOL = b'### ASCCONV BEGIN ###\nsSliceArray.lSize\t = \t5\nlContrasts\t = \t%d\ntPatientName = "x"\n'


def mosaic(**changes):
    values = np.random.default_rng(0).integers(0, 4000, GRID_MOSAIC).astype(np.uint16)
    raw = write_mosaic(
        values, np.diag([-3.0, 3, 4, 1]), tr=1.5, slice_times=(), instance=5, series_number=3, series_uid="1.2.3",
        onset=45296.25,
    )  # fmt: skip
    return edited(raw, **changes)


def edited(raw, **changes):
    header = pydicom.dcmread(io.BytesIO(raw))
    for key, value in changes.items():
        if value is None:
            delattr(header, key)
        else:
            setattr(header, key, value)
    return saved(header)


def with_protocol(raw, echoes=1, **changes):
    header = pydicom.dcmread(io.BytesIO(edited(raw, **changes)))
    item = pydicom.Dataset()
    item.private_block(0x0021, "SIEMENS MR SDS 01", create=True).add_new(0x19, "OB", PROTOCOL % echoes + b"\0")
    header.private_block(0x0021, "SIEMENS MR SDS 01", create=True).add_new(0xFE, "SQ", [item])
    return saved(header)


def of_class(raw, uid):
    header = pydicom.dcmread(io.BytesIO(raw))
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = UID(uid)
    return saved(header)


@pytest.mark.parametrize(
    ("uid", "words"),
    [
        ("1.2.840.10008.5.1.4.1.1.88.22", "structured report"),
        ("1.2.840.10008.5.1.4.1.1.88.33", "structured report"),
        ("1.2.840.10008.5.1.4.1.1.11.1", "presentation state"),
        ("1.2.840.10008.5.1.4.1.1.66", "raw data or registration"),
        ("1.2.840.10008.5.1.4.1.1.7", "screenshot"),
        ("1.2.840.10008.5.1.4.1.1.7.4", "screenshot"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "document"),
        ("1.2.840.10008.5.1.4.1.1.9.1.1", "waveform"),
        ("1.2.840.10008.1.3.10", "directory of a medium"),
        ("1.3.12.2.1107.5.9.1", "Siemens report or log"),
        ("1.2.840.10008.5.1.4.1.1.4.2", "MR Spectroscopy"),
        ("1.2.840.10008.5.1.4.1.1.2", "CT Image"),
        ("1.2.826.0.1.3680043.8.498.4444", "an object of a private kind"),
    ],
)
def test_other_objects_say_what_they_are(uid, words):
    with pytest.raises(NotAnImageVolume) as caught:
        read_content(of_class(slice_file("GE", 0, 0), uid), "x.dcm")
    assert str(caught.value) == f"x.dcm: not an MR image ({words})"


def original(*rest):
    return {"ImageType": ["ORIGINAL", "PRIMARY", *rest]}


@pytest.mark.parametrize("kind", ["mosaic", "slice", "enhanced"])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ImageType": ["DERIVED", "PRIMARY", "M"]}, "derived"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "derived"),
        ({"ImageType": ["ORIGINAL", "SECONDARY", "M"]}, "derived"),
        (original("M", "ND", "MOCO", "MOSAIC"), "motion-corrected"),
        (original("DIFFUSION", "NONE", "ND", "MOSAIC"), "diffusion-weighted"),
        (original("ADC", "ND"), "diffusion map"),
        (original("M", "T_TEST", "MOSAIC"), "statistical map"),
        (original("PROJECTION IMAGE", "M"), "projection"),
        (original("M", "LOCALIZER"), "localiser"),
        (original("P", "ND", "MOSAIC"), "phase"),
        ({"ComplexImageComponent": "IMAGINARY"}, "imaginary part"),
        ({"SeriesDescription": "MoCoSeries"}, "motion-corrected"),
        ({"SeriesDescription": "bold_run1_SBRef"}, "single-band reference"),
        ({"SeriesDescription": "bold_run1_SBRef_Pha"}, "phase|single-band reference"),
        ({"SeriesDescription": "bold_run1_Pha"}, "phase"),
        ({"SeriesDescription": "PhoenixZIPReport"}, "protocol report"),
        ({"SeriesDescription": "EvaSeries_GLM"}, "statistical map"),
        ({"SeriesDescription": "Mean_&_t-Maps"}, "statistical map"),
        ({"ImageComments": "Single-band reference SENSE1"}, "single-band reference"),
        ({"ConversionType": "WSD"}, "screenshot"),
        ({"DiffusionBValue": 1000.0}, "diffusion-weighted"),
    ],
)
def test_other_images_say_what_they_are(kind, changes, words):
    raw = {"mosaic": mosaic(), "slice": slice_file("GE", 0, 0), "enhanced": enhanced_file(0)}[kind]
    with pytest.raises(NotAnImageVolume, match=words) as caught:
        read_content(edited(raw, **changes), "x.dcm")
    assert str(caught.value).startswith("x.dcm: ")


@pytest.mark.parametrize(
    "changes",
    [
        original("M", "NORM", "DIS2D", "FM3_2", "FIL", "MOSAIC"),
        {"DiffusionBValue": 0.0},
        {"SeriesDescription": "task_moco_training"},
        {"ImageComments": "Unaliased MB3/PE4/LB"},
    ],
)
def test_what_scanners_write_to_sound_volumes_is_no_reason(changes):
    assert read_content(mosaic(**changes), "x.dcm").images[0].data.shape == GRID_MOSAIC


@pytest.mark.parametrize(
    ("raw", "own"), [(mosaic(EchoNumbers=2), 2), (slice_file("Philips", 0, 0, EchoNumbers=3), 3)]
)  # fmt: skip
def test_one_echo_is_taken_and_another_can_be_chosen(raw, own):
    with pytest.raises(NotAnImageVolume, match=f"echo {own}, expected echo 1"):
        read_content(raw, "x.dcm")
    assert read_content(raw, "x.dcm", echo=own).images
    with pytest.raises(NotAnImageVolume, match="echo 1, expected echo 2"):
        read_content(mosaic(), "x.dcm", echo=2)


def test_instances_of_several_echoes_do_not_count_the_volumes():
    raw = with_protocol(mosaic(), echoes=3, InstanceNumber=8, AcquisitionNumber=3, EchoNumbers=1)
    assert read_dicom(raw, "x.dcm").index == 2
    # of a single echo they do, whatever the acquisitions say
    raw = with_protocol(mosaic(), echoes=1, InstanceNumber=8, AcquisitionNumber=1)
    assert read_dicom(raw, "x.dcm").index == 7


def test_a_ge_scan_of_several_echoes_is_said():
    header = pydicom.dcmread(io.BytesIO(slice_file("GE", 0, 0)))
    header.private_block(0x0019, "GEMS_ACQU_01", create=True).add_new(0xA9, "DS", "3")
    assert "several echoes" in read_content(saved(header), "x.dcm").notes[0]


def interoperable(volume, z):
    """Siemens XA as it exports to those who do not know enhanced objects."""
    raw = slice_file("Siemens", volume, z)
    return with_protocol(
        raw, Manufacturer="Siemens Healthineers", StudyInstanceUID=f"{ROOT}.77.{volume}",
        ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"], AcquisitionMatrix=[0, GRID[0], GRID[1], 0],
        SoftwareVersions="syngo MR XA30",
    )  # fmt: skip


def test_slices_of_siemens_xa_know_of_how_many_they_are():
    assembler = Assembler()
    order = np.random.default_rng(0).permutation(2 * GRID[2])
    volumes = []
    for k in order:
        piece = read_slice(interoperable(int(k) // GRID[2], int(k) % GRID[2]), "x.dcm")
        assert (piece.vendor, piece.n_slices) == ("Siemens", GRID[2])
        volumes += [volume] if (volume := assembler.feed(piece)) is not None else []
    for volume in volumes:
        np.testing.assert_array_equal(volume.data, data(volume.index))
        np.testing.assert_allclose(volume.affine, affine(), atol=1e-6)
        assert volume.slice_times == (0.0, 0.025, 0.05, 0.075, 0.1)
    assert len({volume.series for volume in volumes}) == 1
    assert {volume.index for volume in volumes} == {0, 1}
    assert assembler.incomplete() == ()


def test_a_mosaic_that_lost_its_number_of_slices_is_no_slice():
    header = pydicom.dcmread(io.BytesIO(mosaic(AcquisitionMatrix=[GRID_MOSAIC[0], 0, 0, GRID_MOSAIC[1]])))
    del header[0x0029, 0x1010]
    del header[0x0019, 0x100A]
    with pytest.raises(FormatError, match="does not tell the number of its slices") as caught:
        read_image(saved(header), "x.dcm")
    assert not isinstance(caught.value, NotAnImageVolume)


@pytest.mark.parametrize(
    ("folder", "n_slices"),
    [
        ("siemens-mosaic-export", 27),
        ("siemens-mosaic-golden/In/ep2d_Asc_2", 36),
        ("siemens-mosaic-golden/In/cmrr_Int_HF_9", 40),
        ("vendor-layouts/Siemens_env/funcData", 18),
    ],
)
def test_the_protocol_in_real_headers_is_found(shared_data, folder, n_slices):
    path = next(path for path in sorted((shared_data / "fmri" / folder).iterdir()) if path.is_file())
    header = pydicom.dcmread(path)
    assert siemens_protocol(header, "sSliceArray.lSize") == n_slices
    assert siemens_protocol(header, "lContrasts") == 1
    assert siemens_protocol(header, "lNothingOfThatName") is None


def test_the_protocol_in_a_real_xa_header_is_found(shared_data):
    for path in sorted((shared_data / "fmri/siemens-xa-enhanced-golden/In").iterdir()):
        header = pydicom.dcmread(path)
        if "SharedFunctionalGroupsSequence" in header:
            shared = header.SharedFunctionalGroupsSequence[0]
            assert siemens_protocol(shared, "sSliceArray.lSize") == 10


@pytest.mark.parametrize("raw", [mosaic(RepetitionTime="2"), slice_file("GE", 0, 0, RepetitionTime="2")])
def test_a_repetition_time_in_seconds_is_taken_as_such_and_said(raw):
    content = read_content(raw, "x.dcm")
    assert content.images[0].tr == 2.0
    assert content.notes == ("repetition time 2 in the header, expected milliseconds: taken as 2 s",)


@pytest.mark.parametrize("value", ["", None, "40", "200000", "-1500"])
def test_a_repetition_time_that_is_none_is_refused(value):
    with pytest.raises(FormatError, match=r"no RepetitionTime|repetition time"):
        read_content(mosaic(RepetitionTime=value), "x.dcm")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("235959.999", 86399.999),
        ("20240101000001.5", 1.5),
        ("20240101000001.5+0200", 1.5),
        ("", None),
        ("1000", None),
        ("996099", None),
        ("1000nan", None),
        (None, None),
    ],
)
def test_times_of_day(text, seconds):
    assert time_of_day(text) == seconds


def test_slices_taken_at_midnight_stay_in_order():
    header = [pydicom.dcmread(io.BytesIO(slice_file("Siemens", 0, z))) for z in range(GRID[2])]
    for z, each in enumerate(header):
        at = (86399.8 + 0.1 * z) % 86400
        each.AcquisitionTime = f"{int(at // 3600):02d}{int(at // 60 % 60):02d}{at % 60:09.6f}"
    assembler = Assembler(GRID[2])
    (volume,) = [v for each in header if (v := assembler.feed(read_slice(saved(each), "x.dcm"))) is not None]
    assert volume.onset == pytest.approx(86399.8)
    np.testing.assert_allclose(volume.slice_times, 0.1 * np.arange(GRID[2]), atol=1e-6)
