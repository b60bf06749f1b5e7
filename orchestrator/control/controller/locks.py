"""A run is live in one process at a time: a lock on this host that dies with its holder.

The kernel gives a `flock` back however its holder ends, so a crash never leaves a run locked.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from orchestrator.errors import AlreadyRunning, SettingsError


def lock_key(store_url: str, run: str) -> str:
    """Names a run within a store: the same training into two stores is two runs."""
    return hashlib.sha256(f"{store_url}\0{run}".encode()).hexdigest()[:24]


class RunLock:
    """Held by the one process that runs a run."""

    def __init__(self, file: Path, descriptor: int) -> None:
        self._file = file
        self._descriptor = descriptor

    def tell(self, job: str) -> None:
        """Leaves for others who holds the lock."""
        text = json.dumps({"pid": os.getpid(), "job": job})
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text.encode(), 0)

    def release(self) -> None:
        # Unlinked while it is held: whoever opened it meanwhile sees that it is another file now.
        self._file.unlink(missing_ok=True)
        os.close(self._descriptor)


@contextmanager
def hold(folder: Path, key: str) -> Iterator[RunLock]:
    """Holds the lock `key` in the block; AlreadyRunning where another process does."""
    lock = try_lock(folder, key)
    if lock is None:
        raise _already_running(folder / f"{key}.lock")
    try:
        yield lock
    finally:
        lock.release()


def try_lock(folder: Path, key: str) -> RunLock | None:
    """The lock, or None while another process holds it."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise SettingsError(
            f"state_dir: {folder} cannot be made: {error.strerror}",
            hint="set ORCHESTRATOR_STATE_DIR to a folder you can write",
        ) from None
    file = folder / f"{key}.lock"
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        if _is_still(file, descriptor):
            return RunLock(file, descriptor)
        os.close(descriptor)  # its holder released and unlinked it just now


def _is_still(file: Path, descriptor: int) -> bool:
    with suppress(FileNotFoundError):
        return os.fstat(descriptor).st_ino == file.stat().st_ino
    return False


def _already_running(file: Path) -> AlreadyRunning:
    try:
        holder = json.loads(file.read_text())
        who = f"{holder['job']}, process {holder['pid']}"
        hint = f"wait for it, or stop it: kill -INT {holder['pid']}"
    except (OSError, ValueError, KeyError, TypeError):  # just being taken or given back
        who, hint = "another process", "wait for it to end"
    return AlreadyRunning(f"this run is live already ({who})", hint=hint)
