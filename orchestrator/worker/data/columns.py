"""Values of rows as Arrow columns and back: what goes in as Python values comes out equal.

Called by `stored`. Reading slices NumPy views of the mapped file; nothing is copied but the row
that is asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

_SMALL = pa.int32()  # token ids and labels: half of what Arrow takes by itself


class Column(Protocol):
    """One value a row."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...

    def array(self) -> np.ndarray: ...


def column_of(values: Sequence[Any] | np.ndarray) -> pa.Array:
    """Numbers, texts, lists of them, or an array of one or two dimensions.

    Raises ArrowInvalid where the values are of several kinds.
    """
    if isinstance(values, np.ndarray):
        if values.ndim == 1:
            return pa.array(values)
        flat = pa.array(np.ascontiguousarray(values).reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    found = pa.array(values)
    if pa.types.is_list(found.type):
        kind = found.type.value_type
        small = _SMALL if pa.types.is_integer(kind) else kind
        return found.cast(pa.large_list(small))
    return found


def reader_of(column: pa.ChunkedArray) -> Column:
    """How a column is read; it must be one chunk, as `column_of` made it."""
    values = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if pa.types.is_large_list(values.type):
        return _Lists(values)
    if pa.types.is_fixed_size_list(values.type):
        return _Numbers(_numbers(values.flatten()).reshape(len(values), -1))
    if pa.types.is_string(values.type):
        return _Texts(values)
    return _Numbers(_numbers(values))


def _numbers(values: pa.Array) -> np.ndarray:
    array: np.ndarray = values.to_numpy(zero_copy_only=not pa.types.is_boolean(values.type))
    return array


class _Column(ABC):
    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Any: ...

    def array(self) -> np.ndarray:
        return np.array(list(self))


class _Numbers(_Column):
    def __init__(self, values: np.ndarray) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: int) -> Any:
        return self._values[index].tolist()

    def array(self) -> np.ndarray:
        return self._values


class _Lists(_Column):
    def __init__(self, values: pa.Array) -> None:
        self._offsets = values.offsets.to_numpy()
        self._values = _numbers(values.values)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, index: int) -> list[Any]:
        at = range(len(self))[index]  # from the end too, and no further than there are rows
        found: list[Any] = self._values[self._offsets[at] : self._offsets[at + 1]].tolist()
        return found


class _Texts(_Column):
    def __init__(self, values: pa.Array) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: int) -> Any:
        return self._values[index].as_py()
