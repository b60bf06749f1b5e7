"""Small pyarrow arrays without `pa.array`: any conversion of a Python value makes pyarrow import
pandas where it is installed, which takes longer than reading the data. No numpy either: the
control plane does not depend on it.

Used by `inspect.values` and `inspect.splits`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc


def mask_of(truths: Iterable[bool]) -> pa.Array:
    octets = bytes(truths)
    buffers = [None, pa.py_buffer(octets)]
    return pa.Array.from_buffers(pa.uint8(), len(octets), buffers).cast(pa.bool_())


def indices_of(rows: Iterable[int]) -> pa.Array:
    numbers = array("q", rows)
    buffers = [None, pa.py_buffer(numbers.tobytes())]
    return pa.Array.from_buffers(pa.int64(), len(numbers), buffers)


def count_and_first(mask: pa.ChunkedArray) -> tuple[int, int]:
    """How many are true, and the row (from 0) of the first; (0, -1) where none is."""
    count = int(pc.sum(mask).as_py() or 0)
    return (count, int(pc.indices_nonzero(mask)[0].as_py())) if count else (0, -1)
