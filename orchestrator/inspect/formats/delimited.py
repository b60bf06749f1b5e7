"""CSV: commas, double quotes, a header line; text may hold line breaks within quotes.

An unquoted empty cell or NaN is a missing value, as pandas writes it; a quoted "nan" is text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv

from orchestrator.inspect.faults import Faults
from orchestrator.inspect.files import DataFile, numbered_lines
from orchestrator.inspect.labels import LABEL, ONE_CLASS, LabelForm
from orchestrator.inspect.values import TEXT_HINT, BadValue, is_extra, one_value

_BLOCK_BYTES = 16 << 20
_MISSING = ("", "NaN", "nan")
_FIELDS_HINT = "put text that holds a comma or a line break in double quotes"
_NUMBER = r"^[-+]?[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?$"

_MAX_FIELD = 1 << 30  # the csv module's own limit of 128 KiB refuses long texts

Record = tuple[int, list[str]]


def names(file: DataFile) -> list[str]:
    try:
        return next(_records(file), (1, []))[1]
    except BrokenText:
        return []


def other_delimiter(header: list[str]) -> str | None:
    """The sign that separates the columns where it is not the comma."""
    if len(header) > 1:
        return None
    signs = {";": "semicolons", "\t": "tabs", "|": "bars (|)"}
    return next((name for sign, name in signs.items() if sign in "".join(header)), None)


def read(
    file: DataFile, columns: Mapping[str, str], form: LabelForm = ONE_CLASS
) -> pa.Table | None:
    convert = pcsv.ConvertOptions(
        include_columns=list(columns.values()),
        column_types={name: pa.string() for name in columns.values()},
        strings_can_be_null=True,
        null_values=list(_MISSING),
        quoted_strings_can_be_null=False,
    )
    options = pcsv.ReadOptions(block_size=_BLOCK_BYTES)
    parse = pcsv.ParseOptions(newlines_in_values=True)
    try:
        packing = "gzip" if file.is_gzip else None
        with pa.input_stream(str(file.path), compression=packing) as stream:
            table = pcsv.read_csv(
                stream, read_options=options, parse_options=parse, convert_options=convert
            )
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError, EOFError):
        return None
    table = table.rename_columns(list(columns))
    if LABEL in columns:
        place = table.schema.get_field_index(LABEL)
        table = table.set_column(place, LABEL, _labels(table.column(LABEL), form))
    if any(_all_numbers(table.column(role)) for role in columns if _is_text(role)):
        return None
    return table


def _labels(labels: pa.ChunkedArray, form: LabelForm) -> pa.ChunkedArray:
    """`1.0` and `True` as pandas writes whole numbers and truths become `1` and `true`.

    An empty cell of a list with separators is a row without labels.
    """
    if form != ONE_CLASS:
        return pc.fill_null(labels, "") if form.separator is not None else labels
    trimmed = pc.utf8_trim_whitespace(labels)
    whole = pc.replace_substring_regex(trimmed, r"^(-?[0-9]+)\.0+$", r"\1")
    truths = pc.match_substring_regex(whole, "^(True|False)$")
    return pc.if_else(truths, pc.utf8_lower(whole), whole)


def _one_label(text: str) -> str:
    trimmed = text.strip()
    whole, point, zeros = trimmed.partition(".")
    if point and zeros and not zeros.strip("0") and whole.removeprefix("-").isdecimal():
        return whole
    return trimmed.lower() if trimmed in ("True", "False") else trimmed


def _all_numbers(texts: pa.ChunkedArray) -> bool:
    return len(texts) > 0 and bool(pc.all(pc.match_substring_regex(texts, _NUMBER)).as_py())


def scan(
    file: DataFile, columns: Mapping[str, str], faults: Faults, form: LabelForm = ONE_CLASS
) -> pa.Table:
    values: dict[str, list[str]] = {role: [] for role in columns}
    try:
        records = _records(file, strict=True)
        _, header = next(records)
        for line, record in records:
            if len(record) != len(header):
                message = f"a row has not as many fields as the header, {len(header)}"
                faults.add(message, _FIELDS_HINT, line)
                continue
            for role, column in columns.items():
                try:
                    value = _value(role, record[header.index(column)], form)
                    values[role].append(one_value(role, column, value, form))
                except BadValue as error:
                    faults.add(error.message, error.hint, line)
    except BrokenText as error:
        faults.add(error.message, error.hint, error.line)
    if faults:
        return pa.table({})
    table = pa.table({role: pa.array(found, pa.string()) for role, found in values.items()})
    for role, column in columns.items():
        if _is_text(role) and _all_numbers(table.column(role)):
            faults.add(f"column `{column}` holds numbers, not text", TEXT_HINT, None)
    return table


def _is_text(role: str) -> bool:
    return role != LABEL and not is_extra(role)


def _value(role: str, text: str, form: LabelForm) -> str | None:
    if text in _MISSING:
        return "" if role == LABEL and form.separator is not None else None
    return _one_label(text) if role == LABEL and form == ONE_CLASS else text


def line_of(file: DataFile, row: int) -> int | None:
    record = next(islice(_records(file), row + 1, None), None)
    return record[0] if record else None


class BrokenText(ValueError):
    """The text cannot be read on from here; `line` is where the broken record starts."""

    def __init__(self, message: str, hint: str, line: int) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.line = line


def _records(file: DataFile, *, strict: bool = False) -> Iterator[Record]:
    """Each record with the line it starts in; empty lines are no records."""
    csv.field_size_limit(_MAX_FIELD)
    with file.open() as raw:
        text = io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")
        reader = csv.reader(text, strict=strict)
        start = 1
        try:
            for record in reader:
                if record:
                    yield start, record
                start = reader.line_num + 1
        except csv.Error as error:
            if "unexpected end" in str(error):
                message = "a double quote is opened and never closed"
            else:
                message = f"not valid CSV: {error}"
            raise BrokenText(message, _FIELDS_HINT, start) from error
        except UnicodeDecodeError as error:
            hint = "save the file as UTF-8, e.g. iconv -f WINDOWS-1252 -t UTF-8"
            raise BrokenText("the line is not UTF-8 text", hint, _undecodable(file)) from error


def _undecodable(file: DataFile) -> int:
    for number, line in numbered_lines(file):
        try:
            line.decode()
        except UnicodeDecodeError:
            return number
    return 1
