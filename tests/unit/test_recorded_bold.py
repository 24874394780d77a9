from __future__ import annotations

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from streamer.acquire.recorded_bold import BoldPart, find_bold, open_bold
from streamer.errors import RecordingError
from streamer.formats.dicom import write_mosaic
from streamer.formats.nifti import write_nifti
from tests.unit.dicom_files import GRID, enhanced_file, slice_file

AFFINE = np.array([[-3.0, 0, 0, 10], [0, 3, 0, -10], [0, 0, 4, -8], [0, 0, 0, 1]])
BLANK = "acquisition times are blank in 3 of 3 volumes"
OF_SERIES = "acquisition times are those of the series, none is its volumes' own"
LEFT_OUT = "2 files left out (88972158, 88972169): not an MR image (structured report)"
TWICE = "volume 10 is there twice (001_000013_000000.dcm, 001_000013_000010.dcm): one is left out"
CUT = "trunc_001_000013_000005.dcm: 145082 of 294912 bytes of pixels: left out"
KNOWN = {
    "fmri/siemens-mosaic-neurofeedback": [("DICOM (Siemens mosaic)", 7, (74, 74, 36), 1.97, 155, ())],
    "fmri/siemens-mosaic-export": [
        ("DICOM (Siemens mosaic)", 13, (64, 64, 27), 1.5, 10, (TWICE,)),
        ("DICOM (Siemens mosaic)", 13, (64, 64, 27), 1.5, 0, (CUT,)),
    ],
    "fmri/vendor-layouts": [
        ("DICOM (GE)", 6, (64, 64, 18), 1.0, 3, ("ends after volume 3; the header announces 60", BLANK)),
        (
            "PAR/REC", None, (80, 80, 15), 1.0, 4,
            (
                "images of type 17 beside those of type 16 (the magnitude) are left out",
                "repetition time 1 ms in the header: 1 s by the volumes' times",
            ),
        ),
        ("DICOM (Siemens mosaic)", 13, (64, 64, 18), 1.0, 3, (BLANK,)),
    ],
    "fmri/siemens-mosaic-golden/In": [
        ("DICOM (Siemens mosaic)", 9, (64, 64, 40), 3.2, 6, ()),
        ("DICOM (Siemens mosaic)", 2, (64, 64, 36), 3.2, 6, ()),
    ],
    "fmri/siemens-xa-enhanced-golden/In": [
        ("DICOM (Siemens XA enhanced)", 2, (100, 100, 10), 1.23, 7, (LEFT_OUT,)),
        ("DICOM (Siemens XA enhanced)", 10, (100, 100, 10), 1.23, 7, ()),
    ],
    "fmri/ge-golden/In": [
        ("DICOM (GE)", 4, (64, 64, 15), 5.0, 10, (OF_SERIES,)),
        ("DICOM (GE)", 7, (64, 64, 15), 5.0, 10, (OF_SERIES,)),
    ],
    "fmri/philips-classic-golden": [
        ("DICOM (Philips)", 201, (64, 64, 9), 2.0, 3, ()),
        ("NIfTI", None, (64, 64, 9), 2.0, 3, ()),
        ("PAR/REC", None, (64, 64, 9), 2.0, 3, ()),
    ],
    "bold/haxby/slice": [("NIfTI", None, (40, 20, 1), 2.5, 1452, ())],
    "bold/haxby/haxby2001": [("NIfTI", None, (6, 10, 10), 2.5, 121, ())] * 12,
}  # fmt: skip


def mosaic(instance, series=3):
    return write_mosaic(
        np.full((8, 8, 4), 100 + instance, np.uint16), AFFINE, tr=0.5, slice_times=(), instance=instance,
        series_number=series, series_uid=f"1.2.3.{series}", onset=36000.0 + instance,
    )  # fmt: skip


@pytest.mark.parametrize("folder", sorted(KNOWN))
def test_every_real_set_is_what_its_notes_say(shared_data, folder):
    found = find_bold(shared_data / folder)
    assert [(f.format, f.number, f.grid, f.tr, f.n_volumes, f.problems) for f in found] == KNOWN[folder]


@pytest.mark.parametrize(
    ("folder", "reference"),
    [
        ("siemens-mosaic-golden/In/cmrr_Int_HF_9", "siemens-mosaic-golden/Ref/9_cmrr_Int_HF"),
        ("ge-golden/In/mr_0007", "ge-golden/Ref/DCM2NIIX_regression_test_7"),
    ],
)
def test_a_recorded_series_equals_its_reference(shared_data, folder, reference):
    source = open_bold(shared_data / "fmri" / folder)
    facts = json.loads((shared_data / "fmri" / f"{reference}.json").read_text())
    image = nib.load(shared_data / "fmri" / f"{reference}.nii")
    np.testing.assert_allclose(source.slice_times, facts["SliceTiming"], atol=1e-4)
    assert source.indices == tuple(range(image.shape[3]))
    data = np.stack([source.volume(k).data for k in range(source.n_volumes)], axis=-1)
    np.testing.assert_array_equal(data, np.asarray(image.dataobj))


def test_a_folder_of_folders_is_opened_where_one_series_is_in_it(shared_data):
    source = open_bold(shared_data / "fmri/vendor-layouts/GE_env")
    assert (source.format, source.n_volumes, source.file(0)) == ("DICOM (GE)", 3, None)
    assert source.volume(1).index == 1
    parrec = open_bold(shared_data / "fmri/vendor-layouts/Philips_env")
    assert (parrec.format, parrec.n_volumes) == ("PAR/REC", 4)


def test_several_series_need_a_choice(shared_data):
    root = shared_data / "fmri/siemens-xa-enhanced-golden"
    # the scanner's own files come before what was made of them
    with pytest.raises(RecordingError, match=r"2 \(7 volumes\), 10 \(7 volumes\); expected `series = NUMBER`"):
        open_bold(root)
    chosen = open_bold(root, 10)
    assert (chosen.number, chosen.slice_times[5:]) == (10, (0.0, 0.725, 0.2425, 0.9675, 0.4825))
    assert chosen.problems == (LEFT_OUT,)
    with pytest.raises(RecordingError, match="no series of fMRI volumes with the number 3"):
        open_bold(root, 3)


def test_one_number_in_two_folders_is_told_by_the_folders(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.dcm").write_bytes(mosaic(1))
    with pytest.raises(RecordingError, match=r"one number: a \(1 volumes\), b \(1 volumes\)"):
        open_bold(tmp_path)
    assert open_bold(tmp_path / "b").n_volumes == 1


def test_files_of_the_folder_itself_come_before_those_below(tmp_path):
    (tmp_path / "older").mkdir()
    (tmp_path / "older" / "1.dcm").write_bytes(mosaic(1, series=9))
    (tmp_path / "1.dcm").write_bytes(mosaic(1))
    (tmp_path / "2.dcm").write_bytes(mosaic(3))
    source = open_bold(tmp_path)
    assert (source.number, source.indices) == (3, (0, 2))
    assert source.problems == ("volumes missing: 2 of 1–3",)
    assert source.file(1) == tmp_path / "2.dcm"
    assert [each.number for each in find_bold(tmp_path)] == [3, 9]


def test_files_that_differ_and_claim_to_be_one_volume_are_not_opened(tmp_path):
    (tmp_path / "1.dcm").write_bytes(mosaic(1))
    for z in range(GRID[2]):
        (tmp_path / f"a{z}.dcm").write_bytes(slice_file("Philips", 0, z))
    (tmp_path / "b0.dcm").write_bytes(slice_file("Philips", 0, 0, seed=1))
    with pytest.raises(RecordingError, match=r"a0\.dcm and b0\.dcm both are volume 1, yet differ"):
        open_bold(tmp_path, 4)
    assert any("yet differ" in problem for each in find_bold(tmp_path) for problem in each.problems)


def test_a_series_is_what_a_part_of_a_recording_needs(tmp_path):
    for volume in range(2):
        (tmp_path / f"{volume}.dcm").write_bytes(enhanced_file(volume))
    folder = open_bold(tmp_path)
    assert (folder.indices, folder.tr, folder.format) == ((0, 1), 2.0, "DICOM (Siemens XA enhanced)")
    assert folder.volume(1).index == 1
    assert folder.file(0) == tmp_path / "0.dcm"
    part = BoldPart(folder.indices, folder.tr, "R128", 0, (0.0, 2.0), (3.0, 5.0), folder.volume, folder.file)
    assert (part.problems, part.format, part.n_volumes, part.volume(1).index) == ((), "", 2, 1)


def test_nifti_files_are_series_where_they_have_several_volumes(tmp_path):
    data = np.random.default_rng(0).integers(0, 99, (4, 5, 6, 3)).astype(np.int16)
    write_nifti(tmp_path / "run.nii.gz", data, AFFINE, 2.0)
    write_nifti(tmp_path / "mask.nii", data[..., 0], AFFINE)
    write_nifti(tmp_path / "timeless.nii", data, AFFINE, 0.0)
    (found,) = find_bold(tmp_path)
    assert (found.format, found.grid, found.tr, found.n_volumes) == ("NIfTI", (4, 5, 6), 2.0, 3)
    assert found.problems == ("timeless.nii: 3 volumes without a plausible repetition time in the header",)
    np.testing.assert_array_equal(found.volume(2).data, data[..., 2])
    source = open_bold(tmp_path / "timeless.nii", tr=1.5)
    assert source.tr == 1.5
    assert source.problems == ("repetition time 0 in the header: 1.5 s as given",)


def test_bad_files_alone_are_told_of(tmp_path):
    (tmp_path / "1.dcm").write_bytes(mosaic(1)[:500])
    (tmp_path / "2.nii").write_bytes(b"x" * 500)
    (found,) = find_bold(tmp_path)
    assert (found.format, found.n_volumes, len(found.problems)) == ("unreadable", 0, 2)
    with pytest.raises(RecordingError, match="no volume 0"):
        found.volume(0)
    with pytest.raises(RecordingError, match=r"no series of fMRI volumes \(1\.dcm: the file ends inside its header"):
        open_bold(tmp_path)
    (bad,) = find_bold(tmp_path / "2.nii")
    assert bad.format == "unreadable"
    with pytest.raises(RecordingError, match=r"expected \.nii"):
        open_bold(tmp_path / "1.dcm")
    with pytest.raises(RecordingError, match="no such file"):
        open_bold(tmp_path / "absent.nii")


def test_an_empty_folder_has_no_series(tmp_path):
    assert find_bold(tmp_path) == []
    with pytest.raises(RecordingError, match="no series of fMRI volumes"):
        open_bold(tmp_path)


def test_real_pairs_of_one_scan_each_stay_apart(shared_data, tmp_path):
    for path in (shared_data / "fmri/philips-classic-golden/parrec").glob("phantom*"):
        for name in ("a", "b"):
            shutil.copyfile(path, tmp_path / f"{name}{path.suffix}")
    assert [(each.origin.name, each.n_volumes) for each in find_bold(tmp_path)] == [("a.PAR", 3), ("b.PAR", 3)]
