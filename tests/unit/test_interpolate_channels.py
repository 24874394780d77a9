"""Interpolation for display: the same as MNE's, and places of electrodes."""

from __future__ import annotations

import mne
import numpy as np
import pytest

from streamer.clean.eeg.channels.interpolate_channels import ChannelInterpolation, spline_matrix
from streamer.formats.montage import electrode_position, electrode_positions
from streamer.simulate.brain import brain_signals
from streamer.simulate.montage import EEG_NAMES
from streamer.simulate.settings import SimulationSettings
from streamer.simulate.subject import draw_subject


def brain(n_eeg: int, n_times: int = 5000) -> np.ndarray:
    """EEG of the brain alone, V, at 250 Hz."""
    rng = np.random.default_rng(3)
    subject = draw_subject(SimulationSettings(n_channels=n_eeg + 1), rng)
    return brain_signals(subject, np.zeros(n_times), 250.0, rng).eeg


@pytest.mark.parametrize("montage", ["ours", "of a real head"])
@pytest.mark.parametrize("bads", [("Cz", "P7", "O1", "CP1"), ("F3", "T8", "Pz", "Fz")])
def test_interpolated_channels_are_those_of_mne(bads: tuple[str, ...], montage: str) -> None:
    names = list(EEG_NAMES[:63])
    places, eeg = electrode_positions(names), brain(63)
    raw = mne.io.RawArray(eeg.T, mne.create_info(names, 250.0, "eeg"), verbose="error")
    if montage == "ours":
        on_head = {name: 0.095 * place for name, place in zip(names, places, strict=True)}
        raw.set_montage(mne.channels.make_dig_montage(on_head, coord_frame="head"))
    else:
        # its name in newer MNE, and in older
        known = mne.channels.get_builtin_montages()
        raw.set_montage("colin27_1005" if "colin27_1005" in known else "standard_1005")
    raw.info["bads"] = list(bads)
    origin = (0.0, 0.0, 0.0) if montage == "ours" else "auto"
    expected = raw.interpolate_bads(origin=origin, verbose="error").get_data().T
    bad = np.isin(names, bads)
    spoiled = eeg.astype(np.float32)
    spoiled[:, bad] = 1.0
    stage = ChannelInterpolation(places)
    got = stage(spoiled, bad)
    for i in np.flatnonzero(bad):
        assert np.corrcoef(got[:, i], expected[:, i])[0, 1] > 0.99
        assert np.corrcoef(got[:, i], eeg[:, i])[0, 1] > 0.85
    if montage == "ours":
        np.testing.assert_allclose(got[:, bad], expected[:, bad], atol=1e-6 * np.abs(eeg).max())
    np.testing.assert_array_equal(got[:, ~bad], spoiled[:, ~bad])
    np.testing.assert_array_equal(stage.filled, np.flatnonzero(bad))
    assert (spoiled[:, bad] == 1.0).all()


def test_what_all_electrodes_share_stays() -> None:
    places = electrode_positions(EEG_NAMES[:31])
    matrix = spline_matrix(places[1:], places[:1])
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-9)
    # radii do not count
    np.testing.assert_allclose(spline_matrix(0.09 * places[1:], 0.1 * places[:1]), matrix, atol=1e-12)


def test_channels_without_a_place_are_neither_filled_in_nor_used() -> None:
    names = [*EEG_NAMES[:30], "Nose"]
    data = brain(31).astype(np.float32)
    data[:, 30] = 1e3
    bad = np.zeros(31, dtype=bool)
    bad[[2, 30]] = True
    stage = ChannelInterpolation(electrode_positions(names))
    got = stage(data, bad)
    assert np.abs(got[:, :30]).max() < 1e-3
    np.testing.assert_array_equal(got[:, 30], data[:, 30])
    bad[30] = False
    np.testing.assert_array_equal(stage(data, bad)[:, 2], got[:, 2])


def test_with_nothing_to_fill_in_the_data_is_given_back() -> None:
    data = brain(31, 250).astype(np.float32)
    stage = ChannelInterpolation(electrode_positions(EEG_NAMES[:31]))
    assert stage(data, np.zeros(31, dtype=bool)) is data
    few = np.ones(31, dtype=bool)
    few[:3] = False
    assert stage(data, few) is data
    assert len(stage.filled) == 0
    assert ChannelInterpolation(electrode_positions(["A", "B"]))(data[:, :2], np.array([True, False])) is not None
    few[3] = False
    assert stage(data, few) is not data


def test_places_of_electrodes() -> None:
    np.testing.assert_allclose(electrode_position("Cz"), [0, 0, 1], atol=1e-15)
    np.testing.assert_allclose(electrode_position("Nz"), [0, 1, 0], atol=1e-15)
    left, right = electrode_position("P7"), electrode_position("P8")
    np.testing.assert_allclose(left * [-1, 1, 1], right, atol=1e-12)
    assert left[0] < 0
    assert left[1] < 0
    np.testing.assert_array_equal(electrode_position(" t5"), left)
    np.testing.assert_allclose(np.linalg.norm(electrode_positions(EEG_NAMES), axis=1), 1.0)
    assert electrode_position("TP9")[2] < electrode_position("TP7")[2]
    # 10 % of the arc from ear to ear are 18°: the ring lies 40 % from the vertex
    np.testing.assert_allclose(electrode_position("T8")[2], np.cos(np.deg2rad(72)), atol=1e-12)
    np.testing.assert_allclose(electrode_position("Oz"), electrode_position("Fpz") * [1, -1, 1], atol=1e-12)
    np.testing.assert_allclose(electrode_position("C3") @ electrode_position("Cz"), np.cos(np.deg2rad(36)), atol=1e-12)


@pytest.mark.parametrize("name", ["ECG", "", "E1", "O9", "Fp3", "C11", "z", "Cz1"])
def test_other_names_have_no_place(name: str) -> None:
    with pytest.raises(ValueError, match="10-10"):
        electrode_position(name)
    assert np.isnan(electrode_positions([name, "Cz"])[0]).all()
