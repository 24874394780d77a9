from __future__ import annotations

import asyncio
import gc
import getpass
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from streamer.broker import HOST, find_mosquitto
from streamer.emit.mqtt import MqttSettings, MqttSink
from streamer.errors import UsageError
from tests.system.mqtt_room import HandClock, eventually, running, score, trigger

pytestmark = pytest.mark.system


OPENSSL_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"


async def do(*commands: str) -> None:
    for command in commands:
        made = await asyncio.create_subprocess_exec(
            *command.split(), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        assert await made.wait() == 0, command


@asynccontextmanager
async def site_broker(folder: Path, settings: str) -> AsyncIterator[int]:
    """Mosquitto as a site would run it: with TLS, ``settings``, and nobody unknown."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    (folder / "m.conf").write_text(
        f"listener {port} {HOST}\nallow_anonymous false\nuser {getpass.getuser()}\n{settings}", encoding="utf-8"
    )
    program = find_mosquitto()
    assert program is not None, "apt-get install mosquitto"
    child = await asyncio.create_subprocess_exec(
        program, "-c", str(folder / "m.conf"), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield port
    finally:
        child.terminate()
        await child.wait()


@asynccontextmanager
async def secured_broker(folder: Path) -> AsyncIterator[int]:
    """One that asks for a password."""
    await do(
        f"openssl req -x509 {OPENSSL_KEY} -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
        f" -keyout {folder}/key.pem -out {folder}/cert.pem",
        f"mosquitto_passwd -b -c {folder}/passwords loop secret",
    )
    settings = f"password_file {folder}/passwords\ncertfile {folder}/cert.pem\nkeyfile {folder}/key.pem\n"
    async with site_broker(folder, settings) as port:
        yield port


async def issue(folder: Path, name: str) -> None:
    """Have the site's authority sign a certificate for ``name``."""
    (folder / f"{name}.ext").write_text(f"subjectAltName=DNS:{name}\n", encoding="utf-8")
    await do(
        f"openssl req {OPENSSL_KEY} -subj /CN={name} -keyout {folder}/{name}.key -out {folder}/{name}.csr",
        f"openssl x509 -req -days 2 -in {folder}/{name}.csr -CA {folder}/ca.pem -CAkey {folder}/ca.key"
        f" -CAcreateserial -extfile {folder}/{name}.ext -out {folder}/{name}.pem",
    )


# paho leaves the socket of a refused handshake to the collector
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
async def test_tls_and_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_PASSWORD", "secret")
    monkeypatch.setenv("WRONG_PASSWORD", "guess")
    async with secured_broker(tmp_path) as port:
        url = f"mqtts://localhost:{port}"
        who = {"broker": url, "username": "loop", "ca_file": tmp_path / "cert.pem"}
        async with running(url, "s", **who, password_env="LAB_PASSWORD") as sink:
            await eventually(lambda: sink.connected)
            sink.put(trigger(0))
            await eventually(lambda: sink.depth == 0)
        assert sink.losses() == {}
        async with running(url, "s", **who, password_env="WRONG_PASSWORD") as sink:
            await eventually(lambda: sink.problem and "uthori" in sink.problem)
        async with running(url, "s", **(who | {"ca_file": None}), password_env="LAB_PASSWORD") as sink:
            await eventually(lambda: sink.problem and "certificate" in sink.problem.lower())
            assert not sink.connected
    gc.collect()


@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
async def test_client_certificates_and_what_their_holder_may_not_send(tmp_path: Path) -> None:
    await do(f"openssl req -x509 {OPENSSL_KEY} -days 2 -subj /CN=site -keyout {tmp_path}/ca.key -out {tmp_path}/ca.pem")
    for name in ("localhost", "loop"):
        await issue(tmp_path, name)
    (tmp_path / "acl").write_text("user loop\ntopic readwrite eegfmri/s/#\ntopic deny eegfmri/s/trigger\n")
    settings = (
        f"cafile {tmp_path}/ca.pem\ncertfile {tmp_path}/localhost.pem\nkeyfile {tmp_path}/localhost.key\n"
        f"require_certificate true\nuse_identity_as_username true\nacl_file {tmp_path}/acl\n"
    )
    async with site_broker(tmp_path, settings) as port:
        url = f"mqtts://localhost:{port}"
        ours = {"cert_file": tmp_path / "loop.pem", "key_file": tmp_path / "loop.key"}
        async with running(url, "s", broker=url, ca_file=tmp_path / "ca.pem", **ours) as sink:
            await eventually(lambda: sink.connected)
            assert sink.protocol == "5"
            sink.put(trigger(0))
            await eventually(sink.losses)
            sink.put(score(0))
            await eventually(lambda: sink.depth == 0)
            assert sink.connected
        # the broker took it and threw it away: MQTT 5 tells
        assert sink.losses() == {"trigger_refused": 1}
        async with running(url, "s", broker=url, ca_file=tmp_path / "ca.pem") as sink:
            await eventually(lambda: sink.problem)
            assert not sink.connected
    gc.collect()


def test_certificates_and_passwords_that_are_not_there_are_said_at_once(tmp_path: Path) -> None:
    url = "mqtts://localhost:1"
    (tmp_path / "no.pem").write_text("no certificate")
    for settings, said in (
        ({"ca_file": tmp_path / "absent.pem"}, "ca_file.*absent.pem"),
        ({"ca_file": tmp_path / "no.pem"}, "ca_file.*as PEM"),
        ({"cert_file": tmp_path / "no.pem"}, "cert_file.*without a passphrase"),
        ({"username": "u", "password_env": "NOT_SET_ANYWHERE"}, "password_env.*NOT_SET_ANYWHERE"),
    ):
        with pytest.raises(UsageError, match=said):
            MqttSink(MqttSettings(broker=url, **settings), url, "s", HandClock())
