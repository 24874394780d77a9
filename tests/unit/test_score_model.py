"""A model-free score: log-odds by hand, missing modalities, its own past, and what it refuses."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from streamer.config import Config
from streamer.decode.card_file import LoadedCard, dump_card, load_card
from streamer.decode.load_model import load_model
from streamer.decode.model_card import BoldInput, EegInput, ModelCard
from streamer.decode.score_card import default_channels, default_regions, make_score_card
from streamer.decode.score_model import MIN_VOLUMES, ScoreModel
from streamer.decode.score_spec import BoldTerm, EegTerm, ScoreSpec
from streamer.errors import ModelError
from streamer.messages import Flag, SessionTime, Window
from streamer.session_score import session_score, session_tangent

CHANNELS = ("Fz", "C3", "C4", "O1", "O2")
BANDS = {"alpha": (8.0, 13.0), "beta": (13.0, 30.0)}
REGIONS = ("occipital_L", "motor_L", "control")
EEG = EegInput(channels=CHANNELS, bands=BANDS, step_s=0.2, n_steps=20, sfreq_hz=250.0)
BOLD = BoldInput(regions=REGIONS, grid_s=1.0, n_steps=16)
SD = {"occipital_L": 0.5, "motor_L": 1.0, "control": 2.0}
DIGEST = "0" * 64


def card(spec: ScoreSpec | None = None, eeg=EEG, bold=BOLD, sd=SD) -> ModelCard:
    return make_score_card(spec or ScoreSpec(), eeg, bold, "task", DIGEST, region_sd=sd)


def model(made: ModelCard) -> ScoreModel:
    return ScoreModel(LoadedCard(made, "a" * 64, None))


def window(eeg=None, bold=None, *, seq=0, end=100.0, age_bold=2.0, flags=Flag.NONE) -> Window:
    return Window(
        seq=seq,
        start=SessionTime(end - 4),
        end=SessionTime(end),
        eeg=np.zeros((20, 10), np.float32) if eeg is None else eeg,
        bold=np.zeros((16, 3), np.float32) if bold is None else bold,
        age_eeg=0.0,
        age_bold=age_bold,
        eeg_valid=eeg is not None,
        bold_valid=bold is not None,
        flags=flags,
    )


def eeg_of(**values: float) -> np.ndarray:
    """Two seconds of something else, then two of the values: names are channel_band."""
    out = np.full((20, 10), 9.0, np.float32)
    out[10:] = 0
    for name, value in values.items():
        channel, band = name.split("_")
        out[10:, CHANNELS.index(channel) * 2 + list(BANDS).index(band)] = value
    return out


def bold_of(*values: float) -> np.ndarray:
    out = np.full((16, 3), 9.0, np.float32)
    out[12:] = values
    return out


def log_odds(prediction) -> float:
    other, target = prediction.probabilities
    return math.log(target / other)


def test_log_odds_are_those_made_by_hand():
    ask = model(card())
    eeg = eeg_of(O1_alpha=-0.6, O2_alpha=-1.0, C3_beta=-0.2, Fz_alpha=5.0, C4_alpha=5.0)
    bold = bold_of(0.4, 0.5, 9.0)
    both = ask(window(eeg, bold))
    of_eeg, of_bold = 0.8 + 0.1, (0.4 / 0.5 + 0.5 / 1.0) / 2
    assert both.classes == ("rest", "task")
    assert log_odds(both) == pytest.approx(of_eeg + of_bold, abs=1e-3)
    assert both.attention["eeg"] == pytest.approx(of_eeg / (of_eeg + of_bold), abs=1e-4)
    assert sum(both.attention.values()) == pytest.approx(1.0, abs=1e-4)
    assert both.model == "score@aaaaaaaaaaaa"
    assert both.flags == Flag.NONE


def test_a_masked_modality_leaves_its_terms_out():
    ask = model(card())
    eeg, bold = eeg_of(O1_alpha=-1.0, O2_alpha=-1.0), bold_of(0.5, 1.0, 0.0)
    alone = ask(window(eeg))
    assert log_odds(alone) == pytest.approx(1.0, abs=1e-3)
    assert alone.flags == Flag.NO_BOLD
    assert alone.attention == {"eeg": 1.0, "bold": 0.0}
    other = ask(window(None, bold))
    assert log_odds(other) == pytest.approx(1.0, abs=1e-3)
    assert other.flags == Flag.NO_EEG
    nothing = ask(window())
    assert nothing.probabilities == (0.5, 0.5)
    assert nothing.flags & Flag.NO_EEG
    assert nothing.flags & Flag.NO_BOLD
    stale = ask(window(eeg, bold, age_bold=60.0))
    assert stale.probabilities == alone.probabilities
    assert stale.flags & Flag.STALE
    broken = bold.copy()
    broken[3, 1] = np.nan
    assert ask(window(eeg, broken)).probabilities == alone.probabilities
    assert ask.unusable == 1


def test_no_term_counts_beyond_its_limit_and_centres_are_taken_off():
    spec = ScoreSpec(
        eeg=(EegTerm(band="alpha", channels=("O1",), weight=-1.0, centre=-0.5),),
        bold=(BoldTerm(regions=("motor_L",), weight=0.5, centre=1.0),),
        intercept=0.25,
    )
    ask = model(card(spec))
    assert log_odds(ask(window(eeg_of(O1_alpha=-0.5), bold_of(0, 1.0, 0)))) == pytest.approx(0.25, abs=1e-3)
    assert log_odds(ask(window(eeg_of(O1_alpha=900.0)))) == pytest.approx(0.25 - 4.0, abs=1e-3)
    assert log_odds(ask(window(None, bold_of(0, 900.0, 0)))) == pytest.approx(0.25 + 2.0, abs=1e-3)


def test_without_a_calibration_bold_waits_for_its_own_past():
    made = card(sd=None)
    rng = np.random.default_rng(0)
    course = 3.0 + 0.4 * rng.standard_normal((60, 3))
    ask, again = model(made), model(made)
    found = []
    for k in range(16, 60):
        # two windows a volume: it is learned once
        for half in (0.0, 0.5):
            now = window(None, course[k - 16 : k].astype(np.float32), seq=k, end=k + half + 2.0, age_bold=2.0 + half)
            found.append(ask(now))
            assert found[-1] == again(now)
    early, late = found[: 2 * MIN_VOLUMES - 2], found[2 * MIN_VOLUMES - 2 :]
    assert all(p.flags & Flag.WARMING and p.probabilities == (0.5, 0.5) for p in early)
    assert all(not p.flags & (Flag.WARMING | Flag.NO_BOLD) for p in late)
    assert all(p.flags & Flag.UNCALIBRATED for p in found)
    # the level of 3 % is the session's own: it speaks for nothing
    assert abs(np.mean([log_odds(p) for p in late])) < 0.5
    assert max(abs(log_odds(p)) for p in late) > 0.1


def test_a_moved_head_teaches_nothing():
    ask = model(card(sd=None))
    for k in range(40):
        assert ask(window(None, bold_of(0, 0, 0), end=float(k), flags=Flag.MOTION)).flags & Flag.WARMING


def test_defaults_are_chosen_by_name():
    assert default_channels((8, 13), CHANNELS) == ("O1", "O2")
    assert default_channels((13, 30), CHANNELS) == ("C3", "C4")
    assert default_channels((8, 13), ("Fz", "POz", "Pz", "Oz")) == ("POz", "Oz")
    assert default_channels((8, 13), ("Fz", "Pz")) == ("Pz",)
    assert default_channels((8, 13), ("E1", "E2")) == ("E1", "E2")
    assert default_channels((4, 7), CHANNELS) == CHANNELS
    assert default_regions(REGIONS) == ("occipital_L", "motor_L")
    assert default_regions(("control",)) == ("control",)
    made = card()
    assert made.score is not None
    assert [term.channels for term in made.score.eeg] == [("O1", "O2"), ("C3", "C4")]
    assert made.score.bold[0].regions == ("occipital_L", "motor_L")


def test_what_is_not_there_is_refused_with_every_name():
    spec = ScoreSpec(
        eeg=(EegTerm(band="gamma"), EegTerm(channels=("O1", "Oz", "POz"))), bold=(BoldTerm(regions=("V1",)),)
    )
    with pytest.raises(ModelError, match=r"band gamma not there.*expected some of alpha, beta") as refused:
        card(spec)
    for part in ("EEG term 2: channels Oz, POz not there", "BOLD term 1: regions V1 not there"):
        assert part in str(refused.value)
    with pytest.raises(ModelError, match="without a term"):
        card(ScoreSpec(eeg=()), bold=None)
    with pytest.raises(ModelError, match="both task"):
        card(ScoreSpec(other="task"))
    with pytest.raises(ModelError, match="regions motor_L, control not there"):
        card(sd={"occipital_L": 1.0})


def test_a_session_of_one_modality_has_a_score_too():
    eeg_only = model(card(bold=None))
    prediction = eeg_only(window(eeg_of(O1_alpha=-1.0, O2_alpha=-1.0)))
    assert log_odds(prediction) == pytest.approx(1.0, abs=1e-3)
    assert prediction.flags == Flag.NONE
    bold_only = model(card(eeg=None))
    assert log_odds(bold_only(window(None, bold_of(0.5, 1.0, 0)))) == pytest.approx(1.0, abs=1e-3)


def test_a_card_survives_the_disk_and_is_served_as_a_score(tmp_path):
    made = card()
    (tmp_path / "card.toml").write_text(dump_card(made), encoding="utf-8")
    loaded = load_card(tmp_path / "card.toml")
    assert loaded.card == made
    served = load_model(loaded)
    here = window(eeg_of(O1_alpha=-2.0), bold_of(1, 1, 1))
    assert served(here) == replace(model(made)(here), model=served.name)


def test_the_settings_of_a_session_make_a_card_that_fits_it():
    config = Config()
    made = session_score(config, CHANNELS, REGIONS, 250.0)
    assert made.preprocessing == config.model_digest()
    assert made.eeg is not None
    assert dict(made.eeg.bands) == config.features.bands
    assert (made.eeg.n_steps, made.limits.age_bold_max_s) == (config.windows.eeg_steps, config.windows.age_bold_max_s)
    assert session_score(config, (), REGIONS, 250.0).eeg is None
    assert session_score(config, CHANNELS, (), 250.0).bold is None
    assert session_tangent(config, CHANNELS) is None
    wanted = config.extra.tangent.model_copy(update={"enabled": True})
    extra = config.extra.model_copy(update={"tangent": wanted})
    tangent = session_tangent(config.model_copy(update={"extra": extra}), CHANNELS)
    assert tangent is not None
    assert (tangent.channels, tangent.width) == (CHANNELS, 15)
