"""DICOM push: a C-STORE receiver as a second source of volumes.

A scanner, or a node between, is told of this host as a storage destination. Objects are taken whole, as bytes, and go
the way of all images (``export_intake.py``); nothing of them is written to disk, and nothing of their headers reaches a
log. The receiver's threads do nothing but receive: objects are read by whoever calls :meth:`DicomReceiver.poll`.

Titles of application entities are no protection, only order: a receiver that other machines can reach takes objects
from named senders only.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
import threading
from collections import deque
from typing import Any, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from streamer.acquire.export_files import MAX_FILE_BYTES
from streamer.acquire.export_intake import Arrival, FileProblem, VolumeIntake
from streamer.contracts import Settings
from streamer.errors import FormatError, SourceError
from streamer.formats.dicom import NotAnImageVolume, read_content
from streamer.messages import SessionTime, SourceState

MAX_PIECE_BYTES = 2**17
SYNTAXES = (
    # explicit, implicit, deflated
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1.99",
    # RLE, lossless JPEG, lossless JPEG-LS
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    # JPEG 2000, high-throughput JPEG 2000
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.202",
)
"""Transfer syntaxes that are accepted: those that the reader reads."""
_ALL_IS_WELL, _OUT_OF_RESOURCES = 0x0000, 0xA700
_IDLE_S = 60.0
_GREETING_S = 5.0
_TITLE = r"^[!-\[\]-~][ -\[\]-~]{0,15}$"

# pynetdicom tells of datasets and of errors in its own words; what matters here is counted and said by us
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)


class DicomPushSettings(Settings):
    """How pushed DICOM objects are received."""

    enabled: bool = False
    """Receive objects that the scanner sends (C-STORE), beside those in the export directory."""
    address: str = "127.0.0.1"
    """Address to listen at; 127.0.0.1: this machine alone; 0.0.0.0: all networks, which needs ``calling``."""
    port: int = Field(default=11112, ge=0, le=65535)
    """TCP port; 0: any that is free."""
    ae_title: str = Field(default="STREAMER", pattern=_TITLE)
    """Our application entity title; senders that call another one are refused."""
    calling: tuple[str, ...] = ()
    """Titles of the senders that are let in; none: every sender on this machine."""
    associations: int = Field(default=8, ge=1, le=64)
    """Senders at a time."""

    @field_validator("address")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        ipaddress.ip_address(value)
        return value

    @model_validator(mode="after")
    def _is_closed_to_strangers(self) -> Self:
        if self.enabled and not ipaddress.ip_address(self.address).is_loopback and not self.calling:
            raise ValueError(f"address {self.address} is open to other machines: name the senders' titles in calling")
        return self


class DicomReceiver:
    """The receiver as a source of volumes.

    Parameters
    ----------
    settings : DicomPushSettings
    intake : VolumeIntake
        Takes the images; one for all sources of a session. It counts besides: ``pushed`` objects, ``aborted``
        associations that broke off within an object, ``refused`` associations, and ``overflowed`` objects that came
        faster than they could be read.
    wake : threading.Event
        Set when an object has come.
    """

    name = "push"

    def __init__(self, settings: DicomPushSettings, intake: VolumeIntake, wake: threading.Event) -> None:
        self.settings = settings
        self.intake = intake
        self._wake = wake
        self._held: deque[bytes] = deque()
        self._held_bytes = 0
        self._events: deque[str] = deque()
        self._lock = threading.Lock()
        self._server: Any = None
        self._number = 0

    def open(self) -> int:
        """Listen; give the port.

        Raises
        ------
        SourceError
            The port is taken, or the address is not one of this machine.
        """
        # imported here, so that sessions without push do not wait for it
        from pynetdicom import AE, AllStoragePresentationContexts, evt
        from pynetdicom.sop_class import (
            Verification,  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]
        )

        s = self.settings
        entity: Any = AE(ae_title=s.ae_title)
        entity.supported_contexts = AllStoragePresentationContexts
        for context in entity.supported_contexts:
            context.transfer_syntax = list(SYNTAXES)
        entity.add_supported_context(Verification)
        entity.require_called_aet = True
        entity.require_calling_aet = list(s.calling)
        entity.maximum_associations = s.associations
        entity.maximum_pdu_size = MAX_PIECE_BYTES
        entity.network_timeout = _IDLE_S
        entity.acse_timeout = _GREETING_S
        handlers: list[Any] = [
            (evt.EVT_C_STORE, self._take),
            (evt.EVT_PDU_RECV, self._check_piece),
            (evt.EVT_ABORTED, self._note_end),
            (evt.EVT_CONN_CLOSE, self._note_end),
            (evt.EVT_REJECTED, self._note_refusal),
        ]
        try:
            self._server = entity.start_server((s.address, s.port), block=False, evt_handlers=handlers)
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise SourceError(f"DICOM push cannot listen at {s.address} port {s.port}: {reason}") from error
        port = int(self._server.server_address[1])
        detail = f"listening at {s.address} port {port} as {s.ae_title}"
        self.intake.say(SourceState(self.name, "found", detail, SessionTime(np.nan)))
        return port

    def poll(self) -> list[Arrival]:
        """Read what has come; give what is new, volumes in the order of their numbers. ``received`` is NaN."""
        self.intake.tick()
        self._tell_events()
        while self._held:
            raw = self._held.popleft()
            with self._lock:
                self._held_bytes -= len(raw)
            self._read(raw)
        return self.intake.drain()

    def close(self) -> None:
        """Stop listening and end what is being received. May be called twice."""
        if self._server is not None:
            senders = self._server.active_associations
            self._server.shutdown()
            for sender in senders:
                if sender.is_established:
                    sender.abort()
                else:
                    # as if its time to say who it is were over
                    sender.dul.to_user_queue.put(None)
                sender.join(_GREETING_S)
                transport = sender.dul.socket
                if transport is not None and transport.socket is not None:
                    # one whose peer went away in mid-word may be left open
                    with contextlib.suppress(OSError):
                        transport.socket.close()
            self._server = None

    def _read(self, raw: bytes) -> None:
        self._number += 1
        self.intake.counts["pushed"] += 1
        name = f"pushed object {self._number}"
        try:
            content = read_content(raw, name, self.intake.echo)
        except NotAnImageVolume as error:
            self.intake.leave_out(name, error)
        except FormatError as error:
            self.intake.give_up(name, str(error))
        else:
            self.intake.note(name, content.notes)
            for image in content.images:
                self.intake.take(name, image)

    def _tell_events(self) -> None:
        while self._events:
            kind, _, text = self._events.popleft().partition(":")
            self.intake.counts[kind] += 1
            self.intake.say_once(f"{kind} {text}", FileProblem(self.name, text, lost=kind != "refused"))

    # what follows runs in the receiver's threads

    def _take(self, event: Any) -> int:
        raw = event.encoded_dataset()
        with self._lock:
            full = self._held_bytes + len(raw) > MAX_FILE_BYTES
            if not full:
                self._held_bytes += len(raw)
        if full:
            self._note("overflowed:DICOM push: more objects came than could be read; the sender was told")
            return _OUT_OF_RESOURCES
        self._held.append(raw)
        self._wake.set()
        return _ALL_IS_WELL

    def _check_piece(self, event: Any) -> None:
        transport = event.assoc.dul.socket
        if transport is not None and transport.socket is not None and hasattr(socket, "TCP_QUICKACK"):
            # many senders wait for the word that their piece has come before they send the next: the system holds
            # that word back for 40 ms, and forgets at every piece that it should not
            with contextlib.suppress(OSError):
                transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        unfinished = event.assoc.dimse.message
        if unfinished is not None and unfinished.data_set.tell() > MAX_FILE_BYTES:
            event.assoc.abort()

    def _note_end(self, event: Any) -> None:
        if event.assoc.dimse.message is not None:
            event.assoc.dimse.message = None
            self._note("aborted:DICOM push: a sender broke off within an object, which is lost")

    def _note_refusal(self, _: Any) -> None:
        self._note("refused:DICOM push: a sender was refused: its title, the title it called or their number")

    def _note(self, text: str) -> None:
        self._events.append(text)
        self._wake.set()
