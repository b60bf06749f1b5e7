"""One source of a spec -> its rows, where each row came from, and a digest of its bytes.

Called by `inspect.tables`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pyarrow as pa

from orchestrator.errors import InvalidInput, Problem
from orchestrator.inspect.files import DataFile, Fetch, file_digest, files_of
from orchestrator.inspect.labels import ONE_CLASS, LabelForm, form_of
from orchestrator.inspect.readers import line_of, read_file
from orchestrator.inspect.values import EXTRA, is_extra
from orchestrator.specs.data import Source
from orchestrator.specs.task import TaskSpec, default_columns


@dataclass(frozen=True)
class SourceRows:
    """The rows of one source, in the order of its files."""

    place: str  # the source's path in the spec, e.g. data.domains.camera.train[0]
    table: pa.Table  # role columns as strings
    digest: str  # sha256 of the bytes and of how they are read, hex
    weight: float
    files: tuple[tuple[DataFile, int], ...] = ()  # with their number of rows; none for the hub

    def problem(self, row: int, message: str, hint: str) -> Problem:
        """A problem of one row (from 0), with its file and line."""
        for file, num_rows in self.files:
            if row < num_rows:
                line = line_of(file, row)
                where = "" if line is not None else f"row {row + 1}: "
                return Problem(where + message, self.place, hint, file=file.shown, line=line)
            row -= num_rows
        return Problem(f"row {row + 1}: {message}", path=self.place, hint=hint)


def read_source(
    source: Source,
    place: str,
    *,
    task: TaskSpec,
    base_dir: Path,
    fetch: Fetch | None,
    extra: Sequence[str] = (),
) -> SourceRows:
    """Reads a source whole; raises InvalidInput with what is wrong in all of its files.

    `extra` are more columns, which models never see; they are no part of the digest.
    """
    columns = {**default_columns(task), **(source.columns or {})}
    more = {f"{EXTRA}{name}": name for name in extra if name not in columns.values()}
    rows = _read(source, place, Wanted({**columns, **more}, form_of(task)), base_dir, fetch)
    by_column = {name: role for role, name in columns.items()}
    for name in extra:
        if name in by_column:  # a role's own column: it is not read twice
            copied = rows.table.column(by_column[name])
            rows = replace(rows, table=rows.table.append_column(f"{EXTRA}{name}", copied))
    return rows


@dataclass(frozen=True)
class Wanted:
    """What is read of a source."""

    columns: Mapping[str, str]
    form: LabelForm


def _read(
    source: Source, place: str, wanted: Wanted, base_dir: Path, fetch: Fetch | None
) -> SourceRows:
    columns, form = wanted.columns, wanted.form
    roles = {role: name for role, name in columns.items() if not is_extra(role)}
    if source.hub is not None:
        from orchestrator.inspect.hub import read_hub

        table, content = read_hub(source, columns, place, base_dir=base_dir, form=form)
        digest = _digest(source, roles, form, [("rows", content)])
        return SourceRows(place, table, digest, source.weight)
    files = files_of(source, place, base_dir=base_dir, fetch=fetch)
    tables: list[pa.Table] = []
    problems: list[Problem] = []
    for file in files:
        try:
            tables.append(read_file(file, columns, place, form))
        except InvalidInput as error:
            problems.extend(error.problems)
    if problems:
        raise InvalidInput(_without_repeats(problems))
    table = pa.concat_tables(tables)
    if table.num_rows == 0:
        what = files[0].shown if len(files) == 1 else str(source.path)
        hint = "give a file with rows, or remove this source"
        raise InvalidInput([Problem(f"{what} has no rows", path=f"{place}.path", hint=hint)])
    contents = [(file.format, file_digest(file.path)) for file in files]
    digest = _digest(source, roles, form, contents)
    counts = tuple((file, part.num_rows) for file, part in zip(files, tables, strict=True))
    return SourceRows(place, table, digest, source.weight, counts)


def check_source_exists(
    source: Source, place: str, *, base_dir: Path, fetch: Fetch | None
) -> list[Problem]:
    """What is wrong with the files of a source whose rows are not needed."""
    if source.path is None:
        return []
    try:
        files_of(source, place, base_dir=base_dir, fetch=fetch)
    except InvalidInput as error:
        return list(error.problems)
    return []


def _digest(
    source: Source, columns: Mapping[str, str], form: LabelForm, contents: Sequence[tuple[str, str]]
) -> str:
    """sha256 of what is read (format and digest of each file) and of how it is used."""
    document = {"columns": dict(columns), "weight": source.weight, "contents": contents}
    if form != ONE_CLASS:
        document["labels"] = asdict(form)
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _without_repeats(problems: list[Problem]) -> list[Problem]:
    """A folder of shards that lack one column is told once, by its first shard."""
    wrong_columns: set[str] = set()
    kept = []
    for problem in problems:
        if problem.file is None and problem.path is not None:
            if problem.path in wrong_columns:
                continue
            wrong_columns.add(problem.path)
        kept.append(problem)
    return kept
