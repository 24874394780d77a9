"""Files of the export directory that grow, and files that belong together."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest

from tests.unit.export_room import AFFINE, later, mosaic, problems, volumes

SHAPE = (8, 8, 5)


def series(n, first=0):
    rng = np.random.default_rng(3)
    return rng.integers(1, 900, (*SHAPE, 12)).astype(np.int16)[..., first : first + n]


def nifti(data, tr=2.0, kind=nib.Nifti1Image):
    image = kind(data, AFFINE)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = tr
    return image.to_bytes()


def check(found, indices, first=0):
    assert [v.index for v in volumes(found)] == list(indices)
    for volume, k in zip(volumes(found), indices, strict=True):
        np.testing.assert_array_equal(volume.data, series(12)[..., k + first])
        np.testing.assert_allclose(volume.affine, AFFINE)
        assert volume.tr == 2.0


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_a_series_in_one_file_gives_each_volume_as_it_comes(tmp_path, export, time, kind):
    directory = export(watch="poll")
    directory.poll()
    raw = nifti(series(4), kind=kind)
    size = 2 * int(np.prod(SHAPE))
    start = len(raw) - 4 * size
    path = tmp_path / "run.nii"
    path.write_bytes(raw[: start + size // 2])
    assert directory.poll() == []
    path.write_bytes(raw[: start + size])
    check(directory.poll(), [0])
    path.write_bytes(raw[: start + 3 * size - 7])
    check(directory.poll(), [1])
    path.write_bytes(raw)
    found = directory.poll()
    check(found, [2, 3])
    assert later(directory, time, 20) == []
    assert not problems(found)
    assert directory.counts == {"existing": 0, "volumes": 4}


def test_a_series_whose_header_counts_along_is_followed(tmp_path, export):
    directory = export(watch="poll")
    directory.poll()
    found = []
    for n in (1, 2, 5):
        (tmp_path / "rt_2.nii").write_bytes(nifti(series(n)))
        found += directory.poll()
    assert [v.data.sum() for v in volumes(found)] == [series(12)[..., k].sum() for k in range(5)]
    assert len({v.series for v in volumes(found)}) == 1
    assert np.diff([v.index for v in volumes(found)]).tolist() == [1] * 4


def test_a_series_that_is_written_anew_each_time_gives_what_is_new(tmp_path, export):
    directory = export(watch="poll")
    directory.poll()
    found = []
    for n in (2, 3, 6):
        (tmp_path / ".run.nii.part").write_bytes(nifti(series(n)))
        (tmp_path / ".run.nii.part").rename(tmp_path / "run.nii")
        found += directory.poll()
    check(found, range(6))


def test_a_file_that_is_laid_out_for_the_whole_series_gives_what_is_filled(tmp_path, export, time):
    directory = export(watch="poll")
    directory.poll()
    for n in (2, 3):
        data = np.concatenate([series(n), np.zeros((*SHAPE, 5 - n), np.int16)], axis=3)
        (tmp_path / "run.nii").write_bytes(nifti(data))
        check(directory.poll(), [[0, 1], [2]][n - 2])
    (problem,) = problems(later(directory, time, 11))
    assert "volume 4 of 5 is not filled yet" in str(problem)
    assert not problem.lost


def test_another_run_under_the_same_name_is_another_series(tmp_path, export):
    directory = export(watch="poll")
    directory.poll()
    (tmp_path / "run.nii").write_bytes(nifti(series(4)))
    first = directory.poll()
    (tmp_path / "run.nii").write_bytes(nifti(series(3, first=6)))
    second = directory.poll()
    check(second, [0, 1, 2], first=6)
    assert volumes(first)[0].series != volumes(second)[0].series


def test_a_compressed_series_is_taken_when_it_is_whole(tmp_path, export):
    directory = export()
    directory.poll()
    raw = gzip.compress(nifti(series(3)))
    (tmp_path / "run.nii.gz").write_bytes(raw[:-20])
    assert directory.poll() == []
    (tmp_path / "run.nii.gz").write_bytes(raw)
    check(directory.poll(), [0, 1, 2])


@pytest.mark.parametrize("order", [("hdr", "img"), ("img", "hdr")])
def test_a_header_and_its_image_may_come_in_either_order(tmp_path, export, time, order):
    room, files = tmp_path / "export", {}
    room.mkdir()
    directory = export(room)
    directory.poll()
    image = nib.Nifti1Pair(series(1, first=2)[..., 0], AFFINE)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = 2.0
    nib.save(image, tmp_path / "v_000003.img")
    for ending in order:
        files[ending] = (tmp_path / f"v_000003.{ending}").read_bytes()
    (room / f"v_000003.{order[0]}").write_bytes(files[order[0]])
    assert directory.poll() == later(directory, time, 3) == []
    (room / f"v_000003.{order[1]}").write_bytes(files[order[1]][:-9])
    assert directory.poll() == []
    (room / f"v_000003.{order[1]}").write_bytes(files[order[1]])
    check(directory.poll(), [2])
    (room / "v_000004.img").write_bytes(files["img"])
    (problem,) = problems(directory.poll() + later(directory, time, 11))
    assert "v_000004.img" in str(problem) or "v_000004.hdr" in str(problem)
    assert "has not come" in str(problem)


def test_analyze_tells_no_orientation_and_is_refused(tmp_path, export, time):
    directory = export()
    directory.poll()
    nib.save(nib.AnalyzeImage(series(1)[..., 0], np.diag([-3.0, 3, 4, 1])), tmp_path / "v_000001.img")
    (problem,) = problems(directory.poll() + later(directory, time, 11))
    assert "Analyze" in str(problem)


@pytest.mark.parametrize("order", [(".par", ".rec"), (".rec", ".par")])
def test_philips_pairs_come_live_in_either_order(tmp_path, export, time, shared_data, order):
    directory = export(tr_s=2.0)
    directory.poll()
    source = shared_data / "fmri/vendor-layouts/Philips_env/funcData/0001"
    found = []
    for k in range(4):
        for ending in order:
            raw = (source / f"Dump-{k:04d}{ending}").read_bytes()
            (tmp_path / f"Dump-{k:04d}{ending}").write_bytes(raw[: len(raw) // 2])
            found += directory.poll()
            (tmp_path / f"Dump-{k:04d}{ending}").write_bytes(raw)
            found += directory.poll()
        assert [v.index for v in volumes(found)] == list(range(k + 1))
    assert {v.data.shape for v in volumes(found)} == {(80, 80, 15)}
    assert len({v.series for v in volumes(found)}) == 1
    assert directory.counts["quarantined"] == 0


def test_a_text_under_a_name_of_images_is_given_up_and_a_volume_taken(tmp_path, export, time):
    directory = export()
    directory.poll()
    for name in ("a.nii", "a.nii.gz", "a.par", "a.hdr", "a.dcm"):
        (tmp_path / name).write_text("nothing of the kind " * 60)
    (tmp_path / "a.rec").write_text("?" * 900)
    (tmp_path / "a.img").write_text("?" * 900)
    (tmp_path / "1.dcm").write_bytes(mosaic(1))
    found = directory.poll() + later(directory, time, 11)
    assert [v.index for v in volumes(found)] == [0]
    assert directory.counts["quarantined"] == 5
