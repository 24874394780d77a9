from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from models.fusion import FusionNetwork, FusionSettings, drop_at_random
from models.graphs.check import example_windows
from models.network.bold_branch import VolumeEmbedding
from models.network.ensemble import Ensemble
from models.network.pooling import newest_means
from streamer.errors import ModelError
from tests.unit.network_files import BOLD, BOTH, CELLS, EEG, VOLUME, ensemble, network

KINDS = [
    pytest.param(settings.model_copy(update={"head": head}), id=f"{name}-{head}")
    for name, settings in (("both", BOTH), ("volume", VOLUME), ("eeg", EEG), ("bold", BOLD))
    for head in ("attention", "concatenation", "pyramid")
]


def windows(settings: FusionSettings, n: int):
    return example_windows(ensemble(settings, 1), n)


@pytest.mark.parametrize(
    "sizes",
    [
        {"n_channels": 31, "n_bands": 3, "n_regions": 6},
        {"n_channels": 63, "n_bands": 8, "n_regions": 100},
        {"n_channels": 31, "n_bands": 3, "n_regions": 16 * 16 * 11, "cells": (16, 16, 11)},
        {"n_channels": 63, "n_bands": 8, "n_regions": 16 * 16 * 11, "cells": (16, 16, 11), "head": "pyramid"},
    ],
)
def test_an_ensemble_of_five_has_fewer_than_half_a_million_parameters(sizes: dict) -> None:
    members = [FusionNetwork(FusionSettings(**sizes)) for _ in range(5)]
    assert sum(p.numel() for p in Ensemble(members).parameters()) < 500_000


@pytest.mark.parametrize("settings", KINDS)
def test_weights_are_zero_where_masked_and_sum_to_one(settings: FusionSettings) -> None:
    made = network(settings.model_copy(update={"n_classes": 3}))
    eeg, bold, age, valid = windows(settings, 4)
    logits, attention = made(eeg, bold, age, valid)
    assert logits.shape == (4, 3)
    known = valid * torch.tensor([float(settings.n_channels > 0), float(settings.n_regions > 0)])
    assert (attention[known == 0] == 0).all()
    assert (attention[known > 0] > 0).all()
    assert torch.allclose(attention.sum(dim=1), (known.sum(dim=1) > 0).float())
    for each in made.with_heads(eeg, bold, age, valid):
        assert each.shape == (4, 3)
        assert torch.isfinite(each).all()


@pytest.mark.parametrize("settings", KINDS)
@pytest.mark.parametrize("junk", [1e6, float("nan"), float("inf")])
def test_what_is_masked_has_no_influence(settings: FusionSettings, junk: float) -> None:
    made = network(settings)
    eeg, bold, age, valid = windows(settings, 8)
    wild = [eeg.clone(), bold.clone(), age.clone(), valid]
    for column in (0, 1):
        wild[column][valid[:, column] == 0] = junk
        wild[2][valid[:, column] == 0, column] = junk
    for got, want in zip(made(*wild), made(eeg, bold, age, valid), strict=True):
        assert torch.equal(got, want)


@pytest.mark.parametrize("head", ["attention", "concatenation", "pyramid"])
def test_what_is_there_has_influence(head: str) -> None:
    made = network(VOLUME.model_copy(update={"head": head}))
    eeg, bold, age, _ = windows(VOLUME, 1)
    valid = torch.ones(1, 2)
    before, _ = made(eeg, bold, age, valid)
    for changed in ((eeg + 1, bold, age), (eeg, bold + 1, age), (eeg, bold, age + 1)):
        assert not torch.allclose(made(*changed, valid)[0], before)


def test_every_weight_is_learned() -> None:
    for settings in (VOLUME, BOTH.model_copy(update={"head": "pyramid"})):
        made = network(settings).train()
        joint, by_eeg, by_bold = made.with_heads(*windows(settings, 32))
        (joint.square().sum() + by_eeg.square().sum() + by_bold.square().sum()).backward()
        assert [name for name, p in made.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_an_artefact_counts_no_more_than_twelve_deviations() -> None:
    made = ensemble(VOLUME)
    eeg, bold, age, valid = windows(VOLUME, 4)
    eeg[:, 3], bold[:, 5] = 1e6, -1e6
    at_limit = eeg.clamp(-12, 12), bold.clamp(-12, 12)
    assert torch.equal(made(eeg, bold, age, valid)[0], made(*at_limit, age, valid)[0])
    assert torch.equal(made.bold_token(bold), made.bold_token(at_limit[1]))


@pytest.mark.parametrize("head", ["attention", "pyramid"])
@pytest.mark.parametrize("conv_steps", [2, 5])
def test_carried_steps_give_the_token_of_the_window(head: str, conv_steps: int) -> None:
    settings = EEG.model_copy(update={"head": head, "conv_steps": conv_steps})
    made = ensemble(settings, 3)
    eeg, bold, age, valid = windows(settings, 9)
    valid[:] = 1
    state = torch.zeros(9, made.state_width)
    with torch.inference_mode():
        for step in eeg.unbind(dim=1):
            state, token = made.eeg_step(step, state)
        window = torch.cat([member.eeg(eeg) for member in made], dim=1)
        assert float((token - window).abs().max()) <= 1e-5
        carried, _ = made.fuse(token, torch.zeros(9, 1), age, valid)
        assert float((carried - made(eeg, bold, age, valid)[0]).abs().max()) <= 1e-5


@pytest.mark.parametrize("head", ["attention", "pyramid"])
def test_a_reset_lane_is_as_a_fresh_one(head: str) -> None:
    settings = EEG.model_copy(update={"head": head})
    made = ensemble(settings)
    eeg, *_ = windows(settings, 3)
    state = torch.zeros(3, made.state_width)
    with torch.inference_mode():
        for step in eeg[:, :7].unbind(dim=1):
            state, _ = made.eeg_step(step, state)
        assert state[1].any()
        state[1] = 0
        alone = torch.zeros(1, made.state_width)
        for step in eeg[:, 7:].unbind(dim=1):
            state, token = made.eeg_step(step, state)
            alone, fresh = made.eeg_step(step[1:2], alone)
            assert float((token[1] - fresh[0]).abs().max()) <= 1e-6
            assert float((state[1] - alone[0]).abs().max()) <= 1e-6


def test_only_the_newest_spans_are_averaged() -> None:
    steps = torch.arange(24.0).reshape(1, 12, 2)
    assert newest_means(steps, (1, 4)).tolist() == [[22.0, 23.0, 19.0, 20.0]]
    assert BOTH.eeg_spans() == (5, 10, 20)
    assert BOTH.bold_spans() == (1, 2, 4, 8)
    # shorter than every span: as a whole
    assert BOTH.model_copy(update={"eeg_steps": 3}).eeg_spans() == (3,)
    made = network(BOLD.model_copy(update={"head": "pyramid"}))
    _, bold, *_ = windows(BOLD, 2)
    older = bold.clone()
    older[:, :8] += 1
    assert torch.equal(made.bold(older), made.bold(bold))
    older[:, 8] += 1
    assert not torch.allclose(made.bold(older), made.bold(bold))


def test_a_volume_is_read_in_order_step_by_step_and_left_is_not_right() -> None:
    torch.manual_seed(0)
    embed = VolumeEmbedding(VOLUME, CELLS).eval()
    bold = torch.randn(2, 5, 24)
    order = [3, 0, 4, 1, 2]
    assert torch.allclose(embed(bold)[:, order], embed(bold[:, order]), atol=1e-6)
    box = torch.from_numpy(np.reshape(bold[1, 2].numpy(), CELLS))
    alone = embed.layers(torch.cat([box[None, None], embed.where], dim=1)).mean(dim=(2, 3, 4))
    assert torch.allclose(torch.tanh(embed.linear(alone))[0], embed(bold)[1, 2], atol=1e-6)
    blob = torch.zeros(1, 1, 8, 3, 2)
    blob[:, :, 1] = 3
    there, mirrored = (VOLUME.model_copy(update={"n_regions": 48, "cells": (8, 3, 2)}), blob.flip(2))
    wide = VolumeEmbedding(there, (8, 3, 2)).eval()
    assert float((wide(blob.flatten(2)) - wide(mirrored.flatten(2))).detach().abs().max()) > 0.01


def test_an_ensemble_says_what_its_members_say() -> None:
    made = ensemble(VOLUME, 3)
    batch = windows(VOLUME, 8)
    logits, attention = made(*batch)
    each = [member(*batch) for member in made]
    assert torch.equal(logits, torch.stack([one for one, _ in each], dim=1))
    assert torch.allclose(attention, sum(weights for _, weights in each) / 3)
    tokens = [torch.cat(part, dim=1) for part in zip(*(m.branches(*batch[:2], batch[3]) for m in made), strict=True)]
    assert [part.shape[1] for part in tokens] == [made.eeg_token_width, made.bold_token_width]
    assert torch.allclose(made.fuse(*tokens, *batch[2:])[0], logits, atol=1e-6)


def test_an_ensemble_of_none_or_of_different_members_is_refused() -> None:
    with pytest.raises(ModelError, match="no member"):
        Ensemble([])
    with pytest.raises(ModelError, match="differ in their settings"):
        Ensemble([network(BOTH), network(EEG)])
    with pytest.raises(ModelError, match="BOLD alone has no EEG step"):
        ensemble(BOLD).eeg_step(torch.zeros(1, 0), torch.zeros(1, 0))
    with pytest.raises(ModelError, match="EEG alone reads no BOLD"):
        ensemble(EEG).bold_token(torch.zeros(1, 16, 0))


def test_training_never_drops_both_modalities_nor_the_last_one() -> None:
    settings = BOTH.model_copy(update={"drop_eeg": 0.5, "drop_bold": 0.49})
    eeg, _, age, valid = windows(BOTH, 4000)
    _, _, dropped = drop_at_random(settings, eeg, age, valid, torch.Generator().manual_seed(0))
    assert torch.equal(dropped.max(dim=1).values, valid.max(dim=1).values)
    assert torch.equal(dropped[1::4], valid[1::4])
    both = dropped[::4]
    assert float((both[:, 0] == 0).float().mean()) == pytest.approx(0.5, abs=0.06)
    assert float((both[:, 1] == 0).float().mean()) == pytest.approx(0.49, abs=0.06)


def test_training_silences_whole_channels_and_only_adds_age() -> None:
    eeg, _, age, valid = windows(BOTH, 500)
    before = eeg.clone()
    harder, older, _ = drop_at_random(BOTH, eeg, age, valid, torch.Generator().manual_seed(0))
    assert torch.equal(eeg, before)
    channels = harder.reshape(500, 20, 6, 3)
    silent = (channels == 0).all(dim=3).all(dim=1)
    assert float(silent.float().mean()) == pytest.approx(0.1, abs=0.03)
    assert torch.equal(channels.permute(0, 2, 1, 3)[~silent], eeg.reshape(500, 20, 6, 3).permute(0, 2, 1, 3)[~silent])
    added = older - age
    assert float(added.min()) >= -1e-6
    assert float(added[:, 0].max()) <= 0.1 * BOTH.age_inflation_s + 1e-6
    assert float(added[:, 1].max()) == pytest.approx(BOTH.age_inflation_s, rel=0.05)


@pytest.mark.parametrize("settings", [EEG, BOLD])
def test_of_a_single_modality_nothing_is_dropped_but_channels(settings: FusionSettings) -> None:
    eeg, _, age, _ = windows(settings, 200)
    valid = torch.tensor([[float(settings.n_channels > 0), float(settings.n_regions > 0)]]).repeat(200, 1)
    harder, _, kept = drop_at_random(settings, eeg, age, valid, torch.Generator().manual_seed(0))
    assert torch.equal(kept, valid)
    assert harder.shape == eeg.shape
    assert torch.equal(harder, eeg) == (settings.n_channels == 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"token_width": 30}, "30 is not a multiple of heads 4"),
        ({"n_channels": 0, "n_regions": 0}, "at least one modality"),
        ({"n_bands": 0}, "n_bands is 0 with 6 channels"),
        ({"cells": (2, 2, 2)}, "cells 2x2x2 make 8 cells: expected n_regions, which is 3"),
        ({"head": "sum"}, "'attention', 'concatenation' or 'pyramid'"),
    ],
)
def test_sizes_that_make_no_network_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FusionSettings(**BOTH.model_dump() | changes)
