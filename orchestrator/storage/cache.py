"""Stored data and models as local files: what the readers and loaders of this project open.

`local_copy` is called by the worker and by whatever inspects data before a job. Each content is
fetched once per machine; a change in the store gives a new copy.
"""

from __future__ import annotations

import fnmatch
import hashlib
import re
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from orchestrator.errors import IntegrityError, NotFound, ObjectNotFound
from orchestrator.storage.entries import ObjectInfo
from orchestrator.storage.locations import parse_location
from orchestrator.storage.manifests import MANIFEST, ModelManifest, read_record
from orchestrator.storage.objectstore import ObjectStore, open_store
from orchestrator.storage.transfers import local_errors

_WILDCARD = re.compile(r"[*\[]")  # `?` cannot be in a store's URL


@dataclass(frozen=True, slots=True)
class _Stored:
    """The objects a URL stands for, with paths relative to `store`."""

    store: ObjectStore
    objects: tuple[ObjectInfo, ...]
    name: str  # of the local folder or file
    is_file: bool

    @property
    def digest(self) -> str:
        """Changes whenever one of the objects does."""
        parts = [self.store.url, "file" if self.is_file else "folder"]
        for info in self.objects:
            version = info.etag or info.modified.isoformat()
            parts += [info.key, str(info.size_bytes), version]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def local_copy(url: str, *, cache_dir: Path, retry_seconds: float = 120.0) -> Path:
    """A local path with the content of a file, folder or pattern (`*`) at a store's URL.

    A pattern gives a folder with the files that match. Folders of this machine are returned as they
    are, whether they exist or not. Safe to call from several processes at once.
    """
    location = parse_location(url)
    if location.root is not None:
        return location.root
    stored = _look_up(url, retry_seconds)
    kept = cache_dir / "copies" / stored.digest[:32]
    if not kept.is_dir():
        _fetch(stored, kept)
    return kept / stored.name


def _look_up(url: str, retry_seconds: float) -> _Stored:
    base, name = _split(url)
    store = open_store(base, retry_seconds=retry_seconds)
    if _WILDCARD.search(name):
        found = tuple(i for i in store.list() if _matches(i.key, name))
        if not found:
            raise NotFound(f"nothing matches {url}", hint=f"look what lies in {base}")
        return _Stored(store, found, "files", is_file=False)
    info = store.head(name) if name else None
    if info is not None:
        return _Stored(store, (info,), PurePosixPath(name).name, is_file=True)
    folder = store.child(name) if name else store
    found = tuple(i for i in folder.list() if not _is_hidden(i.key))
    if not found:
        raise NotFound(f"{url} does not exist", hint="correct the URL, or upload it first")
    return _Stored(folder, found, PurePosixPath(name).name or "files", is_file=False)


def _split(url: str) -> tuple[str, str]:
    """A URL's store, and below it a name or a pattern: as few parts as the pattern needs."""
    scheme, _, rest = url.rstrip("/").partition("://")
    parts = rest.split("/")
    first = next((i for i, part in enumerate(parts) if _WILDCARD.search(part)), len(parts) - 1)
    first = max(first, 1)  # the bucket is never a name
    return f"{scheme}://{'/'.join(parts[:first])}", "/".join(parts[first:])


def _matches(key: str, pattern: str) -> bool:
    """As a shell does: `*` stays within one part of the path, `**` spans any number of them."""
    return _match_parts(key.split("/"), pattern.split("/"))


def _match_parts(parts: list[str], patterns: list[str]) -> bool:
    if not patterns:
        return not parts
    if patterns[0] == "**":
        return any(_match_parts(parts[i:], patterns[1:]) for i in range(len(parts) + 1))
    if not parts or not fnmatch.fnmatchcase(parts[0], patterns[0]):
        return False
    return _match_parts(parts[1:], patterns[1:])


def _is_hidden(key: str) -> bool:
    return any(part.startswith(".") for part in key.split("/"))


def _fetch(stored: _Stored, kept: Path) -> None:
    """Fetches beside the place it is kept at, then renames; the first of several processes wins."""
    part = kept.with_name(f".{kept.name}.{uuid.uuid4().hex[:8]}.part")
    promised = _promised(stored)
    try:
        for info in stored.objects:
            if stored.is_file:
                target = part / stored.name
            else:
                target = part / stored.name / info.key
            stored.store.get_file(info.key, target, sha256=promised.get(info.key))
        with local_errors(kept):
            try:
                part.rename(kept)
            except OSError:
                if not kept.is_dir():
                    raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _promised(stored: _Stored) -> dict[str, str]:
    """Hashes of a published model's files; other folders promise nothing."""
    if stored.is_file or MANIFEST not in {info.key for info in stored.objects}:
        return {}
    try:
        manifest = read_record(stored.store, MANIFEST, ModelManifest)
    except (IntegrityError, ObjectNotFound):
        return {}
    return {file.path: file.sha256 for file in manifest.files}
