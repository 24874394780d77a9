"""A model card as a file: read with its graphs checked, written, and held against a session."""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from streamer.decode.model_card import SCHEMA, ModelCard, TangentInput
from streamer.errors import ModelError


@dataclass(frozen=True, slots=True)
class LoadedCard:
    """A card that was read from a file, with its graphs checked."""

    card: ModelCard
    sha256: str
    """Of the card's file."""
    folder: Path
    """Where the card and its graphs lie."""


def preprocessing_digest(settings: Mapping[str, Any]) -> str:
    """Digest the settings that shape a model's inputs: sha256 of their JSON with sorted keys."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def load_card(path: Path) -> LoadedCard:
    """Read a card and check the graphs that it names.

    Raises
    ------
    ModelError
        The card or a graph is missing or cannot be read, the card breaks the rules (all problems are listed), its
        schema is not ours, or a graph is not the one that the card was written for.
    """
    try:
        raw = path.read_bytes()
        values = tomllib.loads(raw.decode("utf-8"))
    except OSError as error:
        raise ModelError(f"model card {path}: cannot be read: {error}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ModelError(f"model card {path}: not TOML: {error}") from error
    schema = values.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise ModelError(f"model card {path}: schema {schema} is newer than this program reads (up to {SCHEMA})")
    if isinstance(schema, int) and schema < SCHEMA:
        raise ModelError(
            f"model card {path}: schema {schema}, expected {SCHEMA}: made by an earlier version: train it again"
        )
    try:
        card = ModelCard.model_validate(values)
    except ValidationError as error:
        problems = "\n".join(f"  - {_problem(item)}" for item in error.errors())
        raise ModelError(f"model card {path}: {error.error_count()} problem(s)\n{problems}") from error
    for graph in card.files():
        read_graph(path.parent / graph.file, graph.sha256)
    return LoadedCard(card, hashlib.sha256(raw).hexdigest(), path.parent)


def read_graph(path: Path, sha256: str) -> bytes:
    """Read a graph and check its digest.

    Raises
    ------
    ModelError
        It is missing, or its digest is not ``sha256``.
    """
    try:
        graph = path.read_bytes()
    except OSError as error:
        raise ModelError(f"model graph {path}: cannot be read: {error}") from error
    found = hashlib.sha256(graph).hexdigest()
    if found != sha256:
        raise ModelError(
            f"model graph {path}: its {len(graph)} bytes have sha256 {found}, but its card expects {sha256}: "
            "it was altered or cut short"
        )
    return graph


def fit_problems(
    card: ModelCard,
    channels: Sequence[str],
    regions: Sequence[str],
    digest: str,
    *,
    cells: tuple[int, int, int] | None = None,
    tangent: TangentInput | None = None,
) -> list[str]:
    """List every difference between what a model takes and what a session gives; empty when it fits.

    Only what the card takes is compared: a model of BOLD alone asks for no channel.

    Parameters
    ----------
    card : ModelCard
    channels : sequence of str
        The session's cleaned EEG channels, in order.
    regions : sequence of str
        The session's regions, in order.
    digest : str
        ``preprocessing_digest`` of the session's settings.
    cells : tuple of int, optional
        Shape of the box whose cells the session's regions are; None where they are none.
    tangent : TangentInput, optional
        How the session makes tangent vectors; None where it makes none.
    """
    problems: list[str] = []
    if card.eeg is not None:
        problems += _name_problems("EEG channels", card.eeg.channels, channels)
    if card.bold is not None:
        problems += _name_problems("regions", card.bold.regions, regions)
        if card.bold.cells is not None and cells != card.bold.cells:
            given = "no box of cells" if cells is None else f"cells of a box of {_by(cells)}"
            problems.append(f"regions are {given}: the model takes a box of {_by(card.bold.cells)} cells")
    if card.tangent is not None:
        problems += _tangent_problems(card.tangent, tangent)
    if digest != card.preprocessing:
        problems.append(
            f"preprocessing settings differ: their digest is {digest[:12]}, the model was trained with "
            f"{card.preprocessing[:12]}"
        )
    return problems


def sfreq_problems(card: ModelCard, sfreq: float) -> list[str]:
    """Say whether the rate of the cleaned EEG (Hz) is too far from the one in training; empty when it fits."""
    if card.eeg is None:
        return []
    expected, tolerance = card.eeg.sfreq_hz, card.eeg.sfreq_tolerance
    if math.isfinite(sfreq) and abs(sfreq - expected) <= tolerance * expected:
        return []
    return [f"rate of the cleaned EEG is {sfreq:g} Hz: expected {expected:g} Hz within {100 * tolerance:g} %"]


def dump_card(card: ModelCard) -> str:
    """Write a card as TOML; ``load_card`` reads it back."""
    lines: list[str] = []
    # TOML knows no null, and what is absent is none
    _write_table(card.model_dump(mode="json", by_alias=True, exclude_none=True), "", lines)
    return "\n".join(lines).strip() + "\n"


def _name_problems(what: str, expected: Sequence[str], given: Sequence[str]) -> list[str]:
    if tuple(expected) == tuple(given):
        return []
    missing = [name for name in expected if name not in given]
    extra = [name for name in given if name not in expected]
    problems: list[str] = []
    if missing:
        problems.append(f"{what} that the model expects are missing: {', '.join(missing)}")
    if extra:
        problems.append(f"{what} that the model does not know are given: {', '.join(extra)}")
    if not problems:
        problems.append(f"{what} are given as {', '.join(given)}: expected each once, as {', '.join(expected)}")
    return problems


def _tangent_problems(expected: TangentInput, given: TangentInput | None) -> list[str]:
    if given is None:
        return ["the model takes the EEG's covariance as a tangent vector: this session makes none"]
    problems = _name_problems("channels of the tangent vector", expected.channels, given.channels)
    if given.band_hz != expected.band_hz:
        (low, high), (low_wanted, high_wanted) = given.band_hz, expected.band_hz
        wanted = f"expected {low_wanted:g} to {high_wanted:g} Hz"
        problems.append(f"band of the tangent vector is {low:g} to {high:g} Hz: {wanted}")
    if given.window_s != expected.window_s:
        problems.append(f"window of the tangent vector is {given.window_s:g} s: expected {expected.window_s:g} s")
    if given.width != expected.width:
        problems.append(f"width of the tangent vector is {given.width}: expected {expected.width}")
    return problems


def _by(cells: tuple[int, int, int]) -> str:
    return " x ".join(str(n) for n in cells)


def _problem(item: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in item["loc"]) or "(top)"
    message = str(item["msg"]).removeprefix("Value error, ")
    match item["type"]:
        case "extra_forbidden":
            return f"{where}: unknown key (given {item.get('input')!r})"
        case "missing":
            return f"{where}: missing"
        case _ if not item["loc"]:
            # the input is the whole card
            return message
        case _:
            return f"{where}: given {item.get('input')!r}; {message[:1].lower()}{message[1:]}"


def _write_table(table: Mapping[str, Any], prefix: str, lines: list[str]) -> None:
    lines.extend(f"{_key(key)} = {_value(value)}" for key, value in table.items() if not isinstance(value, Mapping))
    for key, value in table.items():
        if isinstance(value, Mapping):
            # a table of tables alone needs no line of its own
            if any(not isinstance(item, Mapping) for item in value.values()):
                lines.extend(["", f"[{prefix}{_key(key)}]"])
            _write_table(value, f"{prefix}{_key(key)}.", lines)


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else _string(key)


def _string(text: str) -> str:
    # JSON's escapes are TOML's, but for DEL, which TOML wants escaped
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return _string(value)
        case Mapping():
            return "{" + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(_value(item) for item in value) + "]"
        case _:
            raise TypeError(f"a model card holds {value!r}: no TOML for {type(value).__name__}")
