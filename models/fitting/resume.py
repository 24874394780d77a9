"""Where the training of a member stands, in a file that is replaced as a whole after every epoch.

A run that was interrupted goes on from there and ends with the very weights that it would have had. The file's name
holds the digest of data and settings: other ones begin anew, beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.dataset import WindowSet
from streamer.errors import ModelError

SCHEMA = 1


def digest_of(windows: tuple[WindowSet, ...], *settings: str) -> str:
    """Digest what a training depends on: arrays, settings as text, torch's version.

    Returns
    -------
    digest : str
        sha256.
    """
    found = hashlib.sha256("\n".join((str(SCHEMA), torch.__version__, *settings)).encode())
    for part in windows:
        found.update(repr((part.classes, part.inputs)).encode())
        for array in (part.eeg, part.bold, part.age, part.valid, part.label):
            found.update(repr((array.shape, array.dtype.str)).encode())
            found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


class Standing:
    """A file for one member.

    Parameters
    ----------
    folder : Path, optional
        Without one nothing is kept.
    member : int
        Counted from 0.
    digest : str
        As ``digest_of`` gives it.
    """

    def __init__(self, folder: Path | None, member: int, digest: str) -> None:
        self._digest = digest
        self.path = folder / f"member-{member + 1}-{digest[:12]}.pt" if folder is not None else None

    def read(self) -> dict[str, Any] | None:
        """Give what was written last; None where nothing was.

        Raises
        ------
        ModelError
            The file is damaged or of another training.
        """
        if self.path is None or not self.path.exists():
            return None
        try:
            # nothing but tensors and plain values is ever unpickled
            stored: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
            fits = stored["schema"] == SCHEMA and stored["digest"] == self._digest
        except Exception as error:
            message = f"{self.path} is not a checkpoint: {error}; without the file training begins anew"
            raise ModelError(message) from error
        if not fits:
            raise ModelError(f"{self.path} is of another training: without the file training begins anew")
        return stored

    def write(self, state: Mapping[str, Any]) -> None:
        """Replace what was written last."""
        if self.path is None:
            return
        part = self.path.with_suffix(".part")
        torch.save({"schema": SCHEMA, "digest": self._digest, **state}, part)
        part.replace(self.path)
