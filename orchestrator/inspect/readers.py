"""One data file -> a table of its role columns as canonical strings, or every fault of the file.

The fast path reads whole columns with pyarrow; only a file with something wrong is read row by
row, to name the line. Called by `inspect.sources`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType

import pyarrow as pa

from orchestrator.errors import InvalidInput, Problem
from orchestrator.inspect.faults import Faults, RowFault
from orchestrator.inspect.files import DataFile, gzip_problem
from orchestrator.inspect.labels import ONE_CLASS, LabelForm
from orchestrator.inspect.values import BadValue, is_extra, whole_column
from orchestrator.specs.suggest import closest

LineOfRow = Callable[[int], int | None]


def read_file(
    file: DataFile, columns: Mapping[str, str], place: str, form: LabelForm = ONE_CLASS
) -> pa.Table:
    """Columns named by role, strings without nulls; `place` is the source's path in the spec.

    Raises InvalidInput with every wrong column and every kind of wrong row.
    """
    reader = _reader(file)
    try:
        problems, present = _columns(reader, file, columns, place)
        table = pa.table({})
        try:
            if present:
                table = _read(reader, file, present, place, form)
        except InvalidInput as error:
            problems.extend(error.problems)
    except (OSError, EOFError) as error:
        problems = [gzip_problem(file, f"{place}.path", error)]
    if problems:
        raise InvalidInput(problems)
    return table


def names_of(file: DataFile) -> list[str]:
    """The columns a file has, as far as its beginning tells; empty where it is too broken."""
    names: list[str] = _reader(file).names(file)
    return names


def line_of(file: DataFile, row: int) -> int | None:
    """The line (from 1) of a row (from 0), where the format has lines."""
    found: int | None = _reader(file).line_of(file, row)
    return found


def _reader(file: DataFile) -> ModuleType:
    if file.format == "jsonl":
        from orchestrator.inspect.formats import jsonl

        return jsonl
    if file.format == "csv":
        from orchestrator.inspect.formats import delimited

        return delimited
    if file.format == "tfrecord":
        from orchestrator.inspect.formats import tfrecord

        return tfrecord
    from orchestrator.inspect.formats import columnar  # its import costs 0.1 s

    return columnar


def _read(
    reader: ModuleType, file: DataFile, columns: Mapping[str, str], place: str, form: LabelForm
) -> pa.Table:
    faults = Faults(place, file.shown)
    table: pa.Table | None = reader.read(file, columns, form)
    if table is None:
        table = reader.scan(file, columns, faults, form)
        faults.raise_if_any()
        return table
    return canonical(table, columns, faults, lambda row: line_of(file, row), form)


def _columns(
    reader: ModuleType, file: DataFile, columns: Mapping[str, str], place: str
) -> tuple[list[Problem], dict[str, str]]:
    """What is wrong with the wanted columns, and those that are there."""
    known: list[str] = reader.names(file)
    if not known:
        return [], dict(columns)  # too broken to tell: reading it says how
    problems = []
    for role, column in columns.items():
        times = known.count(column)
        path = "evaluation.slices" if is_extra(role) else f"{place}.columns.{role}"
        if times == 0:
            problems.append(_wrong_column(file, role, column, known, path))
        elif times > 1:
            message = f"{file.shown} has {times} columns `{column}`"
            problems.append(Problem(message, path=path, hint="give each column a name of its own"))
    return problems, {role: name for role, name in columns.items() if known.count(name) == 1}


USUAL_NAMES = {
    "text": ("text", "sentence", "review", "content", "body", "comment", "tweet", "document"),
    "text_pair": (
        *("text_pair", "text2", "text_b", "sentence2", "premise", "question2", "context"),
    ),
    "source": ("source", "src", "en", "english", "input"),
    "target": ("target", "tgt", "translation", "output"),
    "summary": ("summary", "highlights", "abstract", "title", "target"),
    "prompt": ("prompt", "instruction", "question", "input", "query"),
    "completion": ("completion", "response", "answer", "output", "chosen"),
    "messages": ("messages", "conversations", "conversation", "chat"),
    "label": (
        "label",
        "labels",
        "class",
        "category",
        "target",
        "sentiment",
        "stars",
        "rating",
        "score",
    ),
}
"""Names under which data sets keep these roles, the usual ones first; `init` looks for them too."""


def _wrong_column(file: DataFile, role: str, column: str, known: list[str], path: str) -> Problem:
    shown = ", ".join(known[:20]) + (", …" if len(known) > 20 else "")
    message = f"{file.shown} has no column `{column}`; it has: {shown}"
    if file.format == "csv":
        from orchestrator.inspect.formats.delimited import other_delimiter

        signs = other_delimiter(known)
        if signs:
            message = f"{file.shown} is separated by {signs}, not by commas"
            return Problem(message, path=path, hint="write it again with commas")
    near = closest(column, known)
    if is_extra(role):
        hint = f"did you mean {near}?" if near else "slice by a column of every test file"
        return Problem(message, path=path, hint=hint)
    near = near or next((name for name in USUAL_NAMES.get(role, ()) if name in known), None)
    hint = f"write columns: {{{role}: {near or '<one of these>'}}} in this source"
    return Problem(message, path=path, hint=hint)


def canonical(
    table: pa.Table,
    columns: Mapping[str, str],
    faults: Faults,
    line_of_row: LineOfRow,
    form: LabelForm = ONE_CLASS,
) -> pa.Table:
    """Every column as the strings the system works with; raises InvalidInput."""
    done = {}
    for role, column in columns.items():
        try:
            done[role], wrong = whole_column(role, column, table.column(role), form)
        except BadValue as error:
            faults.add(error.message, error.hint, None)
            continue
        for fault in wrong:
            _add(faults, fault, line_of_row)
    faults.raise_if_any()
    return pa.table(done)


def _add(faults: Faults, fault: RowFault, line_of_row: LineOfRow) -> None:
    line = line_of_row(fault.row)
    message = fault.message if line is not None else f"row {fault.row + 1}: {fault.message}"
    faults.add(message, fault.hint, line, fault.count)
