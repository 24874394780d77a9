"""The card that ships, made to fit any settings: these tests are about bytes, not about how good the model is."""

from __future__ import annotations

import re
from pathlib import Path

from streamer.compose import default_card
from streamer.config import Config


def fitting_card(config: Config, folder: Path) -> Path:
    """Copy the card and its graph to ``folder``, with the digest of these settings."""
    folder.mkdir(parents=True, exist_ok=True)
    card = default_card()
    text = card.read_text(encoding="utf-8")
    text = re.sub(r'(?m)^preprocessing = "[0-9a-f]{64}"$', f'preprocessing = "{config.model_digest()}"', text)
    for graph in card.parent.glob("*.onnx"):
        (folder / graph.name).write_bytes(graph.read_bytes())
    (folder / card.name).write_text(text, encoding="utf-8")
    return folder / card.name
