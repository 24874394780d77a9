"""``streamer convert SESSION``: what was recorded, in another format."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class Format(Enum):
    """Formats that a session can be converted to."""

    XDF = "xdf"


def convert(
    session: Annotated[Path, typer.Argument(help="A session's folder, also one that a crash left behind.")],
    to: Annotated[Format, typer.Option(help="The format.")] = Format.XDF,
) -> None:
    """Write a recorded session in another format, beside its raw data."""
    from streamer.emit.recorder import write_xdf
    from streamer.errors import UsageError
    from streamer.runlog_read import is_session

    if not is_session(session):
        raise UsageError(f"{session}: no run log in it; expected the folder of a recorded session")
    match to:
        case Format.XDF:
            typer.echo(write_xdf(session))
