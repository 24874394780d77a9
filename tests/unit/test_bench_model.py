"""What the bench says of models: every part of each, with its bar."""

from __future__ import annotations

import json
import sys

import pytest

from models.checkpoint import save_ensemble
from models.eager import eager_calls
from streamer.bench.model import bench_model
from streamer.commands.bench import What, bench
from streamer.decode.onnx_session import available_providers
from streamer.errors import ModelError
from tests.unit.network_files import BOTH, EEG, ensemble
from tests.unit.served_files import N_FEATURES, linear, network


def card_of(loaded):
    return loaded.folder / f"{loaded.card.name}.toml"


def measured(*cards):
    done = []
    figures = bench_model(done.append, cards, quick=True)
    assert done == sorted(done)
    assert done[-1] == 1.0
    assert all(0 < figure.value < 1e4 for figure in figures)
    assert all(figure.unit == "ms" for figure in figures)
    return {figure.name: figure for figure in figures}


def test_every_part_of_a_network_is_measured_with_its_bar(tmp_path):
    found = measured(card_of(network(tmp_path)))
    parts = ("EEG step and head", "head", "whole window anew", "BOLD encoder")
    on_cpu = [f"test-network on CPU: {part}, {p}" for part in parts for p in ("p50", "p99")]
    assert [name for name in found if " on CPU" in name] == [
        *on_cpu,
        *(f"score on CPU: decision, {p}" for p in ("p50", "p99")),
    ]
    assert {name: figure.bar for name, figure in found.items() if "CPU" in name and figure.bar} == {on_cpu[1]: 3.0}
    # a whole window is more than its newest step
    assert found[on_cpu[4]].value > found[on_cpu[0]].value > found[on_cpu[2]].value
    gpus = {name: figure.bar for name, figure in found.items() if name.endswith("head, p99") and figure.bar == 1.0}
    assert len(gpus) == len(available_providers()) - 1


def test_a_network_of_one_modality_and_a_rival_are_measured(tmp_path):
    rival = linear(tmp_path / "rival", {"eeg": (("eeg_mean",), N_FEATURES, 0)})
    found = measured(card_of(network(tmp_path / "eeg", bold=False)), card_of(rival))
    assert "test-linear on CPU: decision, p99" in found
    assert "test-network on CPU: EEG step and head, p99" in found
    assert not [name for name in found if "BOLD encoder" in name]


def test_eager_torch_stands_beside_where_the_weights_are(tmp_path, monkeypatch):
    loaded = network(tmp_path, checkpoint="own.pt")
    assert not any(figure.peer for figure in measured(card_of(loaded)).values())
    save_ensemble(ensemble(BOTH), tmp_path / "own.pt")
    peers = {name: figure.peer for name, figure in measured(card_of(loaded)).items() if "test-network on CPU" in name}
    assert len(peers) == 8
    assert all(peer.startswith("eager torch: ") and peer.endswith(" ms") for peer in peers.values())
    monkeypatch.setitem(sys.modules, "models.eager", None)
    assert not any(figure.peer for figure in measured(card_of(loaded)).values())


def test_eager_torch_does_what_the_network_has(tmp_path):
    loaded = network(tmp_path, bold=False, checkpoint="own.pt")
    save_ensemble(ensemble(EEG, members=3), tmp_path / "own.pt")
    calls = eager_calls(loaded)
    assert set(calls) == {"head", "whole window", "step and head"}
    for name in calls:
        logits, attention = calls[name]()
        assert tuple(logits.shape) == (1, 3, 2)
        assert attention.tolist() == [[1.0, 0.0]]


def test_the_table_comes_as_json(tmp_path, capsys):
    bench([What.MODEL], quick=True, card=[card_of(network(tmp_path))], as_json=True)
    found = json.loads(capsys.readouterr().out)["model"]
    (bar,) = (row for row in found if row["name"] == "test-network on CPU: EEG step and head, p99")
    assert (bar["bar"], bar["better"], bar["unit"]) == (3.0, "less", "ms")
    assert bar["met"] is (bar["value"] <= 3.0)


def test_a_card_that_cannot_be_served_is_told(tmp_path):
    loaded = network(tmp_path)
    (tmp_path / "test-network.eeg.onnx").write_bytes(b"")
    with pytest.raises(ModelError, match="altered or cut short"):
        bench_model(lambda _: None, [card_of(loaded)], quick=True)
