"""What the bench's measures say of signals whose answer is known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from streamer.bench.eeg_beats import Score
from streamer.bench.eeg_gradient import changed, session, told_poses
from streamer.bench.eeg_rows import Rows
from streamer.bench.eeg_run import band_change, chunks, decibels, harmonics, lane_settings, rms, through
from streamer.bench.eeg_truth import plant
from streamer.bench.figures import Figure
from streamer.messages import Flag

SFREQ = 250.0


@pytest.fixture(scope="module")
def planted():
    return plant(session("TR 2 s", 3, n_channels=11, block_s=4.0, n_blocks=3))


def noise(seconds=40, channels=3, seed=0):
    return np.random.default_rng(seed).standard_normal((round(seconds * SFREQ), channels)).astype(np.float32)


@pytest.mark.parametrize(
    ("value", "better", "met", "limit"),
    [
        (1.0, "less", True, "≤ 1"),
        (1.1, "less", False, "≤ 1"),
        (0.9, "more", False, "≥ 1"),
        (-0.9, "near", True, "± 1"),
        (-1.1, "near", False, "± 1"),
    ],
)
def test_a_figure_says_whether_its_bar_is_reached(value, better, met, limit):
    figure = Figure("x", value, "dB", 1.0, better)
    assert (figure.met, figure.limit) == (met, limit)
    assert figure.plain()["met"] is met


def test_a_figure_without_value_is_null_and_not_reached():
    plain = Figure("x", float("nan"), "s", 3.0, peer="others: 18", note="why").plain()
    assert json.loads(json.dumps(plain)) == {
        "name": "x", "value": None, "unit": "s", "bar": 3.0, "better": "less", "met": False, "peer": "others: 18",
        "note": "why",
    }  # fmt: skip


def test_seeds_become_one_row_in_the_order_of_their_first():
    rows = Rows()
    for seed in (1.0, 3.0):
        rows.add(Figure("b", seed, "", 2.0, note="N 25"))
        rows.add(Figure("a", 10 * seed, ""))
    b, a = rows.figures()
    assert (b.name, b.value, b.met, b.note) == ("b", 2.0, True, "N 25; 2 seeds: 1 to 3")
    assert (a.name, a.value) == ("a", 20.0)


def test_a_change_of_power_is_seen_in_its_band_alone():
    true = noise()
    t = np.arange(len(true)) / SFREQ
    wave = np.float32(3.0) * np.sin(2 * np.pi * 10.0 * t)[:, None].astype(np.float32)
    assert band_change(2 * true, true, SFREQ, 8, 13) == pytest.approx(decibels(4.0))
    assert band_change(true + wave, true, SFREQ, 8, 13) > 10
    assert band_change(true + wave, true, SFREQ, 20, 30) == pytest.approx(0, abs=0.01)


def test_samples_that_did_not_come_out_do_not_count():
    true = noise()
    held = true.copy()
    held[-500:] = np.nan
    assert band_change(held, true, SFREQ, 8, 13) == pytest.approx(0)
    assert rms(held) == pytest.approx(rms(true[:-500]))


def test_harmonics_are_looked_at_one_by_one():
    true = noise(60)
    t = np.arange(len(true)) / SFREQ
    third = np.float32(2.0) * np.cos(2 * np.pi * 48.0 * t)[:, None].astype(np.float32)
    found = harmonics(true + third, true, SFREQ, 16.0, 24.0)
    assert len(found) == 4
    assert found[2] > 10
    np.testing.assert_allclose(np.delete(found, 2), 0, atol=0.01)


def test_chunks_are_whole_but_for_what_is_lost():
    a, b = noise(1), noise(1, seed=1)
    pieces = chunks([a, b], 20, SFREQ, lost=(47, 63))
    index = np.concatenate([piece.first_sample + np.arange(len(piece.data)) for piece in pieces])
    np.testing.assert_array_equal(index, np.delete(np.arange(len(a)), slice(47, 63)))
    np.testing.assert_array_equal(np.concatenate([piece.data for piece in pieces]), (a + b)[index])
    assert [piece.first_sample for piece in pieces if piece.flags & Flag.GAP] == [63]


def test_moved_volumes_begin_off_their_triggers(planted):
    shifts = np.linspace(-1e-4, 1e-4, len(planted.triggers))
    moved = planted.moved(shifts)
    np.testing.assert_allclose((moved.starts[:-1] - planted.triggers) / planted.sfreq, shifts, atol=1e-12)
    assert rms(moved.gradient - planted.gradient) > 0.01 * rms(planted.gradient)
    still = planted.moved(np.zeros(len(shifts)))
    np.testing.assert_array_equal(still.gradient, planted.gradient)


def test_scaled_volumes_keep_to_their_own_samples(planted):
    gains = np.arange(1.0, 1.0 + len(planted.triggers))
    scaled = planted.scaled(gains)
    k = 2
    at = slice(int(planted.starts[k]), int(planted.starts[k + 1]))
    np.testing.assert_allclose(scaled.gradient[at], 3 * planted.gradient[at], rtol=1e-6)


def test_references_see_the_pulse_and_nothing_else(planted):
    seen = planted.with_references(3)
    assert [c.kind for c in seen.channels[-4:]] == ["ecg", "ref", "ref", "ref"]
    assert not seen.eeg[:, -3:].any()
    assert not seen.gradient[:, -3:].any()
    basis = planted.pulse[:, :2].astype(np.float64)
    left = seen.pulse[:, -1] - basis @ np.linalg.lstsq(basis, seen.pulse[:, -1].astype(np.float64), rcond=None)[0]
    assert 0.05 < rms(left) / rms(seen.pulse[:, -1]) < 0.2


def test_poses_are_told_when_the_scanner_has_exported_them(planted):
    poses = told_poses(planted)
    assert [volume for _, volume, _ in poses] == planted.triggers.tolist()
    assert {told - volume for told, volume, _ in poses} == {15_000}


def test_one_clock_for_the_scanner_leaves_the_eeg_as_it_is(planted):
    other = plant(changed(planted.settings, faults={"clock_ppm": 50.0}))
    n = min(len(other.eeg), len(planted.eeg))
    np.testing.assert_array_equal(other.eeg[:n], planted.eeg[:n])
    assert np.diff(other.starts) == pytest.approx(10_000.5)


def test_the_lane_without_correction_passes_the_eeg(planted):
    off = lane_settings(gradient=False)
    out = through([planted.eeg], [], off, planted.channels, planted.sfreq)
    assert out.data.shape == (len(planted.eeg) // 20, 10)
    assert np.isfinite(out.data).all()
    both = through([planted.eeg, planted.gradient], [], off, planted.channels, planted.sfreq)
    alone = through([planted.gradient], [], off, planted.channels, planted.sfreq)
    np.testing.assert_allclose(both.data, out.data + alone.data, atol=2e-9)


def test_beats_are_paired_once_and_the_rest_counted():
    true = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    found = np.array([1.01, 2.0, 2.02, 3.03, 4.3, 4.99])
    score = Score.of(true, found, found + 0.1, 0.5, 6.0)
    assert (score.missed, score.extra, score.count) == (2, 3, 5)
    assert score.f1 == pytest.approx(2 * 3 / (2 * 3 + 5))
    np.testing.assert_allclose(score.errors, [0.01, 0.0, -0.01])
    np.testing.assert_allclose(score.delays, [0.11, 0.1, 0.09])


def test_no_beat_at_all_is_a_score_of_nothing():
    score = Score.of(np.array([1.0, 2.0]), np.empty(0), np.empty(0), 0.0, 3.0)
    assert (score.f1, score.missed) == (0.0, 2)
    assert np.isnan(score.errors).all()
