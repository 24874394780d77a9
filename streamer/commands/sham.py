"""``streamer sham make|check|open``: who gets sham, in a sealed list."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Make, check and open the sealed list of a blinded study.", no_args_is_help=True)

Key = Annotated[Path | None, typer.Option(help="File with the study's key; else the variable EEGFMRI_SHAM_KEY.")]


@app.command()
def make(
    path: Annotated[Path, typer.Argument(metavar="LIST", help="File to write.")],
    participants: Annotated[int, typer.Option(min=1, help="How many codes.")],
    seed: Annotated[int, typer.Option(min=0, help="With the key it decides who gets what.")],
    key: Annotated[Path, typer.Option(help="File with the study's key; drawn and written where there is none.")],
    ratio: Annotated[
        str, typer.Option(help="Participants of each condition in the smallest block.")
    ] = "real=1,yoked=1",
    prefix: Annotated[str, typer.Option(help="Codes are this and a number.")] = "P",
) -> None:
    """Assign codes to conditions at random, balanced in blocks, and seal who got what.

    Conditions: real, yoked (another session's record), reversed and scrambled (a record, for instance the participant's
    own, backwards or with random phases), other (another feature, for instance another region).
    """
    from streamer.errors import UsageError
    from streamer.sham_list import make_key, make_list, parse_ratio, read_key, write_list

    shares = parse_ratio(ratio)
    if path.exists():
        raise UsageError(f"{path} exists: nothing is overwritten")
    drawn = not key.exists()
    sealed = make_list(participants, shares, seed, make_key(key) if drawn else read_key(key), prefix)
    write_list(path, sealed)
    codes = list(sealed.entries)
    typer.echo(f"wrote {path}: {len(codes)} codes, {codes[0]} to {codes[-1]}, {ratio}")
    typer.echo(
        f"{'wrote' if drawn else 'sealed with'} {key}: keep it from those who are to stay blind, and keep a copy"
    )


@app.command()
def check(
    path: Annotated[Path, typer.Argument(metavar="LIST", help="The sealed list.")],
    key: Annotated[Path | None, typer.Option(help="File with the study's key: checks every entry.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Check a list without opening it: whether it is whole, and whether anybody opened it."""
    from streamer.errors import FormatError
    from streamer.sham_list import is_balanced, openings, read_key, read_list

    sealed = read_list(path)
    whole = None if key is None else is_balanced(sealed, read_key(key))
    if whole is False:
        raise FormatError(f"{path}: entries are missing or there are too many: its conditions do not have their shares")
    opened = openings(path)
    if as_json:
        told = {
            "participants": len(sealed.entries),
            "ratio": sealed.ratio,
            "whole": whole,
            "opened": [each.opened_utc for each in opened],
        }
        typer.echo(json.dumps(told))
        return
    shares = ", ".join(f"{name} {share}" for name, share in sealed.ratio.items())
    typer.echo(f"{path}: {len(sealed.entries)} codes, {shares}")
    typer.echo(
        "every entry is intact, conditions have their shares" if whole else "entries not checked: that needs --key"
    )
    typer.echo(f"opened {len(opened)} times, last {opened[-1].opened_utc} UTC" if opened else "never opened")


@app.command("open")
def open_(
    path: Annotated[
        Path, typer.Argument(metavar="LIST|SESSION", help="The sealed list, or a blinded session's folder.")
    ],
    key: Key = None,
    code: Annotated[str | None, typer.Option(help="Open the entry of this code alone.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Unblind: tell who got what, and write down that it was told.

    For a list that is noted beside it, in LIST.opened.jsonl. For a session it is written into sham/opened.json, from
    where reports and BIDS tables take it. A participant has one condition: opening a session tells it of all to come.
    """
    from streamer.errors import UsageError
    from streamer.sham_inputs import unblind_session
    from streamer.sham_list import note_opening, open_entry, open_list, read_key, read_list

    if path.is_dir():
        if code is not None:
            raise UsageError("--code is for a list: a session has one code only")
        found = dict([unblind_session(path, key)])
    else:
        sealed = read_list(path)
        secret = read_key(key)
        found = open_list(sealed, secret) if code is None else {code: open_entry(sealed, code, secret).condition}
        note_opening(path, list(found))
    if as_json:
        typer.echo(json.dumps(found))
        return
    for each, condition in found.items():
        typer.echo(f"{each}\t{condition}")
