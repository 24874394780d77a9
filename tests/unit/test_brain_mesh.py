"""Surfaces with known answers."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from dashboard.figures.brain_mesh import (
    BELOW_MM,
    MOST_FACES,
    Mesh,
    blobs,
    fitted,
    head_level,
    head_surface,
    joined,
    surface,
)
from tests.unit.looked_at_heads import ACTIVE, CENTRE, LAS, QUIET, RADII, head, oblique, places


def volume(mesh: Mesh) -> float:
    """Signed volume that closed triangles enclose, by the divergence theorem; positive when they face outwards."""
    a, b, c = (mesh.vertices[mesh.faces[:, i]].astype(float) for i in range(3))
    return float(np.sum(a * np.cross(b, c)) / 6)


def open_edges(mesh: Mesh) -> int:
    """Edges that are not run along once in each direction."""
    count = Counter()
    for i, j in ((0, 1), (1, 2), (2, 0)):
        count.update(zip(mesh.faces[:, i].tolist(), mesh.faces[:, j].tolist(), strict=True))
    return sum(abs(n - count[b, a]) for (a, b), n in count.items())


def ball(radius=40.0, affine=LAS):
    mm = places(affine=affine)
    return radius - np.linalg.norm(mm - CENTRE, axis=-1)


@pytest.mark.parametrize("affine", [LAS, oblique(), LAS @ np.diag([-1, 1, 1, 1])], ids=["LAS", "oblique", "RAS"])
def test_a_ball_is_round_closed_and_faces_outwards(affine):
    affine = affine.copy()
    centre_voxel = np.array([32, 32, 20])
    mm = places(affine=affine)
    centre = mm[tuple(centre_voxel)]
    mesh = surface(40.0 - np.linalg.norm(mm - centre, axis=-1), affine, 0.0)
    far = np.linalg.norm(mesh.vertices - centre, axis=1)
    assert far.min() > 39.0
    assert far.max() < 40.5
    assert volume(mesh) == pytest.approx(4 / 3 * np.pi * 40**3, rel=0.02)
    assert open_edges(mesh) == 0
    outwards = np.sum(mesh.normals * (mesh.vertices - centre) / far[:, None], axis=1)
    assert outwards.min() > 0.95


def test_nothing_gives_an_empty_mesh():
    for field in (np.zeros((4, 4, 4)), np.zeros((1, 4, 4)), np.ones((4, 4, 4))):
        assert surface(field, np.eye(4), 0.5).empty
    values = head().images["mean"].values()
    assert head_surface(np.full_like(values, np.nan), LAS).empty
    assert head_surface(np.zeros_like(values), LAS).empty


def test_otsu_parts_air_from_head():
    rng = np.random.default_rng(0)
    air, tissue = np.abs(rng.normal(0, 0.02, 5000)), rng.normal(0.6, 0.08, 3000)
    level = head_level(np.concatenate([air, tissue, [np.nan]]))
    assert np.mean(air < level) > 0.999
    assert np.mean(tissue > level) > 0.999


@pytest.mark.parametrize("affine", [LAS, oblique()], ids=["LAS", "oblique"])
def test_a_head_is_found_where_it_lies(affine):
    message = head(affine=affine)
    mesh = head_surface(message.images["mean"].values(), message.affine)
    assert 5000 < len(mesh.faces) <= MOST_FACES
    assert open_edges(mesh) == 0
    share = np.linalg.norm((mesh.vertices - CENTRE) / RADII, axis=1)
    assert np.percentile(share, [2, 98]) == pytest.approx([1.0, 1.0], abs=0.06)
    # to within half a voxel, which at the edge is partly head
    assert volume(mesh) == pytest.approx(4 / 3 * np.pi * np.prod(RADII), rel=0.13)


def test_a_head_has_no_holes_no_specks_and_few_faces():
    message = head()
    values = message.images["mean"].values()
    mm = places()
    values[np.linalg.norm(mm - CENTRE, axis=-1) < 25] = 0.0
    values[2:5, 2:5, 2:5] = 0.9
    mesh = head_surface(values, LAS, most_faces=3000)
    assert 1000 < len(mesh.faces) <= 3000
    assert np.linalg.norm((mesh.vertices - CENTRE) / RADII, axis=1).min() > 0.85
    assert np.linalg.norm((mesh.vertices - CENTRE) / RADII, axis=1).max() < 1.15


def test_a_head_that_is_cut_off_is_closed():
    values = head().images["mean"].values()[:, :, 12:]
    affine = LAS.copy()
    affine[:3, 3] += 12 * LAS[:3, 2]
    mesh = head_surface(values, affine)
    assert open_edges(mesh) == 0
    assert mesh.vertices[:, 2].min() == pytest.approx(affine[2, 3], abs=5)


def test_blobs_lie_at_their_places_with_their_signs():
    message = head()
    found = blobs(message.images["change"].values(), message.affine, 0.8)
    assert found.coarse == 1
    hot = found.mesh.vertices[found.strongest > 0]
    cold = found.mesh.vertices[found.strongest < 0]
    assert hot.mean(axis=0) == pytest.approx(ACTIVE, abs=2)
    assert cold.mean(axis=0) == pytest.approx(QUIET, abs=2)
    # where the map falls to the threshold: sigma * sqrt(2 ln(peak / threshold))
    expected = 9.0 * np.sqrt(2 * np.log(2.5 / 0.8))
    inside = ACTIVE[0] + expected < CENTRE[0] + RADII[0]
    assert inside
    assert np.median(np.linalg.norm(hot - ACTIVE, axis=1)) == pytest.approx(expected, abs=1.5)
    # the surface is at the threshold; what lies below is stronger
    values = message.images["change"].values()
    assert np.median(found.strongest[found.strongest > 0]) > 1.5
    assert found.strongest.max() <= np.nanmax(values) + 1e-6
    assert expected > BELOW_MM


def test_blobs_at_the_edge_of_the_volume_are_closed():
    values = np.zeros((6, 6, 6), np.float32)
    values[0, :3, 5] = 2.0
    values[5, 5, 0] = np.nan
    found = blobs(values, np.diag([3.0, 3, 3, 1]), 1.0)
    assert open_edges(found.mesh) == 0
    assert volume(found.mesh) > 0
    assert blobs(np.zeros((6, 6, 6)), np.eye(4), 1.0).mesh.empty


def test_too_much_is_drawn_more_coarsely_and_stays_in_place():
    message = head()
    values = message.images["change"].values()
    fine = blobs(values, message.affine, 0.1)
    coarse = blobs(values, message.affine, 0.1, most_faces=len(fine.mesh.faces) - 1)
    assert coarse.coarse == 2 * fine.coarse
    assert len(coarse.mesh.faces) < len(fine.mesh.faces)
    strong = blobs(values, message.affine, 1.0, most_faces=300)
    assert strong.coarse > 1
    assert strong.mesh.vertices[strong.strongest > 0].mean(axis=0) == pytest.approx(ACTIVE, abs=3)


def test_joined_and_fitted():
    one = surface(ball(20.0), LAS, 0.0)
    two = Mesh.of(one.vertices + 100, one.faces)
    both = joined([one, two])
    assert len(both.faces) == 2 * len(one.faces)
    assert volume(both) == pytest.approx(2 * volume(one), rel=1e-4)
    other = surface(ball(55.0), LAS, 0.0)
    made = fitted(two, other)
    assert made.vertices.min(axis=0) == pytest.approx(other.vertices.min(axis=0), abs=1e-3)
    assert made.vertices.max(axis=0) == pytest.approx(other.vertices.max(axis=0), abs=1e-3)
    assert np.array_equal(made.faces, two.faces)


def test_the_template_that_nilearn_ships():
    pytest.importorskip("nilearn")
    from dashboard.figures.brain_mesh import template_surface

    mesh = template_surface()
    assert mesh.faces.shape == (40_960, 3)
    # a brain in MNI space: mm, left and right alike, facing outwards
    assert mesh.vertices.min(axis=0) == pytest.approx([-70, -105, -50], abs=12)
    assert mesh.vertices.max(axis=0) == pytest.approx([70, 70, 80], abs=12)
    assert volume(mesh) > 8e5


def test_a_real_head(shared_data):
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.load(shared_data / "fmri/siemens-mosaic-golden/Ref/2_ep2d_Asc.nii")
    mean = np.asarray(image.dataobj, np.float32).mean(axis=3)
    mesh = head_surface(mean / mean.max(), image.affine)
    # of an EPI the brain is what is bright: 1.0 to 2.2 litres, in about 130 x 170 x 130 mm
    assert 1.0e6 < volume(mesh) < 2.2e6
    size = mesh.vertices.max(axis=0) - mesh.vertices.min(axis=0)
    assert np.all(size > [110, 140, 90])
    assert np.all(size < [180, 220, 160])
