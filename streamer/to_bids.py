"""Any recording as a BIDS dataset: raw EEG as BrainVision, volumes as NIfTI, and what ties them together."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from streamer import __version__
from streamer.acquire.recorded_bold import BoldPart
from streamer.acquire.recorded_brainvision import BrainVisionEeg
from streamer.acquire.recorded_session import SessionEeg
from streamer.acquire.recording import EegPart, RecordedMarker, Recording
from streamer.acquire.recordings import open_recording
from streamer.emit.blinding import read_blinding
from streamer.emit.neurofeedback_events import neurofeedback_rows, read_feedback
from streamer.emit.run_files import read_latency_ms
from streamer.emit.shown_feedback import ShownFeedback, shown_feedback
from streamer.errors import RecordingError, UsageError
from streamer.formats import bids
from streamer.formats.bids import Entities, EventRow
from streamer.formats.brainvision import NEW_SEGMENT, BrainVisionWriter, FileMarker
from streamer.formats.brainvision_header import SEGMENT_DATE
from streamer.formats.nifti_stream import NiftiStream
from streamer.formats.nominal_date import nominal_date
from streamer.messages import Array, ChannelInfo, Volume
from streamer.runlog_read import is_session, read_header

GAP_S = 0.01
"""Times of the EEG that jump by more than this are a gap, s."""

_BLOCK = 65536
_NEAR = 0.1
"""A trigger and the volume that it began are this close, TR."""


@dataclass
class BidsReport:
    """What was written."""

    folder: Path
    files: list[str] = field(default_factory=list[str])
    """From the dataset's folder."""
    problems: list[str] = field(default_factory=list[str])
    """What is wrong with the recording, or could not be written, in sentences."""


def write_bids(
    path: Path,
    out: Path,
    entities: Entities,
    line_hz: float | None = None,
    progress: Callable[[float], None] | None = None,
    condition: str | None = None,
) -> BidsReport:
    """Write a recording into a BIDS dataset: a new one, or one that this function made.

    Parameters
    ----------
    path : Path
        Any recording. A session's folder brings its neurofeedback triggers and vetoes, and what was shown.
    out : Path
        The dataset's folder.
    entities : Entities
        What the run is called.
    line_hz : float, optional
        Frequency of the mains, Hz.
    progress : callable, optional
        Takes the fraction done.
    condition : str, optional
        Condition of the session, for an unblinded dataset; none: what the session's own unblinding says, if anything.

    Raises
    ------
    UsageError
        ``out`` is another kind of folder, or holds this run already: nothing is overwritten.
    RecordingError
        The recording cannot be read.
    """
    if out.exists() and not (out / "dataset_description.json").is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is neither empty nor a BIDS dataset: nothing is overwritten; choose another folder")
    if taken := [
        name for name in (entities.path("eeg", "eeg.json"), entities.path("func", "bold.json")) if (out / name).exists()
    ]:
        raise UsageError(
            f"{out / taken[0]} exists: nothing is overwritten; choose another subject, session, task or run"
        )
    recording = open_recording(path)
    report = BidsReport(out, problems=list(recording.problems))
    run = _Run(recording, out, entities, line_hz, report, progress or (lambda _: None))
    nf, shown = _neurofeedback(path, _zero(recording), condition, report) if is_session(path) else ([], None)
    try:
        run.write(nf)
        if shown is not None:
            run.write_shown(*shown)
    except BaseException:
        # half a run would look like a whole one
        for name in report.files:
            (out / name).unlink(missing_ok=True)
        raise
    _describe(out, entities, report, run.scans)
    return report


def _neurofeedback(
    path: Path, zero: float, condition: str | None, report: BidsReport
) -> tuple[list[EventRow], tuple[ShownFeedback, float, dict[str, float] | None] | None]:
    """Give a session's triggers and vetoes; and what was shown, where its axis begins, and by how much it was late."""
    header, found = read_header(path), read_feedback(path)
    report.problems += found.problems
    blinding = read_blinding(path, header.config)
    condition = condition or blinding.condition
    rows = neurofeedback_rows(found, header, zero, sealed=blinding.sealed, condition=condition)
    shown = shown_feedback(found.scores, float(header.config.get("tick_hz", 10.0)))
    if shown is None:
        if found.scores:
            report.problems.append("the scores' times jump by days: what was shown is not written")
        return rows, None
    return rows, (shown, zero, read_latency_ms(path).get("sample_to_decision"))


def _zero(recording: Recording) -> float:
    """Session time at which the axis of a session's recording begins, s."""
    if isinstance(recording.eeg, SessionEeg):
        return recording.eeg.start
    if recording.bold is None:
        return 0.0
    return float(recording.bold.volume(0).received) - recording.bold.known_at_s(0)


class _Run:
    """Writes the files of one run."""

    def __init__(
        self,
        recording: Recording,
        out: Path,
        entities: Entities,
        line_hz: float | None,
        report: BidsReport,
        progress: Callable[[float], None],
    ) -> None:
        self._recording = recording
        self._out = out
        self._entities = entities
        self._line_hz = line_hz
        self._report = report
        self._progress = progress
        self._gaps: list[EventRow] = []
        self.scans: list[tuple[str, float]] = []
        """Each recording with its beginning on the recording's axis, s."""

    def write(self, neurofeedback: Sequence[EventRow]) -> None:
        recording = self._recording
        volumes = None if recording.bold is None else self._usable(recording.bold)
        if recording.eeg is not None:
            self._eeg(recording.eeg)
        if recording.bold is not None and volumes is not None:
            self._bold(recording.bold, volumes)
        rows = [*self._rows(volumes.places if volumes is not None else ()), *neurofeedback, *self._gaps]
        for name, begins in self.scans:
            datatype = name.split("/", maxsplit=1)[0]
            table, sidecar = bids.events_table(rows, begins, for_eeg=datatype == "eeg")
            self._text(self._entities.path(datatype, "events.tsv"), table)
            self._text(self._entities.path(datatype, "events.json"), sidecar)
        self._physio()
        self._progress(1.0)

    def write_shown(self, shown: ShownFeedback, zero: float, later_ms: dict[str, float] | None) -> None:
        """Write what the participant was shown beside each recording; ``zero`` is session time, s."""
        for name, begins in self.scans:
            datatype = name.split("/", maxsplit=1)[0]
            self._compressed(self._entities.path(datatype, "stim.tsv.gz"), shown.rows())
            self._text(self._entities.path(datatype, "stim.json"), shown.sidecar(zero + begins, later_ms))

    def _path(self, name: str) -> Path:
        path = self._out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._report.files.append(name)
        return path

    def _text(self, name: str, text: str) -> None:
        self._path(name).write_text(text, encoding="utf-8")

    def _compressed(self, name: str, texts: Iterator[str]) -> None:
        with self._path(name).open("xb") as file, gzip.GzipFile("", "wb", 5, file, mtime=0) as stream:
            for text in texts:
                stream.write(text.encode())

    def _done(self, suffix: str, datatype: str, begins: float) -> None:
        name = self._entities.path(datatype, suffix)
        self.scans.append((name.removeprefix(f"{self._entities.folder}/"), begins))

    def _eeg(self, eeg: EegPart) -> None:
        self._report.problems += eeg.problems
        vhdr, vmrk, data = (self._path(self._entities.path("eeg", f"eeg.{e}")) for e in ("vhdr", "vmrk", "eeg"))
        del vmrk, data
        exact = isinstance(eeg, BrainVisionEeg) and eeg.file.dtype == np.dtype("<i2")
        with BrainVisionWriter(vhdr, eeg.sfreq, eeg.channels, _resolution(eeg) if exact else None) as writer:
            writer.mark(FileMarker(NEW_SEGMENT, "", 0, _date(0.0)))
            last: float | None = None
            for start, stop in _blocks(eeg.n_samples):
                writer.append(_stored(eeg, start, stop) if exact else eeg.read(start, stop))
                times = eeg.times(start, stop)[1]
                steps = np.diff(times, prepend=times[0] - 1 / eeg.sfreq if last is None else last)
                for k in np.flatnonzero(steps > GAP_S + 1.5 / eeg.sfreq).tolist():
                    at, lost = float(times[k]), float(steps[k]) - 1 / eeg.sfreq
                    writer.mark(FileMarker(NEW_SEGMENT, "", start + k, _date(at)))
                    self._gaps.append(EventRow(at - lost, lost, "gap", None, start + k))
                last = float(times[-1])
                self._progress(0.5 * stop / eeg.n_samples)
            for marker in eeg.markers:
                if marker.sample is not None:
                    writer.mark(FileMarker(marker.kind or "Marker", marker.label, marker.sample))
        channels, sfreq = eeg.channels, eeg.sfreq
        about = bids.eeg_sidecar(
            self._entities.task, channels, sfreq, eeg.duration_s, line_hz=self._line_hz, continuous=not self._gaps
        )
        self._text(self._entities.path("eeg", "eeg.json"), about)
        self._text(self._entities.path("eeg", "channels.tsv"), bids.channels_table(channels, sfreq))
        self._done("eeg.vhdr", "eeg", 0.0)

    def _usable(self, bold: BoldPart) -> _Usable | None:
        found: _Usable | None = None
        for k in range(bold.n_volumes):
            try:
                volume = bold.volume(k)
            except RecordingError as error:
                self._report.problems.append(f"volume {bold.indices[k]} cannot be read and is left out: {error}")
                continue
            if found is None:
                found = _Usable(volume)
            if problem := found.add(k, volume):
                self._report.problems.append(f"volume {bold.indices[k]} is left out: {problem}")
        if found is None:
            self._report.problems.append("none of the volumes can be read: there is no func/")
        return found

    def _bold(self, bold: BoldPart, usable: _Usable) -> None:
        first, places = usable.first, usable.places
        name = self._path(self._entities.path("func", "bold.nii.gz"))
        with NiftiStream(name, first.data.shape, len(places), usable.dtype, first.affine, bold.tr) as stream:
            for done, k in enumerate(places, start=1):
                stream.append(bold.volume(k).data.astype(usable.dtype))
                self._progress(0.5 + 0.5 * done / len(places))
        begins = bold.onset_s(places[0])
        onsets = _onsets(bold, places)
        after_eeg = begins if self._recording.eeg is not None else None
        about = bids.bold_sidecar(self._entities.task, bold.tr, first.slice_times, onsets, after_eeg)
        self._text(self._entities.path("func", "bold.json"), about)
        self._done("bold.nii.gz", "func", begins)

    def _rows(self, places: Sequence[int]) -> Iterator[EventRow]:
        recording = self._recording
        for block in recording.events:
            yield EventRow(block.onset_s, block.duration_s, block.label)
        markers = [] if recording.eeg is None else list(recording.eeg.markers)
        if recording.bold is not None:
            yield from _volume_rows(recording.bold, places, markers)
        markers += [marker for part in recording.physio for marker in part.markers]
        for marker in markers:
            yield EventRow(marker.at_s, 0.0, "marker", marker.label, marker.sample)

    def _physio(self) -> None:
        recording = self._recording
        # beside the volumes, which is where it is needed to clean them
        datatype, begins = next(((n.split("/", 1)[0], at) for n, at in reversed(self.scans)), ("", 0.0))
        if not datatype:
            return
        eeg = recording.eeg
        if eeg is not None and datatype == "func" and (chosen := _apart(eeg.channels)):
            picked = [eeg.channels[i] for i in chosen]
            blocks = (eeg.read(a, b)[:, chosen] for a, b in _blocks(eeg.n_samples))
            if self._gaps:
                self._report.problems.append("the EEG has gaps: its ECG and respiration are not written as physio")
            else:
                self._physio_file(datatype, "eeg", picked, eeg.sfreq, -begins, blocks)
        for number, part in enumerate(recording.physio, start=1):
            blocks = (part.read(a, b) for a, b in _blocks(part.n_samples))
            self._physio_file(datatype, str(number), part.channels, part.sfreq, part.start_s - begins, blocks)

    def _physio_file(
        self,
        datatype: str,
        label: str,
        channels: Sequence[ChannelInfo],
        sfreq: float,
        start_s: float,
        blocks: Iterator[Array],
    ) -> None:
        columns = bids.physio_columns(channels)
        lines = ("".join("\t".join(f"{v:.9g}" for v in row) + "\n" for row in block.tolist()) for block in blocks)
        self._compressed(self._entities.path(datatype, "physio.tsv.gz", label), lines)
        about = bids.physio_sidecar(columns, channels, sfreq, start_s)
        self._text(self._entities.path(datatype, "physio.json", label), about)


class _Usable:
    """Which volumes go together in one image, and as what they are stored."""

    def __init__(self, first: Volume) -> None:
        self.first = first
        self.places: list[int] = []
        self.dtype: np.dtype[np.generic] = first.data.dtype

    def add(self, k: int, volume: Volume) -> str:
        """Take volume ``k``; say what keeps it out, if anything."""
        if volume.data.shape != self.first.data.shape or not np.allclose(volume.affine, self.first.affine, atol=1e-3):
            return f"its grid {volume.data.shape} or its place is not that of the first one, {self.first.data.shape}"
        if volume.data.dtype != self.dtype:
            # whole numbers of 16 bit are exact in float32
            self.dtype = np.dtype(np.float32)
        self.places.append(k)
        return ""


def _volume_rows(bold: BoldPart, places: Sequence[int], markers: list[RecordedMarker]) -> Iterator[EventRow]:
    """Give a row per stored volume, and take the markers that began them out of ``markers``."""
    pulses = [marker for marker in markers if marker.label == bold.trigger]
    times = np.array([marker.at_s for marker in pulses])
    used: set[int] = set()
    for k in places:
        onset = bold.onset_s(k)
        nearest = int(np.argmin(np.abs(times - onset))) if len(times) else -1
        if nearest < 0 or nearest in used or abs(times[nearest] - onset) > _NEAR * bold.tr:
            yield EventRow(onset, 0.0, "volume_trigger")
            continue
        used.add(nearest)
        marker = pulses[nearest]
        yield EventRow(marker.at_s, 0.0, "volume_trigger", marker.label, marker.sample)
    taken = {id(pulses[place]) for place in used}
    markers[:] = [marker for marker in markers if id(marker) not in taken]


def _apart(channels: Sequence[ChannelInfo]) -> list[int]:
    """Find the channels of heart and breath."""
    return [i for i, c in enumerate(channels) if c.kind in {"ecg", "resp"} or "RESP" in c.name.upper()]


def _onsets(bold: BoldPart, places: Sequence[int]) -> list[float]:
    """Give the onset of each volume after the first, s: by its number, and by its trigger where a run begins anew."""
    onsets: list[float] = []
    first, began = places[0], 0.0
    for n, k in enumerate(places):
        if n and bold.indices[k] <= bold.indices[places[n - 1]]:
            first, began = k, bold.onset_s(k) - bold.onset_s(places[0])
        onsets.append(began + (bold.indices[k] - bold.indices[first]) * bold.tr)
    return onsets


def _blocks(n: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + _BLOCK, n)) for start in range(0, n, _BLOCK))


def _resolution(eeg: EegPart) -> list[float]:
    assert isinstance(eeg, BrainVisionEeg)
    return eeg.file.scale.tolist()


def _stored(eeg: EegPart, start: int, stop: int) -> Array:
    assert isinstance(eeg, BrainVisionEeg)
    return eeg.file.stored(start, stop)


def _date(at_s: float) -> str:
    return nominal_date(at_s).strftime(SEGMENT_DATE)


def _describe(out: Path, entities: Entities, report: BidsReport, scans: Sequence[tuple[str, float]]) -> None:
    """Write or extend the files of the whole dataset."""
    fixed = {
        "dataset_description.json": bids.dataset_description(__version__),
        "README.md": bids.README,
        "participants.json": bids.PARTICIPANTS_SIDECAR,
        f"{entities.scans.removesuffix('.tsv')}.json": bids.SCANS_SIDECAR,
    }
    for name, text in fixed.items():
        if not (out / name).exists():
            (out / name).write_text(text, encoding="utf-8")
            report.files.append(name)
    rows = [f"{name}\t{bids.acq_time(begins)}\n" for name, begins in scans]
    tables = {
        "participants.tsv": ("participant_id\n", [f"sub-{entities.subject}\n"]),
        entities.scans: ("filename\tacq_time\n", rows),
    }
    for name, (head, lines) in tables.items():
        path = out / name
        there = path.read_text(encoding="utf-8") if path.exists() else head
        path.write_text(there + "".join(line for line in lines if line not in there), encoding="utf-8")
        report.files.append(name)
