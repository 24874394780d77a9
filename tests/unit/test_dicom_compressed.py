"""Pixels in every transfer syntax that scanners and archives export."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache

import gdcm
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from streamer.errors import FormatError, IncompleteFile
from streamer.formats import dicom_header
from streamer.formats.dicom import read_content, read_image, write_mosaic
from streamer.formats.dicom_codestream import codestream_size
from streamer.formats.dicom_folder import scan_dicom
from tests.unit.dicom_files import enhanced_file, saved, series_file, slice_file

BY_GDCM = {
    "implicit": gdcm.TransferSyntax.ImplicitVRLittleEndian,
    "big endian": gdcm.TransferSyntax.ExplicitVRBigEndian,
    "JPEG lossless": gdcm.TransferSyntax.JPEGLosslessProcess14,
    "JPEG lossless SV1": gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    "JPEG-LS": gdcm.TransferSyntax.JPEGLSLossless,
    "JPEG 2000 by gdcm": gdcm.TransferSyntax.JPEG2000Lossless,
}
BY_PYDICOM = {"RLE": RLELossless, "JPEG 2000": JPEG2000Lossless, "deflated": DeflatedExplicitVRLittleEndian}
# those whose end is told by a delimiter or by the packer
ENDED = ["RLE", "JPEG 2000", "JPEG-LS", "JPEG lossless SV1", "deflated"]


def mosaic():
    data = np.random.default_rng(4).integers(0, 60000, (12, 16, 7)).astype(np.uint16)
    return write_mosaic(
        data, np.diag([-3.0, 3, 3, 1]), tr=1.0, slice_times=(), instance=4, series_number=3, series_uid="1.2.3",
        onset=100.0,
    )  # fmt: skip


def wide():
    """A series of slices that are as large as the encoder of JPEG 2000 needs them."""
    values = np.random.default_rng(5).integers(-3000, 3000, (10, 40, 48)).astype("<i2")
    return series_file(2, Rows=40, Columns=48, PixelData=values.tobytes())


PLAIN = {"mosaic": mosaic(), "slice": slice_file("GE", 1, 2), "enhanced": enhanced_file(2), "series": wide()}
CASES = [
    (syntax, kind)
    for syntax in [*BY_GDCM, *BY_PYDICOM]
    for kind in PLAIN
    if not (syntax.startswith("JPEG 2000") and kind in {"slice", "enhanced"})
    and not (syntax in {"implicit", "big endian"} and kind in {"enhanced", "series"})
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("gdcm")


def changed(raw, syntax, folder):
    """The same file in another transfer syntax, written by an encoder that is not ours."""
    header = pydicom.dcmread(io.BytesIO(raw))
    if syntax == "deflated":
        header.file_meta.TransferSyntaxUID = BY_PYDICOM[syntax]
        return saved(header)
    if syntax in BY_PYDICOM:
        header.compress(BY_PYDICOM[syntax], encoding_plugin="pydicom" if syntax == "RLE" else "pylibjpeg")
        return saved(header)
    source, target = folder / "in.dcm", folder / "out.dcm"
    source.write_bytes(raw)
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(source))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(BY_GDCM[syntax]))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(target))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    if syntax in {"implicit", "big endian"}:
        return target.read_bytes()
    # it rewrites the geometry of several frames: only its pixels are taken
    packed = pydicom.dcmread(target)
    header.file_meta.TransferSyntaxUID = packed.file_meta.TransferSyntaxUID
    header.PixelData = packed.PixelData
    header["PixelData"].is_undefined_length = True
    return saved(header)


def arrays(raw, name="x.dcm"):
    images = read_content(raw, name).images
    return [np.asarray(getattr(image, "data", getattr(image, "pixels", None))) for image in images]


@pytest.mark.parametrize(("syntax", "kind"), CASES)
def test_every_lossless_syntax_gives_the_same_image(folder, syntax, kind):
    raw = changed(PLAIN[kind], syntax, folder)
    assert raw != PLAIN[kind]
    for found, expected in zip(arrays(raw), arrays(PLAIN[kind]), strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    assert read_content(raw, "x.dcm").notes == read_content(PLAIN[kind], "x.dcm").notes
    plain, packed = read_content(PLAIN[kind], "x.dcm").images[0], read_content(raw, "x.dcm").images[0]
    assert (plain.series, plain.tr) == (packed.series, packed.tr)


@pytest.mark.parametrize("syntax", ["JPEG lossless SV1", "JPEG-LS", "JPEG 2000", "RLE", "deflated", "big endian"])
def test_a_real_mosaic_in_every_syntax(shared_data, folder, syntax):
    path = sorted((shared_data / "fmri/siemens-mosaic-neurofeedback/dicom").glob("*.dcm"))[7]
    plain = read_image(path.read_bytes(), "x.dcm")
    packed = read_image(changed(path.read_bytes(), syntax, folder), "x.dcm")
    np.testing.assert_array_equal(plain.data, packed.data)
    np.testing.assert_array_equal(plain.affine, packed.affine)
    assert (plain.slice_times, plain.onset, plain.index) == (packed.slice_times, packed.onset, packed.index)


def test_a_lossy_image_is_read_and_said(folder):
    header = pydicom.dcmread(io.BytesIO(PLAIN["mosaic"]))
    header.LossyImageCompression = "01"
    content = read_content(saved(header), "x.dcm")
    assert content.images[0].data.shape == (12, 16, 7)
    assert len(content.notes) == 1
    assert "compression that loses" in content.notes[0]
    source = folder / "lossy.dcm"
    source.write_bytes(saved(header))
    (folder / "lossy").mkdir()
    source.rename(folder / "lossy/1.dcm")
    ((series,), _) = scan_dicom(folder / "lossy")
    assert "1.dcm: in a compression that loses" in series.problems[0]


@cache
def compressed(kind, syntax, folder):
    return changed(PLAIN[kind], syntax, folder)


@given(st.sampled_from([case for case in CASES if case[0] in ENDED]), st.floats(0, 1, exclude_max=True))
@settings(deadline=None, max_examples=60)
def test_every_truncation_is_incomplete(tmp_path_factory, case, part):
    syntax, kind = case
    raw = compressed(kind, syntax, tmp_path_factory.getbasetemp())
    # a packed file may be padded to an even length: its last byte may be nothing
    end = min(int(part * len(raw)), len(raw) - (2 if syntax == "deflated" else 1))
    with pytest.raises(IncompleteFile, match=r"^cut\.dcm: "):
        read_content(raw[:end], "cut.dcm")


@pytest.mark.parametrize("syntax", ENDED)
def test_the_last_bytes_count(folder, syntax):
    raw = changed(PLAIN["mosaic"], syntax, folder)
    # a packed file may be padded to an even length
    for missing in range(2 if syntax == "deflated" else 1, 12):
        with pytest.raises(IncompleteFile):
            read_content(raw[:-missing], "cut.dcm")


def test_a_cut_compressed_file_is_a_problem_of_its_folder(folder, tmp_path):
    raw = changed(PLAIN["mosaic"], "RLE", folder)
    (tmp_path / "1.dcm").write_bytes(raw[:-700])
    series, problems = scan_dicom(tmp_path)
    assert series == []
    assert problems[0].startswith("1.dcm: the file ends inside its")


@given(
    st.sampled_from([case for case in CASES if case[0] != "implicit"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
)
@settings(deadline=None, max_examples=120)
def test_damaged_bytes_raise_nothing_but_format_errors(tmp_path_factory, case, changes):
    syntax, kind = case
    raw = bytearray(compressed(kind, syntax, tmp_path_factory.getbasetemp()))
    for part, value in changes:
        raw[132 + int(part * (len(raw) - 132))] = value
    try:
        outcome = all(array.size for array in arrays(bytes(raw), "damaged.dcm"))
    except FormatError as error:
        outcome = str(error).startswith("damaged.dcm: ")
    assert outcome


def test_a_compressed_image_larger_than_its_header_says_is_not_unpacked(folder):
    raw = changed(PLAIN["mosaic"], "JPEG 2000", folder)
    at = raw.index(b"\xff\x4f\xff\x51") + 8
    bomb = raw[:at] + struct.pack(">2I", 60000, 60000) + raw[at + 8 :]
    with pytest.raises(FormatError, match="or not of 48 x 36 pixels as its header says"):
        read_content(bomb, "bomb.dcm")
    tiles = raw[: at + 16] + struct.pack(">2I", 1, 1) + raw[at + 24 :]
    with pytest.raises(FormatError, match="not of 48 x 36"):
        read_content(tiles, "tiles.dcm")
    jpeg = changed(PLAIN["mosaic"], "JPEG-LS", folder)
    at = jpeg.index(b"\xff\xf7") + 5
    with pytest.raises(FormatError, match="not of 48 x 36"):
        read_content(jpeg[:at] + b"\xff\xff\xff\xff" + jpeg[at + 4 :], "bomb.dcm")


def test_a_deflated_bomb_is_not_unpacked(folder, monkeypatch):
    raw = changed(PLAIN["slice"], "deflated", folder)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    zeros = bytes(2**24)
    start = raw[: 144 + struct.unpack_from("<I", raw, 140)[0]]
    monkeypatch.setattr(dicom_header, "_MAX_INFLATED", 2**25)
    body = b"".join(packer.compress(zeros) for _ in range(4)) + packer.flush()
    assert len(body) < 2**20
    with pytest.raises(FormatError, match="unpacks to more than"):
        read_content(start + body, "bomb.dcm")


@pytest.mark.parametrize(
    ("uid", "message"),
    [
        ("1.2.840.10008.1.2.4.50", "unknown transfer syntax"),
        ("1.2.840.10008.1.2.4.51", "unknown transfer syntax"),
        ("1.2.840.10008.1.2.4.100", "unknown transfer syntax"),
        ("1.2.826.0.1.3680043.8.498.777777", "unknown transfer syntax"),
    ],
)
def test_other_syntaxes_are_refused_without_repeating_their_uid(folder, uid, message):
    header = pydicom.dcmread(io.BytesIO(changed(PLAIN["slice"], "RLE", folder)))
    header.file_meta.TransferSyntaxUID = uid
    with pytest.raises(FormatError, match=message) as caught:
        read_content(saved(header), "x.dcm")
    assert uid not in str(caught.value)


def test_more_images_than_frames_are_refused(folder):
    header = pydicom.dcmread(io.BytesIO(changed(PLAIN["enhanced"], "RLE", folder)))
    header.NumberOfFrames = 4
    with pytest.raises(FormatError):
        read_content(saved(header), "x.dcm")


def test_noise_states_no_size():
    assert codestream_size(b"") is None
    assert codestream_size(b"\xff\xd8\xff") is None
    assert codestream_size(b"\xff\xd8\xff\xc3\0\x0b") is None
    assert codestream_size(np.random.default_rng(0).bytes(3000)) is None
    frame = b"\xff\xf7\0\x0b\x10\0\x07\0\x09\x01\x01\x11\0"
    scan = b"\xff\xda\0\x08\x01\x01\0\0\0\0" + b"\x12\xff\x7f" + b"\xff\xd9\0"
    assert codestream_size(b"\xff\xd8\xff\xe0\0\x04\0\0" + frame + scan) == (7, 9)
    assert codestream_size(b"\xff\xd8" + frame + frame + scan) is None
    assert codestream_size(b"\xff\xd8" + frame + scan[:-3]) is None
    assert codestream_size(b"\xff\xd8" + frame.replace(b"\x01\x01\x11", b"\x03\x01\x11") + scan) is None
    assert codestream_size(b"\xff\xd8" + frame + scan.replace(b"\xff\x7f", b"\xff\xc3")) is None
