"""``streamer doctor`` on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from streamer.broker import EmbeddedBroker

pytestmark = [pytest.mark.system, pytest.mark.beside]

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-c", "import typer; from streamer.commands.doctor import doctor; typer.run(doctor)"]


def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env=os.environ | changes,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def findings(child: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str]]:
    said = json.loads(child.stdout)
    assert all(set(item) == {"name", "status", "found", "advice"} for item in said), said
    assert all(item["advice"] for item in said if item["status"] != "ok"), said
    return {item["name"]: item for item in said}


def test_a_machine_that_runs_the_tests_is_sound() -> None:
    child = run("--json")
    found = findings(child)
    assert child.returncode == 0, found
    for name in ("python", "packages", "clock", "liblsl", "onnxruntime", "graphics", "disk"):
        assert found[name]["status"] == "ok", found[name]
    assert "lsl_api.cfg" in found["lsl configuration"]["found"]


def test_the_table_gives_advice_for_what_is_wrong() -> None:
    child = run(LSLAPICFG="/nowhere/lsl_api.cfg", COLUMNS="160")
    assert child.returncode == 1
    assert "✗ fail" in child.stdout
    assert "correct LSLAPICFG or unset it" in child.stdout
    assert "1 to mend" in child.stdout


def test_a_configuration_is_looked_at(tmp_path: Path) -> None:
    session = tmp_path / "SESSION.toml"
    (tmp_path / "export").mkdir()
    with EmbeddedBroker() as broker:
        session.write_text(
            f'schema = 1\n[bold]\ndirectory = "export"\n[mqtt]\nbroker = "{broker.url}"\n', encoding="utf-8"
        )
        child = run("--config", str(session), "--json")
        found = findings(child)
        assert child.returncode == 0, found
        assert found["broker"]["status"] == "ok"
        assert str(tmp_path / "export") in found["export directory"]["found"]
        assert "export watch" in found
    (tmp_path / "export").rmdir()
    child = run("--config", str(session), "--json")
    found = findings(child)
    assert child.returncode == 1
    assert found["broker"]["status"] == found["export directory"]["status"] == "fail"


def test_a_configuration_with_problems_is_a_finding(tmp_path: Path) -> None:
    session = tmp_path / "SESSION.toml"
    session.write_text('schema = 1\ncolour = "blue"\n', encoding="utf-8")
    child = run("--config", str(session), "--json")
    assert child.returncode == 1
    assert "colour" in findings(child)["configuration"]["found"]


def test_graphics_libraries_that_are_missing_do_not_end_the_doctor(tmp_path: Path) -> None:
    # a PySide6 that cannot be loaded, found before the real one
    package = tmp_path / "PySide6"
    package.mkdir()
    (package / "__init__.py").write_text(
        'raise ImportError("libEGL.so.1: cannot open shared object file: No such file or directory")\n'
    )
    child = run("--json", PYTHONPATH=str(tmp_path))
    finding = findings(child)["graphics"]
    assert finding["status"] == "warn"
    assert "libEGL.so.1" in finding["found"]
    assert "apt-get install -y libegl1" in finding["advice"]
