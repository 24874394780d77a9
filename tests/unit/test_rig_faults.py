"""Faults as they are written on the command line and in a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from streamer.errors import UsageError
from streamer.rig.faults import ALL, NAMES, RigFaults
from streamer.rig.ledger import Injected, check_ledger, write_ledger
from streamer.rig.schedule import RigSettings


def test_values_and_moments():
    faults = RigFaults.parse("missing_marker=0.005, clock_step_s=-3600@20.5,batch_volumes=4@3")
    assert faults == RigFaults(
        missing_marker=0.005, clock_step_s=-3600.0, batch_volumes=4, at={"clock_step_s": 20.5, "batch_volumes": 3.0}
    )
    assert faults.names == ("batch_volumes", "clock_step_s", "missing_marker")


def test_all_and_what_stands_beside_it():
    assert RigFaults.parse("all").names == NAMES
    without = RigFaults.parse("outlet_gone_s=0,all,late_volume_s=9")
    assert set(without.names) == set(NAMES) - {"outlet_gone_s"}
    assert without.late_volume_s == 9.0
    assert without.silent_s == ALL["silent_s"]


def test_off_by_default():
    assert RigFaults().names == ()
    assert RigFaults.parse("batch_volumes=1").names == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense=1", "no fault is called nonsense; there are: all, batch_volumes, clock_offset_s"),
        ("lost_chunk", "'lost_chunk': expected name=value"),
        ("lost_chunk=", "'lost_chunk=': expected name=value"),
        ("lost_chunk=2", "lost_chunk: Input should be less than or equal to 1; given: '2'"),
        ("lost_chunk=x", "lost_chunk: Input should be a valid number"),
        ("silent_s=2@soon", "silent_s: Input should be a valid number"),
        ("silent_s=2@-1", "silent_s: Input should be greater than or equal to 0"),
        ("late_volume_s=2@3", "a moment for late_volume_s"),
        ("at=3", "written behind its fault"),
        (" , ", "names none"),
        ("absent.toml", "absent.toml: cannot be read as TOML"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str):
    with pytest.raises(UsageError) as caught:
        RigFaults.parse(text)
    assert said in str(caught.value)


def test_all_problems_are_said_at_once():
    with pytest.raises(UsageError) as caught:
        RigFaults.parse("lost_chunk=2,nonsense=1,spike")
    assert all(word in str(caught.value) for word in ("lost_chunk", "nonsense", "'spike'"))


def test_a_file(tmp_path: Path):
    path = tmp_path / "faults.toml"
    path.write_text('missing_marker = 0.005\nclock_step_s = "-3600@20"\n[at]\nsilent_s = 4\n')
    assert RigFaults.parse(str(path)) == RigFaults(missing_marker=0.005, clock_step_s="-3600@20", at={"silent_s": 4.0})
    path.write_text("missing_marker = [")
    with pytest.raises(UsageError, match="cannot be read as TOML"):
        RigFaults.parse(str(path))


def test_rda_has_no_stamps_to_get_wrong():
    with pytest.raises(ValidationError, match=r"RDA carries no time stamps.*: clock_step_s, drift_ppm cannot"):
        RigSettings(rda_port=0, faults=RigFaults(drift_ppm=5, clock_step_s=2, lost_chunk=0.1))
    assert RigSettings(rda_port=0, faults=RigFaults(lost_chunk=0.1)).rda_port == 0


def test_a_ledger_is_written_once(tmp_path: Path):
    path = tmp_path / "ledger.json"
    check_ledger(path)
    faults = RigFaults.parse("lost_chunk=0.1@3")
    write_ledger(
        path, faults, 7, [Injected("lost_chunk", 3.5, samples=(10, 20)), Injected("missing_marker", 4, marker=0)]
    )
    assert json.loads(path.read_text()) == {
        "schema": 1,
        "kind": "rig-ledger",
        "seed": 7,
        "faults": {"lost_chunk": 0.1, "at": {"lost_chunk": 3.0}},
        "injected": [
            {"fault": "lost_chunk", "at_s": 3.5, "samples": [10, 20]},
            {"fault": "missing_marker", "at_s": 4, "marker": 0},
        ],
    }
    with pytest.raises(UsageError, match="nothing is overwritten"):
        check_ledger(path)
    with pytest.raises(UsageError, match="no such folder"):
        check_ledger(tmp_path / "absent" / "ledger.json")
