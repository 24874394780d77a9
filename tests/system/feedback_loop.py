"""What the tests of the participant's screen share: a loop that publishes, and a virtual screen."""

from __future__ import annotations

import mmap
import os
import struct
import subprocess
import sys
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from pylsl import local_clock

from dashboard.link.feed import parse_broker
from streamer.wire import Message, ScoreMessage, Status, TriggerMessage, encode, topic

COMMAND = [
    sys.executable,
    "-c",
    "import typer; from dashboard.feedback.command import feedback; typer.run(feedback)",
]
LIFE_S = 0.9


class Loop:
    """Publishes what a loop would."""

    def __init__(self, url: str, session: str = "s") -> None:
        self.session = session
        self.windows = 0
        address = parse_broker(url)
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.connect(address.host, address.port)
        self._client.loop_start()

    def say(self, name: str, message: Message | bytes, *, retain: bool = False, qos: int = 1) -> None:
        payload = message if isinstance(message, bytes) else encode(message)
        told = self._client.publish(topic(self.session, name), payload, qos=qos, retain=retain)
        if qos:
            told.wait_for_publish(5.0)

    def status(self, state: str = "RUNNING", *, online: bool = True) -> None:
        self.say("status", Status(session=self.session, online=online, state=state), retain=True)

    def score(self, level: float, *, life: float = LIFE_S, neutral: bool = False, **axes: float) -> None:
        now = local_clock()
        self.windows += 1
        message = ScoreMessage(
            window=self.windows,
            level=level,
            axes=axes,
            threshold=0.5,
            neutral=neutral,
            about=now - 0.1,
            ready=now,
            expires=now + life,
            flags=[],
        )
        self.say("score", message, qos=0)

    def trigger(self, seq: int, *, life: float = LIFE_S) -> None:
        now = local_clock()
        message = TriggerMessage(
            id=f"{self.session}/{seq}",
            seq=seq,
            action="reward",
            level=0.8,
            about=now - 0.1,
            fire_at=now,
            expires=now + life,
            reason="",
            flags=[],
        )
        # QoS 1 may bring it twice
        self.say("trigger", message)
        self.say("trigger", message)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def environment(**changes: str) -> dict[str, str]:
    graphics = {"DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"}
    return {name: value for name, value in os.environ.items() if name not in graphics} | changes


class VirtualScreen:
    """A framebuffer of Xvfb that can be read from outside."""

    def __init__(self, folder: Path) -> None:
        receive, send = os.pipe()
        size = ["-screen", "0", "1280x1024x24", "-fbdir", str(folder), "-nolisten", "tcp"]
        self.child = subprocess.Popen(
            ["Xvfb", "-displayfd", str(send), *size], pass_fds=(send,), stderr=subprocess.DEVNULL
        )
        os.close(send)
        with os.fdopen(receive) as told:
            self.display = f":{told.readline().strip()}"
        with (folder / "Xvfb_screen0").open("rb") as file:
            self._memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        header = struct.unpack(">25I", self._memory[:100])
        self.width, self.height, self._line = header[4], header[5], header[12]
        self._start = header[0] + 12 * header[19]

    def brightness(self, x: int, y: int) -> int:
        at = self._start + y * self._line + 4 * x
        return max(self._memory[at : at + 3])

    def close(self) -> None:
        self._memory.close()
        self.child.terminate()
        self.child.wait(5)
