"""Rows of the EEG's table: values of several seeds become one figure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from streamer.bench.figures import Figure


@dataclass
class Rows:
    """Collects values by row, in the order in which the rows first came."""

    values: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    forms: dict[str, Figure] = field(default_factory=dict[str, Figure])

    def add(self, form: Figure) -> None:
        """Take one seed's value; the newest form says what the row looks like."""
        self.values.setdefault(form.name, []).append(form.value)
        self.forms[form.name] = form

    def figures(self) -> list[Figure]:
        """The mean of each row over the seeds; the note says how far they lie apart."""
        out: list[Figure] = []
        for name, form in self.forms.items():
            values = self.values[name]
            spread = f"{len(values)} seeds: {min(values):.3g} to {max(values):.3g}" if len(values) > 1 else ""
            note = "; ".join(part for part in (form.note, spread) if part)
            out.append(replace(form, value=float(np.mean(values)), note=note))
        return out
