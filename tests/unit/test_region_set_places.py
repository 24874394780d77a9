"""Regions from places and atlases: where they land, what is said of them, and their picture."""

from __future__ import annotations

import io
import socket

import numpy as np
import pytest
from matplotlib.image import imread

from streamer.errors import FormatError, UsageError
from streamer.formats.nifti import LabelImage, write_labels, write_nifti
from streamer.region_set.making import from_labels, from_places, read_atlas
from streamer.region_set.picture import colours, draw
from streamer.region_set.places import Place, parse_places, published_places, read_places, refuse_overlap
from streamer.region_set.target import single_target
from tests.unit.region_set_heads import move


def test_places_are_read(tmp_path):
    assert parse_places(["a=1,2,3", "b=4,5,6,7.5"], 5.0) == [
        Place("a", (1, 2, 3), 5.0, "command line"),
        Place("b", (4, 5, 6), 7.5, "command line"),
    ]
    table = tmp_path / "places.tsv"
    table.write_text("name\tx\ty\tz\tradius\nA\t-20\t0\t5\tn/a\nB\t1\t2\t3\t4\n")
    assert [(p.name, p.radius_mm) for p in read_places(table)] == [("A", 6.0), ("B", 4.0)]
    for wrong in ("a", "a=1,2", "a=x,2,3", "=1,2,3", "a=1,2,3,-4", "a=1,2,inf"):
        with pytest.raises(UsageError):
            parse_places([wrong])
    with pytest.raises(UsageError, match="twice"):
        parse_places(["a=1,2,3", "a=4,5,6"])
    table.write_text("name\tx\ty\nA\t-20\t0\n")
    with pytest.raises(FormatError, match="no column z"):
        read_places(table)


def test_spheres_beyond_a_centre_are_refused():
    refuse_overlap(parse_places(["a=0,0,0,6", "b=8,0,0,6"]))
    with pytest.raises(UsageError, match=r"a and b are 5\.0 mm apart"):
        refuse_overlap(parse_places(["a=0,0,0,6", "b=5,0,0,4"]))


def test_published_sets_need_no_network(monkeypatch):
    def nowhere(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(socket, "socket", nowhere)
    power, dosenbach, seitzman = (published_places(name) for name in ("power", "dosenbach", "seitzman"))
    assert [len(each) for each in (power, dosenbach, seitzman)] == [264, 160, 300]
    assert all(len({p.name for p in each}) == len(each) for each in (power, dosenbach, seitzman))
    assert power[0] == Place("power 1", (-25, -98, -12), 5.0, "power")
    assert {p.radius_mm for p in seitzman} == {4.0, 5.0}
    default = published_places("dosenbach", ["Default"])
    assert len(default) == 34
    assert published_places("dosenbach", labels=["acc 14"])[0].centre == (9, 39, 20)
    assert all(p.name.startswith("Visual") for p in published_places("seitzman", ["visual"]))
    with pytest.raises(UsageError, match=r"no network 'vision'.*occipital"):
        published_places("dosenbach", ["vision"])
    with pytest.raises(UsageError, match="has no networks"):
        published_places("power", ["default"])
    with pytest.raises(UsageError, match="no label"):
        published_places("power", labels=["power 265"])


def test_spheres_land_where_they_were_meant_to(scanned):
    target, to_mni = scanned
    to_epi = np.linalg.inv(to_mni)
    places = parse_places(["left=-40,-20,50,12", "right=40,-20,50,12", "back=0,-85,5,12"])
    made = from_places(places, to_epi, target, 0.5, all_needed=True)
    assert made.labels.names == ("left", "right", "back")
    for row, place in zip(made.rows, places, strict=True):
        np.testing.assert_allclose(row.centre, move(to_epi, np.array(place.centre)), atol=2.0)
        volume = row.voxels * abs(np.linalg.det(target.affine[:3, :3]))
        assert volume == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.15)
        assert row.coverage == 1.0
        assert np.isnan(row.tsnr)
    assert made.rows[0].centre[0] < made.rows[1].centre[0]


def test_centres_outside_of_the_head_are_named(scanned):
    target, to_mni = scanned
    places = parse_places(["in=0,-20,40", "out=90,0,0"])
    with pytest.raises(UsageError, match=r"1 of 2 centres.*out \(90, 0, 0\)"):
        from_places(places, np.linalg.inv(to_mni), target, 0.5, all_needed=True)
    made = from_places(places, np.linalg.inv(to_mni), target, 0.5, all_needed=False)
    assert made.labels.names == ("in",)
    assert "left out" in made.notes[0]


def test_regions_that_lie_out_of_view_are_dropped_with_words(scanned):
    target, to_mni = scanned
    # as if only the upper half had been scanned
    cut = target.affine.copy()
    cut[:3, 3] += 14 * cut[:3, 2]
    half = single_target("half", target.volume[:, :, 14:], cut)
    to_epi = np.linalg.inv(to_mni)
    edge = move(to_mni, np.array([0.0, -20, (cut @ [0, 0, 0, 1])[2] - 2.25 + 1.5]))
    places = [
        Place("low", tuple(edge - np.array([0, 0, 6])), 8, ""),
        Place("edge", tuple(edge), 8, ""),
        Place("top", tuple(edge + np.array([0, 0, 30])), 8, ""),
    ]
    made = from_places(places, to_epi, half, 0.5, all_needed=False)
    assert made.labels.names == ("edge", "top")
    assert 0.5 < made.rows[0].coverage < 0.75
    assert any("low: left out" in note for note in made.notes)
    assert any(note.startswith("edge: ") and "field of view" in note for note in made.notes)
    with pytest.raises(UsageError, match="no region is left"):
        from_places(places[:1], to_epi, half, 0.5, all_needed=False)


def test_an_atlas_goes_to_the_epi_nearest_neighbour(template, scanned, tmp_path):
    target, to_mni = scanned
    data = np.zeros(template.data.shape, np.int16)
    index = np.indices(data.shape).reshape(3, -1)
    world = (template.affine[:3, :3] @ index + template.affine[:3, 3:]).reshape(3, *data.shape)
    centres = ((-40, -20, 40), (40, -20, 40), (0, -80, 0))
    for k, centre in enumerate(centres, start=1):
        data[((world - np.array(centre)[:, None, None, None]) ** 2).sum(axis=0) < 12**2] = k
    names = ("left", "right", "back")
    write_labels(LabelImage(data, template.affine, names), tmp_path / "atlas.nii.gz", tmp_path / "atlas.tsv")
    atlas = read_atlas(tmp_path / "atlas.nii.gz", None)
    assert atlas.names == names
    made = from_labels(atlas, "atlas", np.linalg.inv(to_mni), target, 0.5)
    assert set(np.unique(made.labels.data)) == {0, 1, 2, 3}
    for row, centre in zip(made.rows, centres, strict=True):
        np.testing.assert_allclose(row.centre, move(np.linalg.inv(to_mni), np.array(centre)), atol=2.0)
        assert row.offset_mm < 2.0
    some = read_atlas(tmp_path / "atlas.nii.gz", None, ["Back", "left"])
    assert some.names == ("back", "left")
    assert (some.data == 1).sum() == (data == 3).sum()
    with pytest.raises(UsageError, match=r"no region 'front'.*left; right; back"):
        read_atlas(tmp_path / "atlas.nii.gz", None, ["front"])
    (tmp_path / "atlas.tsv").rename(tmp_path / "elsewhere.tsv")
    with pytest.raises(UsageError, match="3 labels without names"):
        read_atlas(tmp_path / "atlas.nii.gz", None)
    write_nifti(tmp_path / "mask.nii.gz", (data == 2).astype(np.int16), template.affine)
    assert read_atlas(tmp_path / "mask.nii.gz", None).names == ("mask",)


def test_dropout_is_said(scanned):
    target, to_mni = scanned
    made = from_places(
        parse_places(["nose=0,40,-15,7", "top=0,-20,55,7"]), np.linalg.inv(to_mni), target, 0.5, all_needed=True
    )
    assert made.rows[0].intensity < 0.5 < made.rows[1].intensity
    assert any("nose: signal dropout" in note for note in made.notes)


def test_the_picture_shows_left_at_the_left():
    volume = np.full((30, 34, 20), 100, np.float32)
    # stored from right to left
    affine = np.diag([-4.0, 4, 5, 1])
    affine[:3, 3] = (58, -66, -50)
    labels = np.zeros(volume.shape, np.int16)
    labels[24:28, 10:14, 8:12] = 1  # left, x < 0
    pixels = imread(io.BytesIO(draw(volume, labels, affine, ["left one"])))[..., :3]
    colour = np.array([int(colours(1)[0][k : k + 2], 16) for k in (1, 3, 5)]) / 255
    blend = 0.35 * 0.8 + 0.65 * colour
    hits = np.argwhere(np.abs(pixels - blend).max(axis=2) < 0.02)
    grey = np.argwhere(np.abs(pixels - 0.8).max(axis=2) < 0.02)
    # the lower left panel is the axial slice through the region
    width, height = pixels.shape[1] / 6, pixels.shape[0] / 2
    panel = hits[(hits[:, 1] < width) & (hits[:, 0] > height)]
    whole = grey[(grey[:, 1] < width) & (grey[:, 0] > height)]
    assert len(panel) > 50
    assert panel[:, 1].max() < (whole[:, 1].min() + whole[:, 1].max()) / 2


def test_many_regions_make_a_picture_with_a_legend():
    volume = np.full((20, 20, 12), 100, np.float32)
    labels = np.arange(volume.size).reshape(volume.shape) % 41
    png = draw(volume, labels, np.diag([8.0, 8, 8, 1]), [f"region {k}" for k in range(40)])
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(set(colours(300))) == 300
