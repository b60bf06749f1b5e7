"""Parquet: typed columns; rows have numbers, no lines."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.inspect.faults import Faults
from orchestrator.inspect.files import DataFile
from orchestrator.inspect.labels import ONE_CLASS, LabelForm


def names(file: DataFile) -> list[str]:
    try:
        return list(pq.read_schema(file.path).names)
    except (pa.ArrowException, OSError):
        return []


def read(
    file: DataFile, columns: Mapping[str, str], form: LabelForm = ONE_CLASS
) -> pa.Table | None:
    try:
        with pq.ParquetFile(file.path) as parquet:
            table = parquet.read(columns=list(dict.fromkeys(columns.values())))
    except (pa.ArrowException, OSError):
        return None
    return table.select(list(columns.values())).rename_columns(list(columns))


def scan(
    file: DataFile, columns: Mapping[str, str], faults: Faults, form: LabelForm = ONE_CLASS
) -> pa.Table:
    """Parquet is read whole or not at all, so what `read` cannot read is broken."""
    faults.add("not a complete Parquet file", "copy or write it again", None)
    return pa.table({})


def line_of(file: DataFile, row: int) -> int | None:
    return None
