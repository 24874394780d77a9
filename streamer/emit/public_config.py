"""The settings of a session as everybody may see them."""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal, get_args, get_origin

from streamer.contracts import Settings

HELD_BACK = "(not sent)"
FREE_TEXT = frozenset({"clean", "features", "extra", "dynamics", "windows", "decision", "gate"})
"""Sections whose texts name bands, channels, classes: in all others a free text may be a person, a host or a file."""
_SECRET = ("sham", "password", "username", "secret", "token", "key", "seed")


def public_config(settings: Settings) -> dict[str, Any]:
    """Give settings as plain JSON values, without paths, names of people, hosts and streams, and secrets.

    Numbers, switches and texts out of a fixed list are sent; other texts only of the sections that describe the
    processing. How sham is chosen is never told.

    Parameters
    ----------
    settings : Settings
        A whole configuration: its fields are the sections.
    """
    return {
        key: _public(getattr(settings, name), info.annotation, texts=name in FREE_TEXT)
        for name, info in type(settings).model_fields.items()
        for key in (info.alias or name,)
        if not _is_secret(key)
    }


def _public(value: object, annotation: Any, *, texts: bool) -> Any:
    match value:
        case None | bool() | int() | float():
            return value
        case Settings():
            return {
                info.alias or name: HELD_BACK
                if _is_secret(name)
                else _public(getattr(value, name), info.annotation, texts=texts)
                for name, info in type(value).model_fields.items()
            }
        case Enum():
            return value.value
        case str():
            return value if value in _choices(annotation) or (texts and _harmless(value)) else HELD_BACK
        case dict():
            # the keys of a mapping are as free as its values
            return {
                (str(key) if texts and _harmless(str(key)) else HELD_BACK): _public(each, annotation, texts=texts)
                for key, each in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [_public(each, annotation, texts=texts) for each in value]
        case _:
            # paths above all
            return HELD_BACK


def _choices(annotation: Any) -> tuple[object, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return tuple(choice for part in get_args(annotation) for choice in _choices(part))


def _harmless(text: str) -> bool:
    return len(text) <= 64 and not any(sign in text for sign in "/\\@:")


def _is_secret(name: str) -> bool:
    return any(word in name for word in _SECRET)
