"""Working ahead: the same items in the same order, and nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from streamer.ahead import ahead


def test_the_items_come_in_their_order():
    assert list(ahead(iter(range(100)), 3)) == list(range(100))
    assert list(ahead(iter(()), 1)) == []


def test_so_many_are_made_before_they_are_asked_for():
    made: list[int] = []
    third = threading.Event()

    def items() -> Iterator[int]:
        for k in range(10):
            made.append(k)
            if k == 3:
                third.set()
            yield k

    running = ahead(items(), 2)
    assert next(running) == 0
    # one is in use, two wait, one is in hand
    assert third.wait(10)
    assert made == [0, 1, 2, 3]
    running.close()  # type: ignore[attr-defined]
    assert len(made) <= 5


def test_an_error_comes_after_what_was_made_before_it():
    def items() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    running = ahead(items(), 4)
    assert next(running) == 1
    with pytest.raises(OSError, match="gone"):
        next(running)


def test_no_thread_outlives_a_use_that_ends_early():
    before = threading.active_count()
    for item in ahead(iter(range(1000)), 1):
        if item == 3:
            break
    assert threading.active_count() <= before + 1
