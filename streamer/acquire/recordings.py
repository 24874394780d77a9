"""Recordings: an EEG part, an fMRI part, or both on one time axis.

The axis of a recording is s after its first EEG sample. A recording is a ``recording.toml`` (or the folder of one), or
one part alone: a BrainVision .vhdr, a folder of DICOM files, a NIfTI file.
"""

from __future__ import annotations

import csv
import math
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from streamer.acquire.recorded_bold import DEFAULT_LATENCY_S, BoldPart, DicomFolder, bold_onsets
from streamer.acquire.recorded_brainvision import BrainVisionEeg
from streamer.acquire.recording import BlockEvent, EegPart, Recording
from streamer.contracts import Settings
from streamer.errors import ConfigError, FormatError, RecordingError
from streamer.formats.brainvision import read_brainvision
from streamer.formats.nifti import read_labels, read_nifti
from streamer.messages import Volume

RECORDING_TOML = "recording.toml"


class _Eeg(Settings):
    file: Path


class _Bold(Settings):
    directory: Path | None = None
    file: Path | None = None
    trigger: str = "R128"
    first_volume: int = Field(default=0, ge=0)
    series: int | None = None
    known_at: Path | None = None
    latency_s: float = Field(default=DEFAULT_LATENCY_S, ge=0, le=60)

    @model_validator(mode="after")
    def _one_place(self) -> _Bold:
        if (self.directory is None) == (self.file is None):
            raise ValueError("expected either directory (of DICOM files) or file (NIfTI)")
        return self


class _Regions(Settings):
    labels: Path
    names: Path | None = None


class _Events(Settings):
    file: Path


class _RecordingFile(Settings):
    schema_: Literal[1] = Field(alias="schema")
    kind: Literal["recording"]
    eeg: _Eeg | None = None
    bold: _Bold | None = None
    regions: _Regions | None = None
    events: _Events | None = None

    @model_validator(mode="after")
    def _something(self) -> _RecordingFile:
        if self.eeg is None and self.bold is None:
            raise ValueError("expected a section [eeg], a section [bold], or both")
        return self


def open_recording(path: Path) -> Recording:
    """Open a recording of any kind.

    Parameters
    ----------
    path : Path
        A recording.toml or the folder of one, a .vhdr, a folder of DICOM files, a .nii or .nii.gz.

    Raises
    ------
    ConfigError
        A recording.toml has problems; all are listed.
    RecordingError
        A part is missing or cannot be read, or the parts do not fit together.
    """
    if not path.exists():
        raise RecordingError(f"{path}: no such file or folder")
    name = path.name.lower()
    if path.is_dir():
        return _open_folder(path)
    if name.endswith(".toml"):
        return _open_toml(path)
    if name.endswith(".vhdr"):
        return Recording(path.stem, eeg=BrainVisionEeg(read_brainvision(path)))
    if name.endswith((".nii", ".nii.gz")):
        return Recording(path.name.split(".", maxsplit=1)[0], bold=_bold(_Bold(file=path), path.parent, None))
    raise RecordingError(f"{path}: expected recording.toml, .vhdr, .nii, .nii.gz or a folder of DICOM files")


def _open_folder(path: Path) -> Recording:
    if (path / RECORDING_TOML).is_file():
        return _open_toml(path / RECORDING_TOML)
    if runs := sorted(str(found.relative_to(path)) for found in path.glob(f"*/{RECORDING_TOML}")):
        raise RecordingError(f"{path}: a session of {len(runs)} recordings, expected one of them: {', '.join(runs)}")
    return Recording(path.resolve().name, bold=_bold(_Bold(directory=path), path, None))


def _open_toml(path: Path) -> Recording:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(str(path), [f"cannot be read as TOML: {error}"]) from error
    folder = path.parent
    try:
        given = _RecordingFile.model_validate(values)
    except ValidationError as error:
        raise ConfigError(str(path), [_sentence(problem) for problem in error.errors()]) from error
    if missing := _missing(given, folder):
        raise ConfigError(str(path), missing)
    eeg = BrainVisionEeg(read_brainvision(folder / given.eeg.file)) if given.eeg is not None else None
    bold = _bold(given.bold, folder, eeg) if given.bold is not None else None
    regions = None
    if given.regions is not None:
        names = given.regions.names
        regions = read_labels(folder / given.regions.labels, folder / names if names is not None else None)
    events = _read_events(folder / given.events.file) if given.events is not None else ()
    return Recording(folder.resolve().name, eeg, bold, regions, events)


def _sentence(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"]) or "file"
    if problem["type"] == "extra_forbidden":
        return f"{where}: unknown key"
    text = f"{where}: {problem['msg']}"
    given = problem.get("input")
    return text if isinstance(given, dict) or problem["type"] == "missing" else f"{text}; given: {given!r}"


def _missing(given: _RecordingFile, folder: Path) -> list[str]:
    wanted: list[tuple[str, Path | None]] = []
    if given.eeg is not None:
        wanted.append(("eeg.file", given.eeg.file))
    if given.bold is not None:
        wanted += [
            ("bold.directory", given.bold.directory),
            ("bold.file", given.bold.file),
            ("bold.known_at", given.bold.known_at),
        ]
    if given.regions is not None:
        wanted += [("regions.labels", given.regions.labels), ("regions.names", given.regions.names)]
    if given.events is not None:
        wanted.append(("events.file", given.events.file))
    return [
        f"{key}: {path} is not in {folder}" for key, path in wanted if path is not None and not (folder / path).exists()
    ]


def _bold(given: _Bold, folder: Path, eeg: EegPart | None) -> BoldPart:
    if given.directory is not None:
        source = DicomFolder(folder / given.directory, given.series)
        indices, tr, read, file = source.indices, source.tr, source.volume, source.file
    else:
        assert given.file is not None
        series = read_nifti(folder / given.file)
        indices, tr = tuple(range(len(series))), series.tr
        read, file = _item(series), _no_file
    onsets = _onsets(given, indices, tr, eeg)
    known = _read_known_at(folder / given.known_at) if given.known_at is not None else {}
    if known and (absent := [index for index in indices if index not in known]):
        raise RecordingError(f"{given.known_at}: says nothing of volume {absent[0]} and {len(absent) - 1} more")
    known_at = tuple(
        known.get(index, onset + tr + given.latency_s) for index, onset in zip(indices, onsets, strict=True)
    )
    return BoldPart(indices, tr, given.trigger, given.first_volume, onsets, known_at, read, file)


def _item(series: Sequence[Volume]) -> Callable[[int], Volume]:
    return lambda k: series[k]


def _no_file(_: int) -> Path | None:
    return None


def _onsets(given: _Bold, indices: tuple[int, ...], tr: float, eeg: EegPart | None) -> tuple[float, ...]:
    if eeg is None:
        return bold_onsets(indices, tr, given.first_volume, ())
    triggers = tuple(marker.at_s for marker in eeg.markers if marker.label == given.trigger)
    if not triggers:
        labels = sorted({marker.label for marker in eeg.markers})
        raise RecordingError(
            f"no marker {given.trigger!r} in the EEG: which sample belongs to which volume is unknown; there are "
            f"{', '.join(labels[:12]) or 'no markers at all'}"
        )
    return bold_onsets(indices, tr, given.first_volume, triggers)


def _rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, delimiter="\t")
            rows = list(reader)
            found = tuple(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path.name}: cannot be read as a table ({error})") from error
    if absent := [column for column in columns if column not in found]:
        raise FormatError(f"{path.name}: no column {', '.join(absent)}; there are {', '.join(found) or 'none'}")
    return rows


def _read_events(path: Path) -> tuple[BlockEvent, ...]:
    events: list[BlockEvent] = []
    for line, row in enumerate(_rows(path, ("onset", "duration", "trial_type")), start=2):
        label = (row["trial_type"] or "").strip()
        if label in {"", "n/a"}:
            continue
        try:
            onset = float(row["onset"])
            duration = 0.0 if row["duration"] == "n/a" else float(row["duration"])
        except (TypeError, ValueError) as error:
            raise FormatError(
                f"{path.name}: line {line} has onset {row['onset']!r}, duration {row['duration']!r}; expected numbers"
            ) from error
        if not (math.isfinite(onset) and math.isfinite(duration) and duration >= 0):
            raise FormatError(f"{path.name}: line {line} has onset {onset}, duration {duration}")
        events.append(BlockEvent(onset, duration, label))
    return tuple(sorted(events, key=lambda event: event.onset_s))


def _read_known_at(path: Path) -> dict[int, float]:
    known: dict[int, float] = {}
    for line, row in enumerate(_rows(path, ("index", "known_at_s")), start=2):
        try:
            index, at = int(row["index"]), float(row["known_at_s"])
        except (TypeError, ValueError) as error:
            raise FormatError(f"{path.name}: line {line}: expected a whole number and a number") from error
        if index in known or not math.isfinite(at):
            raise FormatError(
                f"{path.name}: line {line}: volume {index} at {at} s, expected each once and a finite time"
            )
        known[index] = at
    return known
