"""``streamer messages RECORDING``: what a session would have sent over MQTT, for a dashboard that looks back."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer


def messages(
    recording: Annotated[Path, typer.Argument(help="Any recording, or the folder of a recorded session.")],
    config: Annotated[Path | None, typer.Option(help="SESSION.toml; a session's log brings its own.")] = None,
    calibration: Annotated[Path | None, typer.Option(help="Folder that `streamer calibrate` wrote.")] = None,
    no_model: Annotated[bool, typer.Option("--no-model", help="Ask no model: nothing is decided.")] = False,
    no_calibration: Annotated[
        bool, typer.Option("--no-calibration", help="Leave out the session's own, where it does not fit any more.")
    ] = False,
) -> None:
    """Replay a recording as fast as it goes, and write what a session would have sent over MQTT to standard output.

    It is for programs: records of bytes, as `streamer/wire/records.py` says. Ends when nobody reads any more.
    """
    from streamer.calibration import load_calibration
    from streamer.errors import UsageError
    from streamer.playback import play
    from streamer.replay import config_for
    from streamer.wire.records import PROGRESS, Record, encode_record

    if sys.stdout.isatty():
        raise UsageError("standard output is a terminal: expected a pipe or a file, for what is written are bytes")
    settings = config_for(recording, config)
    left_out = ({"card": "none"} if no_model else {}) | ({"calibration": None} if no_calibration else {})
    settings = settings.model_copy(update={"model": settings.model.model_copy(update=left_out)})
    loaded = load_calibration(calibration) if calibration is not None else None
    # a reader that is gone ends the work
    with contextlib.suppress(BrokenPipeError), open(sys.stdout.fileno(), "wb", closefd=False) as out:

        def give(record: Record) -> None:
            out.write(encode_record(record))
            if record.topic == PROGRESS:
                out.flush()

        play(recording, settings, give, loaded, without_model=config is None)
