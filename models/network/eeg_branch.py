"""The EEG branch: spatial filters per band, a causal convolution, an LSTM whose state can be carried.

Training unrolls it over a window from a state of zeros; live it takes one step at a time, in a flat state of
``state_width`` numbers: the convolution's last inputs, the LSTM's output and cell, and for a pyramid its last outputs.
Both ways give the same token. Spatial filters per band and a convolution in time follow EEGNet (Lawhern 2018,
doi:10.1088/1741-2552/aace8c).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.network.pooling import newest_means
from models.network.settings import FusionSettings


class EegBranch(nn.Module):
    """Band power over a few seconds, to one token.

    Parameters
    ----------
    settings : FusionSettings
    """

    def __init__(self, settings: FusionSettings) -> None:
        super().__init__()
        s = settings
        self.n_channels, self.n_bands = s.n_channels, s.n_bands
        self.past = s.conv_steps - 1
        mixed = s.n_bands * s.spatial_filters
        # without a bias: zeros in, as before the first step, are zeros out
        self.spatial = nn.Conv1d(s.n_bands * s.n_channels, mixed, 1, groups=s.n_bands, bias=False)
        self.temporal = nn.Conv1d(mixed, s.eeg_width, s.conv_steps)
        self.lstm = nn.LSTM(s.eeg_width, s.lstm_width, batch_first=True)
        self.spans = s.eeg_spans() if s.head == "pyramid" else (1,)
        self.dropout = nn.Dropout(s.dropout)
        self.out = nn.Linear(s.lstm_width * len(self.spans), s.token_width)
        # a single newest output needs no memory besides the LSTM's own
        self.kept = self.spans[-1] if s.head == "pyramid" else 0
        self.parts = [self.past * mixed, s.lstm_width, s.lstm_width, self.kept * s.lstm_width]
        self.state_width = sum(self.parts)
        """Numbers in the flat state of one window."""

    def forward(self, eeg: Tensor) -> Tensor:
        """Read a whole window, shape (b, eeg_steps, n_channels * n_bands); give its token, shape (b, token_width)."""
        mixed = nn.functional.pad(self._mix(eeg), (self.past, 0))
        steps, _ = self.lstm(self.dropout(self._embed(mixed).transpose(1, 2)))
        return self._read(steps)

    def step(self, step: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read one more step.

        Parameters
        ----------
        step : Tensor, shape (b, n_channels * n_bands)
        state : Tensor, shape (b, state_width)
            Zeros before a window's first step.

        Returns
        -------
        state : Tensor, shape (b, state_width)
        token : Tensor, shape (b, token_width)
            After as many steps as a window has, the one that ``forward`` gives of the window.
        """
        past, output, cell, kept = torch.split(state, self.parts, dim=1)
        seen = torch.cat([past.unflatten(1, (-1, self.past)), self._mix(step[:, None])], dim=2)
        output, cell = self._cell(self.dropout(self._embed(seen)[:, :, 0]), output, cell)
        latest = output[:, None]
        if self.kept:
            latest = torch.cat([kept.unflatten(1, (self.kept, -1))[:, 1:], latest], dim=1)
            kept = latest.flatten(1)
        return torch.cat([seen[:, :, 1:].flatten(1), output, cell, kept], dim=1), self._read(latest)

    def _mix(self, eeg: Tensor) -> Tensor:
        # channels come outermost, a filter is of one band
        bands = eeg.unflatten(2, (self.n_channels, self.n_bands)).permute(0, 3, 2, 1)
        return self.spatial(bands.flatten(1, 2))

    def _embed(self, mixed: Tensor) -> Tensor:
        return torch.tanh(self.temporal(mixed))

    def _cell(self, given: Tensor, output: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        # nn.LSTM written out: as plain products it runs in half precision and inside a CUDA graph, too
        of_given, of_output, bias_given, bias_output = self.lstm.all_weights[0]
        gates = nn.functional.linear(given, of_given, bias_given)
        gates = gates + nn.functional.linear(output, of_output, bias_output)
        enter, forget, candidate, leave = gates.chunk(4, dim=1)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(candidate)
        return torch.sigmoid(leave) * torch.tanh(cell), cell

    def _read(self, outputs: Tensor) -> Tensor:
        return torch.tanh(self.out(self.dropout(newest_means(outputs, self.spans))))
