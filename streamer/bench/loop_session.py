"""The session that the way from the brain to the trigger is measured on: planted steps of alpha in the raw EEG."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from streamer.calibrate import calibrate_recording, part_of
from streamer.calibration import save_calibration
from streamer.config import BoldSection, Config, EegSection, ModelSection, OutputSection, SessionSection, commented_toml
from streamer.decode.decision_settings import DecisionSettings
from streamer.decode.envelope_phase import BandPhaseSettings
from streamer.decode.feature_set import FeatureSetSettings
from streamer.decode.score_source import ScoreSourceSettings
from streamer.messages import F64
from streamer.simulate.session import SimulationSettings, simulate_session

STREAM = "bench-amplifier"
SESSION = "loop"
STEP_S = 2.5
"""Length of a planted burst."""
STEP_V = 30e-6
"""Amplitude of it at the strongest channel, V."""
STEPS_HZ = (9.25, 9.75, 10.25, 10.75, 11.25)
"""Between two multiples of 1/TR: what lies on one is taken for gradient artefact."""
FULL_V = 26e-6
"""Envelope that is shown as 1, V."""
_EVERY_S = 6.5
_SPREAD_S = 2.0
_FIRST_S = 30.0
_CHANNELS: tuple[str, ...] = ("O2",)
_CALIBRATION_S = 60.0
_BLOCK_S = 20.0
_SIMULATING, _CALIBRATING = 0.6, 0.4


def make_loop_session(folder: Path, minutes: float, progress: Callable[[float], None]) -> tuple[Path, F64]:
    """Simulate a session of 64 channels at 5 kHz with volumes, plant steps of alpha, calibrate.

    The participant has little alpha of their own. A step begins from one sample to the next, anywhere in a volume, a
    chunk or a decision's tenth of a second.

    Parameters
    ----------
    folder : Path
        New.
    minutes : float
        Length of the run that is played.
    progress : callable
        Takes the fraction done.

    Returns
    -------
    settings : Path
        SESSION.toml of the live session.
    onsets : array, shape (n_steps,)
        Samples at which a step begins.
    """
    simulated = SimulationSettings(
        n_channels=64,
        tr_s=2.0,
        grid=(64, 64, 36),
        calibration_s=_CALIBRATION_S,
        block_s=_BLOCK_S,
        n_blocks=max(2, round(60 * minutes / _BLOCK_S)),
        alpha_v=2e-6,
        nods_per_min=0.0,
    )
    recording = folder / "recording"
    simulate_session(recording, simulated, part_of(progress, 0.0, _SIMULATING))
    onsets = _plant(recording / "task", simulated)
    config = loop_config(folder)
    # without a model: thresholds of its probabilities would take the place of the envelope's
    bare = config.model_copy(update={"model": ModelSection(card="none")})
    found = calibrate_recording(
        recording / "calibration" / "recording.toml", bare, part_of(progress, _SIMULATING, _CALIBRATING)
    )
    save_calibration(found, folder / "calibration")
    path = folder / "SESSION.toml"
    path.write_text(commented_toml(config), encoding="utf-8")
    return path, onsets


def loop_config(folder: Path) -> Config:
    """Settings of the fast way: the envelope of occipital alpha, without smoothing and without dwell.

    The demodulated envelope, not the state-space model's: that one is fitted to the alpha of the calibration run, and
    is slow to believe in a burst many times as large.
    """
    root = folder.resolve()
    signals = {"occipital": {name: 1.0 / len(_CHANNELS) for name in _CHANNELS}}
    return Config(
        session=SessionSection(name=SESSION, directory=root),
        eeg=EegSection.of_rig(STREAM),
        bold=BoldSection(
            directory=root / "export",
            regions=root / "recording" / "regions.nii.gz",
            region_names=root / "recording" / "regions.tsv",
        ),
        extra=FeatureSetSettings(phase=BandPhaseSettings(enabled=True, signals=signals, method="filter")),
        model=ModelSection(card="score", calibration=root / "calibration"),
        decision=DecisionSettings(
            source=ScoreSourceSettings(feature="phase.occipital", label="envelope_v", low=0.0, high=FULL_V),
            threshold_on=0.5,
            threshold_off=0.35,
            smoothing_s=0.0,
            dwell_s=0.0,
        ),
        output=OutputSection(clean_eeg_stream=True),
    )


def _plant(task: Path, simulated: SimulationSettings) -> F64:
    """Add the steps to the raw EEG as it is stored; gives the samples at which they begin."""
    with np.load(task / "truth.npz", allow_pickle=False) as truth:
        topography = truth["rhythm_map"][1]
    width = simulated.n_channels
    file = np.memmap(task / "eeg.eeg", np.int16, "r+")
    stored = file.reshape(-1, width)
    rng = np.random.default_rng(simulated.seed)
    length = round(STEP_S * simulated.sfreq)
    last_s = len(stored) / simulated.sfreq - STEP_S - 1.0
    at = np.arange(_FIRST_S, last_s - _SPREAD_S, _EVERY_S)
    onsets = np.round((at + rng.uniform(0.0, _SPREAD_S, len(at))) * simulated.sfreq)
    times = np.arange(length) / simulated.sfreq
    for first in onsets.astype(int):
        # from the first sample at its full size, at any phase
        wave = STEP_V * np.cos(2 * np.pi * rng.choice(STEPS_HZ) * times + rng.uniform(0.0, 2 * np.pi))
        burst = np.outer(wave, topography) / simulated.resolution_v
        stored[first : first + length, : width - 1] += np.round(burst).astype(np.int16)
    file.flush()
    return onsets
