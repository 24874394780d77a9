"""Work on the next items of an iterator while the present one is used."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import Full, Queue
from typing import TypeVar

T = TypeVar("T")

_LOOK_S = 0.1


def ahead(items: Iterator[T], depth: int) -> Iterator[T]:
    """Give an iterator's items in their order, made by a thread that is up to ``depth`` of them ahead.

    Parameters
    ----------
    items : iterator
        Used by that thread alone from here on; an error that it raises is raised here, after the items before it.
    depth : int
        Items that may wait.
    """
    ready: Queue[tuple[T] | BaseException | None] = Queue(depth)
    stopped = threading.Event()

    def hand_over(item: tuple[T] | BaseException | None) -> bool:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=_LOOK_S)
            except Full:
                continue
            return True
        return False

    def make() -> None:
        try:
            for item in items:
                if not hand_over((item,)):
                    return
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised where the items are used
            hand_over(error)
        else:
            hand_over(None)

    thread = threading.Thread(target=make, name="ahead", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]
    finally:
        stopped.set()
        thread.join()
