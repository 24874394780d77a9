"""The key that an operator's commands are signed with."""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from streamer.errors import UsageError
from streamer.wire.folder import COMMAND_KEY, MIN_KEY_BYTES


@contextmanager
def command_key(environment: str, folder: Path) -> Generator[bytes]:
    """Give the key for as long as the session lasts.

    Parameters
    ----------
    environment : str
        Name of the variable that holds it; empty draws one and writes it into ``folder``, readable by its owner
        alone, until the block ends.
    folder : Path
        The session's.

    Raises
    ------
    UsageError
        The variable is not set, or too short to be a key.
    """
    if environment:
        key = os.environ.get(environment, "").encode()
        if len(key) < MIN_KEY_BYTES:
            raise UsageError(
                f"mqtt.command_key_env is {environment!r}: that variable holds {len(key)} bytes; "
                f"expected {MIN_KEY_BYTES} or more"
            )
        yield key
        return
    key = secrets.token_hex(32).encode()
    path = folder / COMMAND_KEY
    # one that a killed session left could be anybody's by now
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
    try:
        yield key
    finally:
        path.unlink(missing_ok=True)
