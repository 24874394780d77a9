from __future__ import annotations

import hashlib
import io
import json
from functools import cache

import nibabel as nib
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import FormatError, IncompleteFile
from streamer.formats.dicom import NotAnImageVolume, read_slice, write_mosaic
from streamer.formats.dicom_assemble import Assembler, join_slices
from tests.unit.dicom_files import GRID, affine, data, slice_file

INTERLEAVED = (0.0, 1.2, 0.4, 1.6, 0.8)


@cache
def one(vendor, volume, z, seed=0):
    return read_slice(slice_file(vendor, volume, z, seed=seed), "slice.dcm")


def volume_of(vendor, volume):
    return join_slices([one(vendor, volume, z) for z in range(GRID[2])])


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(np.asarray(array)).astype("<i2").tobytes()).hexdigest()


def pieces(folder, pattern="*"):
    paths = [path for path in folder.glob(pattern) if path.suffix != ".txt"]
    return [read_slice(path.read_bytes(), path.name) for path in sorted(paths, key=lambda p: p.name[::-1])]


def assembled(slices):
    assembler = Assembler()
    volumes = [volume for volume in map(assembler.feed, slices) if volume is not None]
    assert assembler.incomplete() == ()
    return sorted(volumes, key=lambda v: v.index)


@pytest.mark.parametrize(
    ("number", "stored", "ras"),
    [
        (
            4,
            "88baeff15b2f473fa3a84f99db2b40b7a7be66b878019d6316fc2f194b9fdbdd",
            "aa88ff80036c0d0ef0ec3a3cdd93430daddaaaa1cd0fa69598295e1fd0282fe0",
        ),
        (
            7,
            "e52a5e84e77824b31ce780d34d8d681694369c7a58bb44d30e674be2b2ae3f72",
            "d694875ba943775271c761f462dd1369fd5d6e455086d60b09c21cd99206d80d",
        ),
    ],
)
def test_ge_slices_equal_their_nifti(shared_data, number, stored, ras):
    root = shared_data / "fmri/ge-golden"
    volumes = assembled(pieces(root / f"In/mr_000{number}", "*.dcm"))
    reference = nib.load(root / f"Ref/DCM2NIIX_regression_test_{number}.nii")
    facts = json.loads((root / f"Ref/DCM2NIIX_regression_test_{number}.json").read_text())
    voxels = np.stack([v.data for v in volumes], axis=-1)
    np.testing.assert_array_equal(voxels, np.asarray(reference.dataobj))
    assert digest(voxels) == stored
    assert digest(nib.as_closest_canonical(nib.Nifti1Image(voxels, volumes[0].affine)).dataobj) == ras
    np.testing.assert_allclose(volumes[0].affine, reference.affine, atol=1e-4)
    np.testing.assert_allclose(volumes[0].slice_times, facts["SliceTiming"], atol=1e-5)
    assert volumes[0].tr == facts["RepetitionTime"] == 5.0
    assert [v.index for v in volumes] == list(range(10))
    assert {v.onset for v in volumes} == {None}


def test_ge_layout_with_measured_times(shared_data):
    slices = pieces(shared_data / "fmri/vendor-layouts/GE_env/funcData/s1925")
    volumes = assembled(slices)
    voxels = np.stack([v.data for v in volumes], axis=-1)
    assert digest(voxels) == "2c35394712c2dde4f7dafa70c469a342d20e8937768803f54234fefb753cf1ea"
    canonical = nib.as_closest_canonical(nib.Nifti1Image(voxels, volumes[0].affine))
    assert digest(canonical.dataobj) == "63617e3dc35f9d1dd0dfa2d865f1d991c1f5b837da7a75b573d4f910942d44e5"
    # the protocol's order, held against the scanner's own timer, which the first volume lacks
    second = sorted((piece for piece in slices if piece.volume == 1), key=lambda piece: piece.place)
    timers = np.array([piece.timer for piece in second])
    np.testing.assert_allclose(volumes[0].slice_times, timers - timers.min(), atol=2e-4)


def test_philips_slices_equal_their_nifti(shared_data):
    root = shared_data / "fmri/philips-classic-golden"
    slices = pieces(root / "In")
    volumes = assembled(slices)
    stored = [join_slices([s for s in slices if s.volume == k], scaled=False) for k in range(3)]
    reference = nib.load(root / "Ref/EPI_asc_CLEAR_201.nii")
    voxels = np.stack([v.data for v in stored], axis=-1)
    np.testing.assert_array_equal(voxels, reference.dataobj.get_unscaled())
    assert digest(voxels) == "0d0daee7c6c3a4771e55be2305594c75a008fffcf98946158b38afbca35e6fda"
    np.testing.assert_allclose(volumes[0].affine, reference.affine, atol=1e-4)
    assert volumes[0].data.dtype == np.float32
    np.testing.assert_allclose(volumes[2].data, stored[2].data * 1.29035409035409, rtol=1e-6)
    assert [v.onset for v in volumes] == [32789.35, 32791.35, 32793.35]
    assert (volumes[0].tr, volumes[0].slice_times) == (2.0, ())


@pytest.mark.parametrize("vendor", ["GE", "Philips", "Siemens"])
def test_slices_make_the_volume_they_came_from(vendor):
    found = assembler_for(vendor)
    for z in (3, 0, 4, 1):
        assert found.feed(one(vendor, 2, z)) is None
    volume = found.feed(one(vendor, 2, 2))
    expected = data(2) * np.float32(1.5) - 2 if vendor == "Philips" else data(2)
    np.testing.assert_allclose(volume.data, expected)
    np.testing.assert_allclose(volume.affine, affine(), atol=1e-6)
    assert (volume.index, volume.tr) == (2, 2.0)
    times = {"GE": INTERLEAVED, "Philips": (), "Siemens": (0.0, 0.025, 0.05, 0.075, 0.1)}
    assert volume.slice_times == times[vendor]
    assert volume.onset == {"GE": None, "Philips": 36004.25, "Siemens": 36004.0}[vendor]


def assembler_for(vendor):
    return Assembler(GRID[2] if vendor == "Siemens" else None)


@given(
    st.sampled_from(["GE", "Philips"]),
    st.permutations([(volume, z) for volume in range(3) for z in range(GRID[2])]),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, GRID[2] - 1), st.integers(0, 30)), max_size=12),
)
@settings(deadline=None, max_examples=60)
def test_any_order_and_doubles_give_the_same_volumes(vendor, order, doubles):
    sequence = list(order)
    for volume, z, at in doubles:
        sequence.insert(at, (volume, z))
    assembler = Assembler()
    volumes = [v for volume, z in sequence if (v := assembler.feed(one(vendor, volume, z))) is not None]
    assert assembler.counts["duplicates"] == len(doubles)
    assert assembler.counts["contradictions"] == 0
    assert assembler.incomplete() == ()
    assert len(volumes) == 3
    for found in volumes:
        expected = volume_of(vendor, found.index)
        np.testing.assert_array_equal(found.data, expected.data)
        np.testing.assert_array_equal(found.affine, expected.affine)
        assert (found.slice_times, found.onset) == (expected.slice_times, expected.onset)


def test_what_is_missing_is_said_and_can_be_given_up():
    assembler = Assembler()
    for z in (0, 1, 4):
        assembler.feed(one("GE", 1, z))
    (missing,) = assembler.incomplete()
    assert (missing.volume, missing.n_slices, missing.expected) == (1, 3, 5)
    assert "volume 2 of series s4-" in str(missing)
    assert "3 of 5 slices" in str(missing)
    assembler.give_up(missing.series, missing.volume)
    assert assembler.incomplete() == ()
    assert assembler.feed(one("GE", 1, 2)) is None
    assert assembler.incomplete() == ()


def test_a_double_that_differs_is_counted():
    assembler = Assembler()
    assembler.feed(one("GE", 0, 0))
    assembler.feed(one("GE", 0, 0, seed=1))
    assert assembler.counts == {"duplicates": 1, "contradictions": 1}


def test_the_measured_times_of_ge_do_without_a_protocol():
    def timed(z, value):
        header = pydicom.dcmread(io.BytesIO(slice_file("GE", 3, z)))
        del header[0x0025, 0x101B]
        header[0x0021, 0x105E].value = value
        return read_slice(saved(header), "x.dcm")

    found = join_slices([timed(z, f"{6.1 + time:.6f}") for z, time in enumerate(INTERLEAVED)])
    np.testing.assert_allclose(found.slice_times, INTERLEAVED, atol=1e-6)
    assert found.onset == pytest.approx(36006.1)
    # in the first volume some of them are 0
    partly = join_slices([timed(z, f"{time:.6f}" if z > 2 else "0") for z, time in enumerate(INTERLEAVED)])
    assert (partly.slice_times, partly.onset) == ((), None)


def test_several_slices_at_a_time_leave_the_protocols_order_without_meaning():
    header = pydicom.dcmread(io.BytesIO(slice_file("GE", 0, 0)))
    header.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0xB6, "LO", ["2", "1", ""])
    assert read_slice(saved(header), "x.dcm").order == ""


@pytest.mark.parametrize(
    ("vendor", "changes", "kind"),
    [
        ("Siemens", {"ScanningSequence": ["GR"]}, "localiser"),
        ("Philips", {"ImageType": ["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"]}, "phase"),
        ("Philips", {"ImageType": ["ORIGINAL", "PRIMARY", "R_FFE", "R", "FFE"]}, "real part"),
        ("GE", {"ImageType": ["DERIVED", "PRIMARY"]}, "derived"),
        ("GE", {"EchoNumbers": 2}, "echo 2, expected echo 1"),
        ("GE", {"Manufacturer": "Somebody"}, "unknown vendor"),
    ],
)
def test_other_kinds_of_image_are_told_apart(vendor, changes, kind):
    with pytest.raises(NotAnImageVolume, match=kind):
        read_slice(slice_file(vendor, 0, 0, **changes), "other.dcm")


def test_a_ge_phase_image_is_told_by_its_own_field():
    header = pydicom.dcmread(io.BytesIO(slice_file("GE", 0, 0)))
    header.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x2F, "SS", 1)
    with pytest.raises(NotAnImageVolume, match="phase"):
        read_slice(saved(header), "phase.dcm")


def test_a_whole_volume_is_no_slice():
    raw = write_mosaic(
        np.ones((4, 4, 3), np.uint16), np.diag([-3.0, 3, 3, 1]), tr=1.0, slice_times=(), instance=1, series_number=3,
        series_uid="1.2.3", onset=0.0,
    )  # fmt: skip
    with pytest.raises(NotAnImageVolume, match="expected one slice"):
        read_slice(raw, "mosaic.dcm")


@pytest.mark.parametrize(
    ("vendor", "changes", "message"),
    [
        ("GE", {"RepetitionTime": "0"}, "repetition time"),
        ("GE", {"InstanceNumber": "0"}, "instance number"),
        ("Philips", {"TemporalPositionIdentifier": None}, "volume number None"),
        ("GE", {"PixelSpacing": ["0", "3"]}, "sizes above 0"),
        ("GE", {"NumberOfFrames": 2}, "announced"),
    ],
)
def test_impossible_headers_are_refused(vendor, changes, message):
    with pytest.raises(FormatError, match=message) as caught:
        read_slice(slice_file(vendor, 0, 0, **changes), "bad.dcm")
    assert str(caught.value).startswith("bad.dcm: ")


def test_slices_that_do_not_fit_together_are_refused():
    slices = [one("GE", 0, z) for z in range(4)]
    shifted = read_slice(slice_file("GE", 0, 4, ImagePositionPatient=[0, 0, 300]), "x.dcm")
    with pytest.raises(FormatError, match="evenly spaced"):
        join_slices([*slices, shifted])
    turned = read_slice(slice_file("GE", 0, 4, ImageOrientationPatient=[1, 0, 0, 0, 1, 0]), "x.dcm")
    with pytest.raises(FormatError, match="orientation"):
        join_slices([*slices, turned])
    with pytest.raises(FormatError, match="repetition time"):
        join_slices([*slices, read_slice(slice_file("GE", 0, 4, RepetitionTime="1000"), "x.dcm")])


@given(st.sampled_from(["GE", "Philips", "Siemens"]), st.data())
@settings(deadline=None)
def test_every_truncation_is_incomplete(vendor, drawn):
    raw = slice_file(vendor, 0, 0)
    length = drawn.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(IncompleteFile, match=r"^cut\.dcm: "):
        read_slice(raw[:length], "cut.dcm")


def test_no_name_leaves_the_reader():
    assert "Sentinel" not in repr(one("GE", 0, 0))


def saved(header):
    stream = io.BytesIO()
    header.save_as(stream)
    return stream.getvalue()
