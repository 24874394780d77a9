"""Write an affine map as an ONNX graph: one node, so that a calibration needs none of the training packages.

ONNX is protocol buffers (https://onnx.ai/onnx/repo-docs/IR.html): fields of a number and a wire type, 0 for a varint
and 2 for bytes with their length before them.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from streamer.messages import F32

OPSET = 17
IR_VERSION = 8
_FLOAT = 1


def affine_graph(slopes: F32, intercepts: F32) -> bytes:
    """Give the bytes of a graph: ``features`` (b, n) to ``logits`` (b, m) = features @ slopes + intercepts.

    Parameters
    ----------
    slopes : ndarray, float32, shape (n, m)
    intercepts : ndarray, float32, shape (m,)

    Raises
    ------
    ValueError
        The shapes do not go together, or a number is not finite.
    """
    if slopes.ndim != 2 or intercepts.shape != slopes.shape[1:]:
        raise ValueError(f"slopes {slopes.shape} and intercepts {intercepts.shape}: expected (n, m) and (m,)")
    if not (np.isfinite(slopes).all() and np.isfinite(intercepts).all()):
        raise ValueError("an affine map with a number that is not finite")
    n, m = slopes.shape
    node = _message(
        *(_text(1, name) for name in ("features", "slopes", "intercepts")), _text(2, "logits"), _text(4, "Gemm")
    )
    graph = _message(
        _bytes(1, node),
        _text(2, "affine"),
        _bytes(5, _tensor("slopes", slopes)),
        _bytes(5, _tensor("intercepts", intercepts)),
        _bytes(11, _value("features", n)),
        _bytes(12, _value("logits", m)),
    )
    opset = _message(_text(1, ""), _number(2, OPSET))
    return _message(_number(1, IR_VERSION), _text(2, "eeg-fmri-streamer"), _bytes(7, graph), _bytes(8, opset))


def _tensor(name: str, values: F32) -> bytes:
    raw = np.ascontiguousarray(values, dtype="<f4").tobytes()
    return _message(*(_number(1, size) for size in values.shape), _number(2, _FLOAT), _text(8, name), _bytes(9, raw))


def _value(name: str, width: int) -> bytes:
    shape = _message(_bytes(1, _text(2, "batch")), _bytes(1, _number(1, width)))
    tensor = _message(_number(1, _FLOAT), _bytes(2, shape))
    return _message(_text(1, name), _bytes(2, _bytes(1, tensor)))


def _message(*fields: bytes) -> bytes:
    return b"".join(fields)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    return bytes(_groups(value))


def _groups(value: int) -> Iterable[int]:
    while value > 0x7F:
        yield value & 0x7F | 0x80
        value >>= 7
    yield value
