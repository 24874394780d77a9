"""The connection to the broker: who we are, how it is secured, and which MQTT both speak.

Version 5 is tried first; a broker that refuses it is asked again in 3.1.1. Payloads are the same in both: what 5 adds
(expiry in the broker, content type, schema and session as user properties) is for those who listen with it. Topic
aliases are not used: they would save 35 of some 400 bytes, and whoever reads along could not tell what is what.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import ssl
from typing import Any

import aiomqtt
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from streamer import wire
from streamer.emit.mqtt_messages import JSON, Outgoing
from streamer.emit.mqtt_settings import MqttSettings, parse_url
from streamer.errors import UsageError
from streamer.messages import SessionTime

WILL_DELAY_S = 1
"""s that a version 5 broker waits before it says that the session is gone: it may be back by then."""
_SESSION_S = 5
_TIMEOUT_S = 3.0
_KEEPALIVE_S = 5
_INCOMING = 1000
_INCOMING_BYTES = 16384
_UNSUPPORTED_VERSION = 132

_quiet = logging.getLogger(f"{__name__}.client")
# it would write a line for every message of a flood
_quiet.setLevel(logging.ERROR)


class LinkClient(aiomqtt.Client):
    """A client that knows when the broker took a message and threw it away."""

    refusal: str | None = None
    """Why the broker refused the newest message of QoS 1; None when it did not."""

    def _on_publish(
        self, client: Any, userdata: Any, mid: int, reason_code: ReasonCode, properties: Properties
    ) -> None:
        # version 5 alone tells; 3.1.1 brokers drop in silence
        self.refusal = str(reason_code) if reason_code.is_failure else None
        super()._on_publish(client, userdata, mid, reason_code, properties)


class Link:
    """Makes connections and sends through them.

    Parameters
    ----------
    settings : MqttSettings
    url : str
    session : str
    offline : bytes
        The last will: the status of a session whose connection was lost.

    Raises
    ------
    UsageError
        A certificate cannot be read, or the password's variable is not set.
    """

    def __init__(self, settings: MqttSettings, url: str, session: str, offline: bytes) -> None:
        self.version = aiomqtt.ProtocolVersion.V5
        """What is spoken, as far as known."""
        self._settled = False
        scheme, self._host, self._port = parse_url(url)
        self._settings = settings
        self._session = session
        self._offline = offline
        self._context = _context(settings) if scheme == "mqtts" else None
        self._password = _password(settings)
        self._properties: dict[tuple[str, int | None], Properties] = {}

    @property
    def is_5(self) -> bool:
        """Whether MQTT 5 is spoken."""
        return self.version is aiomqtt.ProtocolVersion.V5

    async def settle(self) -> None:
        """Find out which version the broker speaks, once: 5, or 3.1.1 where it refuses 5.

        A bare connection is tried: a broker that knows 3.1.1 alone may choke on all that 5 can say.

        Raises
        ------
        aiomqtt.MqttError
            The broker is away, or does not let us in.
        """
        if self._settled:
            return
        try:
            async with self._client():
                pass
        except MqttConnectError as error:
            code = error.rc.value if isinstance(error.rc, ReasonCode) else error.rc
            if code != _UNSUPPORTED_VERSION:
                raise
            self.version = aiomqtt.ProtocolVersion.V311
        self._settled = True

    def client(self) -> LinkClient:
        """Make a client that is not connected yet, with its last will."""
        connect = will = None
        if self.is_5:
            will = Properties(PacketTypes.WILLMESSAGE)
            will.WillDelayInterval = WILL_DELAY_S
            will.ContentType = JSON
            connect = Properties(PacketTypes.CONNECT)
            # a will waits only as long as its session lives
            connect.SessionExpiryInterval = _SESSION_S
            connect.MaximumPacketSize = _INCOMING_BYTES
        topic = wire.topic(self._session, "status")
        return self._client(aiomqtt.Will(topic, self._offline, retain=True, properties=will), connect)

    def _client(self, will: aiomqtt.Will | None = None, properties: Properties | None = None) -> LinkClient:
        return LinkClient(
            self._host,
            self._port,
            username=self._settings.username or None,
            password=self._password,
            # one name for all connections of a session: a half-dead one is taken over
            identifier=f"streamer-{self._session}",
            protocol=self.version,
            # the will of 5 waits in the session, which a clean start would end; 3.1.1 knows no such flag
            clean_start=False if self.is_5 else MQTT_CLEAN_START_FIRST_ONLY,
            properties=properties,
            will=will,
            tls_context=self._context,
            timeout=_TIMEOUT_S,
            keepalive=_KEEPALIVE_S,
            max_queued_incoming_messages=_INCOMING,
            logger=_quiet,
            # else a small message may wait 40 ms for the receipt of the one before
            socket_options=((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),),
        )

    async def send(self, client: LinkClient, message: Outgoing, now: SessionTime) -> str | None:
        """Send one; gives why the broker refused it, if it did.

        Raises
        ------
        aiomqtt.MqttError
            The connection is lost.
        """
        client.refusal = None
        properties = self._publish_properties(message, now)
        await client.publish(
            wire.topic(self._session, message.name), message.payload, qos=message.qos, properties=properties
        )
        return client.refusal

    async def retain(self, client: LinkClient, name: str, payload: bytes, seconds: float | None = None) -> None:
        """Send one that the broker keeps."""
        properties = self._publish_properties(Outgoing(name, payload), SessionTime(0.0))
        await client.publish(
            wire.topic(self._session, name), payload, retain=True, properties=properties, timeout=seconds
        )

    def _publish_properties(self, message: Outgoing, now: SessionTime) -> Properties | None:
        if not self.is_5:
            return None
        seconds = None if math.isinf(message.expires) else max(1, math.ceil(message.expires - now))
        key = (message.content, seconds)
        found = self._properties.get(key)
        if found is None:
            found = Properties(PacketTypes.PUBLISH)
            found.ContentType = message.content
            found.PayloadFormatIndicator = int(message.content == JSON)
            found.UserProperty = [("schema", str(wire.SCHEMA)), ("session", self._session)]
            if seconds is not None:
                found.MessageExpiryInterval = seconds
            if len(self._properties) > 100:
                self._properties.clear()
            self._properties[key] = found
        return found


def _context(settings: MqttSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        raise UsageError(f"mqtt.ca_file {settings.ca_file}: {error}; expected certificates as PEM") from error
    if settings.cert_file is not None:
        try:
            # a key with a passphrase must fail, not ask in the terminal
            context.load_cert_chain(settings.cert_file, settings.key_file, password=lambda: "")
        except OSError as error:
            raise UsageError(
                f"mqtt.cert_file {settings.cert_file} with key_file {settings.key_file}: {error}; "
                "expected a certificate and its key as PEM, without a passphrase"
            ) from error
    return context


def _password(settings: MqttSettings) -> str | None:
    if not settings.password_env:
        return None
    password = os.environ.get(settings.password_env)
    if password is None:
        raise UsageError(
            f"mqtt.password_env is {settings.password_env!r}: expected an environment variable of that name"
        )
    return password
