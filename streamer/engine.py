"""The EEG core: ``feed(event) -> list[Output]`` is a function of settings and event sequence, nothing else.

::

    EegCore    EegChunk ─ timeline ─ triggers ─ lane (gradient, pulse, filters, channels) ─ band power ┐
               Marker ───────────────┘            ▲ pose of the head                                   │
               BoldFrame ─ onset of its trigger ──┴─ region signals (heart, breath) ───────────────────┤
               Tick (while the EEG is silent) ─────────────────────────────────────────────────────────┤
                                                                           window ─ model ─ decision ──┘

The BOLD lane's core is in ``bold_core.py``. States of ``EegCore``, recomputed after every event:

=========  ==================================================  =================================
state      when                                                triggers
=========  ==================================================  =================================
STARTING   nothing has come yet                                none
WARMING    a template, filter, baseline or history is filling  vetoed by the window's flags
RUNNING    windows hold every modality that is expected        yes
DEGRADED   a modality is masked or out of step                 by the decision's own veto list
STOPPED    the operator said so                                none
=========  ==================================================  =================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from streamer.align.eeg_time import EegTimeline
from streamer.align.triggers import TriggerTrain
from streamer.align.volume_match import VolumeMatcher
from streamer.align.volume_starts import VolumeStarts
from streamer.align.windows import WindowBuilder
from streamer.clean.bold.dynamics.dynamics_set import BoldDynamics
from streamer.clean.bold.signal.region_signal import RegionSignal
from streamer.clean.bold.signal.retroicor import Retroicor
from streamer.clean.eeg.lane import EegLane
from streamer.clean.eeg.ocular import OcularFit
from streamer.core_timing import timing_alarms, timing_figures
from streamer.decode.baseline import PowerBaseline, RunningBaseline, log_power
from streamer.decode.bold_estimate import BoldEstimate, EstimateFit
from streamer.decode.candidate import Candidate
from streamer.decode.decide import Decision, Sham
from streamer.decode.features import BandPower, PowerStep
from streamer.decode.model import Model
from streamer.decode.recentre import COMMANDS, RECENTRE, Recentre
from streamer.decode.relevance import Relevance
from streamer.eeg_extras import EegExtras
from streamer.engine_settings import EngineSettings
from streamer.messages import (
    F32,
    F64,
    BoldFrame,
    ChannelInfo,
    Command,
    EegChunk,
    Event,
    Feature,
    Flag,
    Marker,
    Output,
    Prediction,
    SessionTime,
    State,
    Tick,
    Window,
)
from streamer.probe import NoProbe, Probe

ESTIMATE = "estimate"
"""Where the fit that guesses the BOLD stands among what was learned."""


class EegCore:
    """The EEG lane, windows, model and decision.

    Parameters
    ----------
    settings : EngineSettings
    sfreq : float
        Nominal rate of the incoming EEG, Hz.
    channels : tuple of ChannelInfo
        Of the incoming EEG.
    regions : tuple of str
        Names of the BOLD lane's regions, in order.
    model : Model or None
        None makes windows but no predictions.
    baseline : PowerBaseline or None
        From a calibration run; None estimates it from the run's own past.
    ocular : OcularFit or None
        Takes eye artefacts out, from a calibration run.
    probe : Probe
    region_means : array, shape (n_regions,), or None
        Mean intensity of each region at rest, from a calibration run; None takes the run's first seconds.
    learned : mapping or None
        What the features beside band power learned in a calibration run; None lets them learn from the run's own past.
        Under ``estimate`` the fit that guesses the BOLD from the EEG; without it nothing is guessed.
    sham : Sham or None
        Stands between the score and the participant in a blinded session, whatever its condition.
    """

    def __init__(
        self,
        settings: EngineSettings,
        sfreq: float,
        channels: tuple[ChannelInfo, ...],
        regions: tuple[str, ...],
        model: Model | None = None,
        baseline: PowerBaseline | None = None,
        ocular: OcularFit | None = None,
        probe: Probe | None = None,
        region_means: F32 | None = None,
        learned: Mapping[str, Any] | None = None,
        sham: Sham | None = None,
    ) -> None:
        self.settings = settings
        self.model = model
        self.lane = EegLane(settings.eeg, sfreq, channels, ocular)
        # the lane keeps flags by the hop
        hop = self.lane.factor * max(1, round(settings.eeg.hop_s * self.lane.sfreq_out))
        self.timeline = EegTimeline(settings.timeline, sfreq, hop)
        self.triggers = TriggerTrain(settings.triggers, sfreq, self.timeline.samples)
        self.matcher = VolumeMatcher(settings.bold_first_volume, settings.bold_alarm_tr)
        self._starts = VolumeStarts()
        n_channels = len(self.lane.channels)
        self.features = BandPower(settings.features, self.lane.sfreq_out, n_channels)
        names = [c.name for c in self.lane.channels]
        self._extras = EegExtras(settings, self.lane, learned, follow=sham is None)
        fit = (learned or {}).get(ESTIMATE) if settings.estimate.enabled else None
        self._estimate = (
            None
            if fit is None
            else BoldEstimate(settings.estimate, EstimateFit.of(fit), regions, settings.features.step_s)
        )
        self._n_features = n_channels * len(settings.features.bands)
        self.windows = WindowBuilder(
            settings.windows,
            self._n_features,
            len(regions),
            _whole(settings.windows.eeg_step_s, settings.features.step_s),
            self.lane.hold_s,
        )
        self._sfreq = sfreq
        wanted = settings.regions.method == "glm" and settings.regions.nuisance.retroicor
        self._breath = next((i for i, c in enumerate(channels) if c.kind == "resp"), None) if wanted else None
        trace_hz = None if self._breath is None else sfreq
        self._retroicor = Retroicor(settings.retroicor, len(regions), trace_hz) if wanted else None
        means = None if region_means is None else region_means.astype(np.float64)
        self._regions = RegionSignal(settings.regions, len(regions), means)
        self._dynamics = BoldDynamics(settings.dynamics, regions)
        self._steps_per_tick = _whole(1.0 / settings.tick_hz, settings.features.step_s)
        self.decision = Decision(settings.decision, model.classes, sham) if model is not None else None
        self._baseline = baseline
        self._recentre: Recentre | None = None
        if settings.recentre.enabled and baseline is not None:
            labels = tuple(f"{name}:{band}" for name in names for band in settings.features.bands)
            fine = _whole(settings.windows.eeg_step_s, settings.features.step_s)
            self._recentre = Recentre(settings.recentre, baseline, labels, fine, settings.features.step_s)
            self._recentre.sham = sham is not None
        self._bold_flags = Flag.NONE
        self._relevance: Relevance | None = None
        if model is not None and settings.relevance.enabled:
            self._relevance = Relevance(model, names, tuple(settings.features.bands), regions)
        self._asked: tuple[Window, Prediction] | None = None
        self._running = None if baseline is not None else RunningBaseline(self._n_features)
        self._running_needed = round(settings.uncalibrated_s / settings.features.step_s)
        self._probe: Probe = probe if probe is not None else NoProbe()
        self._state = State.STARTING
        self._stopped = False
        self._series: str | None = None
        self.steps: list[PowerStep] | None = None
        """Set to a list to collect feature steps (calibration)."""

    @property
    def state(self) -> State:
        """The state after the last event."""
        return State.STOPPED if self._stopped else self._state

    @property
    def regressors(self) -> tuple[str, ...]:
        """Sets of regressors that the region signals are cleaned with now; none with ``baseline``."""
        return self._regions.regressors

    def learned(self) -> dict[str, Any]:
        """Give what was learned beside band power so far, as plain values; empty while there is nothing."""
        return self._extras.learned()

    @property
    def notes(self) -> tuple[str, ...]:
        """What the operator should know of sources of triggers that hold back."""
        return self._extras.notes

    def timing(self) -> dict[str, int | float]:
        """Tell what was found of time so far: counts, and figures in s or ms as their names say."""
        return timing_figures(self.timeline, self.triggers, self.matcher)

    def timing_alarms(self) -> tuple[str, ...]:
        """Say in words what disagrees, oldest first; at most 17 sentences."""
        return timing_alarms(self.triggers, self.matcher, self.settings.triggers.alarm_s)

    def feed(self, event: Event) -> list[Output]:
        """Take one event; give what follows from it, in order."""
        self._probe.start()
        match event:
            case EegChunk():
                return self._chunk(event)
            case Marker():
                self._marker(event)
                return []
            case BoldFrame():
                return self._frame(event)
            case Tick():
                return self._tick(event)
            case Command():
                self._command(event)
                return []
            case _:
                return []

    def _chunk(self, event: EegChunk) -> list[Output]:
        out: list[Output] = self._look_aside()
        for chunk in self.timeline(event):
            if self._retroicor is not None and self._breath is not None:
                # as it came: the lane's high-pass would distort a breath
                self._retroicor.trace(chunk.first_sample, chunk.data[:, self._breath])
            for marker in self.triggers.chunk(chunk):
                self._trigger(marker)
            self._probe.lap("align")
            cleaned = self.lane.chunk(chunk)
            self._probe.lap("clean_eeg")
            for clean in cleaned:
                out.append(clean)
                for extra in self._extras(clean):
                    out.extend(self._candidate(extra) if isinstance(extra, Candidate) else self._fed_back([extra]))
                for step in self.features(clean):
                    out.extend(self._step(step))
            self._probe.start()
        return out

    def _look_aside(self) -> list[Output]:
        """Ask what the last decision rested on: between decisions, so that none of them waits for it."""
        asked, self._asked = self._asked, None
        if self._relevance is None or asked is None:
            return []
        found = self._relevance(*asked)
        return [] if found is None else [found]

    def _candidate(self, candidate: Candidate) -> list[Output]:
        decided = None if self.decision is None else self.decision.candidate(candidate)
        return [] if decided is None else [decided]

    def _fed_back(self, features: list[Feature]) -> list[Feature]:
        if self.decision is not None:
            for feature in features:
                self.decision.feature(feature)
        return features

    def _marker(self, event: Marker) -> None:
        for marker in self.triggers.marker(event):
            self._trigger(marker)

    def _trigger(self, marker: Marker) -> None:
        start = self.triggers.volume_start(marker)
        if start is not None:
            self.lane.trigger(start)
            self._starts.add(float(marker.at), start)
        elif marker.sample is not None:
            self.lane.marker(marker.label, marker.sample)

    def _step(self, step: PowerStep) -> list[Output]:
        if self.steps is not None:
            self.steps.append(step)
        power = step.power.reshape(-1)
        trusted = step.clean
        if self._running is not None and trusted:
            self._running.add(log_power(power))
        self.windows.eeg(step.index, power, step.end_time, step.flags, valid=trusted)
        out: list[Output] = []
        if self._recentre is not None and (moved := self._recentre(step, self._bold_flags)) is not None:
            out.append(moved)
        if self._estimate is not None:
            guess = self._estimate(step.index, log_power(power) if trusted else None, step.end_time, step.flags)
            out.extend([] if guess is None else [guess])
        self._probe.lap("features")
        if (step.index + 1) % self._steps_per_tick == 0:
            out.extend(self._decide(step.end_time))
        return out

    def _frame(self, event: BoldFrame) -> list[Output]:
        start = None
        match = self.matcher(event, self.triggers.trains, self.triggers.newest)
        if match.onset is None:
            acquired = SessionTime(event.received - self.settings.bold_latency_s - event.tr + event.after_onset_s)
            frame = replace(event, acquired=acquired, flags=event.flags | Flag.UNSYNCED)
        else:
            acquired = SessionTime(match.onset + event.after_onset_s)
            frame = replace(event, acquired=acquired, flags=event.flags | match.flags)
            start = self._starts.at(match.onset, within=frame.tr / 4)
            self._tell_lane(frame, start)
        frame = self._regions(frame, self._heart_and_breath(frame, start))
        self.windows.bold(frame)
        self._bold_flags = frame.flags & Flag.MOTION
        return [frame, *self._fed_back(self._dynamics(frame))]

    def _heart_and_breath(self, frame: BoldFrame, start: int | None) -> F64 | None:
        """Columns of a volume that began at sample ``start``; None where none are wanted, or nobody knows when."""
        if self._retroicor is None:
            return None
        if frame.slices.size:
            self._retroicor.place(frame.slices[0], frame.slices[1:])
        for beat in self.lane.take_beats():
            self._retroicor.beat(beat)
        return None if start is None else self._retroicor(start / self._sfreq)

    def _tell_lane(self, frame: BoldFrame, start: int | None) -> None:
        """Tell the EEG lane where the head was, and when another series began: its artefact is another."""
        if start is None or frame.flags & Flag.MISALIGNED:
            return
        if frame.series != self._series:
            if self._series is not None:
                self.lane.new_series(start)
            self._series = frame.series
        self.lane.pose(start, frame.motion)

    def _tick(self, event: Tick) -> list[Output]:
        newest = self.windows.eeg_end
        if newest is not None and event.at - newest <= self.windows.age_eeg_max_s:
            return []
        return self._decide(event.at)

    def _command(self, event: Command) -> None:
        if event.action == "stop":
            self._stopped = True
        elif event.action == "arm":
            self._stopped = False
        if self.decision is not None and event.action in {"stop", "arm"}:
            self.decision.command(event.action)
        if event.action == RECENTRE and event.text in COMMANDS:
            self._extras.recentre(event.text)
            if self._recentre is not None:
                self._recentre.command(event.text)

    def _decide(self, end: SessionTime) -> list[Output]:
        window = self._window(end)
        out: list[Output] = [window]
        self._update_state(window)
        self._probe.lap("window")
        if self.model is None or self.decision is None:
            return out
        prediction = self.model(window)
        self._probe.lap("model")
        out.append(prediction)
        self._asked = (window, prediction)
        out.extend(self.decision(prediction))
        self._probe.lap("decide")
        return out

    def _window(self, end: SessionTime) -> Window:
        power = self.windows.power_steps(end)
        extra = Flag.NONE
        baseline = self._baseline
        if baseline is None and self._running is not None:
            extra = Flag.UNCALIBRATED
            if self._running.n >= self._running_needed:
                baseline = self._running.freeze()
            else:
                extra |= Flag.WARMING
        eeg = None
        if power is not None and baseline is not None:
            z = baseline.z(log_power(power))
            if self._recentre is not None:
                z = (z - self._recentre.shift).astype(np.float32)
            eeg = self.windows.paired(z)
        return self.windows.cut(end, eeg, extra, self._extras.tangent(end, self.windows.age_eeg_max_s))

    def _update_state(self, window: Window) -> None:
        if window.eeg_valid and window.bold_valid:
            self._state = State.WARMING if window.flags & Flag.WARMING else State.RUNNING
        elif self._state in {State.STARTING, State.WARMING} and (
            window.flags & Flag.WARMING or not np.isfinite(window.age_bold)
        ):
            self._state = State.WARMING
        else:
            self._state = State.DEGRADED


def _whole(long_s: float, short_s: float) -> int:
    count = round(long_s / short_s)
    if count < 1 or abs(count * short_s - long_s) > 1e-9 * long_s:
        raise ValueError(f"{long_s} s is not a whole number of steps of {short_s} s")
    return count
