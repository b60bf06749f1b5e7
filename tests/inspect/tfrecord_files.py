"""TFRecord files written byte by byte, by another CRC than the product's."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

Values = str | bytes | int | float | list[bytes] | list[int] | list[float]

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, reflected


def crc32c(data: bytes) -> int:
    """Bit by bit, as the polynomial division is defined."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32)


def framed(*records: bytes) -> bytes:
    """A file of these records."""
    lengths = [struct.pack("<Q", len(record)) for record in records]
    return b"".join(
        length + masked(length) + record + masked(record)
        for length, record in zip(lengths, records, strict=True)
    )


def varint(value: int) -> bytes:
    value %= 2**64
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, content: bytes) -> bytes:
    """A field of bytes, text or another message."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def feature(values: Values, *, packed: bool = True) -> bytes:
    if isinstance(values, str):
        values = values.encode()
    many = values if isinstance(values, list) else [values]
    if isinstance(many[0], bytes):
        return field(1, b"".join(field(1, value) for value in many))
    kind = 3 if isinstance(many[0], int) else 2
    plain = [varint(v) if isinstance(v, int) else struct.pack("<f", v) for v in many]
    if packed:
        return field(kind, field(1, b"".join(plain)))
    tag = varint(1 << 3 | (0 if kind == 3 else 5))
    return field(kind, b"".join(tag + value for value in plain))


def entries(features: Mapping[str, bytes]) -> bytes:
    """An Example of features that are encoded already."""
    pairs = (field(1, name.encode()) + field(2, content) for name, content in features.items())
    return field(1, b"".join(field(1, pair) for pair in pairs))


def example(*, packed: bool = True, **features: Values) -> bytes:
    return entries({name: feature(value, packed=packed) for name, value in features.items()})


def tfrecord(rows: Iterable[tuple[str, Values]]) -> bytes:
    """A file of rows with a text and a label."""
    return framed(*(example(text=text, label=label) for text, label in rows))
