"""Reading an LSL inlet in threads, and handing over to the loop.

One thread pulls, one measures the clock offset. Stamps stay as they were sent (no processing flag is set); the offset
is added once, here.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from streamer.acquire.mailbox import Mailbox
from streamer.clock import Clock
from streamer.errors import SourceError
from streamer.messages import F64, Array, ClockOffset, SessionTime, SourceState

OFFSET_EVERY_S = 2.0
OPEN_TIMEOUT_S = 5.0
_PULL_S = 0.1
_REOPEN_EVERY_S = 0.5


class InletReader:
    """Two threads on one inlet.

    Parameters
    ----------
    name : str
        Of the stream.
    info : pylsl.StreamInfo
        As it was resolved.
    clock : Clock
    mailbox : Mailbox
    convert : callable
        Makes events of (samples, raw stamps, offset) and puts them into the mailbox; runs in the reader thread.
    max_samples : int
        Of one chunk.
    buffer_s : int
        What liblsl keeps while nobody pulls, s (hundreds of samples for an irregular stream).
    silence_s : float or None
        Without data for so long the stream counts as lost; None for streams that may be silent.
    find_again : callable
        Resolves the stream once more, None when it is absent; for senders that liblsl cannot recover.
    recover : bool
        Whether a lost stream is waited for; otherwise its loss is an error.
    """

    def __init__(
        self,
        name: str,
        info: Any,
        clock: Clock,
        mailbox: Mailbox,
        convert: Callable[[Array, F64, float], None],
        *,
        max_samples: int,
        buffer_s: int,
        silence_s: float | None,
        find_again: Callable[[], Any],
        recover: bool,
    ) -> None:
        from pylsl.util import LostError
        from pylsl.util import TimeoutError as SlowError

        self._lost_error, self._slow_error = LostError, SlowError
        self._name, self._clock, self._mailbox, self._convert = name, clock, mailbox, convert
        self._max_samples, self._buffer_s, self._silence_s = max_samples, buffer_s, silence_s
        self._find_again, self._recover = find_again, recover
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._offset = 0.0
        self._silent = False
        self._inlet: Any = self._open(info)

    def _open(self, info: Any) -> Any:
        from pylsl import StreamInlet, proc_none

        inlet = StreamInlet(info, max_buflen=self._buffer_s, recover=self._recover, processing_flags=proc_none)
        try:
            # from here on liblsl keeps what is sent: nothing is missed while the rest is set up
            inlet.open_stream(OPEN_TIMEOUT_S)
        except (self._lost_error, self._slow_error) as error:
            raise SourceError(f"stream {self._name!r} was found, but does not answer: {error}") from error
        return inlet

    def full_info(self) -> Any:
        """Fetch the whole description of the stream."""
        try:
            return self._inlet.info(OPEN_TIMEOUT_S)
        except (self._lost_error, self._slow_error) as error:
            raise SourceError(f"stream {self._name!r} does not tell its description: {error}") from error

    def start(self) -> None:
        """Measure the offset once, then start the threads; blocks for about half a second.

        Raises
        ------
        SourceError
            The sender does not answer the clock's probes: without an offset its stamps mean nothing here.
        """
        if not self._measure(OPEN_TIMEOUT_S):
            raise SourceError(f"stream {self._name!r}: its clock offset could not be measured in {OPEN_TIMEOUT_S:g} s")
        for target, job in ((self._pull, "pull"), (self._measure_always, "offset")):
            thread = threading.Thread(target=target, name=f"lsl-{job}-{self._name}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        """End the threads and drop the inlet; blocks for a moment. May be called twice."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        if self._inlet is not None:
            self._inlet.close_stream()
            self._inlet = None

    def _measure(self, timeout_s: float) -> bool:
        inlet = self._inlet
        if inlet is None:
            return False
        try:
            self._offset = float(inlet.time_correction(timeout_s))
        except (self._lost_error, self._slow_error):
            # the last offset holds on; a stream that is gone is the pulling thread's business
            return False
        self._mailbox.put(ClockOffset(self._name, self._offset, self._clock.now()))
        return True

    def _measure_always(self) -> None:
        while not self._stop.wait(OFFSET_EVERY_S):
            self._measure(1.0)

    def _pull(self) -> None:
        try:
            heard = self._clock.now()
            while not self._stop.is_set():
                try:
                    samples, stamps = self._inlet.pull_chunk(_PULL_S, self._max_samples, min_samples=1, as_numpy=True)
                except self._lost_error:
                    self._come_back()
                    heard = self._clock.now()
                    continue
                now = self._clock.now()
                if len(stamps):
                    if self._silent:
                        # a sender that was started anew may have another clock
                        self._measure(1.0)
                        self._tell(lost=False, detail="data again")
                    heard = now
                    self._convert(np.asarray(samples), np.asarray(stamps, np.float64), self._offset)
                elif self._silence_s is not None and not self._silent and now - heard > self._silence_s:
                    self._tell(lost=True, detail=f"no data for {self._silence_s:g} s")
        except Exception as error:  # noqa: BLE001 - whatever happens in the thread must reach the loop
            self._mailbox.put(error)

    def _come_back(self) -> None:
        if not self._recover:
            raise SourceError(f"stream {self._name!r} was lost")
        if not self._silent:
            self._tell(lost=True, detail="its sender is gone")
        self._inlet = None
        while not self._stop.is_set():
            info = self._find_again()
            if info is not None:
                with contextlib.suppress(SourceError):
                    self._inlet: Any = self._open(info)
                    return
            self._stop.wait(_REOPEN_EVERY_S)

    def _tell(self, *, lost: bool, detail: str) -> None:
        self._silent = lost
        state = "lost" if lost else "back"
        self._mailbox.put(SourceState(self._name, state, detail, SessionTime(self._clock.now())))
