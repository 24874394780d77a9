from pathlib import Path

import pytest

from streamer.calibration import Calibration
from streamer.compose import compose, default_card, make_eeg_core, with_score
from streamer.config import Config, ModelSection
from streamer.errors import ModelError, UsageError
from streamer.messages import ChannelInfo

SHIPPED = Config(model=ModelSection(card="simulated"))
MONTAGE = tuple(ChannelInfo(name, "eeg") for name in ("Cz", "O1", "O2"))


def test_the_model_that_ships_fits_the_settings_that_ship():
    parts = compose(SHIPPED)
    assert parts.card is not None
    assert parts.card.card.preprocessing == Config().model_digest()


@pytest.mark.parametrize(
    ("has", "absent"), [({"has_bold": False}, "NO_BOLD"), ({"has_eeg": False}, "NO_EEG"), ({}, None)]
)
def test_in_a_session_of_one_modality_the_absence_of_the_other_vetoes_nothing(has: dict[str, bool], absent: str | None):
    veto = compose(Config(), **has).config.decision.veto
    assert {"NO_EEG", "NO_BOLD"} - set(veto) == ({absent} if absent else set())


def test_a_montage_that_the_model_does_not_know_is_refused_with_the_difference():
    parts = compose(SHIPPED)
    with pytest.raises(ModelError, match="A1") as caught:
        make_eeg_core(parts, 5000.0, (ChannelInfo("A1", "eeg"), ChannelInfo("A2", "eeg")))
    assert "regions" in str(caught.value)


def test_without_a_trained_model_any_montage_gets_a_score():
    parts = compose(Config())
    assert parts.model is None
    parts = with_score(parts, 5000.0, MONTAGE)
    assert parts.card is not None
    assert parts.card.card.kind == "score"
    core = make_eeg_core(parts, 5000.0, MONTAGE)
    assert core.decision is not None
    again = with_score(parts, 5000.0, MONTAGE)
    assert again.card is parts.card


def test_settings_of_the_score_that_do_not_fit_are_refused():
    wrong = Config.model_validate({"model": {"score": {"eeg": [{"band": "gamma"}, {"channels": ["T7"]}]}}})
    with pytest.raises(ModelError, match=r"(?s)gamma.*T7"):
        with_score(compose(wrong), 5000.0, MONTAGE)


def test_thresholds_of_another_model_are_left_alone():
    measured = Calibration("run", "", (), (), threshold_on=0.81, threshold_off=0.6, threshold_of="fusion-default")
    assert compose(Config(), calibration=measured).config.decision.threshold_on == 0.7


def test_a_stream_without_eeg_channels_is_refused():
    parts = compose(Config())
    with pytest.raises(UsageError, match="none of kind EEG"):
        make_eeg_core(parts, 5000.0, (ChannelInfo("ECG", "ecg"),))


def test_measured_thresholds_take_the_place_of_configured_ones():
    calibration = Calibration("run", "", (), (), threshold_on=0.81, threshold_off=0.6)
    decision = compose(Config(), calibration=calibration).config.decision
    assert (decision.threshold_on, decision.threshold_off) == (0.81, 0.6)


def test_a_missing_card_is_refused(tmp_path: Path):
    config = Config()
    config = config.model_copy(update={"model": config.model.model_copy(update={"card": str(tmp_path / "no.toml")})})
    with pytest.raises(ModelError, match=r"no\.toml"):
        compose(config)


def test_the_card_that_ships_is_found():
    assert default_card().name == "default.toml"
    assert default_card().exists()
