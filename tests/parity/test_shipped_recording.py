"""What is stored stays readable: the recording that ships goes through the loop whole."""

from __future__ import annotations

from pathlib import Path

import replay_data
from streamer.acquire.recordings import open_recording
from streamer.config import Config
from streamer.messages import Prediction
from streamer.replay import replay_to

RECORDING = Path(replay_data.__file__).parent / "short" / "task" / "recording.toml"


def test_the_recording_that_ships_is_read_whole_and_replayed(tmp_path: Path):
    recording = open_recording(RECORDING)
    assert recording.eeg is not None
    assert recording.bold is not None
    assert [b.label for b in recording.events] in (["rest", "task"], ["task", "rest"])
    summary, outputs = replay_to(RECORDING, Config(), tmp_path / "out")
    assert summary.counts["samples"] == recording.eeg.n_samples == 14500
    assert summary.counts["volumes"] == summary.counts["bold_frames"] == recording.bold.n_volumes == 24
    assert summary.lost == 0
    predictions = [o for o in outputs if isinstance(o, Prediction)]
    assert len(predictions) == summary.counts["decisions"] == 290
    rows = (tmp_path / "out" / "bold_regions.tsv").read_text().splitlines()
    assert recording.regions is not None
    assert rows[0].split("\t")[2:] == list(recording.regions.names)
    assert len(rows) == 25
