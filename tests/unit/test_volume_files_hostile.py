"""Files of every layout that announce absurd sizes, are cut, damaged, or carry names: nothing but clear errors."""

from __future__ import annotations

import gzip
import io
import re
import tracemalloc
from functools import cache

import nibabel as nib
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamer.errors import FormatError, IncompleteFile
from streamer.formats.dicom import NotAnImageVolume, read_content, write_mosaic
from streamer.formats.dicom_assemble import Assembler
from streamer.formats.dicom_folder import scan_dicom
from streamer.formats.dicom_siemens import CSA_MAGIC
from streamer.formats.nifti import read_nifti
from streamer.formats.parrec import read_parrec
from tests.unit.dicom_files import enhanced_file, saved, series_file, slice_file

SENTINEL = "Sentinel"
MANY = 10**9


def mosaic():
    data = np.random.default_rng(0).integers(0, 4000, (10, 12, 7)).astype(np.uint16)
    return write_mosaic(
        data, np.diag([-3.0, 3, 4, 1]), tr=1.5, slice_times=(), instance=5, series_number=3, series_uid="1.2.3",
        onset=45296.25,
    )  # fmt: skip


def nifti(kind=nib.Nifti1Image, dtype=np.int16):
    image = kind(np.random.default_rng(0).integers(0, 3000, (7, 8, 5, 4)).astype(dtype), np.diag([-3.0, 3, 4, 1]))
    image.header["pixdim"][4] = 2.0
    image.header.set_xyzt_units("mm", "sec")
    return image.to_bytes()


@cache
def layouts():
    return {
        "mosaic": mosaic(),
        "GE": slice_file("GE", 0, 1),
        "Philips": slice_file("Philips", 0, 1),
        "Siemens": slice_file("Siemens", 0, 1),
        "enhanced": enhanced_file(1),
        "series": series_file(2, n_echoes=2, phase=True, slopes=True),
        "nifti": nifti(),
        "nifti-2": nifti(nib.Nifti2Image, np.float32),
        "nifti.gz": gzip.compress(nifti(), 5, mtime=0),
    }


NAMES = list(layouts())


def read(layout, raw):
    if layout.startswith("nifti"):
        return list(read_nifti(raw, "x.bin", tr=1.0))
    return read_content(raw, "x.bin").images


@pytest.mark.parametrize("layout", NAMES)
def test_whole_files_are_read(layout):
    assert len(read(layout, layouts()[layout])) >= 1


@given(st.sampled_from(NAMES), st.floats(0, 1, exclude_max=True))
@settings(deadline=None, max_examples=150)
def test_a_file_cut_anywhere_is_incomplete(layout, part):
    raw = layouts()[layout]
    with pytest.raises(IncompleteFile, match=r"^x\.bin: "):
        read(layout, raw[: int(part * len(raw))])


@given(
    st.sampled_from(NAMES),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=10),
    st.booleans(),
)
@settings(deadline=None, max_examples=250)
def test_damage_anywhere_raises_nothing_but_format_errors(layout, changes, in_header):
    raw = bytearray(layouts()[layout])
    start = 0 if layout.startswith("nifti") else 132
    length = min(len(raw), 1500) if in_header else len(raw)
    for part, value in changes:
        raw[start + int(part * (length - start))] = value
    try:
        found = read(layout, bytes(raw))
        outcome = all(np.asarray(getattr(each, "data", getattr(each, "pixels", 0))).size for each in found)
    except FormatError as error:
        outcome = str(error).startswith("x.bin: ")
    assert outcome


@pytest.mark.parametrize("layout", ["mosaic", "GE", "enhanced", "series"])
@pytest.mark.parametrize(
    "changes",
    [
        {"Rows": 65535, "Columns": 65535},
        {"NumberOfFrames": MANY},
        {"NumberOfFrames": -1},
        {"NumberOfFrames": 2**31 - 1, "Rows": 65535, "Columns": 65535},
        {"Rows": 0},
        {"SamplesPerPixel": 60000},
        {"BitsAllocated": 64},
    ],
)
def test_absurd_sizes_of_images_are_refused_before_anything_is_allocated(layout, changes):
    header = pydicom.dcmread(io.BytesIO(layouts()[layout]))
    for key, value in changes.items():
        setattr(header, key, value)
    raw = saved(header)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=r"x\.bin: .*expected") as caught:
            read(layout, raw)
        assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    finally:
        tracemalloc.stop()
    assert not isinstance(caught.value, IncompleteFile | NotAnImageVolume)


@pytest.mark.parametrize("count", [0, MANY, -5])
def test_absurd_numbers_of_slices_are_refused(count):
    header = pydicom.dcmread(io.BytesIO(slice_file("Philips", 0, 0)))
    header[0x2001, 0x1018].value = count
    if count == 0:
        assert read_content(saved(header), "x.bin").images[0].n_slices is None
        return
    with pytest.raises(FormatError, match="slices a volume, expected 1 to"):
        read_content(saved(header), "x.bin")
    csa = bytearray(layouts()["mosaic"])
    at = csa.index(CSA_MAGIC) + 8
    csa[at : at + 4] = (2**31 - 1).to_bytes(4, "little")
    with pytest.raises(FormatError, match="CSA header announces"):
        read("mosaic", bytes(csa))


def dims(raw, *values):
    changed = bytearray(raw)
    changed[40 : 40 + 2 * (len(values) + 1)] = np.array([len(values), *values], "<i2").tobytes()
    return bytes(changed)


@pytest.mark.parametrize("shape", [(32767,) * 4, (2000, 2000, 100, 3), (1, 1, 1, 0), (0, 5, 5, 5), (5, 5), (2,) * 7])
@pytest.mark.parametrize("zipped", [False, True])
def test_absurd_sizes_of_nifti_are_refused_before_anything_is_allocated(tmp_path, shape, zipped):
    raw = dims(nifti(), *shape)
    raw = gzip.compress(raw) if zipped else raw
    path = tmp_path / ("x.nii.gz" if zipped else "x.nii")
    path.write_bytes(raw)
    tracemalloc.start()
    try:
        for source in (raw, path):
            with pytest.raises(FormatError, match=r"expected|not a NIfTI") as caught:
                read_nifti(source, "x.bin", tr=1.0)
            assert not isinstance(caught.value, IncompleteFile)
        assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    finally:
        tracemalloc.stop()


def test_a_small_file_that_would_unpack_to_gigabytes_is_refused():
    # 7 GiB of zeros pack a thousand times
    header = dims(nifti(), 400, 400, 400, 60)
    bomb = gzip.compress(header + bytes(2**20))
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="bytes announced, expected at most"):
            read_nifti(bomb, "x.bin", tr=1.0)
        assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    finally:
        tracemalloc.stop()
    # what lies behind the image that the header announces is not unpacked
    tail = gzip.compress(nifti() + bytes(2**24))
    assert len(read_nifti(tail, "x.bin")) == 4


PAR_ROWS = {"Max. number of slices/locations": r"\d+", "Scan resolution  \\(x, y\\)": r"\d+"}


@pytest.fixture
def scan(shared_data, tmp_path):
    for path in (shared_data / "fmri/philips-classic-golden/parrec").glob("phantom*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return next(tmp_path.glob("*.PAR"))


def test_absurd_sizes_of_par_are_refused(scan):
    text = scan.read_text(encoding="latin-1")
    slices = re.sub(r"(Max. number of slices/locations\s*:\s*)9", rf"\g<1>{MANY}", text)
    row = re.compile(r"^(\s+\d+\s+1\s+\d+\s+1 0 2\s+\d+\s+16\s+62)\s+64\s+64", re.MULTILINE)
    wide = row.sub(r"\1 100000 100000", text)
    far = re.sub(r"^(\s+1\s+1\s+3\s+1 0 2\s+)\d+", rf"\g<1>{-MANY}", text, flags=re.MULTILINE)
    assert len({text, slices, wide, far}) == 4
    for changed in (slices, wide, far):
        scan.write_text(changed, encoding="latin-1")
        with pytest.raises(FormatError, match="expected"):
            read_parrec(scan)


@given(st.floats(0, 1, exclude_max=True), st.sampled_from([".PAR", ".REC"]))
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_pair_that_is_cut_anywhere_gives_whole_volumes_or_an_error(scan, part, suffix):
    path = scan.with_suffix(suffix)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(part * len(raw))])
    try:
        shapes = {volume.data.shape for volume in read_parrec(scan, tr=2.0)}
    except FormatError as error:
        shapes = {(64, 64, 9)} if str(error).startswith("phantom") else set()
    finally:
        path.write_bytes(raw)
    assert shapes == {(64, 64, 9)}


def planted(raw):
    """The same DICOM file with a name in every element that can hold text and that the reader does not need."""
    header = pydicom.dcmread(io.BytesIO(raw))
    plant(header)
    header.file_meta.ImplementationVersionName = SENTINEL
    return saved(header)


NEEDED = {"ImageType", "FrameType", "ComplexImageComponent", "Manufacturer", "ScanningSequence", "SeriesInstanceUID"}
TEXTUAL = {"PN", "LO", "SH", "ST", "LT", "UT", "CS"}
TEXTS = ("PatientName", "PatientID", "OtherPatientNames", "PatientComments", "PatientAddress", "InstitutionName")
MORE = ("PerformingPhysicianName", "OperatorsName", "StudyDescription", "SeriesDescription", "ProtocolName", "StudyID")
LAST = ("ImageComments", "RequestedProcedureDescription", "AccessionNumber", "StationName", "DeviceSerialNumber")


def plant(header):
    for element in list(header):
        if element.VR == "SQ":
            for item in element.value:
                plant(item)
        elif element.VR in TEXTUAL and element.keyword not in NEEDED and not element.tag.is_private_creator:
            element.value = SENTINEL.upper() if element.VR == "CS" else SENTINEL
    for keyword in (*TEXTS, *MORE, *LAST):
        setattr(header, keyword, SENTINEL)
    for group, owner in ((0x0029, "SIEMENS CSA HEADER"), (0x0021, "SIEMENS MR SDS 01"), (0x2001, "Sentinel block")):
        block = header.private_block(group, owner, create=True)
        block.add_new(0x77, "LO", SENTINEL)
        block.add_new(0x78, "OB", SENTINEL.encode() * 3)
    item = pydicom.Dataset()
    item.PatientName, item.InstitutionName = SENTINEL, SENTINEL
    header.RequestAttributesSequence = [item]


def told(function):
    """All that a reader gives: what it returns, attributes included, or the error with its causes."""
    try:
        found = function()
    except FormatError as error:
        parts = []
        while error is not None:
            parts += [str(error)]
            error = error.__cause__ if isinstance(error.__cause__, FormatError) else None
        return "\n".join(parts)
    return "\n".join(
        (repr(found), repr(getattr(found, "__dict__", "")), repr(list(found) if hasattr(found, "__len__") else ""))
    )


@pytest.mark.parametrize("layout", ["mosaic", "GE", "Philips", "Siemens", "enhanced", "series"])
def test_no_name_in_a_dicom_file_leaves_its_reader(layout, tmp_path, caplog, capfd):
    raw = planted(layouts()[layout])
    assert raw.count(SENTINEL.encode()) > 20
    content = read_content(raw, "x.bin")
    said = [told(lambda: content), told(lambda: read_content(raw[:-5], "x.bin"))]
    for keyword in ("PixelSpacing", "ImageOrientationPatient", "RepetitionTime", "InstanceNumber", "Rows"):
        header = pydicom.dcmread(io.BytesIO(raw))
        for holder in (header, *header.get("SharedFunctionalGroupsSequence", [])):
            for element in list(holder.iterall()):
                if element.keyword == keyword:
                    element.value = "1\\1" if element.VR in {"DS", "IS"} else 0
        wrong = saved(header)
        said.append(told(lambda wrong=wrong: read_content(wrong, "x.bin")))
    damaged = bytearray(raw)
    for at in range(140, min(len(raw), 2000), 23):
        damaged[at] ^= 0x55
        said.append(told(lambda: read_content(bytes(damaged), "x.bin")))
    (tmp_path / "1.dcm").write_bytes(raw)
    (tmp_path / "2.dcm").write_bytes(raw[:-9])
    (tmp_path / "3.dcm").write_bytes(bytes(damaged))
    series, problems = scan_dicom(tmp_path)
    said += [repr(problems), *(repr(vars(each)) for each in series)]
    if not hasattr(content.images[0], "tr"):
        said.append(told(lambda: Assembler().feed(content.images[0])))
    captured = capfd.readouterr()
    everything = "\n".join((*said, caplog.text, captured.out, captured.err))
    assert SENTINEL.upper() not in everything.upper()
    uid = str(pydicom.dcmread(io.BytesIO(raw)).SeriesInstanceUID)
    assert len(uid) < 8 or uid not in everything


def test_a_name_in_a_csa_header_does_not_leave_its_reader():
    raw = layouts()["mosaic"]
    at = raw.index(b"AcquisitionMatrixText")
    named = raw[:at] + b"SentinelMatrixText\0\0\0" + raw[at + 21 :]
    text = raw.index(b"12*10")
    named = named[:text] + b"Senti" + named[text + 5 :]
    broken = named.replace(b"SliceNormalVector\0", b"SliceNormalVector\0" + b"", 1)
    assert SENTINEL not in told(lambda: read_content(named, "x.bin"))
    magic = broken.index(CSA_MAGIC)
    said = told(lambda: read_content(broken[:magic] + b"Sent" + broken[magic + 4 :], "x.bin"))
    assert "CSA header" in said
    assert "Sent" not in said


def test_no_name_in_a_nifti_header_leaves_its_reader(tmp_path):
    image = nib.Nifti1Image.from_bytes(nifti())
    for key in ("descrip", "aux_file", "intent_name", "db_name"):
        image.header[key] = SENTINEL
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", SENTINEL.encode()))
    raw = image.to_bytes()
    assert raw.count(SENTINEL.encode()) == 5
    said = [told(lambda: read_nifti(raw, "x.bin")), told(lambda: read_nifti(raw[:-3], "x.bin"))]
    for at in range(0, 348, 3):
        damaged = bytearray(raw)
        damaged[at] ^= 0x55
        said.append(told(lambda raw=bytes(damaged): read_nifti(raw, "x.bin", tr=1.0)))
    assert SENTINEL not in "\n".join(said)


def test_no_name_in_a_par_table_leaves_its_reader(scan):
    text = scan.read_text(encoding="latin-1")
    keys = ("Patient name", "Examination name", "Protocol name", "Examination date/time", "Series Type", "Technique")
    for key in keys:
        text = re.sub(rf"({key}\s*:).*", rf"\1   {SENTINEL}", text)
    text = re.sub(r"(# Dataset name:).*", rf"\1 {SENTINEL}", text)
    assert text.count(SENTINEL) == len(keys) + 1
    said = []
    for changed in (text, text.replace("2000.000", SENTINEL), text.replace(":   9", f":   {SENTINEL}"), text[:4000]):
        scan.write_text(changed, encoding="latin-1")
        said.append(told(lambda: read_parrec(scan)))
    assert SENTINEL not in "\n".join(said)
