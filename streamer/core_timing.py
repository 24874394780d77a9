"""What a core found of time: figures for the records, and sentences for the operator."""

from __future__ import annotations

from streamer.align.eeg_time import EegTimeline
from streamer.align.triggers import TriggerTrain
from streamer.align.volume_match import VolumeMatcher


def timing_figures(timeline: EegTimeline, triggers: TriggerTrain, matcher: VolumeMatcher) -> dict[str, int | float]:
    """Tell counts, and figures in s or ms as their names say."""
    volumes = triggers.volumes
    train = volumes.train
    return {
        "gaps": timeline.gaps,
        "lost_samples": timeline.lost_samples,
        "duplicate_samples": timeline.duplicates,
        "clock_steps": timeline.clock_steps,
        "eeg_jitter_ms": 1e3 * timeline.jitter_s,
        "eeg_residual_ms": 1e3 * timeline.residual_s,
        "markers_approximate": triggers.approximate,
        "markers_unresolved": triggers.unresolved,
        "triggers": volumes.n_triggers,
        "triggers_missing": volumes.missing,
        "triggers_doubled": volumes.doubled,
        "triggers_extra": volumes.extra,
        "triggers_late": volumes.late,
        "trigger_residual_alarms": volumes.residual_alarms,
        "trigger_residual_ms": 0.0 if train is None else 1e3 * train.residual_s,
        "trains": volumes.trains,
        "tr_s": (0.0 if train is None else train.tr) or 0.0,
        "volumes_matched": matcher.matched,
        "volumes_unmatched": matcher.unmatched,
        "volumes_misaligned": matcher.misaligned,
        "scanner_clock_steps": matcher.clock_steps,
        "scanner_residual_ms": 1e3 * matcher.residual_s,
    }


def timing_alarms(triggers: TriggerTrain, matcher: VolumeMatcher, alarm_s: float) -> tuple[str, ...]:
    """Say in words what disagrees, oldest first; at most 17 sentences.

    Parameters
    ----------
    triggers : TriggerTrain
    matcher : VolumeMatcher
    alarm_s : float
        A trigger so far off the regular beat counts, s.
    """
    alarms = list(matcher.alarms)
    if triggers.volumes.residual_alarms:
        limit = 1e3 * alarm_s
        alarms.append(f"{triggers.volumes.residual_alarms} volume triggers lie over {limit:g} ms off the regular beat")
    return tuple(alarms)
