"""A session that was recorded replays to the same outputs, whichever modalities it had."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamer.acquire.recordings import open_recording
from streamer.calibrate import calibrate_recording
from streamer.calibration import Calibration, load_calibration, save_calibration
from streamer.compose import make_header
from streamer.config import BoldSection, Config
from streamer.emit.recorder import Recorder
from streamer.messages import BoldFrame, EegChunk, Event, Flag, Output, Prediction, SessionTime, Window
from streamer.replay import Origin, Replay, open_origin, prepare
from streamer.simulate.session import SimulationSettings, simulate_session

SMALL = SimulationSettings(
    seed=5, sfreq=1000.0, grid=(32, 32, 16), voxel_mm=(6.0, 6.0, 4.0), calibration_s=36.0, n_blocks=3, block_s=12.0
)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parity")
    simulate_session(folder / "session", SMALL, workers=1)
    return folder / "session"


@pytest.fixture(scope="module")
def calibration(session: Path) -> Calibration:
    return calibrate_recording(session / "calibration" / "recording.toml", Config())


def recorded(session: Path, calibration: Calibration, folder: Path) -> tuple[Config, list[Event], list[Output]]:
    """Run the task with a recorder beside the loop, as a live session does; its chunks and arrivals are jittered."""
    config = Config(bold=BoldSection(regions=session / "regions.nii.gz", region_names=session / "regions.tsv"))
    origin = open_origin(session / "task" / "recording.toml")
    run = prepare(origin, config, calibration)
    recorder = Recorder(folder, make_header(run.parts, "parity", origin.sfreq, origin.channels))
    run.loop.journal = recorder
    rng = np.random.default_rng(0)
    events: list[Event] = []
    outputs: list[Output] = []
    received = 0.0
    for event in run.events:
        for piece in _split(event, rng):
            received = max(received, float(piece.received) + float(rng.exponential(0.003)))
            events.append(replace(piece, received=SessionTime(received)))
            run.clock.jump(SessionTime(received))
            run.loop.gate.beat(SessionTime(received))
            outputs += run.loop.handle(events[-1])
    recorder.close(xdf=False)
    assert not recorder.losses()
    return config, events, outputs


def _split(event: Event, rng: np.random.Generator) -> list[Event]:
    if not isinstance(event, EegChunk) or len(event.data) < 2:
        return [event]
    cut = int(rng.integers(1, len(event.data)))
    times, raw = event.times, event.times_raw
    return [
        replace(event, data=event.data[a:b], times_raw=raw[a:b], times=times[a:b], first_sample=event.first_sample + a)
        for a, b in ((0, cut), (cut, len(event.data)))
    ]


def outputs_of(run: Replay) -> list[Output]:
    return [output for _, outputs in run.steps() for output in outputs]


def decided(outputs: list[Output]) -> list[Output]:
    return [o for o in outputs if not isinstance(o, Window | BoldFrame) and not hasattr(o, "sample_end")]


def test_a_log_replays_to_the_same_decisions(session: Path, calibration: Calibration, tmp_path: Path):
    config, events, before = recorded(session, calibration, tmp_path / "log")
    run = prepare(open_origin(tmp_path / "log"), config, calibration)
    after: list[Output] = []
    for number, (event, outputs) in enumerate(run.steps()):
        assert event.received == events[number].received
        after += outputs
    predictions = [o for o in after if isinstance(o, Prediction)]
    assert len(predictions) > 300
    assert any(not p.flags & (Flag.NO_EEG | Flag.NO_BOLD) for p in predictions)
    assert decided(after) == decided(before)
    frames = [(f.index, f.regions.tobytes(), f.motion.tobytes()) for f in after if isinstance(f, BoldFrame)]
    assert frames == [(f.index, f.regions.tobytes(), f.motion.tobytes()) for f in before if isinstance(f, BoldFrame)]


def test_two_replays_are_equal(session: Path, calibration: Calibration):
    path = session / "task" / "recording.toml"
    one = outputs_of(prepare(open_origin(path), Config(), calibration))
    two = outputs_of(prepare(open_origin(path), Config(), calibration))
    assert decided(one) == decided(two)


@pytest.mark.parametrize("present", ["eeg", "bold"])
def test_one_modality_alone_is_a_session_too(session: Path, calibration: Calibration, present: str):
    whole = open_recording(session / "task" / "recording.toml")
    part = replace(whole, bold=None) if present == "eeg" else replace(whole, eeg=None)
    eeg = part.eeg
    origin = Origin(
        "part", None if eeg is None else eeg.sfreq, () if eeg is None else eeg.channels, whole.regions, recording=part
    )
    if present == "eeg":
        outputs = outputs_of(prepare(origin, Config(), calibration))
        predictions = [o for o in outputs if isinstance(o, Prediction)]
        assert predictions
        assert all(p.flags & Flag.NO_BOLD for p in predictions)
        assert any(not p.flags & Flag.NO_EEG and max(p.probabilities) > 0.5 for p in predictions)
    else:
        outputs = outputs_of(prepare(origin, Config(), calibration))
        frames = [o for o in outputs if isinstance(o, BoldFrame)]
        assert whole.bold is not None
        assert len(frames) == whole.bold.n_volumes
        # without a trigger the onset is estimated, and says so
        assert all(f.flags & Flag.UNSYNCED for f in frames)
        predictions = [o for o in outputs if isinstance(o, Prediction)]
        assert all(p.flags & Flag.NO_EEG for p in predictions)
        assert any(not p.flags & Flag.NO_BOLD for p in predictions)


def test_a_calibration_survives_the_disk(calibration: Calibration, tmp_path: Path):
    save_calibration(calibration, tmp_path)
    again = load_calibration(tmp_path)
    arrays = ("baseline", "region_means", "region_sd", "reference")
    assert again == replace(calibration, **{name: getattr(again, name) for name in arrays})
    assert calibration.baseline is not None
    assert again.baseline is not None
    np.testing.assert_array_equal(again.baseline.mean, calibration.baseline.mean)
    np.testing.assert_array_equal(again.region_means, calibration.region_means)
    assert calibration.region_sd is not None
    np.testing.assert_array_equal(again.region_sd, calibration.region_sd)
    assert again.reference is not None
    assert calibration.reference is not None
    np.testing.assert_array_equal(again.reference[0], calibration.reference[0])


def test_a_calibration_of_another_montage_is_refused(calibration: Calibration):
    problems = calibration.fit_problems(("A1",), calibration.regions, "0" * 64)
    assert len(problems) == 2
    assert "A1" in problems[0]
