"""The rows of a file to predict: each with its text, its other fields and its line.

Called by `predict`. Unlike in training data, a row keeps all it holds, since it is written out
again beside its prediction.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from orchestrator.errors import InvalidInput, NotFound, Problem, UserError
from orchestrator.inspect.files import DataFile, numbered_lines
from orchestrator.inspect.values import BadValue, one_value

STDIN = "-"
MOST_PROBLEMS = 20
"""Bad rows that are named one by one; a file of another kind would have as many as lines."""

_TEXT = "text"


@dataclass(frozen=True, slots=True)
class Row:
    """One row; `line` is None in a file without lines."""

    text: str
    fields: dict[str, Any]
    line: int | None
    pair: str | None = None  # the second of two texts that are read together

    @property
    def read(self) -> str | tuple[str, str]:
        """What the model is asked about."""
        return self.text if self.pair is None else (self.text, self.pair)


@dataclass(frozen=True, slots=True)
class _Raw:
    line: int | None
    fields: dict[str, Any] | None
    problem: tuple[str, str | None] | None = None


@contextmanager
def text_file(place: str) -> Iterator[DataFile]:
    """The file at a path, or stdin as JSON Lines; it can be read more than once.

    Raises:
        NotFound: there is no such file.
        UserError: its ending is none of those that can be read.
    """
    if place == STDIN:
        with tempfile.NamedTemporaryFile(suffix=".jsonl") as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
            copy.flush()
            yield DataFile(Path(copy.name), "stdin", "jsonl")
        return
    path = Path(place)
    if not path.is_file():
        raise NotFound(f"{place}: there is no such file", hint="`--file -` reads from stdin")
    name = path.with_suffix("") if path.suffix == ".gz" else path
    match name.suffix.lower():
        case ".jsonl" | ".ndjson" | ".json":
            yield DataFile(path, place, "jsonl")
        case ".csv":
            yield DataFile(path, place, "csv")
        case ".parquet" | ".pq":
            yield DataFile(path, place, "parquet")
        case ending:
            raise UserError(
                f"{place}: files that end in {ending or 'nothing'} cannot be read",
                hint="give .jsonl, .csv or .parquet",
            )


def count_rows(file: DataFile, column: str, pair_column: str | None = None) -> int:
    """How many rows there are; raises InvalidInput naming the bad ones (the first twenty)."""
    problems: list[Problem] = []
    num_bad = num_rows = 0
    for raw in _raw_rows(file):
        num_rows += 1
        found = _row_or_problem(raw, column, pair_column, file)
        if isinstance(found, Problem):
            num_bad += 1
            if num_bad <= MOST_PROBLEMS:
                problems.append(found)
    if num_bad > MOST_PROBLEMS:
        more = f"and {num_bad - MOST_PROBLEMS} more bad rows of {num_rows}"
        problems.append(Problem(more, file=file.shown))
    if num_rows == 0:
        problems.append(Problem("the file holds no rows", file=file.shown))
    if problems:
        raise InvalidInput(problems)
    return num_rows


def batches(
    file: DataFile, column: str, size: int, pair_column: str | None = None
) -> Iterator[list[Row]]:
    """The rows in order, `size` at a time; of a file that `count_rows` has found good."""
    rows = _good_rows(file, column, pair_column)
    while batch := list(islice(rows, size)):
        yield batch


def _good_rows(file: DataFile, column: str, pair_column: str | None) -> Iterator[Row]:
    for raw in _raw_rows(file):
        found = _row_or_problem(raw, column, pair_column, file)
        if isinstance(found, Problem):
            raise InvalidInput([found])  # the file changed in between
        yield found


def _row_or_problem(
    raw: _Raw, column: str, pair_column: str | None, file: DataFile
) -> Row | Problem:
    text = _text_or_problem(raw, column, file)
    pair = None
    if pair_column is not None and not isinstance(text, Problem):
        pair = _text_or_problem(raw, pair_column, file, option="--text-pair-column")
    if isinstance(text, Problem):
        return text
    if isinstance(pair, Problem):
        return pair
    assert raw.fields is not None
    return Row(text, raw.fields, raw.line, pair)


def _text_or_problem(
    raw: _Raw, column: str, file: DataFile, option: str = "--text-column"
) -> str | Problem:
    if raw.fields is None:
        assert raw.problem is not None
        message, hint = raw.problem
    elif column not in raw.fields:
        message = f"there is no column `{column}`"
        hint = f"name the right one: {option} ({', '.join(map(str, raw.fields))})"
    else:
        try:
            return one_value(_TEXT, column, raw.fields[column])
        except BadValue as error:
            message, hint = error.message, None
    return Problem(message, hint=hint, file=file.shown, line=raw.line)


def _raw_rows(file: DataFile) -> Iterator[_Raw]:
    readers = {"jsonl": _json_rows, "csv": _csv_rows, "parquet": _parquet_rows}
    try:
        yield from readers[file.format](file)
    except (OSError, EOFError, zlib.error) as error:  # what gzip says of a torn file, too
        yield _Raw(None, None, (f"cannot be read: {error}", None))


def _json_rows(file: DataFile) -> Iterator[_Raw]:
    for number, line in numbered_lines(file):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            problem = (f"not valid JSON: {error}", "each line is one whole JSON object")
            yield _Raw(number, None, problem)
            continue
        if not isinstance(fields, dict):
            yield _Raw(number, None, ("not a JSON object", 'write {"text": "…"} on each line'))
            continue
        yield _Raw(number, fields)


def _csv_rows(file: DataFile) -> Iterator[_Raw]:
    with file.open() as stream, io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
        reader = csv.DictReader(text, strict=True)
        while True:
            try:
                fields = next(reader)
            except StopIteration:
                return
            except (csv.Error, UnicodeDecodeError) as error:
                yield _Raw(reader.line_num + 1, None, (f"not valid CSV: {error}", None))
                return  # where the next row begins cannot be told
            if None in fields or None in fields.values():
                count = len(reader.fieldnames or ())
                yield _Raw(reader.line_num, None, (f"the row has not {count} fields", None))
                continue
            yield _Raw(reader.line_num, dict(fields))


def _parquet_rows(file: DataFile) -> Iterator[_Raw]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        for batch in pq.ParquetFile(file.path).iter_batches(batch_size=1024):
            for fields in batch.to_pylist():
                yield _Raw(None, fields)
    except pa.ArrowInvalid as error:
        yield _Raw(None, None, (f"not a whole Parquet file: {error}", None))
