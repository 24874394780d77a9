"""A blinded session replays to what it showed, with the key; without the key it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer.calibrate import calibrate_recording
from streamer.compose import make_header
from streamer.config import BoldSection, Config
from streamer.emit.recorder import Recorder
from streamer.emit.results import ResultsSink, read_scores, read_triggers
from streamer.errors import UsageError
from streamer.messages import Output, Score, Trigger, Veto
from streamer.replay import config_for, open_origin, prepare
from streamer.sham_inputs import ShamSection, keep_sham
from streamer.sham_list import make_key, make_list, open_list, write_list
from streamer.simulate.session import SimulationSettings, simulate_session

SMALL = SimulationSettings(
    seed=5, sfreq=1000.0, grid=(32, 32, 16), voxel_mm=(6.0, 6.0, 4.0), calibration_s=36.0, n_blocks=5, block_s=12.0
)


def decided(outputs: list[Output]) -> list[Output]:
    return [o for o in outputs if isinstance(o, Score | Trigger | Veto)]


@pytest.mark.timeout(300)
def test_a_blinded_session_replays_to_what_it_showed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    simulate_session(tmp_path / "session", SMALL, workers=1)
    task = tmp_path / "session" / "task" / "recording.toml"
    plain = Config(
        bold=BoldSection(
            regions=tmp_path / "session" / "regions.nii.gz", region_names=tmp_path / "session" / "regions.tsv"
        )
    )
    calibration = calibrate_recording(tmp_path / "session" / "calibration" / "recording.toml", plain)

    def run(config: Config, folder: Path) -> list[Output]:
        """Run the task with recorder and results beside the loop, as a live session does."""
        origin = open_origin(task)
        ready = prepare(origin, config, calibration)
        recorder = Recorder(folder, make_header(ready.parts, folder.name, origin.sfreq, origin.channels))
        results = ResultsSink(folder, ready.parts.regions, waits=True)
        ready.loop.journal, ready.loop.sinks = recorder, [results]
        found = [output for _, outputs in ready.steps() for output in outputs]
        keep_sham(ready.parts.config.sham, folder)
        results.finish()
        recorder.close(xdf=False)
        return decided(found)

    earlier = tmp_path / "earlier"
    own = run(plain, earlier)
    assert any(isinstance(o, Score) and not o.neutral for o in own)

    key = make_key(tmp_path / "key")
    sealed = make_list(4, {"real": 1, "reversed": 1}, 7, key)
    write_list(tmp_path / "study.json", sealed)
    shown: dict[str, list[Output]] = {}
    for code, condition in open_list(sealed, key).items():
        if condition in shown:
            continue
        section = ShamSection(list=tmp_path / "study.json", code=code, record=earlier, key=tmp_path / "key")
        config = plain.model_copy(update={"sham": section})
        folder = tmp_path / condition
        shown[condition] = run(config, folder)
        again = config_for(folder, None)
        assert again.sham.list == folder / "sham" / "list.json"
        replay = prepare(open_origin(folder), again, calibration)
        if condition != "real":
            assert decided([o for _, outputs in replay.steps() for o in outputs]) == shown[condition]
        monkeypatch.delenv("EEGFMRI_SHAM_KEY", raising=False)
        keyless = again.model_copy(update={"sham": again.sham.model_copy(update={"key": None})})
        with pytest.raises(UsageError, match="expected the key of the sealed list"):
            prepare(open_origin(folder), keyless, calibration)

    real, sham = ({o.window: o for o in shown[name] if isinstance(o, Score)} for name in ("real", "reversed"))
    assert real.keys() == sham.keys()
    assert [o.neutral for o in real.values()] == [o.neutral for o in sham.values()]
    assert [o.actual for o in real.values()] == [o.actual for o in sham.values()]
    # being blind changes nothing for those whose feedback is real
    assert [o for o in shown["real"] if isinstance(o, Trigger)] == [o for o in own if isinstance(o, Trigger)]
    assert [o for o in own if isinstance(o, Trigger)] != [o for o in shown["reversed"] if isinstance(o, Trigger)]
    told = [k for k, o in real.items() if not o.neutral]
    assert len(told) > 100
    assert all(real[k].level == real[k].actual for k in told)
    assert sum(sham[k].level != sham[k].actual for k in told) > 0.9 * len(told)

    # the record's own settings: the participant's own side
    bare = prepare(open_origin(tmp_path / "reversed"), plain, calibration)
    sides = [o for _, outputs in bare.steps() for o in outputs if isinstance(o, Score)]
    assert [o.actual for o in sides] == [o.actual for o in sham.values()]
    assert all(o.level == o.actual for o in sides if not o.neutral)

    stored = read_scores(tmp_path / "reversed")
    assert [(o.level, o.actual) for o in stored if not o.neutral] == [
        (o.level, o.actual) for o in sham.values() if not o.neutral
    ]
    assert {o.seq for o in read_triggers(tmp_path / "reversed")} <= {
        o.seq for o in shown["reversed"] if isinstance(o, Trigger)
    }
