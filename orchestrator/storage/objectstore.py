"""One place that keeps bytes: a folder, an S3, GCS or Azure prefix, or memory in tests.

Everything the project stores goes through `ObjectStore`: checkpoints, published models, outcomes,
data read from buckets. It adds to obstore what the project promises: outages are outlived, errors
say where and what to do, hashes are taken on the way. Safe to share between threads; a forked
process opens its own.
"""

from __future__ import annotations

import builtins
import errno
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import obstore
from obstore.exceptions import BaseError

from orchestrator.errors import ObjectExists, ObjectNotFound, StoreError, StoreUnavailable
from orchestrator.storage.connection import Client, Connection
from orchestrator.storage.entries import FileEntry, ObjectInfo
from orchestrator.storage.faults import from_errno, translate
from orchestrator.storage.interrupts import interruptibly
from orchestrator.storage.locations import join_key, parse_location
from orchestrator.storage.retry import Retry
from orchestrator.storage.transfers import digest, download, upload

if TYPE_CHECKING:
    from obstore import ObjectMeta  # exists in the type stubs only

__all__ = ["FileEntry", "ObjectInfo", "ObjectStore", "open_store"]

T = TypeVar("T")

_PROBE_RETRY_SECONDS = 2.0  # a probe forgives a hiccup, not an outage
_OPERATIONAL = (BaseError, OSError, ValueError)


def open_store(
    url: str,
    *,
    retry_seconds: float = 120.0,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> ObjectStore:
    """The store at a URL or folder path; nothing is created and nothing is asked yet.

    Raises UserError for a URL that is wrong or carries credentials, StoreDenied where the
    environment holds none for it.
    """
    connection = Connection(parse_location(url))
    return ObjectStore(connection, Retry(retry_seconds, sleep=sleep, clock=clock))


class ObjectStore:
    """The objects below one URL. Keys are relative to it, with `/` between their parts."""

    def __init__(self, connection: Connection, retry: Retry, prefix: str | None = None) -> None:
        self._connection = connection
        self._retry = retry
        self._prefix = connection.location.prefix if prefix is None else prefix
        self.url = replace(connection.location, prefix=self._prefix).url

    def __repr__(self) -> str:
        return f"ObjectStore({self.url!r})"

    @property
    def local_path(self) -> Path | None:
        """The folder, where the store is one."""
        root = self._connection.location.root
        return None if root is None else root / self._prefix

    def key_url(self, key: str) -> str:
        """Where a key lies, for people and records."""
        location = replace(self._connection.location, prefix=self._path(key))
        return location.url

    def child(self, prefix: str) -> ObjectStore:
        """The store below a prefix; shares connections and patience."""
        return ObjectStore(self._connection, self._retry, self._path(prefix))

    def put_bytes(self, key: str, data: bytes, *, create_only: bool = False) -> None:
        """Writes one object, whole or not at all; `create_only` raises ObjectExists on a conflict.

        A create whose answer was lost is recognised by its content when it is tried again, so
        competing writers must write different bytes.
        """
        if create_only:
            self._create(key, data)
            return

        self._write(key, lambda client, path: obstore.put(client, path, data, use_multipart=False))

    def get_bytes(self, key: str) -> bytes:
        """A whole small object; ObjectNotFound if it does not exist."""
        return self._call(key, _read)

    def put_file(self, key: str, path: Path) -> FileEntry:
        """Uploads a file in parts and hashes it on the way; overwrites."""
        return self.put_file_tagged(key, path)[0]

    def put_file_tagged(self, key: str, path: Path) -> tuple[FileEntry, str | None]:
        """As `put_file`; also the store's etag, which tells later whose bytes lie there."""
        sent = self._write(key, lambda client, to: upload(client, to, path))
        entry = FileEntry(path=key, size_bytes=sent.size_bytes, sha256=sent.sha256)
        return entry, sent.etag

    def copy(self, source: str, key: str) -> None:
        """Copies an object within the store, without its bytes coming here; overwrites."""
        origin = self._path(source)
        self._write(key, lambda client, to: obstore.copy(client, origin, to))

    def get_file(self, key: str, path: Path, *, sha256: str | None = None) -> None:
        """Downloads to `path`, which appears whole or not at all; IntegrityError on other bytes."""
        where = self.key_url(key)
        self._call(
            key, lambda client, source: download(client, source, path, where=where, sha256=sha256)
        )

    def sha256(self, key: str) -> str:
        """Reads a whole object and hashes it; ObjectNotFound if it does not exist."""
        return self._call(key, digest)

    def head(self, key: str) -> ObjectInfo | None:
        """What the store knows about an object; None if it does not exist."""
        try:
            meta = self._call(key, lambda client, path: obstore.head(client, path))
        except ObjectNotFound:
            return None
        return self._info(meta)

    def size(self, key: str) -> int | None:
        info = self.head(key)
        return None if info is None else info.size_bytes

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every object below a prefix (whole parts: `a1` is not below `a`), in order of its key."""
        try:
            metas = self._call(prefix, _list)
        except ObjectNotFound:  # the folder of the store does not exist yet
            return iter(())
        return iter(sorted((self._info(meta) for meta in metas), key=lambda info: info.key))

    def list_dirs(self, prefix: str = "") -> builtins.list[str]:
        """Names of the immediate children below a prefix; one lately emptied may still be shown."""
        try:
            paths = self._call(prefix, _list_dirs)
        except ObjectNotFound:
            return []
        return sorted(path.rstrip("/").rpartition("/")[2] for path in paths)

    def delete(self, key: str) -> None:
        """Deletes one object; one that is absent is fine."""
        try:
            self._call(key, _delete)
        except ObjectNotFound:
            return

    def delete_prefix(self, prefix: str) -> None:
        """Deletes everything below a prefix, in folders also what a killed writer left there."""
        assert prefix, "a whole store is never deleted"
        keys = [info.key for info in self.list(prefix)]
        if self.local_path is not None:
            for key in keys:
                self.delete(key)
            shutil.rmtree(self.local_path / prefix, ignore_errors=True)
        elif keys:
            paths = [self._path(key) for key in keys]
            self._call(prefix, lambda client, _: obstore.delete(client, paths))

    def probe_readable(self, *, timeout_seconds: float = 10.0) -> None:
        """Raises what stands in the way of reading; creates nothing. An absent folder is empty."""
        try:
            self._probe("", timeout_seconds, _list_dirs)
        except ObjectNotFound:
            return

    def probe_writable(self, *, timeout_seconds: float = 10.0) -> None:
        """Writes, reads back and deletes one tiny object; raises what stands in the way."""
        key, data = f".probe/{uuid.uuid4().hex}", b"probe"
        deadline = self._retry.clock() + timeout_seconds

        def step(operation: Callable[[Client, str], T]) -> T:
            return self._probe(key, max(0.1, deadline - self._retry.clock()), operation)

        self._make_parent(key)
        step(lambda client, path: obstore.put(client, path, data, use_multipart=False))
        found = step(_read)
        step(_delete)
        if found != data:
            raise StoreError(f"{self.url}: what was written is not what is read back")

    # Below: one operation, its path and its errors.

    def _path(self, key: str) -> str:
        return join_key(self._prefix, key)

    def _info(self, meta: ObjectMeta) -> ObjectInfo:
        path = meta["path"]
        return ObjectInfo(
            key=path[len(self._prefix) + 1 :] if self._prefix else path,
            size_bytes=meta["size"],
            modified=meta["last_modified"],
            etag=meta["e_tag"],
        )

    def _create(self, key: str, data: bytes) -> None:
        unsure = False

        def attempt() -> None:
            nonlocal unsure
            self._make_parent(key)
            try:
                # Without obstore's own retry: only so is a lost answer seen here.
                client = self._connection.client(max_retries=0)
                self._once(key, client, lambda c, path: obstore.put(c, path, data, mode="create"))
            except StoreUnavailable:
                unsure = True
                raise
            except ObjectExists:
                if not unsure or self._once(key, self._connection.client(), _read) != data:
                    raise

        self._retry.call(attempt)

    def _write(self, key: str, operation: Callable[[Client, str], T]) -> T:
        def attempt() -> T:
            self._make_parent(key)
            return self._once(key, self._connection.client(), operation)

        return self._retry.call(attempt)

    def _call(self, key: str, operation: Callable[[Client, str], T]) -> T:
        """An idempotent operation, tried until the store answers or patience ends."""
        return self._retry.call(lambda: self._once(key, self._connection.client(), operation))

    def _probe(self, key: str, seconds: float, operation: Callable[[Client, str], T]) -> T:
        retry = replace(self._retry, seconds=min(_PROBE_RETRY_SECONDS, seconds / 4))
        client = self._connection.hurried_client(seconds)
        return retry.call(lambda: self._once(key, client, operation))

    def _once(self, key: str, client: Client, operation: Callable[[Client, str], T]) -> T:
        path = self._path(key)
        try:
            if self.local_path is not None:
                return operation(client, path)
            return interruptibly(lambda: operation(client, path))
        except _OPERATIONAL as error:
            raise translate(error, self.key_url(key), self._connection.endpoint) from None

    def _make_parent(self, key: str) -> None:
        """Folders come into being with the first write; obstore would spin on some that cannot."""
        if self.local_path is None:
            return
        try:
            (self.local_path / key).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            # /proc and its like answer "no such file" when asked to make one
            number = errno.EACCES if error.errno == errno.ENOENT else error.errno or 0
            raise from_errno(number, self.url) from None


def _read(client: Client, path: str) -> bytes:
    return bytes(obstore.get(client, path).bytes())


def _delete(client: Client, path: str) -> None:
    obstore.delete(client, path)


def _list(client: Client, path: str) -> list[ObjectMeta]:
    return [meta for page in obstore.list(client, path or None) for meta in page]


def _list_dirs(client: Client, path: str) -> list[str]:
    return list(obstore.list_with_delimiter(client, path or None)["common_prefixes"])
