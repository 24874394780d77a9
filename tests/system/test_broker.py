from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import aiomqtt
import psutil
import pytest

from streamer.broker import HOST, EmbeddedBroker, find_mosquitto
from streamer.errors import BrokerError

pytestmark = pytest.mark.system

KINDS = ("mosquitto", "amqtt")


def wait_until(holds: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.01)
    return False


def port_of(broker: EmbeddedBroker) -> int:
    return int(broker.url.rsplit(":", 1)[1])


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def answers(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False


@pytest.mark.parametrize("kind", KINDS)
async def test_messages_go_through(kind: str) -> None:
    with EmbeddedBroker(kind=kind) as broker:
        pid = broker.pid
        assert broker.kind == kind
        async with aiomqtt.Client(HOST, port_of(broker)) as client:
            await client.subscribe("a/#")
            for qos in (0, 1):
                await client.publish("a/b", f"q{qos}", qos=qos)
            async with asyncio.timeout(5):
                found = [(await anext(client.messages)).payload for _ in range(2)]
    assert found == [b"q0", b"q1"]
    assert pid is not None
    assert is_gone(pid)
    with pytest.raises(BrokerError, match="not running"):
        _ = broker.url
    broker.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_reachable_from_this_machine_only(kind: str) -> None:
    with EmbeddedBroker(kind=kind) as broker:
        assert broker.pid is not None
        listening = [c.laddr for c in psutil.Process(broker.pid).net_connections() if c.status == psutil.CONN_LISTEN]
        assert [(address.ip, address.port) for address in listening] == [("127.0.0.1", port_of(broker))]


@pytest.mark.parametrize("kind", KINDS)
def test_it_can_be_started_again_on_its_port(kind: str) -> None:
    with EmbeddedBroker(kind=kind) as first:
        port = port_of(first)
    with EmbeddedBroker(port, kind=kind) as again:
        assert again.url == f"mqtt://127.0.0.1:{port}"
        with pytest.raises(BrokerError, match="runs already"):
            again.start()
        with pytest.raises(BrokerError, match="taken by another program"):
            EmbeddedBroker(port).start()


@pytest.mark.parametrize("kind", KINDS)
def test_it_dies_with_its_parent(kind: str) -> None:
    program = (
        "from streamer.broker import EmbeddedBroker\n"
        f"broker = EmbeddedBroker(kind={kind!r}); broker.start()\n"
        "print(broker.pid, broker.url, flush=True)\n"
        "import threading; threading.Event().wait()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        pid, url = parent.stdout.readline().split()
        assert not is_gone(int(pid))
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert wait_until(lambda: is_gone(int(pid)), 3.0)
    assert wait_until(lambda: not answers(int(url.rsplit(":", 1)[1])), 3.0)


def test_where_the_kernel_does_not_help_a_watcher_ends_it(tmp_path: Path) -> None:
    mosquitto = find_mosquitto()
    assert mosquitto is not None, "apt-get install mosquitto"
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    config = tmp_path / "m.conf"
    config.write_text(f"listener {port} {HOST}\nallow_anonymous true\n")
    for how in ("the pipe closes", "it is told to"):
        watcher = subprocess.Popen(
            [sys.executable, "-m", "streamer.broker", "watch", str(os.getpid()), mosquitto, "-c", str(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert watcher.stdin is not None
        assert wait_until(lambda pid=watcher.pid: bool(psutil.Process(pid).children()))
        (child,) = psutil.Process(watcher.pid).children()
        if how == "the pipe closes":
            watcher.stdin.close()
        else:
            watcher.terminate()
        watcher.wait(10)
        watcher.stdin.close()
        assert wait_until(lambda pid=child.pid: is_gone(pid))


def test_a_broker_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "mosquitto"
    program.write_text("#!/bin/sh\necho 'no such luck'\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(BrokerError, match=r"status 3: no such luck"):
        EmbeddedBroker(kind="mosquitto").start()


async def test_it_starts_beside_a_running_loop() -> None:
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.001)

    turning = asyncio.create_task(turn())
    broker = EmbeddedBroker()
    try:
        await asyncio.to_thread(broker.start)
        assert turns >= 5
        assert broker.kind == "mosquitto"
        assert broker.pid is not None
        assert not is_gone(broker.pid)
    finally:
        await asyncio.to_thread(broker.stop)
        turning.cancel()
        await asyncio.gather(turning, return_exceptions=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_broker_that_died_comes_back_on_its_port(kind: Literal["mosquitto", "amqtt"]) -> None:
    with EmbeddedBroker(kind=kind) as broker:
        url = broker.url
        assert broker.alive
        assert not broker.revive()
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGKILL)
        assert wait_until(lambda: not broker.alive)
        assert broker.revive()
        assert broker.alive
        assert broker.url == url
