"""From what an operator asks for to a region set on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamer import __version__
from streamer.errors import UsageError
from streamer.formats.nifti import LabelImage
from streamer.formats.region_files import (
    FACTS,
    REPORT,
    SHOWN,
    RegionFacts,
    read_region_facts,
    write_region_files,
)
from streamer.messages import F64
from streamer.region_set.localiser import LocaliserSettings, fit_localiser
from streamer.region_set.making import Made, from_labels, from_localiser, from_places, read_atlas
from streamer.region_set.picture import draw
from streamer.region_set.places import parse_places, published_places, read_places, refuse_overlap
from streamer.region_set.report import write_html
from streamer.region_set.space import SpaceOptions, find_chain
from streamer.region_set.target import Target, read_target
from streamer.region_set.transforms import Transform

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Request:
    """What regions to make; one of atlas, spheres, sphere_table, published and localiser says from what."""

    epi: Path | None = None
    """A recording of the run or of one like it, or its SBRef; a localiser's own by default."""
    atlas: Path | None = None
    """A label image or a mask."""
    names: Path | None = None
    """Names of its labels, or of those of ``within``."""
    labels: Sequence[str] = ()
    """Which regions of the atlas, or of the published set."""
    spheres: Sequence[str] = ()
    """``NAME=X,Y,Z[,RADIUS]``."""
    sphere_table: Path | None = None
    published: str | None = None
    """``power``, ``dosenbach`` or ``seitzman``."""
    networks: Sequence[str] = ()
    radius_mm: float | None = None
    localiser: Path | None = None
    """A recording."""
    events: Path | None = None
    within: Path | None = None
    """Where a localiser's regions are looked for: a label image or a mask."""
    search: LocaliserSettings | None = None
    space: SpaceOptions = field(default_factory=SpaceOptions)
    min_coverage: float = 0.5
    """Share of a region that must lie in the field of view."""

    def plain(self) -> dict[str, Any]:
        """What was asked for, as JSON values; of files their names."""
        search = {} if self.search is None else vars(self.search)
        values = {**vars(self), **vars(self.space), **search}
        left_out = {"search"} | ({"space"} if self.localiser is not None and self.within is None else set[str]())
        return {
            key: value.name if isinstance(value, Path) else list(value) if isinstance(value, (tuple, list)) else value
            for key, value in values.items()
            if key not in left_out and value not in (None, (), [])
        }


def make_set(request: Request, out: Path, progress: Progress, *, replace: bool = False) -> RegionFacts:
    """Make regions and write them, with picture and report.

    Parameters
    ----------
    request : Request
    out : Path
        A new or empty folder, or a region set where ``replace``.
    progress : callable
        Takes the fraction done.
    replace : bool

    Raises
    ------
    UsageError
        What is asked for contradicts itself, is not there, or gives no region.
    RecordingError
        A file cannot be read, or a registration cannot be trusted.
    """
    _check(request, out, replace=replace)
    made, transforms = _make(request, progress)
    progress(0.9)
    out.mkdir(parents=True, exist_ok=True)
    return write_set(out, made, transforms, request.plain())


def write_set(folder: Path, made: Made, transforms: Sequence[Transform], how: dict[str, Any]) -> RegionFacts:
    """Write a region set: labels, table, reference, facts, picture, report."""
    png = draw(made.target.volume, made.labels.data, made.target.affine, made.labels.names)
    facts = write_region_files(
        folder,
        made.labels,
        made.rows,
        made.target.volume,
        version=__version__,
        reference=made.target.name,
        how=how,
        transforms=tuple(each.stored() for each in transforms),
        notes=made.notes,
    )
    (folder / SHOWN).write_bytes(png)
    (folder / REPORT).write_text(write_html(facts, made.rows, png, str(folder)), encoding="utf-8")
    return facts


def _check(request: Request, out: Path, *, replace: bool) -> None:
    kinds = {
        "--atlas": request.atlas,
        "--sphere": list(request.spheres),
        "--spheres": request.sphere_table,
        "--coordinates": request.published,
        "--localiser": request.localiser,
    }
    given = [name for name, value in kinds.items() if value]
    if len(given) != 1:
        raise UsageError(f"{' and '.join(given) or 'nothing to make regions from'}: expected one of {', '.join(kinds)}")
    if request.localiser is None and request.epi is None:
        raise UsageError("no EPI: expected --epi, a recording of the run (or one like it), or its SBRef")
    if request.localiser is not None and request.search is None:
        raise UsageError("a localiser needs a contrast (--contrast)")
    if request.networks and request.published is None:
        raise UsageError("--network chooses from a published set: expected --coordinates")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not (out / FACTS).is_file():
            raise UsageError(f"{out} is neither empty nor a region set: nothing is overwritten; choose another folder")
        facts = read_region_facts(out)
        if not replace:
            kind = f"a region set that {facts.approved_by} approved" if facts.approved else "a region set"
            raise UsageError(f"{out} is {kind}: --replace makes it anew, and it is then not approved")


def _make(request: Request, progress: Progress) -> tuple[Made, tuple[Transform, ...]]:
    if request.localiser is not None:
        return _localise(request, request.localiser, progress)
    # what needs no images is read first: a wrong name is told at once
    if request.atlas is not None:
        atlas = read_atlas(request.atlas, request.names, request.labels)
        target, matrix, transforms = _target_and_chain(request, progress)
        return from_labels(atlas, request.atlas.name, matrix, target, request.min_coverage), transforms
    if request.published is not None:
        if request.space.space != "mni":
            raise UsageError("published coordinates are in MNI space: expected --space mni")
        places = published_places(request.published, request.networks, request.labels, request.radius_mm)
    elif request.sphere_table is not None:
        places = read_places(request.sphere_table, request.radius_mm)
    else:
        places = parse_places(request.spheres, request.radius_mm)
    refuse_overlap(places)
    target, matrix, transforms = _target_and_chain(request, progress)
    chosen = request.published is None
    return from_places(places, matrix, target, request.min_coverage, all_needed=chosen), transforms


def _target_and_chain(request: Request, progress: Progress) -> tuple[Target, F64, tuple[Transform, ...]]:
    assert request.epi is not None
    target = read_target(request.epi, lambda part: progress(0.4 * part))
    matrix, transforms = find_chain(request.space, target)
    return target, matrix, transforms


def _localise(request: Request, path: Path, progress: Progress) -> tuple[Made, tuple[Transform, ...]]:
    assert request.search is not None
    areas = None if request.within is None else read_atlas(request.within, request.names, request.labels)
    found = fit_localiser(path, request.events, request.search, lambda part: progress(0.6 * part))
    transforms: tuple[Transform, ...] = ()
    placed: LabelImage | None = None
    if areas is not None:
        matrix, transforms = find_chain(request.space, found.target)
        within = from_labels(areas, areas.names[0], matrix, found.target, request.min_coverage)
        placed = within.labels
    target = found.target if request.epi is None or request.epi == path else read_target(request.epi)
    made, between = from_localiser(found, placed, request.search, target, request.min_coverage)
    return made, transforms if between is None else (*transforms, between)
