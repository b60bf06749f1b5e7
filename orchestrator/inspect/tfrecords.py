"""The framing of TFRecord files: one record after another, each between checksums.

The format: 8 bytes little-endian length, the masked CRC-32C of these 8 bytes, that many bytes of
data, the masked CRC-32C of the data (tensorflow/core/lib/io/record_writer.h). Called by
`inspect.formats.tfrecord` and `inspect.files`; TensorFlow is not needed.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import google_crc32c

_LENGTH_BYTES = 8
_CRC_BYTES = 4
HEADER_BYTES = _LENGTH_BYTES + _CRC_BYTES
MAX_RECORD_BYTES = (1 << 31) - 1  # a protobuf message cannot be larger

_MASK_DELTA = 0xA282EAD8
_WORD = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Torn:
    """Why a record, and so everything behind it, cannot be read."""

    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Damaged:
    """Why one record cannot be trusted; the next one may be good."""

    message: str
    hint: str


_COPY_HINT = "copy or write it again"


def masked_crc(data: bytes) -> int:
    """The CRC-32C as the format stores it: rotated and shifted, for data that hold CRCs too."""
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & _WORD


def is_header(head: bytes) -> bool:
    """Whether a file that begins so begins with a record."""
    length, stored = head[:_LENGTH_BYTES], head[_LENGTH_BYTES:HEADER_BYTES]
    return len(stored) == _CRC_BYTES and masked_crc(length) == int.from_bytes(stored, "little")


def records(stream: IO[bytes]) -> Iterator[bytes | Torn | Damaged]:
    """The data of each record in order, or what is wrong with it; nothing comes after Torn."""
    try:
        yield from _records(stream)
    except (EOFError, zlib.error):  # of a gzip file that was cut off
        yield Torn("the file is cut off within it", _COPY_HINT)


def _records(stream: IO[bytes]) -> Iterator[bytes | Torn | Damaged]:
    while header := stream.read(HEADER_BYTES):
        if len(header) < HEADER_BYTES:
            yield Torn("the file is cut off within its length", _COPY_HINT)
            return
        if not is_header(header):
            yield Torn("the checksum of its length is wrong", _COPY_HINT)
            return
        length = int.from_bytes(header[:_LENGTH_BYTES], "little")
        if length > MAX_RECORD_BYTES:
            message = f"it says it has {length:,} bytes, and no tf.train.Example is that large"
            yield Torn(message, "write it in smaller records")
            return
        data = stream.read(length)
        stored = stream.read(_CRC_BYTES)
        if len(data) < length or len(stored) < _CRC_BYTES:
            there = f"{len(data) + len(stored):,} of its {length + _CRC_BYTES:,} bytes are there"
            yield Torn(f"the file is cut off within it: {there}", _COPY_HINT)
            return
        if masked_crc(data) != int.from_bytes(stored, "little"):
            yield Damaged("the checksum of its data is wrong", _COPY_HINT)
        else:
            yield data
