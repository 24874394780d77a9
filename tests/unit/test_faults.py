"""What ``--faults`` says: as a list, as a file, and when it says something that does not exist."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from streamer.errors import ConfigError
from streamer.simulate.faults import EVERYTHING, FaultSettings, parse_faults
from streamer.simulate.ledger import KINDS, RunFaults

SPEC = "missing_trigger=0.005,double_trigger=0.002,gap_ms=100@30,gap_ms=20@60.5,clock_ppm=20,dummy_volumes=3"
WANTED = FaultSettings(
    missing_trigger=0.005, double_trigger=0.002, gap_ms=((100.0, 30.0), (20.0, 60.5)), clock_ppm=20.0, dummy_volumes=3
)


def test_a_list_becomes_settings():
    assert parse_faults(SPEC) == WANTED
    assert parse_faults(" restart_s = 7.3@25 , ectopic=0.1 ") == FaultSettings(restart_s=((7.3, 25.0),), ectopic=0.1)


def test_a_file_says_the_same(tmp_path: Path):
    file = tmp_path / "faults.toml"
    file.write_text(
        "missing_trigger = 0.005\ndouble_trigger = 0.002\ngap_ms = [[100, 30], [20, 60.5]]\nclock_ppm = 20\n"
        "dummy_volumes = 3\n"
    )
    assert parse_faults(str(file)) == WANTED
    with pytest.raises(ConfigError, match="cannot be read as TOML"):
        parse_faults(str(tmp_path / "absent.toml"))


def test_all_is_everything_and_can_be_changed():
    assert parse_faults("all") == EVERYTHING
    assert parse_faults("all,clock_ppm=0,gap_ms=50@9") == EVERYTHING.model_copy(
        update={"clock_ppm": 0.0, "gap_ms": ((50.0, 9.0),)}
    )
    off = {name for name, field in FaultSettings.model_fields.items() if getattr(EVERYTHING, name) == field.default}
    assert off == {"untriggered_volumes"}


def test_all_problems_are_told_at_once_with_the_faults_that_there_are():
    with pytest.raises(ConfigError) as caught:
        parse_faults("flat=1,missing_trigger=2,gap_ms=x@30,clock_ppm,ectopic=0.1,all")
    text = str(caught.value)
    assert "5 problems" in text
    assert "flat: unknown fault; there are missing_trigger, double_trigger" in text
    assert "missing_trigger: Input should be less than or equal to 1; given: '2'" in text
    assert "gap_ms.0.0" in text
    assert "'clock_ppm': expected NAME=VALUE" in text
    assert "'all': expected" in text


@pytest.mark.parametrize("gaps", [((100.0, 5.0), (100.0, 5.05)), ((-1.0, 5.0),), ((0.0, 5.0),)])
def test_gaps_that_are_none_are_refused(gaps: tuple[tuple[float, float], ...]):
    with pytest.raises(ValidationError):
        FaultSettings(gap_ms=gaps)


def test_every_fault_has_a_generator_of_its_own():
    faults = RunFaults(FaultSettings(), 3, 1)
    first = faults.rng("pop").random(4).tolist()
    faults.rng("flat").random(100)
    assert faults.rng("pop").random(4).tolist() == first
    assert faults.rng("flat").random(4).tolist() != first
    assert RunFaults(FaultSettings(), 3, 0).rng("pop").random(4).tolist() != first


def test_the_ledger_is_in_the_order_of_time_and_knows_every_kind():
    faults = RunFaults(FaultSettings(), 3, 1)
    for k, kind in enumerate(KINDS):
        faults.enter(kind, float(len(KINDS) - k), 99.0, volume=k)
    assert [entry["kind"] for entry in faults.entries] == list(KINDS)[::-1]
    assert all(entry["reader"] for entry in faults.entries)
    with pytest.raises(KeyError):
        faults.enter("bad luck", 0.0, 1.0)
