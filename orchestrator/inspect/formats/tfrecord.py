"""TFRecord: files of tf.train.Example, whose features are the columns; records have no lines.

A feature must hold one value: text is bytes in UTF-8, a label such text, a whole number or a float
that is whole. Where a row has any number of labels the feature holds all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

import pyarrow as pa

from orchestrator.inspect.examples import NoExample, Value, features
from orchestrator.inspect.faults import Faults
from orchestrator.inspect.files import DataFile
from orchestrator.inspect.labels import LABEL, ONE_CLASS, LabelForm
from orchestrator.inspect.tfrecords import Damaged, Torn, records
from orchestrator.inspect.values import BadValue, one_value

_SAMPLED_RECORDS = 50
_EXAMPLE_HINT = "write each record as a serialized tf.train.Example"
_UTF8_HINT = "encode text as UTF-8; name another feature with `columns` if it holds no text"
_ONE_HINT = "write one value a record, or name another feature with `columns`"


def names(file: DataFile) -> list[str]:
    found: dict[str, None] = {}
    with file.open() as stream:
        for record in islice(records(stream), _SAMPLED_RECORDS):
            if not isinstance(record, bytes):
                continue
            try:
                found |= dict.fromkeys(features(record))
            except NoExample:
                continue
    return list(found)


def read(
    file: DataFile, columns: Mapping[str, str], form: LabelForm = ONE_CLASS
) -> pa.Table | None:
    return None  # records are taken apart one by one, which is what `scan` does


def scan(
    file: DataFile, columns: Mapping[str, str], faults: Faults, form: LabelForm = ONE_CLASS
) -> pa.Table:
    values: dict[str, list[str]] = {role: [] for role in columns}
    wrong = _WrongRecords()
    wanted = frozenset(columns.values())
    for number, record in _numbered(file):
        if not isinstance(record, bytes):
            wrong.add(record.message, record.hint, number)
            continue
        try:
            found = features(record, wanted)
        except NoExample as error:
            wrong.add(f"it is no tf.train.Example: {error}", _EXAMPLE_HINT, number)
            continue
        for role, column in columns.items():
            try:
                given = found.get(column, [])
                is_set = role == LABEL and form.is_set
                value = _several(column, given, form) if is_set else _one(column, given)
                values[role].append(one_value(role, column, value, form))
            except BadValue as error:
                wrong.add(error.message, error.hint, number)
    wrong.tell(faults)
    if faults:
        return pa.table({})
    return pa.table({role: pa.array(found, pa.string()) for role, found in values.items()})


def line_of(file: DataFile, row: int) -> int | None:
    return None


def _numbered(file: DataFile) -> Iterator[tuple[int, bytes | Torn | Damaged]]:
    with file.open() as stream:
        yield from enumerate(records(stream), start=1)


def _one(column: str, values: list[Value]) -> str | int | float | None:
    """The value of a feature that must have one; None where it has none."""
    if not values:
        return None
    if len(values) > 1:
        raise BadValue(f"feature `{column}` holds {len(values):,} values, not one", _ONE_HINT)
    return _decoded(column, values[0])


def _several(column: str, values: list[Value], form: LabelForm) -> str | list[str | int | float]:
    """The labels of a row: all values of the feature, or one text with a separator."""
    found = [_decoded(column, value) for value in values]
    first = found[0] if form.separator is not None and len(found) == 1 else None
    return first if isinstance(first, str) else found


def _decoded(column: str, value: Value) -> str | int | float:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        message = f"feature `{column}` holds bytes that are not UTF-8 text"
        raise BadValue(message, _UTF8_HINT) from None


class _WrongRecords:
    """What is wrong, by kind: the first record that has it, and how many do."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], list[int]] = {}

    def add(self, message: str, hint: str, number: int) -> None:
        first_and_count = self._kinds.setdefault((message, hint), [number, 0])
        first_and_count[1] += 1

    def tell(self, faults: Faults) -> None:
        for (message, hint), (number, count) in self._kinds.items():
            faults.add(f"record {number}: {message}", hint, None, count)
