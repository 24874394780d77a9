"""The wheel holds what it must and runs from an empty folder; the runtime stays lean."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.system, pytest.mark.beside, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # built from what git would hand over, so that a stray file of this checkout cannot hide a missing one
    source = folder / "source"
    source.mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in listed.stdout.splitlines():
        target = source / name
        if (ROOT / name).is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([*command, str(source)], check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_the_model_and_the_configuration_and_no_tests(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        "streamer/lsl_api.cfg",
        "streamer/py.typed",
        "models/zoo/default.toml",
        "models/zoo/default-network.pt",
    ):
        assert needed in names
    packages = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert packages == {"streamer", "models", "dashboard", "replay_data"}
    shipped = {name for name in names if name.endswith(".py")}
    written = {
        str(p.relative_to(ROOT)) for top in packages for p in (ROOT / top).rglob("*.py") if "__pycache__" not in p.parts
    }
    assert shipped == written, "pyproject.toml does not list every package"


def test_the_wheel_runs_from_an_empty_folder(wheel: Path, tmp_path: Path):
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    empty = tmp_path / "empty"
    empty.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
    script = (
        "import streamer, streamer.compose as c; from streamer.decode.card_file import load_card;"
        "print(streamer.__file__); print(load_card(c.default_card()).card.name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=empty, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(str(site))
    done = subprocess.run(
        [sys.executable, "-m", "streamer", "config", "init"],
        cwd=empty, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (empty / "SESSION.toml").exists()


def test_the_command_line_and_the_loop_never_import_torch(tmp_path: Path):
    script = (
        "import sys, streamer.__main__ as m, streamer.app, streamer.demo, streamer.replay, streamer.calibrate;"
        "m._add_verbs();"
        "from streamer.compose import compose; from streamer.config import Config; compose(Config());"
        "heavy = {'torch', 'sklearn.linear_model', 'mne', 'onnx'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
