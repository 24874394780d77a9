from __future__ import annotations

import pytest
from pydantic import ValidationError

from streamer.emit.mqtt import MqttSettings


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({"broker": "mqtt://lab.example:1883"}, "TLS.*user name"),
        ({"broker": "mqtts://lab.example"}, "user name"),
        ({"broker": "mqtts://lab.example", "username": "u"}, "user name"),
        ({"broker": "mqtt://lab.example", "username": "u", "password_env": "P"}, "TLS"),
        ({"broker": "mqtt://0.0.0.0"}, "TLS"),
        ({"broker": "http://localhost"}, "expected 'embedded'"),
        ({"broker": "mqtt://"}, "expected 'embedded'"),
        ({"broker": "mqtt://localhost:99999"}, "expected 'embedded'"),
        ({"broker": "mqtt://u:p@localhost"}, "give username and password_env"),
        ({"broker": "mqtts://lab.example", "key_file": "k.pem"}, "key_file without cert_file"),
        ({"broker": "mqtt://localhost", "cert_file": "c.pem"}, "is for mqtts"),
        ({"broker": "mqtts://lab.example", "ca_file": "ca.pem"}, "certificate"),
        ({"preview": "both"}, "'json', 'binary' or 'none'"),
        ({"queue_size": 0}, "greater than or equal to 1"),
        ({"unheard_of": 1}, "not permitted"),
    ],
)
def test_unsafe_or_wrong_settings_are_refused(settings: dict[str, object], missing: str) -> None:
    with pytest.raises(ValidationError, match=missing):
        MqttSettings(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"broker": "mqtt://127.0.0.1"},
        {"broker": "mqtt://[::1]:1884"},
        {"broker": "mqtt://localhost:1883"},
        {"broker": "mqtt://lab.example", "insecure": True},
        {"broker": "mqtts://lab.example", "username": "u", "password_env": "LAB_PASSWORD"},
        {"broker": "mqtts://lab.example", "cert_file": "c.pem", "key_file": "k.pem"},
    ],
)
def test_safe_settings_are_taken(settings: dict[str, object]) -> None:
    assert MqttSettings(**settings).queue_size == 1000
