"""Tables of events and of samples: what stands there is read, what does not fit is counted."""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import FormatError
from streamer.formats.tables import TableEvent, read_markers_table, read_signal_table

EVENTS = "\ufeffonset\tduration\ttrial_type\tvalue\tsample\n2.5\t0.1\tR128\t1\t625\n1.0\tn/a\tn/a\tS 2\tn/a\n"
SAMPLES = "timestamps,TP9,AUX,Marker\n1.000,-44.9,1,0\n1.004,3.5,2,2\n1.008,4,3,0\n"


def test_events_are_read_in_order(tmp_path: Path):
    (tmp_path / "e.tsv").write_text(EVENTS, encoding="utf-8")
    table = read_markers_table(tmp_path / "e.tsv")
    assert table.events == (TableEvent(1.0, 0.0, "S 2", "S 2", None), TableEvent(2.5, 0.1, "R128", "1", 625))
    assert (table.sfreq, table.problems) == (250.0, ())


def test_rows_that_cannot_be_read_are_counted(tmp_path: Path):
    (tmp_path / "e.tsv").write_text(EVENTS + "soon\t0\tx\t1\t2\n3.0\n", encoding="utf-8")
    table = read_markers_table(tmp_path / "e.tsv")
    assert len(table.events) == 2
    assert table.problems == ("e.tsv: 2 of 4 rows cannot be read and are left out",)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("", "is empty"), ("time\tlabel\n1\ta\n", "expected one called onset"), ("onset\nx\n", "none of 1 rows")],
)
def test_what_is_no_table_of_events_is_refused(tmp_path: Path, text: str, complaint: str):
    (tmp_path / "e.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(FormatError, match=complaint):
        read_markers_table(tmp_path / "e.tsv")
    with pytest.raises(FormatError, match="cannot be read"):
        read_markers_table(tmp_path / "none.tsv")


def test_samples_are_read_with_their_markers(tmp_path: Path):
    (tmp_path / "s.csv").write_text(SAMPLES)
    table = read_signal_table(tmp_path / "s.csv")
    assert (table.names, table.problems) == (("TP9", "AUX"), ())
    np.testing.assert_array_equal(table.stamps, [1.0, 1.004, 1.008])
    np.testing.assert_array_equal(table.data, [[-44.9, 1], [3.5, 2], [4, 3]])
    assert table.markers is not None
    assert table.markers.tolist() == [0, 2, 0]


def test_rows_and_values_that_are_no_numbers_are_counted(tmp_path: Path):
    (tmp_path / "s.csv").write_text(SAMPLES + "1.012,,4,0\nlater,1,1,0\n1.02,5\n")
    table = read_signal_table(tmp_path / "s.csv")
    np.testing.assert_array_equal(table.data[3], [np.nan, 4])
    assert table.problems == ("s.csv: 2 of 6 rows cannot be read and are left out", "s.csv: 1 values are no numbers")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("time,Cz\n1,2\n", "expected timestamps"),
        ("timestamps,Cz\n1,2\n", "1 samples, expected at least 2"),
        ("timestamps,Marker\n1,2\n2,0\n", "no column of a channel"),
    ],
)
def test_what_is_no_table_of_samples_is_refused(tmp_path: Path, text: str, complaint: str):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(FormatError, match=complaint):
        read_signal_table(tmp_path / "s.csv")


@given(st.binary(max_size=120), st.integers(0, 90))
@settings(max_examples=150, deadline=None)
def test_whatever_the_bytes_there_is_a_table_or_a_reason(noise: bytes, cut: int):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        for text, read in ((EVENTS, read_markers_table), (SAMPLES, read_signal_table)):
            path.write_bytes(text.encode()[:cut] + noise)
            with contextlib.suppress(FormatError):
                read(path)


def test_a_real_trigger_table(shared_data: Path):
    (path,) = (shared_data / "eeg" / "facetpy-triggers").glob("*.tsv")
    table = read_markers_table(path)
    assert (len(table.events), table.sfreq, table.problems) == (13_619, 5000.0, ())
    labels = Counter(event.label for event in table.events)
    assert (labels["trigger"], labels["missing_trigger"], labels["Response/R128"]) == (6799, 6589, 210)
    triggers = np.diff([event.sample for event in table.events if event.label == "trigger"])
    assert Counter(triggers.tolist()) == {312: 4036, 313: 2550, 316: 212}
    volumes = np.diff([event.sample for event in table.events if event.label == "Response/R128"])
    assert set(volumes.tolist()) == {10_000}
