"""Volumes of one scan that are read when they are asked for."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import overload

from streamer.messages import F64, Array, SessionTime, Volume


class VolumeSeries(Sequence[Volume]):
    """What files of volumes have in common, whatever their format.

    Attributes
    ----------
    name : str
        How errors call it.
    shape : tuple of int
        (x, y, z).
    affine : array, shape (4, 4)
        Voxel index to RAS+ mm.
    tr : float
        s.
    slice_times : tuple of float
        s after the onset of a volume; empty when unknown.
    problems : tuple of str
        What is wrong with the files, and what was put right or left out.
    """

    name: str
    shape: tuple[int, ...]
    affine: F64
    tr: float
    slice_times: tuple[float, ...]
    problems: tuple[str, ...]

    @overload
    def __getitem__(self, index: int) -> Volume: ...

    @overload
    def __getitem__(self, index: slice) -> list[Volume]: ...

    def __getitem__(self, index: int | slice) -> Volume | list[Volume]:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        k = index + len(self) if index < 0 else index
        if not 0 <= k < len(self):
            raise IndexError(f"volume {index} of {self.name}, which has {len(self)}")
        data, series, number = self._read(k)
        return Volume(
            data=data,
            affine=self.affine,
            series=series,
            index=number,
            onset=None,
            tr=self.tr,
            slice_times=self.slice_times,
            received=SessionTime(math.nan),
        )

    @abstractmethod
    def _read(self, k: int) -> tuple[Array, str, int]:
        """Read volume ``k``: its data, the name of its series, and its acquisition number."""
