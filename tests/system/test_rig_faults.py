"""A room with faults against the real sources: what arrives agrees with the ledger."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamer.acquire.lsl import EegStreamSettings, LslEegSource, LslMarkerSource, MarkerStreamSettings
from streamer.acquire.rda import RdaSettings, RdaSource
from streamer.acquire.recordings import open_recording
from streamer.acquire.scanner_export import ExportDirectory, ExportSettings, FileProblem
from streamer.child import Child, child
from streamer.clock import LiveClock, stopwatch
from streamer.formats.brainvision import FileMarker, write_brainvision
from streamer.formats.nifti import write_nifti
from streamer.messages import ChannelInfo, EegChunk, Marker, SourceState, Volume

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

SFREQ = 500.0
N_SAMPLES = 6000
N_VOLUMES = 20
TR = 0.5
TOML = """schema = 1
kind = "recording"
[eeg]
file = "eeg.vhdr"
[bold]
file = "bold.nii.gz"
"""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 s of EEG whose samples say their own number in µV, and 20 volumes whose first voxel says theirs."""
    folder = tmp_path_factory.mktemp("room") / "recording"
    folder.mkdir()
    number = np.arange(N_SAMPLES, dtype=np.int16)[:, None]
    markers = [FileMarker("Response", "R128", 500 + 250 * k) for k in range(N_VOLUMES)]
    markers += [FileMarker("Stimulus", f"S{k:3d}", 30 + 110 * k) for k in range(50)]
    markers.sort(key=lambda marker: marker.sample)
    channels = [ChannelInfo("Cz", "eeg"), ChannelInfo("Pz", "eeg")]
    write_brainvision(folder / "eeg.vhdr", SFREQ, channels, [np.hstack([number, number])], markers, 1e-6)
    data = np.random.default_rng(1).integers(100, 3000, (16, 16, 6, N_VOLUMES)).astype(np.int16)
    data[-1, 0, 0] = 10 * np.arange(N_VOLUMES)
    write_nifti(folder / "bold.nii.gz", data, np.diag([3.0, 3.0, 4.0, 1.0]), TR)
    (folder / "recording.toml").write_text(TOML)
    return folder


class Heard:
    """What came through both streams."""

    def __init__(self) -> None:
        self.chunks: list[EegChunk] = []
        self.markers: list[Marker] = []
        self.states: list[str] = []

    @property
    def samples(self) -> list[int]:
        return [round(v * 1e6) for chunk in self.chunks for v in chunk.data[:, 0].tolist()]

    @property
    def stamps(self) -> list[float]:
        return [t for chunk in self.chunks for t in chunk.times_raw.tolist()]


async def listen(name: str, until: Callable[[], Awaitable[Any]]) -> Heard:
    heard = Heard()
    eeg = LslEegSource(EegStreamSettings(name=name, resolve_s=0.5), LiveClock())
    markers = LslMarkerSource(MarkerStreamSettings(name=f"{name}-markers", resolve_s=0.5), LiveClock())
    await asyncio.gather(eeg.open(), markers.open())

    async def take() -> None:
        async for event in eeg:
            if isinstance(event, EegChunk):
                heard.chunks.append(event)
            elif isinstance(event, SourceState):
                heard.states.append(event.state)

    async def take_markers() -> None:
        heard.markers.extend([event async for event in markers if isinstance(event, Marker)])

    takers = [asyncio.create_task(take()), asyncio.create_task(take_markers())]
    try:
        await until()
        await asyncio.sleep(0.5)
    finally:
        await asyncio.gather(eeg.close(), markers.close())
        await asyncio.gather(*takers)
    return heard


async def play_eeg(recording: Path, faults: str, *arguments: str) -> tuple[Heard, list[dict[str, Any]], dict[str, Any]]:
    name = f"rig-{uuid.uuid4().hex[:8]}"
    done: dict[str, Any] = {}
    with child("rig", str(recording), "--stream-name", name, "--faults", faults, "--json", *arguments) as rig:
        rig.wait_for(lambda m: m["state"] == "ready", 30)

        async def until() -> None:
            done.update(await asyncio.to_thread(rig.wait_for, lambda m: m["state"] == "done", 60))

        heard = await listen(name, until)
        assert rig.process.wait(20) == 0, rig.text()
    return heard, done["faults"], done


def expected_samples(ledger: list[dict[str, Any]]) -> np.ndarray:
    """How often each sample is sent by the ledger."""
    times = np.ones(N_SAMPLES, int)
    for entry in ledger:
        if "samples" in entry and entry["fault"] in {"lost_chunk", "silent_s", "outlet_gone_s", "unheard"}:
            times[slice(*entry["samples"])] -= 1
        elif entry["fault"] == "doubled_chunk":
            times[slice(*entry["samples"])] += 1
    return times


def expected_markers(recording: Path, ledger: list[dict[str, Any]]) -> Counter[str]:
    eeg = open_recording(recording).eeg
    assert eeg is not None
    labels = Counter(marker.label for marker in eeg.markers)
    for entry in ledger:
        if entry["fault"] in {"missing_marker", "outlet_gone_s", "unheard", "swallowed"}:
            if "marker" in entry or entry.get("detail"):
                labels[eeg.markers[entry["marker"]].label if "marker" in entry else entry["detail"]] -= 1
        elif entry["fault"] == "doubled_marker":
            labels[eeg.markers[entry["marker"]].label] += 1
        elif entry["fault"] == "extra_marker":
            labels[entry["detail"]] += 1
    return +labels


async def test_lost_and_doubled_chunks_and_markers(recording: Path, tmp_path: Path):
    path = tmp_path / "ledger.json"
    faults = (
        "lost_chunk=0.05,doubled_chunk=0.05,jitter_ms=5,spike=0.01,"
        "missing_marker=0.2,doubled_marker=0.2,extra_marker=0.2,late_marker=0.1"
    )
    heard, ledger, done = await play_eeg(recording, faults, "--speed", "2", "--seed", "3", "--ledger", str(path))
    wanted = {"lost_chunk", "doubled_chunk", "jitter_ms", "spike", "missing_marker", "doubled_marker", "extra_marker"}
    assert {entry["fault"] for entry in ledger} >= wanted
    np.testing.assert_array_equal(np.bincount(heard.samples, minlength=N_SAMPLES), expected_samples(ledger))
    assert done["samples"] == len(heard.samples) == expected_samples(ledger).sum()
    samples, stamps = np.array(heard.samples), np.array(heard.stamps)
    np.testing.assert_allclose(stamps - stamps[0], (samples - samples[0]) / SFREQ, rtol=0, atol=1e-9)
    assert Counter(m.label for m in heard.markers) == expected_markers(recording, ledger)
    written = json.loads(path.read_text())
    assert written["injected"] == ledger
    assert written["faults"]["lost_chunk"] == 0.05


async def test_streams_that_go_away_and_come_back(recording: Path):
    heard, ledger, _ = await play_eeg(recording, "outlet_gone_s=1.5@3,silent_s=1.5@8")
    np.testing.assert_array_equal(np.bincount(heard.samples, minlength=N_SAMPLES), expected_samples(ledger))
    assert Counter(m.label for m in heard.markers) == expected_markers(recording, ledger)
    assert heard.states == ["found", "lost", "back", "lost", "back"]
    windows = {entry["fault"]: entry for entry in ledger if "value" in entry}
    assert windows["outlet_gone_s"]["at_s"] == 3.0
    assert windows["silent_s"]["at_s"] == 8.0


async def test_a_senders_clock_that_is_wrong(recording: Path):
    faults = "clock_offset_s=100,drift_ppm=1000,clock_step_s=-3600@6"
    heard, ledger, _ = await play_eeg(recording, faults, "--speed", "2")
    assert heard.samples == list(range(N_SAMPLES))
    step = next(entry["at_s"] for entry in ledger if entry["fault"] == "clock_step_s")
    taken = np.arange(N_SAMPLES) / SFREQ
    wrong = np.array(heard.stamps) - taken - 1e-3 * taken + np.where(taken >= step - 1e-6, 3600.0, 0.0)
    np.testing.assert_allclose(wrong, wrong[0], rtol=0, atol=1e-6)
    # markers are stamped by the same clock: each still has the stamp of its sample, to the last bit
    sample_of = {stamp: sample for sample, stamp in enumerate(heard.stamps)}
    eeg = open_recording(recording).eeg
    assert eeg is not None
    assert sorted((sample_of[m.at_raw], m.label) for m in heard.markers) == sorted(
        (m.sample, m.label) for m in eeg.markers
    )
    # a constant shows as an age that cannot be: all is stamped far ahead of when it came
    assert all(chunk.times[-1] - chunk.received > 90 for chunk in heard.chunks if chunk.first_sample < 2900)


async def play_rda(recording: Path, faults: str) -> tuple[Heard, list[dict[str, Any]], dict[str, Any]]:
    heard = Heard()
    with child("rig", str(recording), "--rda", "0", "--faults", faults, "--json") as rig:
        port = rig.wait_for(lambda m: m["state"] == "ready", 30)["rda_port"]
        source = RdaSource(RdaSettings(port=port), LiveClock())
        await source.open()

        async def take() -> None:
            async for event in source:
                if isinstance(event, EegChunk):
                    heard.chunks.append(event)
                elif isinstance(event, Marker):
                    heard.markers.append(event)
                elif isinstance(event, SourceState):
                    heard.states.append(event.state)

        taker = asyncio.create_task(take())
        try:
            done = await asyncio.to_thread(rig.wait_for, lambda m: m["state"] == "done", 60)
            await asyncio.sleep(0.3)
        finally:
            await source.close()
            await taker
        assert rig.process.wait(20) == 0, rig.text()
    return heard, done["faults"], done


async def test_a_recorder_whose_blocks_are_lost(recording: Path):
    faults = "lost_chunk=0.05,jitter_ms=3,missing_marker=0.2,doubled_marker=0.2,extra_marker=0.2"
    heard, ledger, done = await play_rda(recording, faults)
    assert {e["fault"] for e in ledger} >= {
        "lost_chunk",
        "missing_marker",
        "doubled_marker",
        "extra_marker",
        "swallowed",
    }
    np.testing.assert_array_equal(np.bincount(heard.samples, minlength=N_SAMPLES), expected_samples(ledger))
    assert Counter(m.label for m in heard.markers) == expected_markers(recording, ledger)
    assert done["samples"] == len(heard.samples)
    assert done["markers"] == len(heard.markers)
    # the block numbers tell every loss: samples are numbered as they were taken
    first = heard.samples[0]
    numbered = [chunk.first_sample + n for chunk in heard.chunks for n in range(len(chunk.data))]
    assert numbered == [sample - first for sample in heard.samples]
    eeg = open_recording(recording).eeg
    assert eeg is not None
    recorded = {(m.label, m.sample) for m in eeg.markers}
    extra = {e["detail"] for e in ledger if e["fault"] == "extra_marker"}
    wrong = [m for m in heard.markers if m.sample is None or (m.label, m.sample + first) not in recorded]
    assert len(wrong) <= sum(e["fault"] == "extra_marker" for e in ledger)
    assert {m.label for m in wrong} <= extra


async def test_a_recorder_that_goes_away_and_comes_back(recording: Path):
    heard, ledger, _ = await play_rda(recording, "outlet_gone_s=1@4")
    np.testing.assert_array_equal(np.bincount(heard.samples, minlength=N_SAMPLES), expected_samples(ledger))
    assert Counter(m.label for m in heard.markers) == expected_markers(recording, ledger)
    assert heard.states == ["found", "lost", "back"]


def watch(rig: Child, export: Path, seconds: float, deadline_s: float = 1.0) -> tuple[list[Any], ExportDirectory, Any]:
    """Follow the export directory until the rig is done and what is unfinished has been given up."""
    directory = ExportDirectory(export, ExportSettings(deadline_s=deadline_s), LiveClock().now)
    found: list[Any] = []
    rig.wait_for(lambda m: m["state"] == "playing", 30)
    end = stopwatch() + seconds
    try:
        while stopwatch() < end:
            found += directory.poll()
            directory.wait(0.05)
    finally:
        directory.close()
    done = rig.wait_for(lambda m: m["state"] == "done", 30)
    assert rig.process.wait(20) == 0, rig.text()
    return found, directory, done


def play_files(recording: Path, export: Path, faults: str, seed: int = 0) -> tuple[list[Any], ExportDirectory, Any]:
    arguments = ("--export", str(export), "--no-wait-consumers", "--stream-name", uuid.uuid4().hex, "--json")
    with child("rig", str(recording), "--faults", faults, "--seed", str(seed), *arguments) as rig:
        return watch(rig, export, 15.0)


def of(ledger: list[dict[str, Any]], *names: str) -> list[int]:
    return [entry["volume"] for entry in ledger if entry["fault"] in names and "volume" in entry]


def number(volume: Volume) -> int:
    """The volume's place, by what its voxel says."""
    return round(float(volume.data[0, 0, 0]) / 10)


def test_files_that_are_missing_cut_doubled_renamed_swapped_and_foreign(recording: Path, tmp_path: Path):
    faults = (
        "missing_volume=0.1,truncated_volume=0.15,doubled_volume=0.2,temporary_name=0.3,swapped_volume=0.4,"
        "foreign_file=0.5"
    )
    found, directory, done = play_files(recording, tmp_path / "export", faults, seed=3)
    ledger = done["faults"]
    assert len({entry["fault"] for entry in ledger}) == 6, "the seed no longer gives one of each"
    volumes = [item for item in found if isinstance(item, Volume)]
    never = set(of(ledger, "missing_volume", "truncated_volume"))
    assert {number(v) for v in volumes} == set(range(N_VOLUMES)) - never
    assert all(v.index == number(v) for v in volumes)
    assert len(volumes) == done["volumes"] == directory.counts["volumes"]
    assert directory.counts["duplicates"] == len(of(ledger, "doubled_volume"))
    assert directory.counts["quarantined"] == len(of(ledger, "truncated_volume"))
    moco = [e for e in ledger if e["fault"] == "foreign_file" and e["detail"] == "moco"]
    assert directory.counts["not_images"] == len(moco) > 0
    assert all(isinstance(p, FileProblem) for p in found if not isinstance(p, Volume | SourceState))
    order = [v.index for v in volumes]
    for k in of(ledger, "swapped_volume"):
        assert order.index(k) > order.index(k + 1)


def test_a_directory_that_goes_away_and_a_scan_that_is_started_anew(recording: Path, tmp_path: Path):
    found, _, done = play_files(
        recording,
        tmp_path / "export",
        "directory_gone_s=1.2,restarted_scan_s=1@7,batch_volumes=2,late_volume=0.2,late_volume_s=1",
    )
    ledger = done["faults"]
    assert [i.state for i in found if isinstance(i, SourceState)][-2:] == ["lost", "back"]
    first = next(e["volume"] for e in ledger if e.get("detail") == "first of the new series")
    cut = {e["volume"] for e in ledger if e.get("detail") == "not acquired to its end"}
    assert cut
    volumes = [item for item in found if isinstance(item, Volume)]
    # what came before and what came after are two series, each numbered from its own first volume
    series = list(dict.fromkeys(v.series for v in volumes))
    assert len(series) == 2
    before, after = ([v for v in volumes if v.series == each] for each in series)
    assert {number(v) for v in before} == set(range(first)) - cut
    assert {number(v) for v in after} == set(range(first, N_VOLUMES))
    assert all(v.index == number(v) for v in before)
    assert all(v.index == number(v) - first for v in after)
    assert done["volumes"] == N_VOLUMES - len(cut)


def test_wrong_faults_and_places_are_said(recording: Path, tmp_path: Path):
    def said(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "streamer", "rig", str(recording), *arguments]
        ended = subprocess.run(command, capture_output=True, timeout=60, text=True, check=False)
        return ended.returncode, " ".join(ended.stderr.split())

    code, text = said("--faults", "lost_cunk=1")
    assert code == 2
    assert "no fault is called lost_cunk; there are: all, batch_volumes" in text
    (tmp_path / "somebody's").write_text("precious")
    code, text = said("--faults", "directory_gone_s=1", "--export", str(tmp_path))
    assert code == 2
    assert "somebody's already; nothing is overwritten or removed" in text
    assert (tmp_path / "somebody's").read_text() == "precious"
    code, text = said("--ledger", str(tmp_path / "somebody's"))
    assert code == 2
    assert "nothing is overwritten" in text
