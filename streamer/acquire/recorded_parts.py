"""The two parts that a recording is put together from: an EEG file by its ending, and volumes with a place in time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from streamer.acquire.eeg_view import with_unit
from streamer.acquire.recorded_bold import DEFAULT_LATENCY_S, BoldPart, BoldSource
from streamer.acquire.recording import EegPart, PhysioPart
from streamer.acquire.volume_pairing import count_problems, number_pulses, onsets_by_pulses, overlap_problems
from streamer.errors import RecordingError

EEG_SUFFIXES = (".xdf", ".xdfz", ".vhdr", ".edf", ".bdf", ".set", ".csv")
"""Endings of the files that hold EEG."""
BOLD_SUFFIXES = (".nii", ".nii.gz", ".par")
"""Endings of the files that hold volumes."""
_SOME_LABELS = 12


@dataclass(frozen=True)
class Placing:
    """How volumes are put on the axis of a recording."""

    trigger: str = "R128"
    """Label of the marker that begins a volume."""
    first_volume: int = 0
    """Acquisition number that belongs to the first trigger."""
    onset_s: float | None = None
    """When the first volume that there is began, s: for recordings without triggers."""
    onsets: tuple[float, ...] = ()
    """When each volume began, s, where the recording says so of all of them."""
    pulses: tuple[float, ...] = ()
    """When volumes began, s, where the recording says so apart from the markers; empty: at the markers ``trigger``."""
    known_at: Mapping[int, float] = field(default_factory=dict[int, float])
    """When volumes were on disk, s, by acquisition number; empty when nobody wrote it down."""
    latency_s: float = DEFAULT_LATENCY_S
    """From the end of a volume to its last byte on disk where ``known_at`` is empty, s."""


def open_eeg(path: Path, stream: str | None = None, unit: str | None = None) -> tuple[EegPart, tuple[PhysioPart, ...]]:
    """Open the EEG of a file, and the physiology that it holds besides.

    Parameters
    ----------
    path : Path
        Ends in one of :data:`EEG_SUFFIXES`.
    stream : str, optional
        Which stream of an XDF file.
    unit : str, optional
        Of channels whose unit the file does not tell.

    Raises
    ------
    RecordingError
        It cannot be read, or holds no EEG.
    """
    match path.suffix.lower():
        case ".xdf" | ".xdfz":
            from streamer.acquire.recorded_xdf import open_xdf

            found = open_xdf(path, stream, unit)
            if found.eeg is None:
                raise RecordingError(f"{path}: no stream of type EEG; `stream = NAME` under [eeg] takes another one")
            return found.eeg, found.physio
        case ".vhdr":
            from streamer.acquire.recorded_brainvision import open_brainvision

            # a cached property is one to read, which the type checker does not see
            eeg = cast("EegPart", open_brainvision(path))
            if unit is not None:
                eeg = with_unit(eeg, unit)
        case ".edf" | ".bdf" | ".set":
            from streamer.acquire.recorded_mne import open_mne

            eeg = open_mne(path, unit)
        case ".csv":
            from streamer.acquire.recorded_table import open_csv

            eeg = open_csv(path, unit)
        case _:
            raise RecordingError(f"{path}: expected EEG in a file that ends in {', '.join(EEG_SUFFIXES)}")
    return eeg, ()


def place_volumes(source: BoldSource, placing: Placing, eeg: EegPart | None) -> tuple[BoldPart, list[str]]:
    """Put volumes on the axis of a recording.

    Parameters
    ----------
    source : BoldSource
        At least one volume.
    placing : Placing
    eeg : EegPart or None
        With the triggers.

    Returns
    -------
    bold : BoldPart
    problems : list of str
        What does not fit together.

    Raises
    ------
    RecordingError
        Nothing tells when the volumes began, or they have no time in common with the EEG.
    """
    problems: list[str] = []
    indices, tr = source.indices, source.tr
    if placing.onsets:
        onsets = placing.onsets
    elif placing.onset_s is not None:
        onsets = tuple(placing.onset_s + (index - indices[0]) * tr for index in indices)
    elif eeg is None:
        onsets = tuple((index - indices[0]) * tr for index in indices)
    else:
        triggers = placing.pulses or tuple(m.at_s for m in eeg.markers if m.label == placing.trigger)
        if not triggers:
            raise RecordingError(f"{source.origin}: {_without_triggers(eeg, placing.trigger)}")
        train = number_pulses(triggers, tr, placing.trigger)
        onsets = onsets_by_pulses(indices, placing.first_volume, train)
        problems += [*train.problems, *count_problems(indices, placing.first_volume, train, placing.trigger)]
    if placing.known_at and (absent := [index for index in indices if index not in placing.known_at]):
        raise RecordingError(
            f"{source.origin}: the table of export times says nothing of volume {absent[0]} and {len(absent) - 1} more"
        )
    known_at = tuple(
        placing.known_at.get(index, onset + tr + placing.latency_s)
        for index, onset in zip(indices, onsets, strict=True)
    )
    if eeg is not None:
        problems += overlap_problems(source.origin, eeg.duration_s, onsets[0], onsets[-1] + tr)
    part = BoldPart(
        indices=indices,
        tr=tr,
        trigger=placing.trigger,
        first_volume=placing.first_volume,
        onsets=onsets,
        known_at=known_at,
        read=source.volume,
        path=source.file,
        problems=source.problems,
        format=source.format,
    )
    return part, problems


def _without_triggers(eeg: EegPart, trigger: str) -> str:
    labels = sorted({marker.label for marker in eeg.markers})
    shown = ", ".join(labels[:_SOME_LABELS]) or "no markers at all"
    return (
        f"no marker {trigger!r} in the EEG: which sample belongs to which volume is unknown; there are {shown}. "
        "Expected `trigger = LABEL` or `onset_s = SECONDS` under [bold] in a recording.toml"
    )
