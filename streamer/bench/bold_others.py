"""Other packages on the same volumes, each in a process of its own: see ``benchmarks/bold_peers.py``."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamer.errors import UsageError
from streamer.messages import F32, F64, Array

_SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "bold_peers.py"
QUICK = ("rtspm",)
"""Methods that take less than a second a volume."""
ALL = ("rtspm", "simpleitk", "ants-boldrigid")


@dataclass(frozen=True)
class Estimated:
    """Poses of some volumes, and what they cost."""

    name: str
    poses: F64
    """World mm about the grid's middle to the same, shape (n, 4, 4): where a point of the head went."""
    ms: F64
    """Registration and resampling of each volume, shape (n,)."""
    resampled: F32 | None = None
    """The volumes on the reference's grid, shape (n, x, y, z), where they were asked for."""
    cpu_ms: float = float("nan")
    """Processor time of a volume, mean: what other programs on this machine do not lengthen."""

    def cost(self) -> str:
        """Milliseconds as people read them; the first volume, which is the reference, does not count."""
        return f"{self.name} {np.median(self.ms[1:]):.3g} ms"


class OtherPackages:
    """Packages in another Python environment.

    Parameters
    ----------
    python : Path
        That environment's interpreter.

    Raises
    ------
    UsageError
        There is no such interpreter, or the script that it is to run is not there: it comes with the source, not with
        the installed package.
    """

    def __init__(self, python: Path) -> None:
        if not python.is_file():
            raise UsageError(f"{python}: no such interpreter; expected an environment's bin/python")
        if not _SCRIPT.is_file():
            raise UsageError(f"{_SCRIPT}: not there; --peers needs a checkout of the source")
        self._python = python

    def estimate(
        self, volumes: Array, affine: F64, methods: Sequence[str], *, resampled: bool = False
    ) -> list[Estimated]:
        """Register volumes to their first.

        Parameters
        ----------
        volumes : array, shape (n, x, y, z)
        affine : array, shape (4, 4)
            Voxel index to mm about the grid's middle.
        methods : sequence of str
            Names as ``benchmarks/bold_peers.py`` knows them.
        resampled : bool
            Whether the moved volumes are wanted, too.

        Raises
        ------
        UsageError
            The script fails in that environment.
        """
        with tempfile.TemporaryDirectory(prefix="streamer-peers-") as name:
            folder = Path(name)
            np.save(folder / "volumes.npy", volumes)
            np.save(folder / "affine.npy", affine)
            # not resolved: a virtual environment's interpreter is a link
            command = [str(self._python.absolute()), str(_SCRIPT), str(folder), *methods]
            done = subprocess.run(
                [*command, "--resampled"] if resampled else command, capture_output=True, text=True, check=False
            )
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                raise UsageError(f"{_SCRIPT.name} fails in {self._python}: {last}")
            return [self._read(folder, method, resampled=resampled) for method in methods]

    @staticmethod
    def _read(folder: Path, method: str, *, resampled: bool) -> Estimated:
        found = json.loads((folder / f"{method}.json").read_text(encoding="utf-8"))
        took = np.array(found["register_ms"]) + [value or 0.0 for value in found["resample_ms"]]
        name = found["name"] if not method.startswith("ants-") else f"{found['name']} {method[5:]}"
        moved = np.load(folder / f"{method}.npy") if resampled else None
        return Estimated(name, np.array(found["poses"], np.float64), took, moved)
