"""The checks of the doctor that need no process."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from streamer import doctor
from streamer.doctor import (
    check_broker,
    check_broker_program,
    check_cpus,
    check_disk,
    check_display,
    check_export_directory,
    check_lsl,
    check_lsl_configuration,
    check_onnxruntime,
    check_packages,
    check_python,
    check_rda,
    filesystem_of,
    smallest_step,
)

MOUNTS = """\
overlay / overlay rw 0 0
proc /proc proc rw 0 0
scanner:/export /mnt/scanner nfs4 rw 0 0
//console/export /mnt/the\\040console cifs rw 0 0
tmpfs /mnt/scanner/local tmpfs rw 0 0
sshfs#me@host: /mnt/far fuse.sshfs rw 0 0
/dev/sdb /mnt/twice ext4 rw 0 0
scanner:/b /mnt/twice nfs rw 0 0
short line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me/export", "overlay"),
        ("/mnt/scanner", "nfs4"),
        ("/mnt/scanner/run1", "nfs4"),
        ("/mnt/scanner2/run1", "overlay"),
        ("/mnt/scanner/local/x", "tmpfs"),
        ("/mnt/the console/x", "cifs"),
        ("/mnt/far", "fuse.sshfs"),
        ("/mnt/twice/x", "nfs"),
    ],
)
def test_the_file_system_is_that_of_the_deepest_and_latest_mount(path: str, kind: str) -> None:
    assert filesystem_of(Path(path), MOUNTS) == kind


def test_without_a_table_of_mounts_the_file_system_is_unknown() -> None:
    assert filesystem_of(Path("/x"), "") is None


@pytest.mark.parametrize(
    ("kind", "status", "says"),
    [
        ("ext4", "ok", "inotify"),
        ("nfs4", "warn", "polled"),
        ("cifs", "warn", "polled"),
        ("fuse.sshfs", "warn", "polled"),
    ],
)
def test_a_network_share_is_polled(
    kind: str, status: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_mounts", lambda: f"x / {kind} rw 0 0\n")
    directory, watch = check_export_directory(tmp_path)
    assert directory.status == "ok"
    assert "writable" in directory.found
    assert watch.status == status
    assert says in watch.found


def test_an_export_directory_that_is_absent_or_a_file_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name, says in (("absent", "is not there"), ("file", "is not a directory")):
        (finding,) = check_export_directory(tmp_path / name)
        assert finding.status == "fail"
        assert says in finding.found
        assert finding.advice


def test_an_export_directory_that_cannot_be_read_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # tests may run as root, to whom everything is readable
    monkeypatch.setattr(os, "access", lambda _path, mode: not mode & os.R_OK)
    (finding,) = check_export_directory(tmp_path)
    assert finding.status == "fail"
    assert "not readable" in finding.found


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_broker_that_answers(listener: int) -> None:
    assert check_broker(f"mqtt://127.0.0.1:{listener}").status == "ok"


def test_a_broker_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    finding = check_broker(f"mqtt://127.0.0.1:{port}")
    assert finding.status == "fail"
    assert f"127.0.0.1:{port}" in finding.found


def test_a_recorder_that_answers_and_one_that_does_not(listener: int) -> None:
    assert check_rda("127.0.0.1", listener).status == "ok"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    finding = check_rda("127.0.0.1", port)
    assert finding.status == "fail"
    assert f"127.0.0.1:{port}" in finding.found
    assert "Remote Data Access" in finding.advice


@pytest.mark.parametrize("url", ["http://x:1", "mqtt://", "mqtt://h:port", "nonsense", "mqtt://[::"])
def test_a_broker_address_that_is_none(url: str) -> None:
    finding = check_broker(url)
    assert finding.status == "fail"
    assert "mqtt://HOST:PORT" in finding.advice


def test_broker_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_mosquitto", lambda: "/usr/sbin/mosquitto")
    assert check_broker_program().status == "ok"
    monkeypatch.setattr(doctor, "find_mosquitto", lambda: None)
    finding = check_broker_program()
    assert finding.status == "warn"
    assert finding.found.startswith("amqtt")
    monkeypatch.setattr(doctor, "util", SimpleNamespace(find_spec=lambda _name: None))
    assert check_broker_program().status == "fail"


@pytest.mark.parametrize(
    ("version", "status"), [((3, 10), "fail"), ((3, 11), "ok"), ((3, 14), "ok"), ((3, 15), "fail")]
)
def test_python_versions(version: tuple[int, int], status: str) -> None:
    assert check_python(version, "CPython").status == status


def test_packages_are_named_and_a_missing_one_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = check_packages((3, 13))
    assert finding.status == "ok"
    assert "pylsl 1." in finding.found
    monkeypatch.setattr(doctor, "PACKAGES", ("numpy", "no-such-package-of-ours"))
    finding = check_packages((3, 13))
    assert finding.status == "fail"
    assert "missing: no-such-package-of-ours" in finding.found


@pytest.mark.parametrize(
    ("python", "qt", "status"),
    [((3, 11), "6.12.0", "fail"), ((3, 11), "6.11.3", "ok"), ((3, 12), "6.12.0", "ok"), ((3, 11), "6.8.3", "ok")],
)
def test_the_qt_that_kills_python_is_found(
    python: tuple[int, int], qt: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = SimpleNamespace(version=lambda _name: qt, PackageNotFoundError=LookupError)
    monkeypatch.setattr(doctor, "metadata", library)
    assert check_packages(python).status == status


def test_one_processor_is_few() -> None:
    assert check_cpus(1).status == "warn"
    assert check_cpus(2).status == "ok"


def test_the_smallest_step_of_a_clock() -> None:
    ticks = count()
    assert smallest_step(lambda: (next(ticks) // 3) * 0.25, reads=50) == 0.25
    assert smallest_step(lambda: 1.0, reads=5) == float("inf")


def test_lsl_and_its_configuration(tmp_path: Path) -> None:
    lsl = check_lsl()
    assert lsl.status == "ok"
    assert lsl.found.startswith("1.")
    there = tmp_path / "lsl_api.cfg"
    there.write_text("[log]\n")
    assert check_lsl_configuration(str(there)).status == "ok"
    absent = check_lsl_configuration(str(tmp_path / "absent.cfg"))
    assert absent.status == "fail"
    assert "absent.cfg" in absent.found


def test_lsl_finds_a_configuration_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    if not Path("/etc/lsl_api/lsl_api.cfg").exists():
        assert "defaults" in check_lsl_configuration(None).found
    (tmp_path / "lsl_api.cfg").write_text("[log]\n")
    assert check_lsl_configuration(None).found == "lsl_api.cfg"


def test_the_model_can_run() -> None:
    finding = check_onnxruntime()
    assert finding.status == "ok"
    assert "CPU" in finding.found


@pytest.mark.parametrize(("free_gb", "status"), [(1, "fail"), (8, "warn"), (500, "ok")])
def test_disk_space_is_told_in_hours(
    free_gb: int, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10**12, 0, free_gb * 10**9))
    finding = check_disk(tmp_path / "not" / "yet" / "there")
    assert finding.status == status
    assert str(tmp_path) in finding.found


def test_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "sys", SimpleNamespace(platform="linux"))
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":7")
    assert check_display().found == "DISPLAY=:7"
    monkeypatch.delenv("DISPLAY")
    assert check_display().status == "warn"
