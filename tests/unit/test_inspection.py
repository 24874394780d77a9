from pathlib import Path

import numpy as np
import pytest

import replay_data
from streamer.errors import RecordingError
from streamer.formats.brainvision import FileMarker, write_brainvision
from streamer.inspection import inspect_path
from streamer.messages import ChannelInfo

SHIPPED = Path(replay_data.__file__).parent / "short" / "task"


def test_the_recording_that_ships_is_described_without_problems():
    eeg, markers, bold = (part.plain() for part in inspect_path(SHIPPED / "recording.toml"))
    assert eeg == {
        "kind": "eeg", "format": "BrainVision", "n_channels": 32, "sfreq": 500.0, "n_samples": 14500, "problems": [],
    }  # fmt: skip
    assert markers["labels"] == {"R128": 24, "Sync On": 15}
    assert bold["grid"] == (24, 24, 16)
    assert bold["tr"] == 1.0
    assert bold["n_volumes"] == 24
    assert len(bold["slice_times"]) == 16
    assert bold["problems"] == []


def test_too_few_triggers_and_volumes_beyond_the_eeg_are_said(tmp_path: Path):
    blocks = iter([np.zeros((1000, 1), np.int16)])
    markers = [FileMarker("Response", "R128", 10), FileMarker("Response", "R128", 900)]
    write_brainvision(tmp_path / "e.vhdr", 100.0, [ChannelInfo("Cz", "eeg")], blocks, markers, 1e-6)
    (tmp_path / "dicom").symlink_to(SHIPPED / "dicom")
    (tmp_path / "recording.toml").write_text(
        'schema = 1\nkind = "recording"\n[eeg]\nfile = "e.vhdr"\n[bold]\ndirectory = "dicom"\n'
    )
    _, _, bold = inspect_path(tmp_path / "recording.toml")
    assert "2 markers R128 for 24 volumes" in bold.problems
    assert "the volumes reach beyond the EEG" in bold.problems


def test_real_volumes_are_described_as_their_own_notes_say(shared_data: Path):
    folder = next(p.parent for p in sorted((shared_data / "fmri/siemens-mosaic-neurofeedback").rglob("*.dcm")))
    (bold,) = inspect_path(folder)
    assert bold.grid == (74, 74, 36)
    assert bold.tr == 1.97
    assert bold.n_volumes == 155
    assert bold.problems == []


def test_what_is_no_recording_is_refused(tmp_path: Path):
    with pytest.raises(RecordingError):
        inspect_path(tmp_path)
