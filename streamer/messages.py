"""The records that flow through the streamer.

All are frozen. SI units inside: V, s, mm, Hz. Arrays are time-major, ``(n_times, n_channels)``. A record carries up to
three times: when it happened, when it was known (``received``), until when it is good (``expires``). Exactness is kept
by counting: ``first_sample``, ``index`` and ``seq`` are integers.

This module imports numpy and nothing of ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntFlag
from typing import Any, NewType

import numpy as np
from numpy.typing import NDArray

SessionTime = NewType("SessionTime", float)
"""Seconds on the acquisition host's LSL clock."""

ScannerTime = NewType("ScannerTime", float)
"""Seconds since midnight, as DICOM headers have it."""

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Array = NDArray[Any]


def _nothing() -> F32:
    return np.empty(0, np.float32)


class Flag(IntFlag):
    """What is wrong with a piece of data; OR-ed downstream, so that a trigger says what it was made from."""

    NONE = 0
    GAP = 1
    """Samples are missing in or just before this piece."""
    CLOCK_STEP = 2
    """The time stamps jumped."""
    LATE = 4
    """It arrived later than it should."""
    CLIPPED = 8
    """A channel is at the rail."""
    MOTION = 16
    """Framewise displacement is above its limit."""
    WARMING = 32
    """A template, filter or baseline has not settled yet."""
    STALE = 64
    """Older than its limit."""
    UNSYNCED = 128
    """No volume trigger fits: the gradient artefact may be uncorrected."""
    NO_EEG = 256
    """The EEG is masked in this window."""
    NO_BOLD = 512
    """The BOLD is masked in this window."""
    BAD_CHANNELS = 1024
    """Too many channels are bad."""
    UNCALIBRATED = 2048
    """No calibration was given: baselines are estimated from the run itself."""
    RECORDING_LOST = 4096
    """The raw store could not keep up or the disk is full."""
    MISALIGNED = 8192
    """Trigger and scanner time disagree: the volume may not be the one that its trigger began."""
    ABSTAINED = 16384
    """The model does not know: its members disagree, or more or fewer than one class is a candidate."""


class State(Enum):
    """State of a core: see the table in ``engine.py``."""

    STARTING = "STARTING"
    WARMING = "WARMING"
    RUNNING = "RUNNING"
    DEGRADED = "DEGRADED"
    STOPPED = "STOPPED"


@dataclass(frozen=True, slots=True)
class ChannelInfo:
    """One channel of a stream."""

    name: str
    kind: str
    """``eeg``, ``ecg``, ``eog``, ``resp``, ``ref``, ``trig``, ``counter`` or ``misc`` (lower case)."""
    unit: str = "V"


@dataclass(frozen=True, slots=True)
class SessionHeader:
    """What a session was run with: written first, never changed."""

    session: str
    config: Mapping[str, Any]
    """The whole configuration, as plain values."""
    config_sha256: str
    card_sha256: str
    """sha256 of the model card; empty when no model is used."""
    versions: Mapping[str, str]
    processor: str
    eeg_sfreq: float
    """Hz, nominal."""
    channels: tuple[ChannelInfo, ...]
    regions: tuple[str, ...]
    calibration: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The calibration that was in force, whole; empty when there was none."""


@dataclass(frozen=True, slots=True)
class EegChunk:
    """Consecutive EEG samples of one stream, as they came."""

    stream: str
    data: F32
    """V, shape (n_times, n_channels)."""
    times_raw: F64
    """s, the sender's clock, shape (n_times,)."""
    times: F64
    """SessionTime s: raw stamps with the clock offset applied once, shape (n_times,)."""
    first_sample: int
    """Index of the first sample of ``data`` since the stream was opened; samples that the source itself counts as lost
    (RDA's block numbers, a sample counter) are counted in, others are not."""
    received: SessionTime
    flags: Flag = Flag.NONE


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """One measurement of a stream's clock against ours."""

    stream: str
    offset: float
    """s to add to the sender's stamps."""
    received: SessionTime


@dataclass(frozen=True, slots=True)
class SourceState:
    """A source was found, lost or came back."""

    source: str
    state: str
    """``found``, ``lost`` or ``back``."""
    detail: str
    received: SessionTime


@dataclass(frozen=True, slots=True)
class Tick:
    """A heartbeat of the loop: drives decisions when the EEG is silent, and carries how late the loop is."""

    at: SessionTime
    lag: float
    """s by which the loop was late when it handed this out."""
    received: SessionTime


@dataclass(frozen=True, slots=True)
class Command:
    """An operator's command."""

    action: str
    """``arm``, ``stop``, ``annotate``, ``recentre`` or ``end``; in a log also ``refused``, the gate's own."""
    text: str
    received: SessionTime


@dataclass(frozen=True, slots=True)
class Marker:
    """An event in the EEG recording; the scanner's volume pulse is one."""

    label: str
    at: SessionTime
    at_raw: float
    """s, the sender's own clock."""
    sample: int | None
    """The exact EEG sample (``EegChunk.first_sample`` counting), or None while it is not known."""
    received: SessionTime


@dataclass(frozen=True, slots=True)
class Volume:
    """One fMRI volume, as exported."""

    data: Array
    """Stored values times scale, shape (x, y, z); int16, uint16 or float32."""
    affine: F64
    """Voxel index to RAS+ mm, shape (4, 4)."""
    series: str
    """Identity of the series within the session, free of identifying UIDs."""
    index: int
    """Acquisition number within the series, from 0."""
    onset: ScannerTime | None
    tr: float
    """s."""
    slice_times: tuple[float, ...]
    """s after the onset of the volume, one per slice; empty when unknown."""
    received: SessionTime
    flags: Flag = Flag.NONE


@dataclass(frozen=True, slots=True)
class BoldFrame:
    """What the BOLD lane made of one volume."""

    index: int
    series: str
    regions: F32
    """% signal change per region, shape (n_regions,); NaN while there is no baseline."""
    means: F32
    """Mean intensity per region after motion correction, shape (n_regions,)."""
    motion: F64
    """Translations x, y, z in mm, rotations x, y, z in rad, shape (6,)."""
    fd: float
    """Framewise displacement, mm."""
    tr: float
    """s."""
    acquired: SessionTime | None
    """Middle of the acquisition; None until the volume's trigger is known."""
    received: SessionTime
    flags: Flag = Flag.NONE
    onset: ScannerTime | None = None
    """The volume's own: a cross-check of the trigger it was matched to."""
    z: F32 = field(default_factory=_nothing)
    """``regions`` against their own past, in standard deviations, shape (n_regions,); NaN while that is short."""
    dvars: float = math.nan
    """Root mean square of the change since the volume before, within the head, % of the mean intensity."""
    tissue: F32 = field(default_factory=_nothing)
    """Mean intensity of white matter, cerebrospinal fluid and the whole head, shape (3,); NaN where unknown."""
    residual: float = math.nan
    """Root mean square of what the registration leaves, of the mean intensity."""
    at_s: float | None = None
    """What its values speak of, s after the onset of the volume; None for the middle of its acquisition."""
    slices: F32 = field(default_factory=_nothing)
    """When the regions were acquired, on the first frame of a series whose volumes tell, else empty: slice times in s,
    then the share of each region's voxels in each slice, shape (1 + n_regions, n_slices)."""

    @property
    def after_onset_s(self) -> float:
        """What its values speak of, s after the onset of the volume."""
        return self.tr / 2 if self.at_s is None else self.at_s


@dataclass(frozen=True, slots=True)
class VolumeView:
    """A volume as it is looked at; neither an event nor an output: it is asked for, and nothing is decided by it."""

    index: int
    series: str
    received: SessionTime
    affine: F64
    """Voxel index to RAS+ mm of the motion reference, shape (4, 4)."""
    mean: F32
    """Mean intensity after motion correction, shape (x, y, z)."""
    maps: Mapping[str, tuple[F32, str]]
    """What the voxels do, by name: values of shape (x, y, z), NaN outside the head or unknown, and their unit."""


@dataclass(frozen=True, slots=True)
class RunMaps:
    """Maps of the voxels of every series of a session; not an event: they are asked for at its end."""

    images: Mapping[str, Mapping[str, F32]]
    """By series, then by name; each of shape (x, y, z), NaN outside the head."""
    affine: F64
    """Voxel index to RAS+ mm, shape (4, 4)."""


@dataclass(frozen=True, slots=True)
class CleanEeg:
    """One hop of cleaned EEG."""

    data: F32
    """V, shape (n_times, n_channels): EEG channels only, in stream order."""
    times: F64
    """SessionTime s, corrected for the filters' group delay, shape (n_times,)."""
    first_sample: int
    """Index of the first sample on the decimated grid."""
    sample_end: int
    """Index on the raw grid of the sample after the last one that these speak of."""
    flags: Flag = Flag.NONE
    pulse: str = "off"
    """How the pulse artefact was taken out: ``off``, ``fast``, ``balanced``, ``best`` or ``reference``."""
    hold: float = 0.0
    """s by which cleaned EEG is held back on purpose, so that later samples could serve to clean it."""
    bad: tuple[int, ...] = ()
    """Columns of channels that count as bad."""


@dataclass(frozen=True, slots=True)
class Window:
    """What the model sees at one decision tick."""

    seq: int
    start: SessionTime
    end: SessionTime
    """Time of the newest EEG sample (of the tick, when the EEG is silent)."""
    eeg: F32
    """Log band power against baseline, shape (n_steps, n_channels * n_bands); zeros where masked."""
    bold: F32
    """% signal change on a regular grid in s, newest last, shape (n_bold_steps, n_regions); zeros where masked."""
    age_eeg: float
    """s from the newest EEG sample to ``end``."""
    age_bold: float
    """s from the middle of the newest volume's acquisition to ``end``; inf when there is none."""
    eeg_valid: bool
    bold_valid: bool
    flags: Flag = Flag.NONE
    hold_eeg: float = 0.0
    """s by which the cleaning holds the EEG back: the window is at least so old when it is cut."""
    tangent: F32 = field(default_factory=_nothing)
    """The newest covariance of the EEG as a tangent vector, shape (n,); empty where there is none that counts."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model said of one window."""

    seq: int
    model: str
    """``name@sha256`` (first 12 hex digits)."""
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    """Quantised to 1e-5."""
    uncertainty: float
    """Entropy of the probabilities over its maximum, 0..1."""
    attention: Mapping[str, float]
    """Weight per modality."""
    about: SessionTime
    """The time that the prediction speaks of."""
    age_eeg: float
    age_bold: float
    flags: Flag = Flag.NONE
    hold_eeg: float = 0.0
    """s by which the cleaning holds the EEG back."""
    disagreement: float = 0.0
    """Mutual information of the model's members, nats: what they do not agree on; 0 for a single one."""
    candidates: tuple[str, ...] | None = None
    """Classes that cannot be ruled out at the card's level; None where the model was not calibrated for that."""
    ready: SessionTime | None = field(default=None, compare=False)
    """When it was known; telemetry, so not part of equality."""


@dataclass(frozen=True, slots=True)
class Score:
    """What the participant is shown, at one decision."""

    window: int
    """``seq`` of the window that it was made from."""
    level: float
    """0..1; the neutral value where ``neutral``."""
    axes: Mapping[str, float]
    """0..1 per modality or source, as shown; empty where there is one only."""
    threshold: float
    """0..1: where a reward begins."""
    neutral: bool
    """Nothing that counts is known: stale or missing data, a veto, or stopped."""
    actual: float
    """What ``level`` would be without sham, 0..1; NaN while not known. Stored, never sent."""
    about: SessionTime
    expires: SessionTime
    """After this time what is shown must be neutral."""
    flags: Flag = Flag.NONE
    ready: SessionTime | None = field(default=None, compare=False)
    """When it was known; telemetry, so not part of equality."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """A neurofeedback trigger."""

    seq: int
    """Counts triggers of the session, from 0: consumers drop doubles by it."""
    window: int
    """``seq`` of the window that it was made from."""
    action: str
    level: float
    """0..1."""
    about: SessionTime
    fire_at: SessionTime
    expires: SessionTime
    reason: str
    flags: Flag = Flag.NONE
    source: str = "score"
    """What asked for it: ``score``, ``phase``, ``spindle``, ``spike``."""


@dataclass(frozen=True, slots=True)
class Veto:
    """A trigger that was due and was held back."""

    window: int
    reason: str
    about: SessionTime


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature besides band power, of cleaned EEG or of region signals: an output, not an input of a model."""

    name: str
    """Unique in the session, for instance ``phase.occipital``."""
    sample: int
    """Index on the decimated grid of the sample after the newest one that entered; of the volume after it for BOLD."""
    about: SessionTime
    """The time that the values speak of: that of the newest sample, less ``delay_s``."""
    delay_s: float
    """s."""
    labels: tuple[str, ...]
    """What the values are, with their unit, in order."""
    values: tuple[float, ...]
    """NaN where masked."""
    uncertainty: tuple[float, ...]
    """Standard deviation of each value, in its unit; NaN where it is not known, empty where none is."""
    valid: bool
    """False while anything settles or is learned, and where the samples are dirty."""
    flags: Flag = Flag.NONE
    ready: SessionTime | None = field(default=None, compare=False)
    """When it was known; telemetry, so not part of equality."""


@dataclass(frozen=True, slots=True)
class Health:
    """Telemetry: never an input."""

    state: State
    at: SessionTime
    counts: Mapping[str, int]
    """Chunks, samples, volumes, windows, decisions, triggers … so far."""
    losses: Mapping[str, int]
    """Samples, volumes, messages … lost so far, by name."""
    latency_ms: Mapping[str, tuple[float, float]]
    """p50 and p99 per stage."""
    queues: Mapping[str, int]
    """Depth per queue."""
    flags: Flag = Flag.NONE
    notes: tuple[str, ...] = ()
    eeg: Mapping[str, float] = field(default_factory=dict[str, float])
    """How clean the EEG is, overall: figures by name, NaN while not known."""
    armed: bool | None = None
    """Whether triggers may leave; None in a replay, where none does."""
    queue_sizes: Mapping[str, int] = field(default_factory=dict[str, int])
    """What each of ``queues`` holds at most."""


Event = EegChunk | ClockOffset | SourceState | Tick | Command | Marker | Volume | BoldFrame
"""What may be fed to a core."""

Output = CleanEeg | BoldFrame | Window | Prediction | Score | Trigger | Veto | Feature
"""What a core gives back."""
