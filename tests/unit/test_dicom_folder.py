from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamer.formats.dicom import read_dicom, write_mosaic
from streamer.formats.dicom_folder import scan_dicom
from tests.unit.dicom_files import GRID, data, enhanced_file, slice_file

AFFINE = np.array([[-3.0, 0, 0, 10], [0, 3, 0, -10], [0, 0, 4, -8], [0, 0, 0, 1]])


def mosaic(instance, series=3, value=0):
    return write_mosaic(
        np.full((8, 8, 4), 100 + instance + value, np.uint16), AFFINE, tr=0.5, slice_times=(), instance=instance,
        series_number=series, series_uid=f"1.2.3.{series}", onset=36000.0 + instance,
    )  # fmt: skip


def fill(folder, vendor, volumes, leave_out=()):
    for volume in volumes:
        for z in range(GRID[2]):
            if (volume, z) not in leave_out:
                (folder / f"i{volume}-{z}.MRDC.{volume * GRID[2] + z + 1}").write_bytes(slice_file(vendor, volume, z))


@pytest.mark.parametrize("vendor", ["GE", "Philips", "Siemens"])
def test_slices_are_volumes_by_their_headers_alone(tmp_path, vendor):
    fill(tmp_path, vendor, range(3))
    ((series,), problems) = scan_dicom(tmp_path)
    assert problems == ()
    assert (series.format, series.number, series.grid, series.tr) == (f"DICOM ({vendor})", 4, GRID, 2.0)
    assert series.indices == (0, 1, 2)
    assert series.file(1) is None
    assert series.volume(1).index == 1
    scale = (1.5, -2) if vendor == "Philips" else (1, 0)
    np.testing.assert_allclose(series.volume(1).data, data(1) * scale[0] + scale[1])
    times = ("acquisition times are those of the series, none is its volumes' own",) if vendor == "GE" else ()
    assert series.problems == times


def test_missing_slices_and_volumes_are_said(tmp_path):
    fill(tmp_path, "Philips", (1, 2, 4, 5), leave_out={(2, 0), (2, 3)})
    ((series,), _) = scan_dicom(tmp_path)
    assert series.indices == (1, 4, 5)
    assert series.problems == (
        "volume 3 has 3 of 5 slices: left out",
        "volumes missing: 1, 3–4 of 1–6",
    )


def test_the_most_slices_of_a_volume_are_what_one_has_where_no_header_tells(tmp_path):
    fill(tmp_path, "Siemens", range(3), leave_out={(1, 4)})
    ((series,), _) = scan_dicom(tmp_path)
    assert series.indices == (0, 2)
    assert "volume 2 has 4 of 5 slices: left out" in series.problems


def test_an_announced_end_that_is_missing_is_said(tmp_path):
    for volume in range(3):
        (tmp_path / f"{volume}.dcm").write_bytes(enhanced_file(volume))
    ((series,), _) = scan_dicom(tmp_path)
    assert (series.format, series.indices) == ("DICOM (Siemens XA enhanced)", (0, 1, 2))
    assert series.file(2) == tmp_path / "2.dcm"


def test_doubles_are_dropped_and_contradictions_kept_apart(tmp_path):
    for name, raw in (
        ("a", mosaic(1)),
        ("b", mosaic(2)),
        ("c", mosaic(2)),
        ("d", mosaic(3)),
        ("e", mosaic(3, value=9)),
    ):
        (tmp_path / f"{name}.dcm").write_bytes(raw)
    ((series,), _) = scan_dicom(tmp_path)
    assert series.indices == (0, 1, 2)
    assert series.problems == ("volume 2 is there twice (b.dcm, c.dcm): one is left out",)
    assert series.conflicts == ("d.dcm and e.dcm both are volume 3, yet differ",)
    assert series.volume(2).data[0, 0, 0] == 103


def test_bad_files_hide_no_good_ones(tmp_path):
    raw = mosaic(2)
    (tmp_path / "1.dcm").write_bytes(mosaic(1))
    (tmp_path / "2.dcm").write_bytes(raw[:-20])
    (tmp_path / "3.dcm").write_bytes(raw[:700])
    (tmp_path / "4.dcm").write_bytes(b"no DICOM at all")
    (tmp_path / "5.dcm").write_bytes(enhanced_file(0, SeriesDescription="bold_SBRef"))
    (tmp_path / "6.dcm").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "notes.txt").write_text("not meant")
    ((series,), problems) = scan_dicom(tmp_path)
    assert series.indices == (0,)
    assert len(series.problems) == 1
    assert series.problems[0].startswith("2.dcm: ")
    assert series.problems[0].endswith("bytes of pixels: left out")
    assert len(problems) == 4
    text = "\n".join(problems)
    for part in (
        "3.dcm: the file ends inside its header",
        "4.dcm: 15 bytes",
        "6.dcm: no DICOM preamble",
        "single-band",
    ):
        assert part in text
    assert "notes" not in text


def test_blank_times_are_said(tmp_path):
    for volume in range(2):
        for z in range(GRID[2]):
            raw = slice_file("Philips", volume, z, AcquisitionTime="")
            (tmp_path / f"{volume}{z}.dcm").write_bytes(raw)
    ((series,), _) = scan_dicom(tmp_path)
    assert series.problems == ("acquisition times are blank in 2 of 2 volumes",)


@given(cut=st.integers(0, len(mosaic(2)) - 1))
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_truncation_is_a_problem_of_one_volume(tmp_path, cut):
    (tmp_path / "1.dcm").write_bytes(mosaic(1))
    (tmp_path / "2.dcm").write_bytes(mosaic(2)[:cut])
    ((series,), problems) = scan_dicom(tmp_path)
    assert series.indices == (0,)
    assert len(series.problems) + len(problems) == 1


def test_a_cut_file_alone_still_says_what_it_is_of(shared_data):
    ((series,), problems) = scan_dicom(shared_data / "fmri/siemens-mosaic-export/truncated")
    assert (series.indices, series.grid, series.tr) == ((), (64, 64, 27), 1.5)
    assert series.problems == ("trunc_001_000013_000005.dcm: 145082 of 294912 bytes of pixels: left out",)
    assert problems == ()


def test_headers_tell_what_the_whole_files_do(shared_data):
    folder = shared_data / "fmri/siemens-mosaic-golden/In/cmrr_Int_HF_9"
    ((series,), _) = scan_dicom(folder)
    path = series.file(3)
    whole = read_dicom(path.read_bytes(), path.name)
    assert (series.grid, series.tr, series.slice_times) == (whole.data.shape, whole.tr, whole.slice_times)
    np.testing.assert_array_equal(series.volume(3).data, whole.data)


def test_no_name_is_in_what_is_said(tmp_path):
    (tmp_path / "1.dcm").write_bytes(enhanced_file(0, SeriesDescription="Sentinel_SBRef"))
    (tmp_path / "2.dcm").write_bytes(enhanced_file(0)[:-3])
    ((series,), problems) = scan_dicom(tmp_path)
    assert "Sentinel" not in repr((series.problems, problems, series.label, series.format))
