"""A job's splits, tokenized: the training mixture, valid and test by domain."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from pathlib import Path

import pyarrow as pa

from orchestrator.inspect.data import SplitKey, read_tables
from orchestrator.specs import FineTuneSpec, drawn_domains
from orchestrator.storage.cache import local_copy
from orchestrator.worker.tasks.base import Encoded

Encode = Callable[[pa.Table], Encoded]


@dataclass(frozen=True, slots=True)
class Splits:
    """What a rank holds of the data; the same on every rank."""

    train: Encoded
    train_digest: str  # sha256 of the training rows in order; decides the batches
    train_domains: dict[str, range]  # where in `train` each domain's rows are
    valid: dict[str, Encoded]
    test: dict[str, Encoded]
    num_rows: dict[str, dict[str, int]]  # domain -> split -> rows
    test_rows: dict[str, pa.Table] = field(default_factory=dict)  # as read, with slices' columns


def load_tables(spec: FineTuneSpec, cache: Path) -> dict[SplitKey, pa.Table]:
    """Every row the job learns from, decides by or reports on.

    Args:
        spec: A resolved spec: its paths are absolute.
        cache: Local folder for copies of what lies in object stores.
    """
    fetch = partial(local_copy, cache_dir=cache)
    return read_tables(spec, base_dir=Path("/"), fetch=fetch, with_extra=True)


def encode_splits(spec: FineTuneSpec, tables: dict[SplitKey, pa.Table], encode: Encode) -> Splits:
    """Mixes and tokenizes the rows of `load_tables`, as `encode` does with a table."""
    drawn = drawn_domains(spec.data)
    train = pa.concat_tables([tables[domain, "train"] for domain in drawn])
    ends = list(accumulate((tables[domain, "train"].num_rows for domain in drawn), initial=0))
    num_rows: dict[str, dict[str, int]] = {}
    for (domain, split), table in tables.items():
        if split != "train" or domain in drawn:
            num_rows.setdefault(domain, {})[split] = table.num_rows

    def encoded(split: str) -> dict[str, Encoded]:
        return {domain: encode(table) for (domain, name), table in tables.items() if name == split}

    return Splits(
        train=encode(train),
        train_digest=table_digest(train),
        train_domains=dict(zip(drawn, map(range, ends, ends[1:]), strict=True)),
        valid=encoded("valid"),
        test=encoded("test"),
        num_rows=num_rows,
        test_rows={name: table for (name, split), table in tables.items() if split == "test"},
    )


def table_digest(table: pa.Table) -> str:
    """sha256 over the rows' contents, in order, whatever the files they came from."""
    digest = hashlib.sha256()
    for name in sorted(table.column_names):
        digest.update(name.encode())
        for value in table.column(name).to_pylist():
            digest.update(str(value).encode())
            digest.update(b"\x00")
    return digest.hexdigest()
