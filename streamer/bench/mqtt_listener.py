"""A subscriber in a process of its own: ``python -m streamer.bench.mqtt_listener PORT SESSION``.

It speaks MQTT 3.1.1, with a persistent session and QoS 1. It says ``ready`` when it is subscribed, and when its input
closes what it heard, as JSON: for every kind the sequence numbers and how old each message was on arrival, s.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from streamer import wire
from streamer.broker import HOST
from streamer.clock import LiveClock

_RECONNECT_S = (1, 1)


def main(port: int, session: str) -> None:
    """Listen until standard input closes, then tell."""
    clock = LiveClock()
    heard: dict[str, list[tuple[int, float]]] = defaultdict(list)

    def connected(client: mqtt.Client, *_: Any) -> None:
        client.subscribe(wire.topic(session, "#"), qos=1)

    def subscribed(*_: Any) -> None:
        sys.stdout.write("ready\n")
        sys.stdout.flush()

    def take(_client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        now = clock.now()
        if message.topic.endswith("/preview/eeg") or message.topic.endswith(".bin"):
            heard["preview"].append((len(message.payload), 0.0))
            return
        match wire.decode(bytes(message.payload)):
            case wire.PredictionMessage(ready=float(ready)) as found:
                heard["prediction"].append((found.seq, now - ready))
            case wire.ScoreMessage(ready=float(ready)) as found:
                heard["score"].append((found.window, now - ready))
            case wire.TriggerMessage() as found:
                heard["trigger"].append((found.seq, now - found.about))
            case _:
                pass

    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"listener-{session}", clean_session=False)
    client.on_connect, client.on_subscribe, client.on_message = connected, subscribed, take
    client.reconnect_delay_set(*_RECONNECT_S)
    client.connect(HOST, port)
    client.loop_start()
    sys.stdin.read()
    client.disconnect()
    client.loop_stop()
    sys.stdout.write(json.dumps(heard) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
