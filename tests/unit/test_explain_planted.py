"""The planted-truth check: green for a network that learned the effect, red for one that did not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models.dataset import WindowSet
from models.explain.attribution import Attribution
from models.explain.maps import VIEWS
from models.explain.planted import Check, Found, cascade, check_network, compare, trained
from models.explain.smoothgrad import smoothgrad
from models.explain.truth import Shape, Truth, plant, shape_of, truth_of_run
from models.fusion import FusionNetwork
from models.network.settings import FusionSettings
from streamer.errors import ModelError

CHANNELS = ("Fz", "Cz", "Pz", "Oz", "C3", "C4", "O1", "O2")
REGIONS = ("a", "b", "c", "d", "e", "f")
SHAPE = Shape(12, CHANNELS, 2, 10, REGIONS, 2)
SIZES = FusionSettings(n_channels=8, n_bands=2, eeg_steps=12, n_regions=6, bold_steps=10, dropout=0.1)


def explain(network: nn.Module, windows: WindowSet) -> Attribution:
    return smoothgrad(network, windows, 1, draws=4)


@pytest.fixture(scope="module")
def planted() -> tuple[WindowSet, Truth]:
    torch.set_num_threads(1)
    return plant(SHAPE, 900, seed=4)


@pytest.fixture(scope="module")
def learned(planted: tuple[WindowSet, Truth]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return trained(FusionNetwork(SIZES), planted[0], seed=3)


def test_a_network_that_learned_the_effect_passes(planted: tuple[WindowSet, Truth], learned: nn.Module) -> None:
    windows, truth = planted
    blind = trained(learned, windows, seed=8, permute=True)
    checks = check_network("method", learned, windows.rows(np.arange(160)), truth, explain, 1, [blind])
    for kind in VIEWS:
        check = checks[kind]
        assert set(check.found) == {"eeg", "bold"}
        for modality, found in check.found.items():
            assert found.auroc >= 0.85
            assert found.mass > 2 * found.area
            assert check.random[modality] <= 0.6
            assert 0.3 < check.permuted[modality] < 0.7
    assert checks["pattern"].problems == ()


def test_networks_that_know_nothing_fail(planted: tuple[WindowSet, Truth], learned: nn.Module) -> None:
    windows, truth = planted
    some = windows.rows(np.arange(160))
    blind = trained(learned, windows, seed=8, permute=True)
    for kind, check in check_network("method", blind, some, truth, explain, 1).items():
        assert any("AUROC" in problem for problem in check.problems), kind


def test_maps_change_when_layers_are_drawn_anew(planted: tuple[WindowSet, Truth], learned: nn.Module) -> None:
    windows, _ = planted
    alike = cascade(learned, windows.rows(np.arange(160)), explain, 1, (0.0, 1.0))
    for kind in VIEWS:
        assert alike[kind][0.0] == pytest.approx(1)
        assert alike[kind][1.0] < 0.6


def test_a_map_is_held_against_the_truth() -> None:
    truth = Truth({"eeg": np.array([1.0, np.nan, 0.0, 0.0]), "bold": np.ones((2, 2))}, "t")
    found = compare({"eeg": np.array([[-3.0, 9.0, 1.0, 0.0], [-3.0, 9.0, 0.0, 0.0]]), "bold": np.ones((2, 2))}, truth)
    # what is neither planted nor not does not count; where all is planted there is nothing to tell apart
    assert found == {"eeg": Found(1.0, pytest.approx(6 / 7), pytest.approx(1 / 3))}


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (Check("r", "t", {"eeg": Found(0.84, 0.5, 0.1)}, {}, {}), "eeg AUROC 0.84 in the planted place"),
        (Check("r", "t", {"eeg": Found(0.9, 0.1, 0.2)}, {}, {}), "eeg mass 0.10 in the planted place"),
        (Check("r", "t", {"eeg": Found(0.9, 0.5, 0.2)}, {"eeg": 0.61}, {}), "eeg AUROC 0.61 with drawn weights"),
        (Check("r", "t", {"eeg": Found(0.9, 0.5, 0.2)}, {}, {"eeg": 0.7}), "eeg AUROC 0.70 with permuted labels"),
        (Check("r", "t", {"eeg": Found(np.nan, 0.5, 0.2)}, {}, {}), "eeg AUROC nan"),
        (Check("r", "t", {}, {}, {}), "says nothing of what was planted"),
    ],
)
def test_each_way_to_fail_is_told(check: Check, said: str) -> None:
    assert len(check.problems) == 1
    assert said in check.problems[0]


def test_planting_fits_any_shape() -> None:
    for shape in (Shape(12, (), 0, 10, REGIONS, 3), Shape(12, CHANNELS, 2, 10, (), 2)):
        windows, truth = plant(shape, 50, 1)
        assert shape_of(windows) == shape
        assert len(truth.where) == 1
        assert set(np.unique(windows.label)) == set(range(shape.n_classes))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """What a simulated run leaves: alpha of the first channel falls in task, the first region follows after 5 s."""
    rng = np.random.default_rng(0)
    rate, seconds = 100, 400
    state = np.repeat(np.arange(seconds) // 20 % 2, rate).astype(np.int8)
    at = np.arange(len(state)) / rate
    eeg = 1e-6 * rng.standard_normal((len(state), 8))
    eeg[:, 0] += 1e-5 * np.sin(2 * np.pi * 10 * at) * np.where(state, 0.3, 1.0) * rng.uniform(0.5, 1.5, len(at))
    onsets = np.arange(0, seconds - 10, 1.0)
    neural = np.zeros((len(onsets), 6))
    neural[:, 0] = state[np.clip(((onsets + 0.5 - 5) * rate).astype(int), 0, None)]
    folder = tmp_path / "task"
    folder.mkdir()
    np.savez(
        folder / "truth.npz",
        eeg=eeg.astype(np.float32),
        state=state,
        rate_hz=np.array(float(rate)),
        region_names=np.array(REGIONS),
        region_neural=neural,
        region_total=neural + 0.3 * rng.standard_normal(neural.shape),
        volume_onsets=onsets,
    )
    return folder


def test_the_truth_of_a_simulated_run_is_read(run: Path, planted: tuple[WindowSet, Truth]) -> None:
    windows = planted[0]
    truth = truth_of_run(run, windows, {"alpha": (8.0, 13.0), "beta": (15.0, 30.0)}, 1.0)
    assert truth is not None
    assert truth.where["eeg"][0] == 1
    assert np.nanmax(truth.where["eeg"][2::2]) == 0
    assert truth.where["bold"].shape == (10, 6)
    # windows are .5 s old: the newest step speaks of the state 5 s before that of now, in blocks of 20 s
    assert truth.where["bold"][-1, 0] == 1
    assert np.nanmax(truth.where["bold"][:, 1:]) == 0


def test_other_channels_and_broken_truth_are_refused(run: Path, planted: tuple[WindowSet, Truth]) -> None:
    windows = planted[0]
    fewer = plant(Shape(12, CHANNELS[:3], 2, 10, REGIONS, 2), 20, 1)[0]
    with pytest.raises(ModelError, match="8 EEG channels: expected 3"):
        truth_of_run(run, fewer, {"alpha": (8.0, 13.0)}, 1.0)
    other = plant(Shape(12, CHANNELS, 2, 10, ("a", "z"), 2), 20, 1)[0]
    with pytest.raises(ModelError, match="has no region z"):
        truth_of_run(run, other, {"alpha": (8.0, 13.0)}, 1.0)
    (run / "truth.npz").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="is not the truth of a simulated run"):
        truth_of_run(run, windows, {"alpha": (8.0, 13.0)}, 1.0)
    assert truth_of_run(run.parent, windows, {}, 1.0) is None
