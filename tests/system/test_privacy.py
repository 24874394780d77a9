"""A name that stands in the headers of what comes in is found in nothing that goes out.

It is planted in every text field of DICOM headers, of BrainVision files and of an LSL stream's description, but for
what the user chose as a name of something (streams, channels, markers, folders of a recording): these are kept.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.datadict import DicomDictionary

from streamer.acquire.scanner_export import ExportSettings
from streamer.clock import pause, stopwatch
from streamer.config import BoldSection, Config, EegSection, ModelSection, SessionSection
from streamer.formats.brainvision import FileMarker, write_brainvision
from streamer.messages import ChannelInfo
from tests.system.conftest import write_config
from tests.unit.export_room import mosaic

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

NAME = "ZZPLANTED"
UID = "1.3.12.2.1107.5.2.43.987654321987"
SERIAL = "90452417"
"""Of an amplifier."""
N_VOLUMES = 8


TEXT = {"PN", "LO", "SH", "ST", "LT", "UT", "UC", "AE"}
"""Kinds of DICOM fields that hold free text."""
READ = {"Manufacturer", "ManufacturerModelName", "SoftwareVersions"}
"""Text by which a reader knows whose file it is."""
SECRETS = (NAME, "19870605", UID, SERIAL)
HOST = re.compile(rb"(?<![\w.-])" + re.escape(socket.gethostname().encode()) + rb"(?![\w-])")


def named(raw: bytes) -> pydicom.FileDataset:
    """The file with a person's name in every field of the standard that holds text, whether fMRI has it or not."""
    header = pydicom.dcmread(BytesIO(raw))
    planted = 0
    for tag, (kind, _, _, _, keyword) in DicomDictionary.items():
        # groups 0, 2 and 4 belong to the network and to the file itself
        if kind in TEXT and keyword and keyword not in READ and tag >> 16 >= 8:
            header.add_new(tag, kind, NAME)
            planted += 1
    assert planted > 600
    header.DeviceSerialNumber = SERIAL
    header.PatientBirthDate = "19870605"
    header.StudyInstanceUID = UID
    header.add_new((0x0029, 0x0010), "LO", NAME)
    header.add_new((0x0029, 0x1008), "LO", f"{NAME} private")
    return header


def content(header: pydicom.FileDataset) -> bytes:
    stored = BytesIO()
    header.save_as(stored, enforce_file_format=True)
    return stored.getvalue()


def put(folder: Path, name: str, raw: bytes) -> None:
    (folder / f"{name}.part").write_bytes(raw)
    (folder / f"{name}.part").rename(folder / name)


def room(export: Path) -> None:
    """Write volumes, and all that goes wrong, as a scanner with named folders and files does."""
    own = export / f"20261121.{NAME}.1234"
    own.mkdir()
    for k in range(1, N_VOLUMES + 1):
        put(own, f"{NAME}.MR.{UID}.{k}.dcm", content(named(mosaic(k))))
    moco = named(mosaic(1, series=4))
    moco.ImageType = ["DERIVED", "PRIMARY", "M", "MOCO", "MOSAIC"]
    put(own, f"{NAME}.MR.moco.dcm", content(moco))
    put(own, f"{NAME}.MR.again.dcm", content(named(mosaic(2))))
    whole = content(named(mosaic(20)))
    put(own, f"{NAME}.MR.cut.dcm", whole[: len(whole) // 2])
    put(own, f"{NAME}.MR.text.dcm", f"{NAME} is no image".encode())
    odd = named(mosaic(21, shape=(20, 16, 9)))
    put(own, f"{NAME}.MR.grid.dcm", content(odd))
    damaged = named(mosaic(22))
    del damaged.Rows
    put(own, f"{NAME}.MR.rows.dcm", content(damaged))


def streamer(*arguments: str, out: Path) -> None:
    with out.open("ab") as told:
        done = subprocess.run([sys.executable, "-m", "streamer", *arguments], stdout=told, stderr=told, check=False)
    # 4: the volume of another grid is lost
    assert done.returncode in {0, 4}, out.read_text(errors="replace")[-2000:]


def looked_through(out: Path) -> int:
    """Look for every secret in every byte that was written; gives how many there were."""
    looked = 0
    for path in (p for p in out.rglob("*") if p.is_file()):
        raw = path.read_bytes()
        looked += len(raw)
        for secret in SECRETS:
            assert secret.encode() not in raw, f"{secret} stands in {path.relative_to(out)}"
            # as some formats write text
            assert secret.encode("utf-16-le") not in raw, f"{secret} stands in {path.relative_to(out)}, in UTF-16"
        # a short name may come up in numbers
        text = b"" if b"\0" in raw else raw
        assert not HOST.search(text), f"the host's name stands in {path.relative_to(out)}"
    return looked


def test_a_planted_name_is_found_in_nothing(tmp_path: Path) -> None:
    export, out = tmp_path / "export", tmp_path / "out"
    for folder in (export, out):
        folder.mkdir()
    config = Config(
        session=SessionSection(directory=out / "sessions", name="private"),
        eeg=EegSection(enabled=False),
        bold=BoldSection(directory=export, export=ExportSettings(deadline_s=2.0)),
        model=ModelSection(card="none"),
    )
    toml = write_config(config, tmp_path / "SESSION.toml")
    subscriber = shutil.which("mosquitto_sub")
    assert subscriber, "mosquitto_sub is missing: sudo apt-get install -y mosquitto-clients"
    environment = dict(os.environ, LSLAPICFG=str(files("streamer") / "lsl_api.cfg"))
    told = out / "told"
    with (
        told.open("wb") as stream,
        (out / "heard").open("wb") as heard,
        subprocess.Popen(
            [sys.executable, "-m", "streamer", "run", str(toml), "--json"],
            stdout=stream,
            stderr=stream,
            env=environment,
        ) as run,
    ):
        running = wait_for(told, "running", 60)
        port = running["broker"].rsplit(":", 1)[-1]
        with subprocess.Popen([subscriber, "-p", port, "-t", "#", "-v"], stdout=heard) as foreign:
            pause(0.5)
            room(export)
            pause(8.0)
            run.send_signal(signal.SIGTERM)
            run.wait(30)
            pause(0.5)
            foreign.terminate()
    summary = wait_for(told, "summary", 1)
    assert summary["counts"]["bold_frames"] == N_VOLUMES
    notes = " ".join(summary["notes"])
    # everything that went wrong was said
    for word in ("given up", "left out", "cut", "text", "rows", "grid"):
        assert word in notes
    session = out / "sessions" / "private"
    streamer("replay", str(session), "--out", str(out / "replayed"), out=told)
    streamer("to-bids", str(session), str(out / "bids"), out=told)
    streamer("inspect", str(session), "--json", out=told)
    assert looked_through(out) > 100_000
    assert b"eegfmri/private/bold" in (out / "heard").read_bytes()


def wait_for(told: Path, event: str, seconds: float) -> dict:
    """Wait until a message stands in the file; AssertionError with what stands there instead."""
    deadline = stopwatch() + seconds
    while True:
        for line in told.read_text(errors="replace").splitlines():
            if line.startswith("{") and json.loads(line).get("event") == event:
                return json.loads(line)
        assert stopwatch() < deadline, told.read_text(errors="replace")[-2000:]
        pause(0.1)


def outlet() -> Any:
    """An amplifier that says in its description whom it is worn by, and which one it is."""
    from pylsl import StreamInfo, StreamOutlet, cf_float32

    info: Any = StreamInfo("private-amplifier", "EEG", 4, 250.0, cf_float32, f"{NAME}-{SERIAL}")
    description = info.desc()
    channels = description.append_child("channels")
    for name in ("C3", "C4", "O1", "O2"):
        entry = channels.append_child("channel")
        for key, value in (("label", name), ("unit", "microvolts"), ("type", "EEG"), ("impedance", NAME)):
            entry.append_child_value(key, value)
        entry.append_child("hardware").append_child_value("serial", SERIAL)
    for part in ("acquisition", "subject", "cap", "reference", "setup", "synchronization", "provider", "facility"):
        child = description.append_child(part)
        for key in (
            "manufacturer",
            "model",
            "serial_number",
            "name",
            "id",
            "experimenter",
            "date_of_birth",
            "comments",
        ):
            child.append_child_value(key, f"{NAME} {SERIAL} 19870605")
    return StreamOutlet(info)


def heads(session: str) -> str:
    """What the session's own outlets tell of themselves."""
    from pylsl import StreamInlet, resolve_streams

    ours = [info for info in resolve_streams(2.0) if info.source_id().startswith(f"{session}-")]
    assert ours
    return "\n".join(StreamInlet(info).info(5.0).as_xml() for info in ours)


def test_what_an_amplifier_says_of_itself_is_found_in_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    config = Config(
        session=SessionSection(directory=out / "sessions", name="private"),
        eeg=EegSection.of_rig("private-amplifier"),
        bold=BoldSection(enabled=False),
        model=ModelSection(card="none"),
    )
    toml = write_config(config, tmp_path / "SESSION.toml")
    subscriber = shutil.which("mosquitto_sub")
    assert subscriber, "mosquitto_sub is missing: sudo apt-get install -y mosquitto-clients"
    environment = dict(os.environ, LSLAPICFG=str(files("streamer") / "lsl_api.cfg"))
    told = out / "told"
    amplifier = outlet()
    with (
        told.open("wb") as stream,
        (out / "heard").open("wb") as heard,
        subprocess.Popen(
            [sys.executable, "-m", "streamer", "run", str(toml), "--json"],
            stdout=stream,
            stderr=stream,
            env=environment,
        ) as run,
    ):
        running = wait_for(told, "running", 60)
        port = running["broker"].rsplit(":", 1)[-1]
        with subprocess.Popen([subscriber, "-p", port, "-t", "#", "-v"], stdout=heard) as foreign:
            rng = np.random.default_rng(0)
            for _ in range(40):
                amplifier.push_chunk(rng.normal(scale=20.0, size=(25, 4)).astype(np.float32))
                pause(0.1)
            head = heads("private")
            # gone in the middle: what is said of a loss must not name anybody either
            del amplifier
            pause(3.0)
            run.send_signal(signal.SIGTERM)
            run.wait(30)
            foreign.terminate()
    # liblsl itself writes the host's name into every stream: that cannot be switched off
    host = socket.gethostname()
    assert f"<hostname>{host}</hostname>" in head
    (out / "heads.xml").write_text(head.replace(f"<hostname>{host}</hostname>", ""))
    session = out / "sessions" / "private"
    assert wait_for(told, "summary", 1)["counts"]["samples"] == 1000
    streamer("replay", str(session), "--out", str(out / "replayed"), out=told)
    streamer("to-bids", str(session), str(out / "bids"), out=told)
    streamer("inspect", str(session), "--json", out=told)
    assert looked_through(out) > 20_000
    assert b"eegfmri/private/preview/eeg" in (out / "heard").read_bytes()


def test_what_stands_in_a_brainvision_header_is_found_in_nothing(tmp_path: Path) -> None:
    recording, out = tmp_path / "recording", tmp_path / "out"
    recording.mkdir()
    out.mkdir()
    channels = [ChannelInfo(name, "eeg") for name in ("C3", "C4", "O1", "O2")]
    data = np.random.default_rng(0).normal(scale=2e-5, size=(30_000, 4))
    markers = [FileMarker("Response", "R128", 1000 + 500 * k) for k in range(50)]
    write_brainvision(recording / "eeg.vhdr", 1000.0, channels, [data], markers)
    header = (recording / "eeg.vhdr").read_text()
    said = f"; {NAME}\n[User Infos]\nSubject={NAME}\nProp1=string,{NAME},{SERIAL}\n[Comment]\nAmplifier Setup\n"
    said += f"Serial number: {SERIAL}\nSubject {NAME} born 19870605\n#  Name Phys. Chn.\n1 C3 1 {NAME}\n"
    (recording / "eeg.vhdr").write_text(f"{header}\n{said}")
    marks = (recording / "eeg.vmrk").read_text()
    (recording / "eeg.vmrk").write_text(f"{marks}\n; {NAME}\n[Marker User Infos]\nProp1=string,{NAME},{SERIAL}\n")
    toml = '[bold]\nenabled = false\n[model]\ncard = "none"\n'
    (tmp_path / "SESSION.toml").write_text(toml)
    told = out / "told"
    config = str(tmp_path / "SESSION.toml")
    streamer("replay", str(recording / "eeg.vhdr"), "--config", config, "--out", str(out / "replayed"), out=told)
    streamer("to-bids", str(recording / "eeg.vhdr"), str(out / "bids"), out=told)
    streamer("inspect", str(recording / "eeg.vhdr"), "--json", out=told)
    assert (out / "replayed" / "clean_eeg.vhdr").exists()
    assert looked_through(out) > 20_000
