"""What a simulated session consists of; the defaults are those of a 3 T scanner and a 32-channel amplifier."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from streamer.contracts import Settings
from streamer.simulate.faults import FaultSettings, Fraction
from streamer.simulate.montage import MAX_CHANNELS, MIN_CHANNELS

NotNegative = Annotated[float, Field(ge=0)]


class SimulationSettings(Settings):
    """One participant, one session: a calibration run and a task run."""

    seed: int = Field(default=7, ge=0)
    """Decides everything that is drawn: the participant and the noise. Equal settings give equal bytes."""
    null: bool = False
    """No effect anywhere: neither EEG nor BOLD knows the state, nor one the other. What is found in it is chance."""
    effect_in: Literal["both", "eeg", "bold"] = "both"
    """Where the state has an effect. With ``eeg`` or ``bold`` the other modality knows nothing of the state and nothing
    of this one: fusing both adds nothing over the better one, and whoever finds that it does has found chance."""
    faults: FaultSettings = FaultSettings()
    """What goes wrong; every fault is entered into ``ledger.json``."""
    triggers: Path | None = None
    """Table (.tsv, .csv) or marker file (.vmrk) with real triggers: the scanner pulses at those times, in both runs."""
    trigger_label: str = ""
    """Which of the table's events are the triggers, of volumes or of slices; by default a usual name of volumes'."""
    r_peaks: Path | None = None
    """Table or marker file with real R peaks (label ``R``): the heart beats at those times, in both runs."""

    n_channels: int = Field(default=32, ge=MIN_CHANNELS, le=MAX_CHANNELS)
    """Channels, the last of which is the ECG."""
    sfreq: float = Field(default=5000.0, ge=500, le=20000)
    """Hz, as amplifiers in the scanner have it."""
    resolution_v: float = Field(default=0.5e-6, gt=0)
    """V per stored unit: with 16 bits the rails are at ±16 mV, which the gradient artefact must not reach."""

    tr_s: float = Field(default=1.0, ge=0.3, le=5)
    """Repetition time, s."""
    grid: tuple[int, int, int] = (64, 64, 16)
    """Voxels along x, y, z."""
    voxel_mm: tuple[float, float, float] = (3.0, 3.0, 4.0)
    """Voxel size, mm."""
    multiband: int = Field(default=1, ge=1, le=8)
    """Slices excited at once: the slice frequency is slices / (multiband · TR)."""
    start_s: float = Field(default=2.0, ge=0)
    """From the first EEG sample to the first volume, s: the amplifier runs before the scanner does."""
    stop_s: float = Field(default=3.0, ge=0)
    """EEG after the last volume, s: longer than the export takes, so that every volume is known by then."""

    lead_s: float = Field(default=8.0, ge=0)
    """Rest before the first block, not labelled, s: the artefact templates settle."""
    calibration_s: float = Field(default=96.0, gt=0)
    """Length of the calibration run's blocks, s; what is no whole block is added to its lead."""
    n_blocks: int = Field(default=24, ge=2)
    """Blocks of the task run, half of them task."""
    block_s: float = Field(default=16.0, ge=2)
    """Length of a block, s: about three times the lag of the BOLD response."""

    erd: Fraction = 0.5
    """Part of the alpha power that is lost in task (event-related desynchronisation); beta loses 0.6 of that."""
    bold_percent: NotNegative = 1.0
    """Response of occipital cortex to a long task block, % of the signal; the other regions' go with it."""
    coupling_percent: NotNegative = 0.25
    """Effect of one sd of spontaneous alpha power on the occipital signal, % (negative; thalamus positive)."""
    subject_sd: Fraction = 0.2
    """Spread of the effects between participants, sd of the logarithm."""

    background_v: NotNegative = 8e-6
    """Pink background at a channel, sd in V."""
    alpha_v: NotNegative = 13e-6
    """Alpha over its maximum at rest, rms in V."""
    sensor_v: NotNegative = 0.4e-6
    """White noise of each channel below 125 Hz, sd in V."""
    line_v: NotNegative = 1.5e-6
    """Line noise, amplitude in V."""
    line_hz: float = Field(default=50.0, ge=45, le=65)
    """Line frequency, Hz."""
    pump_v: NotNegative = 1.5e-6
    """Helium pump at 43 Hz, amplitude in V."""
    blinks_per_min: NotNegative = 12.0
    """Blinks."""
    pulse_v: NotNegative = 75e-6
    """Pulse artefact (ballistocardiogram), V from peak to peak over its maximum; 50 to 100 µV at 3 T."""
    pulse_jitter_s: float = Field(default=0.010, ge=0, le=0.1)
    """Onset of the pulse artefact against its R peak, sd in s; its mean is 0.16 to 0.21 s."""
    flow_of_r: float = Field(default=0.25, ge=0, le=1.5)
    """Height of the wave that the blood's flow induces in the field (magnetohydrodynamic, around the T wave), of the R
    peak's; 0.2 to 1.2 at 3 T."""
    rsa: float = Field(default=0.04, ge=0, le=0.3)
    """Change of the heart's interval with the breath (respiratory sinus arrhythmia), amplitude, of the interval."""
    breath_sd: float = Field(default=0.0, ge=0, le=0.5)
    """Spread of the breath's frequency around 0.25 Hz, of it; 0 is a breath like a clock's."""
    gradient_v: NotNegative = 4e-3
    """Gradient artefact, V from peak to peak at the median channel."""
    gradient_off_slice: Fraction = 0.03
    """Share of the gradient artefact's amplitude at multiples of 1/TR that are none of the slice frequency."""
    slice_dead: float = Field(default=0.0, ge=0, le=0.8)
    """Part of each slice's time without any gradient switching: the artefact pauses at the end of each slice."""

    motion_mm: NotNegative = 0.08
    """Slow head motion, sd in mm per axis; as many tenths of a degree of rotation are 1.25 times that."""
    nods_per_min: NotNegative = 0.3
    """Sudden moves of 0.3 to 0.9 mm."""
    tsnr: float = Field(default=80.0, gt=0)
    """Signal over thermal noise of one voxel, at 3 T and 3 mm."""
    physiology_percent: NotNegative = 0.55
    """Slow physiological noise (AR(1)) of a region, sd in %; half of its variance is shared by the whole brain."""
    cardiac_percent: NotNegative = 0.0
    """Pulsation of the regions with the heart beat, sd in %; sampled once a TR, it is aliased."""
    breathing_percent: NotNegative = 0.0
    """The same with the breath, sd in %."""
    drift_percent: NotNegative = 0.5
    """Slow drift over a run, %."""

    @model_validator(mode="after")
    def _check(self) -> SimulationSettings:
        if min(self.grid) < 6 or max(self.grid) > 256:
            raise ValueError(f"grid is {self.grid}: expected 6 to 256 voxels along each axis")
        if self.grid[2] % self.multiband:
            raise ValueError(f"{self.grid[2]} slices in {self.multiband} bands: expected a whole number of shots")
        if not all(0.5 <= size <= 10 for size in self.voxel_mm):
            raise ValueError(f"voxel is {self.voxel_mm} mm: expected 0.5 to 10 along each axis")
        if self.calibration_s < self.block_s:
            raise ValueError(f"calibration of {self.calibration_s} s: expected at least one block, {self.block_s} s")
        if self.sfreq / round(self.sfreq / 250.0) < 2.2 * self.line_hz:
            raise ValueError(f"sfreq is {self.sfreq} Hz: expected a multiple of about 250 Hz")
        if self.null and self.effect_in != "both":
            raise ValueError(f"a null session has no effect at all: expected no effect_in, given {self.effect_in}")
        if self.triggers is not None and (self.faults.clock_ppm or self.faults.restart_s):
            raise ValueError("triggers has real times, and so their clock and pauses: expected no clock_ppm, restart_s")
        if self.faults.flat_channels + self.faults.noisy_channels > self.n_channels - 1:
            raise ValueError(f"more faulty channels than there are EEG channels: {self.n_channels - 1}")
        return self

    def blocks_in(self, duration_s: float) -> int:
        """Give the number of blocks of a task run that lasts at most so many s."""
        return max(2, int((duration_s - self.start_s - self.lead_s - self.stop_s) // self.block_s))

    @property
    def shots(self) -> int:
        """Excitations in a TR."""
        return self.grid[2] // self.multiband

    @property
    def clocks_agree(self) -> bool:
        """Whether pulse and gradients come with the same sample in every volume."""
        return self.faults.clock_ppm == 0 and self.faults.jitter_us == 0

    @property
    def factor(self) -> int:
        """Samples of the recording per sample of the model's own rate, about 250 Hz."""
        return max(1, round(self.sfreq / 250.0))

    @property
    def model_hz(self) -> float:
        """Rate at which the physiology is made, Hz."""
        return self.sfreq / self.factor
