from __future__ import annotations

import io
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.errors import FormatError
from streamer.wire.records import (
    PROGRESS,
    Progress,
    Record,
    decode_progress,
    encode_record,
    progress_record,
    read_records,
)

records = st.builds(
    Record,
    topic=st.text(max_size=60),
    payload=st.binary(max_size=200),
    at=st.floats(allow_nan=False, allow_infinity=False),
)


def read(data: bytes) -> list[Record]:
    return list(read_records(io.BytesIO(data)))


@given(st.lists(records, max_size=5))
def test_what_is_written_is_read(sent: list[Record]):
    assert read(b"".join(map(encode_record, sent))) == sent


def test_the_bytes_are_as_described():
    data = encode_record(Record("eegfmri/s/é", b"{}", 12.5))
    assert data == b"EFSM" + struct.pack("<IId", 12, 2, 12.5) + "eegfmri/s/é".encode() + b"{}"


@given(records, st.data())
def test_a_stream_that_ends_within_a_record_is_refused(record: Record, data: st.DataObject):
    whole = encode_record(record)
    cut = data.draw(st.integers(1, len(whole) - 1))
    with pytest.raises(FormatError, match="ends within a record"):
        read(whole + whole[:cut])


@given(st.binary(min_size=20, max_size=80).filter(lambda data: not data.startswith(b"EFSM")))
def test_other_bytes_are_refused(data: bytes):
    with pytest.raises(FormatError, match="no record begins with"):
        read(data)


@pytest.mark.parametrize(
    ("topic_size", "payload_size", "at"), [(2**20, 0, 0.0), (0, 2**31, 0.0), (0, 0, math.nan), (0, 0, math.inf)]
)
def test_what_cannot_be_is_refused_before_it_is_read(topic_size: int, payload_size: int, at: float):
    with pytest.raises(FormatError, match="no record begins with"):
        read(struct.pack("<4sIId", b"EFSM", topic_size, payload_size, at) + bytes(100))


def test_a_topic_that_is_no_text_is_refused():
    with pytest.raises(FormatError, match="no UTF-8"):
        read(struct.pack("<4sIId", b"EFSM", 2, 0, 0.0) + b"\xff\xfe")


def test_progress_goes_there_and_back():
    record = progress_record(Progress(0.25, 17.5))
    assert (record.topic, record.at) == (PROGRESS, 17.5)
    assert decode_progress(record.payload) == Progress(0.25, 17.5, ended=False)
    assert decode_progress(progress_record(Progress(1.0, 20.0, ended=True)).payload).ended


@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b"\xff", b'{"fraction":"a","at":1}'])
def test_other_progress_is_refused(payload: bytes):
    with pytest.raises(FormatError, match="how far"):
        decode_progress(payload)
