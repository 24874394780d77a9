"""Graphs, checkpoint and card: written together, held against torch, written again from the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from models.checkpoint import load_ensemble, save_ensemble
from models.commands.export import export
from models.graphs.check import TOLERANCES, check_graphs
from models.graphs.publish import checkpoint_of, pending_graphs, read_draft, verify_model, write_model
from streamer.decode.card_file import LoadedCard, dump_card, load_card
from streamer.errors import ModelError, UsageError
from tests.unit.network_files import BOLD, BOTH, EEG, VOLUME, draft, ensemble

# torch's exporter takes seconds a graph, and longer beside other tests
pytestmark = pytest.mark.timeout(300)

FILES = ["net.bold.onnx", "net.eeg.onnx", "net.head.onnx", "net.pt", "net.toml"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> LoadedCard:
    of = ensemble(VOLUME)
    return write_model(of, draft(of), tmp_path_factory.mktemp("model"), "net")


@pytest.fixture(scope="module")
def half(made: LoadedCard, tmp_path_factory: pytest.TempPathFactory) -> LoadedCard:
    """What the verb writes in half precision, of EEG alone, where a model of that name was of both."""
    of = ensemble(EEG.model_copy(update={"head": "pyramid", "n_classes": 3}), members=1)
    with torch.no_grad():
        # far from even odds, where a rounding shows
        of.get_parameter("members.0.head.weight").mul_(8)
    folder = tmp_path_factory.mktemp("half")
    shutil.copytree(made.folder, folder / "out")
    save_ensemble(of, folder / "weights.pt")
    (folder / "draft.toml").write_text(dump_card(draft(of)))
    export(
        folder / "weights.pt", folder / "out", card=folder / "draft.toml", name="net", precision="fp16", overwrite=True
    )
    return load_card(folder / "out" / "net.toml")


@pytest.fixture
def copied(made: LoadedCard, tmp_path: Path) -> Path:
    shutil.copytree(made.folder, tmp_path / "copy")
    return tmp_path / "copy"


def graphs_of(loaded: LoadedCard) -> dict:
    return {name: (loaded.folder / graph.file).read_bytes() for name, graph in loaded.card.graphs.items()}


def served(graph: bytes, **given: torch.Tensor) -> list[np.ndarray]:
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run(None, {name: value.numpy() for name, value in given.items()})


def test_a_model_is_five_files_and_its_card_says_what_they_are(made: LoadedCard) -> None:
    assert sorted(p.name for p in made.folder.iterdir()) == FILES
    card = made.card
    assert (card.members, card.precision, card.checkpoint) == (2, "fp32", "net.pt")
    assert {name: graph.file for name, graph in card.graphs.items()} == {
        "eeg": "net.eeg.onnx",
        "bold": "net.bold.onnx",
        "head": "net.head.onnx",
    }
    assert load_card(made.folder / "net.toml") == made


def test_graphs_give_what_torch_gives(made: LoadedCard) -> None:
    found = verify_model(made.folder / "net.toml").difference
    assert found is not None
    assert found.worst("fp32") <= TOLERANCES["fp32"]


def test_ports_are_those_of_the_contract(made: LoadedCard) -> None:
    of = ensemble(VOLUME)
    features, s = VOLUME.n_eeg_features, of.state_width
    expected = {
        "eeg": ({"step": [features], "state": [s]}, {"state_out": [s], "token": [64]}),
        "bold": ({"bold": [16, 24]}, {"token": [64]}),
        "head": (
            {"eeg_token": [64], "bold_token": [64], "age": [2], "valid": [2]},
            {"logits": [2, 2], "attention": [2]},
        ),
    }
    for name, graph in graphs_of(made).items():
        session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
        ports = session.get_inputs(), session.get_outputs()
        assert tuple({port.name: port.shape[1:] for port in side} for side in ports) == expected[name]
        assert all(port.type == "tensor(float)" and isinstance(port.shape[0], str) for side in ports for port in side)


def test_graphs_hold_nothing_of_the_machine_that_wrote_them(made: LoadedCard) -> None:
    for graph in graphs_of(made).values():
        model = onnx.load_from_string(graph)
        onnx.checker.check_model(model)
        assert [entry.version >= 17 for entry in model.opset_import if not entry.domain] == [True]
        for word in (b"site-packages", b"/models/", b".py", str(Path.home()).encode()):
            assert word not in graph


@pytest.mark.parametrize("junk", [1e6, float("nan"), float("inf")])
def test_a_masked_token_has_no_influence_in_the_head(made: LoadedCard, junk: float) -> None:
    head = graphs_of(made)["head"]
    eeg, bold, age = torch.randn(3, 64), torch.randn(3, 64), torch.rand(3, 2)
    valid = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    clean = served(head, eeg_token=eeg, bold_token=bold, age=age, valid=valid)
    eeg[1:], bold[0], bold[2] = junk, junk, junk
    age[valid == 0] = junk
    for got, want in zip(served(head, eeg_token=eeg, bold_token=bold, age=age, valid=valid), clean, strict=True):
        assert np.array_equal(got, want)
    assert (clean[1] == valid.numpy()).all()


def test_half_precision_takes_and_gives_single_and_stays_near(half: LoadedCard) -> None:
    of, graphs = load_ensemble(half.folder / "net.pt"), graphs_of(half)
    found = check_graphs(of, graphs, "fp16")
    assert 0 < found.worst("fp16") <= TOLERANCES["fp16"]
    with pytest.raises(ModelError, match="differs from torch"):
        check_graphs(of, graphs, "fp32")
    tensors = [each for graph in graphs.values() for each in onnx.load_from_string(graph).graph.initializer]
    # but for single numbers, that are compared with
    assert onnx.TensorProto.FLOAT not in {each.data_type for each in tensors if each.dims}
    assert sum(each.data_type == onnx.TensorProto.FLOAT16 for each in tensors) > 10
    # a wild value is cut off as in single precision, not an infinity
    step, state = torch.full((1, 18), 1e6), torch.zeros(1, of.state_width)
    token = served(graphs["eeg"], step=step, state=state)[1]
    with torch.inference_mode():
        assert np.abs(token - of.eeg_step(step, state)[1].numpy()).max() < 0.01


def test_other_weights_missing_and_broken_graphs_are_refused(made: LoadedCard) -> None:
    graphs = graphs_of(made)
    with pytest.raises(ModelError, match=r"differs from torch by .* expected up to 0.0001"):
        check_graphs(ensemble(VOLUME, seed=5), graphs)
    with pytest.raises(ModelError, match="graphs are bold, head: expected bold, eeg, head"):
        check_graphs(ensemble(VOLUME), {name: graph for name, graph in graphs.items() if name != "eeg"})
    with pytest.raises(ModelError, match="graph eeg: ONNX Runtime cannot load it"):
        check_graphs(ensemble(VOLUME), graphs | {"eeg": graphs["eeg"][:1000]})
    with pytest.raises(ModelError, match="graph bold takes"):
        check_graphs(ensemble(VOLUME), graphs | {"bold": graphs["head"]})
    unsound = ensemble(VOLUME)
    with torch.no_grad():
        unsound.get_parameter("members.0.head.bias")[0] = float("nan")
    with pytest.raises(ModelError, match="differs from torch by inf"):
        check_graphs(unsound, graphs)


def test_a_card_of_another_network_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    of = ensemble(BOTH)
    with pytest.raises(ModelError, match=r"regions: the card has 24, the network 3\n.*cells: the card has"):
        write_model(of, draft(ensemble(VOLUME)), tmp_path)
    with pytest.raises(ModelError, match="number of classes: the card has 3, the network 2"):
        write_model(of, draft(of, classes=("a", "b", "c")), tmp_path)
    with pytest.raises(ModelError, match=r"4 problem\(s\)\n  - graphs.eeg.file: "):
        write_model(of, draft(of), tmp_path / "out", "no name")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_other_weights_is_found(copied: Path) -> None:
    save_ensemble(ensemble(VOLUME, seed=5), copied / "net.pt")
    with pytest.raises(ModelError, match="differs from torch"):
        verify_model(copied / "net.toml")
    save_ensemble(ensemble(VOLUME, members=3), copied / "net.pt")
    with pytest.raises(ModelError, match="members are 2, the checkpoint has 3"):
        verify_model(copied / "net.toml")
    with (copied / "net.head.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ModelError, match="sha256"):
        verify_model(copied / "net.toml")


def test_a_draft_needs_no_graphs_and_says_what_it_lacks(tmp_path: Path) -> None:
    of, path = ensemble(BOLD), tmp_path / "card.toml"
    lines = [line for line in dump_card(draft(of)).splitlines() if not line.startswith("kind")]
    head, rest = "\n".join(lines).split("[graphs", 1)
    path.write_text(head + rest[rest.index("\n[bold") :])
    assert read_draft(path, of).graphs == pending_graphs(of)
    assert checkpoint_of(path) == tmp_path / "card.pt"
    path.write_text(path.read_text().replace("licence", "license"))
    with pytest.raises(ModelError, match=r"2 problem\(s\)\n  - licence: Field required\n  - license: Extra"):
        read_draft(path, of)
    path.write_text("name = ")
    with pytest.raises(ModelError, match="not TOML"):
        read_draft(path, of)
    with pytest.raises(ModelError, match="cannot be read"):
        read_draft(tmp_path / "none.toml", of)


def test_the_verb_replaces_a_model_of_both_modalities_by_one_of_eeg(half: LoadedCard) -> None:
    assert half.card.precision == "fp16"
    assert sorted(p.name for p in half.folder.iterdir()) == ["net.eeg.onnx", "net.head.onnx", "net.pt", "net.toml"]


def test_the_verb_verifies_and_leaves_all_as_it_is(half: LoadedCard, capsys: pytest.CaptureFixture[str]) -> None:
    card = half.folder / "net.toml"
    before = {p.name: p.read_bytes() for p in half.folder.iterdir()}
    export(card, verify=True)
    assert "largest difference to torch" in capsys.readouterr().out
    # by its weights, too
    export(card.with_suffix(".pt"), verify=True, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["card_sha256"] == half.sha256
    assert set(told["graphs"]) == {"net.eeg.onnx", "net.head.onnx"}
    assert 0 < told["difference"]["probability"] <= TOLERANCES["fp16"]
    assert {p.name: p.read_bytes() for p in half.folder.iterdir()} == before


def test_the_verb_says_what_it_lacks(half: LoadedCard, tmp_path: Path) -> None:
    weights = half.folder / "net.pt"
    with pytest.raises(UsageError, match="--overwrite replaces it"):
        export(half.folder / "net.toml", half.folder)
    with pytest.raises(UsageError, match=r"no card .*none.toml: --card"):
        export(weights, tmp_path, card=tmp_path / "none.toml")
    with pytest.raises(UsageError, match="no folder to write into"):
        export(weights)
    with pytest.raises(UsageError, match="--verify takes a model alone"):
        export(weights, tmp_path, verify=True)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be written"):
        export(weights, tmp_path / "file")


def test_checkpoints_come_back_and_nothing_else_is_unpickled(tmp_path: Path) -> None:
    of = ensemble(VOLUME.model_copy(update={"head": "pyramid"}), 3)
    path = tmp_path / "a.pt"
    save_ensemble(of, path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]
    drawn = torch.random.get_rng_state()
    read = load_ensemble(path)
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert read.settings == of.settings
    assert not read.training
    assert {key: value.tolist() for key, value in read.state_dict().items()} == {
        key: value.tolist() for key, value in of.state_dict().items()
    }
    stored = torch.load(path, weights_only=True)
    for name, change, message in (
        ("pickled", {"members": [of]}, "not a checkpoint"),
        ("newer", {"schema": 3}, "schema 3 of a checkpoint, expected 2"),
        ("empty", {"members": []}, "no member"),
        ("other", {"settings": BOTH.model_dump(mode="json")}, "do not fit"),
        (
            "unsound",
            {"members": [{k: v * float("nan") for k, v in m.items()} for m in stored["members"]]},
            "not finite",
        ),
    ):
        torch.save(stored | change, tmp_path / f"{name}.pt")
        with pytest.raises(ModelError, match=message):
            load_ensemble(tmp_path / f"{name}.pt")
    (tmp_path / "short.pt").write_bytes(path.read_bytes()[:2000])
    for name in ("short", "absent"):
        with pytest.raises(ModelError, match="not a checkpoint"):
            load_ensemble(tmp_path / f"{name}.pt")
