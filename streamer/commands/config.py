"""``streamer config init|check``: write and read SESSION.toml."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Write and check SESSION.toml.", no_args_is_help=True)


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="File to write; `-` prints it.")] = Path("SESSION.toml"),
) -> None:
    """Write a SESSION.toml with every setting, its meaning and its default."""
    from streamer.config import commented_toml
    from streamer.errors import UsageError

    text = commented_toml()
    if str(path) == "-":
        typer.echo(text, nl=False)
        return
    if path.exists():
        raise UsageError(f"{path} exists: nothing is overwritten")
    path.write_text(text, encoding="utf-8")
    typer.echo(f"wrote {path}; edit it, then: streamer config check {path}")


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="SESSION.toml.")] = Path("SESSION.toml"),
    as_json: Annotated[bool, typer.Option("--json", help="Problems as JSON.")] = False,
) -> None:
    """Read a SESSION.toml and list every problem."""
    from streamer.config import load_config
    from streamer.errors import ConfigError

    try:
        config = load_config(path)
    except ConfigError as error:
        if not as_json:
            raise
        typer.echo(json.dumps({"file": str(path), "problems": error.problems}))
        raise typer.Exit(error.exit_code) from error
    if as_json:
        typer.echo(json.dumps({"file": str(path), "problems": [], "sha256": config.sha256()}))
    else:
        typer.echo(f"{path}: good, sha256 {config.sha256()[:12]}")
