"""``streamer regions make|show|approve|cells``: the regions of a session, in the run's own space."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from streamer.formats.region_files import RegionFacts

app = typer.Typer(help="Make, show and approve the regions of a session.", no_args_is_help=True)


@app.command()
def make(
    out: Annotated[Path, typer.Argument(help="Folder for the region set.")],
    epi: Annotated[
        Path | None,
        typer.Option(help="The run's own space: a recording, a folder of DICOM files, a NIfTI image, an SBRef."),
    ] = None,
    atlas: Annotated[Path | None, typer.Option(help="Regions from a label image or a mask (NIfTI).")] = None,
    names: Annotated[
        Path | None, typer.Option(help="Names of the labels: a table with the columns index and name.")
    ] = None,
    label: Annotated[list[str] | None, typer.Option(help="Only this region of the atlas or set; repeatable.")] = None,
    sphere: Annotated[
        list[str] | None, typer.Option(metavar="NAME=X,Y,Z[,RADIUS]", help="A sphere, mm; repeatable.")
    ] = None,
    spheres: Annotated[
        Path | None, typer.Option(help="Spheres from a table: columns name, x, y, z and perhaps radius, mm.")
    ] = None,
    coordinates: Annotated[
        Literal["power", "dosenbach", "seitzman"] | None,
        typer.Option(help="Spheres at published coordinates: Power 2011, Dosenbach 2010, Seitzman 2018."),
    ] = None,
    network: Annotated[list[str] | None, typer.Option(help="Only this network of the set; repeatable.")] = None,
    radius: Annotated[float | None, typer.Option(min=0.5, max=50, help="Of spheres, mm; by default 6.")] = None,
    localiser: Annotated[
        Path | None, typer.Option(help="Regions from a localiser run: any recording with volumes and events.")
    ] = None,
    events: Annotated[
        Path | None, typer.Option(help="Its events, where it has none: onset, duration, trial_type (s, BIDS).")
    ] = None,
    contrast: Annotated[str, typer.Option(help="Of the localiser: `face`, `face - house`.")] = "",
    threshold: Annotated[float | None, typer.Option(help="Student's t of a voxel; by default 3.1.")] = None,
    top: Annotated[int | None, typer.Option(min=1, help="So many of the best voxels, in place of a threshold.")] = None,
    clusters: Annotated[int | None, typer.Option(min=1, help="Largest clusters; by default 2, 1 in an area.")] = None,
    min_voxels: Annotated[int, typer.Option(min=1, help="Voxels of a cluster.")] = 10,
    fwhm: Annotated[float, typer.Option(min=0, max=20, help="Smoothing before the fit, mm.")] = 5.0,
    within: Annotated[
        Path | None, typer.Option(help="Areas where to look for clusters: a mask or a label image, with --space.")
    ] = None,
    space: Annotated[
        Literal["mni", "t1", "epi"], typer.Option(help="What coordinates, atlas or areas are in.")
    ] = "mni",
    t1: Annotated[Path | None, typer.Option(help="The participant's T1 image (NIfTI).")] = None,
    mni_to_epi: Annotated[
        Path | None,
        typer.Option(help="4×4 text, takes points in RAS mm of the first to the second; else estimated. ITK text too."),
    ] = None,
    mni_to_t1: Annotated[Path | None, typer.Option(help="The same, from MNI to T1.")] = None,
    t1_to_epi: Annotated[Path | None, typer.Option(help="The same, from T1 to EPI.")] = None,
    min_coverage: Annotated[
        float, typer.Option(min=0, max=1, help="Share of a region that must lie in the field of view.")
    ] = 0.5,
    replace: Annotated[bool, typer.Option("--replace", help="Make a region set in this folder anew.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="What was made, as JSON.")] = False,
) -> None:
    """Make regions in the run's own space, with a picture and a report to approve them by."""
    from streamer.commands.progress import bar
    from streamer.errors import UsageError
    from streamer.region_set.localiser import LocaliserSettings
    from streamer.region_set.request import Request, make_set
    from streamer.region_set.space import SpaceOptions

    if top is not None and threshold is not None:
        raise UsageError("--top and --threshold: expected one of them")
    if localiser is None and (contrast or events or within or top or threshold):
        raise UsageError("--contrast, --events, --within, --top and --threshold belong to a localiser (--localiser)")
    search = None
    if contrast:
        least = None if top is not None else 3.1 if threshold is None else threshold
        number = clusters or (2 if within is None else 1)
        search = LocaliserSettings(contrast, least, top, number, min_voxels, fwhm)
    request = Request(
        epi=epi, atlas=atlas, names=names, labels=tuple(label or ()), spheres=tuple(sphere or ()), sphere_table=spheres,
        published=coordinates, networks=tuple(network or ()), radius_mm=radius, localiser=localiser, events=events,
        within=within, search=search, space=SpaceOptions(space, t1, mni_to_epi, mni_to_t1, t1_to_epi),
        min_coverage=min_coverage,
    )  # fmt: skip
    with bar("making regions", quiet=as_json) as tell:
        facts = make_set(request, out, tell, replace=replace)
    _print(out, facts, as_json=as_json)


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(help="A region set.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say what is in a region set, and whether it may be used."""
    from streamer.formats.region_files import read_region_facts

    _print(folder, read_region_facts(folder), as_json=as_json)


@app.command()
def cells(
    out: Annotated[Path, typer.Argument(help="New folder for cells.nii.gz and cells.tsv.")],
    epi: Annotated[Path, typer.Option(help="The run's own space: a recording, a folder of DICOM files, an image.")],
    shape: Annotated[str, typer.Option(help="Cells along x, y and z.")] = "16x16x11",
    size: Annotated[float, typer.Option(min=1, max=100, help="Edge of a cell, mm.")] = 12.0,
) -> None:
    """Divide the box around the head into cells: what a network takes as a small volume."""
    from streamer.errors import UsageError
    from streamer.formats.cells import make_cells
    from streamer.formats.nifti import write_labels
    from streamer.region_set.target import read_target

    sides = [int(side) for side in shape.split("x") if side.isdecimal()]
    if len(sides) != 3 or shape.count("x") != 2:
        raise UsageError(f"--shape {shape}: expected three numbers such as 16x16x11")
    if out.exists():
        raise UsageError(f"{out} exists: nothing is overwritten; choose another folder")
    target = read_target(epi)
    image = make_cells(target.volume, target.affine, (sides[0], sides[1], sides[2]), size)
    out.mkdir(parents=True)
    labels, names = out / "cells.nii.gz", out / "cells.tsv"
    write_labels(image, labels, names)
    typer.echo(f'in SESSION.toml, under [bold]: regions = "{labels}", region_names = "{names}"')
    typer.echo('and under [clean.regions]: empty = "zero", for cells outside the head are no fault')


@app.command()
def approve(
    folder: Annotated[Path, typer.Argument(help="A region set that you have looked at.")],
    by: Annotated[str, typer.Option(help="Your label: it is written down, not checked.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Approve a region set as it is: `run` and `replay` take it from then on, until it changes."""
    from streamer.formats import region_files

    facts = region_files.approve(folder, by)
    _print(folder, facts, as_json=as_json)


def _print(folder: Path, facts: RegionFacts, *, as_json: bool) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from streamer.formats.region_files import LABELS, REPORT, TABLE, approved, read_region_rows

    rows = read_region_rows(folder)
    problem = approved(folder / LABELS)
    if as_json:
        plain: dict[str, Any] = facts.model_dump(mode="json", by_alias=True)
        regions = [{**row.model_dump(mode="json"), "tsnr": _number(row.tsnr)} for row in rows]
        typer.echo(json.dumps({"folder": str(folder), **plain, "regions": regions, "problem": problem}))
        return
    console = Console(highlight=False)
    table = Table(title=escape(f"{len(rows)} regions for {facts.reference}"), title_justify="left")
    for heading in ("region", "x, y, z mm", "voxels", "in view", "tSNR", "off by mm"):
        table.add_column(heading, justify="left" if heading == "region" else "right")
    for row in rows:
        x, y, z = row.centre
        tsnr = "unknown" if math.isnan(row.tsnr) else f"{row.tsnr:.0f}"
        table.add_row(
            escape(row.name), f"{x:.0f}, {y:.0f}, {z:.0f}", str(row.voxels),
            f"{row.coverage:.0%}", tsnr, f"{row.offset_mm:.1f}",
        )  # fmt: skip
    console.print(table)
    for each in facts.transforms:
        told = ", ".join(f"{key.replace('_', ' ')} {value:.3g}" for key, value in each.facts.items())
        console.print(f"{each.name} ({each.how}): {told}", markup=False, soft_wrap=True)
    for note in facts.notes:
        console.print(f"note: {note}", style="yellow", markup=False, soft_wrap=True)
    console.print(f"report: {folder / REPORT}", markup=False, soft_wrap=True)
    if problem is None:
        by = f"approved by {facts.approved_by} at {facts.approved_at} UTC"
        console.print(
            f'{by}; in SESSION.toml, under [bold]: regions = "{folder / LABELS}"', soft_wrap=True, markup=False
        )
        console.print(f'region_names = "{folder / TABLE}"', soft_wrap=True, markup=False)
    else:
        console.print(problem, style="bold yellow", markup=False, soft_wrap=True)


def _number(value: float) -> float | None:
    # JSON has no NaN
    return None if math.isnan(value) else value
