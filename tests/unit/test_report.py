"""The report of a session, from folders that are whole, cut short, sealed or old."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from streamer.clean.eeg.lane import EegLane
from streamer.config import Config, commented_toml
from streamer.decode.card_file import dump_card, load_card
from streamer.decode.decision_settings import DecisionSettings
from streamer.errors import FormatError, UsageError
from streamer.messages import ChannelInfo, SessionHeader
from streamer.report.cobidas import eeg_delay_s, processing_steps
from streamer.report.crednf import checklist, score_terms
from streamer.report.find_card import find_card
from streamer.report.gather import gather
from streamer.report.regulation import regulation
from streamer.report.write import write_report
from streamer.session_score import session_score
from tests.unit.reported_session import CHANNELS, OWN, ZERO, events, session


class Elements(HTMLParser):
    """What a page loads or runs, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def written(folder: Path, out: Path, **told: Any) -> tuple[Elements, dict[str, Any], str]:
    path, values = write_report(folder, out, **told)
    text = path.read_text(encoding="utf-8")
    json.dumps(values, allow_nan=False)
    return Elements(text), values, text


def test_the_page_tells_the_session_and_loads_nothing(tmp_path: Path):
    page, values, text = written(session(tmp_path / "s"), tmp_path / "r.html", events=events(tmp_path / "e.tsv"))
    assert not {"script", "link", "iframe", "object"} & set(page.open)
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    assert "@import" not in text
    assert "url(" not in text
    words = " ".join(page.words)
    for wanted in (
        "ab" * 32,
        "the broker was gone",
        "p(task) = 0.8 <above>",
        "by the keyboard",
        "MOTION 3.6%",
        "17.000",
    ):
        assert wanted in words
    assert "3 expired" not in words
    assert values["vetoes"] == {"MOTION": 1}
    assert values["losses"] == {"samples": 3, "volumes": 0}
    assert page.open.count("img") == 5
    (feature,) = [step for step in values["processing"] if step["name"] == "feature phase.occipital"]
    assert feature["delay_ms"] == 90.0
    assert values["problems"] == []


def test_regulation_finds_what_was_planted(tmp_path: Path):
    facts = gather(session(tmp_path / "s"), events=events(tmp_path / "e.tsv"))
    assert [(round(b.start - ZERO, 6), b.label) for b in facts.blocks][:3] == [(0, "rest"), (20, "task"), (40, "rest")]
    found = regulation(facts)
    assert (found.n_all, found.n, found.own) == (1400, 1350, True)
    by_label = {label: [b for b in found.blocks if b.label == label] for label in ("task", "rest")}
    assert [b.above for b in by_label["task"]] == [1.0] * 3
    assert [b.above for b in by_label["rest"]] == [0.0] * 4
    assert [b.n for b in by_label["task"]] == [200, 150, 200]
    assert found.learning is not None
    # 0.02 from block to block, 40 s apart
    assert found.learning.value == pytest.approx(0.03)
    assert found.contrast is not None
    assert found.contrast.value == pytest.approx(0.82 - 0.3)
    assert found.contrast.low < 0.52 < found.contrast.high


def test_without_blocks_the_run_is_cut_into_pieces_and_not_compared(tmp_path: Path):
    found = regulation(gather(session(tmp_path / "s")))
    assert [round(b.start - ZERO) for b in found.blocks] == [0, 30, 60, 90, 120]
    assert found.contrast is None


def test_blocks_of_the_configuration_serve_as_well(tmp_path: Path):
    design = {"conditions": [{"name": "task", "onsets_s": [20, 60, 100], "durations_s": [20]}]}
    config = Config.model_validate({"clean": {"bold": {"maps": {"design": design}}}})
    facts = gather(session(tmp_path / "s", config))
    assert [(round(b.start - ZERO), round(b.stop - ZERO)) for b in facts.blocks] == [(20, 40), (60, 80), (100, 120)]


def test_between_blocks_of_intermittent_feedback_the_own_score_counts(tmp_path: Path):
    config = Config(decision=DecisionSettings(mode="intermittent"))
    folder = session(tmp_path / "s", config)
    lines = (folder / "scores.jsonl").read_text().replace('"neutral":false', '"neutral":true')
    (folder / "scores.jsonl").write_text(lines)
    assert regulation(gather(folder)).n == 1350
    assert regulation(gather(session(tmp_path / "other"))).n == 1350


def test_a_sealed_session_stays_sealed_until_it_is_opened(tmp_path: Path):
    folder = session(tmp_path / "s", sham=True)
    page, values, text = written(folder, tmp_path / "r.html", events=events(tmp_path / "e.tsv"))
    assert "sealed" in " ".join(page.words)
    assert values["regulation"] is None
    assert values["condition"] == "sealed"
    told = regulation(gather(folder, events=tmp_path / "e.tsv"))
    assert (told.own, told.learning, told.contrast) == (False, None, None)
    assert "0.42" not in re.sub(r'base64,[^"]+', "", text)
    assert "0.42" not in json.dumps(values)
    (folder / "sham" / "opened.json").write_text('{"condition": "yoked"}')
    page, values, _ = written(folder, tmp_path / "r.html", events=tmp_path / "e.tsv", overwrite=True)
    assert "yoked (unblinded)" in " ".join(page.words)
    assert values["regulation"]["own"]
    assert values["regulation"]["blocks"][0]["mean"] == pytest.approx(OWN)


def test_a_crashed_session_is_told_as_far_as_it_goes(tmp_path: Path):
    folder = session(tmp_path / "s", ended=False)
    (folder / "vetoes.jsonl").write_text('{"window": 1')
    page, values, _ = written(folder, tmp_path / "r.html")
    assert [p for p in values["problems"] if "summary.json is absent" in p]
    assert [p for p in values["problems"] if "vetoes.jsonl" in p]
    assert values["losses"] is None
    assert "the run wrote no summary" in " ".join(page.words)
    for name in ("quality.json", "summary.json"):
        (folder / name).write_text("{")
    _, values, _ = written(folder, tmp_path / "r.html", overwrite=True)
    assert len([p for p in values["problems"] if "cannot be read" in p]) == 2


@pytest.mark.parametrize("kept", ["header.json", "decisions.jsonl"])
def test_next_to_nothing_is_enough(tmp_path: Path, kept: str):
    folder = session(tmp_path / "s", ended=False)
    for path in folder.iterdir():
        if path.name != kept:
            path.unlink()
    page, values, _ = written(folder, tmp_path / "r.html")
    assert values["scores"] == 0
    assert "No score counts" in " ".join(page.words)


def test_a_replay_tells_its_settings_when_they_are_named(tmp_path: Path):
    folder = session(tmp_path / "s", header=False)
    _, values, _ = written(folder, tmp_path / "r.html")
    assert values["processing"] == []
    # nobody knows whether it had sham: what was shown is what counts
    assert not values["regulation"]["own"]
    (tmp_path / "c.toml").write_text(commented_toml(Config()))
    _, values, _ = written(folder, tmp_path / "r.html", config=tmp_path / "c.toml", overwrite=True)
    assert values["processing"]
    assert values["regulation"]["own"]


def test_nothing_is_overwritten_the_same_gives_the_same_and_wrong_use_is_said(tmp_path: Path):
    folder = session(tmp_path / "s")
    path, _ = write_report(folder)
    assert path == folder / "report.html"
    with pytest.raises(UsageError, match="nothing is overwritten"):
        write_report(folder)
    before = path.read_bytes()
    write_report(folder, overwrite=True)
    assert path.read_bytes() == before
    with pytest.raises(UsageError, match="expected the folder of a session"):
        write_report(tmp_path)
    with pytest.raises(UsageError, match="cannot be written"):
        write_report(folder, tmp_path / "absent" / "r.html")
    (tmp_path / "wrong.tsv").write_text("time\n1\n")
    with pytest.raises(FormatError, match="onset"):
        write_report(folder, tmp_path / "x.html", events=tmp_path / "wrong.tsv")


def test_declared_delays_are_those_of_the_lane():
    for sfreq, update in (
        (5000.0, {}),
        (1000.0, {"band_hz": (0.5, 70.0), "line": {"mode": "adaptive", "mains_hz": 50}}),
    ):
        config = Config.model_validate({"clean": {"eeg": update}})
        steps = processing_steps(config, sfreq, 2.0)
        lane = EegLane(config.clean.eeg, sfreq, CHANNELS)
        assert eeg_delay_s(steps) == pytest.approx(lane.delay_s, abs=1e-12)
        held = sum(s.delay_s or 0.0 for s in steps if s.name in {"gradient artefact", "pulse artefact"})
        assert held == pytest.approx(lane.hold_s, abs=0.5 / sfreq)
        first = steps[0]
        assert first.delay_samples == pytest.approx((first.delay_s or math.nan) * sfreq)
    held_back = Config.model_validate({"clean": {"eeg": {"pulse": {"mode": "best"}, "gradient": {"hold_s": 0.064}}}})
    causality = {s.name: s.causality for s in processing_steps(held_back, 5000.0)}
    assert (causality["gradient artefact"], causality["pulse artefact"]) == ("held back", "held back")
    assert causality["band-pass"] == "causal"
    assert eeg_delay_s(processing_steps(held_back, None)) is None


def test_the_card_is_the_one_that_the_session_names_or_none(tmp_path: Path):
    channels = tuple(ChannelInfo(name, "eeg") for name in ("O1", "O2", "C3", "C4"))
    made = session_score(Config(), tuple(c.name for c in channels), ("a", "b"), 250.0)
    digest = hashlib.sha256(dump_card(made).encode()).hexdigest()
    header = SessionHeader("s", {}, "", digest, {}, "", 1000.0, channels, ("a", "b"))
    found = find_card(tmp_path, header, Config(), f"score@{digest[:12]}")
    assert found == made
    assert any("log alpha power at O1, O2" in term for term in score_terms(found))
    assert find_card(tmp_path, header, Config(), "score@000000000000") is None
    assert find_card(tmp_path, header, Config(), "") == made
    (tmp_path / "calibration").mkdir()
    kept = tmp_path / "calibration" / "card.toml"
    kept.write_text("no card")
    assert find_card(tmp_path, None, None, f"score@{digest[:12]}") is None
    # the participant's own, of a replay that holds no header
    kept.write_text(dump_card(made.model_copy(update={"description": "own"})))
    own = load_card(kept)
    assert find_card(tmp_path, None, None, f"score@{own.sha256[:12]}") == own.card
    assert own.card.description == "own"


def test_every_item_of_the_checklist_is_there_once(tmp_path: Path):
    facts = gather(session(tmp_path / "s"), events=events(tmp_path / "e.tsv"))
    assert facts.config is not None
    items = checklist(facts, processing_steps(facts.config, facts.eeg_sfreq, facts.tr_s), regulation(facts))
    wanted = {"1": "ab", "2": "abcde", "3": "abcde", "4": "abcde", "5": "abc", "6": "ab", "7": "a"}
    assert [item.number for item in items] == [f"{d}{letter}" for d, letters in wanted.items() for letter in letters]
    filled = {item.number for item in items if item.filled}
    assert filled == {"3d", "3e", "4a", "4b", "4c", "4d", "4e", "5a", "5b", "7a"}
    without = replace(facts, header=None, config=None, quality=None)
    assert {i.number for i in checklist(without, [], regulation(without)) if i.filled} == {"4d", "5a", "5b"}


def test_the_comparison_is_welchs(tmp_path: Path):
    folder, rng = session(tmp_path / "s"), np.random.default_rng(0)
    facts = gather(folder, events=events(tmp_path / "e.tsv"))
    noise = dict(enumerate(rng.normal(0.0, 0.05, 8)))
    scores = [replace(s, actual=s.actual + noise[int((s.about - ZERO) // 20)]) for s in facts.feedback.scores]
    found = regulation(replace(facts, feedback=replace(facts.feedback, scores=scores)))
    task, rest = ([b.mean for b in found.blocks if b.label == label] for label in ("task", "rest"))
    wanted = stats.ttest_ind(task, rest, equal_var=False).confidence_interval(0.95)
    assert found.contrast is not None
    assert (found.contrast.low, found.contrast.high) == pytest.approx((wanted.low, wanted.high))
