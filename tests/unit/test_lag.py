"""The haemodynamic response as a kernel."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.align.lag import causal_mix, hrf_kernel


@pytest.mark.parametrize("step", [0.1, 0.2, 1.0])
def test_it_is_the_double_gamma(step: float):
    kernel = hrf_kernel(step, 24.0)
    assert len(kernel) == round(24.0 / step)
    assert kernel.sum() == pytest.approx(1.0)
    t = (np.arange(len(kernel)) + 0.5) * step
    expected = t**5 * np.exp(-t) / 120 - t**15 * np.exp(-t) / (6 * 1.307674368e12)
    np.testing.assert_allclose(kernel / kernel.max(), expected / expected.max(), atol=0.03 if step == 1.0 else 0.02)
    assert t[np.argmax(kernel)] == pytest.approx(5.0, abs=0.51 * step + 0.05)


def test_mixing_is_convolution_with_the_past_alone():
    rng = np.random.default_rng(0)
    kernel, history = rng.standard_normal(7), rng.standard_normal(30)
    mixed = causal_mix(kernel, 30 - 6) @ history
    np.testing.assert_allclose(mixed, np.convolve(history, kernel)[6:30], atol=1e-12)
