"""What was checked of a model, written into its card: nothing else in it changes."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from streamer.decode.card_file import LoadedCard, dump_card, load_card


def stamp(path: Path, way: str, sentence: str) -> LoadedCard:
    """Say in a card that a way of explaining was checked, or take back that it was.

    Parameters
    ----------
    path : Path
        Of the card.
    way : str
        Key in ``explained``.
    sentence : str
        The figures in words; empty takes an earlier one back.

    Returns
    -------
    LoadedCard
        As read back.

    Raises
    ------
    ModelError
        The card cannot be read, or a graph is not its own.
    """
    card = load_card(path).card
    told = {name: words for name, words in card.explained.items() if name != way}
    if sentence:
        told[way] = sentence
    # in the same file system, so that the card is replaced as a whole
    with TemporaryDirectory(prefix=f".{path.stem}-", dir=path.parent) as scratch:
        aside = Path(scratch) / path.name
        aside.write_text(dump_card(card.model_copy(update={"explained": told})), encoding="utf-8")
        aside.replace(path)
    return load_card(path)
