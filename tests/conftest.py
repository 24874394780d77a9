"""Fixtures that all tests share; every test that leaves a thread, process or task behind fails."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"

# before pylsl is imported anywhere: no packet leaves this machine
os.environ["LSLAPICFG"] = str(ROOT / "streamer" / "lsl_api.cfg")
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
# before numpy is: the tests compare bits with what `streamer` made in processes of its own
os.environ["OPENBLAS_NUM_THREADS"] = "1"
if "PYTEST_XDIST_WORKER" in os.environ:
    # several workers that each train on all cores wait for one another
    os.environ["OMP_NUM_THREADS"] = "1"
# a broker that apt installed lies where an ordinary user's PATH does not look
os.environ["PATH"] += os.pathsep + "/usr/sbin"


@pytest.fixture
def shared_data() -> Path:
    """The folder of real recordings; CI has it, a user's machine has not."""
    if not (SHARED / "README.md").exists():
        if os.environ.get("CI"):
            pytest.fail(f"{SHARED} is absent: CI must have the real recordings beside the checkout")
        pytest.skip(f"needs the real recordings in {SHARED}, which only the developers' machines have")
    return SHARED


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves a thread of ours, a child process or a task."""
    before = set(threading.enumerate())
    yield
    left = [t for t in threading.enumerate() if t not in before and t.is_alive() and not t.name.startswith("asyncio_")]
    for thread in left:
        thread.join(2.0)
    alive = [t.name for t in left if t.is_alive()]
    children = multiprocessing.active_children()
    assert not alive, f"threads left behind: {alive}"
    assert not children, f"processes left behind: {children}"


@pytest.fixture(autouse=True)
async def no_task_left_behind() -> AsyncIterator[None]:
    """Fail a test that leaves a task running."""
    before = asyncio.all_tasks()
    yield
    left = [t.get_name() for t in asyncio.all_tasks() - before if not t.done() and t is not asyncio.current_task()]
    assert not left, f"tasks left behind: {left}"
