"""The demo: a simulated session through the whole loop, live and replayed, scored against the planted truth.

Every part is the real one, in a process of its own: the rig plays the amplifier and the scanner, ``streamer run`` takes
them in through LSL and the export directory as it would take real ones, the dashboard listens to the broker.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from streamer.acquire.recording import Recording
from streamer.acquire.recordings import open_recording
from streamer.calibrate import calibrate_recording
from streamer.calibration import save_calibration
from streamer.child import Child, child
from streamer.clock import pause, stopwatch
from streamer.config import BoldSection, Config, EegSection, ModelSection, SessionSection, commented_toml
from streamer.decode.scores import BlockScores, score_predictions
from streamer.emit.results import read_predictions, read_triggers
from streamer.messages import Output, Prediction, Trigger
from streamer.replay import config_for, replay_to
from streamer.simulate.session import SimulationSettings, simulate_session
from streamer.summary import RunSummary

STREAM = "demo-amplifier"
SETTLE_S = 1.5
"""After the rig is done: time for the last volume to come through, s."""
PICTURE_S = 2.0
"""Before the end of the live part: when the dashboard's picture is taken, s."""
NO_GRAPHICS = 3
"""Exit code of a dashboard that finds no graphics libraries."""
TEXT_ALONE = "-T 'eegfmri/+/preview/#'"
"""Keeps off a terminal what is no text."""


@dataclass(frozen=True)
class DemoSettings:
    """What the demo does."""

    out: Path
    seed: int = 7
    live_s: float = 30.0
    """Length of the live part, s."""
    headless: bool = False
    """Never open a window."""


@dataclass
class DemoResult:
    """What the demo found; ``plain`` is the content of ``--json``."""

    folder: str
    seconds: float = 0.0
    n_blocks: int = 0
    accuracy: float = 0.0
    accuracy_ci95: tuple[float, float] = (0.0, 0.0)
    chance: float = 0.0
    triggers: int = 0
    decisions: int = 0
    lost_samples: int = 0
    lost_volumes: int = 0
    latency_ms: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    live: dict[str, Any] = field(default_factory=dict[str, Any])
    session: dict[str, Any] = field(default_factory=dict[str, Any])
    parity: dict[str, Any] = field(default_factory=dict[str, Any])
    triggers_in_task: int = 0
    """Triggers while the planted state was the target."""
    blocks: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    screenshot: str | None = None
    notes: list[str] = field(default_factory=list[str])

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


Progress = Callable[[str], "contextlib.AbstractContextManager[Callable[[float], None]]"]


def run_demo(settings: DemoSettings, say: Callable[[str], None], progress: Progress) -> DemoResult:
    """Run the whole demo.

    Parameters
    ----------
    settings : DemoSettings
        ``out`` must not exist.
    say : callable
        Takes lines for the person who watches.
    progress : callable
        Opens a progress bar with a title; gives a function that takes the fraction done.

    Raises
    ------
    StreamerError
        A part failed; its own message is passed on.
    """
    started = stopwatch()
    out = settings.out
    result = DemoResult(folder=str(out))
    with progress("simulating a session") as tell:
        simulate_session(out / "recording", SimulationSettings(seed=settings.seed), tell)
    task = out / "recording" / "task" / "recording.toml"
    config = Config(
        session=SessionSection(name="live", directory=out.resolve()),
        eeg=EegSection.of_rig(STREAM),
        bold=BoldSection(
            directory=(out / "export").resolve(),
            regions=(out / "recording" / "regions.nii.gz").resolve(),
            region_names=(out / "recording" / "regions.tsv").resolve(),
        ),
        # the participant is simulated: the network that was trained on such is the one that knows them
        model=ModelSection(card="simulated", calibration=(out / "calibration").resolve()),
    )
    with progress("calibration run, replayed") as tell:
        calibration = calibrate_recording(out / "recording" / "calibration" / "recording.toml", config, tell)
    save_calibration(calibration, out / "calibration")
    say(f"thresholds from the calibration run: on {calibration.threshold_on}, off {calibration.threshold_off}")
    (out / "SESSION.toml").write_text(commented_toml(config), encoding="utf-8")
    _live(settings, task, result, say)
    with progress("live part replayed from its log") as tell:
        _compare(out / "live", result, tell)
    recording = open_recording(task)
    with progress("whole task run, replayed") as tell:
        summary, outputs = replay_to(task, config, out / "session", calibration, tell)
    _score(recording, summary, outputs, config.decision.target, result)
    result.seconds = round(stopwatch() - started, 1)
    return result


def _live(settings: DemoSettings, task: Path, result: DemoResult, say: Callable[[str], None]) -> None:
    out = settings.out
    (out / "export").mkdir()
    with contextlib.ExitStack() as stack:
        run = stack.enter_context(child("run", str(out / "SESSION.toml"), "--json"))
        rig = stack.enter_context(
            child(
                "rig", str(task), "--export", str(out / "export"), "--stream-name", STREAM,
                "--stop", str(settings.live_s), "--json",
            )
        )  # fmt: skip
        running = run.wait_for(lambda m: m.get("event") == "running", 60.0)
        broker = str(running["broker"])
        port = broker.rsplit(":", 1)[-1]
        say(f"live for {settings.live_s:.0f} s; watch it with: mosquitto_sub -p {port} -t 'eegfmri/#' {TEXT_ALONE} -v")
        picture = out / "dashboard.png"
        window = None if settings.headless else _window_kind()
        arguments = ["--broker", broker, "--session", "live", "--screenshot", str(picture)]
        if window is None:
            arguments.append("--offscreen")
            say("no window is opened: the dashboard is rendered offscreen")
        else:
            say("the dashboard opens in a window")
        dashboard = stack.enter_context(child("dashboard", *arguments))
        rig.wait_for(lambda m: m.get("state") == "playing", 60.0)
        # the picture is of the running loop: taken before the rig falls silent
        pause(settings.live_s - PICTURE_S)
        _end_dashboard(dashboard, picture, result, say)
        done = rig.wait_for(lambda m: m.get("state") == "done", 60.0)
        pause(SETTLE_S)
        run.process.send_signal(signal.SIGTERM)
        summary = run.wait_for(lambda m: m.get("event") == "summary", 30.0)
        # the summary comes first, then recording.xdf is written
        run.process.wait(60.0)
    losses = summary["losses"]
    # what the rig sent is the truth; the loop's own count of gaps cannot see a loss at either end
    samples = int(done["samples"]) - int(summary["counts"]["samples"])
    volumes = int(done["volumes"]) - int(summary["counts"].get("volumes", 0))
    result.lost_samples = max(samples, int(losses.get("samples", 0)))
    result.lost_volumes = max(volumes, int(losses.get("volumes", 0)))
    result.latency_ms = summary["latency_ms"]
    result.live = {
        "sent": {k: done[k] for k in ("samples", "markers", "volumes")},
        "counts": summary["counts"],
        "losses": losses,
        "provider": summary["provider"],
    }
    result.notes += summary["notes"]


def _window_kind() -> str | None:
    if sys.platform in {"win32", "darwin"}:
        return sys.platform
    return os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY") or None


def _end_dashboard(dashboard: Child, picture: Path, result: DemoResult, say: Callable[[str], None]) -> None:
    if dashboard.process.poll() is None:
        dashboard.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            dashboard.process.wait(10.0)
    text = dashboard.text()
    if picture.exists():
        result.screenshot = str(picture)
        say(f"screenshot of the dashboard: {picture}")
    elif dashboard.process.returncode == NO_GRAPHICS:
        note = "the picture is left out: " + (text or "the graphics libraries are missing")
        result.notes.append(note)
        say(note)
    else:
        note = f"the dashboard ended with code {dashboard.process.returncode} and left no picture: {text}"
        result.notes.append(note)
        say(note)


def _compare(live: Path, result: DemoResult, tell: Callable[[float], None]) -> None:
    again = live.parent / "live-replayed"
    replay_to(live, config_for(live, None), again, None, tell)
    before = read_predictions(live)
    after = {p.seq: p for p in read_predictions(again)}
    result.parity = {
        "predictions_live": len(before),
        "predictions_replayed": len(after),
        "predictions_equal": sum(after.get(p.seq) == p for p in before),
        "triggers_live": len(read_triggers(live)),
        "triggers_replayed": len(read_triggers(again)),
        "triggers_equal": read_triggers(live) == read_triggers(again),
    }


def _score(recording: Recording, summary: RunSummary, outputs: list[Output], target: str, result: DemoResult) -> None:
    scores: BlockScores = score_predictions(
        [o for o in outputs if isinstance(o, Prediction)], recording.events, 0.0, target
    )
    result.n_blocks = scores.n_blocks
    result.accuracy = round(scores.accuracy, 4)
    result.accuracy_ci95 = (round(scores.ci95[0], 4), round(scores.ci95[1], 4))
    result.chance = round(scores.chance, 4)
    result.blocks = [{**asdict(b), "correct": b.correct} for b in scores.blocks]
    triggers = [o for o in outputs if isinstance(o, Trigger)]
    result.triggers = len(triggers)
    result.triggers_in_task = sum(
        any(b.label == target and b.onset_s <= t.about < b.onset_s + b.duration_s for b in recording.events)
        for t in triggers
    )
    result.decisions = summary.counts.get("decisions", 0)
    result.lost_samples += summary.losses.get("samples", 0)
    result.lost_volumes += summary.losses.get("volumes", 0)
    result.session = {"counts": summary.counts, "losses": summary.losses, "seconds": summary.seconds}
