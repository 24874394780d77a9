"""Files that the rig drops, read back by the reader of the loop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamer.acquire.recorded_bold import BoldPart
from streamer.acquire.recording import Recording
from streamer.acquire.recordings import open_recording
from streamer.errors import RecordingError, SourceError, UsageError
from streamer.formats.dicom import NotAnImageVolume, read_dicom
from streamer.formats.nifti import write_nifti
from streamer.rig.actions import (
    MakeDirectory,
    RemoveDirectory,
    RenameVolume,
    RepeatVolume,
    StartSeries,
    WriteForeign,
    WriteVolume,
)
from streamer.rig.exporter import Exporter

LAS = np.diag([-3.0, 3.0, 4.0, 1.0])


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    """Six volumes of a NIfTI, left-handed as scanners' are."""
    data = np.random.default_rng(2).integers(0, 3000, (10, 12, 6, 6)).astype(np.int16)
    write_nifti(tmp_path / "bold.nii.gz", data, LAS, 1.0)
    return open_recording(tmp_path / "bold.nii.gz")


def bold_of(recording: Recording) -> BoldPart:
    assert recording.bold is not None
    return recording.bold


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_volume_comes_whole_in_parts_or_under_a_temporary_name(recording: Recording, tmp_path: Path):
    out = tmp_path / "out"
    exporter = Exporter(recording, out)
    assert exporter.perform(WriteVolume(0, 0, 1))
    assert not exporter.perform(WriteVolume(1, 0, 2))
    half = (out / "001_000003_000002.dcm").stat().st_size
    assert exporter.perform(WriteVolume(1, 1, 2))
    assert not exporter.perform(WriteVolume(2, 0, 1, ".tmp"))
    assert names(out)[-1] == "001_000003_000003.dcm.tmp"
    assert exporter.perform(RenameVolume(2, ".tmp"))
    assert names(out) == [f"001_000003_00000{k}.dcm" for k in (1, 2, 3)]
    for k, path in enumerate(sorted(out.iterdir())):
        volume = read_dicom(path.read_bytes(), path.name)
        assert volume.index == k
        np.testing.assert_array_equal(volume.data, bold_of(recording).volume(k).data)
        np.testing.assert_allclose(volume.affine, LAS, atol=1e-6)
        assert 2 * half == pytest.approx(path.stat().st_size, abs=2)
    onsets = [read_dicom(path.read_bytes(), path.name).onset for path in sorted(out.iterdir())]
    np.testing.assert_allclose(np.diff(np.array(onsets, float)), 1.0)


def test_a_file_of_its_own_is_copied_byte_by_byte_until_the_scan_is_started_anew(recording: Recording, tmp_path: Path):
    first, second = tmp_path / "first", tmp_path / "second"
    exporter = Exporter(recording, first)
    for k in range(6):
        exporter.perform(WriteVolume(k, 0, 1))
    exported = open_recording(first)
    again = Exporter(exported, second)
    for k in range(4):
        again.perform(WriteVolume(k, 0, 1))
    assert names(second) == names(first)[:4]
    assert all((second / name).read_bytes() == (first / name).read_bytes() for name in names(second))
    again.perform(StartSeries(4))
    again.perform(WriteVolume(4, 0, 1))
    again.perform(WriteVolume(5, 0, 1))
    restarted = [read_dicom((second / name).read_bytes(), name) for name in names(second)[4:]]
    assert [volume.index for volume in restarted] == [0, 1]
    assert {volume.series.split("-")[0] for volume in restarted} == {"s5"}
    for volume, k in zip(restarted, (4, 5), strict=True):
        np.testing.assert_array_equal(volume.data, bold_of(exported).volume(k).data)
        assert volume.onset == bold_of(exported).volume(k).onset


def test_what_is_no_volume_of_the_series(recording: Recording, tmp_path: Path):
    out = tmp_path / "out"
    exporter = Exporter(recording, out)
    exporter.perform(WriteVolume(0, 0, 1))
    exporter.perform(RepeatVolume(0, over=True))
    exporter.perform(RepeatVolume(0, over=False))
    for what in ("moco", "text", "hidden"):
        exporter.perform(WriteForeign(0, what))
    assert names(out) == [
        "._001_000003_000001.dcm",
        "001_000003_000001.dcm",
        "001_000004_000001.dcm",
        "copy_001_000003_000001.dcm",
        "remark-1.txt",
    ]
    assert (out / "copy_001_000003_000001.dcm").read_bytes() == (out / "001_000003_000001.dcm").read_bytes()
    with pytest.raises(NotAnImageVolume, match="motion-corrected"):
        read_dicom((out / "001_000004_000001.dcm").read_bytes(), "moco")


def test_a_directory_is_removed_with_what_the_rig_wrote_and_nothing_else(recording: Recording, tmp_path: Path):
    out = tmp_path / "out"
    exporter = Exporter(recording, out, remove=True)
    exporter.perform(WriteVolume(0, 0, 1))
    exporter.perform(RemoveDirectory())
    assert not out.exists()
    with pytest.raises(SourceError, match="the export cannot go on"):
        exporter.perform(WriteVolume(1, 0, 1))
    exporter.perform(MakeDirectory())
    exporter.perform(WriteVolume(1, 0, 1))
    (out / "somebody's").write_text("precious")
    with pytest.raises(SourceError, match="not empty"):
        exporter.perform(RemoveDirectory())
    assert (out / "somebody's").read_text() == "precious"
    with pytest.raises(UsageError, match="nothing is overwritten or removed"):
        Exporter(recording, out, remove=True)


def test_what_cannot_be_exported_is_said(recording: Recording, tmp_path: Path):
    bold = bold_of(recording)
    sheared = LAS.copy()
    sheared[0, 1] = 2.0
    wrong = replace(bold, read=lambda k: replace(bold.volume(k), affine=sheared))
    exporter = Exporter(Recording("r", None, wrong), tmp_path / "out")
    with pytest.raises(RecordingError, match="volume 1 cannot be written as a mosaic: the affine's axes"):
        exporter.perform(WriteVolume(0, 0, 1))
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file: expected a directory"):
        Exporter(recording, tmp_path / "file")
    with pytest.raises(UsageError, match="no volumes to export"):
        Exporter(Recording("r"), tmp_path / "out2")


def test_volumes_of_other_scanners_are_written_as_mosaics(shared_data: Path, tmp_path: Path):
    recording = open_recording(shared_data / "fmri" / "ge-golden" / "In" / "mr_0004")
    exporter = Exporter(recording, tmp_path)
    assert exporter.perform(WriteVolume(0, 0, 1))
    (path,) = tmp_path.iterdir()
    volume, truth = read_dicom(path.read_bytes(), path.name), bold_of(recording).volume(0)
    corner = np.array([0, 0, 0, 1.0])
    turned = np.linalg.det(truth.affine[:3, :3]) > 0
    np.testing.assert_array_equal(volume.data, truth.data[::-1] if turned else truth.data)
    other = np.array([truth.data.shape[0] - 1, 0, 0, 1.0]) if turned else corner
    np.testing.assert_allclose(volume.affine @ corner, truth.affine @ other, atol=1e-3)
    np.testing.assert_allclose(volume.slice_times, truth.slice_times, atol=1e-4)
