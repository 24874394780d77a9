"""EDF, BDF and EEGLAB files as the EEG part of a recording: samples are read by MNE when they are asked for."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from streamer.acquire.recorded_segments import WHOLE, Segments
from streamer.acquire.recording import RecordedMarker
from streamer.errors import FormatError
from streamer.formats.brainvision_header import kind_of
from streamer.formats.edf import EdfHeader, as_written, read_edf_header, read_record_onsets
from streamer.formats.volts import volts_per
from streamer.messages import F32, F64, Array, ChannelInfo

_BLOCK = 8192
"""Samples that MNE reads at once: each of its reads has a price."""
_SAME_S = 1e-3
"""Records that begin this close to the end of the one before follow it without a pause, s: onsets are rounded."""
_MNE_SCALES = {"uV": 1e-6, "\u00b5V": 1e-6, "\x83\xcaV": 1e-6, "mV": 1e-3}
"""What MNE makes of the units of an EDF; it leaves others as they stand."""
_PERSONAL = re.compile(r"patient|subject|birth|name|date|id\b", re.IGNORECASE)
_KINDS = {"EEG": "eeg", "ECG": "ecg", "EKG": "ecg", "EOG": "eog", "EMG": "misc", "RESP": "resp", "TEMP": "misc"}


@dataclass
class MneEeg:
    """The EEG of a file that MNE reads; one clock, that of the amplifier."""

    raw: Any
    """``mne.io.BaseRaw``, not loaded."""
    format: str
    channels: tuple[ChannelInfo, ...]
    picks: Array
    """Place of each channel in ``raw``, shape (n_channels,)."""
    scale: F64
    """From what MNE gives to the channel's unit, shape (n_channels,)."""
    segments: Segments
    markers: tuple[RecordedMarker, ...]
    problems: tuple[str, ...]
    _held: tuple[int, F32] = field(init=False, repr=False, default=(-1, np.zeros((0, 0), np.float32)))

    @property
    def sfreq(self) -> float:
        """Hz."""
        return float(self.raw.info["sfreq"])

    @property
    def n_samples(self) -> int:
        """How many there are; those of a pause are not counted."""
        return int(self.raw.n_times)

    @property
    def duration_s(self) -> float:
        """From the first sample to the end of the last one, pauses included, s."""
        return self.n_samples / self.sfreq + float(self.segments.late_s[-1])

    def read(self, start: int, stop: int) -> F32:
        """Read samples ``start`` to ``stop`` (excluded), V, shape (stop - start, n_channels).

        Raises
        ------
        FormatError
            MNE cannot read them.
        ValueError
            The range is not within the recording.
        """
        if not 0 <= start <= stop <= self.n_samples:
            raise ValueError(f"samples {start} to {stop} of a recording of {self.n_samples}")
        parts: list[F32] = []
        for block in range(start // _BLOCK, -(-stop // _BLOCK) if stop > start else 0):
            first = block * _BLOCK
            parts.append(self._block(block)[max(start - first, 0) : stop - first])
        return np.concatenate(parts) if parts else np.zeros((0, len(self.channels)), np.float32)

    def times(self, start: int, stop: int) -> tuple[F64, F64]:
        """Give raw stamps and times of these samples, s: both count from the first one, and jump at a pause."""
        at = self.segments.times(np.arange(start, stop), self.sfreq)
        return at, at

    def _block(self, block: int) -> F32:
        if self._held[0] != block:
            start, stop = block * _BLOCK, min((block + 1) * _BLOCK, self.n_samples)
            values = _values(self.raw, self.picks, start, stop)
            self._held = block, np.ascontiguousarray(values.T * self.scale, np.float32)
        return self._held[1]


def open_mne(path: Path, unit: str | None = None) -> MneEeg:
    """Open a file.

    Parameters
    ----------
    path : Path
        .edf, .bdf or .set (with the .fdt beside it that it may name).
    unit : str, optional
        Unit of all channels; needed when an EDF or BDF tells none.

    Raises
    ------
    FormatError
        It is missing or not what its format demands, is of another kind, or no channel has a unit.
    """
    if unit is not None and volts_per(unit) is None:
        raise FormatError(f"{path.name}: unit is {unit!r}, expected V, mV or µV")
    suffix = path.suffix.lower()
    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    if suffix in {".edf", ".bdf"}:
        return _open_edf(path, suffix, unit)
    if suffix == ".set":
        return _open_eeglab(path, unit)
    raise FormatError(f"{path.name}: expected .edf, .bdf or .set")


def _open_edf(path: Path, suffix: str, unit: str | None) -> MneEeg:
    header = read_edf_header(path)
    if (header.value_bytes == 3) != (suffix == ".bdf"):
        raise FormatError(f"{path.name}: holds {8 * header.value_bytes}-bit values, which is not what {suffix} means")
    taken, slow, problems = _same_rate(path, header)
    import mne

    read = mne.io.read_raw_bdf if suffix == ".bdf" else mne.io.read_raw_edf
    encoding = "utf8"
    try:
        annotations, _ = _quietly(lambda: mne.read_annotations(path), path.name)
    except FormatError:
        # they are to be UTF-8, and often are not
        encoding = "latin1"
        annotations, _ = _quietly(lambda: mne.read_annotations(path, encoding=encoding), path.name)
        problems.append("its annotations are no UTF-8: read as Latin-1")
    raw, said = _quietly(
        lambda: read(path, exclude=slow, preload=False, encoding=encoding, verbose="warning"), path.name
    )
    # what is found here is not said twice
    said = tuple(text for text in said if not re.search(r"Number of records|annotation", text))
    types = raw.get_channel_types()
    if len(types) != len(taken):
        raise FormatError(f"{path.name}: MNE finds {len(types)} signals, expected {len(taken)}")
    picks = [k for k, kind in enumerate(types) if kind != "stim"]
    stored = [header.units[taken[k]] for k in picks]
    units = [unit or as_written(given) for given in stored]
    if not any(units):
        raise FormatError(f"{path.name}: no channel has a unit; expected V, mV or µV, or set unit to what it is")
    channels: list[ChannelInfo] = []
    scale = np.ones(len(picks))
    for n, (k, given) in enumerate(zip(picks, units, strict=True)):
        volts = volts_per(given)
        kind, name = _kind_and_name(as_written(header.labels[taken[k]]))
        channels.append(ChannelInfo(name, kind if volts is not None else "misc", "V" if volts is not None else given))
        scale[n] = (1.0 if volts is None else volts) / _MNE_SCALES.get(stored[n], 1.0)
    segments = _pauses(path, header, float(raw.info["sfreq"])) if header.interrupted else WHOLE
    stim = [k for k, kind in enumerate(types) if kind == "stim"]
    markers, outside = _annotations(annotations, raw, segments)
    markers += _pulses(raw, stim, segments, 0xFFFF if suffix == ".bdf" else -1)
    return MneEeg(
        raw,
        suffix[1:].upper(),
        tuple(channels),
        np.array(picks, np.int64),
        scale,
        segments,
        tuple(sorted(markers, key=lambda marker: marker.at_s)),
        (*header.problems, *problems, *segments.problems, *outside, *said),
    )


def _same_rate(path: Path, header: EdfHeader) -> tuple[list[int], list[str], list[str]]:
    """Choose the signals of the rate that most have; MNE would resample the others."""
    signals = [k for k, is_signal in enumerate(header.is_signal) if is_signal]
    if not signals or header.record_s == 0:
        raise FormatError(f"{path.name}: holds annotations only")
    rates = [header.per_record[k] for k in signals]
    rate = max(sorted(set(rates), reverse=True), key=rates.count)
    other = [header.labels[k] for k in signals if header.per_record[k] != rate]
    if not other:
        return signals, [], []
    # MNE leaves out by name
    taken = [k for k in signals if header.labels[k] not in other]
    if not taken:
        raise FormatError(f"{path.name}: channels of one name have different rates")
    said = f"{len(other)} channels have another rate than {rate / header.record_s:g} Hz and are left out: "
    return taken, other, [said + ", ".join(as_written(label) for label in other[:8]) + (" …" if len(other) > 8 else "")]


def _open_eeglab(path: Path, unit: str | None) -> MneEeg:
    import mne

    raw, said = _quietly(lambda: mne.io.read_raw_eeglab(path, preload=False, verbose="warning"), path.name)
    raw, cut = _whole_samples(raw, path)
    channels: list[ChannelInfo] = []
    for name, kind in zip(raw.ch_names, raw.get_channel_types(), strict=True):
        found = kind if kind in {"ecg", "eog"} else kind_of(name) if kind == "eeg" else "misc"
        channels.append(ChannelInfo(name, found))
    # EEGLAB keeps µV, and so MNE takes it
    scale = np.full(len(channels), 1.0 if unit is None else (volts_per(unit) or 1.0) / 1e-6)
    markers, outside = _annotations(raw.annotations, raw, WHOLE)
    picks = np.arange(len(channels))
    return MneEeg(raw, "EEGLAB", tuple(channels), picks, scale, WHOLE, tuple(markers), (*cut, *outside, *said))


def _whole_samples(raw: Any, path: Path) -> tuple[Any, list[str]]:
    """Shorten a recording whose samples lie in a file of their own (.fdt, float32) that was cut: MNE does not look."""
    data = Path(raw.filenames[0] or path)
    if raw.preload or data.suffix.lower() != ".fdt":
        return raw, []
    there = data.stat().st_size // (4 * len(raw.ch_names))
    if there >= raw.n_times:
        return raw, []
    if not there:
        raise FormatError(f"{data.name}: no whole sample, expected {raw.n_times}")
    said = f"{data.name}: ends after {there} of {raw.n_times} samples"
    return raw.crop(tmax=(there - 1) / raw.info["sfreq"], verbose="error"), [said]


def _kind_and_name(label: str) -> tuple[str, str]:
    # EDF+ puts the kind before the name: "EEG Fp1"
    kind, _, name = label.partition(" ")
    if kind.upper() in _KINDS and name.strip():
        return _KINDS[kind.upper()], name.strip() if kind.upper() == "EEG" else label
    return kind_of(label), label


def _pauses(path: Path, header: EdfHeader, sfreq: float) -> Segments:
    onsets = read_record_onsets(path, header)
    if not np.isfinite(onsets).all():
        said = (
            f"{int(np.count_nonzero(~np.isfinite(onsets)))} of its records do not tell when they began: pauses are lost"
        )
        return Segments(WHOLE.first, WHOLE.late_s, (said,))
    late = onsets - np.arange(header.n_records) * header.record_s
    late = np.maximum.accumulate(np.where(np.abs(late) < _SAME_S, 0.0, late))
    begins = np.flatnonzero(np.diff(late) > _SAME_S) + 1
    problems = tuple(f"a pause of {late[k] - late[k - 1]:.3f} s before {onsets[k]:.3f} s" for k in begins.tolist())
    if np.any(np.diff(onsets) < header.record_s - _SAME_S):
        problems += ("records overlap in time: taken as following each other",)
    kept = np.concatenate([[0], begins])
    return Segments(np.rint(kept * header.record_s * sfreq).astype(np.int64), late[kept], problems)


def _annotations(annotations: Any, raw: Any, segments: Segments) -> tuple[list[RecordedMarker], list[str]]:
    """Give the annotations as markers, and say how many lie outside."""
    sfreq = float(raw.info["sfreq"])
    onsets = np.asarray(annotations.onset, np.float64)
    samples = segments.samples(onsets, sfreq)
    inside = (samples >= 0) & (samples < raw.n_times)
    markers = [
        RecordedMarker(str(label).strip(), at, at, sample, "annotation")
        for label, at, sample, good in zip(
            annotations.description, onsets.tolist(), samples.tolist(), inside.tolist(), strict=True
        )
        if good and str(label).strip()
    ]
    if inside.all():
        return markers, []
    return markers, [f"{int(np.count_nonzero(~inside))} annotations lie outside the recording and are left out"]


def _pulses(raw: Any, stim: list[int], segments: Segments, mask: int) -> list[RecordedMarker]:
    """Find where a trigger channel goes to another value than 0."""
    markers: list[RecordedMarker] = []
    for channel in stim:
        last = 0
        for start in range(0, raw.n_times, 1 << 18):
            stop = min(start + (1 << 18), raw.n_times)
            codes = np.rint(_values(raw, np.array([channel]), start, stop)[0]).astype(np.int64) & mask
            changes = np.flatnonzero((np.diff(codes, prepend=last) != 0) & (codes != 0))
            times = segments.times(changes + start, float(raw.info["sfreq"])).tolist()
            for k, at in zip(changes.tolist(), times, strict=True):
                markers.append(RecordedMarker(str(codes[k]), at, at, start + k, raw.ch_names[channel]))
            last = int(codes[-1])
    return markers


def _values(raw: Any, picks: Array, start: int, stop: int) -> F64:
    read = partial(raw.get_data, picks=picks, start=start, stop=stop, verbose="warning")
    values, _ = _quietly(read, f"samples {start} to {stop}")
    return values


def _quietly(read: Callable[[], Any], what: str) -> tuple[Any, tuple[str, ...]]:
    """Let MNE read; gives the result and its warnings, less those that may tell who was recorded."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = read()
        except Exception as error:
            # the text may quote the header, and so a name
            raise FormatError(f"{what}: MNE cannot read it ({type(error).__name__})") from error
    texts = dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught)
    return result, tuple(f"MNE: {text[:200]}" for text in texts if not _PERSONAL.search(text))
