"""What a text and a label may be, and how each becomes the one string the system works with.

Each rule exists twice with the same words: over a whole pyarrow column, for good files at full
speed, and over one Python value, for finding the exact line of a bad one. Used by
`inspect.formats` and `inspect.hub`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.inspect.arrays import count_and_first
from orchestrator.inspect.faults import RowFault
from orchestrator.inspect.labels import LABEL, ONE_CLASS, LabelForm, text_of_set
from orchestrator.inspect.messages import BadMessages, canonical_messages
from orchestrator.specs.task import MESSAGES

EXTRA = "slice:"
"""Begins the names of columns that no model sees: those by which the figures are sliced."""

NO_VALUE = "(none)"
"""What stands in such a column where a row has no value."""

REMOVE = "fill it in or remove the row"
TEXT_HINT = "text must be a string; choose another column with `columns`"
MESSAGES_HINT = 'write [{"role": "user", "content": …}, {"role": "assistant", "content": …}]'
CLASS_HINT = "a label is text, a whole number, or true or false"
SET_HINT = 'write a list of labels, e.g. ["a", "b"], and [] where there is none'
SEPARATOR_HINT = "write task.label_separator: ';' where ; stands between the labels of a row"
NUMBER_HINT = "with problem: regression a label is a finite number"
NUMBER_OR_CLASS = (
    "classification needs classes, not a measure, which task.problem: regression learns"
)


class BadValue(ValueError):
    """One value that is no text or no label."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def one_value(role: str, column: str, value: Any, form: LabelForm = ONE_CLASS) -> str:
    """The canonical string of one value; raises BadValue."""
    if role == MESSAGES:
        return _one_conversation(column, value)
    if is_extra(role):
        return _one_category(column, value)
    if role != LABEL:
        return _one_text(column, value)
    if form.is_set:
        return _one_set(column, value, form.separator)
    return _one_number(column, value) if form.is_number else _one_label(column, value)


def is_extra(role: str) -> bool:
    """Whether a column only tells rows apart for `evaluation.slices`."""
    return role.startswith(EXTRA)


def _one_category(column: str, value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NO_VALUE
    if isinstance(value, list | dict):
        hint = "slice by a column with one value a row"
        raise BadValue(f"column `{column}` holds {_kind(value)}, no group", hint)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).strip() or NO_VALUE


def _one_conversation(column: str, value: Any) -> str:
    if value is None:
        raise BadValue(_no_value(column), REMOVE)
    try:
        return canonical_messages(value)
    except BadMessages as error:
        raise BadValue(f"column `{column}` {error}", MESSAGES_HINT) from None


def _one_text(column: str, value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise BadValue(_no_value(column), REMOVE)
    if not isinstance(value, str):
        raise BadValue(f"column `{column}` holds {_kind(value)}, not text", TEXT_HINT)
    if not value.strip():
        raise BadValue(_blank(column), REMOVE)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        message = f"column `{column}` holds half a character (a lone surrogate)"
        raise BadValue(message, REMOVE) from error
    return value


def _one_label(column: str, value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float() if math.isnan(value):
            raise BadValue(_no_value(column), REMOVE)
        case float() if value.is_integer() and abs(value) < 2**63:
            return str(int(value))
        case float():
            raise BadValue(_fraction(column), NUMBER_OR_CLASS)
        case None:
            raise BadValue(_no_value(column), REMOVE)
        case str() if not value.strip():
            raise BadValue(_blank(column), REMOVE)
        case str():
            return value.strip()
        case _:
            message = f"column `{column}` holds {_kind(value)}, not one label"
            raise BadValue(message, CLASS_HINT)


def _one_set(column: str, value: Any, separator: str | None) -> str:
    """A list of labels; a text is JSON of one, or is cut at the separator."""
    if value is None:
        raise BadValue(_no_value(column), SET_HINT)
    if isinstance(value, str):
        value = _names_in(column, value, separator)
    if not isinstance(value, list):
        raise BadValue(f"column `{column}` holds {_kind(value)}, not a list of labels", SET_HINT)
    return text_of_set([_one_label(column, name) for name in value])


def _names_in(column: str, text: str, separator: str | None) -> list[Any]:
    if separator is not None:
        return [name for name in text.split(separator) if name.strip()]
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, list):
        raise BadValue(f"column `{column}` holds text, not a list of labels", SEPARATOR_HINT)
    return found


def _one_number(column: str, value: Any) -> str:
    """Also of text, as CSV has it."""
    if value is None:
        raise BadValue(_no_value(column), REMOVE)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise BadValue(f"column `{column}` holds {_kind(value)}, not a number", NUMBER_HINT)
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise BadValue(f"column `{column}` holds text that is no number", NUMBER_HINT) from None
    if not math.isfinite(number):
        raise BadValue(f"column `{column}` holds no finite number", REMOVE)
    return repr(number)


def whole_column(
    role: str, column: str, values: pa.ChunkedArray, form: LabelForm = ONE_CLASS
) -> tuple[pa.ChunkedArray, list[RowFault]]:
    """The canonical strings of a column, and what is wrong in it; raises BadValue for its type.

    Where faults are returned the strings are not to be used.
    """
    if role == MESSAGES or (role == LABEL and form != ONE_CLASS):
        return _row_by_row(values, lambda value: one_value(role, column, value, form))
    if is_extra(role):
        names = [_one_category(column, value) for value in values.to_pylist()]
        return pa.chunked_array([pa.array(names, pa.string())]), []
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    strings = _labels(column, values) if role == LABEL else _texts(column, values)
    if isinstance(strings, list):
        return values, strings
    faults = list(_faults(column, strings))
    return (pc.utf8_trim_whitespace(strings) if role == LABEL else strings), faults


def _row_by_row(
    values: pa.ChunkedArray, one: Callable[[Any], str]
) -> tuple[pa.ChunkedArray, list[RowFault]]:
    """Of rows with a structure of their own; the first fault of a kind stands for its others."""
    found: list[str] = []
    faults: dict[tuple[str, str], tuple[int, int]] = {}  # message, hint -> first row, rows
    for number, value in enumerate(values.to_pylist()):
        try:
            found.append(one(value))
        except BadValue as error:
            first, count = faults.get((error.message, error.hint), (number, 0))
            faults[error.message, error.hint] = first, count + 1
    told = [RowFault(*kind, first, count) for kind, (first, count) in faults.items()]
    return pa.chunked_array([pa.array(found, pa.string())]), told


def _texts(column: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_null(values.type):
        return values.cast(pa.string())
    if not _is_string(values.type):
        raise BadValue(f"column `{column}` holds {values.type}, not text", TEXT_HINT)
    return values.cast(pa.string())


def _labels(column: str, values: pa.ChunkedArray) -> pa.ChunkedArray | list[RowFault]:
    kind = values.type
    if _is_string(kind) or pa.types.is_null(kind) or pa.types.is_boolean(kind):
        return values.cast(pa.string())
    if pa.types.is_integer(kind):
        return values.cast(pa.string())
    if pa.types.is_floating(kind):
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, kind), values)
        broken = pc.and_(pc.is_valid(values), pc.not_equal(pc.floor(values), values))
        fault = _fault(broken, _fraction(column), NUMBER_OR_CLASS)
        if fault:
            return [fault]
        try:
            return values.cast(pa.int64()).cast(pa.string())
        except pa.ArrowInvalid as error:  # 1e300 and infinity are whole, but no names of classes
            raise BadValue(
                f"column `{column}` holds numbers too large to be labels", CLASS_HINT
            ) from error
    raise BadValue(f"column `{column}` holds {kind}, not one label", CLASS_HINT)


def _faults(column: str, strings: pa.ChunkedArray) -> Iterator[RowFault]:
    if strings.null_count:
        fault = _fault(pc.is_null(strings), _no_value(column), REMOVE)
        if fault:
            yield fault
    has_signs = pc.utf8_length(pc.utf8_trim_whitespace(strings)).cast(pa.bool_())
    blank = pc.and_kleene(pc.is_valid(strings), pc.invert(has_signs))
    fault = _fault(blank, _blank(column), REMOVE)
    if fault:
        yield fault


def _fault(mask: pa.ChunkedArray, message: str, hint: str) -> RowFault | None:
    count, first = count_and_first(mask)
    return RowFault(message, hint, first, count) if count else None


def _is_string(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _no_value(column: str) -> str:
    return f"column `{column}` has no value (missing, null or NaN)"


def _blank(column: str) -> str:
    return f"column `{column}` is empty"


def _fraction(column: str) -> str:
    return f"column `{column}` holds a fractional number, not a label"


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case dict():
            return "an object"
        case _:
            return f"a {type(value).__name__}"
