"""Names and sidecars of a BIDS dataset: which files belong together, and what the JSON beside them says.

The specification: https://doi.org/10.1038/sdata.2016.44
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from streamer.errors import FormatError

EEG_ENDINGS = (".vhdr", ".edf", ".bdf", ".set")
BOLD_ENDINGS = (".nii", ".nii.gz")
_RUN_KEYS = ("sub", "ses", "task", "run")
_PAIR = re.compile(r"([a-zA-Z0-9]+)-([a-zA-Z0-9+]+)")


@dataclass(frozen=True)
class BidsName:
    """A file name taken apart: ``sub-01_task-rest_eeg.vhdr``."""

    entities: Mapping[str, str]
    suffix: str
    """``eeg``, ``bold``, ``events`` …"""
    ending: str
    """From the first dot on, ``.nii.gz``."""

    @property
    def run(self) -> tuple[str, ...]:
        """What files of one run have in common: subject, session, task and run; empty where the name has none."""
        return tuple(self.entities.get(key, "") for key in _RUN_KEYS)


@dataclass
class Run:
    """The data files of one run."""

    eeg: list[Path] = field(default_factory=list[Path])
    bold: list[Path] = field(default_factory=list[Path])


def parse_name(path: Path) -> BidsName | None:
    """Take a file name apart; None when it is not named as BIDS names files."""
    stem, dot, ending = path.name.partition(".")
    *pairs, suffix = stem.split("_")
    entities: dict[str, str] = {}
    for pair in pairs:
        match = _PAIR.fullmatch(pair)
        if match is None:
            return None
        entities[match[1]] = match[2]
    return BidsName(entities, suffix, dot + ending) if suffix.isalnum() else None


def data_kind(path: Path) -> str | None:
    """Tell whether a file is the ``eeg`` or the ``bold`` of a subject's run, by its name and folder; None otherwise."""
    name = parse_name(path)
    if name is None or "sub" not in name.entities:
        return None
    if name.suffix == "eeg" and path.parent.name == "eeg":
        return "eeg"
    if name.suffix == "bold" and path.parent.name == "func" and name.ending in BOLD_ENDINGS:
        return "bold"
    return None


def find_runs(folder: Path) -> dict[tuple[str, ...], Run]:
    """Find the runs of a dataset, a subject or a session: data files by subject, session, task and run."""
    runs: dict[tuple[str, ...], Run] = {}
    for prefix in ("", "ses-*/", "sub-*/", "sub-*/ses-*/"):
        for path in sorted([*folder.glob(f"{prefix}eeg/*_eeg.*"), *folder.glob(f"{prefix}func/*_bold.nii*")]):
            kind, name = data_kind(path), parse_name(path)
            if kind is None or name is None or (kind == "eeg" and name.ending not in EEG_ENDINGS):
                continue
            run = runs.setdefault(name.run, Run())
            (run.eeg if kind == "eeg" else run.bold).append(path)
    return runs


def subject_folder(path: Path) -> Path:
    """Give the folder ``sub-XX`` (or ``sub-XX/ses-YY``) that a data file of a run lies in."""
    return path.parent.parent


@dataclass(frozen=True)
class Beside:
    """The tables and sidecars that apply to one data file."""

    path: Path

    @cached_property
    def _name(self) -> BidsName:
        name = parse_name(self.path)
        assert name is not None
        return name

    @cached_property
    def _folders(self) -> tuple[Path, ...]:
        # from the dataset's root down to the file: what lies nearer says more
        parents = list(self.path.parents)
        subject = next((k for k, folder in enumerate(parents) if folder.name.startswith("sub-")), 0)
        return tuple(reversed(parents[: subject + 2]))

    def _applying(self, suffix: str, ending: str) -> list[Path]:
        found: list[tuple[int, int, Path]] = []
        for depth, folder in enumerate(self._folders):
            for path in sorted(folder.glob(f"*{suffix}{ending}")):
                name = parse_name(path)
                if name is None or name.suffix != suffix:
                    continue
                if all(self._name.entities.get(key) == value for key, value in name.entities.items()):
                    found.append((depth, len(name.entities), path))
        return [path for _, _, path in sorted(found)]

    def table(self, suffix: str) -> Path | None:
        """Find the ``.tsv`` of this suffix that says most of the file; None when there is none."""
        found = self._applying(suffix, ".tsv")
        return found[-1] if found else None

    @cached_property
    def metadata(self) -> Mapping[str, Any]:
        """What the sidecars say, the nearest one last.

        Raises
        ------
        FormatError
            One cannot be read.
        """
        values: dict[str, Any] = {}
        for path in self._applying(self._name.suffix, ".json"):
            values.update(read_json(path))
        return values


def read_json(path: Path) -> Mapping[str, Any]:
    """Read a sidecar.

    Raises
    ------
    FormatError
        It is no JSON object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{path.name}: cannot be read as JSON ({type(error).__name__})") from error
    if not isinstance(values, dict):
        raise FormatError(f"{path.name}: a {type(values).__name__}, expected a JSON object")
    return values
