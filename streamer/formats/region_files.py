"""A region set on disk: what ``streamer regions`` writes, and whether an operator approved it.

::

    FOLDER/
      regions.nii.gz     labels, on the grid of the volumes
      regions.tsv        index, name and what is known of each region
      reference.nii.gz   the volume that they were made for
      regions.json       how they were made; approval
      regions.png        the regions over the volume
      regions.html       all of it, to read

The approval holds the digests of the labels and of their names: a change of either makes it void.
"""

from __future__ import annotations

import csv
import hashlib
import math
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from streamer.clock import wall_time_stamp
from streamer.contracts import Settings
from streamer.errors import FormatError, UsageError
from streamer.formats.nifti import LabelImage, write_nifti
from streamer.messages import Array

LABELS = "regions.nii.gz"
TABLE = "regions.tsv"
FACTS = "regions.json"
REFERENCE = "reference.nii.gz"
SHOWN = "regions.png"
REPORT = "regions.html"
SCHEMA = 1
_COLUMNS = ("index", "name", "source", "x", "y", "z", "voxels", "coverage", "tsnr", "intensity", "offset_mm")


class RegionRow(Settings):
    """What is known of a region."""

    name: str
    source: str
    """What it was made from."""
    centre: tuple[float, float, float]
    """Mean of its voxels, RAS+ mm in the volumes' space."""
    voxels: int
    coverage: float
    """Share of it that lies in the field of view, 0 to 1."""
    tsnr: float
    """Mean over its voxels of the mean over the standard deviation in time; NaN where there is one volume only."""
    intensity: float
    """Its mean intensity over the brain's median: little of it is signal dropout."""
    offset_mm: float
    """From the intended centre to the one it has."""


class TransformFacts(Settings):
    """A transform that was used."""

    name: str
    """Such as ``mni-to-epi``: takes a point of the first space to the same place in the second."""
    how: Literal["given", "estimated"]
    matrix: tuple[tuple[float, float, float, float], ...]
    """RAS mm to RAS mm, shape (4, 4)."""
    facts: dict[str, float] = Field(default_factory=dict[str, float])
    """How well it fits, by name."""


class GridFacts(Settings):
    """The grid of the volumes."""

    shape: tuple[int, int, int]
    affine: tuple[tuple[float, float, float, float], ...]
    """Voxel index to RAS+ mm, shape (4, 4)."""


class RegionFacts(Settings):
    """regions.json."""

    schema_: Literal[1] = Field(default=SCHEMA, alias="schema")
    kind: Literal["streamer-regions"] = "streamer-regions"
    version: str
    """Of the streamer."""
    reference: str
    """Name of what the regions were made for."""
    grid: GridFacts
    how: dict[str, Any]
    """What was asked for."""
    transforms: tuple[TransformFacts, ...] = ()
    notes: tuple[str, ...] = ()
    """What the operator must know before they approve, in sentences."""
    image_sha256: str
    table_sha256: str
    approved: bool = False
    approved_by: str | None = None
    """The operator's label."""
    approved_at: str | None = None
    """UTC, ``YYYYMMDD-HHMMSS``."""
    approved_sha256: str | None = None
    """Of the labels and the table, as they were approved."""

    def write(self, folder: Path) -> None:
        """Write regions.json; the file appears whole or not at all."""
        part = folder / f".{FACTS}.{os.getpid()}.part"
        part.write_text(self.model_dump_json(by_alias=True, indent=1) + "\n", encoding="utf-8")
        part.replace(folder / FACTS)


def write_region_files(
    folder: Path, labels: LabelImage, rows: tuple[RegionRow, ...], volume: Array, **facts: Any
) -> RegionFacts:
    """Write labels, table, reference volume and facts; the set is not approved.

    Parameters
    ----------
    folder : Path
        Exists; files in it are replaced.
    labels : LabelImage
    rows : tuple of RegionRow
        One for each name.
    volume : array, shape (x, y, z)
        That they were made for, on the labels' grid.
    **facts
        ``version``, ``reference`` (its name), ``how``, ``transforms``, ``notes`` of :class:`RegionFacts`.
    """
    # an approval that stands there holds for other files
    (folder / FACTS).unlink(missing_ok=True)
    write_nifti(folder / LABELS, labels.data, labels.affine)
    write_nifti(folder / REFERENCE, volume, labels.affine)
    lines = ["\t".join(_COLUMNS)]
    lines += ["\t".join([str(k), *_cells(row)]) for k, row in enumerate(rows, start=1)]
    (folder / TABLE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    grid = GridFacts.model_validate({"shape": labels.data.shape, "affine": labels.affine.tolist()})
    made = RegionFacts(grid=grid, image_sha256=_sha256(folder / LABELS), table_sha256=_sha256(folder / TABLE), **facts)
    made.write(folder)
    return made


def read_region_facts(folder: Path) -> RegionFacts:
    """Read regions.json.

    Raises
    ------
    FormatError
        It is not there or damaged.
    """
    try:
        return RegionFacts.model_validate_json((folder / FACTS).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FormatError(f"{folder}: no {FACTS}; `streamer regions make {folder} …` makes a region set") from error
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise FormatError(f"{folder / FACTS}: not that of a region set ({type(error).__name__})") from error


def read_region_rows(folder: Path) -> tuple[RegionRow, ...]:
    """Read regions.tsv.

    Raises
    ------
    FormatError
        It is not there or damaged.
    """
    try:
        with (folder / TABLE).open(encoding="utf-8", newline="") as stream:
            return tuple(_row(cells) for cells in csv.DictReader(stream, delimiter="\t"))
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{folder / TABLE}: not that of a region set ({type(error).__name__})") from error


def approve(folder: Path, by: str) -> RegionFacts:
    """Approve a region set as it is.

    Parameters
    ----------
    folder : Path
    by : str
        The operator's label.

    Raises
    ------
    UsageError
        No label, or the files are not those that were made.
    FormatError
        No region set.
    """
    label = " ".join(by.split())
    if not label or len(label) > 64 or not label.isprintable():
        raise UsageError(f"the operator's label is {by!r}: expected 1 to 64 printable characters")
    facts = read_region_facts(folder)
    if changed := _changed(folder, facts):
        raise UsageError(f"{folder}: {changed} since the set was made: make it anew")
    given = {
        "approved": True,
        "approved_by": label,
        "approved_at": wall_time_stamp(),
        "approved_sha256": _approval(facts),
    }
    approved_facts = facts.model_copy(update=given)
    approved_facts.write(folder)
    return approved_facts


def approved(labels: Path) -> str | None:
    """Say why a label image may not be used in a run; None when it may.

    Parameters
    ----------
    labels : Path
        A label image. One that ``streamer regions`` made (regions.json of a region set lies beside it) must have been
        approved, and not changed since; one from elsewhere is the operator's own business.

    Raises
    ------
    FormatError
        The regions.json beside it is damaged.
    """
    if not is_region_set(labels):
        return None
    folder = labels.parent
    facts = read_region_facts(folder)
    if not facts.approved:
        return f"{labels}: not approved; look at {folder / REPORT}, then: streamer regions approve {folder} --by NAME"
    changed = _changed(folder, facts) if facts.approved_sha256 == _approval(facts) else f"{FACTS} has changed"
    if changed:
        return f"{labels}: approved by {facts.approved_by}, but {changed} since: make the set anew and approve it"
    return None


def is_region_set(labels: Path) -> bool:
    """Whether a label image is that of a set which ``streamer regions`` made."""
    return labels.name == LABELS and (labels.parent / FACTS).exists()


def _changed(folder: Path, facts: RegionFacts) -> str:
    for name, digest in ((LABELS, facts.image_sha256), (TABLE, facts.table_sha256)):
        try:
            if _sha256(folder / name) != digest:
                return f"{name} has changed"
        except OSError:
            return f"{name} is gone"
    return ""


def _approval(facts: RegionFacts) -> str:
    return hashlib.sha256(f"{facts.image_sha256} {facts.table_sha256}".encode()).hexdigest()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _cells(row: RegionRow) -> list[str]:
    numbers = (*row.centre, row.coverage, row.tsnr, row.intensity, row.offset_mm)
    x, y, z, coverage, tsnr, intensity, offset = ("n/a" if math.isnan(v) else f"{v:.3f}" for v in numbers)
    return [row.name, row.source, x, y, z, str(row.voxels), coverage, tsnr, intensity, offset]


def _row(cells: dict[str, str]) -> RegionRow:
    def number(name: str) -> float:
        return math.nan if cells[name] == "n/a" else float(cells[name])

    return RegionRow(
        name=cells["name"],
        source=cells["source"],
        centre=(number("x"), number("y"), number("z")),
        voxels=int(cells["voxels"]),
        coverage=number("coverage"),
        tsnr=number("tsnr"),
        intensity=number("intensity"),
        offset_mm=number("offset_mm"),
    )
