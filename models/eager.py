"""The fusion network in eager torch: what ``streamer bench model`` finds by name, to hold ONNX Runtime against."""

from __future__ import annotations

from collections.abc import Callable

import torch

from models.checkpoint import load_ensemble
from streamer.decode.card_file import LoadedCard


def eager_calls(loaded: LoadedCard) -> dict[str, Callable[[], object]]:
    """Give calls that do in eager torch, on one thread, what is done for a window when it is served.

    Parameters
    ----------
    loaded : LoadedCard
        Of a network whose weights lie beside its card.

    Returns
    -------
    dict of str to callable
        ``step and head``, ``head``, ``whole window``, ``BOLD encoder``; the first where the network has EEG, the last
        where it has BOLD. Torch stays on one thread.

    Raises
    ------
    ModelError
        The weights cannot be read.
    """
    torch.set_num_threads(1)
    ensemble = load_ensemble(loaded.folder / loaded.card.checkpoint)
    s = ensemble.settings
    generator = torch.Generator().manual_seed(0)
    # a step is run for every row that a later window may start at, as it is served
    steps = torch.randn(s.eeg_steps, s.n_eeg_features, generator=generator)
    states = torch.randn(s.eeg_steps, ensemble.state_width, generator=generator)
    eeg = steps[None]
    bold = torch.randn(1, s.bold_steps, s.n_regions, generator=generator)
    eeg_token = torch.randn(1, ensemble.eeg_token_width, generator=generator)
    bold_token = torch.randn(1, ensemble.bold_token_width, generator=generator)
    age, valid = torch.tensor([[0.05, 2.0]]), torch.tensor([[float(s.n_channels > 0), float(s.n_regions > 0)]])

    @torch.inference_mode()
    def head() -> object:
        return ensemble.fuse(eeg_token, bold_token, age, valid)

    @torch.inference_mode()
    def step_and_head() -> object:
        _, token = ensemble.eeg_step(steps, states)
        return ensemble.fuse(token[-1:], bold_token, age, valid)

    @torch.inference_mode()
    def whole_window() -> object:
        return ensemble(eeg, bold, age, valid)

    @torch.inference_mode()
    def bold_encoder() -> object:
        return ensemble.bold_token(bold)

    calls: dict[str, Callable[[], object]] = {"head": head, "whole window": whole_window}
    if s.n_channels:
        calls["step and head"] = step_and_head
    if s.n_regions:
        calls["BOLD encoder"] = bold_encoder
    return calls
