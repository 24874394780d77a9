"""``truth.npz``: every component of a run apart, so that each stage of the cleaning has an exact answer to meet.

Where a component is a course seen through a fixed map, the two are stored: their product is the component.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from streamer.messages import F64, Array
from streamer.simulate.gaps import Gaps
from streamer.simulate.gradient import GradientArtefact
from streamer.simulate.physiology import Physiology
from streamer.simulate.settings import SimulationSettings
from streamer.simulate.subject import REGIONS, Subject
from streamer.simulate.timing import TRIGGER, RunTiming


def write_truth(
    path: Path,
    settings: SimulationSettings,
    subject: Subject,
    body: Physiology,
    timing: RunTiming,
    artefact: GradientArtefact,
    gaps: Gaps,
    spikes: F64,
) -> None:
    """Write the truth of a run.

    The arrays, V and s where nothing else is said; ``n`` times at ``rate_hz``, the first at 0 s. Samples are counted
    with those that were lost: ``lost_samples`` says which are not in the recording. A sample of the recording is
    ``eeg + blink · blink_map + pulse · pulse_map + motion_eeg + power + sensor + ecg + lead + gradient``, but where
    ``held`` says what the amplifier stored instead.

    ===================== ============================ =====================================================
    rate_hz               ()                           Hz
    eeg                   (n, n_eeg) float32           the brain alone: what perfect cleaning would leave
    state                 (n,) int8                    1 in task
    alpha_envelope        (n, n_rhythms) float32       amplitude of each rhythm where it is strongest
    alpha_phase           (n, n_rhythms) float32       its phase, rad
    rhythm_hz             (n_rhythms,)                 its centre
    rhythm_map            (n_rhythms, n_eeg)           its topography
    spontaneous           (n,) float32                 slow ups and downs of log amplitude, sd 1
    blink, blink_map      (n,), (n_eeg,)               blinks
    pulse, pulse_map      (n, 2), (2, n_eeg)           pulse artefact
    r_times               (n_beats,)                   R peaks
    ecg                   (n,) float32                 the heart's part of the ECG channel
    respiration           (n,) float32                 the breath, -1 to 1
    motion                (n, 6) float32               mm and rad
    motion_eeg            (n, n_eeg) float32           voltage induced by it
    power, sensor         (n, n_eeg + 1) float32       line and pump; noise of the amplifier
    lead, lead_channels   (n, k) float32, (k,)         pops and loose leads, and the channels that have them
    held                  (m, 4) int64                 channel, first sample, sample after the last, stored value
    lost_samples          (n_gaps, 2) int64            first sample of a gap, sample after the last
    gradient_template     (TR · sfreq, n_eeg + 1)      at sfreq
    gradient_gain         (n_volumes, n_eeg + 1)       its size in each volume
    gradient_starts       (n_volumes + 1,)             where it begins, samples; the last is where the scanner stops
    gradient_stops        (n_volumes,)                 where it ends, samples
    trigger_samples       (n_volumes,) int64           sample of each volume's pulse
    trigger_recorded      (n_volumes,) bool            whether the recording has it
    recorded_triggers     (n_pulses,) int64            place in the recording of all its triggers, doubled and extra too
    volume_onsets         (n_volumes,)                 when it came, not rounded to a sample, s
    volume_series         (n_volumes,)                 number of its series from 0
    volume_index          (n_volumes,)                 acquisition number within it, -1 where there is no file
    known_at              (n_volumes,)                 s after the first EEG sample
    volume_motion         (n_volumes, 6)               mm and rad, in the middle of the volume
    volume_state          (n_volumes,)                 part of the TR spent in task
    neural_state          (n_volumes, n_regions)       state at the time that the region's value speaks of
    volume_spikes         (n_volumes, n_slices)        %, of the whole slice
    region_names          (n_regions,)
    region_neural         (n_volumes, n_regions)       %, from state and alpha, in the middle of the volume
    region_drift          (n_volumes, n_regions)       %
    region_pulsation      (n_volumes, n_regions)       %, with heart and breath
    region_total          (n_volumes, n_regions)       %, all of it and the slow noise
    hrf_peak_s            (n_regions,)
    ===================== ============================ =====================================================
    """
    n_regions = len(REGIONS)
    middle = body.at(timing.onsets + settings.tr_s / 2)
    spoken_of = body.at(timing.onsets[:, None] + settings.tr_s / 2 - subject.hrf_peak_s)
    in_task = np.concatenate([[0.0], np.cumsum(body.state)])
    first, stop = body.at(timing.onsets), body.at(timing.onsets + settings.tr_s)
    places = [gaps.place(sample) for sample, label in timing.pulses if label == TRIGGER]
    arrays: dict[str, Array] = {
        "rate_hz": np.array(body.rate_hz),
        "eeg": body.brain.eeg.astype(np.float32),
        "state": body.state.astype(np.int8),
        "alpha_envelope": body.brain.envelope.astype(np.float32),
        "alpha_phase": body.brain.phase.astype(np.float32),
        "rhythm_hz": np.array([rhythm.centre_hz for rhythm in subject.rhythms]),
        "rhythm_map": np.array([rhythm.topography for rhythm in subject.rhythms]),
        "spontaneous": body.brain.spontaneous.astype(np.float32),
        "blink": body.blink.astype(np.float32),
        "blink_map": subject.blink,
        "pulse": body.heart.pulse.astype(np.float32),
        "pulse_map": subject.pulse,
        "r_times": body.heart.r_times,
        "ecg": body.heart.ecg.astype(np.float32),
        "respiration": body.heart.respiration.astype(np.float32),
        "motion": body.motion.astype(np.float32),
        "motion_eeg": body.motion_eeg.astype(np.float32),
        "power": body.power.astype(np.float32),
        "sensor": body.sensor.astype(np.float32),
        "lead": body.leads.course.astype(np.float32),
        "lead_channels": body.leads.channels,
        "held": body.leads.held,
        "lost_samples": gaps.ranges,
        "gradient_template": artefact.template,
        "gradient_gain": artefact.gains,
        "gradient_starts": artefact.starts,
        "gradient_stops": artefact.stops,
        "trigger_samples": timing.triggers,
        "trigger_recorded": timing.recorded,
        "recorded_triggers": np.array([place for place in places if place is not None], np.int64),
        "volume_onsets": timing.onsets,
        "volume_series": timing.series,
        "volume_index": timing.index,
        "known_at": timing.known,
        "volume_motion": body.motion[middle],
        "volume_state": (in_task[stop] - in_task[first]) / np.maximum(1, stop - first),
        "neural_state": body.state[spoken_of],
        "volume_spikes": spikes,
        "region_names": np.array(REGIONS),
        "region_neural": body.bold.neural[middle],
        "region_drift": body.bold.drift[middle, :n_regions],
        "region_pulsation": body.bold.pulsation[middle, :n_regions],
        "region_total": body.bold.total[middle, :n_regions],
        "hrf_peak_s": subject.hrf_peak_s,
    }
    with path.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)
