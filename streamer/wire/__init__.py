"""What goes over MQTT: the contract with the dashboard and with third parties.

Every payload is one JSON object with ``kind`` and ``schema``; ``schema.json`` beside this file says the same for
programs (``streamer wire schema`` prints it). Readers accept their own schema number and the one before. Times are
``SessionTime`` (s, the acquisition host's LSL clock). A value that is not known is ``null``. What goes stale carries
its own deadline, ``expires``, whichever version of MQTT brought it.

Topics, under ``eegfmri/<session>/``:

==================  ========  ==============================================================================
topic               retained  payload
==================  ========  ==============================================================================
``status``          yes       :class:`Status`; also the last will (``online: false``)
``about``           yes       :class:`About`: channels, regions, classes, model
``card``            yes       :class:`CardMessage`: the model's card
``config``          yes       :class:`ConfigMessage`: the settings, without paths, names and addresses
``prediction``      no        :class:`PredictionMessage`, at every decision; not in a blinded session
``score``           no        :class:`ScoreMessage`, at every decision: what the participant is shown
``trigger``         no        :class:`TriggerMessage`, QoS 1: consumers drop doubles by ``id``; none of a phase
``veto``            no        :class:`VetoMessage`
``bold``            no        :class:`BoldMessage`, once per volume; region signals are null in a blinded session
``quality``         no        :class:`QualityMessage`, once a second
``preview/eeg``     no        :class:`EegPreview`, cleaned EEG in µV, a few times a second
``preview/eeg.bin`` no        the same as bytes (:mod:`streamer.wire.preview_bytes`), where that is chosen
``preview/raw.bin`` no        the EEG as it came, in the same bytes; not in a session without previews
``preview/volume``  no        :class:`VolumeMessage` as bytes (:mod:`streamer.wire.volume_bytes`), once per volume
``marker``          no        :class:`MarkerMessage`, QoS 1: blocks, stimuli, notes
``feature/<name>``  no        :class:`FeatureMessage`: phase, tangent vector, connectivity; each at its own rate
``health``          no        :class:`HealthMessage`, once a second
``command``         no        :class:`CommandMessage`, to the session: ``stop`` from anybody, all else signed
==================  ========  ==============================================================================

May import errors and messages, nothing else of ours.
"""

from __future__ import annotations

from streamer.wire.codec import decode, encode
from streamer.wire.command import CommandMessage, decode_command, mac_of, new_nonce, signed_command
from streamer.wire.convert import (
    finite,
    flag_names,
    from_bold,
    from_card,
    from_feature,
    from_health,
    from_prediction,
    from_score,
    from_trigger,
    from_veto,
)
from streamer.wire.payloads import (
    ROOT,
    SCHEMA,
    About,
    BoldMessage,
    CardMessage,
    CardScoreEntry,
    ChannelEntry,
    ConfigMessage,
    EegPreview,
    FeatureMessage,
    HealthMessage,
    MarkerMessage,
    Message,
    Payload,
    PredictionMessage,
    QualityMessage,
    ScoreMessage,
    Status,
    TriggerMessage,
    VetoMessage,
    topic,
)
from streamer.wire.volume_bytes import VolumeImage, VolumeMessage, encode_volume

__all__ = [
    "ROOT",
    "SCHEMA",
    "About",
    "BoldMessage",
    "CardMessage",
    "CardScoreEntry",
    "ChannelEntry",
    "CommandMessage",
    "ConfigMessage",
    "EegPreview",
    "FeatureMessage",
    "HealthMessage",
    "MarkerMessage",
    "Message",
    "Payload",
    "PredictionMessage",
    "QualityMessage",
    "ScoreMessage",
    "Status",
    "TriggerMessage",
    "VetoMessage",
    "VolumeImage",
    "VolumeMessage",
    "decode",
    "decode_command",
    "encode",
    "encode_volume",
    "finite",
    "flag_names",
    "from_bold",
    "from_card",
    "from_feature",
    "from_health",
    "from_prediction",
    "from_score",
    "from_trigger",
    "from_veto",
    "mac_of",
    "new_nonce",
    "signed_command",
    "topic",
]
