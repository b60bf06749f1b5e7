"""The lists of files that make stored folders complete: a manifest is always written last.

Read by checkpoints, kept weights, the registry and the cache; formats are versioned records.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from orchestrator.errors import IntegrityError
from orchestrator.records import Record
from orchestrator.storage.entries import FileEntry
from orchestrator.storage.objectstore import ObjectStore

MANIFEST = "manifest.json"

R = TypeVar("R", bound=BaseModel)


class FilesManifest(Record):
    """What every manifest has."""

    files: tuple[FileEntry, ...]

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


class RankFiles(FilesManifest):
    """What one rank uploaded for one step: `rank-<k>.json`."""

    attempt: int
    step: int
    rank: int


class CheckpointManifest(Record):
    """All ranks' files of one step. Its presence makes the checkpoint complete."""

    attempt: int
    step: int
    world_size: int
    committed_at: datetime
    metadata: dict[str, Any] = Field(default_factory=dict)
    ranks: tuple[RankFiles, ...]

    @property
    def size_bytes(self) -> int:
        return sum(rank.size_bytes for rank in self.ranks)


class WeightsManifest(FilesManifest):
    """Weights kept because they may be the ones that are published."""

    attempt: int
    step: int
    metadata: dict[str, Any] = Field(default_factory=dict)


class ModelManifest(FilesManifest):
    """A published version. Its presence makes the version exist."""

    name: str
    version: int
    run: str
    created_at: datetime


def write_record(
    store: ObjectStore, key: str, record: BaseModel, *, create_only: bool = False
) -> None:
    data = record.model_dump_json(indent=1).encode() + b"\n"
    store.put_bytes(key, data, create_only=create_only)


def read_record(store: ObjectStore, key: str, kind: type[R]) -> R:
    """Raises ObjectNotFound; IntegrityError for what is no such record or names paths outside."""
    data = store.get_bytes(key)
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise IntegrityError(
            f"{store.key_url(key)} is not a valid {kind.__name__}: {where}: {first['msg']}"
        ) from None
