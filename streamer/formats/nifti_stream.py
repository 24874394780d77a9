"""Writing a 4-D NIfTI-1 volume by volume: memory holds one volume, however long the series is."""

from __future__ import annotations

import gzip
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from nibabel import nifti1

from streamer.messages import F64, Array

MAX_VOLUMES = 32767
"""What the header can count."""

_PIXELS_AT = 352


class NiftiStream:
    """Writes a series; the values are stored as they are given, without a scale.

    Parameters
    ----------
    path : Path
        Ends in .nii.gz; must not exist.
    shape : tuple of int
        (x, y, z).
    n_volumes : int
        As many must be appended before it is closed.
    dtype : dtype
        int16, uint16 or float32.
    affine : array, shape (4, 4)
        Voxel index to RAS+ mm; written as sform and qform.
    tr : float
        s.

    Raises
    ------
    FileExistsError
    ValueError
        More volumes than the format can count.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, int, int],
        n_volumes: int,
        dtype: np.dtype[np.generic],
        affine: F64,
        tr: float,
    ) -> None:
        if not 1 <= n_volumes <= MAX_VOLUMES:
            raise ValueError(f"{n_volumes} volumes: expected 1 to {MAX_VOLUMES}")
        header = nifti1.Nifti1Header()
        header.set_data_dtype(dtype)
        header.set_data_shape((*shape, n_volumes))
        header.set_zooms((*np.linalg.norm(affine[:3, :3], axis=0).tolist(), tr))
        header.set_xyzt_units("mm", "sec")
        header.set_sform(affine, code=1)
        header.set_qform(affine, code=1, strip_shears=True)
        # the bare header of a single file: pixels follow it and four bytes that say that nothing else does
        header["magic"], header["vox_offset"] = b"n+1", _PIXELS_AT
        self._shape, self._dtype = shape, dtype
        self._missing = n_volumes
        self._file = path.open("xb")
        # neither name nor time: the same series gives the same bytes
        self._zip = gzip.GzipFile("", "wb", compresslevel=5, fileobj=self._file, mtime=0)
        self._zip.write(header.binaryblock + b"\0\0\0\0")

    def append(self, volume: Array) -> None:
        """Write the next volume, shape (x, y, z).

        Raises
        ------
        ValueError
            Another grid or dtype, or one volume too many.
        """
        if volume.shape != self._shape or volume.dtype != self._dtype or not self._missing:
            raise ValueError(
                f"volume of {volume.shape}, {volume.dtype} with {self._missing} to come: expected {self._shape}, "
                f"{self._dtype}"
            )
        self._zip.write(volume.tobytes(order="F"))
        self._missing -= 1

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._zip.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if kind is None and self._missing:
            raise ValueError(f"{self._missing} volumes are missing at the end")
