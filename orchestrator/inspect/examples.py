"""tf.train.Example without protobuf: named features out of the bytes of one record.

An Example is a map of names to lists of bytes, whole numbers or floats, in protobuf's wire format
(protobuf.dev/programming-guides/encoding; the messages are those of tensorflow/core/example).
Called by `inspect.formats.tfrecord`.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator

Value = bytes | int | float

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3  # the fields of a Feature
_MAX_VARINT_BYTES = 10
_SIGN = 1 << 63


class NoExample(ValueError):
    """The bytes are no tf.train.Example."""


def features(record: bytes, wanted: Collection[str] | None = None) -> dict[str, list[Value]]:
    """The values of the wanted features, of all where none are named; absent ones are left out.

    Raises:
        NoExample: The bytes are another message, or none.
    """
    found: dict[str, list[Value]] = {}
    for number, of_example in _messages(record):
        if number != 1:
            continue  # a SequenceExample's lists of steps, or what later versions add
        for entry_number, entry in _messages(of_example):
            if entry_number != 1:
                continue
            name, feature = _entry(entry)
            if wanted is None or name in wanted:
                found[name] = _values(feature)  # a name that comes twice has its last value
    return found


def _entry(entry: bytes) -> tuple[str, bytes]:
    name, feature = b"", b""
    for number, content in _messages(entry):
        if number == 1:
            name = content
        elif number == 2:
            feature = content
    try:
        return name.decode(), feature
    except UnicodeDecodeError:
        raise NoExample("the name of a feature is not UTF-8") from None


def _values(feature: bytes) -> list[Value]:
    """Of the one list a feature holds; empty where it holds none."""
    values: list[Value] = []
    for number, content in _messages(feature):
        if number == _BYTES_LIST:
            values = [value for at, value in _messages(content) if at == 1]
        elif number == _FLOAT_LIST:
            values = list(_floats(content))
        elif number == _INT64_LIST:
            values = list(_whole_numbers(content))
    return values


def _floats(content: bytes) -> Iterator[float]:
    for number, kind, value in _fields(content):
        if number != 1:
            continue
        if kind == _BYTES and isinstance(value, bytes) and len(value) % 4 == 0:  # packed
            yield from struct.unpack(f"<{len(value) // 4}f", value)
        elif kind == _FIXED32 and isinstance(value, bytes):
            yield struct.unpack("<f", value)[0]
        else:
            raise NoExample("a list of floats holds something else")


def _whole_numbers(content: bytes) -> Iterator[int]:
    for number, kind, value in _fields(content):
        if number != 1:
            continue
        if isinstance(value, int):
            yield _signed(value)
        elif kind == _BYTES:  # packed
            at = 0
            while at < len(value):
                raw, at = _varint(value, at)
                yield _signed(raw)
        else:
            raise NoExample("a list of whole numbers holds something else")


def _messages(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields of a message that has strings, bytes and other messages only."""
    for number, kind, value in _fields(content):
        if kind == _BYTES and isinstance(value, bytes):
            yield number, value
        elif number <= 3:  # every field of these messages has such a number
            raise NoExample("a field holds something else than an Example's")


def _fields(content: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """(number, wire type, value) of each field; a fixed-width value as its bytes."""
    at, end = 0, len(content)
    while at < end:
        tag, at = _varint(content, at)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise NoExample("a field has the number 0")
        if kind == _VARINT:
            value, at = _varint(content, at)
            yield number, kind, value
            continue
        if kind == _BYTES:
            length, at = _varint(content, at)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise NoExample(f"a field has the wire type {kind}")
        if at + length > end:
            raise NoExample("a field is longer than its message")
        yield number, kind, content[at : at + length]
        at += length


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """The number that starts at `at`, and where it ends."""
    if at < len(content) and content[at] < 0x80:
        return content[at], at + 1  # nearly all of them
    value = shift = 0
    for place in range(at, min(at + _MAX_VARINT_BYTES, len(content))):
        byte = content[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2 * _SIGN - 1), place + 1
        shift += 7
    raise NoExample("a number is cut off")


def _signed(value: int) -> int:
    return value - 2 * _SIGN if value >= _SIGN else value
