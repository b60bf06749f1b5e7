"""One small document wherever it lies: a local file, or an object of a store.

The worker's main reads its Launch with it, and so does the fake backend.
"""

from __future__ import annotations

from pathlib import Path

from orchestrator.errors import NotFound, ObjectNotFound
from orchestrator.storage.objectstore import open_store


def read_text(location: str, *, retry_seconds: float = 120.0) -> str:
    """The document's text.

    Args:
        location: A path, or an object's URL (s3://bucket/prefix/name).
        retry_seconds: How long a store that is away is waited for.

    Raises:
        NotFound: There is none.
        StoreError: The store cannot be read.
    """
    if "://" not in location:
        try:
            return Path(location).read_text(encoding="utf-8")
        except OSError as error:
            raise NotFound(f"{location} cannot be read: {error.strerror}") from None
    folder, _, name = location.rpartition("/")
    try:
        return open_store(folder, retry_seconds=retry_seconds).get_bytes(name).decode()
    except ObjectNotFound:
        raise NotFound(f"there is no {location}") from None
