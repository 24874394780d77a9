"""What a replay writes: the same bytes every time, at every speed, and the same as the live session wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import mne
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from streamer.acquire.recorded_brainvision import open_brainvision
from streamer.acquire.recorded_events import recorded_events
from streamer.acquire.recording import EegPart, RecordedMarker, Recording
from streamer.acquire.recordings import open_recording
from streamer.calibrate import calibrate_recording
from streamer.calibration import load_calibration, save_calibration
from streamer.config import BoldSection, Config, ModelSection
from streamer.decode.decision_settings import DecisionSettings
from streamer.emit.results import read_predictions
from streamer.errors import ModelError, RecordingError, UsageError
from streamer.messages import F32, F64, ChannelInfo, EegChunk, Flag, Tick, Volume
from streamer.replay import config_for, replay_recording
from streamer.runlog_read import read_session
from streamer.simulate.session import SimulationSettings, simulate_session
from tests.parity.arriving import Faults, faults, live
from tests.parity.fitting_card import fitting_card

SMALL = SimulationSettings(
    seed=5, sfreq=1000.0, grid=(24, 24, 12), voxel_mm=(8.0, 8.0, 5.0), calibration_s=24.0, n_blocks=2, block_s=8.0
)
WRITTEN = {
    "decisions.jsonl", "scores.jsonl", "triggers.jsonl", "vetoes.jsonl", "features.jsonl",
    "bold_regions.tsv", "confounds.tsv",
    "header.json", "quality.json", "summary.json", "timings.json",
    "clean_eeg.vhdr", "clean_eeg.eeg", "clean_eeg.vmrk", "clean_eeg.tsv",
}  # fmt: skip
SAME_LIVE = WRITTEN - {"header.json", "quality.json", "summary.json", "timings.json"}


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outputs")
    simulate_session(folder / "session", SMALL, workers=1)
    return folder / "session" / "task" / "recording.toml"


@pytest.fixture(scope="module")
def config(task: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    root = task.parent.parent
    bare = Config(bold=BoldSection(regions=root / "regions.nii.gz", region_names=root / "regions.tsv"))
    folder = tmp_path_factory.mktemp("model")
    card = str(fitting_card(bare, folder))
    uncalibrated = bare.model_copy(update={"model": ModelSection(card=card, provider="cpu")})
    save_calibration(calibrate_recording(root / "calibration" / "recording.toml", uncalibrated), folder / "own")
    model = ModelSection(card=card, provider="cpu", calibration=folder / "own")
    return bare.model_copy(update={"model": model})


def content(folder: Path, names: set[str]) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names}


@pytest.fixture(scope="module")
def replayed(task: Path, config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("replayed") / "out"
    replay_recording(task, config, out)
    return out


def test_all_is_written_and_two_replays_differ_in_timings_only(
    task: Path, config: Config, replayed: Path, tmp_path: Path
):
    assert {p.name for p in replayed.iterdir()} == WRITTEN
    replay_recording(task, config, tmp_path / "again")
    same = WRITTEN - {"timings.json"}
    assert content(tmp_path / "again", same) == content(replayed, same)
    timings = json.loads((replayed / "timings.json").read_text())
    assert timings["wall_s"] > 0
    assert timings["folder"] == str(replayed)
    assert timings["latency_ms"]["clean_eeg"]["p50"] > 0
    summary = json.loads((replayed / "summary.json").read_text())
    assert not {"folder", "latency_ms", "wall_s"} & set(summary)
    assert summary["counts"]["decisions"] == len(read_predictions(replayed)) > 150
    assert summary["losses"] == {"samples": 0, "volumes": 0}


def test_a_paced_replay_writes_the_same_bytes(task: Path, config: Config, replayed: Path, tmp_path: Path):
    replay_recording(task, config, tmp_path / "paced", speed=10.0)
    same = WRITTEN - {"timings.json"}
    assert content(tmp_path / "paced", same) == content(replayed, same)


def test_quality_tells_what_was_good(replayed: Path, task: Path):
    values = json.loads((replayed / "quality.json").read_text())
    recording = open_recording(task)
    assert recording.bold is not None
    assert values["bold"]["frames"] == recording.bold.n_volumes
    assert values["bold"]["lost"] == values["bold"]["refused"] == 0
    assert values["timing"]["triggers"] == recording.bold.n_volumes
    assert values["timing"]["lost_samples"] == 0
    assert values["eeg"]["template"]["epochs"] > 0
    assert values["eeg"]["clean_eeg_file"]["samples"] == values["eeg"]["clean_samples"]
    n = values["windows"]["windows"]
    assert "UNCALIBRATED" not in values["windows"]["flags_windows"]
    assert 0 < values["windows"]["bold_valid"] <= n
    assert 0 < values["windows"]["eeg_valid"] < n
    whole = [p for p in read_predictions(replayed) if not p.flags & (Flag.NO_EEG | Flag.NO_BOLD)]
    assert len(whole) > 50


def test_markers_of_the_cleaned_eeg_lie_where_the_artefact_begins(replayed: Path, task: Path):
    recording = open_recording(task)
    assert recording.eeg is not None
    raw = mne.io.read_raw_brainvision(replayed / "clean_eeg.vhdr", verbose="error")
    rows = [line.split("\t") for line in (replayed / "clean_eeg.tsv").read_text().splitlines()[1:]]
    start = float(rows[0][2])
    pairs = zip(raw.annotations.onset, raw.annotations.description, strict=True)
    found = np.array([onset for onset, label in pairs if label.endswith("/R128")]) + start
    wanted = [m.at_s for m in recording.eeg.markers if m.label == "R128"]
    np.testing.assert_allclose(found, wanted, atol=0.5 / raw.info["sfreq"] + 1e-5)


@pytest.mark.timeout(180)
# shrinking would take minutes: the faults that were drawn say enough
@settings(
    max_examples=4, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
)
@given(f=faults)
def test_a_live_session_and_its_replay_write_the_same(
    task: Path, config: Config, tmp_path_factory: pytest.TempPathFactory, f: Faults
):
    folder = tmp_path_factory.mktemp("live")
    live(task, config, folder / "live", f)
    replay_recording(folder / "live", config_for(folder / "live", None), folder / "replayed")
    before, after = content(folder / "live", SAME_LIVE), content(folder / "replayed", SAME_LIVE)
    assert [name for name in sorted(SAME_LIVE) if before[name] != after[name]] == []
    assert len(read_predictions(folder / "live")) > 100


def test_what_the_gate_refused_live_it_refuses_in_the_replay(task: Path, config: Config, tmp_path: Path):
    own = load_calibration(Path(str(config.model.calibration)))
    save_calibration(replace(own, threshold_on=None, threshold_off=None), tmp_path / "own")
    eager = DecisionSettings(
        threshold_on=0.02, threshold_off=0.01, veto=(), dwell_s=0.2, refractory_s=0.5, max_per_minute=600
    )
    model = config.model.model_copy(update={"calibration": tmp_path / "own"})
    config = config.model_copy(update={"decision": eager, "model": model})
    nothing = Faults(3, *[frozenset[int]()] * 2, 10**6, 0.0, *[frozenset[int]()] * 4)
    live(task, config, tmp_path / "live", nothing, late_s=2.0)
    vetoes = [veto["reason"] for veto in map(json.loads, (tmp_path / "live" / "vetoes.jsonl").read_text().splitlines())]
    assert vetoes.count("gate: expired") > 1
    assert vetoes.count("gate: too many in a minute") > 1
    assert len((tmp_path / "live" / "triggers.jsonl").read_text().splitlines()) > 5
    replay_recording(tmp_path / "live", config_for(tmp_path / "live", None), tmp_path / "replayed")
    before, after = content(tmp_path / "live", SAME_LIVE), content(tmp_path / "replayed", SAME_LIVE)
    assert [name for name in sorted(SAME_LIVE) if before[name] != after[name]] == []


@dataclass(frozen=True)
class Changed:
    """An EEG part with some of it taken away or renamed."""

    whole: EegPart
    keep: np.ndarray
    names: tuple[str, ...] | None = None
    format: str = "changed"
    problems: tuple[str, ...] = ()

    @property
    def sfreq(self) -> float:
        return self.whole.sfreq

    @property
    def channels(self) -> tuple[ChannelInfo, ...]:
        names = self.names or tuple(c.name for c in self.whole.channels)
        return tuple(replace(c, name=name) for c, name in zip(self.whole.channels, names, strict=True))

    @property
    def n_samples(self) -> int:
        return len(self.keep)

    @property
    def markers(self) -> tuple[RecordedMarker, ...]:
        kept = [m for m in self.whole.markers if m.sample in set(self.keep.tolist())]
        return tuple(replace(m, sample=int(np.searchsorted(self.keep, m.sample or 0))) for m in kept)

    @property
    def duration_s(self) -> float:
        return float(self.keep[-1] + 1) / self.sfreq

    def read(self, start: int, stop: int) -> F32:
        return self.whole.read(0, self.whole.n_samples)[self.keep[start:stop]]

    def times(self, start: int, stop: int) -> tuple[F64, F64]:
        at = self.keep[start:stop] / self.sfreq
        return at, at


Opened = Callable[[Recording], Path]


@pytest.fixture
def opened(task: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Let the replay open a recording that was changed in memory."""

    def opened(recording: Recording) -> Path:
        monkeypatch.setattr("streamer.replay.open_recording", lambda _: recording)
        return task

    return opened


def cut(recording: Recording, start_s: float, stop_s: float) -> Recording:
    eeg = recording.eeg
    assert eeg is not None
    index = np.arange(eeg.n_samples)
    keep = index[(index < start_s * eeg.sfreq) | (index >= stop_s * eeg.sfreq)]
    return replace(recording, eeg=Changed(eeg, keep))


def test_speed_1_takes_the_time_and_writes_the_same_bytes(opened: Opened, task: Path, config: Config, tmp_path: Path):
    short = replace(cut(open_recording(task), 2.5, 1e9), bold=None)
    for name, speed in (("max", None), ("1", 1.0)):
        replay_recording(opened(short), config, tmp_path / name, speed=speed)
    same = WRITTEN - {"timings.json"}
    assert content(tmp_path / "1", same) == content(tmp_path / "max", same)
    assert json.loads((tmp_path / "1" / "timings.json").read_text())["wall_s"] > 2.4


def test_decisions_go_on_while_the_eeg_is_silent(opened: Opened, task: Path, config: Config, tmp_path: Path):
    holed = cut(open_recording(task), 6.0, 9.0)
    events = list(recorded_events(holed, None, 0.0))
    assert [round(e.at, 6) for e in events if isinstance(e, Tick)] == [round(0.1 * k, 6) for k in range(63, 91)]
    assert all(a.received <= b.received for a, b in pairwise(events))
    known = [(float(e.times[-1]), e.received) for e in events if isinstance(e, EegChunk)]
    assert all(at == received for at, received in known), "nothing before the gap waits for its end"
    summary = replay_recording(opened(holed), config, tmp_path / "out")
    decisions = read_predictions(tmp_path / "out")
    silent = [p for p in decisions if 6.4 < p.about < 9.0]
    assert len(silent) >= 24
    assert all(p.flags & Flag.NO_EEG for p in silent[5:])
    assert summary.losses["samples"] == 3000
    clean = open_brainvision(tmp_path / "out" / "clean_eeg.vhdr")
    # the cleaned times begin earlier by the filters' delay, and the hop that the gap broke is not there
    assert clean.duration_s == pytest.approx(open_recording(task).duration_s, abs=0.02)
    assert clean.n_samples == pytest.approx(250 * (clean.duration_s - 3.0), abs=2)
    assert clean.segments.first.tolist() == [0, 1500]


def test_a_silence_too_long_to_be_believed_is_not_ticked_through(task: Path):
    whole = open_recording(task)
    assert whole.eeg is not None
    keep = np.concatenate([np.arange(1000), np.arange(1000) + 10_000_000])

    class Jumping(Changed):
        def read(self, start: int, stop: int) -> F32:
            return self.whole.read(0, stop - start)

    events = list(recorded_events(replace(whole, eeg=Jumping(whole.eeg, keep), bold=None), None, 0.0))
    ticks = [e for e in events if isinstance(e, Tick)]
    assert 5990 <= len(ticks) <= 6010
    assert ticks[-1].at == pytest.approx(10_000.0, abs=0.11)


@pytest.mark.parametrize("broken", [[0], [4], [-1], [0, 1, 5]])
def test_a_volume_that_cannot_be_read_is_a_loss_and_not_an_end(
    opened: Opened, task: Path, config: Config, tmp_path: Path, broken: list[int]
):
    whole = open_recording(task)
    assert whole.bold is not None
    bold = whole.bold
    places = [k % bold.n_volumes for k in broken]

    def torn(k: int) -> Volume:
        if k in places:
            raise RecordingError("the file ends too early")
        return bold.read(k)

    summary = replay_recording(opened(replace(whole, bold=replace(bold, read=torn))), config, tmp_path / "out")
    assert summary.losses["volumes"] == len(broken)
    assert sum("cannot be read" in note for note in summary.notes) == len(broken)
    assert summary.counts["bold_frames"] == bold.n_volumes - len(broken)
    quality = json.loads((tmp_path / "out" / "quality.json").read_text())
    assert quality["bold"]["unreadable"] == [bold.indices[k] for k in places]
    assert len(read_predictions(tmp_path / "out")) > 150


def test_without_a_fitting_card_cleaning_goes_on_and_says_so(opened: Opened, task: Path, tmp_path: Path):
    whole = open_recording(task)
    eeg = whole.eeg
    assert eeg is not None
    names = tuple(f"X{k}" for k in range(len(eeg.channels)))
    strange = replace(whole, eeg=Changed(eeg, np.arange(eeg.n_samples), names))
    shipped = Config(model=ModelSection(card="simulated"))
    with pytest.raises(ModelError):
        replay_recording(opened(strange), shipped, tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    summary = replay_recording(opened(strange), shipped, tmp_path / "out", without_model=True)
    assert summary.notes[0].startswith("replayed without a model")
    assert "X0" in summary.notes[0]
    assert summary.counts["windows"] > 150
    assert "decisions" not in summary.counts
    assert (tmp_path / "out" / "decisions.jsonl").read_bytes() == b""
    named = Config(model=ModelSection(card=str(fitting_card(Config(), tmp_path / "card"))))
    with pytest.raises(ModelError):
        replay_recording(opened(strange), named, tmp_path / "named", without_model=True)


@pytest.mark.parametrize("present", ["eeg", "bold"])
def test_one_modality_alone_is_replayed(opened: Opened, task: Path, config: Config, tmp_path: Path, present: str):
    whole = open_recording(task)
    part = replace(whole, bold=None) if present == "eeg" else replace(whole, eeg=None)
    summary = replay_recording(opened(part), config, tmp_path / "out")
    names = {p.name for p in (tmp_path / "out").iterdir()}
    clean: set[str] = {name for name in WRITTEN if name.startswith("clean_eeg")}
    assert names == (WRITTEN if present == "eeg" else WRITTEN - clean)
    frames = (tmp_path / "out" / "bold_regions.tsv").read_text().splitlines()[1:]
    assert whole.bold is not None
    assert len(frames) == (0 if present == "eeg" else whole.bold.n_volumes)
    assert summary.counts["decisions"] == len(read_predictions(tmp_path / "out")) > 100


def test_a_log_that_was_cut_is_replayed_as_far_as_it_goes(task: Path, config: Config, tmp_path: Path):
    none = Faults(0, *(frozenset[int]() for _ in range(2)), 10_000, 0.0, *(frozenset[int]() for _ in range(4)))
    live(task, config, tmp_path / "live", none)
    log = tmp_path / "live" / "runlog.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole[: 2 * len(whole) // 3])
    summary = replay_recording(tmp_path / "live", config_for(tmp_path / "live", None), tmp_path / "out")
    assert any("middle of line" in note for note in summary.notes)
    n_events = len(list(read_session(tmp_path / "live").events))
    assert n_events == whole[: 2 * len(whole) // 3].count(b"\n")
    again = read_predictions(tmp_path / "out")
    assert again == read_predictions(tmp_path / "live")[: len(again)]
    assert len(again) > 50


def test_results_are_never_overwritten(task: Path, config: Config, replayed: Path):
    before = content(replayed, WRITTEN)
    with pytest.raises(UsageError, match="nothing is overwritten"):
        replay_recording(task, config, replayed)
    assert content(replayed, WRITTEN) == before


def test_outputs_are_handed_on_and_not_kept(task: Path, config: Config):
    taken: list[Any] = []
    summary = replay_recording(task, config, None, take=lambda outputs: taken.append(len(outputs)))
    assert sum(taken) > summary.counts["windows"] + summary.counts["decisions"]
