"""The output of ranks, for people: live pieces that came with Reports, else what the store has.

Reports bring it within a second, to the one server that took them in. Every rank also leaves its
log in the object store now and then and at its end, where it is found when server or cluster are
gone.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from orchestrator.control.backends.base import AttemptHandle, Backend
from orchestrator.errors import ObjectNotFound
from orchestrator.records import Attempt, AttemptState, Job, Report
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import ObjectStore

MAX_BYTES = 20_000_000  # of one rank; what comes later is in the store alone
KEPT_ATTEMPTS = 200
ALL_LINES = sys.maxsize  # of a driver: with fewer, the offset of a follower would lose its meaning


class LiveLogs:
    """Pieces of the ranks' output in a folder of this host."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, report: Report) -> None:
        """Adds the piece a Report brought; a repeated one falls on itself."""
        if report.log is None or report.log_offset + len(report.log) > MAX_BYTES:
            return
        file = self._file(report.job, report.attempt, report.rank)
        if not file.parent.exists():
            self._make_room()
            file.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.pwrite(descriptor, report.log.encode("latin-1"), report.log_offset)
        finally:
            os.close(descriptor)

    def read(self, job: str, attempt: int, rank: int, offset: int) -> bytes | None:
        """From a byte on; None where there is nothing of this rank."""
        try:
            with self._file(job, attempt, rank).open("rb") as stream:
                stream.seek(offset)
                return stream.read()
        except FileNotFoundError:
            return None

    def _file(self, job: str, attempt: int, rank: int) -> Path:
        return self._folder / f"{job}-a{attempt}" / f"rank-{rank}.log"

    def _make_room(self) -> None:
        if not self._folder.is_dir():
            return
        by_age = sorted(self._folder.iterdir(), key=lambda entry: entry.stat().st_mtime)
        for old in by_age[: -KEPT_ATTEMPTS + 1]:
            shutil.rmtree(old, ignore_errors=True)


class LogReader:
    """What an Attempt has printed, from wherever it can be had."""

    def __init__(
        self,
        live: LiveLogs,
        backends: Mapping[str, Backend],
        store: Callable[[str], ObjectStore],
    ) -> None:
        self._live = live
        self._backends = backends
        self._store = store

    def read(self, job: Job, attempt: Attempt, rank: int | None, offset: int) -> bytes:
        """From a byte on. Followers come back with the offset they have reached.

        Args:
            job: Whose.
            attempt: One of its Attempts.
            rank: Whose output; None: the driver's, which says how the gang was started.
            offset: In bytes.

        Raises StoreError where it is in the store alone, and that is away.
        """
        if rank is None:
            backend = self._backends.get(attempt.backend)
            handle = AttemptHandle(job.id, attempt.number)
            text = backend.log_tail(handle, ALL_LINES) if backend is not None else ""
            return text.encode()[offset:]
        live = self._live.read(job.id, attempt.number, rank, offset)
        is_gap = live is not None and live.startswith(b"\0")  # another server took that piece in
        if live is not None and not is_gap and (live or attempt.state is not AttemptState.ENDED):
            return live
        checkpoints = CheckpointStore(self._store(job.store), job.id)
        try:
            return checkpoints.log(attempt.number, rank)[offset:]
        except ObjectNotFound:
            return b""
