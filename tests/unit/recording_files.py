"""Small recordings of every kind, whole and damaged, written with the public writers."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np

from streamer.errors import ConfigError, FormatError, RecordingError
from streamer.formats.brainvision import FileMarker, write_brainvision
from streamer.formats.nifti import write_nifti
from streamer.formats.xdf import XdfChannel, XdfWriter
from streamer.messages import (
    BoldFrame,
    ChannelInfo,
    EegChunk,
    Event,
    Flag,
    Marker,
    ScannerTime,
    SessionHeader,
    SessionTime,
    Volume,
)
from streamer.runlog import LOG, RunLogWriter

AFFINE = np.array([[-3.0, 0, 0, 10], [0, 3, 0, -10], [0, 0, 4, -8], [0, 0, 0, 1]])
CHANNELS = (ChannelInfo("Cz", "eeg"), ChannelInfo("ECG", "ecg"))
SFREQ = 250.0
TR = 0.5


def write_eeg(vhdr: Path, seconds: float = 4.0, triggers: tuple[float, ...] = (1.0, 1.5, 2.0)) -> Path:
    """EEG whose stored values count up, with triggers R128 at these times."""
    n = round(seconds * SFREQ)
    markers = [FileMarker("Response", "R128", round(at * SFREQ)) for at in triggers]
    write_brainvision(vhdr, SFREQ, CHANNELS, [np.arange(2 * n, dtype=np.int16).reshape(n, 2)], markers)
    return vhdr


def write_bold(path: Path, n_volumes: int = 3, tr: float = TR) -> Path:
    data = np.arange(8 * 8 * 4 * n_volumes, dtype=np.int16).reshape(8, 8, 4, n_volumes)
    write_nifti(path, data, AFFINE, tr)
    return path


def write_toml(folder: Path, bold: str = "", rest: str = "") -> Path:
    path = folder / "recording.toml"
    path.write_text(
        'schema = 1\nkind = "recording"\n[eeg]\nfile = "eeg.vhdr"\n[bold]\nfile = "bold.nii.gz"\n' + bold + "\n" + rest
    )
    return path


def pair(folder: Path, bold: str = "", triggers: tuple[float, ...] = (1.0, 1.5, 2.0), n_volumes: int = 3) -> Path:
    """An EEG of 4 s and volumes half a second apart."""
    write_eeg(folder / "eeg.vhdr", triggers=triggers)
    write_bold(folder / "bold.nii.gz", n_volumes)
    return write_toml(folder, bold)


def write_xdf(path: Path, seconds: int = 20) -> Path:
    with XdfWriter(path) as writer:
        channels = [XdfChannel("Cz", "microvolts", "EEG"), XdfChannel("ECG", "microvolts", "ECG")]
        eeg = writer.add_stream("amp", "EEG", channels, SFREQ, "float32")
        markers = writer.add_stream("pulses", "Markers", [XdfChannel("marker")], 0.0, "string")
        writer.clock_offset(eeg, 100.0, 0.25)
        writer.clock_offset(markers, 100.0, 0.25)
        for second in range(seconds):
            stamps = 100.0 + second + np.arange(250) / SFREQ
            writer.samples(eeg, stamps, np.full((250, 2), second, np.float32))
            writer.strings(markers, np.array([100.5 + second]), ["R128"])
    return path


HEADER = SessionHeader(
    session="s1",
    config={"clean": {"triggers": {"label": "R128"}}, "bold": {"first_volume": 0}},
    config_sha256="",
    card_sha256="",
    versions={},
    processor="",
    eeg_sfreq=SFREQ,
    channels=CHANNELS,
    regions=("brain",),
)
START = 5000.0
"""Session time of the first EEG sample of :func:`session_events`, s."""


def stored_volume(index: int, received: float, series: str = "s3") -> Volume:
    data = np.full((4, 5, 3), 100 + index, np.int16)
    return Volume(
        data, AFFINE, series, index, ScannerTime(36000 + index * TR), TR, (0.0, 0.1, 0.2), SessionTime(received)
    )


def session_events(n_volumes: int = 3, frames: bool = True) -> list[Event]:
    """EEG of 4 s in chunks of 0.1 s; triggers at 1 s and so on; each volume comes 0.7 s after its end."""
    events: list[Event] = []
    for k in range(40):
        samples = np.arange(25 * k, 25 * (k + 1))
        times = START + samples / SFREQ
        data = np.column_stack([samples, -samples]).astype(np.float32) * np.float32(1e-6)
        events.append(EegChunk("eeg", data, times - 3.25, times, int(samples[0]), SessionTime(float(times[-1]) + 0.01)))
    for k in range(n_volumes):
        at = START + 1.0 + k * TR
        events.append(Marker("R128", SessionTime(at), at - 3.25, None, SessionTime(at + 0.02)))
        events.append(stored_volume(k, at + TR + 0.7))
        if frames:
            middle, ready = SessionTime(at + TR / 2), SessionTime(at + TR + 0.8)
            one = np.zeros(1, np.float32)
            events.append(BoldFrame(k, "s3", one, one, np.zeros(6), 0.0, TR, middle, ready, Flag.NONE))
    return sorted(events, key=lambda event: event.received)


def write_session(folder: Path, events: list[Event] | None = None) -> Path:
    writer = RunLogWriter(folder, HEADER)
    for number, event in enumerate(session_events() if events is None else events):
        writer.append(number, event)
    writer.close()
    return folder


def write_physio(path: Path, seconds: float = 4.0, start_s: float = -0.5) -> Path:
    n = round(seconds * 50)
    rows = "".join(f"{k / 50:.3f}\tn/a\n" if k == 3 else f"{k / 50:.3f}\t{k}\n" for k in range(n))
    path.write_bytes(gzip.compress(rows.encode()))
    about = {"SamplingFrequency": 50.0, "StartTime": start_s, "Columns": ["cardiac", "respiratory"]}
    path.with_name(path.name.replace(".tsv.gz", ".json")).write_text(
        json.dumps({**about, "respiratory": {"Units": "Pa"}})
    )
    return path


def _truncated_xdf(folder: Path) -> Path:
    path = write_xdf(folder / "cut.xdf")
    path.write_bytes(path.read_bytes()[:-20_000])
    return path


def _without_signal(folder: Path) -> Path:
    path = write_eeg(folder / "eeg.vhdr")
    path.with_suffix(".eeg").unlink()
    return path


def _wrong_code_page(folder: Path) -> Path:
    path = write_eeg(folder / "eeg.vhdr")
    path.write_bytes(path.read_text(encoding="utf-8").encode("latin-1"))
    return path


def _milliseconds(folder: Path) -> Path:
    path = folder / "run.nii"
    image = nib.Nifti1Image(np.zeros((4, 4, 3, 5), np.int16), AFFINE)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = 2000.0
    nib.save(image, path)
    return path


def _apart(folder: Path) -> Path:
    return pair(folder, "onset_s = 100.0")


def _cut_log(folder: Path) -> Path:
    path = write_session(folder / "session")
    log = path / LOG
    log.write_bytes(log.read_bytes()[:-40])
    return path


def _empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def _text(folder: Path) -> Path:
    (folder / "notes.txt").write_text("Cz was loose\n")
    return folder / "notes.txt"


def _junk(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    junk = folder / "junk"
    (junk / "below").mkdir(parents=True)
    for name in ("a.bin", "b.txt", "below/c", "below/d.csv", "below/e.tsv"):
        (junk / name).write_bytes(rng.bytes(5000))
    return junk


def _wrong_keys(folder: Path) -> Path:
    return pair(folder, 'flavour = "vanilla"\nonset = 3')


Maker = Callable[[Path], Path]

RECOVERED: dict[str, tuple[Maker, str]] = {
    "truncated XDF": (_truncated_xdf, r"in the middle of a chunk"),
    "wrong code page": (_wrong_code_page, r"says that it is UTF-8, but is not"),
    "NIfTI with TR in ms": (_milliseconds, r"taken as 2 s"),
    "run log cut in the middle": (_cut_log, r"ends in the middle of line"),
}
"""Bad input that is read all the same, and what is said of it."""

REFUSED: dict[str, tuple[Maker, type[Exception], str, int]] = {
    "BrainVision without .eeg": (_without_signal, FormatError, r"eeg\.eeg", 0),
    "parts that do not overlap": (
        _apart, RecordingError, r"EEG runs from 0 to 4\.000 s, the volumes from 100\.000 to 101\.500 s", 1,
    ),
    "an empty folder": (_empty, RecordingError, r"no series of fMRI volumes", 1),
    "a text file": (_text, RecordingError, r"expected recording\.toml, \.xdf", 1),
    "a folder of junk": (_junk, RecordingError, r"no series of fMRI volumes", 1),
    "a toml with wrong keys": (_wrong_keys, ConfigError, r"bold\.flavour: unknown key\n.*bold\.onset: unknown key", 2),
}  # fmt: skip
"""Bad input that is no recording: the error, what it says, and how ``streamer inspect`` ends."""
