"""What an ONNX file asks ONNX Runtime to do, read from its bytes before ONNX Runtime sees them; needs no package onnx.

A graph may name weights in other files, which ONNX Runtime would read, operators of other libraries, and compiled code
of one vendor (EPContext). None of these belongs in a model that stands alone, so all are refused.
"""

from collections.abc import Iterator
from typing import Any, Literal

OPERATOR_SETS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}  # what ONNX Runtime itself computes
MAX_FIELDS = 2_000_000  # of one file: our own graphs have some 1,500; more than this takes over a second
MAX_DEPTH = 64  # of graphs inside graphs; protobuf itself stops at 100 messages

Message = Literal["model", "function", "graph", "node", "attribute", "tensor", "sparse tensor"]

# Field number -> what is in it, for the messages that can hold an operator or a tensor. Source: onnx/onnx.proto3.
_INSIDE: dict[Message, dict[int, Message]] = {
    "model": {7: "graph", 25: "function"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse tensor",
        23: "sparse tensor",
    },
    "tensor": {},
    "sparse tensor": {1: "tensor", 2: "tensor"},
}
_NODE_OPERATOR, _NODE_DOMAIN = 4, 7
_TENSOR_EXTERNAL_DATA, _TENSOR_LOCATION = 13, 14
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5  # protobuf's wire types


class UnsafeModelError(ValueError):
    """The file is no ONNX model, or asks for more than computing with what is in it."""


def expect_self_contained(content: bytes) -> None:
    """Look at every operator and every tensor of an ONNX file, those in functions and subgraphs too.

    Raises:
        UnsafeModelError: It cannot be read, names data outside the file, or has operators that ONNX does not define.
    """
    fields_left = MAX_FIELDS
    has_nodes = False
    messages: list[tuple[Message, memoryview, int]] = [("model", memoryview(content), 0)]
    while messages:
        kind, data, depth = messages.pop()
        if depth > MAX_DEPTH:
            raise UnsafeModelError("its graphs are nested too deeply")
        has_nodes |= kind == "node"
        for number, value in _fields(data):
            fields_left -= 1
            if fields_left < 0:
                raise UnsafeModelError(f"it has more than {MAX_FIELDS:,} parts")
            _expect_harmless(kind, number, value)
            inside = _INSIDE[kind].get(number)
            if inside is not None and isinstance(value, memoryview):
                messages.append((inside, value, depth + 1))
    if not has_nodes:
        raise UnsafeModelError("it has no operators")


def _expect_harmless(kind: Message, number: int, value: Any) -> None:
    if kind == "tensor" and (number == _TENSOR_EXTERNAL_DATA or (number == _TENSOR_LOCATION and value != 0)):
        raise UnsafeModelError("it keeps its weights in files beside it: save it as one file (external_data=False)")
    if kind == "node" and number in (_NODE_OPERATOR, _NODE_DOMAIN) and isinstance(value, memoryview):
        name = bytes(value).decode(errors="replace")
        if number == _NODE_DOMAIN and name not in OPERATOR_SETS:
            raise UnsafeModelError(f"it has operators that ONNX does not define (of {name[:80]!r})")
        if number == _NODE_OPERATOR and name == "EPContext":
            raise UnsafeModelError("it holds code that was compiled for one machine (EPContext)")


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field of a protobuf message."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        wire_type = tag & 7
        value: int | memoryview = 0
        if wire_type == _VARINT:
            value, position = _varint(data, position)
        elif wire_type == _BYTES:
            length, start = _varint(data, position)
            position = start + length
            value = data[start:position]
        elif wire_type in (_FIXED_32, _FIXED_64):
            position += 4 if wire_type == _FIXED_32 else 8
        else:
            raise UnsafeModelError("it is not an ONNX model")
        if position > len(data):
            raise UnsafeModelError("it is cut short, or not an ONNX model")
        yield tag >> 3, value


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    """Read seven bits of each byte, lowest first, until one has no high bit."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise UnsafeModelError("it is cut short, or not an ONNX model")
