"""The methods on models whose every part is known: what they find must be what is there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.dataset import WindowSet
from models.explain.attribution import some
from models.explain.disputed import gradcam, lrp
from models.explain.integrated import integrated
from models.explain.maps import Axes, bold_map, eeg_map, view
from models.explain.network import LogOdds, asker, attention_of, inputs, randomised
from models.explain.perturb import log_odds, perturb
from models.explain.smoothgrad import smoothgrad
from models.fusion import FusionNetwork
from models.network.ensemble import Ensemble
from models.network.settings import FusionSettings
from streamer.errors import ModelError
from tests.unit.synthetic_windows import BANDS, CHANNELS, REGIONS, some_subjects

SIZES = FusionSettings(n_channels=len(CHANNELS), n_bands=len(BANDS), n_regions=len(REGIONS))
AXES = Axes(CHANNELS, tuple(BANDS), REGIONS, 0.2, 1.0)


class Linear(nn.Module):
    """Log-odds of class 1: half the sum of O1's newest alpha and of the left region's fourth lag."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5))

    def forward(self, eeg: Tensor, bold: Tensor, age: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        score = self.weight * (eeg[:, 19, 1] + bold[:, 12, 0]) + 0 * age[:, 0]
        return torch.stack([torch.zeros_like(score), score], dim=1), valid / 2


@pytest.fixture(scope="module")
def windows() -> WindowSet:
    torch.set_num_threads(1)
    return some(some_subjects("a", 3), 60)


def ensemble(seed: int = 0) -> Ensemble:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Ensemble([FusionNetwork(SIZES) for _ in range(2)]).eval()


def test_log_odds_are_those_of_the_mean_probability(windows: WindowSet) -> None:
    network = ensemble()
    data, rest = inputs(windows)
    found = LogOdds(network, 1)(*data, *rest).detach().numpy()
    assert found == pytest.approx(log_odds(asker(network)(windows)[:, 1]), abs=1e-4)


def test_smoothgrad_of_a_linear_model_is_its_weights(windows: WindowSet) -> None:
    found = smoothgrad(Linear(), windows, 1, draws=4)
    expected = np.zeros((20, 18))
    expected[19, 1] = 0.5 * windows.eeg[:, 19, 1].std()
    assert found.dependence["eeg"] == pytest.approx(expected, abs=1e-5)
    assert found.evidence["bold"] == pytest.approx(0.5 * windows.bold[:, 12, 0], abs=1e-4)
    again = smoothgrad(Linear(), windows, 1, draws=4)
    assert (again.evidence["eeg"] == found.evidence["eeg"]).all()


def test_integrated_gradients_add_up(windows: WindowSet) -> None:
    network = ensemble()
    windows = windows.rows(np.arange(0, len(windows), 5))
    found = integrated(network, windows, 1)
    data, rest = inputs(windows)
    model = LogOdds(network, 1)
    change = (model(*data, *rest) - model(*(part * 0 for part in data), *rest)).detach().numpy()
    missing = np.abs(found.evidence["eeg"] + found.evidence["bold"] - change).sum() / np.abs(change).sum()
    assert missing <= 0.01
    assert found.facts["completeness"] == pytest.approx(1 - missing, abs=1e-3)


def test_an_incomplete_path_is_refused(windows: WindowSet) -> None:
    class Steep(Linear):
        def forward(self, eeg: Tensor, bold: Tensor, age: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
            logits, attention = super().forward(eeg, bold, age, valid)
            return torch.tanh(1e4 * (logits - 0.137)), attention

    with pytest.raises(ModelError, match=r"miss .* % of the change .* expected 1 % at most"):
        integrated(Steep(), windows, 1, (4,))


def test_perturbation_recovers_what_each_part_adds(windows: WindowSet) -> None:
    network = Linear()
    found = perturb(asker(network), windows, 1)
    assert found.windows is not None
    # in a linear model the parts' sum is the change of the log-odds; the ridge takes a little
    expected = 0.5 * found.windows.eeg[:, 19, 1]
    assert np.corrcoef(found.evidence["eeg"], expected)[0, 1] > 0.99
    assert found.facts["fidelity"] > 0.99
    planted = found.dependence["eeg"][19, 1]
    others = np.delete(found.dependence["eeg"][19].reshape(6, 3), [0, 1], axis=0)
    assert planted > 10 * others.max()


def test_a_covariance_is_a_part_of_its_own(windows: WindowSet) -> None:
    tangent = np.random.default_rng(0).standard_normal((len(windows), 4)).astype(np.float32)
    given = replace(windows, tangent=tangent)

    def ask(asked: WindowSet) -> np.ndarray:
        p = 1 / (1 + np.exp(-asked.tangent[:, 0].astype(np.float64)))
        return np.column_stack([1 - p, p])

    found = perturb(ask, given, 1)
    assert found.facts["covariance"] == pytest.approx(np.abs(tangent[:, 0]).mean(), rel=0.1)
    assert found.dependence["eeg"].max() < 0.01


def test_the_pattern_finds_the_signal_and_not_the_noise_that_is_subtracted(windows: WindowSet) -> None:
    class Subtracts(nn.Module):
        def forward(self, eeg: Tensor, bold: Tensor, age: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
            score = (bold[:, 12, 0] - bold[:, 12, 2]) + 0 * (eeg.sum() + age.sum())
            return torch.stack([-score, score], dim=1), valid / 2

    rng = np.random.default_rng(1)
    noise, signal = rng.standard_normal((2, len(windows)))
    bold = np.zeros_like(windows.bold)
    bold[:, 12, 0], bold[:, 12, 2] = signal + noise, noise
    given = replace(windows, bold=bold)
    found = smoothgrad(Subtracts(), given, 1, draws=2)
    depends, pattern = (np.abs(view(found, given, kind)["bold"]) for kind in ("dependence", "pattern"))
    assert depends[12, 2] > 0.5 * depends[12, 0]
    assert pattern[12, 2] < 0.4 * pattern[12, 0]


def test_maps_are_means_over_groups_and_time() -> None:
    values = np.zeros((20, 18))
    values[10:, [1, 4]] = -1.0  # alpha of O1 and O2
    found = eeg_map(values, AXES)
    occipital, alpha = found.groups.index("occipital"), found.bands.index("alpha")
    assert found.group_band[occipital, alpha] == -0.5
    assert np.count_nonzero(found.group_band) == 1
    assert found.band_time[alpha].tolist() == [0.0] * 10 + [2 / 6] * 10
    assert (found.lag_s[0], found.lag_s[-1]) == (pytest.approx(3.8), 0.0)
    assert bold_map(np.ones((16, 3)), AXES).region_time.shape == (3, 16)


def test_attention_and_disputed_methods(windows: WindowSet) -> None:
    network = ensemble()
    assert sum(attention_of(network, windows).values()) == pytest.approx(1, abs=1e-5)
    with pytest.raises(ModelError, match=r"LRP is not defined .* LSTM"):
        lrp(network, windows, 1)
    with pytest.raises(ModelError, match="no convolution over EEG time"):
        gradcam(Linear(), windows, 1)
    found = gradcam(network, windows.rows(np.arange(8)), 1)
    # time alone is told apart
    assert np.ptp(found.dependence["eeg"], axis=1).max() == 0
    assert found.dependence["eeg"].max() > 0


def test_weights_are_drawn_anew_from_the_output_on() -> None:
    network = FusionNetwork(SIZES)
    half, whole = randomised(network, 1, 0.5), randomised(network, 1)
    before, between, after = (dict(n.named_parameters()) for n in (network, half, whole))
    changed = [name for name in before if not torch.equal(before[name], between[name])]
    assert changed
    assert any(name.startswith("head") for name in changed)
    assert not any(name.startswith("eeg.spatial") for name in changed)
    assert all(not torch.equal(before[name], after[name]) for name in before)


def test_windows_are_taken_evenly() -> None:
    whole = some_subjects("ab", 5)
    taken = some(whole, 40)
    assert np.bincount(taken.label).tolist() == [20, 20]
    assert set(taken.subjects) == {"a", "b"}
    assert len(some(replace(whole, valid=whole.valid * 0), 40)) == 0
