"""Where long work runs: processes of this machine, or the workers of a Dask cluster."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Generator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from streamer.errors import ModelError, SourceError, UsageError

PATIENCE_S = 15
"""For the scheduler to answer, s."""
Result = TypeVar("Result")


@dataclass(frozen=True)
class Workers:
    """Takes tasks; what they give comes back in their order."""

    pool: Executor
    share: Callable[[Any], Any]
    """Brings an argument of many tasks to the workers once."""
    local: bool
    """Whether the workers write where this process does."""

    def map(
        self, task: Callable[..., Result], arguments: list[tuple[Any, ...]], done: Callable[[int, Result], None]
    ) -> list[Result]:
        """Run a task for every tuple of arguments.

        Parameters
        ----------
        task : callable
            Of a module, so that it can be sent.
        arguments : list of tuple
        done : callable
            Takes place and result of each as soon as it is there.
        """
        pending: dict[Future[Result], int] = {self.pool.submit(task, *each): k for k, each in enumerate(arguments)}
        found: dict[int, Result] = {}
        for future in as_completed(pending):
            place = pending[future]
            found[place] = future.result()
            done(place, found[place])
        return [found[k] for k in range(len(arguments))]


@contextmanager
def workers(jobs: int, scheduler: str | None = None) -> Generator[Workers]:
    """Open a pool; what is not done when it closes is cancelled.

    Parameters
    ----------
    jobs : int
        Processes on this machine.
    scheduler : str, optional
        Address of a Dask scheduler, such as ``tcp://10.0.0.5:8786``: its workers are used instead. They need the same
        release of the streamer, and read given recordings by the same paths.

    Raises
    ------
    ModelError
        A process was killed.
    SourceError
        The scheduler does not answer, or has no worker.
    UsageError
        Dask is not installed.
    """
    if scheduler is not None:
        yield from _on_cluster(scheduler)
        return
    # spawned, as all processes of ours: torch and BLAS threads do not survive a fork
    pool = ProcessPoolExecutor(max(1, jobs), mp_context=multiprocessing.get_context("spawn"))
    try:
        yield Workers(pool, lambda argument: argument, local=True)
    except BrokenProcessPool as error:
        raise ModelError("a process was killed: memory may be short, --jobs 1 needs less") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _on_cluster(scheduler: str) -> Generator[Workers]:
    try:
        from distributed import Client
        from distributed.cfexecutor import ClientExecutor
        from distributed.comm.addressing import get_address_host
    except ImportError as error:
        raise UsageError("--scheduler needs Dask: pip install 'dask[distributed]'") from error
    try:
        # a client of an address that is none complains once more when it is collected
        get_address_host(scheduler)
        client: Any = Client(scheduler, timeout=PATIENCE_S, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise SourceError(f"no Dask scheduler answers at {scheduler}: {error}") from error
    with client:
        if not client.scheduler_info()["workers"]:
            raise SourceError(f"the Dask scheduler at {scheduler} has no worker: dask worker {scheduler} starts one")
        # a task of ours may read files, so that its arguments do not say all
        pool: Any = ClientExecutor(client, pure=False)
        try:
            yield Workers(pool, lambda argument: client.scatter(argument, broadcast=True, hash=False), local=False)
        finally:
            pool.shutdown(wait=False)
