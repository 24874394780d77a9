"""What the BOLD lane is made with, from the settings' files: regions, tissues, reference, task; and a session's copies.

A replay must not depend on files that may have changed since: a session keeps its own copies of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from streamer.acquire.recording_tables import read_events
from streamer.bold_core import BoldSetup
from streamer.calibration import Calibration
from streamer.clean.bold.design_matrix import DesignSettings, conditions_of
from streamer.config import Config
from streamer.errors import ConfigError, UsageError
from streamer.formats.nifti import LabelImage, read_labels, read_nifti, write_labels, write_nifti
from streamer.formats.region_files import REFERENCE, TABLE, approved, is_region_set
from streamer.messages import F64, Array

_REGIONS = "regions.nii.gz"
_REGION_NAMES = "regions.tsv"
_TISSUE = "tissue.nii.gz"
_MOTION_REFERENCE = "motion_reference.nii.gz"


def make_setup(config: Config, labels: LabelImage | None, calibration: Calibration | None) -> BoldSetup:
    """Read what the settings name.

    Parameters
    ----------
    config : Config
    labels : LabelImage, optional
        Regions that a recording brings; the configuration's own come first.
    calibration : Calibration, optional
        Its reference is what motion is measured against, unless the settings name another. Without either it is the
        volume that a region set was made on.

    Raises
    ------
    UsageError
        The regions were made by ``streamer regions`` and nobody approved them, or they changed since.
    RecordingError, FormatError
        A file cannot be read.
    """
    bold = config.bold
    reference = calibration.reference if calibration is not None else None
    if bold.regions is not None:
        if reason := approved(bold.regions):
            raise UsageError(reason)
        names = bold.region_names
        if is_region_set(bold.regions):
            names = names or bold.regions.with_name(TABLE)
            reference = reference or _read(bold.regions.with_name(REFERENCE))
        labels = read_labels(bold.regions, names)
    if bold.reference is not None:
        reference = _read(bold.reference)
    tissue = None if bold.tissue is None else _read(bold.tissue)
    return BoldSetup(config.clean.bold, labels, reference, tissue)


def _read(path: Path) -> tuple[Array, F64]:
    image = read_nifti(path)[0]
    return image.data, image.affine


def keep_inputs(setup: BoldSetup, folder: Path, calibration: Calibration | None = None) -> None:
    """Write a session's own copies; a reference that is the calibration's is kept with that."""
    if setup.labels is not None:
        write_labels(setup.labels, folder / _REGIONS, folder / _REGION_NAMES)
    kept = None if calibration is None else calibration.reference
    for image, name in ((setup.reference, _MOTION_REFERENCE), (setup.tissue, _TISSUE)):
        if image is not None and image is not kept:
            write_nifti(folder / name, *image)


def kept_inputs(folder: Path) -> dict[str, Any]:
    """Give the settings under ``[bold]`` that name a session's own copies."""
    kept = {
        "regions": _REGIONS,
        "region_names": _REGION_NAMES,
        "tissue": _TISSUE,
        "reference": _MOTION_REFERENCE,
    }
    return {key: str(folder / name) for key, name in kept.items() if (folder / name).exists()}


def with_task(config: Config) -> Config:
    """Put the blocks that ``bold.events`` names into the designs of maps and region signals.

    Raises
    ------
    FormatError
        The table cannot be read.
    ConfigError
        Its blocks do not fit the designs.
    """
    path = config.bold.events
    if path is None:
        return config
    conditions = conditions_of(read_events(path))

    def with_conditions(design: DesignSettings) -> DesignSettings:
        try:
            return DesignSettings.model_validate(dict(design) | {"conditions": (*design.conditions, *conditions)})
        except ValidationError as error:
            raise ConfigError(str(path), [item["msg"] for item in error.errors()]) from error

    clean = config.clean
    maps = clean.bold.maps.model_copy(update={"design": with_conditions(clean.bold.maps.design)})
    nuisance = clean.regions.nuisance.model_copy(update={"design": with_conditions(clean.regions.nuisance.design)})
    update = {
        "bold": clean.bold.model_copy(update={"maps": maps}),
        "regions": clean.regions.model_copy(update={"nuisance": nuisance}),
    }
    return config.model_copy(
        update={
            "clean": clean.model_copy(update=update),
            # the blocks are settings now: a session that keeps them needs the table no longer
            "bold": config.bold.model_copy(update={"events": None}),
        }
    )
