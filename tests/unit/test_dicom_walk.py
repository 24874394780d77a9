"""The fast way through headers finds what pydicom finds."""

from __future__ import annotations

import ast
import io
from pathlib import Path

import pydicom
import pytest
from pydicom.datadict import tag_for_keyword

import streamer.formats.dicom
from streamer.formats import dicom_header, dicom_walk
from streamer.formats.dicom import read_content
from streamer.formats.dicom_walk import walk
from tests.unit.dicom_files import ENHANCED, MR, enhanced_file, saved, series_file, slice_file

FOLDERS = [
    "siemens-mosaic-export", "siemens-mosaic-golden/In/cmrr_Int_HF_9", "siemens-xa-enhanced-golden/In",
    "ge-golden/In/mr_0004", "vendor-layouts/GE_env/funcData/s1925", "vendor-layouts/Siemens_env/funcData",
    "philips-classic-golden/In",
]  # fmt: skip


def same(ours, theirs):
    found = 0
    for tag in ours.keys():  # noqa: SIM118 - iterating over a dataset gives its elements
        if ours[tag].VR == "SQ":
            assert len(ours[tag].value) == len(theirs[tag].value)
            found += sum(same(*pair) for pair in zip(ours[tag].value, theirs[tag].value, strict=True))
        else:
            assert (ours[tag].VR, ours[tag].value) == (theirs[tag].VR, theirs[tag].value)
            found += 1
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_real_headers_are_as_pydicom_reads_them(shared_data, folder, monkeypatch):
    paths = [path for path in sorted((shared_data / "fmri" / folder).iterdir()) if path.is_file()][:3]
    for path in (path for path in paths if path.suffix != ".txt"):
        raw = path.read_bytes()
        header = walk(raw)
        assert header is not None
        assert same(header, pydicom.dcmread(io.BytesIO(raw))) > 8
        if header.SOPClassUID not in {MR, ENHANCED}:
            continue
        fast = read_content(raw, "x.dcm")
        with monkeypatch.context() as patch:
            patch.setattr(dicom_header, "walk", lambda _: None)
            slow = read_content(raw, "x.dcm")
        assert repr(fast) == repr(slow)


@pytest.mark.parametrize("raw", [series_file(), enhanced_file(1), slice_file("GE", 0, 0)])
def test_what_is_not_whole_is_left_to_pydicom(raw):
    assert walk(raw) is not None
    cuts = [walk(raw[:length]) for length in range(0, len(raw), 61)]
    # between two elements it may be cut, but never behind the pixels, which end it
    assert all(header is None or "PixelData" not in header for header in cuts)
    assert walk(raw[:-1]) is None
    header = pydicom.dcmread(io.BytesIO(raw))
    header.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    implicit = io.BytesIO()
    header.save_as(implicit, implicit_vr=True)
    assert walk(implicit.getvalue()) is None
    assert walk(saved(pydicom.dcmread(io.BytesIO(raw)))) is not None


def test_every_element_that_the_readers_ask_for_is_kept():
    asked = set()
    for path in sorted(Path(streamer.formats.dicom.__file__).parent.glob("dicom*.py")):
        if path.stem != "dicom_write":
            texts = (node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
            asked |= {tag for text in texts if isinstance(text, str) and (tag := tag_for_keyword(text)) is not None}
    assert len(asked) > 40
    # words that are a keyword of radiotherapy by chance are none here
    for tag in (tag for tag in asked if tag >> 16 in dicom_walk._KEPT):
        assert tag & 0xFFFF in dicom_walk._KEPT.get(tag >> 16, ()), pydicom.datadict.keyword_for_tag(tag)
