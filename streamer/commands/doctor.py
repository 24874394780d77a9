"""``streamer doctor``: what is wrong with this machine, and what to do about it."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamer.doctor import Finding, examine
from streamer.errors import StreamerError

SIGNS = {"ok": ("✓ ok", "green"), "warn": ("▲ warn", "yellow"), "fail": ("✗ fail", "bold red")}


def doctor(
    config: Annotated[
        Path | None, typer.Option(help="A SESSION.toml: its directories and broker are looked at.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Say what is installed, connected and reachable, and what to do about what is not."""
    findings = _look(config)
    if json:
        typer.echo(json_module.dumps([asdict(finding) for finding in findings], ensure_ascii=False))
    else:
        _print(findings)
    if any(finding.status == "fail" for finding in findings):
        raise typer.Exit(1)


def _look(path: Path | None) -> list[Finding]:
    if path is None:
        return examine()
    from streamer.config import load_config

    try:
        config = load_config(path)
    except StreamerError as error:
        return [Finding("configuration", "fail", str(error), f"streamer config check {path}"), *examine()]
    export = config.bold.directory if config.bold.enabled else None
    from_recorder = config.eeg.enabled and config.eeg.source == "rda"
    rda = (config.eeg.rda.host, config.eeg.rda.port) if from_recorder else None
    return [
        Finding("configuration", "ok", str(path)),
        *examine(export, config.mqtt.broker, config.session.directory, rda),
    ]


def _print(findings: list[Finding]) -> None:
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("", "check", "found"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "")
    for finding in findings:
        sign, colour = SIGNS[finding.status]
        found = Text(finding.found)
        if finding.advice:
            found.append(f"\n→ {finding.advice}", style=colour)
        table.add_row(Text(sign, style=colour), Text(finding.name), found)
    console = Console()
    console.print(table)
    counts = {status: sum(finding.status == status for finding in findings) for status in SIGNS}
    console.print(f"{counts['ok']} ok, {counts['warn']} to look at, {counts['fail']} to mend", highlight=False)
