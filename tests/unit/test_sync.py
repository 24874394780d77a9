from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.clean.eeg.gradient.sync import SyncWatch
from streamer.formats.brainvision_header import read_header, read_markers
from streamer.formats.tables import read_markers_table

SFREQ = 5000.0


def marked(n: int, first: int = 1234, step: int = 10_000) -> SyncWatch:
    watch = SyncWatch(SFREQ)
    for k in range(n):
        watch.marker("Sync On", first + k * step)
    return watch


def test_a_real_recording_with_a_sync_box_is_synced_to_its_end_and_lost_after(shared_data: Path) -> None:
    folder = shared_data / "eeg" / "eeg-rest-fmri" / "sub-32" / "eeg"
    markers = read_markers(folder / "sub-32_task-rest_eeg.vmrk").markers
    watch = SyncWatch(read_header(folder / "sub-32_task-rest_eeg.vhdr").sfreq)
    seen: list[str] = []
    for marker in markers:
        seen.append(watch.status(marker.sample).clock)
        watch.marker(marker.label, marker.sample)
    assert len(markers) == 399
    assert seen[:4] == ["unknown"] * 4
    assert set(seen[4:]) == {"synced"}
    last = markers[-1].sample
    assert watch.status(last + 20_000).clock == "synced"
    assert watch.status(last + 20_001).clock == "lost"
    assert "4 s" in watch.status(last + 20_001).sentence


def test_real_volume_marks_at_250_hz_agree_with_the_lock(shared_data: Path) -> None:
    folder = shared_data / "eeg" / "eeg-rest-fmri" / "derivatives" / "sub-32" / "eeg"
    watch = SyncWatch(250.0)
    for marker in read_markers(folder / "sub-32_task-rest_eeg.vmrk").markers:
        watch.marker(marker.label, marker.sample)
        if marker.label == "Scan Start":
            watch.trigger(marker.sample)
            assert watch.status(marker.sample).clock == ("synced" if marker.sample > 1369 else "unknown")


def test_one_report_in_a_real_file_is_no_lock_yet(shared_data: Path) -> None:
    folder = shared_data / "eeg" / "brainvision"
    watch = SyncWatch(read_header(folder / "test.vhdr").sfreq)
    for marker in read_markers(folder / "test.vmrk").markers:
        watch.marker(marker.label, marker.sample)
    assert watch.status(7900).clock == "unknown"
    assert watch.status(7629 + 4001).clock == "lost"


def test_real_triggers_without_a_report_contradict_nothing(shared_data: Path) -> None:
    table = shared_data / "eeg" / "facetpy-triggers" / "sub-xp101_task-eegfmriNF_events.tsv"
    watch = SyncWatch(SFREQ)
    samples = [e.sample for e in read_markers_table(table).events if e.label == "Response/R128"]
    assert len(samples) == 210
    for sample in samples:
        assert sample is not None
        watch.trigger(sample)
        assert watch.status(sample).clock == "unknown"


@pytest.mark.parametrize(
    ("drift", "jitter", "clock"),
    [
        (None, None, "synced"),
        (0.4, 4e-6, "synced"),
        (-0.6, None, "free"),
        (0.0, 6e-6, "free"),
    ],
)
def test_what_the_artefact_shows_weighs_more_than_the_report(
    drift: float | None, jitter: float | None, clock: str
) -> None:
    watch = marked(10)
    watch.artefact(drift, jitter)
    assert watch.status(91_234).clock == clock


def test_a_lost_lock_must_come_back_regular() -> None:
    watch = marked(5)
    assert watch.status(41_234 + 20_001).clock == "lost"
    watch.marker("Sync On", 71_500)
    assert watch.status(71_500).clock == "lost"
    watch.marker("Sync On", 81_500)
    watch.marker("Sync On", 91_500)
    assert watch.status(91_500).clock == "synced"


def test_the_amplifiers_own_word_that_it_lost_the_clock_counts_at_once() -> None:
    watch = marked(5)
    watch.marker("SyncStatus/Sync Off", 42_000)
    assert watch.status(42_001).clock == "lost"
    for sample in (43_000, 53_000):
        watch.marker("Sync On", sample)
        assert watch.status(sample).clock == "lost"
    watch.marker("Sync On", 63_000)
    assert watch.status(63_000).clock == "synced"


def test_other_markers_say_nothing() -> None:
    watch = SyncWatch(SFREQ)
    for label in ("R128", "Async one", "sync", ""):
        watch.marker(label, 5)
    assert watch.status(10**6).clock == "unknown"


def test_triggers_that_wander_are_free_and_those_that_are_lost_or_doubled_are_not() -> None:
    rng = np.random.default_rng(1)
    regular, wandering = SyncWatch(SFREQ), SyncWatch(SFREQ)
    for k in range(40):
        at = round(k * 6172.4)
        wandering.trigger(at + int(rng.integers(-6, 7)))
        if k % 7:
            regular.trigger(at)
            regular.trigger(at + 3)
            regular.trigger(at + 900)
    assert regular.status(250_000).clock == "unknown"
    assert wandering.status(250_000).clock == "free"
    assert "volume triggers" in wandering.status(250_000).sentence


def test_a_scanner_that_pauses_and_starts_again_is_not_free() -> None:
    watch = SyncWatch(SFREQ)
    for start in (0, 333_333, 777_777):
        for k in range(20):
            watch.trigger(start + 10_000 * k)
            assert watch.status(start + 10_000 * k).clock == "unknown"


@given(st.lists(st.tuples(st.sampled_from(["Sync On", "Sync Off", "trigger"]), st.integers(-100, 10**6)), max_size=60))
def test_any_order_of_anything_gives_a_state_and_a_sentence(events: list[tuple[str, int]]) -> None:
    watch = SyncWatch(SFREQ)
    for label, sample in events:
        if label == "trigger":
            watch.trigger(sample)
        else:
            watch.marker(label, sample)
        status = watch.status(sample)
        assert status.clock in {"synced", "lost", "unknown", "free"}
        assert status.sentence
