"""Encoded rows that stay on a node: tokenized once by content, then read by every rank and job.

One Arrow file holds the rows of one table as one tokenizer and task encode them; readers map it
into memory, so the ranks of a node share its pages. The first process that needs it writes it, the
others wait. Called by `encoding`.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pyarrow as pa

from orchestrator.worker.data.batches import PADDING
from orchestrator.worker.data.columns import Column, column_of, reader_of
from orchestrator.worker.tasks.base import Encoded, StorableRows

logger = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 24

_FILLER = b"filler row"  # of the schema's metadata
_ROW, _BESIDE = "row.", "beside."
_ALWAYS_BESIDE = ("lengths", "targets")


class StoredRows:
    """Rows in an Arrow file, equal to those that were stored; a map-style data set."""

    lengths: np.ndarray
    targets: np.ndarray
    prompts: Sequence[list[int]] = ()
    references: Sequence[str] = ()
    sources: Sequence[str] = ()

    def __init__(self, table: pa.Table) -> None:
        self._filler: dict[str, Any] = json.loads(table.schema.metadata[_FILLER])
        readers = {name: reader_of(table.column(name)) for name in table.column_names}
        self._columns: dict[str, Column] = {
            name.removeprefix(_ROW): reader
            for name, reader in readers.items()
            if name.startswith(_ROW)
        }
        self._num_rows: int = table.num_rows
        for name, reader in readers.items():
            if name.startswith(_BESIDE):
                bare = name.removeprefix(_BESIDE)
                setattr(self, bare, reader.array() if bare in _ALWAYS_BESIDE else reader)

    def __len__(self) -> int:
        return self._num_rows

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index == PADDING:
            return dict(self._filler)
        return {name: column[index] for name, column in self._columns.items()}


@dataclass(frozen=True, slots=True)
class RowCache:
    """Files of encoded rows in one folder of a node, named by their content."""

    folder: Path
    limit_bytes: int

    def rows(self, key: str, encode: Callable[[], Encoded]) -> Encoded:
        """The rows of a key: from their file, or encoded and kept.

        Rows whose kind does not say that they can be stored are encoded every time; so are all
        where the folder takes no files.
        """
        fresh: Encoded | None = None
        with self._alone(key):
            found = self.find(key)
            if found is None:
                fresh = encode()
                if isinstance(fresh, StorableRows) and len(fresh):
                    found = self.keep(key, table_of(fresh))
        if found is not None:
            return StoredRows(found)
        assert fresh is not None
        return fresh

    def find(self, key: str) -> pa.Table | None:
        """What is kept of a key, mapped; a file that is not what was written is removed."""
        for path in self.folder.glob(f"{key}.*.arrow"):
            promised = path.suffixes[-2].removeprefix(".")
            with suppress(pa.ArrowInvalid, OSError):
                if _checksum(path) == promised:
                    os.utime(path)  # used now: what was not for longest goes first
                    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            logger.warning("%s is damaged: its rows are made again", path)
            path.unlink(missing_ok=True)
        return None

    def keep(self, key: str, table: pa.Table) -> pa.Table | None:
        """Keeps a table of one batch; it as it is found then, or None where nothing is taken."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            written = self._write(key, table)
        except OSError as error:
            logger.warning("encoded rows are not kept in %s: %s", self.folder, error)
            return None
        self._evict(keep=written)
        return self.find(key)

    def _write(self, key: str, table: pa.Table) -> Path:
        """Complete under its name, or not there at all."""
        part = self.folder / f".{key}.{uuid.uuid4().hex[:8]}.part"
        try:
            with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)  # one batch: offsets count over all rows
            path = self.folder / f"{key}.{_checksum(part)}.arrow"
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)
        return path

    def _evict(self, keep: Path) -> None:
        """Deletes what was not used for longest; who has a file mapped keeps its pages."""
        entries = []
        for path in self.folder.glob("*.arrow"):
            with suppress(FileNotFoundError):  # another process evicts too
                found = path.stat()
                entries.append((found.st_mtime, found.st_size, path))
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= self.limit_bytes:
                return
            if path != keep:
                path.unlink(missing_ok=True)
                total -= size

    @contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """One process at a time, whatever its job; the kernel gives the lock back when it ends."""
        lock = self.folder / f".{key[:2]}.lock"  # few files, for any number of keys
        with ExitStack() as held:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                stream = held.enter_context(lock.open("w"))
                fcntl.flock(stream, fcntl.LOCK_EX)
            except OSError as error:
                logger.warning("%s takes no files: %s", self.folder, error)
            yield


def table_of(encoded: StorableRows) -> pa.Table:
    """Rows column by column, and what is kept beside them."""
    rows = [encoded[index] for index in range(len(encoded))]
    columns = {f"{_ROW}{name}": column_of([row[name] for row in rows]) for name in rows[0]}
    for name in (*_ALWAYS_BESIDE, *encoded.beside):
        values = getattr(encoded, name)
        if len(values):  # what a kind of rows may have, and these do not
            columns[f"{_BESIDE}{name}"] = column_of(values)
    table = pa.table(columns)
    return table.replace_schema_metadata({_FILLER: json.dumps(encoded[PADDING])})


def _checksum(path: Path) -> str:
    crc = 0
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            crc = google_crc32c.extend(crc, chunk)
    return f"{crc:08x}"
