from __future__ import annotations

import json
import math
from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.clean.eeg.heart.beat import Beat
from streamer.clean.eeg.quality.quality import Course, EegFigures, EegMonitor, Figure, QualitySettings
from streamer.summary import eeg_figures

SFREQ = 250.0
TR = 2.0
SLICE_HZ = 15.5
N_CHANNELS = 6
WHITE = 10e-6


def white(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((round(seconds * SFREQ), N_CHANNELS)) * WHITE


def tone(data: np.ndarray, hz: float, amplitude: float, channel: int) -> None:
    data[:, channel] += amplitude * np.cos(2 * np.pi * hz * np.arange(len(data)) / SFREQ)


def over_white_db(amplitude: float, window_s: float = 10.0) -> float:
    """A cosine's power over white noise in a Hann window: A²/4 (Σh)² over σ² Σh², plus the noise itself."""
    n = window_s * SFREQ
    return 10 * math.log10(1 + amplitude**2 / 4 * (n / 2) ** 2 / (WHITE**2 * 3 * n / 8))


def beats(times: np.ndarray, source: str = "ecg", confidence: float = 0.9) -> list[Beat]:
    return [Beat(t * SFREQ, math.ceil(t * SFREQ) + 25, confidence, source) for t in times.tolist()]  # type: ignore[arg-type]


def watch(
    data: np.ndarray,
    heart: list[Beat] = [],  # noqa: B006
    dirty: np.ndarray | None = None,
    cuts: list[int] | None = None,
    lost: slice = slice(0, 0),
    rhythm: list[tuple[int, float | None, float | None]] = [(0, TR, SLICE_HZ)],  # noqa: B006
    good: np.ndarray | None = None,
    **changes: float,
) -> list[EegFigures]:
    """All figures in turn; beats and rhythm are handed in with the piece that first may know of them."""
    monitor = EegMonitor(QualitySettings(**changes), SFREQ, N_CHANNELS)  # type: ignore[arg-type]
    dirty = np.zeros(len(data), bool) if dirty is None else dirty
    edges = sorted({0, len(data), *(range(0, len(data), 5) if cuts is None else cuts)})
    heart, rhythm, found = list(heart), list(rhythm), list[EegFigures]()
    for a, b in pairwise(edges):
        if lost.start <= a and b <= lost.stop:
            continue
        while rhythm and rhythm[0][0] < b:
            monitor.rhythm(*rhythm.pop(0))
        here = [beat for beat in heart if beat.known < b]
        heart = heart[len(here) :]
        monitor.beats(here)
        monitor(a, data[a:b], dirty[a:b], good)
        if monitor.figures is not None and (not found or monitor.figures is not found[-1]):
            found.append(monitor.figures)
    return found


def values(figures: EegFigures) -> list[np.ndarray]:
    out: list[np.ndarray] = []
    for field in fields(figures):
        value = getattr(figures, field.name)
        parts = [getattr(value, f.name) for f in fields(value)] if isinstance(value, Figure | Course) else [value]
        out += [np.asarray(part, float) for part in parts]
    return out


def test_clean_eeg_has_nothing_at_the_lines_nor_behind_the_beats() -> None:
    last = watch(white(240), beats(np.arange(1, 239, 0.87)))[-1]
    for figure in (last.slice_residual_db, last.pulse_residual_db, last.line_50_db, last.line_60_db):
        assert np.abs(figure.session_mean).max() < 2.0
        assert abs(figure.session_mean.mean()) < 1.0
    assert last.at == 240 * SFREQ
    assert last.heart_rate_bpm.now == pytest.approx(60 / 0.87, rel=1e-9)
    assert last.r_confidence.now == pytest.approx(0.9)


@pytest.mark.parametrize(("tr", "slice_hz"), [(2.0, 15.5), (0.8, 15.0), (3.0, 40 / 3), (0.3, 20.0)])
def test_what_is_left_of_the_gradients_is_told_in_decibels(tr: float, slice_hz: float) -> None:
    data = white(120)
    for k in (1, 2, 3, 4):
        tone(data, k * slice_hz, 2e-6, 2)
    # what a template leaves at other volume harmonics is no slice residual, and must not raise the neighbours
    for m in range(1, 140):
        tone(data, m / tr, 0.5e-6, 4)
    figure = watch(data, rhythm=[(0, tr, slice_hz)])[-1].slice_residual_db
    assert figure.session_mean[2] == pytest.approx(over_white_db(2e-6), abs=1.5)
    assert np.argmax(figure.channels) == 2
    assert figure.worst == figure.channels[2]
    assert abs(figure.median) < 2.5
    assert figure.session_mean[4] > 0.7


def test_mains_are_told_apart_by_their_frequency() -> None:
    data = white(60)
    tone(data, 50.02, 1e-6, 1)
    tone(data, 60.0, 3e-6, 3)
    last = watch(data)[-1]
    assert last.line_50_db.session_mean[1] == pytest.approx(over_white_db(1e-6), abs=1.5)
    assert last.line_60_db.session_mean[3] == pytest.approx(over_white_db(3e-6), abs=1.0)
    assert last.line_50_db.session_mean[3] < 3.0


def test_what_is_left_of_the_pulse_is_told_in_volts() -> None:
    data, times = white(120), np.arange(1, 118, 0.9)
    wave = 6e-6 * np.sin(2 * np.pi * 5 * np.arange(100) / SFREQ)
    for t in times.tolist():
        at = round(t * SFREQ) + 30
        data[at : at + 100, 5] += wave
    last = watch(data, beats(times))[-1]
    rms = math.sqrt(float(np.square(wave).sum()) / 125)
    assert last.pulse_residual_v.session_mean[5] == pytest.approx(rms, rel=0.15)
    assert last.pulse_residual_v.session_mean[:5].max() < 1e-6
    assert last.pulse_residual_db.session_mean[5] == pytest.approx(
        10 * math.log10(1 + 20 * (rms / WHITE) ** 2), abs=1.5
    )
    # beats that were only put in have no sure place: they are not averaged
    assert np.isnan(watch(data, beats(times, "predicted"))[-1].pulse_residual_v.session_mean).all()


def test_missed_beats_do_not_halve_the_rate() -> None:
    times = np.delete(np.arange(1, 59, 0.8), [5, 30, 66, 70])
    assert watch(white(60), beats(times))[-1].heart_rate_bpm.now == pytest.approx(75.0, abs=0.1)
    quiet = watch(white(60), beats(np.arange(1, 30, 0.8)))[-1]
    assert math.isnan(quiet.heart_rate_bpm.now)
    assert quiet.heart_rate_bpm.session_mean == pytest.approx(75.0, abs=0.1)


def test_dirty_or_lost_samples_say_nothing() -> None:
    data = white(40)
    dirty = np.zeros(len(data), bool)
    data[5500:5510] = 1.0
    dirty[5500:5510] = True
    after = watch(data, dirty=dirty, average=1)
    assert [f.at for f in after] == [1250 * k for k in range(1, 9)]
    assert max(f.line_50_db.worst for f in after if not math.isnan(f.line_50_db.worst)) < 10
    # the windows that end at 25 and 30 s hold the burst: the figures are those of the one before
    same = [np.array_equal(a.line_50_db.channels, b.line_50_db.channels) for a, b in pairwise(after[2:])]
    assert same == [False, True, True, False, False]
    lost = watch(data, lost=slice(5490, 5530), average=1)
    assert max(f.line_50_db.worst for f in lost if not math.isnan(f.line_50_db.worst)) < 10


def test_figures_grow_old() -> None:
    data = white(60)
    dirty = np.zeros(len(data), bool)
    dirty[5000:] = True
    last = watch(data, beats(np.arange(1, 58, 0.9)), dirty, keep_s=20.0)[-1]
    for figure in (last.slice_residual_db, last.pulse_residual_db, last.line_50_db):
        assert math.isnan(figure.median)
        assert math.isnan(figure.worst)
        assert np.isfinite(figure.session_mean).all()


def test_a_new_rhythm_counts_from_the_next_border_and_a_sharper_one_changes_nothing() -> None:
    data = white(80)
    for k in (1, 2, 3, 4):
        tone(data[10_000:], k * 20.0, 3e-6, 0)
    first = [(500, TR, SLICE_HZ), (5300, TR * (1 + 2e-5), SLICE_HZ * (1 - 2e-5))]
    found = watch(data, rhythm=[*first, (12_000, 0.8, 20.0)])
    known = [not math.isnan(f.slice_residual_db.median) for f in found]
    # known at 2 s: from the border at 5 s on, so the first window ends at 15 s; again from 50 s on
    assert known == [2 <= k < 10 or k >= 11 for k in range(16)]
    assert found[-1].slice_residual_db.channels[0] > 10
    assert all(math.isnan(f.slice_residual_db.median) for f in watch(data, rhythm=[(0, TR, None)]))


def test_bad_and_flat_channels_do_not_count() -> None:
    data = white(40)
    data[:, 3] = 0.0
    tone(data, 50.0, 100e-6, 0)
    last = watch(data, good=np.array([1, 2, 3, 4, 5]))[-1]
    assert math.isnan(last.line_50_db.channels[3])
    assert last.line_50_db.channels[0] > 30
    assert last.line_50_db.worst < 8
    assert math.isnan(last.line_50_db.session_mean[0])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 7_499), max_size=60), st.integers(0, 1000))
def test_figures_do_not_depend_on_how_the_samples_came(cuts: list[int], seed: int) -> None:
    data, heart = white(30, seed), beats(np.arange(0.2, 29, 0.83))
    dirty = np.random.default_rng(seed).random(len(data)) < 1e-4
    wanted = watch(data, heart, dirty)[-1]
    got = watch(data, heart, dirty, cuts)[-1]
    for a, b in zip(values(wanted), values(got), strict=True):
        assert np.array_equal(a, b, equal_nan=True)


def test_the_figures_go_into_the_file_by_channel_and_over_all() -> None:
    data = white(60)
    data[:, 3] = 0.0
    tone(data, 50.0, 5e-6, 1)
    names = tuple("abcdef")
    last = watch(data, beats(np.arange(1, 58, 0.9)), good=np.array([0, 1, 2, 4, 5]))[-1]
    told = eeg_figures(last, names)
    assert told is not None
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["at_sample"] == 15_000
    line = told["line_50_db"]
    assert line["session_worst_channel"] == "b"
    assert line["session_worst"] == line["channels"]["b"]["session_mean"] > 15
    assert line["worst"] == line["channels"]["b"]["now"]
    assert line["channels"]["d"] == {"now": None, "session_mean": None, "session_max": None}
    assert line["median"] == pytest.approx(last.line_50_db.median, rel=1e-5)
    assert told["heart_rate_bpm"]["now"] == pytest.approx(60 / 0.9, rel=1e-5)
    unknown = eeg_figures(watch(data[:2000])[-1], names)
    assert unknown is not None
    assert unknown["line_50_db"]["session_worst_channel"] is None
    assert unknown["slice_residual_db"]["median"] is None
    assert eeg_figures(None, names) is None
