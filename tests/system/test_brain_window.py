"""The brain in 3-D on a virtual screen with software OpenGL."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PySide6.QtGui import QImage

pytestmark = [pytest.mark.system, pytest.mark.beside]

ROOT = Path(__file__).resolve().parents[2]
SCREEN = ["xvfb-run", "-a", "-s", "-screen 0 1600x1200x24 -nolisten tcp"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="X11")
def test_a_brain_on_a_screen_with_opengl(tmp_path: Path) -> None:
    assert shutil.which("xvfb-run"), "this test needs a virtual screen: sudo apt-get install -y xvfb xauth"
    child = subprocess.run(
        [*SCREEN, sys.executable, "-m", "tests.system.brain_on_screen", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"QT_QPA_PLATFORM": "xcb"},
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    assert "Error while drawing" not in child.stdout + child.stderr
    said = json.loads(child.stdout.splitlines()[-1])
    assert said["why_flat"] == ""
    for theme in ("dark", "light"):
        red, _, blue = said[f"hot {theme}"]
        assert red > blue + 50
        red, _, blue = said[f"cold {theme}"]
        assert blue > red + 50
        assert 0.1 < said[f"lit {theme}"] < 0.9
        picture = QImage(str(tmp_path / f"brain_{theme}.png"))
        assert (picture.width(), picture.height()) == (760, 1000)
    assert "change beyond ±0.5 %" in said["words"]
    # OpenGL draws when the head, the map or the camera changes; the cross is laid over its picture
    assert said["drawn while nothing changed"] == 0
    assert said["drawn for another place"] == 0
    assert said["place changed pixels"] > 0.001
    assert said["turned by the mouse"] == pytest.approx(-20.0)
    assert said["turned by a key"] == pytest.approx(10.0)
    assert 1 <= said["drawn for turns"] <= 3
    assert "change beyond ±1.5 %" in said["words at a higher threshold"]
    assert 0.05 < said["faces fall"] < 0.8
    assert "MNI template, not this head" in said["words of the template"]
    assert said["template faces"] == 40_960
    assert said["flat"]
    assert said["state"] == {"flat": True, "template": True, "camera": [180.0, 0.0, 1.0]}
    assert not said["surface found again"]
    assert said["surface found for another grid"]
    assert max(said["edges"]) == 0
    assert said["scenes left"] == 2
    assert said["lit after moving"] > 0.1
