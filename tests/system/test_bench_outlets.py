from __future__ import annotations

import math

import pytest

from streamer.bench.outlets import EXACT_MS, bench_outlets

pytestmark = pytest.mark.system


def test_every_trigger_is_fired_and_the_usual_one_in_time() -> None:
    done: list[float] = []
    figures = bench_outlets(done.append, quick=True)
    assert done == sorted(done)
    assert done[-1] == 1.0
    assert all(math.isfinite(figure.value) and figure.value >= 0.0 for figure in figures)
    fired = [figure for figure in figures if figure.bar == EXACT_MS]
    assert [figure.name[-3:] for figure in fired] == ["p50", "p99"] * 2
    assert all(figure.note.startswith("60 of 60 fired") for figure in fired)
    assert all(figure.value <= EXACT_MS for figure in fired if figure.name.endswith("p50"))
    assert len(figures) == 8
