"""What can be made to go wrong in a simulated session: a field for each fault, all off by default."""

from __future__ import annotations

import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from streamer.contracts import Settings
from streamer.errors import ConfigError

Fraction = Annotated[float, Field(ge=0, le=1)]
PerMinute = Annotated[float, Field(ge=0, le=60)]
SizeAt = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(ge=0)]]
"""A size, in the unit that the field's name ends with, and when: s after the first EEG sample."""


class FaultSettings(Settings):
    """The faults of a session.

    The clock's two are in both runs, all others in the task run alone: a fault is measured on a run whose calibration
    is sound. How the parts travel (late chunks, half-written files) belongs to whatever plays the recording.
    """

    missing_trigger: Fraction = 0.0
    """Part of the volume triggers that were not recorded; the first one always is."""
    double_trigger: Fraction = 0.0
    """Part of the volume triggers that were recorded twice, 2 to 40 ms apart."""
    extra_trigger_per_min: PerMinute = 0.0
    """Triggers per minute while the scanner runs that began no volume."""
    dummy_volumes: int = Field(default=0, ge=0, le=20)
    """Volumes at the start with triggers and gradients, but without files; the files are numbered without them."""
    untriggered_volumes: int = Field(default=0, ge=0, le=20)
    """Volumes at the start with files, but without triggers."""
    restart_s: tuple[SizeAt, ...] = ()
    """The scanner stops after the volume that it is in and begins a new series so many s later."""

    missing_volume: Fraction = 0.0
    """Part of the volumes whose file was never exported."""
    double_volume: Fraction = 0.0
    """Part of the volumes whose file was exported a second time under another name."""
    out_of_order_volume: Fraction = 0.0
    """Part of the volumes that were exported after the one behind them."""
    late_export: Fraction = 0.0
    """Part of the volumes whose export took 2 to 6 s longer; those behind them wait."""
    export_batch: int = Field(default=0, ge=0, le=50)
    """Volumes that are exported together once the last of them is there; 0 and 1: each at once."""
    bold_spike: Fraction = 0.0
    """Part of the volumes in which some neighbouring slices are 2 to 6 % brighter or darker."""

    gap_ms: tuple[SizeAt, ...] = ()
    """EEG samples of so many ms are lost."""
    clock_ppm: float = Field(default=0.0, ge=-100, le=100)
    """Amplifier clock against the scanner's, parts per million; 0 is a synchronised clock. In both runs."""
    jitter_us: float = Field(default=0.0, ge=0, le=1000)
    """Start of each volume's gradient artefact against its trigger, sd in µs. In both runs."""

    pop_per_min: PerMinute = 0.0
    """Electrode pops per minute: a step of 0.2 to 1 mV that dies away within about a second."""
    flat_channels: int = Field(default=0, ge=0, le=64)
    """EEG channels that say nothing but 0 for half a minute or more."""
    noisy_channels: int = Field(default=0, ge=0, le=64)
    """EEG channels with white noise of 30 to 90 µV for 5 to 20 s: a lead that has come loose."""
    clipping_per_min: PerMinute = 0.0
    """Stretches per minute of 0.3 to 2 s in which an EEG channel is at the rail."""
    ecg_dropout_per_min: PerMinute = 0.0
    """Stretches per minute of 3 to 8 s in which the ECG says nothing but 0."""
    ectopic: Fraction = 0.0
    """Part of the heart beats that come early, broad and without a P wave, with a pause behind them."""
    movement_per_min: PerMinute = 0.0
    """Bursts of head movement per minute, 1 to 3 s, 0.3 to 1.5 mm: in the EEG, the gradients' size and the volumes."""

    @model_validator(mode="after")
    def _check(self) -> FaultSettings:
        ends = sorted((at, at + ms * 1e-3) for ms, at in self.gap_ms)
        if any(second[0] <= first[1] for first, second in pairwise(ends)):
            raise ValueError(f"gap_ms is {self.gap_ms}: expected gaps that do not touch")
        return self

    @property
    def of_the_clock(self) -> FaultSettings:
        """The faults that every run has."""
        return FaultSettings(clock_ppm=self.clock_ppm, jitter_us=self.jitter_us)


EVERYTHING = FaultSettings(
    missing_trigger=0.03,
    double_trigger=0.03,
    extra_trigger_per_min=2.0,
    dummy_volumes=3,
    restart_s=((7.3, 25.0),),
    missing_volume=0.03,
    double_volume=0.03,
    out_of_order_volume=0.03,
    late_export=0.02,
    export_batch=3,
    bold_spike=0.02,
    gap_ms=((100.0, 12.0), (20.0, 18.5)),
    clock_ppm=20.0,
    jitter_us=20.0,
    pop_per_min=3.0,
    flat_channels=1,
    noisy_channels=1,
    clipping_per_min=2.0,
    ecg_dropout_per_min=1.0,
    ectopic=0.02,
    movement_per_min=2.0,
)
"""All at once but for ``untriggered_volumes``, the opposite of ``dummy_volumes``; fits a task run of 40 s or more."""


def parse_faults(spec: str) -> FaultSettings:
    """Read what ``--faults`` says.

    Parameters
    ----------
    spec : str
        ``all``, a comma list such as ``missing_trigger=0.005,gap_ms=100@30,gap_ms=20@60.5`` (``all`` may come first and
        is then changed by the others), or the name of a TOML file with the same keys. ``SIZE@SECONDS`` says where a gap
        or a restart lies; in TOML it is ``[[SIZE, SECONDS], ...]``.

    Raises
    ------
    ConfigError
        All problems are listed; an unknown fault comes with those that there are.
    """
    if spec.lower().endswith(".toml"):
        origin, values, problems = spec, _from_file(Path(spec)), []
    else:
        origin = "--faults"
        values, problems = _from_list(spec)
    known = FaultSettings.model_fields
    problems += [f"{name}: unknown fault; there are {', '.join(known)}" for name in values if name not in known]
    wanted = {name: value for name, value in values.items() if name in known}
    try:
        settings = FaultSettings(**wanted)
    except ValidationError as error:
        problems += problems_of(error, "faults")
        settings = FaultSettings()
    if problems:
        raise ConfigError(origin, problems)
    return settings


def problems_of(error: ValidationError, whole: str) -> list[str]:
    """Give a sentence for each thing that settings were refused for; ``whole`` names what no field is to blame for."""
    sentences: list[str] = []
    for problem in error.errors():
        where, given = ".".join(map(str, problem["loc"])) or whole, problem["input"]
        shown = "" if isinstance(given, dict | Settings) else f"; given: {given!r}"
        sentences.append(f"{where}: {problem['msg'].removeprefix('Value error, ')}{shown}")
    return sentences


def _from_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(str(path), [f"cannot be read as TOML: {error}"]) from error


def _from_list(spec: str) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    problems: list[str] = []
    placed: dict[str, list[tuple[str, str]]] = {}
    for k, item in enumerate(part.strip() for part in spec.split(",")):
        name, separator, value = (part.strip() for part in item.partition("="))
        if item == "all" and k == 0:
            values = EVERYTHING.model_dump(exclude_defaults=True)
        elif not (name and separator and value):
            problems.append(f"{item!r}: expected NAME=VALUE, NAME=SIZE@SECONDS, or all as the first")
        elif "@" in value:
            size, _, at = value.partition("@")
            placed.setdefault(name, []).append((size, at))
        else:
            values[name] = value
    return {**values, **placed}, problems
