"""The volume that is passing: compared with the template block by block, and subtracted."""

from __future__ import annotations

import numpy as np

from streamer.clean.eeg.gradient.interpolate import REACH, Shift
from streamer.clean.eeg.gradient.match import Match
from streamer.clean.eeg.gradient.template import MARGIN, History, Template
from streamer.messages import F32, F64, Array

_WORTH = 0.006
"""Samples: a place is corrected by no less."""
_FAR = MARGIN - REACH - 2
_DOUBT = 0.03


class Places:
    """What the first parts of a volume are worth in telling where it begins, learnt from whole volumes.

    Parameters
    ----------
    first : int
        Blocks that are asked first; then four times and twice as many as the last time.
    """

    def __init__(self, first: int) -> None:
        self.after = tuple(first * n for n in (1, 4, 8, 16, 32, 64))
        """Numbers of blocks after which a volume is asked."""
        self._errors = dict.fromkeys(self.after, _DOUBT**2)

    def sd(self, blocks: int) -> float:
        """Expected error of the place after so many blocks, samples."""
        return float(np.sqrt(self._errors[blocks]))

    def learn(self, told: dict[int, float], place: float) -> None:
        """Compare what the parts told with what the whole volume did."""
        for blocks, early in told.items():
            error = (early - place) ** 2
            old = self._errors[blocks]
            self._errors[blocks] += 0.1 * (min(error, 16.0 * old) - old)


class Volume:
    """One volume.

    Parameters
    ----------
    number : int
        Counts volumes.
    base : int
        Its first sample.
    shift : float
        The artefact is thought to begin so many samples after ``base``.
    sd : float
        Expected error of that, samples.
    trigger : int or None
        Sample of its trigger; None while it has not come.
    """

    def __init__(self, number: int, base: int, shift: float, sd: float, trigger: int | None) -> None:
        self.number = number
        self.base = base
        self.shift = shift
        self.trigger = trigger
        self.epochs = 0
        """Epochs in the template that it is compared with."""
        self.gains: F32 | None = None
        """Amplitudes over the template's; None where they are 1."""
        self.dead: int | None = None
        """First sample from which on nothing is subtracted."""
        self.silent = 0
        """Blocks in a row in which subtracting made more than there was."""
        self.strange = 0
        """Blocks in a row that the template does not explain."""
        self.helps: Array | None = None
        """Channels that are corrected, bool: those from which a template of one epoch has taken power so far; None for
        all."""
        self.whole = True
        """Whether it was here from its first sample on, and as the template expects it."""
        self.told: dict[int, float] = {}
        self._variance = sd**2
        self._template: Template | None = None
        self._by = Shift(0.0, 1)
        self._blocks: list[tuple[int, float, F32]] = []
        self._scaled: tuple[int, float, F32] | None = None

    def compare_with(self, template: Template) -> None:
        """Take the template that it is compared with and corrected by."""
        self._template = template
        self.epochs = len(template.epochs)
        self._by = Shift(-self.shift, template.block)

    def rows(self, history: History, block: int) -> F32:
        """Give a block of the template, as far shifted as the volume is, shape (block, n_channels)."""
        for at, shift, rows in self._blocks:
            if at == block and shift == self.shift:
                return rows
        template, by = self._template, self._by
        assert template is not None
        size = template.block
        first = block * size - by.before
        template.advance(history, first + by.n)
        read = template.mean[first + MARGIN : first + MARGIN + by.n]
        if by.n == size:
            rows = read
        else:
            rows = np.empty((size, read.shape[1]), np.float32)
            by(read, rows)
        self._blocks = [*self._blocks[-1:], (block, self.shift, rows)]
        return rows

    def subtract(self, history: History, first: int, data: F32, out: F32) -> None:
        """Correct samples that lie in one block."""
        assert self._template is not None
        size = self._template.block
        block = (first - self.base) // size
        at = first - self.base - block * size
        if self.gains is None:
            rows = self.rows(history, block)
        elif self._scaled is not None and self._scaled[:2] == (block, self.shift):
            rows = self._scaled[2]
        else:
            rows = self.rows(history, block) * self.gains
            self._scaled = block, self.shift, rows
        np.subtract(data, rows[at : at + len(data)], out=out)
        if self.helps is not None:
            np.copyto(out, data, where=~self.helps)

    def measure(self, history: History, block: int, match: Match) -> F64:
        """Compare a block that is all there; give its energies: see `Match.add`."""
        assert self._template is not None
        size = self._template.block
        at = self.base + block * size
        return match.add(history.read(at, at + size), self.rows(history, block), self.shift)

    def settle(self, history: History, match: Match, places: Places) -> None:
        """Correct the place by what the volume has told so far, where that is asked after so many blocks."""
        blocks = match.blocks
        if blocks not in places.after:
            return
        place = match.place
        if place is None:
            return
        sd = places.sd(blocks)
        trust = self._variance / (self._variance + sd**2)
        by = trust * (place - self.shift)
        if abs(by) > _WORTH and abs(place - self.shift) > 2.0 * sd and abs(place) < _FAR:
            self.move(by)
            if blocks == places.after[0] and abs(by) > 0.1:
                # the first step is a long one: once more from where it led
                match.begin()
                for block in range(blocks):
                    self.measure(history, block, match)
                place = match.place
                if place is not None and abs(place) < _FAR:
                    self.move(trust * (place - self.shift))
        if place is not None:
            self.told[blocks] = place
            self._variance *= 1.0 - trust

    def scale(self, gains: F32 | None) -> None:
        """Take the amplitudes over the template's for what is still to come."""
        if gains is not self.gains:
            self.gains = gains
            self._scaled = None

    def move(self, by: float) -> None:
        """Put the artefact so many samples later."""
        assert self._template is not None
        self.shift += by
        self._by = Shift(-self.shift, self._template.block)
