"""The BOLD lane as a core of its own: it runs in another process than the EEG's.

::

    BoldCore   Volume ─ registration ─ region means, tissue, maps ─ BoldFrame
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from streamer.clean.bold.lane import BoldLane, BoldLaneSettings
from streamer.errors import FormatError
from streamer.formats.nifti import LabelImage
from streamer.messages import F64, Array, Event, Output, Volume, VolumeView


class BoldCore:
    """The BOLD lane as a core: volumes in, frames out.

    A volume that cannot be used (another grid in mid-run) is refused: it is counted in ``refused``, with the reason in
    ``reasons``, and the run goes on.
    """

    def __init__(self, setup: BoldSetup) -> None:
        self._setup = setup
        self.lane = setup.lane()
        self.refused = 0
        self.reasons: list[str] = []

    def restart(self, *, keep_reference: bool) -> None:
        """Begin anew, as a worker does that was started again: only what motion is measured against may be kept."""
        reference = self.lane.reference if keep_reference else None
        self.lane = replace(self._setup, reference=self._setup.reference or reference).lane()

    def feed(self, event: Event) -> list[Output]:
        """Take one event; give a frame for a volume that can be used."""
        if not isinstance(event, Volume):
            return []
        try:
            return [self.lane(event)]
        except FormatError as error:
            self.refused += 1
            self.reasons.append(str(error))
            return []

    def view(self) -> VolumeView | None:
        """Give the newest volume as it is looked at; None before there is one, or where that is switched off."""
        return self.lane.view()


@dataclass(frozen=True)
class BoldSetup:
    """All that the BOLD core is made with; travels to its process."""

    settings: BoldLaneSettings
    labels: LabelImage | None
    reference: tuple[Array, F64] | None = None
    """Volume and affine that motion is measured against; None takes the run's first volume."""
    tissue: tuple[Array, F64] | None = None
    """Image (1 white matter, 2 cerebrospinal fluid) and affine."""

    @property
    def regions(self) -> tuple[str, ...]:
        """Names of the regions, in order."""
        return self.labels.names if self.labels is not None else ("brain",)

    def region_centres(self) -> list[tuple[float, float, float] | None]:
        """Give the centre of mass of each region, RAS+ mm in the reference's space; None for one without a voxel.

        It is None, too, for the whole brain, which counts as the one region where there are no labels.
        """
        labels = self.labels
        if labels is None:
            return [None]
        index = np.nonzero(labels.data)
        number = labels.data[index].astype(np.int64) - 1
        held = np.bincount(number, minlength=len(labels.names))
        sums = [np.bincount(number, weights=axis, minlength=len(labels.names)) for axis in index]
        centres = labels.affine @ np.vstack([np.array(sums) / np.maximum(held, 1), np.ones(len(held))])
        return [(float(x), float(y), float(z)) if n else None for (x, y, z, _), n in zip(centres.T, held, strict=True)]

    def core(self) -> BoldCore:
        """Make the core."""
        return BoldCore(self)

    def lane(self) -> BoldLane:
        """Make the lane."""
        labels = self.labels
        return BoldLane(
            self.settings,
            None if labels is None else labels.data,
            None if labels is None else labels.affine,
            self.regions,
            self.reference,
            self.tissue,
        )
