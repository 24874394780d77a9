from __future__ import annotations

import os
import threading

import numpy as np

from streamer.clock import stopwatch
from streamer.formats.dicom import write_mosaic
from streamer.formats.nifti import write_nifti
from streamer.messages import SourceState
from tests.unit.export_room import AFFINE, later, mosaic, problems, volumes


def states(items):
    return [(item.state, item.detail) for item in items if isinstance(item, SourceState)]


def test_new_files_become_volumes_in_the_order_of_their_numbers(tmp_path, export):
    directory = export()
    assert [state for state, _ in states(directory.poll())] == ["found"]
    for name, instance in (("a.dcm", 3), ("b.IMA", 1), ("001_000003_000002", 2), ("MR.1.2.3.7", 4)):
        (tmp_path / name).write_bytes(mosaic(instance))
    found = directory.poll()
    assert [v.index for v in volumes(found)] == [0, 1, 2, 3]
    assert np.isnan(volumes(found)[0].received)
    assert not problems(found)
    assert directory.poll() == []
    assert directory.counts["volumes"] == 4


def test_files_of_before_are_left_out_and_counted(tmp_path, export):
    for k in range(1, 4):
        (tmp_path / f"{k}.dcm").write_bytes(mosaic(k))
    directory = export()
    ((state, detail),) = states(directory.poll())
    assert state == "found"
    assert "3 files that were there before" in detail
    (tmp_path / "4.dcm").write_bytes(mosaic(4))
    assert [v.index for v in volumes(directory.poll())] == [3]
    everything = export(ignore_existing=False)
    assert [v.index for v in volumes(everything.poll())] == [0, 1, 2, 3]


def test_a_growing_file_waits_for_its_last_byte(tmp_path, export, time):
    directory = export()
    directory.poll()
    raw = mosaic(1)
    for length in (0, 90, 1500, 3000, len(raw) - 1):
        (tmp_path / "1.dcm").write_bytes(raw[:length])
        assert not volumes(directory.poll())
        assert not problems(later(directory, time, 9))
    (tmp_path / "1.dcm").write_bytes(raw)
    found = directory.poll()
    assert [v.index for v in volumes(found)] == [0]
    assert not problems(found)


def test_a_file_that_stays_incomplete_is_given_up_once_and_taken_when_it_comes_after_all(tmp_path, export, time):
    directory = export()
    directory.poll()
    raw = mosaic(1)
    (tmp_path / "1.dcm").write_bytes(raw[:-10])
    assert not problems(directory.poll())
    assert not problems(later(directory, time, 9.9))
    (problem,) = problems(later(directory, time, 0.2))
    assert problem.lost
    assert "1.dcm" in str(problem)
    assert "bytes of pixels" in str(problem)
    assert directory.counts["quarantined"] == 1
    assert later(directory, time, 60) == []
    (tmp_path / "1.dcm").write_bytes(raw)
    assert [v.index for v in volumes(directory.poll())] == [0]


def test_a_damaged_file_is_given_up_and_the_next_is_taken(tmp_path, export, time):
    directory = export()
    directory.poll()
    (tmp_path / "1.dcm").write_bytes(np.random.default_rng(0).bytes(9000))
    (tmp_path / "2.dcm").write_bytes(mosaic(2))
    assert [v.index for v in volumes(directory.poll())] == [1]
    (problem,) = problems(later(directory, time, 11))
    assert "no DICOM preamble" in str(problem)


def test_a_file_laid_out_before_it_is_filled_waits_until_it_rests(tmp_path, export, time):
    directory = export()
    directory.poll()
    raw = mosaic(1)
    path = tmp_path / "1.dcm"
    path.write_bytes(raw[: len(raw) // 2] + bytes(len(raw) - len(raw) // 2))
    os.utime(path, ns=(1, 1))
    assert not volumes(directory.poll())
    path.write_bytes(raw)
    (volume,) = volumes(directory.poll())
    assert volume.data[:, 0, -1].any()


def test_a_volume_with_an_empty_edge_is_taken_when_it_rests(tmp_path, export, time):
    directory = export()
    directory.poll()
    data = np.zeros((16, 16, 9), np.uint16)
    data[4:12, 4:12] = 900
    raw = write_mosaic(
        data, AFFINE, tr=1.0, slice_times=(), instance=1, series_number=3, series_uid="1.2.3", onset=36000.0
    )
    (tmp_path / "1.dcm").write_bytes(raw)
    assert not volumes(directory.poll())
    time.now += 0.06
    assert [v.index for v in volumes(directory.poll())] == [0]


def test_doubles_are_dropped_and_counted(tmp_path, export):
    directory = export()
    directory.poll()
    for name in ("a.dcm", "b.dcm"):
        (tmp_path / name).write_bytes(mosaic(1))
    assert len(volumes(directory.poll())) == 1
    assert directory.counts["duplicates"] == 1


def test_the_first_series_is_taken_and_others_are_told_once(tmp_path, export):
    directory = export()
    directory.poll()
    (tmp_path / "1.dcm").write_bytes(mosaic(1, series=3))
    directory.poll()
    for k in (1, 2):
        (tmp_path / f"other{k}.dcm").write_bytes(mosaic(k, series=4))
    found = directory.poll()
    assert not volumes(found)
    (problem,) = problems(found)
    assert "series s4" in str(problem)
    assert not problem.lost
    assert directory.counts["other_series"] == 2
    (tmp_path / "2.dcm").write_bytes(mosaic(2, series=3))
    assert [v.index for v in volumes(directory.poll())] == [1]


def test_a_series_may_be_asked_for(tmp_path, export):
    directory = export(series=4)
    directory.poll()
    for series in (3, 4, 44):
        (tmp_path / f"{series}.dcm").write_bytes(mosaic(1, series=series))
    found = directory.poll()
    assert [v.series[:3] for v in volumes(found)] == ["s4-"]
    assert len(problems(found)) == 2


def test_what_is_no_volume_is_counted_and_told_once(tmp_path, export, shared_data):
    directory = export()
    directory.poll()
    for name in ("88972158", "88972169"):
        source = shared_data / "fmri/siemens-xa-enhanced-golden/In" / name
        (tmp_path / name).write_bytes(source.read_bytes())
    found = directory.poll()
    assert not volumes(found)
    assert len(problems(found)) == 1
    assert directory.counts["not_images"] == 2


def test_hidden_and_temporary_files_are_passed_over(tmp_path, export):
    directory = export()
    directory.poll()
    for name in (".1.dcm", "~1.dcm", "1.dcm.part", "1.dcm.tmp", "1.filepart", "notes.txt", "1.dcm~"):
        (tmp_path / name).write_bytes(mosaic(1))
    (tmp_path / "folder.dcm").mkdir()
    assert directory.poll() == []


def test_an_absent_directory_is_told_and_waited_for(tmp_path, export):
    path = tmp_path / "export"
    directory = export(path)
    ((state, detail),) = states(directory.poll())
    assert state == "lost"
    assert "no such file or directory; waiting for it" in detail
    assert directory.poll() == []
    path.mkdir()
    (path / "1.dcm").write_bytes(mosaic(1))
    found = directory.poll()
    assert [state for state, _ in states(found)] == ["back"]
    assert [v.index for v in volumes(found)] == [0]
    (path / "1.dcm").unlink()
    path.rmdir()
    assert [state for state, _ in states(directory.poll())] == ["lost"]
    path.mkdir()
    (path / "2.dcm").write_bytes(mosaic(2))
    found = directory.poll()
    assert [state for state, _ in states(found)] == ["back"]
    assert [v.index for v in volumes(found)] == [1]


def test_nifti_files_are_counted_by_their_names(tmp_path, export):
    directory = export()
    directory.poll()
    for k in (1, 2):
        data = np.full((8, 8, 5), k, np.int16)
        suffix = "nii" if k == 1 else "nii.gz"
        write_nifti(tmp_path / f"001_000007_{k:06d}.{suffix}", data, AFFINE, tr=2.0)
    write_nifti(tmp_path / "001_000007_000003.nii", np.ones((8, 8, 5, 2), np.int16), AFFINE, tr=2.0)
    found = volumes(directory.poll())
    assert [v.index for v in found] == [0, 1]
    assert {v.series.split("-")[0] for v in found} == {"s7"}
    assert len({v.series for v in found}) == 1
    assert found[1].data[0, 0, 0] == 2


def test_a_real_export_with_a_double_and_a_cut_file(tmp_path, export, time, shared_data):
    directory = export()
    directory.poll()
    source = shared_data / "fmri/siemens-mosaic-export"
    for path in [*sorted(source.glob("*.dcm")), *(source / "truncated").iterdir()]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    found = directory.poll()
    given_up = later(directory, time, 11)
    assert [v.index for v in volumes(found)] == list(range(10))
    assert directory.counts["duplicates"] == 1
    assert [problem.file for problem in problems(given_up)] == ["trunc_001_000013_000005.dcm"]


def test_a_new_file_ends_the_wait(tmp_path, export):
    directory = export(poll_s=5.0)
    directory.poll()
    writing = threading.Timer(0.3, (tmp_path / "1.dcm").write_bytes, (mosaic(1),))
    writing.start()
    started = stopwatch()
    found = []
    while not found and stopwatch() - started < 5.0:
        directory.wait(5.0)
        found = volumes(directory.poll())
    writing.join()
    assert [v.index for v in found] == [0]
    assert stopwatch() - started < 2.5


def test_waiting_for_an_absent_directory_ends_in_time(tmp_path, export):
    directory = export(tmp_path / "absent", poll_s=0.01)
    directory.poll()
    started = stopwatch()
    directory.wait(0.05)
    assert 0.04 < stopwatch() - started < 2.0
