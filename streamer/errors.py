"""Every error that the streamer raises on purpose.

::

    StreamerError                  the root; ``exit_code`` says how the command line ends
    ├── UsageError          (2)    wrong arguments, wrong configuration
    │   └── ConfigError     (2)    every problem of a configuration file, listed at once
    ├── SourceError         (3)    a stream, a directory or the broker is absent or refused
    │   ├── StreamNotFound  (3)    no such LSL stream; the streams that are there are listed
    │   ├── StreamRefused   (3)    the stream is there, but cannot be trusted (unit, rate, channels)
    │   └── BrokerError     (3)    no broker could be started or reached
    ├── RecordingError      (1)    a recording cannot be read
    │   └── FormatError     (1)    a file is not what its format demands
    │       └── IncompleteFile     the file may still be growing: try again
    ├── ModelError          (1)    a model or its card is missing, altered or does not fit the session
    ├── DataLost            (4)    the run ended, but data was lost on the way
    └── SessionBusy         (1)    another session holds this machine

Messages say what is wrong, what was given and what was expected.
"""

from __future__ import annotations

from collections.abc import Sequence


class StreamerError(Exception):
    """Root of all errors raised on purpose."""

    exit_code: int = 1


class UsageError(StreamerError):
    """Wrong use of a command."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration with at least one problem.

    Parameters
    ----------
    origin : str
        The file (or other place) that the configuration came from.
    problems : sequence of str
        One sentence per problem: where, what was given, what was expected.
    """

    def __init__(self, origin: str, problems: Sequence[str]) -> None:
        self.origin = origin
        self.problems = tuple(problems)
        count = len(self.problems)
        noun = "problem" if count == 1 else "problems"
        lines = "\n".join(f"  - {p}" for p in self.problems)
        super().__init__(f"{origin}: {count} {noun}\n{lines}")


class SourceError(StreamerError):
    """A source of data is absent or cannot be used."""

    exit_code = 3


class StreamNotFound(SourceError):
    """No LSL stream fits the request."""


class StreamRefused(SourceError):
    """An LSL stream was found, but its description cannot be trusted."""


class BrokerError(SourceError):
    """No MQTT broker could be started or reached."""


class RecordingError(StreamerError):
    """A recording cannot be read."""


class FormatError(RecordingError):
    """A file breaks the rules of its format."""


class IncompleteFile(FormatError):
    """A file ends too early; it may still be being written."""


class ModelError(StreamerError):
    """A model or its card is missing, altered, or does not fit the session."""


class DataLost(StreamerError):
    """The run ended, but something was lost on the way."""

    exit_code = 4


class SessionBusy(StreamerError):
    """Another session runs on this machine."""
