"""recording.toml: which files make a recording, and how they go together."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from streamer.acquire.recorded_bold import DEFAULT_LATENCY_S, BoldPart, open_runs
from streamer.acquire.recorded_parts import Placing, open_eeg, place_volumes
from streamer.acquire.recorded_physio import open_physio
from streamer.acquire.recorded_runs import join_runs
from streamer.acquire.recording import EegPart, PhysioPart, Recording
from streamer.acquire.recording_tables import read_events, read_known_at
from streamer.acquire.volume_pairing import split_runs
from streamer.contracts import Settings
from streamer.errors import ConfigError, RecordingError
from streamer.formats.nifti import read_labels
from streamer.formats.volts import volts_per

RECORDING_TOML = "recording.toml"


class _Eeg(Settings):
    file: Path
    stream: str | None = None
    unit: str | None = None

    @field_validator("unit")
    @classmethod
    def _volts(cls, unit: str | None) -> str | None:
        if unit is not None and volts_per(unit) is None:
            raise ValueError("expected V, mV or µV")
        return unit


class _Bold(Settings):
    directory: Path | None = None
    file: Path | None = None
    series: int | tuple[int, ...] | None = None
    trigger: str = "R128"
    first_volume: int = Field(default=0, ge=-1000, le=1000)
    onset_s: float | None = Field(default=None, allow_inf_nan=False)
    known_at: Path | None = None
    latency_s: float = Field(default=DEFAULT_LATENCY_S, ge=0, le=60)

    @model_validator(mode="after")
    def _one_place(self) -> _Bold:
        if (self.directory is None) == (self.file is None):
            raise ValueError("expected either directory (of DICOM or PAR/REC files) or file (NIfTI or PAR)")
        return self


class _Regions(Settings):
    labels: Path
    names: Path | None = None


class _Events(Settings):
    file: Path


class _Physio(Settings):
    file: Path
    start_s: float | None = Field(default=None, allow_inf_nan=False)


class _RecordingFile(Settings):
    schema_: Literal[1] = Field(alias="schema")
    kind: Literal["recording"]
    eeg: _Eeg | None = None
    bold: _Bold | None = None
    regions: _Regions | None = None
    events: _Events | None = None
    physio: _Physio | None = None

    @model_validator(mode="after")
    def _something(self) -> _RecordingFile:
        if self.eeg is None and self.bold is None:
            raise ValueError("expected a section [eeg], a section [bold], or both")
        return self

    def paths(self) -> Iterator[tuple[str, Path]]:
        """Every file and folder that is named, with its key."""
        for section in ("eeg", "bold", "regions", "events", "physio"):
            settings = getattr(self, section)
            for key, value in settings or ():
                if isinstance(value, Path):
                    yield f"{section}.{key}", value


def open_toml(path: Path) -> Recording:
    """Open what a recording.toml names.

    Raises
    ------
    ConfigError
        It has problems; all are listed.
    RecordingError
        A part cannot be read, or the parts do not fit together.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(str(path), [f"cannot be read as TOML: {error}"]) from error
    folder = path.parent
    try:
        given = _RecordingFile.model_validate(values)
    except ValidationError as error:
        raise ConfigError(str(path), [_sentence(problem) for problem in error.errors()]) from error
    if missing := [f"{key}: {name} is not in {folder}" for key, name in given.paths() if not (folder / name).exists()]:
        raise ConfigError(str(path), missing)
    return _open(given, folder)


def _open(given: _RecordingFile, folder: Path) -> Recording:
    eeg, physio = None, tuple[PhysioPart, ...]()
    if given.eeg is not None:
        eeg, physio = open_eeg(folder / given.eeg.file, given.eeg.stream, given.eeg.unit)
    bold, problems = (None, list[str]()) if given.bold is None else _place(given.bold, folder, eeg)
    regions = None
    if given.regions is not None:
        names = given.regions.names
        regions = read_labels(folder / given.regions.labels, folder / names if names is not None else None)
    events = read_events(folder / given.events.file) if given.events is not None else ()
    if given.physio is not None:
        physio = (*physio, open_physio(folder / given.physio.file, given.physio.start_s))
    return Recording(folder.resolve().name, eeg, bold, regions, events, physio, tuple(problems))


def _place(given: _Bold, folder: Path, eeg: EegPart | None) -> tuple[BoldPart, list[str]]:
    series = given.series if isinstance(given.series, tuple) else (given.series,)
    source = given.directory if given.directory is not None else given.file
    assert source is not None
    sources = open_runs(folder / source, series)
    pulses: list[tuple[float, ...]] = [()]
    if len(series) > 1:
        triggers = () if eeg is None else tuple(m.at_s for m in eeg.markers if m.label == given.trigger)
        pulses = split_runs(triggers, sources[0].tr)
        if len(pulses) != len(series):
            raise RecordingError(
                f"{folder / source}: {len(series)} series, but the triggers {given.trigger} make {len(pulses)} run(s): "
                "expected one for each"
            )
    runs: list[BoldPart] = []
    problems: list[str] = []
    for number, found, of_run in zip(series, sources, pulses, strict=True):
        known = read_known_at(folder / given.known_at, number) if given.known_at is not None else {}
        placing = Placing(
            given.trigger, given.first_volume, given.onset_s, pulses=of_run, known_at=known, latency_s=given.latency_s
        )
        run, wrong = place_volumes(found, placing, eeg)
        runs.append(run)
        problems += wrong
    return (runs[0] if len(runs) == 1 else join_runs(runs)), problems


def _sentence(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"]) or "file"
    if problem["type"] == "extra_forbidden":
        return f"{where}: unknown key"
    text = f"{where}: {problem['msg']}"
    given = problem.get("input")
    return text if isinstance(given, dict) or problem["type"] == "missing" else f"{text}; given: {given!r}"
