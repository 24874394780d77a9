"""Region sets on disk: what is written, and that only what was approved is used."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from streamer.errors import FormatError, UsageError
from streamer.formats.nifti import read_labels, write_nifti
from streamer.formats.region_files import (
    FACTS,
    LABELS,
    REFERENCE,
    REPORT,
    SHOWN,
    TABLE,
    approve,
    approved,
    read_region_facts,
    read_region_rows,
)
from streamer.region_set.request import Request, make_set
from streamer.region_set.space import SpaceOptions
from tests.unit.region_set_heads import SHAPE, quiet


@pytest.fixture
def made_set(scanned, tmp_path):
    target, to_mni = scanned
    write_nifti(tmp_path / "sbref.nii.gz", target.volume, target.affine)
    np.savetxt(tmp_path / "chain.txt", np.linalg.inv(to_mni))
    request = Request(
        epi=tmp_path / "sbref.nii.gz",
        spheres=("left=-40,-20,50,8", "right=40,-20,50,8"),
        space=SpaceOptions("mni", mni_to_epi=tmp_path / "chain.txt"),
    )
    make_set(request, tmp_path / "set", quiet)
    return tmp_path / "set", request


def test_a_set_is_written_whole(made_set):
    folder, _ = made_set
    assert {p.name for p in folder.iterdir()} == {LABELS, TABLE, REFERENCE, FACTS, SHOWN, REPORT}
    image = read_labels(folder / LABELS, folder / TABLE)
    assert image.names == ("left", "right")
    rows = read_region_rows(folder)
    assert [row.voxels for row in rows] == [(image.data == k).sum() for k in (1, 2)]
    facts = json.loads((folder / FACTS).read_text())
    assert facts["approved"] is False
    assert facts["approved_by"] is None
    assert facts["grid"]["shape"] == list(SHAPE)
    assert facts["transforms"][0]["name"] == "mni-to-epi"
    assert facts["how"]["spheres"] == ["left=-40,-20,50,8", "right=40,-20,50,8"]
    html = (folder / REPORT).read_text()
    assert "data:image/png;base64," in html
    assert "http" not in html
    assert "<script" not in html
    assert str(folder.parent) not in (folder / FACTS).read_text()


def test_a_set_is_used_only_when_it_is_approved_and_unchanged(made_set):
    folder, request = made_set
    labels = folder / LABELS
    assert "streamer regions approve" in approved(labels)
    with pytest.raises(UsageError, match="label"):
        approve(folder, "  ")
    facts = approve(folder, "operator 2")
    assert facts.approved_by == "operator 2"
    assert approved(labels) is None
    # the names count as well: they say which region is which
    table = (folder / TABLE).read_text()
    (folder / TABLE).write_text(table.replace("left", "other"))
    assert "regions.tsv has changed" in approved(labels)
    (folder / TABLE).write_text(table)
    assert approved(labels) is None
    image = nib.load(labels)
    data = np.asarray(image.dataobj).astype(np.int16)[::-1]
    write_nifti(labels, data, image.affine)
    assert "regions.nii.gz has changed" in approved(labels)
    with pytest.raises(UsageError, match="make it anew"):
        approve(folder, "operator 2")
    # making it anew takes the approval away
    with pytest.raises(UsageError, match="operator 2 approved"):
        make_set(request, folder, quiet)
    make_set(request, folder, quiet, replace=True)
    assert "not approved" in approved(labels)


def test_an_approval_cannot_be_written_by_hand(made_set):
    folder, _ = made_set
    facts = json.loads((folder / FACTS).read_text())
    (folder / FACTS).write_text(json.dumps({**facts, "approved": True, "approved_by": "me"}))
    assert "has changed" in approved(folder / LABELS)
    (folder / FACTS).write_text("{}")
    with pytest.raises(FormatError, match="not that of a region set"):
        approved(folder / LABELS)


def test_labels_from_elsewhere_are_the_operators_business(tmp_path):
    write_nifti(tmp_path / LABELS, np.ones((4, 4, 4), np.int16), np.eye(4))
    assert approved(tmp_path / LABELS) is None
    assert approved(tmp_path / "other.nii.gz") is None
    with pytest.raises(FormatError, match=r"no regions\.json"):
        read_region_facts(tmp_path)


def test_requests_that_contradict_themselves(tmp_path, made_set):
    folder, request = made_set
    nothing = tmp_path / "new"

    def refused(words, **changes):
        with pytest.raises(UsageError, match=words):
            make_set(Request(**{"epi": request.epi, **changes}), nothing, quiet)
        assert not nothing.exists()

    refused("nothing to make regions from")
    refused("expected one of", spheres=("a=0,0,0",), published="power")
    refused("no EPI", epi=None, published="power")
    refused("contrast", localiser=folder)
    refused("--network", spheres=("a=0,0,0",), networks=("x",))
    refused("MNI space", published="power", space=SpaceOptions("epi"))
    refused("--space t1", spheres=("a=0,0,0",), space=SpaceOptions("t1"))
    refused("whole way", spheres=("a=0,0,0",), space=SpaceOptions("t1", mni_to_epi=folder))
    refused("go together", spheres=("a=0,0,0",), space=SpaceOptions("mni", mni_to_t1=folder))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    with pytest.raises(UsageError, match="nothing is overwritten"):
        make_set(request, tmp_path / "full", quiet)
