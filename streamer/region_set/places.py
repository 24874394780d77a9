"""Places that regions are made at: coordinates from the command line, from a table, or published sets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streamer.acquire.recording_tables import read_rows
from streamer.errors import FormatError, UsageError

RADIUS_MM = 6.0
MAX_RADIUS_MM = 50.0
SETS = {"power": "power_2011", "dosenbach": "dosenbach_2010", "seitzman": "seitzman_2018"}
"""Sets that nilearn carries: Power et al. 2011, doi:10.1016/j.neuron.2011.09.006; Dosenbach et al. 2010,
doi:10.1126/science.1194144; Seitzman et al. 2020, doi:10.1016/j.neuroimage.2019.116290."""
_SET_RADIUS_MM = 5.0


@dataclass(frozen=True, slots=True)
class Place:
    """A sphere."""

    name: str
    centre: tuple[float, float, float]
    """RAS mm, in the space that the coordinates are in."""
    radius_mm: float
    source: str
    """What the report calls where it is from."""


def parse_places(texts: Sequence[str], radius_mm: float | None = None) -> list[Place]:
    """Read places from the command line, each ``NAME=X,Y,Z`` or ``NAME=X,Y,Z,RADIUS`` in mm.

    Raises
    ------
    UsageError
        A text is not one of these.
    """
    found: list[Place] = []
    for text in texts:
        name, _, numbers = text.partition("=")
        try:
            values = [float(each) for each in numbers.split(",")]
        except ValueError:
            values = []
        if len(values) not in {3, 4} or not name.strip():
            raise UsageError(f"sphere {text!r}: expected NAME=X,Y,Z or NAME=X,Y,Z,RADIUS, in mm")
        found.append(_place(name.strip(), values, radius_mm, "command line"))
    return _distinct(found)


def read_places(path: Path, radius_mm: float | None = None) -> list[Place]:
    """Read places from a table (TSV) with the columns name, x, y, z and perhaps radius, in mm.

    Raises
    ------
    FormatError
        It is not such a table.
    UsageError
        A radius or coordinate makes no sense.
    """
    found: list[Place] = []
    for line, row in enumerate(read_rows(path, ("name", "x", "y", "z")), start=2):
        radius = (row.get("radius") or "").strip()
        try:
            values = [float(row[axis]) for axis in "xyz"] + ([float(radius)] if radius not in {"", "n/a"} else [])
        except ValueError as error:
            raise FormatError(
                f"{path.name}: line {line} has {row['x']!r}, {row['y']!r}, {row['z']!r}, radius {radius!r}; expected mm"
            ) from error
        found.append(_place(row["name"].strip(), values, radius_mm, path.name))
    if not found:
        raise FormatError(f"{path.name}: no place in the table")
    return _distinct(found)


def published_places(
    name: str, networks: Sequence[str] = (), labels: Sequence[str] = (), radius_mm: float | None = None
) -> list[Place]:
    """Give a published set of coordinates in MNI space, or part of it.

    Parameters
    ----------
    name : str
        A key of :data:`SETS`.
    networks, labels : sequence of str
        Which to take: by the set's networks (or Seitzman's regions), by the names that places have here, upper or lower
        case; both empty takes all.
    radius_mm : float, optional
        By default the set's own; 5 mm where it has none.

    Raises
    ------
    UsageError
        No such set, network or label.
    """
    if name not in SETS:
        raise UsageError(f"no set of coordinates {name!r}; there are {', '.join(SETS)}")
    # nilearn takes 1.5 s to import
    from nilearn import datasets

    found: Any = getattr(datasets, f"fetch_coords_{SETS[name]}")()
    coordinates = found.rois[["x", "y", "z"]].to_numpy(np.float64)
    groups = _groups(name, found)
    names = _names(name, found, groups)
    radii = found.radius if name == "seitzman" else [_SET_RADIUS_MM] * len(names)
    wanted = _wanted(name, groups, names, networks, labels)
    return [
        _place(names[k], [*coordinates[k].tolist(), float(radius_mm or radii[k])], None, _source(name, groups, k))
        for k in wanted
    ]


def _groups(name: str, found: Any) -> list[tuple[str, ...]]:
    if name == "power":
        return [()] * len(found.rois)
    networks = [str(each) for each in found.networks]
    if name == "dosenbach":
        return [(each,) for each in networks]
    return [(each, str(region)) for each, region in zip(networks, found.regions, strict=True)]


def _names(name: str, found: Any, groups: list[tuple[str, ...]]) -> list[str]:
    if name == "power":
        return [f"power {number}" for number in found.rois["roi"]]
    if name == "dosenbach":
        return [str(label) for label in found.labels]
    return [f"{group[0]} {number + 1}" for group, number in zip(groups, found.rois.index, strict=True)]


def _source(name: str, groups: list[tuple[str, ...]], k: int) -> str:
    return ", ".join((name, *groups[k][:1]))


def _wanted(
    name: str, groups: list[tuple[str, ...]], names: list[str], networks: Sequence[str], labels: Sequence[str]
) -> list[int]:
    known = {group.casefold(): group for each in groups for group in each}
    if networks and not known:
        raise UsageError(f"the set {name} has no networks: choose by label ({names[0]} to {names[-1]}), or take all")
    if unknown := [each for each in networks if each.casefold() not in known]:
        raise UsageError(f"no network {unknown[0]!r} in the set {name}; there are {', '.join(sorted(known.values()))}")
    places = {each.casefold() for each in names}
    if unknown := [each for each in labels if each.casefold() not in places]:
        raise UsageError(f"no label {unknown[0]!r} in the set {name}; labels are such as {', '.join(names[:4])}")
    if not networks and not labels:
        return list(range(len(names)))
    of_network, of_label = {each.casefold() for each in networks}, {each.casefold() for each in labels}
    return [
        k
        for k, each in enumerate(names)
        if each.casefold() in of_label or any(group.casefold() in of_network for group in groups[k])
    ]


def _place(name: str, values: list[float], radius_mm: float | None, source: str) -> Place:
    x, y, z, radius = values if len(values) == 4 else [*values, RADIUS_MM if radius_mm is None else radius_mm]
    if not all(math.isfinite(each) for each in (x, y, z)) or not 0 < radius <= MAX_RADIUS_MM:
        raise UsageError(f"{name}: {x:g}, {y:g}, {z:g} mm, radius {radius:g} mm; expected a radius up to 50 mm")
    return Place(name, (x, y, z), radius, source)


def _distinct(places: list[Place]) -> list[Place]:
    names = [each.name for each in places]
    if twice := sorted({name for name in names if names.count(name) > 1 or not name}):
        raise UsageError(f"places named twice, or not at all: {', '.join(repr(name) for name in twice)}")
    return places


def refuse_overlap(places: Sequence[Place]) -> None:
    """Refuse spheres whose centre lies in another: which voxels would be whose is no longer what was asked for.

    Raises
    ------
    UsageError
        With every such pair.
    """
    centres = np.array([each.centre for each in places])
    pairs: list[str] = []
    for k, place in enumerate(places[:-1]):
        distance = np.linalg.norm(centres[k + 1 :] - centres[k], axis=1)
        for j, apart in enumerate(distance.tolist(), start=k + 1):
            if apart <= max(place.radius_mm, places[j].radius_mm):
                pairs.append(f"{place.name} and {places[j].name} are {apart:.1f} mm apart")
    if pairs:
        listed = "; ".join(pairs[:6]) + ("; …" if len(pairs) > 6 else "")
        raise UsageError(f"spheres overlap beyond a centre: {listed}. Expected a smaller radius or other places")
