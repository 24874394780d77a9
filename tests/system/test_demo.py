"""The demo does what the README's first line promises."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]


def test_the_demo_scores_above_chance_on_a_session_that_the_model_has_not_seen(tmp_path: Path):
    command = [sys.executable, "-m", "streamer", "demo", "--headless", "--json", "out.json", "--out", "demo"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=380, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["lost_samples"] == found["lost_volumes"] == 0
    assert found["n_blocks"] >= 20
    assert found["accuracy_ci95"][0] > found["chance"]
    assert found["triggers"] > 0
    assert found["decisions"] > 3000
    assert found["latency_ms"]["sample_to_decision"]["p50"] > 0
    assert found["live"]["counts"]["decisions"] > 200
    assert found["parity"]["predictions_equal"] == found["parity"]["predictions_live"] > 200
    assert found["parity"]["triggers_equal"]
    from PySide6.QtGui import QImage

    image = QImage(str(tmp_path / found["screenshot"]))
    assert image.width() >= 1000
    rgb = image.convertToFormat(QImage.Format.Format_RGB888)
    pixels = np.frombuffer(rgb.constBits(), np.uint8)  # a view: the image has to outlive it
    assert pixels.std() > 5, "the screenshot is blank"
    for said in ("blocks right", "live = replay", "mosquitto_sub", "screenshot"):
        assert said in done.stdout
