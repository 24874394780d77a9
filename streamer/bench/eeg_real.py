"""A real EEG recording with artefacts planted on the times of real tables: does the EEG come back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import resample_poly

from streamer.acquire.recordings import open_recording
from streamer.bench.eeg_run import lane_settings, through
from streamer.bench.figures import Figure
from streamer.clean.eeg.lane_settings import EegLaneSettings
from streamer.errors import RecordingError
from streamer.messages import F32, F64, Array, ChannelInfo
from streamer.simulate.amplifier import finer_blocks
from streamer.simulate.event_tables import read_r_peaks, read_triggers
from streamer.simulate.faults import FaultSettings
from streamer.simulate.gradient import GradientArtefact
from streamer.simulate.heart import draw_breath, heart_signals
from streamer.simulate.ledger import RunFaults
from streamer.simulate.settings import SimulationSettings
from streamer.simulate.subject import Subject, draw_subject

SFREQ = 5000.0
EEG = "eeg/eeglab-sample/eeglab_data.set"
R_PEAKS = "eeg/eeg-rest-fmri/derivatives/sub-32/eeg/sub-32_task-rest_eeg.vmrk"
TRIGGERS = {
    "R128 of ds002336": "eeg/facetpy-triggers/sub-xp101_task-eegfmriNF_events.tsv",
    "Scan Start of eeg_rest_fmri": R_PEAKS,
}
"""Real tables of volume triggers, below the folder of recordings."""
_FIRST_S = 2.0
_LENGTH_S = 180.0
_BAND_HZ = (1.0, 40.0)
_TEMPLATE_S = 60.0
_LAST_S = 3.0
_SLICES = 30


@dataclass(frozen=True)
class RealSession:
    """Real EEG, and what is planted into it; arrays float32, V, shape (n_times, n_channels), the last is the ECG."""

    channels: tuple[ChannelInfo, ...]
    eeg: F32
    pulse: F32
    gradient: F32
    triggers: Array
    """Samples of the markers: the fitted line, rounded."""
    line: tuple[float, float]
    """Beginning and TR of the fitted line, samples."""


def real_session(folder: Path, table: str, seed: int = 5) -> RealSession:
    """Plant artefacts into the first three minutes of a real EEG.

    The volumes begin on the line that is fitted to the real triggers, at fractions of a sample; only the markers are
    rounded. The heart beats at real R peaks.

    Parameters
    ----------
    folder : Path
        Holds ``eeg/eeglab-sample``, ``eeg/facetpy-triggers`` and ``eeg/eeg-rest-fmri``.
    table : str
        One of ``TRIGGERS``.
    seed : int
        Draws the artefacts' shapes.

    Raises
    ------
    RecordingError, FormatError
        A file is missing or cannot be read.
    """
    names, eeg = _real_eeg(folder / EEG)
    n = len(eeg)
    real = read_triggers(folder / TRIGGERS[table]).times * SFREQ
    # the beginning of the table moves to that of the recording; its fractions of a sample stay
    real = real - np.floor(real[0]) + _FIRST_S * SFREQ
    period, start = (float(value) for value in np.polyfit(np.arange(len(real)), real, 1))
    starts = start + period * np.arange(int((n - start) // period) + 1, dtype=np.float64)
    settings = SimulationSettings(
        seed=seed, n_channels=len(names) + 1, tr_s=period / SFREQ, grid=(64, 64, _SLICES), sfreq=SFREQ
    )
    rng = np.random.default_rng(seed)
    subject = draw_subject(settings, rng)
    gradient = np.zeros((n, settings.n_channels), np.float32)
    motion = np.zeros((len(starts) - 1, 6))
    GradientArtefact(settings, subject, starts, starts[1:], motion, rng).add_to(gradient, 0)
    ecg, pulse = _heart(settings, subject, read_r_peaks(folder / R_PEAKS), n, rng)
    channels = (*(ChannelInfo(name, "eeg") for name in names), ChannelInfo("ECG", "ecg"))
    return RealSession(
        channels, np.hstack([eeg, ecg]), pulse, gradient, np.rint(starts[:-1]).astype(np.int64), (start, period)
    )


def _real_eeg(path: Path) -> tuple[tuple[str, ...], F32]:
    if not path.exists():
        raise RecordingError(f"{path}: no such file; expected the folder of real recordings, with {EEG} in it")
    recorded = open_recording(path).eeg
    assert recorded is not None
    picks = [i for i, c in enumerate(recorded.channels) if c.kind == "eeg" and not c.name.upper().startswith("EOG")]
    slow = recorded.read(0, min(recorded.n_samples, round(_LENGTH_S * recorded.sfreq)))[:, picks]
    ratio = Fraction(SFREQ / recorded.sfreq).limit_denominator(1000)
    slow = slow - slow.mean(axis=0)
    fast = resample_poly(slow, ratio.numerator, ratio.denominator, axis=0)
    return tuple(recorded.channels[i].name for i in picks), np.asarray(fast, np.float32)


def _heart(
    settings: SimulationSettings, subject: Subject, r_peaks: F64, n: int, rng: np.random.Generator
) -> tuple[F32, F32]:
    """ECG, shape (n, 1), and pulse artefact, shape (n, n_channels), V."""
    n_slow = -(-n // settings.factor)
    breath = draw_breath(settings, n_slow, settings.model_hz, rng)
    faults = RunFaults(FaultSettings(), settings.seed, 1)
    heart = heart_signals(settings, subject, breath, n_slow, settings.model_hz, rng, faults, r_peaks)
    courses = np.hstack([heart.pulse @ subject.pulse, heart.ecg[:, None]])
    fine = np.empty((n, courses.shape[1]), np.float32)
    for first, block in finer_blocks(courses, settings.factor, settings.sfreq, n):
        fine[first : first + len(block)] = block
    ecg = fine[:, -1:].copy()
    fine[:, -1] = 0.0
    return ecg, fine


def correlations(session: RealSession, pulse: str | None) -> F64:
    """Correlate each channel with the same chain on the EEG alone, 1 to 40 Hz, from the 60th second on.

    Parameters
    ----------
    session : RealSession
    pulse : str or None
        Mode of the pulse artefact's correction; None plants the gradient artefact alone.
    """
    parts = [session.eeg, session.gradient] if pulse is None else [session.eeg, session.pulse, session.gradient]
    truth = through([session.eeg], [], _settings(gradient=False, pulse="off"), session.channels, SFREQ)
    settings = _settings(gradient=True, pulse=pulse or "off")
    out = through(parts, session.triggers.tolist(), settings, session.channels, SFREQ)
    at = slice(round(_TEMPLATE_S * out.sfreq), len(out.data) - round(_LAST_S * out.sfreq))
    a, b = out.data[at].astype(np.float64), truth.data[at].astype(np.float64)
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    return (a * b).sum(axis=0) / np.sqrt(np.square(a).sum(axis=0) * np.square(b).sum(axis=0))


def _settings(**how: Any) -> EegLaneSettings:
    return lane_settings(**how).model_copy(update={"band_hz": _BAND_HZ})


def bench_real(folder: Path, progress: Callable[[float], None]) -> list[Figure]:
    """Measure on the real recordings below ``folder``: the channel that comes back worst counts."""
    figures: list[Figure] = []
    cases: tuple[tuple[str | None, float | None], ...] = (
        (None, 0.97), ("off", None), ("fast", 0.85), ("balanced", None), ("best", None),
    )  # fmt: skip
    for number, table in enumerate(TRIGGERS):
        session = real_session(folder, table)
        for step, (mode, bar) in enumerate(cases):
            found = correlations(session, mode)
            what = "gradient alone" if mode is None else f"gradient and pulse, {mode}"
            name = f"real EEG, triggers {table}: correlation after {what}"
            note = f"least of {len(found)} channels, mean {found.mean():.3f}; TR {session.line[1] / SFREQ:.6g} s"
            figures.append(Figure(name, float(found.min()), "", bar, "more", note=note))
            progress((number + (step + 1) / len(cases)) / len(TRIGGERS))
    return figures
