"""The table of faults: one row for each that is injected."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("table.md")
BEGIN, END = "<!-- faults: made by `make faults` -->", "<!-- /faults -->"
"""Between these the README holds the table."""

FAULTS = (
    "EEG silent for 1 s, the stream stays",
    "EEG silent for 10 s, the stream stays",
    "amplifier's process killed, another started",
    "volume triggers missing, doubled, late",
    "volumes cut short",
    "volumes doubled, out of order, late",
    "export directory removed for 2 s",
    "broker killed",
    "dashboard killed",
    "loop stopped for 5 s (SIGSTOP)",
    "disk full",
    "loop killed (SIGKILL), started again",
    "ONNX session fails on the processor",
)
"""What each row is about, in order."""
HEAD = ("fault", "what the user sees", "lost, all counted", "all well again after")


@dataclass(frozen=True)
class Row:
    """What came of one fault."""

    fault: str
    seen: str
    lost: str
    again: str

    def line(self) -> str:
        """As a line of a Markdown table."""
        return f"| {self.fault} | {self.seen} | {self.lost} | {self.again} |"


class FaultTable:
    """Collects rows; KeyError for a fault that is not in the list.

    Parameters
    ----------
    before : str
        A table of before, whose rows stay where there are no new ones.
    """

    def __init__(self, before: str = "") -> None:
        rows = [Row(*cells) for cells in rows_of(before)]
        self._rows = {row.fault: row for row in rows if row.fault in FAULTS}

    def add(self, fault: str, seen: str, lost: str, again_s: float | str) -> None:
        """Take a row; ``again_s`` in s."""
        if fault not in FAULTS:
            raise KeyError(f"{fault!r}: expected one of {', '.join(FAULTS)}")
        again = again_s if isinstance(again_s, str) else f"{again_s:.1f} s"
        self._rows[fault] = Row(fault, seen, lost, again)

    @property
    def whole(self) -> bool:
        """Whether every fault has its row."""
        return set(self._rows) == set(FAULTS)

    def text(self) -> str:
        """As Markdown."""
        head = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
        return "\n".join([*head, *(self._rows[name].line() for name in FAULTS if name in self._rows)]) + "\n"


def rows_of(markdown: str) -> list[list[str]]:
    """Cells of a Markdown table, without its head."""
    lines = [line for line in markdown.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def names_in(markdown: str) -> list[str]:
    """First column of a Markdown table, without its head."""
    return [cells[0] for cells in rows_of(markdown)]
