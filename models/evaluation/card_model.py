"""A card's graph on many windows at once, with its temperatures: the numbers that the loop would give."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
from scipy.special import softmax

from models.dataset import WindowSet
from streamer.decode.card import LoadedCard, fit_problems, read_graph, sfreq_problems
from streamer.decode.onnx_model import CPU, FusionModel
from streamer.errors import ModelError
from streamer.messages import F64

_PIECE = 1024


class CardModel:
    """Judge windows by a model that was exported with its card.

    Parameters
    ----------
    loaded : LoadedCard

    Raises
    ------
    ModelError
        The graph was altered or is not what the card says.
    """

    def __init__(self, loaded: LoadedCard) -> None:
        # served once as in the loop: all its checks of the graph are passed thereby
        FusionModel(loaded, "cpu").warm_up(1)
        self.card = loaded.card
        self.name = loaded.card.name
        self.modalities = "both"
        options: Any = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        graph = read_graph(loaded.graph_path, self.card.graph.sha256)
        self._session: Any = ort.InferenceSession(graph, options, providers=[CPU])

    def check(self, windows: WindowSet) -> None:
        """Refuse windows that the model is not for, and subjects that it was trained on.

        Raises
        ------
        ModelError
            With every difference.
        """
        card = self.card
        problems = fit_problems(card, windows.inputs.channels, windows.inputs.regions, card.preprocessing)
        problems += sfreq_problems(card, windows.inputs.sfreq)
        expected = ((card.eeg.n_steps, card.n_eeg_features), (card.bold.n_steps, len(card.bold.regions)))
        found = (windows.eeg.shape[1:], windows.bold.shape[1:])
        if found != expected and not problems:
            problems.append(f"windows have the shapes {found}: expected {expected}")
        if windows.classes != card.classes:
            problems.append(f"classes are {', '.join(windows.classes)}: expected {', '.join(card.classes)}")
        if problems:
            lines = "\n".join(f"  - {problem}" for problem in problems)
            raise ModelError(f"model {card.name} does not fit the windows:\n{lines}")
        known = set(card.training.train) | set(card.training.validation)
        seen = sorted(known & set(windows.subjects))
        if seen:
            raise ModelError(f"model {card.name} was trained on {', '.join(seen)}: expected subjects that it never saw")

    def predict_proba(self, windows: WindowSet) -> F64:
        """Give probabilities, shape (n, n_classes); equal ones where a window holds nothing."""
        card = self.card
        parts: list[F64] = []
        for start in range(0, len(windows), _PIECE):
            rows = slice(start, start + _PIECE)
            valid = windows.valid[rows]
            eeg = np.where(valid[:, 0, None, None] > 0, windows.eeg[rows], 0).astype(np.float32)
            bold = np.where(valid[:, 1, None, None] > 0, windows.bold[rows], 0).astype(np.float32)
            feed = {"eeg": eeg, "bold": bold, "age": windows.age[rows], "valid": valid}
            logits = self._session.run(["logits"], feed)[0].astype(np.float64)
            t = card.temperature
            has_eeg, has_bold = valid[:, 0] > 0, valid[:, 1] > 0
            temperature = np.where(has_eeg & has_bold, t.both, np.where(has_eeg, t.eeg, t.bold))
            p = softmax(logits / temperature[:, None], axis=1)
            p[~(has_eeg | has_bold)] = 1 / len(card.classes)
            parts.append(p)
        return np.concatenate(parts)
