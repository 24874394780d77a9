"""What lies in an export directory besides sound files in their places."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from streamer.acquire import export_files, scanner_export
from streamer.acquire.export_intake import shown_name
from streamer.clock import stopwatch
from streamer.messages import SourceState
from tests.unit.dicom_files import slice_file
from tests.unit.export_room import later, mosaic, problems, volumes


def numbers(items):
    return [v.index for v in volumes(items)]


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 0.99])
def test_a_file_cut_anywhere_is_waited_for_and_taken_whole(tmp_path, export, time, share):
    directory = export()
    directory.poll()
    raw = mosaic(1)
    (tmp_path / "1.dcm").write_bytes(raw[: int(share * len(raw))])
    assert directory.poll() == later(directory, time, 5) == []
    (tmp_path / "1.dcm").write_bytes(raw)
    assert numbers(directory.poll()) == [0]
    assert directory.counts["quarantined"] == 0


def test_a_file_written_in_two_halves_is_one_volume(tmp_path, export):
    directory = export()
    directory.poll()
    raw = mosaic(1)
    with (tmp_path / "1.dcm").open("wb", buffering=0) as stream:
        stream.write(raw[: len(raw) // 2])
        assert directory.poll() == []
        stream.write(raw[len(raw) // 2 :])
        assert numbers(directory.poll()) == [0]
    assert directory.poll() == []


def test_derived_images_between_do_not_shift_the_numbers(tmp_path, export):
    directory = export()
    directory.poll()
    found = []
    for k in range(1, 6):
        (tmp_path / f"{2 * k}.dcm").write_bytes(mosaic(k))
        copy = mosaic(k, series=4).replace(b"ORIGINAL\\PRIMARY", b"DERIVED\\PRIMARY ")
        assert copy != mosaic(k, series=4)
        (tmp_path / f"{2 * k + 1}.dcm").write_bytes(copy)
        found += directory.poll()
    assert numbers(found) == [0, 1, 2, 3, 4]
    assert directory.counts["not_images"] == 5


def test_subfolders_are_looked_through_as_they_appear(tmp_path, export):
    directory = export()
    directory.poll()
    session = tmp_path / "20260101.A.B"
    session.mkdir()
    (session / "1.dcm").write_bytes(mosaic(1))
    assert numbers(directory.poll()) == [0]
    series = session / "s0003"
    series.mkdir()
    assert directory.poll() == []
    (series / "2.dcm").write_bytes(mosaic(2))
    assert numbers(directory.poll()) == [1]
    (tmp_path / "3.dcm").write_bytes(mosaic(3))
    (series / "deeper").mkdir()
    (series / "deeper" / "4.dcm").write_bytes(mosaic(4))
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "5.dcm").write_bytes(mosaic(5))
    assert numbers(directory.poll()) == [2]


def test_without_subfolders_only_the_directory_counts(tmp_path, export):
    directory = export(subfolders=0)
    directory.poll()
    (tmp_path / "s1").mkdir()
    (tmp_path / "s1" / "1.dcm").write_bytes(mosaic(1))
    (tmp_path / "2.dcm").write_bytes(mosaic(2))
    assert numbers(directory.poll()) == [1]


def test_a_folder_for_each_series_with_one_slice_a_file(tmp_path, export):
    (tmp_path / "s3").mkdir()
    (tmp_path / "s3" / "i1").write_bytes(slice_file("GE", 0, 0, series=3))
    directory = export()
    directory.poll()
    assert directory.counts["existing"] == 1
    (tmp_path / "s4").mkdir()
    found = []
    for volume in range(2):
        for z in range(5):
            (tmp_path / "s4" / f"i{volume * 5 + z}").write_bytes(slice_file("GE", volume, z))
            found += directory.poll()
    assert numbers(found) == [0, 1]


def test_a_subfolder_that_cannot_be_read_is_told_once_and_the_others_are(tmp_path, export, monkeypatch):
    directory = export()
    directory.poll()
    for name in ("a1", "b2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.dcm").write_bytes(mosaic(1 + (name == "b2")))
    listing = os.listdir

    def denied(path):
        if str(path).endswith("a1"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return listing(path)

    monkeypatch.setattr(export_files.os, "listdir", denied)
    found = [item for _ in range(5) for item in directory.poll()]
    assert numbers(found) == [1]
    (problem,) = problems(found)
    assert str(problem) == "a subfolder cannot be listed (permission denied); left out"


def test_a_link_out_of_the_directory_is_refused_and_one_inside_is_followed(tmp_path, export):
    room, outside = tmp_path / "export", tmp_path / "elsewhere.dcm"
    (room / "s1").mkdir(parents=True)
    outside.write_bytes(mosaic(1))
    directory = export(room)
    directory.poll()
    (room / "1.dcm").symlink_to(outside)
    (room / "2.dcm").symlink_to(room / ".." / "elsewhere.dcm")
    (room / "s1" / ".kept").write_bytes(mosaic(3))
    (room / "3.dcm").symlink_to("s1/.kept")
    (room / "4.dcm").symlink_to("nowhere")
    found = directory.poll()
    assert numbers(found) == [2]
    assert directory.counts["outside"] == 2
    (problem,) = problems(found)
    assert "leads out of the export directory" in str(problem)
    assert directory.poll() == []


@pytest.mark.timeout(10)
def test_what_is_no_regular_file_is_never_opened(tmp_path, export):
    directory = export()
    directory.poll()
    os.mkfifo(tmp_path / "1.dcm")
    (tmp_path / "2.dcm").mkdir()
    (tmp_path / "3.dcm").write_bytes(mosaic(3))
    assert numbers(directory.poll()) == [2]
    with pytest.raises(export_files.FormatError, match="no regular file"):
        export_files.read_whole(str(tmp_path / "1.dcm"), "1.dcm")


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_a_file_that_cannot_be_read_for_a_while_is_tried_again(tmp_path, export, time, monkeypatch, number):
    directory = export()
    directory.poll()
    opening, fails = os.open, [True]

    def failing(path, *arguments, **others):
        if fails[0] and str(path).endswith("1.dcm"):
            raise OSError(number, os.strerror(number), path)
        return opening(path, *arguments, **others)

    monkeypatch.setattr(export_files.os, "open", failing)
    (tmp_path / "1.dcm").write_bytes(mosaic(1))
    (tmp_path / "2.dcm").write_bytes(mosaic(2))
    assert numbers(directory.poll()) == [1]
    assert later(directory, time, 5) == []
    fails[0] = False
    assert numbers(directory.poll()) == [0]
    (tmp_path / "21.dcm").write_bytes(mosaic(3))
    fails[0] = True
    (tmp_path / "31.dcm").write_bytes(mosaic(4))
    found = directory.poll() + later(directory, time, 11)
    one, _ = problems(found)
    assert os.strerror(number).lower() in str(one)
    assert directory.counts["quarantined"] == 2
    assert later(directory, time, 30) == []
    fails[0] = False
    assert numbers(directory.poll()) == [2, 3]


def test_a_file_that_shrinks_after_it_was_taken_loses_nothing(tmp_path, export, time):
    directory = export(watch="poll")
    directory.poll()
    raw = mosaic(1)
    (tmp_path / "1.dcm").write_bytes(raw)
    assert numbers(directory.poll()) == [0]
    (tmp_path / "1.dcm").write_bytes(raw[:2000])
    (problem,) = problems(directory.poll() + later(directory, time, 11))
    assert not problem.lost


def test_one_name_for_all_volumes(tmp_path, export):
    directory = export(watch="poll")
    directory.poll()
    found = []
    for k in (1, 2, 3):
        (tmp_path / "latest.dcm").write_bytes(mosaic(k))
        found += directory.poll()
    assert numbers(found) == [0, 1, 2]


def test_other_content_under_a_number_that_came_is_said(tmp_path, export):
    directory = export(watch="poll")
    directory.poll()
    (tmp_path / "1.dcm").write_bytes(mosaic(1))
    directory.poll()
    raw = mosaic(1)
    (tmp_path / "1.dcm").write_bytes(raw[:-40] + bytes(20 * [7, 0]))
    found = directory.poll()
    (tmp_path / "again.dcm").write_bytes(raw)
    found += directory.poll()
    assert not volumes(found)
    (problem,) = problems(found)
    assert "came before with other content; the first is kept" in str(problem)
    assert directory.counts["duplicates"] == 2
    assert directory.counts["contradictions"] == 1


def test_names_that_are_no_text_are_read_and_shown_on_one_line(tmp_path, export, time):
    directory = export()
    directory.poll()
    (tmp_path / "a\nb.dcm").write_bytes(mosaic(1))
    (tmp_path / os.fsdecode(b"\xff\xfe.dcm")).write_bytes(mosaic(2))
    (tmp_path / os.fsdecode(b"\xff\n.dcm")).write_bytes(mosaic(3)[:500])
    assert numbers(directory.poll()) == [0, 1]
    (problem,) = problems(later(directory, time, 11))
    assert str(problem).startswith("\\udcff\\n.dcm: ")
    str(problem).encode()


def test_names_are_shown_without_what_could_name_a_person():
    assert shown_name("DOE_JANE.MR.HEAD_FMRI.0003.0001.2026.01.01.10.00.00.5.IMA") == "….MR.HEAD_FMRI.…5.IMA"
    assert shown_name("MR.1.3.12.2.1107.5.2.43.17") == "MR.…17"
    assert shown_name("001_000013_000005.dcm") == "001_000013_000005.dcm"


def test_time_in_which_nobody_looked_does_not_count(tmp_path, export, time):
    directory = export()
    directory.poll()
    raw = mosaic(1)
    (tmp_path / "1.dcm").write_bytes(raw[:500])
    assert directory.poll() == []
    time.now += 3600.0
    assert directory.poll() == []
    time.now -= 7200.0
    assert later(directory, time, 5) == []
    assert directory.counts["quarantined"] == 0
    assert len(problems(later(directory, time, 6))) == 1


def test_a_file_that_was_unfinished_at_the_start_is_taken_when_it_is_whole(tmp_path, export):
    raw = mosaic(1)
    (tmp_path / "1.dcm").write_bytes(raw[:500])
    directory = export(watch="poll")
    directory.poll()
    directory._touched.add(str(tmp_path / "1.dcm"))
    assert directory.poll() == []
    (tmp_path / "1.dcm").write_bytes(raw)
    directory._touched.add(str(tmp_path / "1.dcm"))
    assert numbers(directory.poll()) == [0]


def test_with_more_old_files_than_there_is_time_for_those_that_change_are_told_apart(tmp_path, export, monkeypatch):
    monkeypatch.setattr(export_files, "_START_S", -1.0)
    for k in (1, 2):
        (tmp_path / f"{k}.dcm").write_bytes(mosaic(k))
        os.utime(tmp_path / f"{k}.dcm", ns=(10**18, 10**18))
    directory = export()
    directory.poll()
    assert directory.counts["existing"] == 2
    paths = {str(tmp_path / f"{k}.dcm") for k in (1, 2)}
    directory._touched |= paths
    assert directory.poll() == []
    (tmp_path / "2.dcm").write_bytes(mosaic(3))
    os.utime(tmp_path / "2.dcm", ns=(4 * 10**18, 4 * 10**18))
    directory._touched |= paths
    assert numbers(directory.poll()) == [2]


def test_nothing_is_listed_while_nothing_changes(tmp_path, export, monkeypatch):
    for k in range(300):
        (tmp_path / f"{k}.dcm").touch()
    directory = export()
    directory.poll()
    calls = []
    listing = os.listdir
    monkeypatch.setattr(export_files.os, "listdir", lambda path: calls.append(path) or listing(path))
    folder = directory._files._folders[str(tmp_path)]
    folder.took = 1.0
    for _ in range(20):
        directory.poll()
    assert not calls
    (tmp_path / "x.dcm").write_bytes(mosaic(1))
    assert numbers(directory.poll()) == [0]
    assert len(calls) == 1


def test_a_directory_whose_time_of_change_stands_still_is_listed_all_the_same(tmp_path, export, time):
    directory = export()
    directory.poll()
    folder = directory._files._folders[str(tmp_path)]
    (tmp_path / "1.dcm").write_bytes(mosaic(1))
    # as a share with coarse times has it
    folder.changed_ns, folder.took = tmp_path.stat().st_mtime_ns, 0.01
    assert directory.poll() == []
    time.now += 0.25
    assert numbers(directory.poll()) == [0]


def test_thousands_of_old_files_do_not_delay_the_start(tmp_path, export):
    for k in range(3000):
        os.close(os.open(tmp_path / f"{k}.dcm", os.O_CREAT))
    started = stopwatch()
    directory = export()
    directory.poll()
    assert stopwatch() - started < 1.0
    assert directory.counts["existing"] == 3000
    (tmp_path / "new.dcm").write_bytes(mosaic(1))
    assert numbers(directory.poll()) == [0]


def test_a_new_file_in_a_new_subfolder_ends_the_wait(tmp_path, export):
    directory = export(poll_s=5.0)
    directory.poll()

    def write():
        (tmp_path / "s1").mkdir()
        (tmp_path / "s1" / "1.dcm").write_bytes(mosaic(1))

    writing = threading.Timer(0.2, write)
    writing.start()
    started = stopwatch()
    found = []
    while not volumes(found) and stopwatch() - started < 4.0:
        directory.wait(0.5)
        found += directory.poll()
    writing.join()
    assert numbers(found) == [0]


def test_an_event_from_elsewhere_ends_the_wait(tmp_path, export):
    for settings in ({}, {"watch": "poll"}):
        directory = export(**settings)
        directory.poll()
        wake = threading.Event()
        ringing = threading.Timer(0.1, wake.set)
        ringing.start()
        started = stopwatch()
        directory.wait(5.0, wake)
        ringing.join()
        assert stopwatch() - started < 2.5


def test_a_system_that_tells_of_nothing_is_told_once_and_the_directory_listed(tmp_path, export, monkeypatch):
    def refused(*_):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(scanner_export, "RustNotify", refused)
    directory = export(poll_s=0.01)
    found = directory.poll()
    for k in range(1, 4):
        directory.wait(0.01)
        (tmp_path / f"{k}.dcm").write_bytes(mosaic(k))
        found += directory.poll()
    assert numbers(found) == [0, 1, 2]
    assert "tells of no changes" in str(problems(found)[0])
    assert len(problems(found)) == 1
    assert sum(isinstance(item, SourceState) for item in found) == 1


def test_a_directory_that_is_only_listed_asks_the_system_for_nothing(tmp_path, export, monkeypatch):
    monkeypatch.setattr(scanner_export, "RustNotify", None)
    directory = export(watch="poll", poll_s=0.01)
    directory.poll()
    directory.wait(0.01)
    (tmp_path / "1.dcm").write_bytes(mosaic(1))
    assert numbers(directory.poll()) == [0]
