"""What is made of the cleaned EEG beside band power: features that are given out, and what asks for triggers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from streamer.clean.eeg.lane import EegLane
from streamer.decode.candidate import Candidate
from streamer.decode.event_sources import EventSources
from streamer.decode.feature_set import FeatureSet
from streamer.decode.phase_target import Lane
from streamer.decode.tangent import TANGENT
from streamer.engine_settings import EngineSettings
from streamer.messages import F32, CleanEeg, Feature, SessionTime

EVENTS = "events"
"""Where what the sources of triggers learned stands."""


class EegExtras:
    """Run what is switched on.

    Parameters
    ----------
    settings : EngineSettings
    lane : EegLane
        What the EEG comes from.
    learned : mapping or None
        What ``learned()`` gave after a calibration run; None learns from the run itself.
    follow : bool
        Whether references may follow slow drift: not in a blinded session, where they would follow an answer to
        something that the participant did not do.

    Raises
    ------
    ConfigError
        The settings do not fit the EEG or its lane.
    """

    def __init__(
        self, settings: EngineSettings, lane: EegLane, learned: Mapping[str, Any] | None, *, follow: bool
    ) -> None:
        names = [c.name for c in lane.channels]
        self._n_channels = len(names)
        self._features: FeatureSet | None = None
        if settings.extra.enabled:
            drift = settings.recentre if follow else None
            self._features = FeatureSet(settings.extra, lane.sfreq_out, names, learned, lane.phase_rad, drift)
        self._events: EventSources | None = None
        if settings.events.enabled:
            residual = settings.eeg.residual
            path = Lane(lane.delay_s, lane.hold_s, residual.obs != "off" or residual.anc, lane.phase_rad)
            known = (learned or {}).get(EVENTS)
            self._events = EventSources(settings.events, lane.sfreq_out, names, path, known)
        self._tangent: Feature | None = None

    def __call__(self, clean: CleanEeg) -> list[Feature | Candidate]:
        """Take cleaned EEG; give what it completes, in order."""
        if self._features is None and self._events is None:
            return []
        bad = np.zeros(self._n_channels, dtype=bool)
        bad[list(clean.bad)] = True
        out: list[Feature | Candidate] = []
        if self._features is not None:
            found = self._features(clean, bad)
            self._tangent = next((each for each in reversed(found) if each.name == TANGENT), self._tangent)
            out.extend(found)
        if self._events is not None:
            out.extend(self._events(clean, bad))
        return out

    def tangent(self, end: SessionTime, age_max_s: float) -> F32:
        """Give the newest tangent vector as a window that ends at ``end`` holds it; empty where none counts."""
        newest = self._tangent
        if newest is None or not newest.valid or end - newest.about - newest.delay_s > age_max_s:
            return np.empty(0, np.float32)
        return np.array(newest.values, np.float32)

    def recentre(self, text: str) -> None:
        """Take the operator's ``on``, ``freeze`` or ``rollback``."""
        if self._features is not None:
            self._features.recentre(text)

    def learned(self) -> dict[str, Any]:
        """Give what was learned so far, as plain values; empty while there is nothing."""
        features = {} if self._features is None else self._features.learned()
        events = None if self._events is None else self._events.learned()
        return {**features, **({EVENTS: events} if events else {})}

    @property
    def notes(self) -> tuple[str, ...]:
        """What the operator should know of sources of triggers that hold back."""
        return () if self._events is None else self._events.notes
