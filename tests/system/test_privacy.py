"""A name that stands in the headers of what the scanner writes is found in nothing that comes of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from importlib.resources import files
from io import BytesIO
from pathlib import Path

import pydicom
import pytest

from streamer.acquire.scanner_export import ExportSettings
from streamer.clock import pause, stopwatch
from streamer.config import BoldSection, Config, EegSection, ModelSection, SessionSection
from tests.system.conftest import write_config
from tests.unit.export_room import mosaic

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

NAME = "ZZPLANTED"
UID = "1.3.12.2.1107.5.2.43.987654321987"
N_VOLUMES = 8


def named(raw: bytes) -> pydicom.FileDataset:
    """The file with a person's name wherever a header has room for one."""
    header = pydicom.dcmread(BytesIO(raw))
    for keyword in (
        "PatientName", "PatientID", "OtherPatientIDs", "ReferringPhysicianName", "OperatorsName", "InstitutionName",
        "StudyDescription", "SeriesDescription", "ProtocolName", "AccessionNumber", "StationName", "ImageComments",
        "PatientComments", "RequestedProcedureDescription",
    ):  # fmt: skip
        setattr(header, keyword, NAME)
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
    looked = 0
    for path in (p for p in out.rglob("*") if p.is_file()):
        raw = path.read_bytes()
        looked += len(raw)
        for secret in (NAME, "19870605", UID):
            assert secret.encode() not in raw, f"{secret} stands in {path.relative_to(out)}"
    assert looked > 100_000
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
