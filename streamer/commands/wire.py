"""``streamer wire schema``: what goes over MQTT, for other programs."""

from __future__ import annotations

import typer

app = typer.Typer(help="What goes over MQTT.", no_args_is_help=True)


@app.callback()
def top() -> None:
    """What goes over MQTT."""


@app.command()
def schema() -> None:
    """Print the JSON Schema of all payloads."""
    from streamer.wire.schema import schema_text

    typer.echo(schema_text(), nl=False)
