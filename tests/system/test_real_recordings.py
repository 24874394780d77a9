"""Real DICOM files and a real EEG recording through the rig and the loop: every volume, every sample."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import pyxdf
from scipy.signal import resample_poly

from streamer.child import child
from streamer.clock import pause
from streamer.config import BoldSection, Config, EegSection, ModelSection, OutputSection, SessionSection
from streamer.formats.brainvision import FileMarker, write_brainvision
from streamer.formats.nifti import write_nifti
from streamer.messages import ChannelInfo
from tests.system.conftest import write_config

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

SFREQ = 5000.0
TR_S = 1.97
N_VOLUMES = 155
FIRST_TRIGGER_S = 1.0
RESOLUTION_V = 0.5e-6
SPEED = 8


def real_eeg(path: Path, seconds: float) -> tuple[tuple[str, ...], Iterator[np.ndarray]]:
    """A recorded EEG resampled to the amplifier's rate, repeated to ``seconds``: names, and int16 blocks."""
    streams, _ = pyxdf.load_xdf(path, dejitter_timestamps=False, synchronize_clocks=False)
    stream = next(s for s in streams if s["info"]["type"][0] == "EEG")
    channels = stream["info"]["desc"][0]["channels"][0]["channel"]
    microvolts = np.asarray(stream["time_series"], float)
    microvolts -= microvolts.mean(axis=0)
    ratio = Fraction(SFREQ / float(stream["info"]["nominal_srate"][0])).limit_denominator(1000)
    fast = resample_poly(microvolts, ratio.numerator, ratio.denominator, axis=0)
    stored = np.clip(np.round(fast * 1e-6 / RESOLUTION_V), -32768, 32767).astype("<i2")
    n = round(seconds * SFREQ)
    repeats = -(-n // len(stored))
    return tuple(c["label"][0] for c in channels), iter([np.tile(stored, (repeats, 1))[:n]])


@pytest.fixture
def paired(shared_data: Path, tmp_path: Path) -> Path:
    """A recording.toml that pairs the real EEG with the real volumes."""
    volumes = shared_data / "fmri" / "siemens-mosaic-neurofeedback"
    dicom = next(p.parent for p in sorted(volumes.rglob("*.dcm")))
    names, blocks = real_eeg(
        next((shared_data / "eeg" / "bci-essentials").rglob("*switch*.xdf")), FIRST_TRIGGER_S + N_VOLUMES * TR_S + 4.0
    )
    triggers = [FileMarker("Response", "R128", round((FIRST_TRIGGER_S + k * TR_S) * SFREQ)) for k in range(N_VOLUMES)]
    channels = [ChannelInfo(name, "eeg") for name in names]
    write_brainvision(tmp_path / "eeg.vhdr", SFREQ, channels, blocks, triggers, RESOLUTION_V)
    masks = sorted(p for p in volumes.rglob("*.nii*"))
    images = [nib.load(p) for p in masks[:2]]
    labels = np.zeros(images[0].shape[:3], np.int16)
    for number, image in enumerate(images, start=1):
        labels[np.asarray(image.dataobj).reshape(labels.shape) > 0] = number
    write_nifti(tmp_path / "regions.nii.gz", labels, images[0].affine)
    (tmp_path / "regions.tsv").write_text("index\tname\n1\tleft\n2\tright\n")
    (tmp_path / "recording.toml").write_text(
        'schema = 1\nkind = "recording"\n[eeg]\nfile = "eeg.vhdr"\n'
        f'[bold]\ndirectory = "{os.path.relpath(dicom, tmp_path)}"\ntrigger = "R128"\n'
        '[regions]\nlabels = "regions.nii.gz"\nnames = "regions.tsv"\n'
    )
    return tmp_path


def test_every_real_volume_and_every_real_sample_goes_through(paired: Path):
    stream = f"real-{uuid.uuid4().hex[:8]}"
    export = paired / "export"
    export.mkdir()
    config = Config(
        session=SessionSection(name="real", directory=paired / "sessions"),
        eeg=EegSection.of_rig(stream),
        bold=BoldSection(directory=export, regions=paired / "regions.nii.gz", region_names=paired / "regions.tsv"),
        model=ModelSection(card="none"),
        output=OutputSection(clean_eeg_stream=False),
    )
    toml = write_config(config, paired / "SESSION.toml")
    with (
        child("run", str(toml), "--json") as run,
        child(
            "rig", str(paired / "recording.toml"), "--export", str(export), "--stream-name", stream,
            "--speed", str(SPEED), "--json",
        ) as rig,
    ):  # fmt: skip
        run.wait_for(lambda m: m.get("event") == "running", 60)
        sent = rig.wait_for(lambda m: m.get("state") == "done", 240)
        pause(2.0)
        run.process.send_signal(signal.SIGTERM)
        summary = run.wait_for(lambda m: m.get("event") == "summary", 60)
        run.process.wait(60)
    counts = summary["counts"]
    assert sent["volumes"] == counts["volumes"] == counts["bold_frames"] == N_VOLUMES
    assert sent["samples"] == counts["samples"]
    assert sent["markers"] == counts["markers"] == N_VOLUMES
    assert not any(summary["losses"].values()), summary["losses"]
    folder = paired / "sessions" / "real"
    regions = np.genfromtxt(folder / "bold_regions.tsv", names=True, missing_values="n/a", filling_values=np.nan)
    confounds = np.genfromtxt(folder / "confounds.tsv", names=True)
    assert len(regions) == len(confounds) == N_VOLUMES
    np.testing.assert_array_equal(regions["index"], np.arange(N_VOLUMES))
    np.testing.assert_allclose(np.diff(regions["acquired"]), TR_S, atol=1e-4)
    # until the baseline of the first 20 s is there, no region has a value
    assert np.isfinite(regions["left"][15:]).all()
    assert 0.1 < np.abs(regions["left"][15:]).max() < 20
    assert np.isfinite(confounds["framewise_displacement"]).all()
    # the head moved by half a millimetre at most: see the data's own registration
    assert 0.05 < np.abs(confounds["trans_z"]).max() < 1.0
