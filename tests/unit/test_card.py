from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.decode.card import (
    CardScore,
    GraphFile,
    ModelCard,
    dump_card,
    fit_problems,
    load_card,
    preprocessing_digest,
    sfreq_problems,
)
from streamer.errors import ModelError
from tests.unit.model_files import DIGEST, draft_card
from tests.unit.synthetic_windows import CHANNELS, REGIONS

GRAPH = b"stands for a graph: the card only knows its bytes"


def put(folder: Path, card: ModelCard | None = None) -> Path:
    (folder / "default.onnx").write_bytes(GRAPH)
    card = card if card is not None else draft_card()
    graph = GraphFile(file="default.onnx", sha256=hashlib.sha256(GRAPH).hexdigest())
    path = folder / "default.toml"
    path.write_text(dump_card(card.model_copy(update={"graph": graph})), encoding="utf-8")
    return path


def test_a_card_comes_back_as_it_was_written(tmp_path: Path) -> None:
    score = CardScore(window_accuracy=0.75, block_accuracy=0.9, block_ci95=(0.8, 0.95), n_blocks=40, chance=0.5)
    written = draft_card(scores={"both": score, "eeg": score})
    path = put(tmp_path, written)
    loaded = load_card(path)
    assert loaded.card.model_copy(update={"graph": written.graph}) == written
    assert list(loaded.card.eeg.bands) == list(written.eeg.bands)
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert loaded.graph_path.read_bytes() == GRAPH
    assert loaded.card.n_eeg_features == 18


@given(st.text())
def test_any_text_survives_the_writing(text: str) -> None:
    card = draft_card(description=text, eeg=draft_card().eeg.model_copy(update={"bands": {text: (1.0, 2.5)}}))
    values = tomllib.loads(dump_card(card))
    assert values["description"] == text
    assert values["eeg"]["bands"] == {text: [1.0, 2.5]}


def test_a_graph_that_was_altered_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path)
    (tmp_path / "default.onnx").write_bytes(GRAPH + b".")
    with pytest.raises(ModelError, match="it was altered"):
        load_card(path)
    (tmp_path / "default.onnx").unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        load_card(path)


def test_a_card_that_is_missing_or_no_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        load_card(tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_bytes(b"name = \xff")
    with pytest.raises(ModelError, match="not TOML"):
        load_card(tmp_path / "bad.toml")


def test_every_problem_is_listed_at_once(tmp_path: Path) -> None:
    path = put(tmp_path)
    text = path.read_text(encoding="utf-8")
    text = text.replace('licence = "BSD-3-Clause"\n', "colour = 3\n").replace("n_steps = 20", "n_steps = 0")
    path.write_text(re.sub(r"age_bold_max_s = .*", "age_bold_max_s = nan", text), encoding="utf-8")
    with pytest.raises(ModelError) as caught:
        load_card(path)
    message = str(caught.value)
    assert "4 problem(s)" in message
    for part in ("licence: missing", "colour: unknown key", "eeg.n_steps: given 0", "limits.age_bold_max_s: given nan"):
        assert part in message


def test_a_newer_schema_is_refused_by_name(tmp_path: Path) -> None:
    path = put(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace("schema = 1", "schema = 2"), encoding="utf-8")
    with pytest.raises(ModelError, match="schema 2 is newer than this program reads"):
        load_card(path)


@pytest.mark.parametrize("name", ["../default.onnx", "/etc/x.onnx", "default.pt", "a/b.onnx"])
def test_a_graph_outside_the_cards_folder_is_refused(tmp_path: Path, name: str) -> None:
    path = put(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace('"default.onnx"', f'"{name}"'), encoding="utf-8")
    with pytest.raises(ModelError, match=r"graph\.file"):
        load_card(path)


def test_a_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace('"O2"', '"O1"'), encoding="utf-8")
    with pytest.raises(ModelError, match=r"twice in eeg\.channels"):
        load_card(path)


def test_what_fits_has_no_problems_and_every_difference_is_told() -> None:
    card = draft_card()
    assert fit_problems(card, CHANNELS, REGIONS, DIGEST) == []
    problems = fit_problems(card, [*CHANNELS[:5], "ECG"], REGIONS[::-1], preprocessing_digest({}))
    assert problems[0] == "EEG channels that the model expects are missing: Fz"
    assert problems[1] == "EEG channels that the model does not know are given: ECG"
    assert problems[2].startswith("regions are given as control, right, left: expected each once, as left")
    assert "digest" in problems[3]
    assert fit_problems(card, [*CHANNELS, "O1"], REGIONS, DIGEST) != []


def test_the_rate_may_differ_within_the_tolerance() -> None:
    assert sfreq_problems(draft_card(), 256.0) == []
    assert "500 Hz" in sfreq_problems(draft_card(), 500.0)[0]
    assert sfreq_problems(draft_card(), float("nan")) != []


def test_the_digest_is_of_the_values_not_of_their_order() -> None:
    assert preprocessing_digest({"a": 1, "b": [1.5, "x"]}) == preprocessing_digest({"b": [1.5, "x"], "a": 1})
    assert preprocessing_digest({"a": 1}) != preprocessing_digest({"a": 1.5})
