import tomllib
from pathlib import Path

import pytest

from streamer.config import Config, commented_toml, load_config, parse_config
from streamer.errors import ConfigError, UsageError


def problems(text: str, tmp_path: Path) -> list[str]:
    path = tmp_path / "SESSION.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return list(caught.value.problems)


def test_what_init_writes_reads_back_as_the_defaults(tmp_path: Path):
    path = tmp_path / "SESSION.toml"
    path.write_text(commented_toml())
    assert load_config(path) == parse_config({}, "defaults", tmp_path)


def test_every_setting_is_explained():
    lines = commented_toml().splitlines()
    keys = [i for i, line in enumerate(lines) if " =" in line.removeprefix("# ") and not line.startswith(("# ", "["))]
    unexplained = [lines[i] for i in keys if not lines[i - 1].startswith("# ") and lines[i] != "schema = 1"]
    assert len(keys) > 40
    assert not unexplained


def test_all_problems_are_reported_at_once(tmp_path: Path):
    found = problems(
        """
        schema = 1
        colour = "blue"
        tick_hz = 7
        [session]
        name = "no/slash"
        [eeg.stream]
        unit = "furlong"
        [bold]
        first_volume = -5000
        """,
        tmp_path,
    )
    text = "\n".join(found)
    assert len(found) == 5
    for expected in (
        "colour: unknown key (given 'blue')",
        "tick_hz: given 7",
        "session.name: given 'no/slash'",
        "eeg.stream.unit: given 'furlong'",
        "bold.first_volume: given -5000",
    ):
        assert expected in text


def test_a_newer_schema_is_refused(tmp_path: Path):
    assert "schema: given 2" in problems("schema = 2", tmp_path)[0]


def test_a_file_that_is_not_toml_says_where(tmp_path: Path):
    assert "line 1" in problems("= nothing", tmp_path)[0]


def test_a_missing_file_says_how_to_write_one(tmp_path: Path):
    with pytest.raises(UsageError, match="config init"):
        load_config(tmp_path / "absent.toml")


def test_paths_count_from_the_file(tmp_path: Path):
    path = tmp_path / "here" / "SESSION.toml"
    path.parent.mkdir()
    path.write_text('[bold]\ndirectory = "export"\nregions = "/abs/r.nii"\n[model]\ncalibration = "../cal"\n')
    config = load_config(path)
    assert config.bold.directory == tmp_path / "here" / "export"
    assert config.bold.regions == Path("/abs/r.nii")
    assert config.model.calibration == tmp_path / "here" / "../cal"


def test_a_broker_beyond_loopback_needs_tls_and_a_password(tmp_path: Path):
    assert any("insecure" in p for p in problems('[mqtt]\nbroker = "mqtt://10.0.0.1:1883"\n', tmp_path))


def test_settings_identify_themselves():
    one = Config()
    other = one.model_copy(update={"tick_hz": 5.0})
    assert one.sha256() != other.sha256()
    assert one.preprocessing_digest() == other.preprocessing_digest()


def test_the_written_toml_is_toml():
    assert tomllib.loads(commented_toml())["schema"] == 1
