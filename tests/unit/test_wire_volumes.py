"""Volumes as bytes: what is written is read, and nothing else is."""

from __future__ import annotations

import json
import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from streamer import wire
from streamer.errors import FormatError
from streamer.wire.volume_bytes import MAX_VOXELS, VOLUME_MAGIC, decode_volume

AFFINE = np.array([[-3.0, 0.1, 0, 90], [0, 3, -0.2, -126], [0, 0, 3.5, -72], [0, 0, 0, 1]])
START = 12


def message(shape=(3, 4, 5), **maps) -> wire.VolumeMessage:
    values = np.linspace(0, 1, math.prod(shape), dtype=np.float32).reshape(shape)
    images = {"mean": wire.VolumeImage.of(values, "", 1.0)} | maps
    return wire.VolumeMessage(7, "s3", 1e5 + 1 / 3, AFFINE, images)


def change(shape=(3, 4, 5)) -> wire.VolumeImage:
    values = np.random.default_rng(0).normal(0, 2, shape).astype(np.float32)
    values[0, 0] = np.nan
    return wire.VolumeImage.of(values, "%", 5.0)


WHOLE = wire.encode_volume(message(change=change()))


def with_header(**changes) -> bytes:
    size = struct.unpack_from("<I", WHOLE, 8)[0]
    header = json.loads(WHOLE[START : START + size]) | changes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    return WHOLE[:8] + struct.pack("<I", len(text)) + text + WHOLE[START + size :]


def test_a_volume_comes_back_as_it_was_sent():
    sent = message(change=change())
    came = wire.decode(wire.encode_volume(sent))
    assert isinstance(came, wire.VolumeMessage)
    assert (came.index, came.series, came.received, came.shape) == (7, "s3", sent.received, (3, 4, 5))
    np.testing.assert_array_equal(came.affine, AFFINE)
    assert list(came.images) == ["mean", "change"]
    for name, image in came.images.items():
        assert (image.unit, image.scale) == (sent.images[name].unit, sent.images[name].scale)
        np.testing.assert_array_equal(image.steps, sent.images[name].steps)
    assert len(WHOLE) % 4 == 0
    assert struct.unpack_from("<4sHHI", WHOLE)[:3] == (b"EFVV", wire.SCHEMA, 0)


def test_memory_order_does_not_matter():
    turned = wire.VolumeImage("%", 0.1, np.asfortranarray(change().steps))
    straight = wire.VolumeImage("%", 0.1, np.ascontiguousarray(change().steps))
    assert wire.encode_volume(message(a=turned)) == wire.encode_volume(message(a=straight))


@given(
    values=arrays.arrays(
        np.float32,
        arrays.array_shapes(min_dims=3, max_dims=3, max_side=6),
        elements=st.floats(width=32),
    ),
    largest=st.floats(1e-3, 1e6),
)
@settings(max_examples=60, deadline=None)
def test_values_come_back_to_half_a_step_cut_at_the_largest_and_unknown_where_not_finite(values, largest):
    image = wire.VolumeImage.of(values, "t", largest)
    sent = wire.VolumeMessage(0, "", 0.0, np.eye(4), {"t x": image})
    came = decode_volume(wire.encode_volume(sent)).images["t x"].values()
    known = np.isfinite(values)
    assert came.dtype == np.float32
    assert came.shape == values.shape
    np.testing.assert_array_equal(np.isnan(came), ~known)
    cut = values[known].astype(np.float64).clip(-largest, largest)
    assert np.abs(came[known] - cut).max(initial=0.0) <= largest / 127 * 0.5001


@given(st.integers(0, len(WHOLE) - 1))
@settings(max_examples=80, deadline=None)
def test_a_volume_that_is_cut_short_is_refused(n):
    with pytest.raises(FormatError):
        decode_volume(WHOLE[:n])


def test_a_volume_with_more_behind_it_is_refused():
    with pytest.raises(FormatError, match="expected"):
        decode_volume(WHOLE + b"\0")


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_bytes_of_any_kind_are_refused(noise):
    for payload in (noise, VOLUME_MAGIC + noise, WHOLE[:START] + noise):
        with pytest.raises(FormatError):
            decode_volume(payload)


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
@settings(max_examples=150, deadline=None)
def test_a_changed_byte_is_refused_or_gives_a_volume_that_holds_together(at, value):
    changed = bytearray(WHOLE)
    changed[at] = value
    try:
        came = decode_volume(bytes(changed))
    except FormatError:
        return
    assert np.isfinite(came.affine).all()
    assert {image.values().shape for image in came.images.values()} == {came.shape}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": [3, 4, 6]}, "expected"),
        ({"shape": [3, 4, -5]}, "cannot be"),
        ({"shape": [0, 4, 5]}, "cannot be"),
        ({"shape": [MAX_VOXELS, 2, 2]}, "cannot be"),
        ({"shape": [2**62, 2**62, 2**62]}, "cannot be"),
        ({"shape": [3, 4]}, "cannot be read"),
        ({"shape": [3.5, 4, 5]}, "cannot be read"),
        ({"affine": [1.0] * 15}, "cannot be"),
        ({"affine": [None] * 16}, "cannot be read"),
        ({"affine": [math.nan] * 16}, "cannot be read"),
        ({"affine": [math.inf] * 16}, "cannot be read"),
        ({"received": None}, "cannot be read"),
        ({"images": []}, "cannot be"),
        ({"images": [{"name": "a", "unit": "", "scale": 1.0}] * 2}, "two images of one name"),
        ({"images": [{"name": "a", "unit": "", "scale": math.nan}] * 2}, "cannot be read"),
        ({"images": [{"name": f"i{k}", "unit": "", "scale": 1.0} for k in range(3)]}, "expected"),
        ({"index": "7"}, "cannot be read"),
        ({"index": 2**80}, "cannot be"),
        ({"index": -1}, "cannot be"),
        ({"affine": [0.0] * 16}, "cannot be"),
        ({"affine": [1.0] * 16}, "cannot be"),
        ({"affine": [1.0] * 12 + [0.0, 0.0, 0.0, 1.0]}, "no inverse"),
        ({"affine": [1e300] * 12 + [0.0, 0.0, 0.0, 1.0]}, "no inverse"),
        ({"images": [{"name": name, "unit": "", "scale": 0.0} for name in "ab"]}, "cannot be"),
        ({"images": [{"name": name, "unit": "", "scale": -1.0} for name in "ab"]}, "cannot be"),
    ],
)
def test_a_header_that_contradicts_itself_is_refused(changes, message):
    with pytest.raises(FormatError, match=message):
        decode_volume(with_header(**changes))


def test_a_number_too_large_for_a_float_is_refused():
    payload = with_header(received=123456789.5)
    assert decode_volume(payload).received == 123456789.5
    with pytest.raises(FormatError):
        decode_volume(payload.replace(b"123456789.5", b"1.2345e9999"))


@pytest.mark.parametrize("schema", [wire.SCHEMA + 1, 65535])
def test_a_newer_volume_is_refused(schema):
    with pytest.raises(FormatError, match="schema"):
        decode_volume(WHOLE[:4] + struct.pack("<H", schema) + WHOLE[6:])


def test_a_header_nested_without_end_is_refused():
    text = b"[" * 40_000
    with pytest.raises(FormatError, match="cannot be read"):
        decode_volume(WHOLE[:8] + struct.pack("<I", len(text)) + text)


def test_images_that_do_not_fit_one_another_are_not_written():
    with pytest.raises(ValueError, match="expected one shape"):
        wire.encode_volume(message(change=change((3, 4, 6))))
    with pytest.raises(ValueError, match="expected one shape"):
        wire.encode_volume(wire.VolumeMessage(0, "", 0.0, AFFINE, {}))
    flat = wire.VolumeImage("", 1.0, np.zeros((3, 4), np.int8))
    with pytest.raises(ValueError, match="expected one shape"):
        wire.encode_volume(wire.VolumeMessage(0, "", 0.0, AFFINE, {"mean": flat}))


@pytest.mark.parametrize(
    ("received", "affine", "scale"),
    [(math.nan, AFFINE, 1.0), (0.0, AFFINE * math.nan, 1.0), (0.0, np.zeros((4, 4)), 1.0), (0.0, AFFINE, math.inf)],
)
def test_what_nobody_could_read_is_not_written(received, affine, scale):
    image = wire.VolumeImage("", scale, np.zeros((2, 2, 2), np.int8))
    with pytest.raises(ValueError, match="cannot be"):
        wire.encode_volume(wire.VolumeMessage(0, "", received, affine, {"mean": image}))


@pytest.mark.parametrize("largest", [0.0, -1.0, math.nan, math.inf])
def test_a_scale_must_be_above_zero(largest):
    with pytest.raises(ValueError, match="expected above 0"):
        wire.VolumeImage.of(np.zeros((2, 2, 2), np.float32), "", largest)
