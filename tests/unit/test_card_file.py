"""A card as a file: read back as written, refused when altered, held against a session."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.decode.card_file import dump_card, fit_problems, load_card, preprocessing_digest, sfreq_problems
from streamer.decode.model_card import CardScore, Doubt, ModelCard
from streamer.decode.score_spec import BoldTerm, EegTerm, ScoreSpec
from streamer.errors import ModelError
from streamer.wire import from_card
from tests.unit.served_files import BOLD, CHANNELS, DIGEST, EEG, REGIONS, TANGENT, linear, network


@pytest.fixture(scope="module")
def card(tmp_path_factory) -> ModelCard:
    return network(tmp_path_factory.mktemp("card")).card


def changed(path: Path, old: str, new: str) -> Path:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


def written(folder: Path, **values) -> Path:
    return folder / f"{network(folder, **values).card.name}.toml"


def text_of_bold(folder: Path) -> str:
    """The lines of a network's card that name its BOLD graph."""
    lines = (folder / "test-network.toml").read_text(encoding="utf-8").splitlines(keepends=True)
    at = lines.index("[graphs.bold]\n")
    return "".join(lines[at : at + 3])


def test_a_network_comes_back_as_it_was_written(tmp_path):
    score = CardScore(window_accuracy=0.75, block_accuracy=0.9, block_ci95=(0.8, 0.95), n_blocks=40, chance=0.5)
    doubt = Doubt(quantile={"both": 0.8, "eeg": 1.0}, coverage={"both": 0.91}, n_blocks=20, disagreement_max=0.2)
    box = BOLD.model_copy(update={"cells": (1, 1, 3)})
    loaded = network(tmp_path, scores={"both": score, "eeg": score}, doubt=doubt, bold=True, verdict='the "best"')
    card = loaded.card.model_copy(update={"bold": box})
    path = tmp_path / "again.toml"
    path.write_text(dump_card(card), encoding="utf-8")
    again = load_card(path)
    assert again.card == card
    assert again.folder == tmp_path
    assert again.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert list(again.card.eeg.bands) == list(EEG.bands)


def test_a_card_says_which_explanations_were_checked(tmp_path):
    assert network(tmp_path / "old").card.explained == {}
    said = {"occlusion": 'AUROC 0.97 in the "planted" parts'}
    loaded = network(tmp_path / "new", explained=said)
    assert loaded.card.explained == said
    for each, expected in ((loaded, said), (network(tmp_path / "old"), {})):
        told = from_card("s", each.card.model_dump(mode="json"), each.sha256)
        assert told.explained == expected


def test_a_linear_rival_comes_back_as_it_was_written(tmp_path):
    features = {"eeg": (("eeg_mean", "tangent"), 18, 0), "bold": (("bold_newest",), 3, 1)}
    loaded = linear(tmp_path, features, tangent=True, add=True, log_prior=(-0.5, -1.0))
    assert load_card(tmp_path / "test-linear.toml").card == loaded.card
    assert loaded.card.linear.parts["eeg"].features == ("eeg_mean", "tangent")
    (tmp_path / "test-linear.bold.onnx").write_bytes(b"other")
    with pytest.raises(ModelError, match=r"test-linear\.bold\.onnx: its 5 bytes have.*altered"):
        load_card(tmp_path / "test-linear.toml")


def test_a_score_comes_back_as_it_was_written(tmp_path, card):
    terms = (EegTerm(channels=("O1",)), EegTerm(band="beta", weight=0.5))
    spec = ScoreSpec(eeg=terms, bold=(BoldTerm(regions=("left",)),), intercept=-0.25)
    values = card.model_dump(by_alias=True) | {"kind": "score", "graphs": {}, "score": spec}
    score = ModelCard.model_validate(values)
    (tmp_path / "score.toml").write_text(dump_card(score), encoding="utf-8")
    assert load_card(tmp_path / "score.toml").card == score


@given(st.text())
def test_any_text_survives_the_writing(card, text):
    odd = card.model_copy(
        update={"description": text, "eeg": card.eeg.model_copy(update={"bands": {text: (1.0, 2.5)}})}
    )
    values = tomllib.loads(dump_card(odd))
    assert values["description"] == text
    assert values["eeg"]["bands"] == {text: [1.0, 2.5]}


@pytest.mark.parametrize("name", ["eeg", "bold", "head"])
def test_every_graph_is_checked(tmp_path, name):
    path = written(tmp_path)
    graph = tmp_path / f"test-network.{name}.onnx"
    content = graph.read_bytes()
    graph.write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=rf"{name}\.onnx: its {len(content) // 2} bytes.*altered or cut short"):
        load_card(path)
    graph.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ModelError, match="altered"):
        load_card(path)
    graph.unlink()
    with pytest.raises(ModelError, match=rf"{name}\.onnx: cannot be read"):
        load_card(path)


def test_a_card_that_is_missing_or_no_toml_is_refused(tmp_path):
    with pytest.raises(ModelError, match="cannot be read"):
        load_card(tmp_path / "absent.toml")
    with pytest.raises(ModelError, match="cannot be read"):
        load_card(tmp_path)
    (tmp_path / "bad.toml").write_bytes(b"name = \xff")
    with pytest.raises(ModelError, match="not TOML"):
        load_card(tmp_path / "bad.toml")


def test_every_problem_is_listed_at_once(tmp_path):
    path = changed(written(tmp_path), 'licence = "BSD-3-Clause"\n', "colour = 3\n")
    changed(path, "n_steps = 6", "n_steps = 0")
    changed(path, "age_bold_max_s = 6.0", "age_bold_max_s = nan")
    with pytest.raises(ModelError) as caught:
        load_card(path)
    message = str(caught.value)
    assert "4 problem(s)" in message
    for part in ("licence: missing", "colour: unknown key", "eeg.n_steps: given 0", "limits.age_bold_max_s: given nan"):
        assert part in message


@pytest.mark.parametrize(
    ("schema", "message"),
    [("1", "schema 1, expected 2: made by an earlier version: train it again"), ("3", "schema 3 is newer")],
)
def test_another_schema_is_refused_by_name(tmp_path, schema, message):
    with pytest.raises(ModelError, match=message):
        load_card(changed(written(tmp_path), "schema = 2", f"schema = {schema}"))


@pytest.mark.parametrize(
    "name", ["../x.onnx", "/etc/x.onnx", "x.pt", "a/b.onnx", "a\\\\b.onnx", "", ".x.onnx", "~.onnx"]
)
def test_a_graph_outside_the_cards_folder_is_refused(tmp_path, name):
    with pytest.raises(ModelError, match=r"graphs\.head\.file"):
        load_card(changed(written(tmp_path), '"test-network.head.onnx"', f'"{name}"'))


def test_what_does_not_go_together_is_refused_without_the_whole_card(tmp_path):
    path = changed(written(tmp_path), 'kind = "network"', 'kind = "score"')
    with pytest.raises(ModelError, match=r"- kind is score: \[score\] is for kind score") as caught:
        load_card(path)
    assert len(str(caught.value)) < 400
    path = written(tmp_path / "b")
    changed(path, text_of_bold(tmp_path / "b"), "")
    with pytest.raises(ModelError, match=r"graphs are eeg, head: expected bold, eeg, head"):
        load_card(path)


def test_what_fits_has_no_problems_and_every_difference_is_told(card):
    assert fit_problems(card, CHANNELS, REGIONS, DIGEST) == []
    # what the session makes beyond what the model takes is its own business
    assert fit_problems(card, CHANNELS, REGIONS, DIGEST, cells=(1, 1, 3), tangent=TANGENT) == []
    problems = fit_problems(card, [*CHANNELS[:3], "ECG"], REGIONS[::-1], preprocessing_digest({}))
    assert problems[0] == "EEG channels that the model expects are missing: C3"
    assert problems[1] == "EEG channels that the model does not know are given: ECG"
    assert problems[2].startswith("regions are given as control, right, left: expected each once, as left")
    assert "digest" in problems[3]
    assert len(problems) == 4
    assert fit_problems(card, [*CHANNELS, "O1"], REGIONS, DIGEST) != []


def test_only_what_the_model_takes_is_compared(card):
    eeg, bold = (card.model_copy(update={name: None}) for name in ("bold", "eeg"))
    assert fit_problems(eeg, CHANNELS, (), DIGEST) == []
    assert fit_problems(bold, (), REGIONS, DIGEST) == []
    assert sfreq_problems(bold, 5.0) == []
    assert len(fit_problems(eeg, (), (), DIGEST)) == 1


def test_a_box_of_cells_must_be_the_same_box(card):
    boxed = card.model_copy(update={"bold": card.bold.model_copy(update={"cells": (1, 1, 3)})})
    assert fit_problems(boxed, CHANNELS, REGIONS, DIGEST, cells=(1, 1, 3)) == []
    (other,) = fit_problems(boxed, CHANNELS, REGIONS, DIGEST, cells=(3, 1, 1))
    assert other == "regions are cells of a box of 3 x 1 x 1: the model takes a box of 1 x 1 x 3 cells"
    assert "no box of cells" in fit_problems(boxed, CHANNELS, REGIONS, DIGEST)[0]


def test_the_tangent_vector_must_be_made_alike(card):
    with_it = card.model_copy(update={"tangent": TANGENT})
    assert fit_problems(with_it, CHANNELS, REGIONS, DIGEST, tangent=TANGENT) == []
    assert fit_problems(with_it, CHANNELS, REGIONS, DIGEST)[0].endswith("this session makes none")
    other = TANGENT.model_copy(update={"channels": CHANNELS[::-1], "band_hz": (4.0, 30.0), "window_s": 1.0, "width": 3})
    problems = fit_problems(with_it, CHANNELS, REGIONS, DIGEST, tangent=other)
    assert problems[0].startswith("channels of the tangent vector are given as C3")
    assert problems[1:] == [
        "band of the tangent vector is 4 to 30 Hz: expected 8 to 30 Hz",
        "window of the tangent vector is 1 s: expected 2 s",
        "width of the tangent vector is 3: expected 10",
    ]


def test_the_rate_may_differ_within_the_tolerance(card):
    assert sfreq_problems(card, 256.0) == []
    assert "500 Hz" in sfreq_problems(card, 500.0)[0]
    assert sfreq_problems(card, float("nan")) != []


def test_the_digest_is_of_the_values_not_of_their_order():
    assert preprocessing_digest({"a": 1, "b": [1.5, "x"]}) == preprocessing_digest({"b": [1.5, "x"], "a": 1})
    assert preprocessing_digest({"a": 1}) != preprocessing_digest({"a": 1.5})
