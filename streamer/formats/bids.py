"""BIDS, the Brain Imaging Data Structure: names, tables and sidecars of EEG and fMRI that were recorded together.

Nothing here reads or writes a file. BIDS has no rules for simultaneous EEG–fMRI and none for neurofeedback: the same
``task-`` and ``run-`` stand in ``eeg/`` and ``func/``, the sidecar of the volumes tells how much later than the EEG
they begin, and the rows ``nf_trigger`` and ``nf_veto`` of ``events.tsv`` are a convention of ours.

Reference: https://bids-specification.readthedocs.io (1.10), doi:10.1038/sdata.2016.44
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from streamer.errors import UsageError
from streamer.formats.nominal_date import nominal_date
from streamer.messages import ChannelInfo

VERSION = "1.10.0"
NO_VALUE = "n/a"

_TYPES = {kind: kind.upper() for kind in ("eeg", "ecg", "eog", "emg", "resp", "ref", "trig", "misc")}
_COUNTS = {
    "EEG": "EEGChannelCount",
    "ECG": "ECGChannelCount",
    "EOG": "EOGChannelCount",
    "EMG": "EMGChannelCount",
    "TRIG": "TriggerChannelCount",
}


@dataclass(frozen=True, slots=True)
class Entities:
    """What a run is called.

    Raises
    ------
    UsageError
        A label is not of letters and digits, or the run is not a whole number.
    """

    subject: str = "01"
    session: str | None = None
    task: str = "task"
    run: str | None = None

    def __post_init__(self) -> None:
        problems = [
            f"{field.name} is {given!r}: expected letters and digits only"
            for field in fields(self)
            if (given := getattr(self, field.name)) is not None and not re.fullmatch(r"[A-Za-z0-9]+", given)
        ]
        if self.run is not None and not self.run.isdigit():
            problems.append(f"run is {self.run!r}: expected a whole number")
        if problems:
            raise UsageError("; ".join(problems))

    @property
    def _participant(self) -> tuple[str, ...]:
        return (f"sub-{self.subject}", *(() if self.session is None else (f"ses-{self.session}",)))

    @property
    def folder(self) -> str:
        """Folder of the participant's session, from the dataset's."""
        return "/".join(self._participant)

    @property
    def scans(self) -> str:
        """Path of the table of recordings, from the dataset's folder."""
        return f"{self.folder}/{'_'.join(self._participant)}_scans.tsv"

    def path(self, datatype: str, suffix: str, recording: str | None = None) -> str:
        """Path of a file, from the dataset's folder.

        Parameters
        ----------
        datatype : str
            ``eeg`` or ``func``.
        suffix : str
            With the ending: ``bold.nii.gz``.
        recording : str, optional
            Tells several of one kind apart.
        """
        parts = [*self._participant, f"task-{self.task}"]
        parts += [] if self.run is None else [f"run-{self.run}"]
        parts += [] if recording is None else [f"recording-{recording}"]
        return f"{self.folder}/{datatype}/{'_'.join(parts)}_{suffix}"


@dataclass(frozen=True, slots=True)
class EventRow:
    """A row of ``events.tsv``; None where nothing is known."""

    onset: float
    """s, on the recording's axis; :func:`events_table` counts it from the file's beginning."""
    duration: float
    """s."""
    trial_type: str
    value: str | None = None
    sample: int | None = None
    """Place in the EEG file."""
    score: float | None = None
    threshold: float | None = None
    age_eeg: float | None = None
    age_fmri: float | None = None
    quality: str | None = None
    source: str | None = None
    sham: str | None = None
    condition: str | None = None


_NEUROFEEDBACK = ("source", "score", "threshold", "age_eeg", "age_fmri", "quality", "sham", "condition")
_LEVELS = {
    "volume_trigger": "the scanner began a volume that is stored",
    "marker": "any other marker that was recorded; its text is the value",
    "gap": "EEG samples were lost",
    "nf_trigger": "a neurofeedback trigger left",
    "nf_veto": "a neurofeedback trigger was due and was held back",
}
_COLUMNS: dict[str, dict[str, Any]] = {
    "onset": {"Description": "Beginning of the event after the beginning of the data beside this file", "Units": "s"},
    "duration": {"Description": "Duration of the event", "Units": "s"},
    "trial_type": {"Description": "Kind of event"},
    "value": {"Description": "Text of the marker, action of the trigger, reason of the veto"},
    "sample": {"Description": "Sample of the EEG file at which the event was recorded, from 0"},
    "eeg_sample": {"Description": "Sample of the EEG file of this run at which the event was recorded, from 0"},
    "source": {"Description": "What asked for the trigger: score, phase, spindle, spike"},
    "score": {
        "Description": "Level that was compared with the threshold, 0 to 1 (of other sources: how sure it was); "
        "in a session with a sealed condition what was shown, and n/a for vetoes until it is opened"
    },
    "threshold": {"Description": "Level from which on a trigger is due, in force at the decision, 0 to 1"},
    "age_eeg": {"Description": "Age of the newest EEG sample in the decision", "Units": "s"},
    "age_fmri": {"Description": "Age of the middle of the newest volume in the decision", "Units": "s"},
    "quality": {"Description": "What was wrong with the data of the decision: names of flags joined by +, or none"},
    "sham": {"Description": "sealed: the session may have had sham feedback, as a sealed list says; n/a: it had none"},
    "condition": {"Description": "Condition of the session once it was unblinded; n/a before, and where there is none"},
}


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Write a TSV: None and what is not finite become ``n/a``, floats keep a tenth of a microsecond."""
    lines = ["\t".join(columns), *("\t".join(_cell(value) for value in row) for row in rows)]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.7f}".rstrip("0").rstrip(".") if math.isfinite(value) else NO_VALUE
    text = "" if value is None else " ".join(str(value).split())
    return text or NO_VALUE


def sidecar(values: Mapping[str, Any]) -> str:
    """Write a JSON file; keys whose value is None are left out."""
    known = {key: value for key, value in values.items() if value is not None}
    return json.dumps(known, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def events_table(rows: Sequence[EventRow], begins_s: float, *, for_eeg: bool) -> tuple[str, str]:
    """Write ``events.tsv`` and its sidecar.

    Parameters
    ----------
    rows : sequence of EventRow
    begins_s : float
        Beginning of the file that the events go with, on the rows' axis, s.
    for_eeg : bool
        Whether that is the EEG: only there is the sample one of its own.
    """
    sample = "sample" if for_eeg else "eeg_sample"
    extra = [name for name in _NEUROFEEDBACK if any(row.trial_type.startswith("nf_") for row in rows)]
    columns = ["onset", "duration", "trial_type", "value", sample, *extra]
    ordered = sorted(rows, key=lambda row: (row.onset, row.trial_type))
    cells = [
        [r.onset - begins_s, r.duration, r.trial_type, r.value, r.sample, *(getattr(r, name) for name in extra)]
        for r in ordered
    ]
    about = {name: _COLUMNS[name] for name in columns}
    kinds = sorted({" ".join(row.trial_type.split()) for row in rows})
    levels = {kind: _LEVELS.get(kind, "a condition of the experiment") for kind in kinds}
    about["trial_type"] = {**_COLUMNS["trial_type"], "Levels": levels}
    return table(columns, cells), sidecar(about)


def channels_table(channels: Sequence[ChannelInfo], sfreq: float) -> str:
    """Write ``channels.tsv``."""
    rows = [(c.name, _channel_type(c), c.unit or None, sfreq, None, None) for c in channels]
    return table(("name", "type", "units", "sampling_frequency", "status", "status_description"), rows)


def _channel_type(channel: ChannelInfo) -> str:
    return _TYPES.get(channel.kind, "MISC")


def eeg_sidecar(
    task: str,
    channels: Sequence[ChannelInfo],
    sfreq: float,
    duration_s: float,
    *,
    line_hz: float | None,
    continuous: bool,
) -> str:
    """Write ``eeg.json``.

    Parameters
    ----------
    task : str
    channels : sequence of ChannelInfo
    sfreq : float
        Hz.
    duration_s : float
    line_hz : float or None
        Frequency of the mains, Hz; None where it is not known.
    continuous : bool
        Whether no sample is missing.
    """
    counts = Counter(_channel_type(c) for c in channels)
    counted: dict[str, Any] = {key: counts[kind] for kind, key in _COUNTS.items()}
    counted["MISCChannelCount"] = len(channels) - sum(counted.values())
    return sidecar(
        {
            "TaskName": task,
            "EEGReference": NO_VALUE,
            "EEGGround": NO_VALUE,
            "SamplingFrequency": sfreq,
            "PowerLineFrequency": NO_VALUE if line_hz is None else line_hz,
            "SoftwareFilters": NO_VALUE,
            "HardwareFilters": NO_VALUE,
            **counted,
            "RecordingDuration": round(duration_s, 6),
            "RecordingType": "continuous" if continuous else "discontinuous",
        }
    )


def bold_sidecar(
    task: str, tr: float, slice_times: Sequence[float], onsets: Sequence[float], after_eeg_s: float | None
) -> str:
    """Write ``bold.json``: with ``RepetitionTime``, or ``VolumeTiming`` where volumes are missing.

    Parameters
    ----------
    task : str
    tr : float
        s.
    slice_times : sequence of float
        s after the onset of the volume; empty when unknown.
    onsets : sequence of float
        Of each stored volume after the first one, in whole TR, s.
    after_eeg_s : float or None
        From the first EEG sample to the first stored volume, s; None without EEG.
    """
    regular = all(abs(onset - k * tr) < 0.5 * tr for k, onset in enumerate(onsets))
    timing: dict[str, Any] = {"RepetitionTime": tr}
    if not regular:
        timing = {"VolumeTiming": [round(onset, 6) for onset in onsets]}
    fits = bool(slice_times) and all(0.0 <= at < tr for at in slice_times)
    return sidecar(
        {
            "TaskName": task,
            **timing,
            "SliceTiming": [round(at, 6) for at in slice_times] if fits else None,
            # BIDS wants one of the two beside VolumeTiming
            "FrameAcquisitionDuration": tr if not regular and not fits else None,
            "NumberOfVolumesDiscardedByUser": 0,
            "StartTimeAfterEEG": None if after_eeg_s is None else round(after_eeg_s, 7),
        }
    )


def physio_columns(channels: Sequence[ChannelInfo]) -> list[str]:
    """Name the columns of a ``physio`` file: ``cardiac`` and ``respiratory`` are BIDS' own names."""
    named: list[str] = []
    for channel in channels:
        text = f"{channel.kind} {channel.name}".lower()
        name = re.sub(r"[^a-z0-9]+", "_", channel.name.lower()).strip("_") or "signal"
        if any(part in text for part in ("ecg", "ekg", "puls", "ppg", "cardiac")):
            name = "cardiac"
        elif "resp" in text:
            name = "respiratory"
        taken = sum(other == name or other.startswith(f"{name}_") for other in named)
        named.append(name if not taken else f"{name}_{taken + 1}")
    return named


def physio_sidecar(columns: Sequence[str], channels: Sequence[ChannelInfo], sfreq: float, start_s: float) -> str:
    """Write ``physio.json``; ``start_s`` counts from the beginning of the data beside it, s."""
    about = {
        name: {"Description": f"channel {channel.name}", "Units": channel.unit or NO_VALUE}
        for name, channel in zip(columns, channels, strict=True)
    }
    return sidecar(
        {
            "PhysioType": "generic",
            "SamplingFrequency": sfreq,
            "StartTime": round(start_s, 7),
            "Columns": list(columns),
            **about,
        }
    )


def acq_time(at_s: float) -> str:
    """Tell a time on the recording's axis as a date that is none: its zero is the beginning of 1925."""
    return nominal_date(at_s).isoformat(timespec="microseconds")


def dataset_description(version: str) -> str:
    """Write ``dataset_description.json``."""
    return sidecar(
        {
            "Name": "Simultaneous EEG-fMRI",
            "BIDSVersion": VERSION,
            "DatasetType": "raw",
            "GeneratedBy": [{"Name": "EEG-fMRI Streamer", "Version": version, "Description": "streamer to-bids"}],
        }
    )


SCANS_SIDECAR = sidecar(
    {
        "filename": {"Description": "Path of the recording"},
        "acq_time": {
            "Description": "Beginning of the recording. The date is none: in every run the first EEG sample (without "
            "EEG, the first volume) is at the beginning of 1925, so that EEG and volumes can be put on one axis"
        },
    }
)
PARTICIPANTS_SIDECAR = sidecar({"participant_id": {"Description": "Label of the participant, without identity"}})
README = """\
# Simultaneous EEG and fMRI

Written by the EEG-fMRI Streamer (`streamer to-bids`) from recordings of EEG in the scanner. No field of the original
headers that could tell who was recorded is kept, and no date: `acq_time` counts from the beginning of 1925.

The files in `eeg/` and `func/` with the same labels were recorded at the same time. `StartTimeAfterEEG` in the sidecar
of the volumes is the time in s from the first EEG sample to the first volume. The rows `volume_trigger` in `events.tsv`
hold the EEG sample at which each volume began. EEG is as recorded: the gradient and pulse artefacts are in it.

Rows `nf_trigger` and `nf_veto` are neurofeedback triggers that left and that were held back; their columns are
described in the sidecars of `events.tsv`. `_stim.tsv.gz` holds the feedback as the participant saw it.
"""
