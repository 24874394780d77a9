"""The key that commands are signed with: given, or found in the folder of a session on this machine."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from streamer.errors import UsageError
from streamer.wire.folder import COMMAND_KEY, MIN_KEY_BYTES

MAX_BYTES = 4096
SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""Names that a session can have; no other leads into a folder."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Where keys come from.

    Raises
    ------
    UsageError
        What was given holds no key.
    """

    file: Path | None = None
    """Holds the key of all sessions that are followed."""
    variable: str | None = None
    """Environment variable that holds it."""
    folder: Path = Path("sessions")
    """Folder of the sessions of this machine, each in one of its own: see ``session.directory`` of `streamer run`."""
    _given: bytes | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        if self.file is not None:
            try:
                key = _read(self.file)
            except OSError as error:
                raise UsageError(f"--key-file {self.file}: {error.strerror}") from error
            # as editors end a line
            object.__setattr__(self, "_given", _checked(key.rstrip(b"\r\n"), f"--key-file {self.file}"))
        elif self.variable is not None:
            key = os.environ.get(self.variable, "").encode()
            object.__setattr__(self, "_given", _checked(key, f"--key-env {self.variable}"))

    def of(self, session: str) -> bytes | None:
        """Give the key for a session; None where there is none."""
        if self._given is not None:
            return self._given
        place = self.place(session)
        if place is None:
            return None
        try:
            key = _read(place / COMMAND_KEY)
        except OSError:
            return None
        return key if MIN_KEY_BYTES <= len(key) <= MAX_BYTES else None

    def place(self, session: str) -> Path | None:
        """Give the folder that a session on this machine would have; None where its name cannot be one."""
        return self.folder / session if SESSION.fullmatch(session) else None

    @property
    def missing(self) -> str:
        """What to do where there is none."""
        return (
            f"no key: give --key-file or --key-env, or --folder with the sessions of this machine (now {self.folder})"
        )


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _checked(key: bytes, given: str) -> bytes:
    if not MIN_KEY_BYTES <= len(key) <= MAX_BYTES:
        raise UsageError(f"{given} holds {len(key)} bytes: expected a key of {MIN_KEY_BYTES} to {MAX_BYTES}")
    return key
