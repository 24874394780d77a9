"""Volumes as images, as many as memory allows."""

from __future__ import annotations

from collections import deque

from streamer.wire import VolumeMessage

MOST_BYTES = 256 * 2**20


class ImageStore:
    """The volumes of the last minutes.

    Parameters
    ----------
    seconds : float
        How far back they reach.
    most_bytes : int
        Voxels held at most, in bytes: the oldest volumes go.
    """

    def __init__(self, seconds: float, most_bytes: int = MOST_BYTES) -> None:
        self.seconds = seconds
        self.most_bytes = most_bytes
        self.revision = 0
        self.count = 0
        """Volumes that came."""
        self._held: deque[VolumeMessage] = deque()
        self._bytes = 0

    def put(self, message: VolumeMessage) -> None:
        """Put one; another grid than before empties the store."""
        newest = self.newest
        if newest is not None and newest.shape != message.shape:
            self._held.clear()
            self._bytes = 0
        self._held.append(message)
        self._bytes += _size(message)
        oldest = message.received - self.seconds
        while len(self._held) > 1 and (self._bytes > self.most_bytes or self._held[0].received < oldest):
            self._bytes -= _size(self._held.popleft())
        self.count += 1
        self.revision += 1

    @property
    def newest(self) -> VolumeMessage | None:
        """The last that came."""
        return self._held[-1] if self._held else None

    def at(self, time: float) -> VolumeMessage | None:
        """Give the last that had come at ``time``, SessionTime s."""
        return next((each for each in reversed(self._held) if each.received <= time), None)


def _size(message: VolumeMessage) -> int:
    return sum(image.steps.nbytes for image in message.images.values())
