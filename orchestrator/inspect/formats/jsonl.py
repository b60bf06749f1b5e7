"""JSON Lines: one object a line, blank lines ignored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.json as pj

from orchestrator.inspect.faults import Faults
from orchestrator.inspect.files import DataFile, numbered_lines
from orchestrator.inspect.labels import LABEL, ONE_CLASS, LabelForm
from orchestrator.inspect.values import BadValue, one_value
from orchestrator.specs.classification import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from orchestrator.specs.task import MESSAGES

_SAMPLED_LINES = 50
_BLOCK_BYTES = 4 << 20
_TORN_HINT = "each line must be one whole JSON object; a cut-off copy ends in half a line"

# A column has one of these types in a file; what mixes them is read row by row.
_LABEL_TYPES = {
    SINGLE_LABEL: (pa.string(), pa.int64(), pa.bool_(), pa.float64()),
    MULTI_LABEL: (pa.list_(pa.string()), pa.list_(pa.int64()), pa.string()),
    REGRESSION: (pa.float64(), pa.string()),
}


def names(file: DataFile) -> list[str]:
    found: dict[str, None] = {}
    for _, line in islice(numbered_lines(file), _SAMPLED_LINES):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            found |= dict.fromkeys(row)
    return list(found)


def read(
    file: DataFile, columns: Mapping[str, str], form: LabelForm = ONE_CLASS
) -> pa.Table | None:
    if MESSAGES in columns:
        return None  # no column of one type
    for label_type in _LABEL_TYPES[form.problem]:
        schema = pa.schema(
            [(name, label_type if role == LABEL else pa.string()) for role, name in columns.items()]
        )
        try:
            table = _read(file, schema)
            table.validate(full=True)  # the JSON reader lets broken UTF-8 pass
        except pa.ArrowInvalid as error:
            if LABEL in columns and f"Column(/{columns[LABEL]}) changed" in str(error):
                continue  # the labels are not of this type
            return None
        except (OSError, EOFError):
            return None
        return table.select(list(columns.values())).rename_columns(list(columns))
    return None


def _read(file: DataFile, schema: pa.Schema) -> pa.Table:
    parse = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    options = pj.ReadOptions(block_size=_BLOCK_BYTES)
    with pa.input_stream(str(file.path), compression="gzip" if file.is_gzip else None) as stream:
        return pj.read_json(stream, parse_options=parse, read_options=options)


def scan(
    file: DataFile, columns: Mapping[str, str], faults: Faults, form: LabelForm = ONE_CLASS
) -> pa.Table:
    values: dict[str, list[str]] = {role: [] for role in columns}
    for number, line in numbered_lines(file):
        if not line.strip():
            continue
        try:
            row = _row(line)
        except BadValue as error:
            faults.add(error.message, error.hint, number)
            continue
        for role, column in columns.items():
            try:
                values[role].append(one_value(role, column, row.get(column), form))
            except BadValue as error:
                faults.add(error.message, error.hint, number)
    if faults:
        return pa.table({})
    return pa.table({role: pa.array(found, pa.string()) for role, found in values.items()})


def _row(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError as error:
        hint = "save the file as UTF-8, e.g. iconv -f WINDOWS-1252 -t UTF-8"
        raise BadValue("the line is not UTF-8 text", hint) from error
    except json.JSONDecodeError as error:
        message = f"not valid JSON: {error.msg} (column {error.colno})"
        raise BadValue(message, _TORN_HINT) from error
    except RecursionError as error:
        raise BadValue("the JSON is nested too deeply", _TORN_HINT) from error
    if not isinstance(row, dict):
        hint = 'write an object on each line, e.g. {"text": …, "label": …}'
        raise BadValue("the line is JSON, but no object with columns", hint)
    return row


def line_of(file: DataFile, row: int) -> int | None:
    rows = (number for number, line in numbered_lines(file) if line.strip())
    return next(islice(rows, row, None), None)
