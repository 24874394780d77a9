"""What features beside band power learned in a calibration run goes with the calibration, and into the loop."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamer.calibrate import calibrate_recording
from streamer.calibration import load_calibration, save_calibration
from streamer.config import BoldSection, Config, ModelSection
from streamer.errors import ModelError, RecordingError
from streamer.messages import Feature, Flag
from streamer.replay import open_origin, prepare
from streamer.simulate.session import SimulationSettings, simulate_session

SMALL = SimulationSettings(
    seed=6, sfreq=1000.0, n_channels=20, grid=(24, 24, 12), voxel_mm=(8.0, 8.0, 5.0),
    calibration_s=72.0, n_blocks=2, block_s=8.0,
)  # fmt: skip
TANGENT = {"channels": ["O1", "O2", "Pz"]}


def config_of(session: Path, band_hz: tuple[float, float]) -> Config:
    return Config.model_validate(
        {
            "bold": BoldSection(regions=session / "regions.nii.gz", region_names=session / "regions.tsv").model_dump(),
            "model": ModelSection(card="none").model_dump(),
            "extra": {
                "learn_s": 16.0,
                "tangent": {"enabled": True, **TANGENT},
                "phase": {"enabled": True, "band_hz": band_hz, "signals": {"back": {"O1": 0.5, "O2": 0.5}}},
            },
        }
    )


def features(session: Path, config: Config, calibration=None) -> list[Feature]:
    run = prepare(open_origin(session / "task"), config, calibration)
    return [o for _, made in run.steps() for o in made if isinstance(o, Feature)]


def test_features_are_served_by_what_the_calibration_run_taught(tmp_path: Path) -> None:
    simulate_session(tmp_path / "session", SMALL, workers=1)
    session = tmp_path / "session"
    config = config_of(session, (8.0, 12.0))
    found = calibrate_recording(session / "calibration" / "recording.toml", config)
    assert set(found.learned) == {"tangent", "phase"}
    save_calibration(found, tmp_path / "own")
    again = load_calibration(tmp_path / "own")
    assert again.learned == json.loads(json.dumps(found.learned))

    own = features(session, config)
    taught = features(session, config, again)
    for name in {feature.name for feature in own}:
        alone, known = ([f for f in made if f.name == name and f.valid] for made in (own, taught))
        assert len(known) > len(alone)
        assert all(f.flags & Flag.UNCALIBRATED for f in alone)
        assert not any(f.flags & Flag.UNCALIBRATED for f in known)

    with pytest.raises(ModelError, match="other settings"):
        features(session, config_of(session, (9.0, 13.0)), again)
    text = (tmp_path / "own" / "features.json").read_text()
    (tmp_path / "own" / "features.json").write_text(text.replace("1", "2", 1))
    with pytest.raises(RecordingError, match="altered"):
        load_calibration(tmp_path / "own")
