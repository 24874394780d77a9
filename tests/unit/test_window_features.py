from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.decode.window_features import FEATURES, features_of, sources, widths
from streamer.errors import ModelError


def parts(
    b: int, steps: int, eeg: int, bold: int, tangent: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = (b, steps, eeg), (b, steps + 1, bold), (b, tangent)
    eeg_steps, bold_steps, vectors = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    return eeg_steps, bold_steps, vectors


def test_features_are_what_their_names_say() -> None:
    eeg, bold, tangent = parts(5, 4, 3, 2, 6)
    expected = {
        "eeg_mean": eeg.astype(np.float64).mean(axis=1),
        "eeg_newest": eeg[:, 3],
        "eeg_steps": np.stack([eeg[:, s, f] for s in range(4) for f in range(3)], axis=1),
        "tangent": tangent,
        "bold_mean": bold.astype(np.float64).mean(axis=1),
        "bold_newest": bold[:, 4],
        "bold_steps": np.stack([bold[:, s, r] for s in range(5) for r in range(2)], axis=1),
    }
    assert set(expected) == set(FEATURES)
    for name, values in expected.items():
        found = features_of((name,), eeg, bold, tangent)
        assert found.dtype == np.float32
        assert np.array_equal(found, values.astype(np.float32)), name
        assert sources((name,)) == {name.partition("_")[0]}
    together = features_of(("bold_newest", "eeg_mean"), eeg, bold, tangent)
    assert np.array_equal(together, np.hstack([expected["bold_newest"], expected["eeg_mean"]]).astype(np.float32))
    assert sources(("bold_newest", "eeg_mean", "eeg_steps")) == {"eeg", "bold"}


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 9), st.integers(1, 40), st.integers(0, 5), st.integers(0, 5), st.integers(0, 6), st.integers(0, 99)
)
def test_a_window_alone_has_the_bits_that_it_has_in_a_batch(
    b: int, steps: int, eeg: int, bold: int, tangent: int, seed: int
) -> None:
    given_parts = parts(b, steps, eeg, bold, tangent, seed)
    names = tuple(FEATURES)
    batch = features_of(names, *given_parts)
    assert batch.shape == (b, sum(widths(names, (steps, eeg), (steps + 1, bold), tangent)))
    for row in range(b):
        one = features_of(names, *(part[row : row + 1] for part in given_parts))
        assert np.array_equal(one[0], batch[row])


def test_an_unknown_name_is_told_with_those_that_are_known() -> None:
    for ask in (lambda: sources(("eeg_mode",)), lambda: widths(("eeg_mode",), (1, 1), (1, 1), 0)):
        with pytest.raises(ModelError, match="feature eeg_mode of a window is not known: expected eeg_mean"):
            ask()
    with pytest.raises(ModelError, match="eeg_mode"):
        features_of(("eeg_mode",), *parts(1, 1, 1, 1, 1))
