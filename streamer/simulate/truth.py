"""``truth.npz``: every component of a run apart, so that each stage of the cleaning has an exact answer to meet.

Where a component is a course seen through a fixed map, the two are stored: their product is the component.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from streamer.messages import Array
from streamer.simulate.gradient import GradientArtefact
from streamer.simulate.physiology import Physiology
from streamer.simulate.settings import SimulationSettings
from streamer.simulate.sidecars import RunTiming
from streamer.simulate.subject import REGIONS, Subject


def write_truth(
    path: Path,
    settings: SimulationSettings,
    subject: Subject,
    body: Physiology,
    timing: RunTiming,
    artefact: GradientArtefact,
) -> None:
    """Write the truth of a run.

    The arrays, V and s where nothing else is said; ``n`` samples at ``rate_hz``, the first at 0 s:

    ===================== ============================ =====================================================
    rate_hz               ()                           Hz
    eeg                   (n, n_eeg) float32           the brain alone: what perfect cleaning would leave
    state                 (n,) int8                    1 in task
    alpha_envelope        (n, n_rhythms) float32       amplitude of each rhythm where it is strongest
    rhythm_hz             (n_rhythms,)                 its centre
    rhythm_map            (n_rhythms, n_eeg)           its topography
    spontaneous           (n,) float32                 slow ups and downs of log amplitude, sd 1
    blink, blink_map      (n,), (n_eeg,)               blinks
    pulse, pulse_map      (n, 2), (2, n_eeg)           pulse artefact
    r_times               (n_beats,)                   R peaks
    ecg                   (n,) float32                 the heart's part of the ECG channel
    motion                (n, 6) float32               mm and rad
    motion_eeg            (n, n_eeg) float32           voltage induced by it
    power, sensor         (n, n_eeg + 1) float32       line and pump; noise of the amplifier
    gradient_template     (TR · sfreq, n_eeg + 1)      at sfreq
    gradient_gain         (n_volumes, n_eeg + 1)       its size in each volume
    gradient_starts       (n_volumes + 1,)             where it begins, samples
    trigger_samples       (n_volumes,) int64
    volume_onsets         (n_volumes,)                 s after the first EEG sample
    known_at              (n_volumes,)                 s after the first EEG sample
    volume_motion         (n_volumes, 6)               mm and rad, in the middle of the volume
    region_names          (n_regions,)
    region_neural         (n_volumes, n_regions)       %, from state and alpha, in the middle of the volume
    region_total          (n_volumes, n_regions)       %, with physiological noise and drift
    hrf_peak_s            (n_regions,)
    ===================== ============================ =====================================================
    """
    middle = np.rint((timing.onsets + settings.tr_s / 2) * body.rate_hz).astype(np.int64)
    middle = np.clip(middle, 0, len(body.state) - 1)
    arrays: dict[str, Array] = {
        "rate_hz": np.array(body.rate_hz),
        "eeg": body.brain.eeg.astype(np.float32),
        "state": body.state.astype(np.int8),
        "alpha_envelope": body.brain.envelope.astype(np.float32),
        "rhythm_hz": np.array([rhythm.centre_hz for rhythm in subject.rhythms]),
        "rhythm_map": np.array([rhythm.topography for rhythm in subject.rhythms]),
        "spontaneous": body.brain.spontaneous.astype(np.float32),
        "blink": body.blink.astype(np.float32),
        "blink_map": subject.blink,
        "pulse": body.heart.pulse.astype(np.float32),
        "pulse_map": subject.pulse,
        "r_times": body.heart.r_times,
        "ecg": body.heart.ecg.astype(np.float32),
        "motion": body.motion.astype(np.float32),
        "motion_eeg": body.motion_eeg.astype(np.float32),
        "power": body.power.astype(np.float32),
        "sensor": body.sensor.astype(np.float32),
        "gradient_template": artefact.template,
        "gradient_gain": artefact.gains,
        "gradient_starts": artefact.starts,
        "trigger_samples": timing.triggers,
        "volume_onsets": timing.onsets,
        "known_at": timing.known,
        "volume_motion": body.motion[middle],
        "region_names": np.array(REGIONS),
        "region_neural": body.bold.neural[middle],
        "region_total": body.bold.total[middle, : len(REGIONS)],
        "hrf_peak_s": subject.hrf_peak_s,
    }
    with path.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)
