"""Which series and which layouts the export directory passes on."""

from __future__ import annotations

import pytest

from tests.unit.dicom_files import GRID, slice_file
from tests.unit.export_room import later, mosaic, problems, volumes


def test_siemens_xa_files_arrive_with_two_runs_in_one_folder(tmp_path, export, shared_data):
    directory = export()
    directory.poll()
    found = []
    for path in sorted((shared_data / "fmri/siemens-xa-enhanced-golden/In").iterdir()):
        raw = path.read_bytes()
        (tmp_path / path.name).write_bytes(raw[:-7])
        found += directory.poll()
        (tmp_path / path.name).write_bytes(raw)
        found += directory.poll()
    assert [v.index for v in volumes(found)] == [*range(7), *range(7)]
    assert [v.series.split("-")[0] for v in volumes(found)] == ["s2"] * 7 + ["s10"] * 7
    assert directory.counts["not_images"] == 2
    assert directory.counts["other_series"] == 0


def test_ge_slices_become_volumes_with_their_last_slice(tmp_path, export, time, shared_data):
    directory = export()
    directory.poll()
    source = sorted((shared_data / "fmri/vendor-layouts/GE_env/funcData/s1925").iterdir())
    came = []
    for number, path in enumerate(source):
        (tmp_path / path.name).write_bytes(path.read_bytes())
        directory.poll()
        time.now += 0.06
        came += [(number + 1, v.index) for v in volumes(directory.poll())]
    assert [index for _, index in came] == [0, 1, 2]
    assert all(number in {18 * (index + 1), 18 * (index + 1) + 1} for number, index in came)
    assert directory.counts["volumes"] == 3


def test_a_slice_that_never_comes_costs_its_volume_alone(tmp_path, export, time):
    directory = export()
    directory.poll()
    for volume, z in [(0, z) for z in range(GRID[2]) if z != 2] + [(1, z) for z in range(GRID[2])]:
        (tmp_path / f"i.MRDC.{volume * GRID[2] + z + 1}").write_bytes(slice_file("GE", volume, z))
    (tmp_path / "again.dcm").write_bytes(slice_file("GE", 1, 0))
    assert [v.index for v in volumes(directory.poll())] == [1]
    assert directory.counts["duplicates"] == 1
    (problem,) = problems(later(directory, time, 11))
    assert problem.lost
    assert "volume 1 of series s4-" in str(problem)
    assert "4 of 5 slices" in str(problem)
    assert directory.counts["quarantined"] == 1
    (tmp_path / "i.MRDC.3").write_bytes(slice_file("GE", 0, 2))
    assert directory.poll() == []


def test_slices_of_unknown_number_are_told_once(tmp_path, export):
    directory = export()
    directory.poll()
    for z in range(3):
        (tmp_path / f"{z}.dcm").write_bytes(slice_file("Siemens", 0, z))
    (problem,) = problems(directory.poll())
    assert problem.lost
    assert "does not tell of how many" in str(problem)


def feed(directory, folder, *files):
    found = []
    for raw in files:
        (folder / f"{len(list(folder.iterdir()))}.dcm").write_bytes(raw)
        found += directory.poll()
    return found


def test_a_series_that_begins_after_the_first_is_a_further_run(tmp_path, export):
    directory = export()
    directory.poll()
    feed(directory, tmp_path, mosaic(1, series=3), mosaic(2, series=3))
    # the first volume of a run to come is held until a second shows that it is no single image
    assert not volumes(feed(directory, tmp_path, mosaic(1, series=5, onset=37000.0)))
    found = feed(directory, tmp_path, mosaic(2, series=5, onset=37001.0), mosaic(3, series=5, onset=37002.0))
    assert [(v.series[:2], v.index) for v in volumes(found)] == [("s5", 0), ("s5", 1), ("s5", 2)]
    assert not problems(found)
    late = feed(directory, tmp_path, mosaic(3, series=3), mosaic(4, series=5, onset=37003.0))
    assert [(v.series[:2], v.index) for v in volumes(late)] == [("s3", 2), ("s5", 3)]
    assert directory.counts == {"existing": 0, "volumes": 7}


def test_two_volumes_of_a_new_run_may_come_at_once_and_swapped(tmp_path, export):
    directory = export()
    directory.poll()
    feed(directory, tmp_path, mosaic(1, series=3))
    (tmp_path / "a.dcm").write_bytes(mosaic(2, series=5, onset=37001.0))
    (tmp_path / "b.dcm").write_bytes(mosaic(1, series=5, onset=37000.0))
    assert [(v.series[:2], v.index) for v in volumes(directory.poll())] == [("s5", 0), ("s5", 1)]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"shape": (16, 16, 8)}, "grid 16 x 16 x 8 of 3 x 3 x 4 mm"),
        ({"tr": 2.0}, "repetition time 2 s"),
        ({"onset": 36001.0}, "not after the run"),
        ({"onset": 35000.0}, "not after the run"),
    ],
)
def test_a_series_of_another_kind_is_no_run_and_the_reason_is_said_once(tmp_path, export, changes, reason):
    directory = export()
    directory.poll()
    feed(directory, tmp_path, mosaic(1, series=3))
    other = {"series": 6, "onset": 37000.0} | changes
    found = feed(directory, tmp_path, mosaic(1, **other), mosaic(2, **other))
    assert not volumes(found)
    (problem,) = problems(found)
    assert not problem.lost
    assert reason in str(problem)
    assert directory.counts["other_series"] == 2


def test_a_single_image_between_two_runs_starts_none(tmp_path, export):
    directory = export()
    directory.poll()
    feed(directory, tmp_path, mosaic(1, series=3), mosaic(1, series=4, onset=36900.0))
    found = feed(directory, tmp_path, mosaic(1, series=5, onset=37000.0), mosaic(2, series=5, onset=37001.0))
    assert [v.series[:2] for v in volumes(found)] == ["s5", "s5"]
    assert "a single volume" in str(problems(found)[0])


def test_a_copy_that_is_made_beside_the_run_is_left_out_whoever_comes_first(tmp_path, export):
    directory = export()
    directory.poll()
    feed(directory, tmp_path, mosaic(1, series=3))
    found = []
    for k in (2, 3, 4):
        found += feed(directory, tmp_path, mosaic(k, series=4), mosaic(k, series=3))
    assert [(v.series[:2], v.index) for v in volumes(found)] == [("s3", 1), ("s3", 2), ("s3", 3)]
    assert directory.counts["other_series"] == 3
    assert "beside the run" in str(problems(found)[0])


def test_a_run_that_is_asked_for_by_its_number_is_the_only_one(tmp_path, export):
    directory = export(series=3)
    directory.poll()
    feed(directory, tmp_path, mosaic(1, series=3))
    found = feed(directory, tmp_path, *(mosaic(k, series=5, onset=37000.0 + k) for k in (1, 2, 3)))
    assert not volumes(found)
    assert "this run takes number 3" in str(problems(found)[0])
