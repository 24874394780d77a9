"""The table of faults: the suite writes it, and the README shows it."""

from __future__ import annotations

import pytest

from tests.faults.table import BEGIN, END, FAULTS, ROOT, TABLE, FaultTable, names_in


def test_every_fault_has_a_row_in_the_table_and_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert BEGIN in readme, f"the README lacks {BEGIN}"
    shown = readme.split(BEGIN)[1].split(END)[0]
    assert names_in(shown) == list(FAULTS)
    assert names_in(TABLE.read_text(encoding="utf-8")) == list(FAULTS)


def test_rows_come_in_the_order_of_the_list_whatever_was_tried_first() -> None:
    table = FaultTable()
    for fault in reversed(FAULTS):
        table.add(fault, "a sentence", "nothing", 1.25)
    assert table.whole
    assert names_in(table.text()) == list(FAULTS)
    assert table.text().splitlines()[2] == f"| {FAULTS[0]} | a sentence | nothing | 1.2 s |"


def test_rows_of_before_stay_where_there_are_no_new_ones() -> None:
    first = FaultTable()
    for fault in FAULTS:
        first.add(fault, "old", "nothing", 1.0)
    table = FaultTable(first.text())
    table.add(FAULTS[3], "new", "nothing", 1.0)
    assert table.text() == first.text().replace(f"| {FAULTS[3]} | old |", f"| {FAULTS[3]} | new |")


def test_a_fault_that_nobody_listed_is_refused() -> None:
    with pytest.raises(KeyError, match="expected one of"):
        FaultTable().add("meteorite", "", "", 0.0)
