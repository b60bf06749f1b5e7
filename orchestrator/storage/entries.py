"""What is known about stored objects, and the names that files of a manifest may have."""

from __future__ import annotations

from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def safe_relative(path: str) -> str:
    """A manifest names files below its own folder only: no traversal, one spelling per file."""
    parts = path.split("/")
    if "\\" in path or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{path!r} is not a plain relative path")
    return path


RelativePath = Annotated[str, AfterValidator(safe_relative)]


class FileEntry(BaseModel):
    """One file as a manifest lists it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    path: RelativePath
    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.path).suffix


class ObjectInfo(BaseModel):
    """One object as the store lists it; `key` is relative to the store that was asked."""

    model_config = ConfigDict(frozen=True)

    key: str
    size_bytes: int
    modified: datetime
    etag: str | None = None
