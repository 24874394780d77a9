from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from pydantic import ValidationError

from streamer.bench.events import circular, phase_errors, plant_alpha, run_sources
from streamer.decode.candidate import Candidate
from streamer.decode.event_sources import EventSources, EventSourcesSettings
from streamer.decode.phase_target import HARD_MAX_SD_DEG, Lane, PhaseTarget, PhaseTargetSettings
from streamer.errors import ConfigError
from streamer.messages import Feature, Flag
from tests.unit.feature_eeg import SFREQ, START, blocks

MINUTES = 2.0
ONE = {"0": 1.0}


def asked(found: list) -> list[Candidate]:
    return [c for c in found if isinstance(c, Candidate)]


def errors(found: list) -> list[Feature]:
    return [f for f in found if isinstance(f, Feature)]


@cache
def followed(snr_db: float, centre_hz: float, phase_deg: float = 0.0) -> tuple[EventSources, list, np.ndarray]:
    eeg, alpha = plant_alpha(snr_db, MINUTES, 1, centre_hz)
    settings = PhaseTargetSettings(enabled=True, channels=ONE, phase_deg=phase_deg)
    sources, found = run_sources(EventSourcesSettings(phase=settings, learn_s=15.0), eeg)
    return sources, found, phase_errors(found, alpha, centre_hz)


@pytest.mark.parametrize(("snr_db", "sd_max"), [(6.0, 45.0), (12.0, 36.0)])
@pytest.mark.parametrize("centre_hz", [10.1, 9.75])
def test_triggers_are_asked_for_at_the_wanted_phase(snr_db: float, sd_max: float, centre_hz: float) -> None:
    sources, found, true = followed(snr_db, centre_hz)
    sd, bias = circular(true)
    assert len(true) > 60
    assert sd < sd_max
    assert abs(bias) < 10
    # what it says of itself is true
    last = [f for f in errors(found) if f.valid][-1]
    assert last.name == "phase_error.target"
    assert np.degrees(last.values[0]) == pytest.approx(sd, rel=0.3)
    assert abs(np.degrees(last.values[1]) - bias) < 10
    assert sources.notes == ()


def test_another_phase_is_hit_as_well() -> None:
    _, found, true = followed(12.0, 10.1, 180.0)
    sd, bias = circular(true - np.pi)
    assert len(asked(found)) > 60
    assert sd < 36
    assert abs(bias) < 10


def test_a_candidate_says_when_and_for_how_long() -> None:
    _, found, _ = followed(12.0, 10.1)
    lead = 0.0145 + PhaseTargetSettings().output_delay_s
    for c in asked(found):
        assert lead - 1e-9 <= c.fire_at - c.about < lead + 0.02 + 1e-9
        assert c.expires - c.fire_at == pytest.approx(45 / 360 / 10, rel=0.1)
        assert 0 < c.level <= 1
        assert c.source == "phase"
        assert c.flags == Flag.NONE
    assert np.diff([c.fire_at for c in asked(found)]).min() > 0.04


def test_nothing_is_asked_for_until_the_error_is_known_nor_in_noise() -> None:
    _, found, _ = followed(12.0, 10.1)
    first = next(i for i, f in enumerate(found) if isinstance(f, Candidate))
    assert not any(f.valid for f in errors(found) if f.sample / SFREQ < found[first].about - 3.0)
    assert 40 <= errors(found[:first])[-1].values[2] < 60
    sources, found, _ = followed(-20.0, 10.1)
    assert asked(found) == []
    assert errors(found)[-1].valid
    assert np.degrees(errors(found)[-1].values[0]) > HARD_MAX_SD_DEG
    assert "above 60°" in sources.notes[0]


def target(**others: object) -> PhaseTarget:
    known = {"model": {"centre_hz": 10.0, "width_hz": 1.0, "variances": [1e-10] + [1e-12] * 6}}
    lane = others.pop("lane", Lane(0.0145, 0.0))
    settings = PhaseTargetSettings(enabled=True, name="model", channels={"A": 1.0}, **others)  # type: ignore[arg-type]
    return PhaseTarget(settings, 50.0, SFREQ, ["A"], lane, learned=known)  # type: ignore[arg-type]


def fed(stage: PhaseTarget, data: np.ndarray, first: int = 0, **others: object) -> list:
    return [f for block in blocks(data, 50.0, first, **others) for f in stage(block)]  # type: ignore[arg-type]


def test_dirty_samples_ask_for_nothing_and_are_not_checked() -> None:
    data = plant_alpha(12.0, 1.0, 1)[0]
    stage = target(checks=30)
    assert asked(fed(stage, data[:10_000]))
    known = stage.error
    assert asked(fed(stage, data[10_000:10_500], 10_000, flags=Flag.UNSYNCED)) == []
    assert stage.error == known
    assert "not known" in stage.refusal
    # each says what its samples were
    clipped = asked(fed(stage, data[10_500:13_000], 10_500, flags=Flag.CLIPPED))
    assert clipped
    assert {c.flags for c in clipped} == {Flag.CLIPPED}


def test_old_checks_do_not_count() -> None:
    data = plant_alpha(12.0, 1.0, 1)[0]
    stage = target(checks=30, checked_s=30)
    assert asked(fed(stage, data[:10_000]))
    later = fed(stage, data[:1500], 30_000)
    assert asked(later) == []
    assert errors(later)[0].values[2] == 0
    assert np.isnan(stage.error).all()


def test_what_the_lane_adds_to_the_phase_is_waited_for() -> None:
    data, alpha = plant_alpha(15.0, 1.0, 1)
    for added in (0.0, np.pi / 2):
        found = asked(fed(target(checks=30, lane=Lane(0.0145, 0.0, phase=lambda _, x=added: x)), data))
        at = np.array([round((c.fire_at - START) * SFREQ) for c in found])
        sd, bias = circular(np.angle(alpha[at[at < len(alpha)]]) - added)
        assert len(found) > 50
        assert sd < 45
        assert abs(bias) < 12


@pytest.mark.parametrize(
    ("lane", "message"),
    [
        (Lane(0.0145, 0.3), "0.3145 s late .*expected at most 0.1 s"),
        (Lane(0.166, 0.0), "0.166 s late"),
        (Lane(0.0145, 0.0, adapts=True), "takes adapting components out"),
    ],
)
def test_a_slow_or_adapting_lane_is_refused(lane: Lane, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        target(lane=lane)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValidationError):
        PhaseTargetSettings(sd_max_deg=61)
    with pytest.raises(ConfigError, match="takes channel Q"):
        PhaseTarget(PhaseTargetSettings(channels={"Q": 1.0}), 50.0, SFREQ, ["A"], Lane(0.0, 0.0))
    with pytest.raises(ConfigError, match="has no weight"):
        PhaseTarget(PhaseTargetSettings(), 50.0, SFREQ, ["A"], Lane(0.0, 0.0))
