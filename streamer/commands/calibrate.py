"""``streamer calibrate RUN``: baselines, thresholds, the eye correction and a session card from a calibration run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from streamer.session_card import Fit


def calibrate(
    run: Annotated[Path, typer.Argument(help="The calibration run: a recording or a session's folder.")],
    out: Annotated[Path, typer.Option(help="Folder for the result; name it as model.calibration in SESSION.toml.")],
    config: Annotated[Path | None, typer.Option(help="SESSION.toml; a session's log brings its own.")] = None,
    fit: Annotated[
        Fit,
        typer.Option(
            help="What is fitted to the run's labelled blocks: the weights of the score, a linear classifier, the head "
            "of the network that model.card names, or auto: the best of them on blocks that it was not fitted on, "
            "where that is above chance.",
        ),
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="What was found, as JSON.")] = False,
) -> None:
    """Measure baselines, reference volume and thresholds on a calibration run, and fit a session card to it."""
    from rich.console import Console

    from streamer.calibration import save_calibration
    from streamer.commands.progress import bar
    from streamer.replay import config_for
    from streamer.session_card.calibrate_session import calibrate_session
    from streamer.session_card.session_card import write_session_card
    from streamer.sham_inputs import ShamSection

    with bar("calibrating", quiet=as_json) as tell:
        # what was shown does not enter: a blinded session serves without its key
        settings = config_for(run, config).model_copy(update={"sham": ShamSection()})
        found, session = calibrate_session(run, settings, fit, tell)
    path = save_calibration(found, out)
    card = write_session_card(session, out, path)
    facts = {
        "calibration": str(path),
        "channels": len(found.channels),
        "regions": len(found.regions),
        "threshold_on": found.threshold_on,
        "threshold_off": found.threshold_off,
        "windows": found.n_windows,
        "eyes": "left as they are" if found.ocular is None else found.ocular.summary,
        "card": str(card),
        "model": f"{session.card.name} ({session.card.kind})",
        "verdict": session.card.verdict,
    }
    if as_json:
        typer.echo(json.dumps({**facts, "tried": dict(session.tried)}))
        return
    console = Console(highlight=False)
    for key, value in facts.items():
        console.print(f"{key.replace('_', ' ')}: {value}", markup=False)
    for name, worth in session.tried.items():
        console.print(f"tried {name}: {worth}", markup=False)
