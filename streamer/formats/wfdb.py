"""WFDB records as PhysioNet has them: a header (.hea), signals in format 212 or 16 (.dat), annotations (.atr).

Reference: https://physionet.org/physiotools/wag/header-5.htm, signal-5.htm and annot-5.htm
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamer.errors import FormatError
from streamer.messages import F64, Array

_MAX_SIGNALS = 256
_SYMBOLS = {
    1: "N", 2: "L", 3: "R", 4: "a", 5: "V", 6: "F", 7: "J", 8: "A", 9: "S", 10: "E", 11: "j", 12: "/", 13: "Q",
    14: "~", 16: "|", 18: "s", 19: "T", 20: "*", 21: "D", 22: '"', 23: "=", 24: "p", 25: "B", 26: "^", 27: "t",
    28: "+", 29: "u", 30: "?", 31: "!", 32: "[", 33: "]", 34: "e", 35: "n", 36: "@", 37: "x", 38: "f", 39: "(",
    40: ")", 41: "r",
}  # fmt: skip
_BEATS = set("NLRaVFJASEj/QBenfr?")
_SKIP, _NUM, _SUB, _CHN, _AUX = range(59, 64)
_INVALID = {212: -2048, 16: -32768}


@dataclass(frozen=True, slots=True)
class WfdbSignal:
    """One signal of a record."""

    name: str
    unit: str
    gain: float
    """Stored values per unit."""
    baseline: float
    """Stored value of 0."""
    checksum: int | None
    """Sum of all its stored values, the low 16 bits as a signed number."""


@dataclass(frozen=True, slots=True)
class WfdbAnnotation:
    """One annotation: a beat, a change of rhythm, a remark."""

    sample: int
    symbol: str
    text: str
    """What is added to it, such as ``(AFIB``."""

    @property
    def is_beat(self) -> bool:
        """Whether it marks a heartbeat."""
        return self.symbol in _BEATS


@dataclass(frozen=True)
class WfdbRecord:
    """A record that was opened."""

    sfreq: float
    """Hz."""
    signals: tuple[WfdbSignal, ...]
    n_samples: int
    annotations: tuple[WfdbAnnotation, ...]
    data: Array
    """Bytes of the signal file from the first sample on, memory-mapped."""
    storage: int
    """212 (two values of 12 bits in three bytes) or 16."""
    problems: tuple[str, ...] = ()

    def stored(self, start: int, stop: int) -> Array:
        """Read stored values of samples ``start`` to ``stop`` (excluded), shape (stop - start, n_signals).

        Raises
        ------
        ValueError
            The range is not within the record.
        """
        if not 0 <= start <= stop <= self.n_samples:
            raise ValueError(f"samples {start} to {stop} of a record of {self.n_samples}")
        width = len(self.signals)
        first, last = start * width, stop * width
        if self.storage == 16:
            return np.frombuffer(self.data[2 * first : 2 * last].tobytes(), "<i2").reshape(-1, width)
        values = _twelve_bits(self.data[first // 2 * 3 : -(-last // 2) * 3])
        return values[first % 2 :][: last - first].reshape(-1, width)

    def read(self, start: int, stop: int) -> F64:
        """Read samples ``start`` to ``stop`` (excluded) in the signals' units; invalid ones are NaN."""
        stored = self.stored(start, stop)
        gain = np.array([signal.gain for signal in self.signals])
        baseline = np.array([signal.baseline for signal in self.signals])
        return np.where(stored == _INVALID[self.storage], np.nan, (stored - baseline) / gain)


def _twelve_bits(raw: Array) -> Array:
    # bytes: low 8 of the first, high 4 of the second and of the first, low 8 of the second
    padded = np.zeros(-(-len(raw) // 3) * 3, np.int16)
    padded[: len(raw)] = raw
    low, middle, high = padded.reshape(-1, 3).T
    pairs = np.stack([low | ((middle & 0x0F) << 8), high | ((middle & 0xF0) << 4)], axis=1).ravel()
    return np.where(pairs > 2047, pairs - 4096, pairs).astype(np.int16)


def read_wfdb(hea: Path) -> WfdbRecord:
    """Open a record, with the .atr beside it when there is one.

    A signal file that was cut is read up to its last whole sample; the problems say so.

    Raises
    ------
    FormatError
        A file is missing or is not what its format demands, or of a kind that is not read.
    """
    try:
        lines = [line.strip() for line in hea.read_text(encoding="latin-1").splitlines()]
    except OSError as error:
        raise FormatError(f"{hea}: cannot be read ({error.strerror})") from error
    # comments tell age, sex and illness
    lines = [line for line in lines if line and not line.startswith("#")]
    fields = lines[0].split() if lines else []
    if len(fields) < 2 or not re.fullmatch(r"\d{1,4}", fields[1]) or "/" in fields[0]:
        raise FormatError(f"{hea.name}: expected the name of one record and its number of signals in the first line")
    n_signals = int(fields[1])
    if not 1 <= n_signals <= _MAX_SIGNALS or len(lines) < 1 + n_signals:
        raise FormatError(
            f"{hea.name}: describes {len(lines) - 1} of {n_signals} signals, expected 1 to {_MAX_SIGNALS}"
        )
    sfreq = _number(fields[2].split("/")[0].split("(")[0], hea.name) if len(fields) > 2 else 250.0
    said = int(fields[3]) if len(fields) > 3 and re.fullmatch(r"\d{1,15}", fields[3]) else 0
    if not sfreq > 0:
        raise FormatError(f"{hea.name}: sampling rate {sfreq:g}, expected Hz above 0")
    described = [_signal(line, hea.name) for line in lines[1 : 1 + n_signals]]
    if len({(file, storage, offset) for file, storage, offset, _ in described}) != 1:
        raise FormatError(f"{hea.name}: signals in several files or formats, expected one")
    file, storage, offset, _ = described[0]
    dat = hea.parent / Path(file).name
    if not dat.is_file() or dat.stat().st_size <= offset:
        raise FormatError(f"{hea.name}: names the file {dat.name!r}, which is not in {hea.parent} or is empty")
    data = np.memmap(dat, np.uint8, "r", offset=offset)
    values = len(data) * 2 // 3 if storage == 212 else len(data) // 2
    n_samples = values // n_signals
    problems: list[str] = []
    if said and n_samples < said:
        problems.append(f"{dat.name}: ends after {n_samples} of {said} samples")
    n_samples = min(n_samples, said) if said else n_samples
    if not n_samples:
        raise FormatError(f"{dat.name}: {len(data)} bytes, expected at least one sample of {n_signals} signals")
    annotations: tuple[WfdbAnnotation, ...] = ()
    if (atr := hea.with_suffix(".atr")).is_file():
        annotations, complete = read_annotations(atr)
        if not complete:
            problems.append(f"{atr.name}: ends in the middle; {len(annotations)} annotations were read")
        inside = tuple(a for a in annotations if 0 <= a.sample < n_samples)
        if len(inside) < len(annotations):
            problems.append(f"{atr.name}: {len(annotations) - len(inside)} annotations lie outside and are left out")
        annotations = inside
    signals = tuple(signal for _, _, _, signal in described)
    return WfdbRecord(sfreq, signals, n_samples, annotations, data, storage, tuple(problems))


def read_annotations(path: Path) -> tuple[tuple[WfdbAnnotation, ...], bool]:
    """Read a file of annotations in MIT format; gives them and whether the file has its end.

    Raises
    ------
    FormatError
        It cannot be read.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    found: list[WfdbAnnotation] = []
    at = sample = 0
    while at + 2 <= len(raw):
        word = int.from_bytes(raw[at : at + 2], "little")
        code, value = word >> 10, word & 0x3FF
        at += 2
        if word == 0:
            return tuple(found), True
        if code == _SKIP:
            # a long interval, its high half first
            high, low = (int.from_bytes(raw[at + k : at + k + 2], "little") for k in (0, 2))
            interval = high << 16 | low
            sample += interval - (1 << 32) if interval >= 1 << 31 else interval
            at += 4
        elif code == _AUX:
            if found:
                text = raw[at : at + value].split(b"\0")[0].decode("latin-1")
                found[-1] = WfdbAnnotation(found[-1].sample, found[-1].symbol, text)
            at += value + value % 2
        elif code not in {_NUM, _SUB, _CHN}:
            sample += value
            # a code of 0 only moves on
            if code:
                found.append(WfdbAnnotation(sample, _SYMBOLS.get(code, f"[{code}]"), ""))
    return tuple(found), False


def _signal(line: str, name: str) -> tuple[str, int, int, WfdbSignal]:
    fields = line.split(maxsplit=8)
    layout = re.fullmatch(r"(\d+)(?:x(\d+))?(?::\d+)?(?:\+(\d+))?", fields[1]) if len(fields) > 1 else None
    if layout is None or int(layout[1]) not in _INVALID or int(layout[2] or 1) != 1:
        given = fields[1] if len(fields) > 1 else "missing"
        raise FormatError(f"{name}: signal format {given}, expected 212 or 16 with one sample per frame")
    gain_text = fields[2] if len(fields) > 2 else "200"
    gain = re.fullmatch(r"([-+.\deE]+)(?:\((-?\d+)\))?(?:/(\S+))?", gain_text)
    if gain is None:
        raise FormatError(f"{name}: gain {gain_text!r}, expected a number, a baseline in brackets and a unit")
    size = _number(gain[1], name)
    zero = fields[4] if len(fields) > 4 else "0"
    checksum = int(fields[6]) if len(fields) > 6 and re.fullmatch(r"-?\d{1,9}", fields[6]) else None
    label = fields[8] if len(fields) > 8 else fields[0]
    # a gain of 0 says that nobody calibrated it; 200 per mV is the format's own
    signal = WfdbSignal(label, gain[3] or "mV", size or 200.0, _number(gain[2] or zero, name), checksum)
    return fields[0], int(layout[1]), int(layout[3] or 0), signal


def _number(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FormatError(f"{name}: {text!r}, expected a number")
    return value
