"""A session with all that the BOLD lane can be given replays from its own copies, region by region, map by map."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from streamer.bold_inputs import keep_inputs
from streamer.compose import compose, make_header
from streamer.config import Config
from streamer.emit.recorder import Recorder
from streamer.errors import ConfigError, UsageError
from streamer.formats.nifti import read_labels, write_nifti
from streamer.formats.region_files import approve
from streamer.messages import BoldFrame, Feature, Flag, SourceState
from streamer.region_set.request import Request, make_set
from streamer.region_set.space import SpaceOptions
from streamer.replay import config_for, open_origin, prepare, replay_recording
from streamer.simulate.session import SimulationSettings, simulate_session

SMALL = SimulationSettings(
    seed=7, sfreq=1000.0, n_channels=20, grid=(32, 32, 16), voxel_mm=(6.0, 6.0, 4.0), calibration_s=60.0,
    n_blocks=4, block_s=16.0, cardiac_percent=0.6,
)  # fmt: skip


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs") / "session"
    simulate_session(folder, SMALL, workers=1)
    labels = read_labels(folder / "regions.nii.gz", folder / "regions.tsv")
    tissue = np.zeros(labels.data.shape, np.int16)
    tissue[14:18, 10:14, 8:11], tissue[14:18, 18:21, 8:11] = 1, 2
    write_nifti(folder / "tissue.nii.gz", tissue, labels.affine)
    (folder / "blocks.tsv").write_text("onset\tduration\ttrial_type\n16\t16\ton\n48\t16\ton\n")
    return folder


def config_of(session: Path, **bold: object) -> Config:
    return Config.model_validate(
        {
            "model": {"card": "none"},
            "bold": {
                "regions": session / "regions.nii.gz",
                "region_names": session / "regions.tsv",
                "tissue": session / "tissue.nii.gz",
                "events": session / "blocks.tsv",
                **bold,
            },
            "clean": {
                "bold": {"maps": {"enabled": True}, "smooth_mm": 6.0},
                "regions": {"method": "glm", "baseline_s": 10.0, "despike": {"mode": "hold"}},
            },
            "dynamics": {"connectivity": {"enabled": True}, "feedback": {"enabled": True}},
        }
    )


def compared(outputs):
    frames = [
        (f.index, f.regions.tobytes(), f.z.tobytes(), f.tissue.tobytes(), repr(f.dvars), f.flags)
        for f in outputs
        if isinstance(f, BoldFrame)
    ]
    return frames, [repr(o) for o in outputs if isinstance(o, Feature)]


def test_a_session_replays_from_its_own_copies(session: Path, tmp_path: Path) -> None:
    origin = open_origin(session / "task" / "recording.toml")
    run = prepare(origin, config_of(session))
    recorder = Recorder(tmp_path / "log", make_header(run.parts, "inputs", origin.sfreq, origin.channels))
    keep_inputs(run.parts.bold, tmp_path / "log")
    run.loop.journal = recorder
    before = [o for _, outputs in run.steps() for o in outputs]
    recorder.close(xdf=False)
    frames, features = compared(before)
    assert len(frames) > 20
    assert {name for o in before if isinstance(o, Feature) for name in [o.name]} == {
        "bold.connectivity",
        "bold.feedback",
    }
    assert np.isfinite([o.regions for o in before if isinstance(o, BoldFrame)][-1]).all()
    # the heart was found in the ECG, and its regressors joined
    assert "retroicor" in run.loop.core.regressors
    assert "task" in run.loop.core.regressors

    config = config_for(tmp_path / "log", None)
    again = prepare(open_origin(tmp_path / "log"), config)
    assert compared([o for _, outputs in again.steps() for o in outputs]) == (frames, features)
    replay_recording(tmp_path / "log", config, tmp_path / "out")
    maps = sorted((tmp_path / "out" / "maps").rglob("*.nii.gz"))
    assert [path.name for path in maps] == ["mean.nii.gz", "percent_on.nii.gz", "t_on.nii.gz", "tsnr.nii.gz"]
    (series,) = run.bold.lane.maps.images.values()
    for path in maps:
        image = nib.load(path)
        np.testing.assert_array_equal(np.asarray(image.dataobj), series[path.name.removesuffix(".nii.gz")])
        np.testing.assert_allclose(image.affine, run.bold.lane.maps.affine)


def test_a_worker_that_died_begins_anew_in_the_replay_too(session: Path, tmp_path: Path) -> None:
    config = config_of(session)
    origin = open_origin(session / "task" / "recording.toml")
    run = prepare(origin, config)
    recorder = Recorder(tmp_path / "log", make_header(run.parts, "died", origin.sfreq, origin.channels))
    keep_inputs(run.parts.bold, tmp_path / "log")
    run.loop.journal = recorder
    worker = run.parts.bold.core()
    before = []
    for event in run.events:
        if isinstance(event, BoldFrame):
            # the worker's own come instead
            continue
        before += run.loop.handle(event)
        for frame in worker.feed(event):
            assert isinstance(frame, BoldFrame)
            before += run.loop.handle(replace(frame, received=event.received))
            if frame.index == 14:
                worker.restart(keep_reference=True)
                before += run.loop.handle(SourceState("bold", "back", "the worker runs again", event.received))
    recorder.close(xdf=False)
    again = prepare(open_origin(tmp_path / "log"), config_for(tmp_path / "log", None))
    outputs = [o for _, made in again.steps() for o in made]
    assert compared(outputs) == compared(before)
    frames = [o for o in outputs if isinstance(o, BoldFrame)]
    # the new worker has no volume before its first one, and the old one's reference
    assert np.isnan(frames[15].dvars)
    assert np.isfinite(frames[14].dvars)
    assert np.abs(frames[15].motion[:3] - frames[14].motion[:3]).max() < 0.5


def test_regions_that_nobody_approved_are_refused(session: Path, tmp_path: Path) -> None:
    spheres = ("one=-30,-20,10", "two=30,-20,10")
    request = Request(epi=session / "task" / "recording.toml", spheres=spheres, space=SpaceOptions("epi"))
    make_set(request, tmp_path / "set", lambda *_: None)
    config = config_of(session, regions=tmp_path / "set" / "regions.nii.gz", region_names=None)
    with pytest.raises(UsageError, match="streamer regions approve"):
        compose(config)
    approve(tmp_path / "set", "operator")
    parts = compose(config)
    assert parts.regions == ("one", "two")
    assert parts.bold.reference is not None
    frames = [
        o
        for _, made in prepare(open_origin(session / "task" / "recording.toml"), config).steps()
        for o in made
        if isinstance(o, BoldFrame)
    ]
    assert np.isfinite(frames[-1].means).all()
    assert not any(f.flags & Flag.MOTION for f in frames[5:])


def test_blocks_that_do_not_fit_the_design_are_refused(session: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.tsv"
    path.write_text("onset\tduration\ttrial_type\n16\t16\tcsf\n")
    with pytest.raises(ConfigError, match="twice"):
        compose(config_of(session, events=path))
    parts = compose(config_of(session))
    assert [c.name for c in parts.config.clean.bold.maps.design.conditions] == ["on"]
    # a header that holds the blocks names no table to read them from again
    assert replace(parts).config.bold.events is None
