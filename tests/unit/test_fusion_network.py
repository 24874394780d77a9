from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch

from models.export import INPUTS, OUTPUTS, TOLERANCE, example_inputs, export_graph, graph_difference
from models.fusion import FusionNetwork, FusionSettings, drop_at_random
from tests.unit.model_files import SIZES, untrained


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_graph(untrained(), tmp_path_factory.mktemp("graph") / "net.onnx").path


def test_shapes_and_size() -> None:
    network = FusionNetwork(FusionSettings(n_channels=63, n_bands=3, n_regions=100))
    assert sum(p.numel() for p in network.parameters()) < 200_000
    logits, attention = untrained()(*example_inputs(untrained(), 7))
    assert logits.shape == (7, 2)
    assert attention.shape == (7, 2)


def test_attention_is_zero_where_masked_and_sums_to_one() -> None:
    _, attention = untrained()(*example_inputs(untrained(), 4))
    # in the order of example_inputs: both, EEG alone, BOLD alone, none
    assert torch.allclose(attention.sum(dim=1), torch.ones(4))
    assert attention[1].tolist() == [1.0, 0.0]
    assert attention[2].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("junk", [1e6, float("nan"), float("inf")])
def test_what_is_masked_has_no_influence(graph: Path, junk: float) -> None:
    network = untrained()
    eeg, bold, age, valid = example_inputs(network, 8)
    wild = [eeg.clone(), bold.clone(), age.clone(), valid]
    for column in (0, 1):
        wild[column][valid[:, column] == 0] = junk
        wild[2][valid[:, column] == 0, column] = junk
    for got, want in zip(network(*wild), network(eeg, bold, age, valid), strict=True):
        assert torch.equal(got, want)
    session = ort.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    clean, dirty = (
        session.run(list(OUTPUTS), {k: v.numpy() for k, v in zip(INPUTS, batch, strict=True)})
        for batch in ((eeg, bold, age, valid), wild)
    )
    for got, want in zip(dirty, clean, strict=True):
        assert np.array_equal(np.asarray(got), np.asarray(want))


def test_what_is_there_has_influence() -> None:
    network = untrained()
    eeg, bold, age, _ = example_inputs(network, 1)
    valid = torch.ones(1, 2)
    before, _ = network(eeg, bold, age, valid)
    for changed in ((eeg + 1, bold, age), (eeg, bold + 1, age), (eeg, bold, age + 1)):
        assert not torch.allclose(network(*changed, valid)[0], before)


@pytest.mark.parametrize("n", [1, 2, 5, 64])
def test_the_graph_gives_what_torch_gives_for_any_batch(graph: Path, n: int) -> None:
    assert graph_difference(untrained(), graph, n) <= TOLERANCE


def test_the_graph_is_one_file_and_its_difference_is_seen(graph: Path) -> None:
    assert [p.name for p in graph.parent.iterdir()] == ["net.onnx"]
    assert graph_difference(untrained(seed=1), graph, 4) > TOLERANCE


def test_training_never_drops_both_modalities_nor_the_last_one() -> None:
    settings = SIZES.model_copy(update={"drop_eeg": 0.5, "drop_bold": 0.49})
    eeg, _, age, valid = example_inputs(untrained(), 4000)
    _, _, dropped = drop_at_random(settings, eeg, age, valid, torch.Generator().manual_seed(0))
    assert torch.equal(dropped.max(dim=1).values, valid.max(dim=1).values)
    assert torch.equal(dropped[1::4], valid[1::4])
    both = dropped[::4]
    assert float((both[:, 0] == 0).float().mean()) == pytest.approx(0.5, abs=0.06)
    assert float((both[:, 1] == 0).float().mean()) == pytest.approx(0.49, abs=0.06)


def test_training_silences_whole_channels_and_only_adds_age() -> None:
    eeg, _, age, valid = example_inputs(untrained(), 500)
    before = eeg.clone()
    harder, older, _ = drop_at_random(SIZES, eeg, age, valid, torch.Generator().manual_seed(0))
    assert torch.equal(eeg, before)
    channels = harder.reshape(500, 20, 6, 3)
    silent = (channels == 0).all(dim=3).all(dim=1)
    assert float(silent.float().mean()) == pytest.approx(0.1, abs=0.03)
    assert torch.equal(channels.permute(0, 2, 1, 3)[~silent], eeg.reshape(500, 20, 6, 3).permute(0, 2, 1, 3)[~silent])
    added = older - age
    assert float(added.min()) >= -1e-6
    assert float(added[:, 0].max()) <= 0.1 * SIZES.age_inflation_s + 1e-6
    assert float(added[:, 1].max()) == pytest.approx(SIZES.age_inflation_s, rel=0.05)


def test_a_token_that_the_heads_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match="not a multiple of heads"):
        FusionNetwork(SIZES.model_copy(update={"token_width": 30}))
