"""Maps of a session's runs as NIfTI files: ``maps/<series>/<name>.nii.gz``, on the grid of the motion reference."""

from __future__ import annotations

from pathlib import Path

from streamer.formats.nifti import write_nifti
from streamer.messages import RunMaps

MAPS = "maps"


def write_maps(folder: Path, maps: RunMaps) -> None:
    """Write maps under a session's folder; nothing where there are none.

    Parameters
    ----------
    folder : Path
    maps : RunMaps
    """
    for series, named in maps.images.items():
        own = folder / MAPS / series
        own.mkdir(parents=True, exist_ok=True)
        for name, image in named.items():
            write_nifti(own / f"{name}.nii.gz", image, maps.affine)
