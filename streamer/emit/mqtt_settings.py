"""Where results are published, and how."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from streamer.contracts import Settings

_PORTS = {"mqtt": 1883, "mqtts": 8883}


class MqttSettings(Settings):
    """Where results are published, and how."""

    broker: str = "embedded"
    """``embedded`` (a child process on this machine), ``mqtt://host:port`` or ``mqtts://host:port``."""
    username: str = ""
    """Empty for none."""
    password_env: str = ""
    """Name of the environment variable that holds the password."""
    ca_file: Path | None = None
    """Certificates to trust for ``mqtts``, PEM; the system's when absent."""
    cert_file: Path | None = None
    """Our own certificate for ``mqtts``, PEM: for brokers that know their clients by it."""
    key_file: Path | None = None
    """The key of ``cert_file``, PEM, without a passphrase; absent: it is in the same file."""
    insecure: bool = False
    """Allow a broker on another machine without TLS or without a password or certificate."""
    queue_size: int = Field(default=1000, ge=1)
    """Messages kept while the broker is slow or away."""
    prediction_ttl_s: float = Field(default=1.0, gt=0)
    """s after which a prediction or a feature is stale and is not sent any more."""
    preview: Literal["json", "binary", "none"] = "json"
    """Cleaned EEG for looking at: on ``preview/eeg``, as bytes on ``preview/eeg.bin``, or not at all."""
    preview_s: float = Field(default=0.1, gt=0)
    """s of EEG per preview message."""
    preview_raw: bool = True
    """EEG as it came on ``preview/raw.bin``, too, unless ``preview`` is ``none``."""
    preview_volumes: bool = True
    """Volumes with their maps on ``preview/volume``; in a blinded session without maps."""
    commands: bool = True
    """Take the operator's commands from the topic ``command``."""
    command_key_env: str = ""
    """Name of the environment variable with the key that commands other than stop are signed with; empty: a key is
    drawn for the session and lies in its folder, readable by its owner alone."""

    @model_validator(mode="after")
    def _check_broker(self) -> Self:
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("key_file without cert_file: expected both, or neither")
        if self.broker == "embedded":
            return self
        scheme, host, _ = parse_url(self.broker)
        if self.cert_file is not None and scheme != "mqtts":
            raise ValueError(f"broker is {self.broker!r}: a certificate (cert_file) is for mqtts://")
        if is_loopback(host) or self.insecure:
            return self
        known = (self.username and self.password_env) or self.cert_file is not None
        missing = [
            what
            for what, there in (
                ("TLS (mqtts://)", scheme == "mqtts"),
                ("a user name and a password (username, password_env) or a certificate (cert_file)", known),
            )
            if not there
        ]
        if missing:
            raise ValueError(
                f"broker is {self.broker!r}, on another machine: expected {' and '.join(missing)}, or insecure = true"
            )
        return self


def parse_url(url: str) -> tuple[str, str, int]:
    """Take the URL of a broker apart.

    Returns
    -------
    scheme : str
        ``mqtt`` or ``mqtts``.
    host : str
    port : int

    Raises
    ------
    ValueError
        It is not the URL of a broker, or it has a user or a path in it.
    """
    expected = f"broker is {url!r}: expected 'embedded', 'mqtt://host:port' or 'mqtts://host:port'"
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        raise ValueError(expected) from None
    if parts.username or parts.password:
        # not repeated: it may hold the password
        raise ValueError("broker has a user or password in its address: give username and password_env")
    if not parts.hostname or parts.path or parts.query or parts.fragment:
        raise ValueError(expected)
    return parts.scheme, parts.hostname, port


def is_loopback(host: str) -> bool:
    """Tell whether ``host`` can only be this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
