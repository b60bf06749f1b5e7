"""A published version: its record, what may be in it, and how it is checked and brought back.

The registry calls it. Models are data: formats that can run code when they are loaded are refused.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict

from orchestrator.errors import IntegrityError, StoreError, UserError
from orchestrator.storage.entries import FileEntry
from orchestrator.storage.folders import download_files, files_in
from orchestrator.storage.manifests import MANIFEST
from orchestrator.storage.objectstore import ObjectStore
from orchestrator.storage.transfers import local_errors

CLAIM = ".claim.json"

_ALLOWED_SUFFIXES = {
    ".safetensors",
    ".json",
    ".jsonl",
    ".jinja",  # chat templates
    ".md",
    ".txt",  # vocabularies and merges of older tokenizers
    ".model",  # SentencePiece
    ".spm",
    ".html",
    ".svg",
    ".yaml",
}
_ALLOWED_NAMES = {"LICENSE", "NOTICE"}
_PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"}


class ModelVersion(BaseModel):
    """A published model; it never changes."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: int
    url: str
    run: str
    created_at: datetime
    files: tuple[FileEntry, ...]
    size_bytes: int

    @property
    def ref(self) -> str:
        return f"{self.name}@{self.version}"


class VerifyIssue(BaseModel):
    """One way in which a version is not what its manifest says."""

    model_config = ConfigDict(frozen=True)

    path: str
    kind: Literal["missing", "changed", "extra"]
    url: str

    def __str__(self) -> str:
        return f"{self.url} is {self.kind}"


def check_publishable(folder: Path) -> list[str]:
    """Relative paths of the folder's files; UserError where one must not be published."""
    files = files_in(folder)
    if not files:
        raise UserError(f"{folder} holds no files to publish")
    for path in files:
        name = PurePosixPath(path)
        if name.suffix in _PICKLES:
            raise UserError(
                f"{path} may be a pickle, which can run code when it is loaded",
                hint="save the weights as safetensors",
            )
        if path == MANIFEST or any(part.startswith(".") for part in name.parts):
            raise UserError(f"{path} is a name the registry uses itself", hint="rename the file")
        if name.suffix not in _ALLOWED_SUFFIXES and name.name not in _ALLOWED_NAMES:
            raise UserError(
                f"{path} is no kind of file a published model holds",
                hint=f"allowed: {', '.join(sorted(_ALLOWED_SUFFIXES | _ALLOWED_NAMES))}",
            )
    return files


def pull_version(store: ObjectStore, files: Iterable[FileEntry], folder: Path) -> Path:
    """Downloads beside `folder`, then renames: it appears complete and verified, or not at all."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UserError(f"{folder} exists already", hint="choose a new folder, or move it away")
    target = Path(folder).absolute()
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        download_files(store, files, part)
        store.get_file(MANIFEST, part / MANIFEST)
        with local_errors(target):
            part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def check_stored(
    store: ObjectStore, files: Iterable[FileEntry], etags: dict[str, str | None]
) -> None:
    """Before a manifest promises them: every file is there, is ours, and nothing else is."""
    there = {info.key: info for info in store.list()}
    for file in files:
        info = there.pop(file.path, None)
        if info is None or info.size_bytes != file.size_bytes:
            raise StoreError(f"{store.key_url(file.path)} is not there after its upload")
        if info.etag != etags[file.path] and store.sha256(file.path) != file.sha256:
            raise IntegrityError(
                f"{store.key_url(file.path)} was changed while the model was being published",
                hint="another process of the same run is publishing it; run again",
            )
    for key in there.keys() - {CLAIM, MANIFEST}:  # of an earlier, interrupted try
        store.delete(key)


def verify_files(store: ObjectStore, files: Iterable[FileEntry]) -> list[VerifyIssue]:
    """Reads every object again and says what is missing, changed or extra."""
    promised = {file.path: file.sha256 for file in files}
    there = {info.key for info in store.list()} - {CLAIM}
    issues = []
    for path in sorted({*promised, *there, MANIFEST}):
        kind: Literal["missing", "changed", "extra"]
        if path not in there:
            kind = "missing"
        elif path not in promised and path != MANIFEST:
            kind = "extra"
        elif path in promised and store.sha256(path) != promised[path]:
            kind = "changed"
        else:
            continue
        issues.append(VerifyIssue(path=path, kind=kind, url=store.key_url(path)))
    return issues
