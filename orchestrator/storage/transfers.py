"""Files to and from a store: in parts, hashed on the way, whole or not at all.

`ObjectStore` calls it inside its retry, so one call here is one try.
"""

from __future__ import annotations

import hashlib
import math
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import obstore

from orchestrator.errors import IntegrityError, StoreUnavailable
from orchestrator.storage.connection import Client
from orchestrator.storage.faults import from_errno

PART_BYTES = 8 * 1024 * 1024
_MAX_PARTS = 9_000  # S3 takes 10,000 parts: larger files get larger parts
_PARTS_IN_FLIGHT = 4


@dataclass(frozen=True, slots=True)
class Sent:
    """What was really sent: the hash is of these bytes, not of the file before or after."""

    size_bytes: int
    sha256: str
    etag: str | None


def upload(client: Client, key: str, path: Path) -> Sent:
    """Sends a file as one object; the object appears when the last part has arrived."""
    digest = hashlib.sha256()
    with local_errors(path):
        size = path.stat().st_size
    if size <= PART_BYTES:
        with local_errors(path):
            data = path.read_bytes()
        digest.update(data)
        result = obstore.put(client, key, data, use_multipart=False)
        return Sent(len(data), digest.hexdigest(), result["e_tag"])
    part_bytes = max(PART_BYTES, math.ceil(size / _MAX_PARTS))
    sent = 0

    def parts() -> Iterator[bytes]:
        nonlocal sent
        with local_errors(path), path.open("rb") as file:
            while part := file.read(part_bytes):
                digest.update(part)
                sent += len(part)
                yield part

    result = obstore.put(
        client, key, parts(), chunk_size=part_bytes, max_concurrency=_PARTS_IN_FLIGHT
    )
    return Sent(sent, digest.hexdigest(), result["e_tag"])


def download(client: Client, key: str, path: Path, *, where: str, sha256: str | None) -> None:
    """Writes an object beside `path`, then renames it there if its bytes are the promised ones."""
    result = obstore.get(client, key)
    digest = hashlib.sha256()
    written = 0
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with local_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = part.open("wb")
        with file:
            for chunk in result.stream(min_chunk_size=PART_BYTES):
                digest.update(chunk)
                written += len(chunk)
                with local_errors(path):
                    file.write(chunk)
            with local_errors(path):
                file.flush()
        if written != result.meta["size"]:
            raise StoreUnavailable(f"{where}: the download ended after {written} bytes")
        if sha256 is not None and digest.hexdigest() != sha256:
            raise IntegrityError(
                f"{where} is damaged: its sha256 is {digest.hexdigest()}, not {sha256}",
                hint="the object was changed after it was written",
            )
        with local_errors(path):
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def digest(client: Client, key: str) -> str:
    """The sha256 of an object's bytes, read in full and kept nowhere."""
    sha256 = hashlib.sha256()
    for chunk in obstore.get(client, key).stream(min_chunk_size=PART_BYTES):
        sha256.update(chunk)
    return sha256.hexdigest()


@contextmanager
def local_errors(path: Path) -> Iterator[None]:
    """Trouble with a file on this side is told with its path, not with the store's URL."""
    try:
        yield
    except OSError as error:
        raise from_errno(error.errno or 0, str(path)) from error
