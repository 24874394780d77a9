"""What the bench plants and measures of volumes whose answer is known."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from streamer.bench import bold_others
from streamer.bench.bold_glm import bench_glm
from streamer.bench.bold_others import OtherPackages
from streamer.bench.bold_real import RUN, read_run, regulation
from streamer.bench.bold_registration import ours
from streamer.bench.bold_truth import Grid, Hardships, Head, plant_volumes, root_mean_square
from streamer.bench.bold_worker import Passed, fresh_compile_cache
from streamer.errors import RecordingError, UsageError

GRID = Grid((40, 48, 24), (5.0, 5.0, 6.0))


@pytest.fixture(scope="module")
def head():
    return Head()


@pytest.fixture(scope="module")
def still(head):
    return plant_volumes(head, GRID, Hardships(), 5)


def centre(volume):
    # the centre of mass, mm
    index = np.nonzero(volume > 100)
    weights = volume[index].astype(float)
    return (GRID.affine @ [*((np.array(index) * weights).sum(axis=1) / weights.sum()), 1.0])[:3]


def test_a_grid_lies_about_its_middle_and_runs_to_the_left():
    corner = GRID.affine @ [0, 0, 0, 1]
    other = GRID.affine @ [39, 47, 23, 1]
    np.testing.assert_allclose(corner, -other + [0, 0, 0, 2])
    assert corner[0] > 0 > corner[1]


def test_the_reference_lies_straight_and_the_others_where_their_pose_says(still):
    np.testing.assert_array_equal(still.poses[0], np.eye(4))
    assert still.volumes.dtype == np.uint16
    before = centre(still.volumes[0])
    # the fourth moves most
    for k in (3, 4):
        went = (still.poses[k] @ [*before, 1.0])[:3]
        np.testing.assert_allclose(centre(still.volumes[k]), went, atol=0.15)
    assert np.linalg.norm(centre(still.volumes[4]) - before) > 0.5


def test_the_same_seed_gives_the_same_and_another_one_another(head, still):
    again = plant_volumes(head, GRID, Hardships(), 5)
    np.testing.assert_array_equal(again.volumes, still.volumes)
    assert (plant_volumes(head, GRID, Hardships(), 2, seed=8).volumes != still.volumes[:2]).any()


def test_errors_are_those_of_the_estimate_against_the_truth(still):
    np.testing.assert_allclose(still.errors(still.poses), 0, atol=1e-12)
    shifted = still.poses.copy()
    shifted[:, :3, 3] += [0.3, 0.0, 0.4]
    np.testing.assert_allclose(still.errors(shifted), 0.5)
    turned = still.poses.copy()
    turned[0, :3, :3] = Rotation.from_rotvec([0, 0, 0.01]).as_matrix()
    radius = np.sqrt(np.square(still.brain[:2]).sum(axis=0).mean())
    assert still.errors(turned)[0] == pytest.approx(0.01 * radius, rel=1e-4)


def test_hardships_leave_moves_and_noise_alone(head, still):
    brain = still.volumes[0] > 500
    kinds = {
        name: replace(Hardships(), **{name: True}) for name in ("distortion", "activation", "spin_history", "within")
    }
    for name, hardships in kinds.items():
        other = plant_volumes(head, GRID, hardships, 5)
        np.testing.assert_array_equal(other.poses, still.poses)
        if name != "distortion":
            np.testing.assert_array_equal(other.volumes[0], still.volumes[0])
        else:
            assert (other.volumes[0] != still.volumes[0]).any()
        changed = np.abs(other.volumes[4].astype(float) - still.volumes[4])[brain].mean()
        assert (changed > 1.0) == (name != "activation"), name


def test_activation_is_two_percent_of_a_tenth_in_every_other_five_volumes(head):
    rest, active = (
        plant_volumes(head, GRID, Hardships(activation=on), 7).volumes.astype(float) for on in (False, True)
    )
    np.testing.assert_array_equal(rest[:5], active[:5])
    inside = rest[5] > 400
    ratio = active[5][inside] / rest[5][inside] - 1
    assert ratio.max() == pytest.approx(0.02, abs=0.004)
    assert np.mean(ratio > 0.01) == pytest.approx(0.1, abs=0.04)


def test_our_own_lane_finds_the_planted_poses_and_undoes_them(still):
    found = ours(still.volumes, GRID.affine, resampled=True)
    errors = still.errors(found.poses)
    assert errors[1:].max() < 0.15
    assert np.isfinite(found.ms).all()
    assert found.resampled is not None
    inside = still.volumes[0] > 500

    def unlike(volume):
        return np.nanstd((volume - still.volumes[0].astype(float))[inside])

    # voxels of 5 mm hold too little of the head for more
    assert unlike(found.resampled[4]) < 0.75 * unlike(still.volumes[4].astype(float))


def test_the_glm_is_that_of_the_whole_run():
    rows = {figure.name.split(": ")[1]: figure for figure in bench_glm(quick=True, n_voxels=500)}
    assert rows["largest difference from batch least squares"].value < 1e-9
    assert 0 < rows["a volume, median"].value < rows["a volume and a t map, median"].value


def fake_script(tmp_path, monkeypatch, text):
    script = tmp_path / "script.py"
    script.write_text(text, encoding="utf-8")
    monkeypatch.setattr(bold_others, "_SCRIPT", script)
    return OtherPackages(Path(sys.executable))


def test_other_packages_get_the_volumes_and_give_poses(tmp_path, monkeypatch, still):
    others = fake_script(
        tmp_path,
        monkeypatch,
        "import json, sys\nimport numpy as np\nfrom pathlib import Path\nfolder = Path(sys.argv[1])\n"
        "volumes, affine = np.load(folder / 'volumes.npy'), np.load(folder / 'affine.npy')\n"
        "for method in sys.argv[2:]:\n"
        "    poses = [(affine * int(v.max())).tolist() for v in volumes]\n"
        "    n = len(poses)\n"
        "    what = dict(name='pkg 1', poses=poses, register_ms=[3.0] * n, resample_ms=[None] + [2.0] * (n - 1))\n"
        "    (folder / f'{method}.json').write_text(json.dumps(what))\n",
    )
    plain, preset = others.estimate(still.volumes, GRID.affine, ("rtspm", "ants-rigid"))
    assert (plain.name, preset.name) == ("pkg 1", "pkg 1 rigid")
    np.testing.assert_allclose(plain.poses[2], GRID.affine * int(still.volumes[2].max()))
    assert plain.ms.tolist() == [3.0, 5.0, 5.0, 5.0, 5.0]
    assert plain.cost() == "pkg 1 5 ms"


def test_other_packages_that_are_not_there_are_refused(tmp_path, monkeypatch, still):
    with pytest.raises(UsageError, match="no such interpreter"):
        OtherPackages(tmp_path / "python")
    others = fake_script(tmp_path, monkeypatch, "raise SystemExit('no module named rtspm')")
    with pytest.raises(UsageError, match="no module named rtspm"):
        others.estimate(still.volumes, GRID.affine, ("rtspm",))


def test_a_folder_without_the_real_run_is_refused(tmp_path):
    with pytest.raises(RecordingError, match="expected the folder of real recordings"):
        read_run(tmp_path)


def test_the_real_run_is_read_about_its_middle(shared_data):
    run = read_run(shared_data, 2)
    volumes, affine = run.volumes()
    assert volumes.shape == (2, 74, 74, 36)
    np.testing.assert_allclose(affine @ [36.5, 36.5, 17.5, 1], [0, 0, 0, 1], atol=1e-9)
    assert [int((run.labels.data == label).sum()) for label in (1, 2)] == [83, 106]
    assert run.files[0].content == (shared_data / RUN / "dicom" / run.files[0].name).read_bytes()


def test_regulation_is_seen_where_it_is():
    rng = np.random.default_rng(0)
    blocks = np.zeros(150)
    for first in range(11, 132, 20):
        blocks[first + 2 : first + 12] = 1.0
    means = 500 + rng.normal(0, 1, (155, 2))
    means[5:, 0] += 3 * blocks
    left, right = regulation(Passed(1.0, [SimpleNamespace(means=row) for row in means]))
    assert left.value > 10 > 3 > abs(right.value)
    assert "146 degrees" in left.note


def test_latencies_leave_out_the_volume_that_is_made_the_reference():
    passed = Passed(1.0, [], [9.0, 0.01, 0.02], [0.3, 0.1, 0.1])
    assert passed.latency_ms.tolist() == [10.0, 20.0]
    assert passed.first_against_rest == pytest.approx(3.0)


def test_the_compile_cache_is_fresh_and_put_back(monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "mine")
    with fresh_compile_cache():
        assert list(Path(os.environ["NUMBA_CACHE_DIR"]).iterdir()) == []
    assert os.environ["NUMBA_CACHE_DIR"] == "mine"
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    with fresh_compile_cache():
        assert "NUMBA_CACHE_DIR" in os.environ
    assert "NUMBA_CACHE_DIR" not in os.environ


def test_lengths_are_those_of_what_matrices_make_of_points():
    points = np.array([[3.0, 0.0], [0.0, 0.0], [0.0, 4.0], [1.0, 1.0]])
    matrices = np.stack([np.eye(4), np.zeros((4, 4))])
    assert root_mean_square(matrices, points).tolist() == [pytest.approx(np.sqrt(12.5)), 0.0]
    assert json.dumps(root_mean_square(matrices, points).tolist())
