"""What is in a single file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from streamer.acquire.recorded_bold import find_bold
from streamer.acquire.recorded_parts import BOLD_SUFFIXES, open_eeg
from streamer.acquire.recorded_physio import open_physio
from streamer.acquire.recording_toml import open_toml
from streamer.errors import FormatError, RecordingError
from streamer.formats.brainvision import NEW_SEGMENT, BrainVisionHeader, read_header, read_markers
from streamer.formats.tables import read_markers_table
from streamer.formats.xdf_read import XdfStream, read_texts
from streamer.inspection.part import Part, bold_part, eeg_parts, markers_part, physio_part, recording_parts

Reader = Callable[[Path], list[Part]]


def reader_of(path: Path) -> Reader | None:
    """Choose how a file is read, by its name; None for one that is no part of a recording by itself."""
    name = path.name.lower()
    if name.endswith(("_physio.tsv", "_physio.tsv.gz", ".hea")):
        return _physio
    if name.endswith(BOLD_SUFFIXES):
        return _bold
    return _READERS.get(path.suffix.lower())


def is_signal_table(path: Path) -> bool:
    """Tell whether a .csv is a recorded signal: a header line that begins with ``timestamps``, whatever follows."""
    return _first_line(path).startswith("timestamps,")


def is_marker_table(path: Path) -> bool:
    """Tell whether a .tsv is a table of events: its header line has ``onset`` and ``trial_type``."""
    return {"onset", "trial_type"} <= set(_first_line(path).split("\t"))


def _first_line(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.readline(4096).decode("utf-8-sig", errors="replace").strip()
    except OSError:
        return ""


def _toml(path: Path) -> list[Part]:
    return recording_parts(open_toml(path))


def _eeg(path: Path) -> list[Part]:
    return eeg_parts(open_eeg(path)[0])


def _physio(path: Path) -> list[Part]:
    return [physio_part(open_physio(path))]


def _bold(path: Path) -> list[Part]:
    (source,) = find_bold(path)
    if not source.n_volumes:
        raise FormatError("; ".join(source.problems))
    return [bold_part(source)]


def _table(path: Path) -> list[Part]:
    table = read_markers_table(path)
    part = markers_part((event.label for event in table.events), "table")
    part.problems += table.problems
    return [part]


def _brainvision(vhdr: Path) -> list[Part]:
    header = read_header(vhdr)
    if header.data_file.is_file():
        return _eeg(vhdr)
    part = Part("eeg", "BrainVision", n_channels=len(header.channels), sfreq=header.sfreq)
    told = "" if header.n_samples is None else f"; by the header it has {header.n_samples} samples"
    part.problems += [*header.problems, f"{header.data_file.name} is absent: there is no signal{told}"]
    return [part, *_marker_file(header)]


def _marker_file(header: BrainVisionHeader) -> list[Part]:
    if header.marker_file is None or not header.marker_file.is_file():
        return []
    return _vmrk(header.marker_file)


def _vmrk(path: Path) -> list[Part]:
    found = read_markers(path)
    part = markers_part((m.label for m in found.markers if m.kind != NEW_SEGMENT and m.label), "BrainVision")
    part.problems += found.problems
    return [part]


def _xdf(path: Path) -> list[Part]:
    from streamer.acquire.recorded_xdf import list_streams

    parts: list[Part] = []
    for stream in list_streams(path):
        if stream.is_markers:
            try:
                part = markers_part(read_texts(path, stream)[1], "XDF", stream.name)
            except FormatError as error:
                part = Part("markers", "XDF", name=stream.name, n_markers=stream.n_markers, problems=[str(error)])
            parts.append(part)
            part.problems += stream.problems
            continue
        kind = "eeg" if stream.type.lower() == "eeg" else "physio"
        part = Part(
            kind,
            "XDF",
            name=stream.name,
            n_channels=stream.n_channels,
            sfreq=stream.sfreq,
            n_samples=stream.n_samples,
            problems=[*stream.problems],
        )
        if kind == "eeg" and stream.n_samples:
            part.problems += _eeg_problems(path, stream, part.problems)
        parts.append(part)
    return parts


def _eeg_problems(path: Path, stream: XdfStream, known: list[str]) -> list[str]:
    from streamer.acquire.recorded_xdf import open_xdf

    try:
        eeg = open_xdf(path, str(stream.number)).eeg
        found = () if eeg is None else eeg.problems
    except RecordingError as error:
        found = (str(error),)
    own = f"stream {stream.name!r}: "
    told = (
        problem.removeprefix(own) for problem in found if problem.startswith(own) or not problem.startswith("stream ")
    )
    return [problem for problem in told if problem not in known]


def _dicom(path: Path) -> list[Part]:
    from streamer.formats.dicom import NotAnImageVolume, read_dicom, read_slice

    raw = path.read_bytes()
    try:
        volume = read_dicom(raw, path.name)
    except NotAnImageVolume:
        piece = read_slice(raw, path.name)
        part = Part("bold", f"DICOM ({piece.vendor})", tr=piece.tr, n_volumes=0)
        part.problems.append(f"{path.name} is one slice of a volume: expected the folder of the series")
        return [part]
    return [
        Part("bold", "DICOM", grid=volume.data.shape, tr=volume.tr, n_volumes=1, slice_times=volume.slice_times),
    ]


_READERS: dict[str, Reader] = {
    ".toml": _toml,
    ".xdf": _xdf,
    ".xdfz": _xdf,
    ".vhdr": _brainvision,
    ".vmrk": _vmrk,
    ".edf": _eeg,
    ".bdf": _eeg,
    ".set": _eeg,
    ".csv": _eeg,
    ".tsv": _table,
    ".dcm": _dicom,
    ".ima": _dicom,
}
