"""The payloads as JSON Schema (draft 2020-12), made from the structs: what ``schema.json`` beside this file holds."""

from __future__ import annotations

import json
from typing import Any, get_args

import msgspec

from streamer.wire.command import CommandMessage
from streamer.wire.payloads import SCHEMA, Message

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Describe every payload; each kind has a definition of its own under ``$defs``."""
    kinds = (*get_args(Message), CommandMessage)
    references, definitions = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    for kind in kinds:
        definitions[kind.__name__]["required"] = sorted({"kind", *definitions[kind.__name__]["required"]})
    return {
        "$schema": DIALECT,
        "$id": f"urn:eeg-fmri-streamer:wire:{SCHEMA}",
        "title": "MQTT payloads of EEG-fMRI Streamer",
        "anyOf": list(references),
        "$defs": definitions,
    }


def schema_text() -> str:
    """Give the schema as the text of its file."""
    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"
