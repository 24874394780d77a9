"""Small EDF and BDF files, written by the published format: header, then records of one signal after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass
class Signal:
    label: str
    stored: np.ndarray
    """Stored values, a whole number of records."""
    unit: str = "uV"
    physical: float = 1.0
    """Units per stored value."""


@dataclass
class Edf:
    signals: Sequence[Signal]
    n_records: int
    record_s: float = 1.0
    bdf: bool = False
    onsets: Sequence[float] | None = None
    """Makes EDF+: when each record begins, s."""
    annotations: Sequence[tuple[float, str]] = ()
    interrupted: bool = False
    said: int | None = None
    """Number of records in the header."""
    encoding: str = "utf-8"
    patient: str = "X X X X"
    tal_bytes: int = field(default=90)

    def write(self, path: Path) -> Path:
        width, rail = (3, 2**23) if self.bdf else (2, 2**15)
        plus = self.onsets is not None
        n = len(self.signals) + plus
        kind = ("BDF+" if self.bdf else "EDF+") + ("D" if self.interrupted else "C") if plus else "24BIT" * self.bdf
        labels = [s.label for s in self.signals] + ["BDF Annotations" if self.bdf else "EDF Annotations"] * plus
        per_record = [len(s.stored) // self.n_records for s in self.signals] + [self.tal_bytes // width] * plus
        sizes = [s.physical for s in self.signals] + [1.0] * plus
        said = self.n_records if self.said is None else self.said
        head = [
            (b"\xffBIOSEMI" if self.bdf else b"0       "),
            *(text.ljust(size).encode() for text, size in [(self.patient, 80), ("Startdate X X X X", 80)]),
            b"01.02.2403.04.05",
            *(
                str(x).ljust(w).encode()
                for x, w in [(256 * (n + 1), 8), (kind, 44), (said, 8), (self.record_s, 8), (n, 4)]
            ),
        ]
        columns: list[tuple[list[object], int]] = [
            (list(labels), 16),
            ([""] * n, 80),
            ([s.unit for s in self.signals] + [""] * plus, 8),
            ([f"{-rail * size:.7g}"[:8] for size in sizes], 8),
            ([f"{(rail - 1) * size:.7g}"[:8] for size in sizes], 8),
            ([-rail] * n, 8),
            ([rail - 1] * n, 8),
            ([""] * n, 80),
            (list(per_record), 8),
            ([""] * n, 32),
        ]
        head += [str(x).encode(self.encoding).ljust(size) for values, size in columns for x in values]
        records = b"".join(self._record(k, width) for k in range(self.n_records))
        path.write_bytes(b"".join(head) + records)
        return path

    def _record(self, k: int, width: int) -> bytes:
        parts: list[bytes] = []
        for signal in self.signals:
            n = len(signal.stored) // self.n_records
            values = np.asarray(signal.stored[k * n : (k + 1) * n], "<i4").view(np.uint8).reshape(-1, 4)
            parts.append(values[:, :width].tobytes())
        if self.onsets is not None:
            begins = self.onsets[k]
            ends = self.onsets[k + 1] if k + 1 < len(self.onsets) else np.inf
            tal = f"+{begins:g}\x14\x14\0".encode()
            for onset, label in self.annotations:
                if (begins <= onset or k == 0) and onset < ends:
                    tal += f"+{onset:g}\x14{label}\x14\0".encode(self.encoding)
            assert len(tal) <= self.tal_bytes
            parts.append(tal.ljust(self.tal_bytes, b"\0"))
        return b"".join(parts)
