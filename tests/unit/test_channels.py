"""Bad channels: none found in good EEG, planted faults found in time, and the same however the samples come."""

from __future__ import annotations

from pathlib import Path

import mne
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.clean.eeg.channels.channel_statistics import StatisticsOfBlocks
from streamer.clean.eeg.channels.channels import BadChannels, ChannelFault, ChannelSettings, fault_words
from streamer.filters import SosFilter, bandpass, highpass
from streamer.simulate.faults import FaultSettings
from streamer.simulate.ledger import RunFaults
from streamer.simulate.montage import EEG_NAMES
from streamer.simulate.physiology import make_physiology
from streamer.simulate.plan import plan_runs
from streamer.simulate.settings import SimulationSettings
from streamer.simulate.subject import draw_subject

RATE = 250.0
BLOCK = 1250


class Recorded:
    """What an amplifier without gradients sees, at 250 Hz, and what was planted in it."""

    def __init__(self, seed: int, n_eeg: int, minutes: float, *, pulse: bool = True, **faults: float) -> None:
        simulation = SimulationSettings(
            seed=seed, n_channels=n_eeg + 1, n_blocks=round(minutes * 60 / 16), faults=FaultSettings(**faults)
        )
        for_subject, for_plan, _, _, _, for_run = np.random.default_rng(seed).spawn(6)
        subject = draw_subject(simulation, for_subject)
        plan = plan_runs(simulation, for_plan)[-1]
        planted = RunFaults(plan.faults, seed, 1)
        body = make_physiology(simulation, subject, plan, for_run.spawn(3)[0], planted)
        raw = body.recorded(subject)[:, :-1]
        if not pulse:
            raw -= body.heart.pulse @ subject.pulse
        self.still = np.zeros(raw.shape, np.int64)
        factor = simulation.factor
        for channel, first, stop, value in body.leads.held.tolist():
            raw[first // factor : stop // factor, channel] = value * simulation.resolution_v
            self.still[first // factor : stop // factor, channel] = 1
        self.raw = raw
        self.faults = planted.entries

    def judged(self, **of_settings: float) -> tuple[BadChannels, np.ndarray]:
        """Judge all of it; the faults after each block, shape (n_blocks, n_channels)."""
        stage = BadChannels(ChannelSettings(**of_settings), RATE, self.raw.shape[1])
        filtered = SosFilter(bandpass(1.0, 40.0, RATE))(SosFilter(highpass(0.5, RATE))(self.raw))
        rail = ChannelSettings().rail_v
        out = []
        for at in range(0, len(filtered) - len(filtered) % BLOCK, 250):
            part = slice(at, at + 250)
            clipped = (np.abs(self.raw[part]) >= rail).sum(axis=0)
            stage(at, filtered[part], clipped, dirty=at < 250, still=self.still[part].sum(axis=0))
            if (at + 250) % BLOCK == 0:
                out.append(stage.faults.copy())
        return stage, np.array(out)


@pytest.mark.parametrize(("seed", "n_eeg"), [(1, 31), (2, 63), (3, 31), (4, 63), (5, 31), (6, 63)])
def test_ten_minutes_of_good_eeg_have_no_bad_channel(seed: int, n_eeg: int) -> None:
    stage, faults = Recorded(seed, n_eeg, 10.0, pulse=seed < 4).judged()
    assert len(faults) >= 120
    assert not faults.any()
    assert stage.shares(EEG_NAMES) == {}


@pytest.mark.parametrize(("seed", "n_eeg"), [(1, 31), (2, 63)])
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"noisy_channels": 3}, ChannelFault.NOISY | ChannelFault.LOUD),
        ({"flat_channels": 2}, ChannelFault.FLAT),
        ({"clipping_per_min": 3.0}, ChannelFault.RAILED | ChannelFault.POPPING),
        ({"pop_per_min": 3.0}, ChannelFault.POPPING | ChannelFault.UNCORRELATED),
    ],
)
def test_planted_faults_are_found_within_two_blocks_with_their_reason(
    fault: dict[str, float], says: ChannelFault, seed: int, n_eeg: int
) -> None:
    recorded = Recorded(seed, n_eeg, 4.0, **fault)
    _, faults = recorded.judged()
    truth = np.zeros(faults.shape, dtype=bool)
    found = []
    for entry in recorded.faults:
        first, channel = int(entry["from_s"] // 5), EEG_NAMES.index(entry["channel"])
        # the last block of the fault, one more for the filters, and two of probation
        truth[first : int(entry["to_s"] // 5) + 4, channel] = True
        if first + 2 <= len(faults):
            found.append(bool((faults[first : first + 2, channel] & int(says)).any()))
    assert len(found) >= 2
    # the smallest pops do not reach over the EEG
    assert found.count(False) <= (len(found) // 20 if "pop_per_min" in fault else 0)
    # a blink beside a channel that is at the rail is shared by no other for once
    assert (faults[~truth] > 0).mean() <= 2e-3


def test_a_channel_at_the_rail_for_a_minute_is_railed_and_comes_back() -> None:
    recorded = Recorded(3, 31, 2.5)
    recorded.raw[30 * 250 : 90 * 250, 7] = 0.0164
    recorded.still[30 * 250 : 90 * 250, 7] = 1
    stage, faults = recorded.judged()
    railed = faults[:, 7] & int(ChannelFault.RAILED) > 0
    assert railed[6:18].all()
    assert not (faults[6:18, 7] & int(ChannelFault.FLAT)).any()
    # it swings back in one block and needs two good ones more
    assert faults[18:20, 7].all()
    assert not faults[21:, 7].any()
    assert not np.delete(faults, 7, axis=1).any()
    assert stage.mask.all()
    shares = stage.shares(EEG_NAMES)
    assert list(shares) == [EEG_NAMES[7]]
    assert shares[EEG_NAMES[7]]["railed"] == round(12 / len(faults), 4)
    assert shares[EEG_NAMES[7]]["bad"] == round(int((faults[:, 7] > 0).sum()) / len(faults), 4)


def test_real_eeg_has_no_bad_channel(shared_data: Path) -> None:
    raw = mne.io.read_raw_eeglab(shared_data / "eeg" / "eeglab-sample" / "eeglab_data.set", verbose="error")
    raw.drop_channels(["EOG1", "EOG2"])
    sfreq = raw.info["sfreq"]
    filtered = SosFilter(bandpass(1.0, 40.0, sfreq))(raw.get_data().T)
    stage = BadChannels(ChannelSettings(), sfreq, len(raw.ch_names))
    for at in range(0, len(filtered) - stage.block, 64):
        stage(at, filtered[at : at + 64], None, dirty=at < 256)
    assert stage.shares(raw.ch_names) == {}


def correlated(n: int, n_channels: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 10e-6 * (rng.standard_normal((n, 3)) @ rng.standard_normal((3, n_channels))) + 2e-6 * rng.standard_normal(
        (n, n_channels)
    )


def fed(stage: BadChannels, data: np.ndarray, first: int = 0, *, dirty: bool = False) -> BadChannels:
    for at in range(0, len(data), stage.block):
        stage(first + at, data[at : at + stage.block], None, dirty=dirty)
    return stage


def test_reasons_name_what_is_wrong() -> None:
    data = correlated(400, 30)
    rng = np.random.default_rng(1)
    data[:, 3] = 0.0
    data[:, 5] *= 100
    data[:, 11] = np.cumsum(rng.standard_normal(400)) * 1e-6
    names = [f"E{i}" for i in range(30)]
    stage = fed(BadChannels(ChannelSettings(block_s=4.0), 100.0, 30), data)
    reasons = stage.reasons(names)
    assert list(reasons) == ["E3", "E5", "E11"]
    assert reasons["E3"] == ("flat",)
    assert "loud" in reasons["E5"]
    assert reasons["E11"] == ("uncorrelated",)
    assert set(stage.shares(names)["E11"]) == {"bad", "uncorrelated"}
    np.testing.assert_array_equal(np.flatnonzero(~stage.mask), [3, 5, 11])
    assert fault_words(int(ChannelFault.FLAT | ChannelFault.NOISY)) == ("flat", "noisy")


def test_a_bad_channel_needs_good_blocks_and_dirty_ones_do_not_count() -> None:
    settings = ChannelSettings(block_s=1.0, good_s=3.0)
    good, bad = correlated(100, 30), correlated(100, 30)
    bad[:, 4] *= 200
    stage = BadChannels(settings, 100.0, 30)
    fed(stage, bad, dirty=True)
    assert not stage.bad.any()
    fed(stage, bad, 100)
    seen = []
    for k, dirty in enumerate([False, True, False, True, True, False, False]):
        seen.append(bool(stage.bad[4]))
        assert not stage.bad[4] or stage.faults[4]
        fed(stage, good, 200 + 100 * k, dirty=dirty)
    assert seen == [True, True, True, True, True, True, False]
    assert not stage.faults.any()


def test_a_dead_channel_is_found_under_an_artefact_that_was_subtracted_from_it() -> None:
    settings = ChannelSettings(block_s=1.0)
    data = correlated(100, 8)
    stage = BadChannels(settings, 100.0, 8)
    still = np.zeros(8, np.int64)
    still[2] = 30
    stage(0, data[:50], None, dirty=True, still=still)
    stage(50, data[50:], None, dirty=True, still=still)
    assert stage.reasons([f"E{i}" for i in range(8)]) == {"E2": ("flat",)}


@pytest.mark.parametrize("n_channels", [8, 40])
def test_channels_that_have_nothing_in_common_at_all_are_not_bad(n_channels: int) -> None:
    data = 1e-5 * np.random.default_rng(0).standard_normal((1000, n_channels))
    stage = fed(BadChannels(ChannelSettings(block_s=5.0), 100.0, n_channels), data)
    assert not stage.bad.any()


def test_all_channels_may_be_flat() -> None:
    stage = fed(BadChannels(ChannelSettings(block_s=1.0), 100.0, 4), np.zeros((200, 4)))
    assert stage.bad.all()


# 20 and 40: the next sample that comes has the missing one's place in a later block
@pytest.mark.parametrize(("jump", "first_judged"), [(7, 20), (20, 40), (27, 40), (40, 60)])
def test_a_block_with_a_hole_is_not_judged(jump: int, first_judged: int) -> None:
    stage = BadChannels(ChannelSettings(block_s=1.0), 20.0, 3)
    quiet = np.zeros((80, 3))
    stage(0, quiet[:10], None, dirty=False)
    at = 10 + jump
    while at < 80:
        end = at - at % 20 + 20
        stage(at, quiet[at:end], None, dirty=False)
        assert stage.bad.all() == (end >= first_judged + 20)
        at = end


N = 26
SMALL = ChannelSettings(block_s=2.0, good_s=4.0, correlated_from=5)


@st.composite
def splits(draw: st.DrawFn) -> list[int]:
    """Ends of calls over 4 blocks of 100, none over the end of a block."""
    inner = draw(st.sets(st.integers(1, 399), max_size=60))
    return sorted(inner | {100, 200, 300, 400})


def trace(data: np.ndarray, ends: list[int]) -> list[tuple[bytes, bytes]]:
    stage = BadChannels(SMALL, 50.0, data.shape[1])
    out, at = [], 0
    for end in ends:
        stage(at, data[at:end], None, dirty=False)
        at = end
        if at % 100 == 0:
            out.append((stage.bad.tobytes(), stage.faults.tobytes()))
    return out


@settings(max_examples=60, deadline=None)
@given(splits(), st.integers(0, 5))
def test_how_the_samples_come_does_not_matter(ends: list[int], seed: int) -> None:
    data = correlated(400, N, seed)
    data[120:180, 3] *= 20
    data[:, 6] = 0
    whole, pieces = StatisticsOfBlocks(100, 2, 5, N), StatisticsOfBlocks(100, 2, 5, N)
    at = 0
    for end in [e for e in ends if e <= 100]:
        pieces.take(data[at:end])
        at = end
    whole.take(data[:100])
    for name in ("sd", "level", "noise", "correlation", "own"):
        np.testing.assert_array_equal(getattr(pieces.result(), name), getattr(whole.result(), name))
    assert trace(data, ends) == trace(data, [100, 200, 300, 400])


def test_the_statistics_are_those_of_the_whole_block() -> None:
    data = correlated(107, 6) + 5e-6
    statistics = StatisticsOfBlocks(107, 3, 7, 6)
    for part in np.array_split(data, 9):
        statistics.take(part)
    got = statistics.result()
    np.testing.assert_allclose(got.sd, data.std(axis=0), rtol=1e-9)
    expected = np.corrcoef(data.T)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(got.correlation, expected, atol=1e-9)
