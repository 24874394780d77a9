from __future__ import annotations

import pytest
from pydantic import ValidationError

from streamer.emit.osc import OscSettings


def test_it_is_off_and_stays_on_this_machine_unless_told() -> None:
    settings = OscSettings()
    assert not settings.enabled
    assert settings.host == "127.0.0.1"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_this_machine_needs_no_permission(host: str) -> None:
    assert OscSettings(host=host).host == host


@pytest.mark.parametrize("host", ["10.0.0.7", "stimulus-pc", "fe80::1", "localhost.example.org", "0.0.0.0"])
def test_another_machine_must_be_written_out_as_insecure(host: str) -> None:
    with pytest.raises(ValidationError, match="insecure = true"):
        OscSettings(host=host)
    assert OscSettings(host=host, insecure=True).host == host


@pytest.mark.parametrize("given", [{"port": 0}, {"port": 65536}, {"host": ""}, {"server": "x"}])
def test_settings_that_cannot_be_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        OscSettings.model_validate(given)
