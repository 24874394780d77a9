"""A run of a BIDS dataset as a recording: the EEG and the BOLD of the same subject, session, task and run.

BIDS has no rules for EEG and fMRI that were recorded together. When the volumes began on the EEG's axis is taken from
the rows ``volume_trigger`` of the EEG's events.tsv, else from ``StartTimeAfterEEG`` in the sidecar of the volumes, else
from markers ``R128`` in the EEG file.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from streamer.acquire.bids_files import (
    EEG_ENDINGS,
    Beside,
    Run,
    data_kind,
    find_runs,
    parse_name,
    subject_folder,
)
from streamer.acquire.eeg_view import view
from streamer.acquire.recorded_bold import BoldSource, open_bold
from streamer.acquire.recorded_parts import Placing, open_eeg, place_volumes
from streamer.acquire.recorded_physio import open_physio
from streamer.acquire.recording import BlockEvent, EegPart, PhysioPart, RecordedMarker, Recording
from streamer.acquire.recording_tables import read_rows
from streamer.errors import FormatError, RecordingError
from streamer.formats.volts import volts_per
from streamer.messages import ChannelInfo, Volume

VOLUME_TRIGGER = "volume_trigger"
START_AFTER_EEG = "StartTimeAfterEEG"
_NO_BLOCKS = {VOLUME_TRIGGER, "marker", "gap", "nf_trigger", "nf_veto", "", "n/a"}
_KINDS = {"eeg": "eeg", "ecg": "ecg", "eog": "eog", "heog": "eog", "veog": "eog", "resp": "resp", "ref": "ref"}
_LISTED = 12
_TR_TOLERANCE = 0.01


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of events.tsv on the axis of the file that it goes with."""

    onset_s: float
    duration_s: float
    label: str
    value: str
    sample: int | None

    @property
    def is_block(self) -> bool:
        """Whether it is a stretch of the experiment."""
        return self.duration_s > 0 and self.label not in _NO_BLOCKS


def is_bids_file(path: Path) -> bool:
    """Tell whether this is the ``sub-XX_…_eeg.*`` in ``eeg/`` or the ``sub-XX_…_bold.nii.gz`` in ``func/`` of a run."""
    return data_kind(path) is not None


def is_bids_folder(path: Path) -> bool:
    """Tell whether this is a dataset, a subject's or a session's folder with at least one run in it."""
    return bool(find_runs(path))


def open_bids(path: Path) -> Recording:
    """Open a run of a BIDS dataset.

    Parameters
    ----------
    path : Path
        A dataset, a subject's folder, or a session's, with one run in it; or a data file of the run.

    Raises
    ------
    RecordingError
        There are several runs: they are listed. Or the run cannot be read, or nothing tells how its parts go together.
    """
    run = _run_of(path) if path.is_file() else _only_run(path)
    eeg_path, bold_path = run.eeg[0] if run.eeg else None, run.bold[0] if run.bold else None
    named = eeg_path or bold_path
    assert named is not None
    name = named.name.partition(".")[0].rpartition("_")[0]
    problems: list[str] = []
    eeg, rows, physio = None, list[_Row](), ()
    if eeg_path is not None:
        eeg, rows, physio = _open_eeg(eeg_path, problems)
    bold = None
    if bold_path is not None:
        source, about = _open_bold(bold_path, problems)
        eeg, placing = _placing(eeg, rows, source, _number(about, START_AFTER_EEG, bold_path))
        bold, more = place_volumes(source, placing, eeg)
        problems += more
    zero = 0.0 if bold is None else bold.onsets[0]
    events = _blocks(rows, 0.0)
    if not events and bold_path is not None:
        events = _blocks(_read_events(bold_path, None), zero)
    physio = (*physio, *_physio(named, zero))
    return Recording(name, eeg, bold, events=events, physio=physio, problems=tuple(problems))


def _run_of(path: Path) -> Run:
    name = parse_name(path)
    assert name is not None
    run = find_runs(subject_folder(path)).get(name.run, Run())
    if data_kind(path) == "bold":
        run.bold = [path]
    else:
        same = [each for each in run.eeg if each.name.partition(".")[0] == path.name.partition(".")[0]]
        run.eeg = [path] if name.ending in EEG_ENDINGS else same
        if not run.eeg:
            raise RecordingError(f"{path}: no EEG beside it; expected a file that ends in {', '.join(EEG_ENDINGS)}")
    _refuse_several(path, run)
    return run


def _only_run(path: Path) -> Run:
    runs = find_runs(path)
    if len(runs) > 1:
        firsts = [str((run.eeg or run.bold)[0].relative_to(path)) for run in runs.values()]
        more = f" and {len(firsts) - _LISTED} more" if len(firsts) > _LISTED else ""
        raise RecordingError(
            f"{path}: {len(runs)} runs, expected one; choose it by a file of it: {', '.join(firsts[:_LISTED])}{more}"
        )
    (run,) = runs.values()
    _refuse_several(path, run)
    return run


def _refuse_several(path: Path, run: Run) -> None:
    for files in (run.eeg, run.bold):
        if len(files) > 1:
            names = ", ".join(file.name for file in files)
            raise RecordingError(
                f"{path}: several files for one run: {names}; choose one by its path, or in recording.toml"
            )


def _open_eeg(path: Path, problems: list[str]) -> tuple[EegPart, list[_Row], tuple[PhysioPart, ...]]:
    beside = Beside(path)
    eeg, physio = open_eeg(path)
    table = beside.table("channels")
    if table is not None:
        eeg = _described(eeg, table)
    said = _number(beside.metadata, "SamplingFrequency", path)
    if said is not None and abs(said - eeg.sfreq) > 0.001 * eeg.sfreq:
        problems.append(f"{path.name}: {eeg.sfreq:g} Hz, its sidecar says {said:g} Hz")
    rows = _read_events(path, eeg)
    if not eeg.markers:
        points = (row for row in rows if row.label not in {VOLUME_TRIGGER, "gap"} and not row.is_block)
        eeg = view(eeg, markers=tuple(_marker(row) for row in points))
    return eeg, rows, physio


def _marker(row: _Row) -> RecordedMarker:
    label = row.value if row.label == "marker" and row.value else row.label
    return RecordedMarker(label, row.onset_s, row.onset_s, row.sample, "")


def _described(eeg: EegPart, table: Path) -> EegPart:
    rows = {row["name"]: row for row in read_rows(table, ("name", "type", "units"))}
    channels: list[ChannelInfo] = []
    scale = np.ones(len(eeg.channels))
    unknown: list[str] = []
    odd: list[str] = []
    for k, channel in enumerate(eeg.channels):
        row = rows.get(channel.name)
        if row is None:
            unknown.append(channel.name)
            channels.append(channel)
            continue
        unit, size = channel.unit, volts_per(row["units"])
        if unit != "V" and size is not None:
            unit, scale[k] = "V", size
        elif unit == "V" and size is None and row["units"].strip() not in {"", "n/a"}:
            odd.append(channel.name)
        channels.append(ChannelInfo(channel.name, _KINDS.get(row["type"].strip().lower(), "misc"), unit))
    bad = [name for name, row in rows.items() if row.get("status", "").strip().lower() == "bad"]
    problems = [
        f"{table.name}: {text}: {', '.join(names[:_LISTED])}"
        for text, names in (
            ("says nothing of channels", unknown),
            ("says that channels are bad", bad),
            ("gives channels a unit that is not V, the EEG file does", odd),
        )
        if names
    ]
    return view(eeg, tuple(channels), scale, problems=tuple(problems))


def _read_events(path: Path, eeg: EegPart | None) -> list[_Row]:
    table = Beside(path).table("events")
    if table is None:
        return []
    rows: list[_Row] = []
    for line, cells in enumerate(read_rows(table, ("onset", "duration")), start=2):
        try:
            onset, duration = _seconds(cells["onset"]), _seconds(cells["duration"])
        except ValueError as error:
            raise FormatError(
                f"{table.name}: line {line} has onset {cells['onset']!r}, duration {cells['duration']!r}; expected "
                "numbers"
            ) from error
        sample = cells.get("sample", "").strip()
        place = int(sample) if sample.isdigit() and eeg is not None and int(sample) < eeg.n_samples else None
        if place is not None and eeg is not None:
            # the sample is exact; the onset may be rounded
            onset = float(eeg.times(place, place + 1)[1][0])
        if math.isfinite(onset):
            label, value = cells.get("trial_type", "").strip(), cells.get("value", "").strip()
            rows.append(_Row(onset, duration if math.isfinite(duration) else 0.0, label, value, place))
    return sorted(rows, key=lambda row: row.onset_s)


def _seconds(text: str) -> float:
    return math.nan if text.strip() in {"", "n/a"} else float(text)


def _blocks(rows: Sequence[_Row], zero: float) -> tuple[BlockEvent, ...]:
    return tuple(BlockEvent(row.onset_s + zero, row.duration_s, row.label) for row in rows if row.is_block)


def _open_bold(path: Path, problems: list[str]) -> tuple[BoldSource, Mapping[str, Any]]:
    about = Beside(path).metadata
    tr = _number(about, "RepetitionTime", path)
    source = open_bold(path, tr=tr)
    if tr is not None and abs(source.tr - tr) > _TR_TOLERANCE * tr:
        problems.append(
            f"TR is {tr:g} s by the sidecar, {source.tr:g} s by the header of {path.name}: the sidecar holds"
        )
    tr = source.tr if tr is None or tr <= 0 else tr
    indices = source.indices
    timing = _numbers(about, "VolumeTiming", path)
    if len(timing) == len(indices):
        # a volume that is missing leaves its number free
        indices = tuple(round((at - timing[0]) / tr) for at in timing)
        if any(b <= a for a, b in pairwise(indices)):
            raise FormatError(f"{path.name}: VolumeTiming in its sidecar has volumes closer than the TR of {tr:g} s")
    elif timing:
        problems.append(f"VolumeTiming has {len(timing)} values for {len(indices)} volumes: it is left out")
    slice_times = source.slice_times
    slices = _numbers(about, "SliceTiming", path)
    if len(slices) == source.grid[2]:
        slice_times = slices
    elif slices:
        problems.append(f"SliceTiming has {len(slices)} values for {source.grid[2]} slices: it is left out")

    def read(k: int) -> Volume:
        return replace(source.volume(k), index=indices[k], tr=tr, slice_times=slice_times)

    return replace(source, tr=tr, indices=indices, slice_times=slice_times, volume=read), about


def _number(about: Mapping[str, Any], key: str, path: Path) -> float | None:
    value = about.get(key)
    if value is None or value == "n/a":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise FormatError(f"{path.name}: {key} in its sidecar is {value!r}, expected a number")
    return float(value)


def _numbers(about: Mapping[str, Any], key: str, path: Path) -> tuple[float, ...]:
    value = about.get(key)
    if value is None or value == "n/a":
        return ()
    found = [_number({key: each}, key, path) for each in value] if isinstance(value, list) else [None]
    if None in found:
        raise FormatError(f"{path.name}: {key} in its sidecar is {value!r}, expected a list of numbers")
    return tuple(each for each in found if each is not None)


def _placing(
    eeg: EegPart | None, rows: Sequence[_Row], source: BoldSource, start_s: float | None
) -> tuple[EegPart | None, Placing]:
    pulses = [row for row in rows if row.label == VOLUME_TRIGGER]
    if eeg is None:
        return None, Placing()
    if pulses:
        label = _label_at(eeg, pulses)
        if label is None:
            label = VOLUME_TRIGGER
            added = (RecordedMarker(label, row.onset_s, row.onset_s, row.sample, "") for row in pulses)
            eeg = view(eeg, markers=tuple(sorted((*eeg.markers, *added), key=lambda marker: marker.at_s)))
        if len(pulses) == source.n_volumes:
            return eeg, Placing(label, onsets=tuple(row.onset_s for row in pulses))
        return eeg, Placing(label, pulses=tuple(row.onset_s for row in pulses))
    return eeg, Placing(onset_s=start_s)


def _label_at(eeg: EegPart, pulses: Sequence[_Row]) -> str | None:
    # the marker that the EEG file itself has at the triggers
    near = 0.5 / eeg.sfreq
    times = np.array([marker.at_s for marker in eeg.markers])
    found: Counter[str] = Counter()
    for row in pulses:
        first, last = np.searchsorted(times, [row.onset_s - near, row.onset_s + near])
        found.update({eeg.markers[k].label for k in range(int(first), int(last))})
    label, count = found.most_common(1)[0] if found else ("", 0)
    return label if count > len(pulses) / 2 else None


def _physio(named: Path, bold_start_s: float) -> tuple[PhysioPart, ...]:
    name = parse_name(named)
    assert name is not None
    found: list[PhysioPart] = []
    for kind in ("eeg", "func", "beh"):
        for path in sorted((subject_folder(named) / kind).glob("*_physio.tsv*")):
            other = parse_name(path)
            if other is None or other.run != name.run:
                continue
            part = open_physio(path)
            found.append(replace(part, start_s=part.start_s + bold_start_s) if kind == "func" else part)
    return tuple(found)
