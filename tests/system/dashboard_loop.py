"""A loop that publishes what a session would, for tests of the operator's window."""

from __future__ import annotations

import math
import socket
from collections.abc import Sequence
from functools import cache
from typing import Any
from uuid import uuid4

import numpy as np
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from dashboard.board import LAST_WILL
from dashboard.link.feed import parse_broker
from streamer.formats.montage import electrode_positions
from streamer.messages import Flag
from streamer.wire import (
    About,
    BoldMessage,
    ChannelEntry,
    CommandMessage,
    ConfigMessage,
    FeatureMessage,
    HealthMessage,
    MarkerMessage,
    Message,
    PredictionMessage,
    QualityMessage,
    ScoreMessage,
    Status,
    TriggerMessage,
    VetoMessage,
    VolumeMessage,
    decode_command,
    encode,
    encode_volume,
    topic,
)
from streamer.wire.preview_bytes import encode_preview
from tests.unit.looked_at_heads import ACTIVE, LAS, QUIET, head

BEGIN = 1000.0
"""SessionTime of the first step, s."""
STEP_S = 0.5
TR_S = 2.0
SFREQ = 250.0
CHANNELS = ("Fp1", "Fp2", "F3", "F4", "C3", "Cz", "C4", "P3", "Pz", "P4", "O1", "O2")
REGIONS = ("motor", "insula", "visual", "cingulate")
CLASSES = ("rest", "task")
MODEL = "fusion@0123456789ab"
CAUGHT_UP = "test.caught_up"


@cache
def small_head() -> VolumeMessage:
    affine = LAS.copy()
    affine[:3, :3] *= 2
    return head(shape=(32, 32, 20), affine=affine)


class Loop:
    """Publishes what a loop would, half a second of the session at a time."""

    def __init__(
        self,
        url: str,
        session: str | None = None,
        *,
        channels: Sequence[str] = CHANNELS,
        regions: Sequence[str] = REGIONS,
        classes: Sequence[str] = CLASSES,
        sfreq: float = SFREQ,
        blinded: bool = False,
        step: int = 0,
    ) -> None:
        self.session = session or f"test-{uuid4().hex[:8]}"
        self.channels, self.regions, self.classes = tuple(channels), tuple(regions), tuple(classes)
        self.sfreq, self.blinded, self.step = sfreq, blinded, step
        self.losses = {"eeg_samples": 0, "volumes": 0}
        self.marks = 0
        self._rng = np.random.default_rng(5)
        address = parse_broker(url)
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.will_set(topic(self.session, "status"), encode(self._status("STOPPED", False, LAST_WILL)), 1, True)
        self.commands: list[CommandMessage] = []
        """What it was told, in order."""
        self._client.on_message = lambda _client, _own, message: self.commands.append(
            decode_command(bytes(message.payload))
        )
        self._client.connect(address.host, address.port)
        self._client.subscribe(topic(self.session, "command"), 1)
        self._client.loop_start()

    @property
    def now(self) -> float:
        """SessionTime at the end of the last step, s."""
        return BEGIN + STEP_S * self.step

    def _status(self, state: str, online: bool, detail: str) -> Status:
        return Status(session=self.session, online=online, state=state, detail=detail)

    def say(self, name: str, message: Message | bytes, *, retain: bool = False) -> None:
        payload = message if isinstance(message, bytes) else encode(message)
        self._client.publish(topic(self.session, name), payload, qos=1, retain=retain)

    def status(self, state: str, *, online: bool = True, detail: str = "") -> None:
        self.say("status", self._status(state, online, detail), retain=True)

    def about(self) -> None:
        places = electrode_positions(list(self.channels))
        channels = [
            ChannelEntry(name, "eeg", place.tolist() if np.isfinite(place).all() else None)
            for name, place in zip(self.channels, places, strict=True)
        ]
        centres = [ACTIVE, QUIET, [0.0, -85.0, 5.0], [0.0, 30.0, 25.0]]
        about = About(
            session=self.session,
            eeg_sfreq=self.sfreq,
            channels=[*channels, ChannelEntry("ECG", "ecg")],
            regions=list(self.regions),
            classes=list(self.classes),
            model="" if self.blinded else MODEL,
            tick_hz=10.0,
            thresholds={} if self.blinded else {"on": 0.7, "off": 0.5},
            versions={},
            blinded=self.blinded,
            regions_mm=[list(map(float, mm)) for mm, _ in zip(centres, self.regions, strict=False)],
            tr_s=TR_S,
            commands=["stop"],
        )
        self.say("about", about, retain=True)

    def begin(self, state: str = "RUNNING") -> None:
        self.about()
        settings = {"decision": {"veto": ["MOTION", "STALE", "CLIPPED", "BAD_CHANNELS"]}}
        self.say("config", ConfigMessage(session=self.session, sha256="1" * 64, settings=settings), retain=True)
        self.status(state)

    def run(self, steps: int, **how: Any) -> None:
        for _ in range(steps):
            self.send(**how)

    def send(
        self,
        *,
        eeg: bool = True,
        volumes: bool = True,
        decisions: bool = True,
        state: str = "RUNNING",
        flags: Sequence[str] = (),
        health_flags: Sequence[str] = (),
        bold_age: float = 2.5,
        fd: float = 0.1,
        bad: Sequence[str] = (),
        clipped: Sequence[str] = (),
        neutral: bool = False,
        unknown: bool = False,
    ) -> None:
        """Send half a second of everything.

        Parameters
        ----------
        unknown : bool
            All values are NaN or null.
        """
        at = self.now
        self.step += 1
        if eeg:
            self._send_eeg(at, bad, clipped, unknown=unknown)
        if volumes and self.regions and (self.step - 1) % round(TR_S / STEP_S) == 0:
            self._send_volume(at, fd, unknown=unknown)
        for k in range(5 if decisions else 0):
            self._decide(at + STEP_S * (k + 1) / 5, flags, bold_age, neutral=neutral, unknown=unknown)
        if self.step % 2 == 0:
            self._tell(state, [*health_flags], bad, fd, unknown=unknown)

    def _send_eeg(self, at: float, bad: Sequence[str], clipped: Sequence[str], *, unknown: bool) -> None:
        n = round(STEP_S * self.sfreq)
        times = at - BEGIN + np.arange(n) / self.sfreq
        gains = np.linspace(5, 40, len(self.channels))
        signal = np.sin(2 * np.pi * 10 * times)[:, None] * gains + 8 * self._rng.standard_normal((n, len(gains)))
        signal = signal.astype(np.float32)
        for name in clipped:
            signal[:, self.channels.index(name)] = 3276.7
        if unknown:
            signal[:] = np.nan
        places = [self.channels.index(name) for name in bad]
        flags = Flag.CLIPPED if clipped else Flag.NONE
        first = round((self.step - 1) * STEP_S * self.sfreq)
        for raw, name in ((False, "preview/eeg.bin"), (True, "preview/raw.bin")):
            self.say(
                name,
                encode_preview(
                    signal + np.float32(500 * raw), first_sample=first, t0=at, sfreq=self.sfreq, flags=flags,
                    bad=places, interpolated=[], hold_s=0.0, raw=raw,
                ),
            )  # fmt: skip

    def _send_volume(self, at: float, fd: float, *, unknown: bool) -> None:
        index = round((self.step - 1) * STEP_S / TR_S)
        wave = [round(float(np.sin(index / 3 + k)), 3) for k in range(len(self.regions))]
        void, none = unknown or self.blinded, [None] * len(wave)
        self.say(
            "bold",
            BoldMessage(
                index=index,
                acquired=None if unknown else at - 1.5,
                received=at,
                regions=[*none] if void else [*wave],
                motion_mm=[0.1, -0.05, fd / 2],
                motion_rad=[0.0, 0.002, 0.01],
                fd_mm=fd,
                flags=["MOTION"] if fd > 0.5 else [],
                z=[*none] if void else [*wave],
                dvars_percent=None if unknown else 1.1,
            ),
        )
        seen = small_head()
        images = {"mean": seen.images["mean"]} if unknown or self.blinded else seen.images
        self.say("preview/volume", encode_volume(VolumeMessage(index, "1", at, seen.affine, images)))

    def _decide(self, at: float, flags: Sequence[str], bold_age: float, *, neutral: bool, unknown: bool) -> None:
        seq = round((at - BEGIN) * 10)
        share = 0.5 + 0.31 * math.sin(seq / 20)
        if not self.blinded:
            names = self.classes
            others = (1 - share) / max(1, len(names) - 1)
            self.say(
                "prediction",
                PredictionMessage(
                    seq=seq,
                    model=MODEL,
                    probabilities={name: round(share if name == names[-1] else others, 5) for name in names},
                    uncertainty=0.7,
                    attention={"eeg": 0.6, "bold": 0.4},
                    about=at,
                    ready=None if unknown else at,
                    expires=at + 1,
                    age_eeg_s=None if unknown else 0.02,
                    age_bold_s=None if unknown else bold_age,
                    flags=[*flags],
                    disagreement=0.3 if "ABSTAINED" in flags else 0.01,
                    candidates=[] if "ABSTAINED" in flags else [self.classes[0]],
                ),
            )
        self.say(
            "score",
            ScoreMessage(
                window=seq,
                level=0.5 if neutral else share,
                axes={},
                threshold=0.7,
                neutral=neutral,
                about=at,
                ready=None if unknown else at,
                expires=at + 1,
                flags=[*flags],
            ),
        )

    def _tell(self, state: str, flags: list[str], bad: Sequence[str], fd: float, *, unknown: bool) -> None:
        volumes = round(self.step * STEP_S / TR_S)
        self.say(
            "health",
            HealthMessage(
                state=state,
                armed=state != "STOPPED",
                at=self.now,
                counts={"chunks": 1_234_567, "volumes": volumes},
                losses=dict(self.losses),
                latency_ms={} if unknown else {"gradient": [0.31, 12.5], "inference": [1.2, 4.0]},
                queues={"mqtt": 3},
                flags=flags,
                notes=[],
                eeg={"r_confidence": None if unknown else 0.93, "heart_rate_bpm": None if unknown else 62.0},
            ),
        )
        self.say(
            "quality",
            QualityMessage(
                at=self.now,
                bad_channels=[*bad],
                n_channels=len(self.channels),
                eeg={},
                fd_mm=None if unknown else fd,
                fd_mean_mm=None if unknown else fd,
                fd_max_mm=None if unknown else fd,
                volumes=volumes,
                volumes_motion=0,
                flags=flags,
            ),
        )

    def mark(self, label: str) -> None:
        self.say("marker", MarkerMessage(label=label, at=self.now))

    def trigger(self, seq: int) -> None:
        trigger = TriggerMessage(
            id=f"{self.session}/{seq}", seq=seq, action="reward", level=0.8, about=self.now, fire_at=self.now,
            expires=self.now + 1, reason="task", flags=[],
        )  # fmt: skip
        # QoS 1 may bring it twice
        self.say("trigger", trigger)
        self.say("trigger", trigger)

    def veto(self, reason: str) -> None:
        self.say("veto", VetoMessage(window=round((self.now - BEGIN) * 10), reason=reason, about=self.now))

    def last_word(self) -> int:
        """Send something that nobody shows, to be waited for; gives its number."""
        self.marks += 1
        self.say(
            "feature/" + CAUGHT_UP,
            FeatureMessage(
                name=CAUGHT_UP, sample=self.marks, about=self.now, delay_s=0.0, ready=None, age_s=None,
                expires=self.now, labels=[], values=[], uncertainty=[], valid=True, flags=[],
            ),
        )  # fmt: skip
        return self.marks

    def vanish(self) -> None:
        """End as a process that was killed does: the broker speaks the last will."""
        held = self._client.socket()
        assert isinstance(held, socket.socket)
        held.shutdown(socket.SHUT_RDWR)
        self._client.loop_stop()

    def close(self) -> None:
        """Leave, and leave nothing behind at the broker."""
        for name in ("about", "config", "status"):
            last = self._client.publish(topic(self.session, name), b"", qos=1, retain=True)
        if self._client.is_connected():
            last.wait_for_publish(5.0)
        self._client.disconnect()
        self._client.loop_stop()
